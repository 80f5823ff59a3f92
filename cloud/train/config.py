"""How one model is trained: every number that decides the result."""

import dataclasses
from pathlib import Path

from model import config as model_config
from model.config import PresetTraining

_SWITCH = ("auto", "on", "off")
_DTYPES = ("auto", "float32", "bfloat16")

PART_STEPS_ON_CPU = 2048
"""Control steps in one part of a batch on a CPU. Matrix products are as fast as with
more, and intermediate results stay in the caches: at 2,048 steps per window the `seed`
preset trains at 10,198 steps/s in parts of one window, and at 7,304 in one part of 16
(docs/benchmarks.md)."""


@dataclasses.dataclass(frozen=True)
class TrainConfig:
    """How one model is trained.

    Zero and `auto` mean the preset's value in `model.config.PRESET_TRAINING`. A created
    record holds that value instead, except for `compute_dtype` and
    `accumulation_steps`, which also depend on the devices: see `for_platform`.

    Attributes:
        updates: number of updates.
        batch_size: windows per update, over all devices; 0: the preset's.
        sequence_length: steps per window; 0: the preset's.
        learning_rate: highest learning rate, reached after warm-up, followed by a
            cosine to zero; 0: the preset's.
        warmup_updates: updates of linear warm-up.
        weight_decay: decoupled weight decay of matrices, per unit learning rate.
        gradient_norm: largest L2 norm of a gradient; larger ones are scaled down.
        average_decay: decay of the running average of the parameters, which is
            evaluated and exported.
        next_share: weight of the next-observation loss relative to the action loss.
        seed: decides the initial parameters and the windows of every update.
        checkpoint_period_updates: updates between checkpoints.
        report_period_updates: updates between two points of the loss curve and between
            two refreshes of the progress line.
        preset: `tiny`, `pi5`, `seed`, `rtx3050` or `vertex`, the size of the model.
        senses: whether the model reads camera frames and sound, if the dataset's
            episodes have them, in addition to the state.
        sense_dropout: share of windows in which a camera, or the sound, is silent or
            stands still for a while, as one whose cable fell out.
        accumulation_steps: parts of equally many windows that each batch is split into
            and processed in turn, the result is the same; 0: the preset's, and on a CPU
            as many as keep a part near `PART_STEPS_ON_CPU`.
        compute_dtype: `float32` or `bfloat16`, of matrices and activations; `auto`:
            the preset's if the device has instructions for it, else float32.
            Parameters, moments and average are always float32.
        remat: `on` recomputes blocks in the backward pass instead of keeping them,
            `off` does not; `auto`: the preset's.

    Raises:
        ValueError: a number is out of its range.
    """

    updates: int = 2000
    batch_size: int = 0
    sequence_length: int = 0
    learning_rate: float = 0.0
    warmup_updates: int = 100
    weight_decay: float = 0.01
    gradient_norm: float = 1.0
    average_decay: float = 0.998
    next_share: float = 1.0
    seed: int = 0
    checkpoint_period_updates: int = 1000
    report_period_updates: int = 50
    preset: str = "pi5"
    senses: bool = True
    sense_dropout: float = 0.1
    accumulation_steps: int = 0
    compute_dtype: str = "auto"
    remat: str = "auto"

    def __post_init__(self) -> None:
        _one_of("preset", self.preset, tuple(model_config.PRESETS))
        _one_of("compute_dtype", self.compute_dtype, _DTYPES)
        _one_of("remat", self.remat, _SWITCH)
        self._fill_in(model_config.PRESET_TRAINING[self.preset])
        for name in (
            "updates",
            "batch_size",
            "sequence_length",
            "checkpoint_period_updates",
            "report_period_updates",
        ):
            if getattr(self, name) < 1:
                raise ValueError(
                    f"{name}: expected at least 1, got {getattr(self, name)}"
                )
        if not self.learning_rate > 0:
            raise ValueError(
                f"learning_rate: expected above 0, got {self.learning_rate}"
            )
        if not 0.0 <= self.sense_dropout <= 1.0:
            raise ValueError(
                f"sense_dropout: expected 0 to 1, got {self.sense_dropout}"
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
        """Returns a copy in which the dtype and the number of parts are decided.

        A CPU without bfloat16 instructions multiplies bfloat16 more slowly than
        float32.

        Args:
            platform: `cpu`, `gpu`, …
            devices: number of devices that share the batch.
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
            # A batch that the preset's number of parts does not divide is one part.
            parts = parts if windows % parts == 0 else 1
        return dataclasses.replace(self, compute_dtype=dtype, accumulation_steps=parts)


def parts_on_cpu(windows: int, sequence_length: int) -> int:
    """Returns the divisor of `windows` that keeps a part near `PART_STEPS_ON_CPU`."""
    wanted = max(1, windows * sequence_length // PART_STEPS_ON_CPU)
    return max(x for x in range(1, windows + 1) if windows % x == 0 and x <= wanted)


def _one_of(name: str, value: str, known: tuple[str, ...]) -> None:
    if value not in known:
        raise ValueError(f"{name}: expected one of {', '.join(known)}, got {value!r}")


_BFLOAT16_PRODUCTS = ("avx512_bf16", "amx_bf16")
"""Instructions that multiply pairs of bfloat16 and add in f32. With them a product of
two matrices is 1.8 to 2 times as fast as in f32 (docs/benchmarks.md); without them
bfloat16 is widened first, which is slower than f32."""


def multiplies_bfloat16(cpuinfo: Path = Path("/proc/cpuinfo")) -> bool:
    """Tells whether this CPU multiplies bfloat16 faster than f32.

    Args:
        cpuinfo: the kernel's list of features; without one the answer is no.
    """
    try:
        lines = cpuinfo.read_text(errors="replace").splitlines()
    except OSError:
        return False
    flags = next((line for line in lines if line.startswith("flags")), "")
    return any(name in flags.split() for name in _BFLOAT16_PRODUCTS)
