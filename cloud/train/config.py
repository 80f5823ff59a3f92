"""How one model is trained: every number that decides what comes out."""

import dataclasses
from pathlib import Path

from model import config as model_config
from model.config import PresetTraining

_SWITCH = ("auto", "on", "off")
_DTYPES = ("auto", "float32", "bfloat16")

PART_STEPS_ON_CPU = 2048
"""Control steps of a part of a batch on a CPU. Products are as fast as with more, and
what lies between them stays in the caches: at 2,048 steps per window the `seed` preset
trains at 10,198 steps/s in parts of one window, and at 7,304 in one part of 16
(docs/benchmarks.md)."""


@dataclasses.dataclass(frozen=True)
class TrainConfig:
    """How one model is trained.

    Zero, and `auto`, stand for what `model.config.PRESET_TRAINING` says of the preset;
    a made record holds the preset's numbers in their place, except `compute_dtype` and
    `accumulation_steps`, which depend on the devices as well: see `for_platform`.

    Attributes:
        steps: optimiser steps.
        batch_size: windows per optimiser step, over all devices; 0: the preset's.
        sequence_length: steps per window; 0: the preset's.
        learning_rate: highest learning rate, reached after warm-up; falls to zero
            along a cosine; 0: the preset's.
        warmup_steps: optimiser steps of linear warm-up.
        weight_decay: decoupled weight decay of matrices, per unit learning rate.
        gradient_norm: gradients are cut to this L2 norm.
        average_decay: decay of the running average of the parameters, which is
            what is evaluated and exported.
        next_share: weight of the next-observation loss beside the action loss.
        seed: decides initial parameters and the windows of every step.
        checkpoint_period_steps: optimiser steps between checkpoints.
        report_period_steps: optimiser steps between two points of the loss curve,
            and between two updates of the progress line.
        preset: `tiny`, `pi5`, `seed`, `rtx3050` or `vertex`, the size of the model.
        senses: whether the model reads the camera frames and the sound of the
            dataset's episodes, where they have them, and not their state alone.
        accumulation_steps: parts of equal numbers of windows that a batch is worked
            through in, one after the other, with the same result; 0: the preset's, and
            on a CPU as many as keep a part near `PART_STEPS_ON_CPU`.
        compute_dtype: `float32` or `bfloat16`, of matrices and activations; `auto`:
            the preset's where the device has instructions for it, else float32.
            Parameters, moments and average are float32 in any case.
        remat: `on` computes blocks again in the backward pass instead of keeping
            them, `off` does not; `auto`: the preset's.

    Raises:
        ValueError: a number is out of its range.
    """

    steps: int = 2000
    batch_size: int = 0
    sequence_length: int = 0
    learning_rate: float = 0.0
    warmup_steps: int = 100
    weight_decay: float = 0.01
    gradient_norm: float = 1.0
    average_decay: float = 0.998
    next_share: float = 1.0
    seed: int = 0
    checkpoint_period_steps: int = 1000
    report_period_steps: int = 50
    preset: str = "pi5"
    senses: bool = True
    accumulation_steps: int = 0
    compute_dtype: str = "auto"
    remat: str = "auto"

    def __post_init__(self) -> None:
        _one_of("preset", self.preset, tuple(model_config.PRESETS))
        _one_of("compute_dtype", self.compute_dtype, _DTYPES)
        _one_of("remat", self.remat, _SWITCH)
        self._fill_in(model_config.PRESET_TRAINING[self.preset])
        for name in (
            "steps",
            "batch_size",
            "sequence_length",
            "checkpoint_period_steps",
            "report_period_steps",
        ):
            if getattr(self, name) < 1:
                raise ValueError(
                    f"{name}: expected at least 1, got {getattr(self, name)}"
                )
        if not self.learning_rate > 0:
            raise ValueError(
                f"learning_rate: expected above 0, got {self.learning_rate}"
            )
        if self.accumulation_steps < 0:
            raise ValueError(
                f"accumulation_steps: expected at least 0, got"
                f" {self.accumulation_steps}"
            )
        if self.accumulation_steps and self.batch_size % self.accumulation_steps:
            raise ValueError(
                "batch_size: expected a multiple of accumulation_steps"
                f" {self.accumulation_steps}, got {self.batch_size}"
            )

    def _fill_in(self, preset: PresetTraining) -> None:
        for name in ("batch_size", "sequence_length", "learning_rate"):
            if getattr(self, name) == 0:
                object.__setattr__(self, name, getattr(preset, name))
        if self.remat == "auto":
            object.__setattr__(self, "remat", "on" if preset.remat else "off")

    def for_platform(self, platform: str, devices: int = 1) -> "TrainConfig":
        """The same with a dtype in the place of `auto`, and parts in that of 0.

        A CPU without instructions for it computes products of bfloat16 slower than
        those of float32.

        Args:
            platform: `cpu`, `gpu`, …
            devices: that share the batch.
        """
        preset = model_config.PRESET_TRAINING[self.preset]
        dtype, parts = self.compute_dtype, self.accumulation_steps
        if dtype == "auto":
            fast = platform != "cpu" or multiplies_bfloat16()
            dtype = preset.compute_dtype if fast else "float32"
        if parts == 0:
            windows = max(1, self.batch_size // devices)
            parts = preset.accumulation_steps
            if platform == "cpu":
                parts = max(parts, parts_on_cpu(windows, self.sequence_length))
            # A batch that the preset's parts do not divide is one part.
            parts = parts if windows % parts == 0 else 1
        return dataclasses.replace(self, compute_dtype=dtype, accumulation_steps=parts)


def parts_on_cpu(windows: int, sequence_length: int) -> int:
    """Parts of whole windows, each near `PART_STEPS_ON_CPU`; they divide `windows`."""
    wanted = max(1, windows * sequence_length // PART_STEPS_ON_CPU)
    return max(x for x in range(1, windows + 1) if windows % x == 0 and x <= wanted)


def _one_of(name: str, value: str, known: tuple[str, ...]) -> None:
    if value not in known:
        raise ValueError(f"{name}: expected one of {', '.join(known)}, got {value!r}")


_BFLOAT16_PRODUCTS = ("avx512_bf16", "amx_bf16")
"""Instructions that multiply pairs of bfloat16 and add in f32. With them a product of
two matrices is 1.8 to 2 times as fast as in f32 (docs/benchmarks.md); without, bfloat16
is widened first and slower than f32."""


def multiplies_bfloat16(cpuinfo: Path = Path("/proc/cpuinfo")) -> bool:
    """Whether products of bfloat16 are faster here than those of f32.

    Args:
        cpuinfo: the kernel's list of features; where there is none, the answer is no.
    """
    try:
        lines = cpuinfo.read_text(errors="replace").splitlines()
    except OSError:
        return False
    flags = next((line for line in lines if line.startswith("flags")), "")
    return any(name in flags.split() for name in _BFLOAT16_PRODUCTS)
