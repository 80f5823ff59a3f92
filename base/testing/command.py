"""Runs a command of this project in a child process, for tests.

The child is a fork and keeps what the test has imported, so that a test of forty
commands takes seconds. The command has its own argv, stdout and stderr, and its exit
code is that of the process.
"""

import os
import runpy
import sys
import tempfile
import traceback
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Finished:
    """How a command ended: its exit code, or minus the signal, and its output."""

    code: int
    out: str
    err: str


def run(command: str | Path, *arguments: str) -> Finished:
    """Runs a module (by name) or a script (by path) as `__main__`.

    The test itself must not import the module, since flags can be defined only once.
    """
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        child = os.fork()
        if child == 0:
            os.dup2(out.fileno(), 1)
            os.dup2(err.fileno(), 2)
            os._exit(_main(command, arguments))
        _, status = os.waitpid(child, 0)
        texts = []
        for stream in (out, err):
            stream.seek(0)
            texts.append(stream.read().decode())
    return Finished(os.waitstatus_to_exitcode(status), *texts)


def _main(command: str | Path, arguments: tuple[str, ...]) -> int:
    """Runs the command in the child and returns its exit code."""
    sys.stdout = os.fdopen(1, "w", closefd=False)
    sys.stderr = os.fdopen(2, "w", closefd=False)
    sys.argv = [str(command), *arguments]
    try:
        if isinstance(command, Path):
            runpy.run_path(str(command), run_name="__main__")
        else:
            runpy.run_module(command, run_name="__main__", alter_sys=True)
        code = 0
    except SystemExit as e:
        code = e.code if isinstance(e.code, int) else 1
    except BaseException:
        traceback.print_exc()
        code = 1
    sys.stdout.flush()
    sys.stderr.flush()
    return code
