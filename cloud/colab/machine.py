"""The machine of a hosted notebook: its accelerator, and the programs without Bazel.

Bazel puts the programs that a program starts into its runfiles. A hosted notebook has
only a checkout, so a launcher for each program is written where `cloud.programs` looks
for it.
"""

from __future__ import annotations

import collections
import dataclasses
import os
import shlex
import sys
from pathlib import Path

import jax

from cloud import programs

_NAMES = {"tpu": "TPU", "gpu": "GPU", "cuda": "GPU", "rocm": "GPU", "cpu": "CPU"}


@dataclasses.dataclass(frozen=True)
class Accelerator:
    """The devices that JAX uses by default.

    Attributes:
        kind: `TPU`, `GPU` or `CPU`.
        models: number of devices of each model.
        jax_version: version of JAX.
    """

    kind: str
    models: dict[str, int]
    jax_version: str

    def __str__(self) -> str:
        """Describes the devices in one line and warns that a CPU takes longer."""
        listed = ", ".join(f"{n} x {model}" for model, n in self.models.items())
        text = f"{self.kind}: {listed}, jax {self.jax_version}"
        if self.kind != "CPU":
            return text
        return f"{text}, {os.cpu_count()} cores; no TPU or GPU, training takes longer"


def find_accelerator() -> Accelerator:
    """Asks JAX, which prefers a TPU to a GPU, and a GPU to the CPU."""
    devices = jax.devices()
    models = collections.Counter(device.device_kind for device in devices)
    kind = _NAMES.get(devices[0].platform, devices[0].platform)
    return Accelerator(kind, dict(models), jax.__version__)


PROGRAMS = {
    "cloud/curate/curate": "cloud.curate.curate",
    "cloud/demo/build_dataset": "cloud.demo.build_dataset",
    "cloud/index/index": "cloud.index.index",
    "cloud/ingest/ingest": "cloud.ingest.ingest",
    "edge/record": "edge.record",
    "edge/run": "edge.run",
    "edge/episodes/upload": "edge.episodes.upload",
}


def ensure_launchers(folder: Path) -> bool:
    """Writes launchers below `folder` and points `RUNFILES_DIR` there, if needed.

    Returns:
        True if launchers were needed; False if Bazel provides the programs.
    """
    if (programs.root() / "edge/run").exists():
        return False
    checkout = Path(programs.__file__).absolute().parent.parent
    path = os.pathsep.join([str(checkout), *(p for p in sys.path if p)])
    for program, module in PROGRAMS.items():
        launcher = folder / programs.WORKSPACE / program
        launcher.parent.mkdir(parents=True, exist_ok=True)
        launcher.write_text(
            f"#!/bin/sh\nexport PYTHONPATH={shlex.quote(path)} JAX_PLATFORMS=cpu\n"
            f'exec {shlex.quote(sys.executable)} -m {module} "$@"\n'
        )
        launcher.chmod(0o755)
    os.environ["RUNFILES_DIR"] = str(folder.absolute())
    return True
