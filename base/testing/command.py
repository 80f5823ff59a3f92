"""Runs a command of this project in a child process, for tests.

The child is a fork and keeps what the test has imported, so that a test of forty
commands takes seconds. The command has its own argv, stdout and stderr, and its exit
code is that of the process. What a module imports, the test imports before the first
fork; the module itself runs in the child alone.
"""

import ast
import functools
import importlib
import importlib.util
import os
import runpy
import select
import signal
import sys
import time
import traceback
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from absl import flags

LONGEST_S: Final = 240.0
"""Less than a medium test may take, so that what has hung says what it was doing."""


@dataclass(frozen=True)
class Finished:
    """How a command ended: its exit code, or minus the signal, and its output."""

    code: int
    out: str
    err: str


def run(
    command: str | Path,
    *arguments: str,
    before: Callable[[], object] = lambda: None,
) -> Finished:
    """Runs a module (by name) or a script (by path) as `__main__`.

    Args:
        command: the module or script.
        arguments: its arguments.
        before: called in the child first, to give it small limits or a machine that
            fails.

    Raises:
        AssertionError: it did not end within `LONGEST_S`, and was killed.
    """
    if isinstance(command, str):
        import_what_it_imports(command)
    (out, to_out), (err, to_err) = os.pipe(), os.pipe()
    child = os.fork()
    if child == 0:
        os.dup2(to_out, 1)
        os.dup2(to_err, 2)
        for pipe in (out, to_out, err, to_err):
            os.close(pipe)
        os._exit(_main(command, arguments, before))
    os.close(to_out)
    os.close(to_err)
    texts, ended = _read_both(out, err)
    if not ended:
        os.kill(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    assert ended, f"{command} has not ended after {LONGEST_S} s: {texts}"
    return Finished(os.waitstatus_to_exitcode(status), *texts)


def _read_both(*pipes: int) -> tuple[list[str], bool]:
    """Reads pipes side by side to their ends; a full one would stop its writer.

    Returns:
        What they held, and whether they came to their ends in time.
    """
    read = dict.fromkeys(pipes, b"")
    open_pipes = set(pipes)
    end_s = time.monotonic() + LONGEST_S
    while open_pipes and (left_s := end_s - time.monotonic()) > 0:
        for pipe in select.select(open_pipes, [], [], left_s)[0]:
            part = os.read(pipe, 1 << 16)
            read[pipe] += part
            if not part:
                open_pipes.remove(pipe)
                os.close(pipe)
    for pipe in open_pipes:
        os.close(pipe)
    return [text.decode() for text in read.values()], not open_pipes


@functools.cache
def import_what_it_imports(module: str) -> None:
    """Imports what the source of a module imports at its top level, and not itself.

    Left to the child are `base.interrupt`, which changes what Ctrl-C does, and modules
    of flags, because two commands may define the same flag.
    """
    found = importlib.util.find_spec(module)
    assert found is not None and found.origin is not None, module
    for statement in ast.parse(Path(found.origin).read_bytes()).body:
        if isinstance(statement, ast.Import):
            names = [alias.name for alias in statement.names]
        elif isinstance(statement, ast.ImportFrom):
            origin = str(statement.module)
            names = [origin, *(f"{origin}.{alias.name}" for alias in statement.names)]
            names = names if not origin.endswith("_flags") else []
        else:
            continue
        for name in names:
            if name != "base.interrupt" and not name.endswith("_flags"):
                _import_if_a_module(name)


def _import_if_a_module(name: str) -> None:
    parent, _, last = name.rpartition(".")
    if not parent or not hasattr(sys.modules.get(parent), last):
        importlib.import_module(name)


def _forget(module: str) -> None:
    """Undoes a test's own import: it would have defined the flags already."""
    if sys.modules.pop(module, None):
        for flag in flags.FLAGS.get_flags_for_module(module):
            delattr(flags.FLAGS, flag.name)


def start(
    command: str,
    *arguments: str,
    out: int,
    err: int,
    before: Callable[[], object] = lambda: None,
) -> int:
    """Starts a module as `run` does, without waiting for it.

    Args:
        command: the module.
        arguments: its arguments.
        out: descriptor that becomes its stdout.
        err: descriptor that becomes its stderr.
        before: as for `run`.

    Returns:
        Id of its process, which the caller waits for.
    """
    import_what_it_imports(command)
    child = os.fork()
    if child == 0:
        os.dup2(out, 1)
        os.dup2(err, 2)
        os._exit(_main(command, arguments, before))
    return child


def _main(
    command: str | Path, arguments: tuple[str, ...], before: Callable[[], object]
) -> int:
    """Runs the command in the child and returns its exit code."""
    sys.stdout = os.fdopen(1, "w", closefd=False)
    sys.stderr = os.fdopen(2, "w", buffering=1, closefd=False)  # as Python's own
    sys.argv = [str(command), *arguments]
    # The test's own warnings are errors; of this kind are those of others' packages.
    warnings.simplefilter("ignore", ImportWarning)
    try:
        before()
        _forget(str(command))
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
