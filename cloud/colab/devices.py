"""Which accelerator this machine trains on, in words."""

from __future__ import annotations

import collections
import dataclasses
import os

import jax

_NAMES = {"tpu": "TPU", "gpu": "GPU", "cuda": "GPU", "rocm": "GPU", "cpu": "CPU"}


@dataclasses.dataclass(frozen=True)
class Found:
    """The devices that jax computes on by default.

    Attributes:
        kind: `TPU`, `GPU` or `CPU`.
        models: device model to the number of devices of it.
        jax_version: the jax that found them.
    """

    kind: str
    models: dict[str, int]
    jax_version: str

    def __str__(self) -> str:
        """One line for people, which says what a CPU means for the training time."""
        listed = ", ".join(f"{n} x {model}" for model, n in self.models.items())
        text = f"{self.kind}: {listed}, jax {self.jax_version}"
        if self.kind != "CPU":
            return text
        return f"{text}, {os.cpu_count()} cores; no TPU or GPU, training takes longer"


def find() -> Found:
    """Asks jax, which takes a TPU before a GPU before the CPU."""
    devices = jax.devices()
    models = collections.Counter(device.device_kind for device in devices)
    kind = _NAMES.get(devices[0].platform, devices[0].platform)
    return Found(kind, dict(models), jax.__version__)
