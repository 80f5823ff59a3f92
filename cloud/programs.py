"""The project's other programs, found beside this one and run as processes.

The forge evaluates a package with the robot's own binary, so that the code that
judges a package is the code that runs it. The two meet as processes: `cloud` never
imports `edge`.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from cloud.errors import ProgramFailedError, ProgramMissingError

WORKSPACE = "continuonbrain"
"""Name of this repository in a Bazel runfiles tree."""

_MODULE = "_main"  # the same, when Bazel read MODULE.bazel

# Made absolute at import, before the process can change its working folder.
_LAUNCHER_FILES = Path(sys.argv[0] + ".runfiles").absolute()


def root() -> Path:
    """Returns the folder that holds the project's programs and data, as in runfiles."""
    beside = Path(__file__).absolute().parent.parent
    if ".runfiles" in str(beside):
        return beside
    runfiles = os.environ.get("RUNFILES_DIR")
    if runfiles:
        return _find_repository(Path(runfiles))
    return _find_repository(_LAUNCHER_FILES) if _LAUNCHER_FILES.is_dir() else beside


def _find_repository(runfiles: Path) -> Path:
    module = runfiles / _MODULE
    return module if module.is_dir() else runfiles / WORKSPACE


def locate(path: str) -> Path:
    """Returns the absolute path of a program or data file of this repository.

    Args:
        path: its path in the repository, such as `edge/run`.

    Raises:
        ProgramMissingError: it is not among this program's files.
    """
    found = root() / path
    if not found.exists():
        raise ProgramMissingError(
            found,
            f"this program's own copy of //{path}",
            "nothing",
            "start it with ./bazelw run",
        )
    return found.absolute()


def start(program: str, arguments: Sequence[str], log: Path) -> subprocess.Popen[bytes]:
    """Starts a program and writes its output to a log file.

    Raises:
        ProgramMissingError: the program is not among this program's files.
    """
    command = [str(locate(program)), *arguments]
    # The program has its own libraries; this process's must not shadow them.
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    with log.open("wb") as output:
        return subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            env=environment,
        )


def finish(process: subprocess.Popen[bytes], program: str, log: Path) -> None:
    """Waits for a program that `start` started.

    Raises:
        ProgramFailedError: its exit code is not 0.
    """
    code = process.wait()
    if code != 0:
        raise ProgramFailedError(
            log,
            f"{_label(program)} to exit with 0",
            f"{code}: {last_line(log) or 'no output'}",
        )


def run(program: str, arguments: Sequence[str], log: Path) -> None:
    """Runs a program and waits for it to end.

    Raises:
        ProgramMissingError: the program is not among this program's files.
        ProgramFailedError: its exit code is not 0.
    """
    finish(start(program, arguments, log), program, log)


def _label(program: str) -> str:
    """Returns the label that users type: the top folder and the file's name."""
    parts = program.split("/")
    return f"//{parts[0]}:{parts[-1]}"


def last_line(log: Path) -> str:
    """Returns the last line that is not blank, where a program states its reason."""
    try:
        text = log.read_text("utf-8", errors="replace")
    except OSError:
        return ""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1] if lines else ""
