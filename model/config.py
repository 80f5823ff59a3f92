"""The shape of a WaveCore, as one frozen record with named presets.

A preset names two records: the sizes of the model, and the settings of training that
go with them. The second belongs here because it depends on the sizes: they decide
what fits into a device's memory and which learning rate works.
"""

import dataclasses
from collections.abc import Callable
from typing import Literal, NamedTuple

from model import errors
from rlds.spec import EpisodeSpec

SMALLEST_IMAGE = 16
"""The encoder halves an image three times and needs two rows after that."""

REST_CARRY = 1
"""Numbers that `model.rest` carries from step to step."""
RESPONSE_STEPS = 12
"""Last commands that still move the robot: 0.15 s at 80 Hz. With 8, what earlier ones
still do was laid to the last of them: a gain of 3.2 was found as 2.7 and 2.5 in one
axis, and with 12 steps as 3.2 and 3.0 (docs/decisions/0009)."""
REMEMBERED_COMMANDS = 28
"""Commands that `model.drives` carries from step to step: 0.35 s at 80 Hz."""

_MAY_BE_ZERO = ("image_height", "image_width", "audio_size")


@dataclasses.dataclass(frozen=True)
class WaveCoreConfig:
    """Sizes of a WaveCore; everything that fixes a parameter's shape.

    Attributes:
        state_size: n, channels of the observation state.
        action_size: a, channels of the action.
        task_count: k, tasks; a one-hot vector tells the model which one to do.
        width: d, channels of the residual stream.
        recurrence_size: e, channels of the recurrence of one block.
        hidden_size: f, hidden channels of the particle mixer of one block.
        block_count: number of residual blocks.
        adapter_rank: rank of the low-rank residual of one block.
        skill_levels: l, levels of the skill memory.
        skill_slots: m, slots of one level.
        skill_period: level l, counted from 0, is written at every
            `skill_period ** l`-th consolidation: the first level every time, each
            further level less often.
        longest_memory_steps: initial time constant of the slowest recurrent
            channel, in control steps; the fastest begins at one step.
        channels_per_gate: recurrent channels that share one gate; with more than one,
            the chunked form of the recurrence is a matrix product.
        oscillating: whether pairs of recurrent channels rotate by a learned angle per
            step (complex recurrence) instead of only decaying (real).
        image_height: h, rows of a camera frame; 0 for a robot without a camera.
        image_width: w, columns of a frame; 0 for a robot without a camera.
        image_count: q, cameras, whose frames stand beside each other.
        image_colours: c, directions in the space of colours whose places in a frame the
            model reads (`model.places`).
        audio_size: log-mel channels of the sound of one step; 0 without sound.

    Raises:
        ConfigError: a size is not a positive whole number, gates or pairs do not
            divide the recurrent channels, or a frame is smaller than
            `SMALLEST_IMAGE`.
    """

    state_size: int
    action_size: int
    task_count: int
    width: int = 96
    recurrence_size: int = 96
    hidden_size: int = 192
    block_count: int = 2
    adapter_rank: int = 4
    skill_levels: int = 2
    skill_slots: int = 4
    skill_period: int = 8
    longest_memory_steps: int = 32
    channels_per_gate: int = 1
    oscillating: bool = False
    image_height: int = 0
    image_width: int = 0
    image_count: int = 1
    image_colours: int = 64
    audio_size: int = 0

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if field.name == "oscillating" and type(value) is bool:
                continue
            least = 0 if field.name in _MAY_BE_ZERO else 1
            if type(value) is not int or value < least:
                raise errors.ConfigError(
                    f"WaveCoreConfig.{field.name}",
                    f"a whole number of at least {least}",
                    f"{value!r}",
                    "give every size explicitly",
                )

        frame = (self.image_height, self.image_width)
        if frame != (0, 0) and min(frame) < SMALLEST_IMAGE:
            raise errors.ConfigError(
                "WaveCoreConfig.image_height, image_width",
                f"at least {SMALLEST_IMAGE} each, or 0 and 0 without a camera",
                frame,
                "frames are scaled to this size before they reach the model",
            )
        shared = self.channels_per_gate * (2 if self.oscillating else 1)
        if self.recurrence_size % shared:
            raise errors.ConfigError(
                "WaveCoreConfig.recurrence_size",
                f"a multiple of {shared}",
                self.recurrence_size,
                "channels_per_gate channels share one gate, and so do the two "
                "channels of an oscillating pair",
            )

    @property
    def gate_count(self) -> int:
        """g, gates of one recurrence; the two channels of a pair share one."""
        shared = self.channels_per_gate * (2 if self.oscillating else 1)
        return self.recurrence_size // shared

    @property
    def carry_size(self) -> int:
        """c, recurrent channels of the whole model, and what `model.rest` carries."""
        return self.block_count * self.recurrence_size + REST_CARRY

    @property
    def step_carry_size(self) -> int:
        """Numbers of one control step for the next: c, `model.gaps`, `model.drives`."""
        commands = REMEMBERED_COMMANDS * self.action_size
        return self.carry_size + 3 * self.state_size + commands + 1

    @property
    def skill_periods(self) -> tuple[int, ...]:
        """Consolidations from one write of a level to its next, by level."""
        return tuple(self.skill_period**level for level in range(self.skill_levels))

    @property
    def episode_spec(self) -> EpisodeSpec:
        """What the episodes of this model's robot hold, including its senses.

        Raises:
            ValueError: a size is larger than an episode can hold.
        """
        return EpisodeSpec(
            self.state_size,
            self.action_size,
            image=self.image_height > 0,
            audio_size=self.audio_size,
        )


Dtype = Literal["float32", "bfloat16"]


@dataclasses.dataclass(frozen=True)
class PresetTraining:
    """The settings of training that belong to a preset.

    Attributes:
        compute_dtype: type of matrices and activations in the forward and backward
            pass. Parameters, moments, recurrent state and losses are always f32.
        accumulation_steps: parts that a batch is cut into and computed one after the
            other; the optimiser gets the mean of their gradients.
        remat: whether the backward pass recomputes the inside of each block instead
            of keeping it.
        batch_size: windows per update, all parts together.
        sequence_length: steps per window.
        learning_rate: the highest, reached after warm-up.

    Raises:
        ConfigError: a number is out of its range, or `accumulation_steps` does not
            divide `batch_size`.
    """

    compute_dtype: Dtype = "float32"
    accumulation_steps: int = 1
    remat: bool = False
    batch_size: int = 32
    sequence_length: int = 32
    learning_rate: float = 2e-3

    def __post_init__(self) -> None:
        if self.compute_dtype not in ("float32", "bfloat16"):
            raise errors.ConfigError(
                "PresetTraining.compute_dtype",
                "float32 or bfloat16",
                f"{self.compute_dtype!r}",
            )
        for name in ("accumulation_steps", "batch_size", "sequence_length"):
            value = getattr(self, name)
            if type(value) is not int or value < 1:
                raise errors.ConfigError(
                    f"PresetTraining.{name}",
                    "a whole number of at least 1",
                    f"{value!r}",
                )
        if self.batch_size % self.accumulation_steps:
            raise errors.ConfigError(
                "PresetTraining.batch_size",
                f"a multiple of accumulation_steps {self.accumulation_steps}",
                self.batch_size,
                "all parts have the same number of windows",
            )
        if not self.learning_rate > 0:
            raise errors.ConfigError(
                "PresetTraining.learning_rate", "above 0", self.learning_rate
            )


def tiny(state_size: int, action_size: int, task_count: int) -> WaveCoreConfig:
    """The smallest model, for tests: the whole structure, and no useful skill.

    `./bazelw run //cloud:train -- --preset=tiny --updates=200`: 5 thousand parameters,
    seconds on a CPU.

    Raises:
        ConfigError: a size is below 1.
    """
    return WaveCoreConfig(
        state_size,
        action_size,
        task_count,
        width=16,
        recurrence_size=16,
        hidden_size=16,
        block_count=2,
        adapter_rank=2,
        skill_levels=2,
        skill_slots=2,
        longest_memory_steps=8,
    )


def pi5(state_size: int, action_size: int, task_count: int) -> WaveCoreConfig:
    """The default: a few tasks, learned in half a minute.

    `./bazelw run //cloud:train`: 0.2 million parameters, 30 s on 2 CPU cores, 98 to
    100 % success on five Meta-World tasks.

    Raises:
        ConfigError: a size is below 1.
    """
    return WaveCoreConfig(state_size, action_size, task_count)


def seed(state_size: int, action_size: int, task_count: int) -> WaveCoreConfig:
    """Seed genesis: the model a fleet begins with.

    `./bazelw run //cloud:train -- --preset=seed --updates=1000`: 3.0 million
    parameters, 3 min on 2 CPU cores (5.6 updates per second, 11,000 control steps),
    99.6 % success on five Meta-World tasks.

    Raises:
        ConfigError: a size is below 1.
    """
    return WaveCoreConfig(
        state_size,
        action_size,
        task_count,
        width=384,
        recurrence_size=384,
        hidden_size=768,
        block_count=2,
        adapter_rank=8,
        skill_levels=4,
        skill_slots=8,
        longest_memory_steps=128,
    )


def rtx3050(state_size: int, action_size: int, task_count: int) -> WaveCoreConfig:
    """Many tasks on a small graphics card, in mixed precision.

    24 million parameters. The locks hold jax for the CPU, so `./bazelw run
    //cloud:train -- --preset=rtx3050` trains on the CPU; to train on a card, set
    `preset = "rtx3050"` in the notebook `cloud/colab/seed_genesis.ipynb`, on a machine
    that has a jax built for the card. Sized for a card of 4 GB: `memory_estimate` gives
    0.6 GB for parameters and optimiser state, and 0.3 GB for the activations of a
    quarter of a batch. `//cloud/train:update_test` makes updates on short
    windows, on a CPU; it has not run on a card, so speed, memory there and success are
    not measured.

    Raises:
        ConfigError: a size is below 1.
    """
    return WaveCoreConfig(
        state_size,
        action_size,
        task_count,
        width=768,
        recurrence_size=768,
        hidden_size=1536,
        block_count=4,
        adapter_rank=8,
        skill_levels=4,
        skill_slots=16,
        longest_memory_steps=256,
    )


def vertex(state_size: int, action_size: int, task_count: int) -> WaveCoreConfig:
    """A whole fleet's data, on one or more large accelerators.

    109 million parameters; set `preset = "vertex"` in the notebook, as for `rtx3050`.
    `memory_estimate` gives 2.4 GB for parameters and optimiser state, and 6.3 GB for
    the activations of a batch on one device. `//cloud/train:update_test` makes
    updates on short windows, on a CPU, in 4 GB; it has not run on an accelerator, so
    speed, memory there and success are not measured.

    Raises:
        ConfigError: a size is below 1.
    """
    return WaveCoreConfig(
        state_size,
        action_size,
        task_count,
        width=1024,
        recurrence_size=1024,
        hidden_size=3072,
        block_count=8,
        adapter_rank=16,
        skill_levels=4,
        skill_slots=32,
        longest_memory_steps=512,
    )


PRESETS: dict[str, Callable[[int, int, int], WaveCoreConfig]] = {
    "tiny": tiny,
    "pi5": pi5,
    "seed": seed,
    "rtx3050": rtx3050,
    "vertex": vertex,
}
"""Preset name to the function that makes its configuration for a robot's sizes."""

PRESET_TRAINING: dict[str, PresetTraining] = {
    "tiny": PresetTraining(),
    "pi5": PresetTraining(),
    # Longer windows for the longer memory; 2048 steps per batch fill a CPU.
    "seed": PresetTraining(
        compute_dtype="bfloat16", batch_size=16, sequence_length=128
    ),
    # A wider model needs a smaller rate: in Yang et al. 2022, arXiv:2203.03466,
    # table 3, Adam's is inverse to the width: 2e-3 at 384 becomes 1e-3 at 768.
    "rtx3050": PresetTraining(
        compute_dtype="bfloat16",
        accumulation_steps=4,
        batch_size=64,
        sequence_length=128,
        learning_rate=1e-3,
    ),
    # The same rule, then about half because there are four times as many blocks.
    "vertex": PresetTraining(
        compute_dtype="bfloat16",
        remat=True,
        batch_size=128,
        sequence_length=512,
        learning_rate=3e-4,
    ),
}
"""Preset name to the settings it is trained with unless others are given."""


class Frame(NamedTuple):
    """Size of a frame as the model sees it.

    Attributes:
        height: h, rows.
        width: w, columns.
        colours: directions in the space of colours whose places are found.
    """

    height: int
    width: int
    colours: int


FRAME = Frame(64, 64, 64)
"""With half of the rows and columns the held-out error of the actions was 0.063 instead
of 0.056, with 48 or 96 colours 0.059 and 0.060 instead of 0.054 (directions in red,
green and blue; docs/decisions/0023). A picture of another ratio is pressed into it."""
SMALL_FRAME = Frame(16, 16, 8)
"""The frame of the preset `tiny`, for tests."""


def choose_frame(preset: str) -> Frame:
    """The frame of each camera that the models of a preset read."""
    return SMALL_FRAME if preset == "tiny" else FRAME


def fit_preset(preset: str, spec: EpisodeSpec, task_count: int) -> WaveCoreConfig:
    """Gives a preset the sizes and the senses of a robot.

    Args:
        preset: one of `config.PRESETS`.
        spec: what the robot's episodes hold.
        task_count: k.

    Raises:
        ConfigError: a size is below 1.
        KeyError: there is no such preset.
    """
    blind = PRESETS[preset](spec.state_size, spec.action_size, task_count)
    frame = choose_frame(preset)
    seeing = dataclasses.replace(
        blind,
        image_height=frame.height,
        image_width=frame.width,
        image_colours=frame.colours,
        image_count=max(1, len(spec.picture_fields)),
    )
    return dataclasses.replace(
        seeing if spec.picture_fields else blind, audio_size=spec.audio_size
    )
