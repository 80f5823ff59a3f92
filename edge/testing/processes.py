"""Runs the commands of this folder as child processes, for tests."""

import os
import subprocess
import sys
from pathlib import Path


def command(module: str, *arguments: str) -> list[str]:
    """The command line that runs a module of this repository."""
    return [sys.executable, "-m", module, *arguments]


def environment() -> dict[str, str]:
    """This process's environment, with its import path for the child."""
    return {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}


def run(module: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Runs a module to its end and returns what it printed."""
    return subprocess.run(
        command(module, *arguments),
        capture_output=True,
        text=True,
        check=False,
        env=environment(),
    )


def start(module: str, *arguments: str) -> subprocess.Popen[str]:
    """Starts a module whose output can be read while it runs."""
    return subprocess.Popen(
        command(module, *arguments),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=environment(),
    )


def read_tree(folder: Path) -> dict[str, bytes]:
    """Reads every file below a folder, by relative path."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }
