"""Runs the bundle of a Raspberry Pi 5 on this machine, for tests.

QEMU executes the bundle's own aarch64 interpreter and libraries as a Cortex-A76. A test
that does this holds both files as data and names them in the environment variables
BUNDLE and QEMU.
"""

import json
import os
import subprocess
import tarfile
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

import numpy as np


def unpack(folder: Path) -> Path:
    """Unpacks the bundle below `folder`, and returns its root."""
    with tarfile.open(Path(os.environ["BUNDLE"]).absolute()) as tar:
        tar.extractall(folder, filter="data")
    return folder / "continuon"


def run(
    root: Path,
    *arguments: str,
    environment: Mapping[str, str] = MappingProxyType({}),
) -> subprocess.CompletedProcess[str]:
    """Runs the bundle's launcher with QEMU in place of the Pi's processor.

    Of this process's environment it sees nothing, only what `environment` adds.
    """
    qemu = Path(os.environ["QEMU"]).absolute()
    return subprocess.run(
        [root / "bin" / "continuon-run", *arguments],
        env={
            "CACHE_DIRECTORY": str(root.with_name("cache")),
            "CONTINUON_EMULATOR": f"{qemu} -cpu cortex-a76",
            "PATH": "/usr/bin:/bin",
            **environment,
        },
        capture_output=True,
        text=True,
        check=False,
    )


def actions(path: Path) -> np.ndarray:
    """The proposed actions of the one episode in a file of `--actions_json`."""
    (episode,) = json.loads(path.read_bytes())["episodes"]
    return np.array(episode["actions"], np.float32)
