"""Makes the Pi bundle from a list of files; a Bazel action runs it.

The list has one `path<TAB>file` per line: the path in the bundle and the file that
holds its content.
"""

import base.interrupt  # noqa: F401 - Ctrl-C ends it from here on

from fnmatch import fnmatchcase
from pathlib import Path

from absl import flags

from base import command_line, path_flags, project_version
from edge import errors
from edge.bundle import archive, elf

_FILES = flags.DEFINE_string(
    "files", None, "list of `path<TAB>file` lines", required=True
)
_OUTPUT = flags.DEFINE_string("output", None, "archive to write", required=True)
_ROOT = flags.DEFINE_string("root", "continuon", "folder inside the archive")
_TARGET = flags.DEFINE_string(
    "target", "pi5-cpu", "export target of the packages that it runs"
)
_VERSION = flags.DEFINE_string(
    "runtime_version", project_version.VERSION, "version of the runtime"
)
_MACHINE = flags.DEFINE_string("machine", "aarch64", "processor of every native file")
_LEAVE_OUT = flags.DEFINE_multi_string(
    "leave_out", [], "pattern of paths to leave out, such as site-packages/*/tests/*"
)
_LISTING = flags.DEFINE_string(
    "listing", archive.LISTING, "path of the listing inside the root"
)
path_flags.files("files", "output")


def read_list(lines: list[str], leave_out: list[str], source: str) -> dict[str, Path]:
    """Returns files by path in the bundle.

    Raises:
        BundleListError: a line is malformed, or a path has two files.
    """
    files: dict[str, Path] = {}
    for number, line in enumerate(lines, start=1):
        path, tab, file = line.partition("\t")
        if not tab or not path or path.startswith("/") or ".." in path.split("/"):
            raise errors.BundleListError(
                f"{source}:{number}",
                "a relative path, a tab and a file",
                f"{line!r}",
                "correct the rule that wrote the list",
            )
        if any(fnmatchcase(path, pattern) for pattern in leave_out):
            continue
        if files.setdefault(path, Path(file)) != Path(file):
            raise errors.BundleListError(
                f"{source}:{number}",
                f"{path} once",
                f"it from {files[path]} and {file}",
                "leave one of them out",
            )
    return files


def is_program(path: str) -> bool:
    """Tells from its path whether a file is executable.

    File modes are not used, because they differ between build machines.
    """
    folder, _, name = path.rpartition("/")
    return folder in ("bin", "python/bin") or name.startswith("ld-linux-")


def main(argv: list[str]) -> None:
    """Reads the files and writes the archive."""
    del argv
    lines = Path(_FILES.value).read_text("utf-8").splitlines()
    files = read_list(lines, _LEAVE_OUT.value, _FILES.value)
    entries = {
        path: archive.Entry(elf.cut_symbols(file.read_bytes()), is_program(path))
        for path, file in files.items()
    }
    archive.require_machine(entries, _MACHINE.value)
    facts = {"target": _TARGET.value, "version": _VERSION.value}
    archive.write(Path(_OUTPUT.value), _ROOT.value, entries, facts, _LISTING.value)


if __name__ == "__main__":
    command_line.run(main)
