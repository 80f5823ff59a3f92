"""A Debian machine in a folder: what `bazelw` finds on PATH, and a mirror.

`bazelw` itself runs for real, with the machine's own bash, awk, tar, flock and
xargs. Only apt, dpkg-deb and bubblewrap are stand-ins, a few lines of shell each: a
package is a tar file, an index is a Packages file, and bubblewrap runs its command
without a new root.
"""

import hashlib
import io
import os
import re
import shutil
import subprocess
import tarfile
from pathlib import Path

REPOSITORY = Path(__file__).parents[2]

_TOOLS = """
awk bash cat chmod cp date df dirname env find flock grep head id ln ls mkdir
mktemp mv paste printf readlink rm sed setsid sha256sum sleep sort sync tail tar timeout
touch tr uname xargs
"""

_APT_GET = r"""#!/bin/bash
case " $* " in
  *" --print-uris "*)
    [[ ! -e $MACHINE/sources ]] ||
      echo "'$(< "$MACHINE/sources")/dists/stable/InRelease' InRelease 0"
    ;;
  *" download "*) cp "$MACHINE/keyring.deb" debian-archive-keyring_1_all.deb ;;
  *" update "*)
    echo update >> "$MACHINE/log"
    if [[ -e $MACHINE/update_error ]]; then
      cat "$MACHINE/update_error" >&2
      exit 100
    fi
    state=$(sed -n 's/^Dir::State "\(.*\)";/\1/p' "$APT_CONFIG")
    cp "$MACHINE/mirror/Packages" "$state/lists/mirror_Packages"
    ;;
esac
"""

_APT_HELPER = r"""#!/bin/bash
if [[ $1 == cat-file ]]; then exec cat "$2"; fi
shift 2
while (($# > 0)); do
  while [[ -e $MACHINE/stalled ]]; do sleep 0.02; done
  name=${1##*/}
  cp "$MACHINE/mirror/$name" "$2" || exit 100
  if [[ SHA256:$(sha256sum < "$2") != "$3  -" ]]; then
    echo "E: Failed to fetch $1  Hash Sum mismatch" >&2
    exit 100
  fi
  echo "download $name" >> "$MACHINE/log"
  shift 3
done
"""

_DPKG_DEB = r"""#!/bin/bash
case $1 in
  --fsys-tarfile) exec cat "$2" ;;
  -x) exec tar -xf "$2" -C "$3" ;;
esac
"""

_BWRAP = r"""#!/bin/bash
[[ ! -e $MACHINE/no_namespaces ]] || { echo "bwrap: No permissions" >&2; exit 1; }
printf '%s\n' "$@" > "$MACHINE/bwrap_arguments"
root=$2
while (($# > 0)) && [[ $1 != -- ]]; do
  case $1 in
    --setenv) export "$2=$3"; shift 2 ;;
    --unsetenv) unset "$2"; shift ;;
    --chdir) cd "$2" || exit; shift ;;
  esac
  shift
done
(($# > 0)) || exit 0
shift
PATH=$root/bin:$MACHINE/bin
"$@"
"""

_UNSHARE = r"""#!/bin/bash
[[ ! -e $MACHINE/no_namespaces ]] || { echo "unshare: No permissions" >&2; exit 1; }
"""

_ROOT_LOADER = r"""#!/bin/bash
printf '%s\n' "$@" > "$MACHINE/loader_arguments"
shift 2
exec "$@"
"""

_ROOT_BAZEL = r"""#!/bin/bash
arguments=("$@")
while [[ ${1-} == -* || ${1-} == [0-9]* ]]; do shift; done
case ${1-} in
  fail) exit 37 ;;
  info) echo /output/base ;;
  wait)
    trap 'exit 8' INT
    touch "$MACHINE/waiting"
    while :; do sleep 0.02; done
    ;;
  run)
    shift
    script='' program=()
    while (($# > 0)); do
      case $1 in
        --script_path=*) script=${1#*=} ;;
        --) shift; program=("$@"); break ;;
        //bad) exit 1 ;;
      esac
      shift
    done
    [[ -n $script ]] || { echo "ran inside"; exit 0; }
    printf '#!/bin/bash\nexec "$MACHINE/program" %s "$@"\n' "${program[*]@Q}" \
      > "$script"
    ;;
  *)
    printf 'root bazel: %s\n' "${arguments[@]}"
    ;;
esac
"""

_PROGRAM = r"""#!/bin/bash
printf 'argument: %s\n' "$@"
echo "in: $PWD"
echo "workspace: $BUILD_WORKSPACE_DIRECTORY"
echo "working: $BUILD_WORKING_DIRECTORY"
echo "caller: ${CALLER-}"
echo "path: $PATH"
exit 7
"""


class Machine:
    """One machine: PATH, apt's mirror, a home folder and a checkout."""

    def __init__(self, folder: Path) -> None:
        """Makes a machine with a working mirror of Bazel 7.7.1 in `folder`."""
        self.folder = folder
        self.bin = folder / "bin"
        self.mirror = folder / "mirror"
        self.home = folder / "home"
        self.cache = self.home / ".cache" / "bazelw"
        self.checkout = folder / "checkout"
        for made in (self.bin, self.mirror, self.home, self.checkout):
            made.mkdir(parents=True)
        for name in _TOOLS.split():
            found = shutil.which(name)
            assert found is not None, name
            (self.bin / name).symlink_to(found)
        self.program("apt-get", _APT_GET)
        self.program("apt-config", "#!/bin/bash\n")
        self.program("apt-helper", _APT_HELPER)
        self.program("dpkg-deb", _DPKG_DEB)
        self.program("bwrap", _BWRAP)
        self.program("unshare", _UNSHARE)
        _write_program(folder / "program", _PROGRAM)
        for name in ("bazelw", ".bazelversion", "third_party/debian/mirrors.sh"):
            (self.checkout / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(REPOSITORY / name, self.checkout / name)
        (folder / "sources").write_text("http://mirror.example/debian\n")
        (folder / "log").touch()
        keyring = {"usr/share/keyrings/debian-archive-keyring.gpg": b"key"}
        (folder / "keyring.deb").write_bytes(_package(keyring))
        self.publish()

    def publish(self, version: str = "7.7.1+ds-8", payload: bytes = b"") -> None:
        """Fills the mirror: Bazel, one package that it needs, and all others in one.

        Args:
            version: version of the bazel-bootstrap package.
            payload: content of another file in bazel-bootstrap.
        """
        recipe = (self.checkout / "bazelw").read_text()
        seed = re.search(r"^readonly SEED='([^']*)'", recipe, re.MULTILINE)
        assert seed is not None
        others = [name for name in seed[1].split() if name != "bazel-bootstrap"]
        java = "usr/lib/jvm/java-25-openjdk-amd64/bin/java"
        bazelrc = b"build --sandbox_debug\nstartup --install_base=/usr/share/bazel\n"
        self._index = ""
        self._publish_one(
            "bazel-bootstrap",
            version,
            {"usr/bin/bazel": _ROOT_BAZEL.encode(), "usr/share/payload": payload},
            "Depends: absent | data+more (>= 1), build-essential\n",
        )
        self._publish_one("data+more", "1", {"etc/bazel/bazelrc": bazelrc})
        self._publish_one("unneeded", "1", {"usr/share/unneeded": b""})
        self._publish_one(
            "others",
            "1",
            {
                java: b"java",
                "usr/bin/bwrap": _BWRAP.encode(),
                "usr/lib/x86_64-linux-gnu/ld-linux-x86-64.so.2": _ROOT_LOADER.encode(),
                # A package that was built before /bin and /usr/bin were merged.
                "bin/old": b"old",
                "usr/share/doc/others/copyright": b"text",
            },
            f"Provides: {', '.join(others)}\n",
        )
        (self.mirror / "Packages").write_text(self._index)

    def _publish_one(
        self, name: str, version: str, files: dict[str, bytes], fields: str = ""
    ) -> None:
        data = _package(files)
        file = f"{name}_{version}.deb"
        (self.mirror / file.replace("+", "%2b")).write_bytes(data)
        self._index += (
            f"Package: {name}\nVersion: {version}\n{fields}"
            f"Filename: pool/{name}/{file}\nSize: {len(data)}\n"
            f"SHA256: {hashlib.sha256(data).hexdigest()}\n\n"
        )

    def program(self, name: str, text: str) -> None:
        """Puts the script `text` on PATH as `name`."""
        (self.bin / name).unlink(missing_ok=True)
        _write_program(self.bin / name, text)

    def start(
        self,
        *arguments: str,
        folder: Path | None = None,
        environment: dict[str, str] | None = None,
        file_limit_kib: int | None = None,
    ) -> subprocess.Popen[str]:
        """Starts bazelw in its own process group.

        Args:
            arguments: arguments of bazelw.
            folder: current folder; by default the checkout.
            environment: variables besides PATH and HOME.
            file_limit_kib: the size at which a write to a file fails.
        """
        limit = file_limit_kib or "unlimited"
        limited = f'ulimit -f {limit}; exec "$0" "$@"'
        return subprocess.Popen(
            ["bash", "-c", limited, str(self.checkout / "bazelw"), *arguments],
            cwd=folder or self.checkout,
            env={
                "PATH": str(self.bin),
                "HOME": str(self.home),
                "MACHINE": str(self.folder),
                "OS_RELEASE": str(self.folder / "os-release"),
                "APT_SOURCES": str(self.folder),
            }
            | (environment or {}),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
            # Python ignores SIGXFSZ; a child that inherits this gets EFBIG instead.
            restore_signals=False,
        )

    def run(
        self,
        *arguments: str,
        folder: Path | None = None,
        environment: dict[str, str] | None = None,
        file_limit_kib: int | None = None,
    ) -> subprocess.CompletedProcess[str]:
        """Runs bazelw to its end; the arguments are those of `start`."""
        process = self.start(
            *arguments,
            folder=folder,
            environment=environment,
            file_limit_kib=file_limit_kib,
        )
        output, errors = process.communicate(timeout=60)
        return subprocess.CompletedProcess(
            arguments, process.returncode, output, errors
        )

    def log(self) -> list[str]:
        """What was fetched so far: `update`, `download NAME`."""
        return (self.folder / "log").read_text().splitlines()

    def shown(self) -> list[tuple[str, str]]:
        """The (flag, path) pairs of all bind mounts of the last call of bubblewrap."""
        lines = (self.folder / "bwrap_arguments").read_text().splitlines()
        return [
            (lines[i], lines[i + 2])
            for i in range(len(lines))
            if lines[i] in ("--bind", "--ro-bind")
        ]

    def roots(self) -> list[Path]:
        """Everything under the cache that belongs to a root, finished or not."""
        return sorted(self.cache.glob("root-*"))


def _write_program(path: Path, text: str) -> None:
    path.write_text(text)
    path.chmod(0o755)


def _package(files: dict[str, bytes]) -> bytes:
    raw = io.BytesIO()
    with tarfile.open(fileobj=raw, mode="w") as archive:
        for name, data in files.items():
            for parent in reversed(Path(name).parents[:-1]):
                entry = tarfile.TarInfo(f"./{parent}")
                entry.type = tarfile.DIRTYPE
                entry.mode = 0o755
                archive.addfile(entry)
            entry = tarfile.TarInfo(f"./{name}")
            entry.size = len(data)
            entry.mode = 0o755
            entry.uid = os.getuid()
            archive.addfile(entry, io.BytesIO(data))
    return raw.getvalue()
