"""The project's other programs, found beside this one and run as processes.

The forge judges a package with the robot's own binary, so that the code that
judged it is the code that runs it. It crosses as a program, never as an import.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from cloud.errors import ProgramFailedError, ProgramMissingError

WORKSPACE = "continuonbrain"
"""The name of the repository among the files that Bazel lays out."""

# Absolute while the process is still in the folder it was started in.
_LAUNCHER_FILES = Path(sys.argv[0] + ".runfiles").absolute() / WORKSPACE


def root() -> Path:
    """Folder that holds the project's programs and data as Bazel lays them out."""
    beside = Path(__file__).absolute().parent.parent
    if ".runfiles" in str(beside):
        return beside
    runfiles = os.environ.get("RUNFILES_DIR")
    if runfiles:
        return Path(runfiles) / WORKSPACE
    return _LAUNCHER_FILES if _LAUNCHER_FILES.is_dir() else beside


def locate(path: str) -> Path:
    """The program or data file with this path in the repository, made absolute.

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
    """Starts a program with its output going to a log file.

    Raises:
        ProgramMissingError: the program is not among this program's files.
    """
    command = [str(locate(program)), *arguments]
    # A program brings its own libraries; this one's must not come before them.
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
        ProgramFailedError: it exited with another code than 0.
    """
    code = process.wait()
    if code != 0:
        raise ProgramFailedError(
            log,
            f"{_label(program)} to exit with 0",
            f"{code}: {last_line(log) or 'no output'}",
        )


def run(program: str, arguments: Sequence[str], log: Path) -> None:
    """Runs a program to its end.

    Raises:
        ProgramMissingError: the program is not among this program's files.
        ProgramFailedError: it exited with another code than 0.
    """
    finish(start(program, arguments, log), program, log)


def _label(program: str) -> str:
    """Name of a program as users type it: its folder and its file's name."""
    parts = program.split("/")
    return f"//{parts[0]}:{parts[-1]}"


def last_line(log: Path) -> str:
    """The last line with something on it; a program's one-line reason."""
    try:
        text = log.read_text("utf-8", errors="replace")
    except OSError:
        return ""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1] if lines else ""
