"""Runs a benchmark as its user does: a process with flags."""

import os
import subprocess
import sys
from pathlib import Path


def run(program: str, *arguments: str) -> "subprocess.CompletedProcess[str]":
    """What came of a program of this folder, whatever its exit code is."""
    # As Bazel runs it: without its folder in the path, whose `model.py` hides `model/`.
    return subprocess.run(
        [sys.executable, "-P", str(Path(__file__).with_name(program)), *arguments],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        check=False,
    )
