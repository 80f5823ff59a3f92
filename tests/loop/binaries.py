"""Runs the project's real binaries as a user does: flags in, exit code out."""

import os
import shutil
import subprocess
from pathlib import Path


def root() -> Path:
    """Folder of the binaries, in the layout that Bazel gives a test."""
    return Path(os.environ["TEST_SRCDIR"], os.environ["TEST_WORKSPACE"])


def copy_of_dataset(folder: Path) -> Path:
    """Copies the demo dataset as plain files; in a sandbox it consists of links."""
    dataset, copy = root() / "cloud/demo/dataset", folder / "dataset"
    for path in dataset.rglob("*"):
        if path.is_file():
            target = copy / path.relative_to(dataset)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, target)
    return copy


def start(
    program: str, *arguments: str, cwd: Path | None = None
) -> "subprocess.Popen[str]":
    """Starts a binary in its own process group."""
    return subprocess.Popen(
        [str(root() / program), *arguments],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        cwd=cwd,
    )


def run(program: str, *arguments: str) -> str:
    """Runs a binary that must succeed, and returns what it printed."""
    done = attempt(program, *arguments)
    assert done.returncode == 0, f"{program}: {done.stdout}\n{done.stderr}"
    return done.stdout


def refuse(program: str, *arguments: str) -> str:
    """Runs a binary that must fail with one line, and returns that line."""
    done = attempt(program, *arguments)
    assert done.returncode == 1, f"{program}: {done.stdout}\n{done.stderr}"
    lines = [line for line in done.stderr.splitlines() if line.strip()]
    assert len(lines) == 1, f"{program} said more than one line: {done.stderr}"
    return lines[0]


def attempt(program: str, *arguments: str) -> "subprocess.CompletedProcess[str]":
    """Runs a binary, whatever its exit code."""
    return subprocess.run(
        [str(root() / program), *arguments],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
