"""Runs the programs of this folder as processes, here or on an emulated Pi, for tests.

To emulate the Pi, QEMU runs the aarch64 interpreter and libraries of a bundle
(`bundles.py`) as a Cortex-A76. A test that does this has QEMU as data and names it in
the environment variable QEMU.
"""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType

import numpy as np

from base.testing import command as forked


def command(module: str, *arguments: str, prelude: str = "") -> list[str]:
    """The command line that runs a module of this repository.

    Args:
        module: its name.
        arguments: its arguments.
        prelude: Python that its process runs first, to give it small limits or a
            machine that fails.
    """
    if not prelude:
        return [sys.executable, "-m", module, *arguments]
    run = f"runpy.run_module({module!r}, run_name='__main__', alter_sys=True)"
    return [sys.executable, "-c", f"{prelude}\nimport runpy\n{run}", *arguments]


def environment() -> dict[str, str]:
    """This process's environment, with its import path for the child."""
    return {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}


def run(
    module: str, *arguments: str, prelude: str = ""
) -> subprocess.CompletedProcess[str]:
    """Runs a module to its end and returns what it printed; see `command`."""
    return subprocess.run(
        command(module, *arguments, prelude=prelude),
        capture_output=True,
        text=True,
        check=False,
        env=environment(),
        timeout=forked.LONGEST_S,
    )


def run_forked(
    module: str, *arguments: str, before: Callable[[], object] = lambda: None
) -> subprocess.CompletedProcess[str]:
    """The same as `run`, in a fork of the test, which takes a tenth of the time.

    `before` is called in the fork first; see `base.testing.command`.
    """

    def begin() -> None:
        os.environ.update(environment())  # for what it starts itself
        before()

    done = forked.run(module, *arguments, before=begin)
    return subprocess.CompletedProcess(
        command(module, *arguments), done.code, done.out, done.err
    )


def start(module: str, *arguments: str, prelude: str = "") -> subprocess.Popen[str]:
    """Starts a module whose output can be read while it runs; see `command`."""
    return subprocess.Popen(
        command(module, *arguments, prelude=prelude),
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


def run_on_pi(
    root: Path,
    *arguments: str,
    environment: Mapping[str, str] = MappingProxyType({}),
) -> subprocess.CompletedProcess[str]:
    """Runs the bundle's launcher with QEMU instead of the Pi's processor.

    It does not see this process's environment, only the variables in `environment`.
    """
    return subprocess.run(
        [root / "bin" / "continuon-run", *arguments],
        env={**_emulate(root), **environment},
        capture_output=True,
        text=True,
        check=False,
    )


def start_on_pi(
    root: Path, *arguments: str, environment: Mapping[str, str], log: Path
) -> subprocess.Popen[bytes]:
    """The same as `run_on_pi` for a program that runs on, and says all into `log`."""
    with log.open("ab") as said:
        return subprocess.Popen(
            [root / "bin" / "continuon-run", *arguments],
            env={**_emulate(root), **environment},
            stdout=said,
            stderr=said,
        )


def _emulate(root: Path) -> dict[str, str]:
    """The environment in which the launcher of a bundle runs on another processor."""
    qemu = Path(os.environ["QEMU"]).absolute()
    return {
        "CACHE_DIRECTORY": str(root.with_name("cache")),
        "CONTINUON_EMULATOR": f"{qemu} -cpu cortex-a76",
        "PATH": "/usr/bin:/bin",
    }


def read_actions(path: Path) -> np.ndarray:
    """Reads the actions [T, A] of the only episode in a file of `--actions_json`."""
    (episode,) = json.loads(path.read_bytes())["episodes"]
    return np.array(episode["actions"], np.float32)
