"""Bazel itself, with this repository's settings, on machines that people have.

Each test starts a second Bazel on a small workspace: with or without user namespaces,
and fetching a locked Debian package from mirrors that hold it, dropped it, or are not
named by the machine's apt.
"""

import gzip
import hashlib
import io
import json
import os
import shutil
import subprocess
import sys
import tarfile
import threading
import uuid
from collections.abc import Iterator, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

SNAPSHOT = "20260102T030405Z"
POOL = "pool/main/t/tool/tool_1_amd64.deb"

_WORKSPACE = """
load("//third_party/debian:debian_file.bzl", "debian_file")
debian_file(
    name = "tool",
    file = "usr/bin/tool",
    lock = "//third_party/debian:debs.lock.json",
    purpose = "tool",
)
"""


def bazel_command(state: Path) -> list[str]:
    """The Bazel that was started, with a state folder of its own."""
    bazel = Path(os.environ["RUNNING_BAZEL"]).read_text()
    assert bazel, "expected bazel on PATH where Bazel was started; start it by ./bazelw"
    command = [bazel, "--nohome_rc", f"--output_user_root={state}"]
    debian_java = Path("/usr/lib/jvm/default-java")
    if debian_java.exists():
        command.append(f"--server_javabase={debian_java}")
    # It runs for seconds: code that is compiled well would not pay.
    return [*command, "--host_jvm_args=-XX:TieredStopAtLevel=1", "--max_idle_secs=5"]


def ar(members: dict[str, bytes]) -> bytes:
    """An archive in the form of ar(5), as Debian packages are."""
    raw = b"!<arch>\n"
    for name, data in members.items():
        header = f"{name:<16}{0:<12}{0:<6}{0:<6}{'100644':<8}{len(data):<10}`\n"
        raw += header.encode() + data + b"\n" * (len(data) % 2)
    return raw


def debian_package(content: bytes) -> bytes:
    """A package with the one file usr/bin/tool."""
    files = io.BytesIO()
    with tarfile.open(fileobj=files, mode="w") as archive:
        entry = tarfile.TarInfo("./usr/bin/tool")
        entry.size = len(content)
        archive.addfile(entry, io.BytesIO(content))
    data = gzip.compress(files.getvalue(), mtime=0)
    return ar({"debian-binary": b"2.0\n", "data.tar.gz": data})


class Archive(ThreadingHTTPServer):
    """A local server of files; remembers what was asked for."""

    def __init__(self, files: dict[str, bytes]) -> None:
        """Serves `files`, by path below the root."""
        self.files = files
        self.asked: list[str] = []
        super().__init__(("127.0.0.1", 0), _Handler)
        self.url = f"http://127.0.0.1:{self.server_port}"
        threading.Thread(target=self.serve_forever, daemon=True).start()


class _Handler(BaseHTTPRequestHandler):
    server: Archive

    def do_GET(self) -> None:
        """Answers with the file, or 404."""
        self.server.asked.append(self.path)
        data = self.server.files.get(self.path.lstrip("/"))
        self.send_response(404 if data is None else 200)
        self.send_header("Content-Length", str(len(data or b"")))
        self.end_headers()
        self.wfile.write(data or b"")

    def log_message(self, *arguments: object) -> None:
        """Keeps quiet."""


class Checkout:
    """A workspace with this repository's settings and its rules for Debian packages.

    It stays for all tests of this file, so that they start as few Bazels as possible.
    """

    def __init__(self, folder: Path) -> None:
        """Makes the workspace in `folder`."""
        self.folder = folder / "workspace"
        self.bin = folder / "bin"
        debian = self.folder / "third_party" / "debian"
        for made in (debian, self.bin):
            made.mkdir(parents=True)
        shutil.copy(".bazelrc", self.folder)
        for name in ("mirror.bzl", "mirrors.sh", "debian_file.bzl"):
            shutil.copy(Path("third_party/debian") / name, debian)
        (debian / "BUILD.bazel").touch()
        (self.folder / "WORKSPACE").write_text(_WORKSPACE)
        (self.folder / "BUILD.bazel").write_text(
            'genrule(name = "made", outs = ["made.txt"], cmd = "echo made > $@")\n'
        )

    def lock(self, package: bytes) -> None:
        """Locks `package`."""
        entry = {
            "architecture": "amd64",
            "name": "tool",
            "path": POOL,
            "purpose": "tool",
            "sha256": hashlib.sha256(package).hexdigest(),
            "version": "1",
        }
        lock = self.folder / "third_party" / "debian" / "debs.lock.json"
        lock.write_text(json.dumps({"snapshot": SNAPSHOT, "packages": [entry]}))

    def forget_apt(self) -> None:
        """Makes the machine one whose apt names no archive of Debian."""
        for name in ("apt-get", "apt-config", "dpkg-query"):
            self.program(name, "exit 1")

    def program(self, name: str, text: str) -> None:
        """Makes the program `name` of the machine's PATH a shell script."""
        path = self.bin / name
        path.write_text(f"#!/bin/bash\n{text}\n")
        path.chmod(0o755)

    def fetch(self, **environment: str) -> subprocess.CompletedProcess[str]:
        """Fetches the package again."""
        return self.bazel("sync", "--only=tool", environment=environment)

    def bazel(
        self,
        *arguments: str,
        before: tuple[str, ...] = (),
        state: str = "state",
        environment: Mapping[str, str] | None = None,
    ) -> subprocess.CompletedProcess[str]:
        """Runs Bazel.

        Args:
            arguments: a command and its arguments.
            before: a program and arguments that start Bazel.
            state: name of its state folder.
            environment: variables besides PATH and HOME.
        """
        overrides = [
            line.removeprefix("common ")
            for line in Path("third_party/bazel/debian.bazelrc").read_text().split("\n")
            if line.startswith("common --override_repository")
            and Path(line.rpartition("=")[2]).exists()
        ]
        return subprocess.run(
            [
                *before,
                *bazel_command(self.folder.parent / state),
                *(arguments[0], "--color=no", "--curses=no", *overrides),
                *("--http_timeout_scaling=0.1", *arguments[1:]),
            ],
            cwd=self.folder,
            env={
                "PATH": f"{self.bin}:/usr/bin:/bin",
                "HOME": os.environ["TEST_TMPDIR"],
                "OS_RELEASE": "/absent",
                "APT_SOURCES": "/absent",
                **(environment or {}),
            },
            check=False,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Checkout:
    return Checkout(tmp_path_factory.mktemp("machine"))


@pytest.fixture
def package() -> bytes:
    # Other bytes in each test, for Bazel keeps what it once downloaded.
    return debian_package(uuid.uuid4().bytes)


@pytest.fixture
def checkout(machine: Checkout, package: bytes) -> Checkout:
    machine.forget_apt()
    machine.lock(package)
    return machine


@pytest.fixture
def mirror(package: bytes) -> Iterator[Archive]:
    with Archive({f"debian/{POOL}": package}) as archive:
        yield archive
        archive.shutdown()


@pytest.fixture
def permanent(package: bytes) -> Iterator[Archive]:
    with Archive({f"archive/{SNAPSHOT}/{POOL}": package}) as archive:
        yield archive
        archive.shutdown()


# --- Namespaces ---


UNSHARE = ("unshare", "-Urm", "true")


def namespaces_work() -> bool:
    """Whether this machine is one that allows user namespaces."""
    done = subprocess.run(UNSHARE, capture_output=True, check=False)
    return done.returncode == 0


@pytest.mark.long  # starts one more Bazel
def test_bazel_takes_the_best_sandbox_of_the_machine(checkout: Checkout) -> None:
    best = "linux-sandbox" if namespaces_work() else "processwrapper-sandbox"
    done = checkout.bazel("build", "//:made")
    assert done.returncode == 0, done.stdout
    assert f"1 {best}" in done.stdout


def forbidding(how: str) -> tuple[str, ...]:
    """What starts a command on a machine that forbids user namespaces."""
    if how == "docker":
        return (sys.executable, str(Path(__file__).with_name("docker.py")))
    if not namespaces_work():
        return ()
    forbid = 'echo 0 > /proc/sys/user/max_user_namespaces && exec "$@"'
    return ("unshare", "-Ur", "bash", "-c", forbid, "-")


FORBIDDING = ["kernel", "docker"]


@pytest.mark.parametrize("how", FORBIDDING)
def test_the_machine_that_is_emulated_does_forbid_namespaces(how: str) -> None:
    new = subprocess.run([*forbidding(how), *UNSHARE], capture_output=True, check=False)
    assert (new.returncode, new.stdout) == (1, b"")
    assert subprocess.run([*forbidding(how), "true"], check=False).returncode == 0


@pytest.mark.long  # each starts one more Bazel
@pytest.mark.parametrize("how", FORBIDDING)
def test_machine_that_forbids_namespaces_builds_in_the_other_sandbox(
    checkout: Checkout, how: str
) -> None:
    before = forbidding(how)
    done = checkout.bazel("build", "//:made", before=before, state=f"forbidden-{how}")
    assert done.returncode == 0, done.stdout
    assert "1 processwrapper-sandbox" in done.stdout


# --- Debian packages ---


def test_package_comes_from_the_mirror(
    checkout: Checkout, mirror: Archive, permanent: Archive
) -> None:
    done = checkout.fetch(
        DEBIAN_MIRROR=f"{mirror.url}/debian",
        DEBIAN_SNAPSHOT=f"{permanent.url}/archive",
    )
    assert done.returncode == 0, done.stdout
    assert permanent.asked == []


def test_package_that_the_mirror_dropped_comes_from_the_permanent_service(
    checkout: Checkout, mirror: Archive, permanent: Archive
) -> None:
    mirror.files.clear()
    done = checkout.fetch(
        DEBIAN_MIRROR=f"{mirror.url}/debian",
        DEBIAN_SNAPSHOT=f"{permanent.url}/archive",
    )
    assert done.returncode == 0, done.stdout
    assert mirror.asked == [f"/debian/{POOL}"]
    assert permanent.asked == [f"/archive/{SNAPSHOT}/{POOL}"]


def test_package_that_nobody_has_is_named_with_both_remedies(
    checkout: Checkout, mirror: Archive, package: bytes
) -> None:
    mirror.files.clear()
    done = checkout.fetch(DEBIAN_MIRROR=f"{mirror.url}/debian")
    assert done.returncode != 0
    digest = hashlib.sha256(package).hexdigest()
    assert f"tool 1: expected sha256 {digest}" in done.stdout
    for remedy in ("DEBIAN_MIRROR", "DEBIAN_SNAPSHOT", "//third_party/debian:lock"):
        assert remedy in done.stdout


def test_package_with_other_bytes_is_refused(
    checkout: Checkout, mirror: Archive
) -> None:
    mirror.files[f"debian/{POOL}"] = ar({"debian-binary": b"2.0\n"})
    done = checkout.fetch(DEBIAN_MIRROR=f"{mirror.url}/debian")
    assert done.returncode != 0
    assert "expected sha256" in done.stdout


def test_ubuntu_fetches_from_the_archive_that_python_apt_names(
    checkout: Checkout, mirror: Archive
) -> None:
    listed = checkout.folder / "Debian.info"
    listed.write_text(f"BaseURI: {mirror.url}/debian\n")
    ubuntu = "http://127.0.0.1:9/ubuntu"
    checkout.program("apt-get", f"echo \"'{ubuntu}/dists/noble/InRelease' name 0\"")
    checkout.program("dpkg-query", f"echo {listed}")
    done = checkout.fetch()
    assert done.returncode == 0, done.stdout
    assert mirror.asked == [f"/debian/{POOL}"]


def test_ubuntu_without_python_apt_is_asked_for_a_mirror(checkout: Checkout) -> None:
    ubuntu = "http://127.0.0.1:9/ubuntu"
    checkout.program("apt-get", f"echo \"'{ubuntu}/dists/noble/InRelease' name 0\"")
    done = checkout.fetch()
    assert done.returncode != 0
    assert "set DEBIAN_MIRROR to the root of a Debian archive" in done.stdout
    assert "//third_party/debian:lock" not in done.stdout
