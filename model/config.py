"""The shape of a WaveCore, as one frozen record with named presets."""

import dataclasses

from model import errors


@dataclasses.dataclass(frozen=True)
class WaveCoreConfig:
    """Sizes of a WaveCore; everything that fixes a parameter's shape.

    Attributes:
        state_size: n, channels of the observation state.
        action_size: a, channels of the action.
        task_count: k, tasks the model is told apart by a one-hot vector.
        width: d, channels of the residual stream.
        recurrence_size: e, channels of the recurrence of one block.
        hidden_size: f, hidden channels of the particle mixer of one block.
        block_count: number of residual blocks.
        adapter_rank: rank of the low-rank residual of one block.
        skill_slots: m, slots of the skill memory.
        longest_memory_steps: initial time constant of the slowest recurrent
            channel, in control steps; the fastest begins at one step.
        channels_per_gate: recurrent channels that share one gate; more of them make
            the recurrence a matrix product in its chunked form.
        oscillating: whether pairs of recurrent channels turn by a learned angle per
            step (complex recurrence) instead of only fading (real).

    Raises:
        ConfigError: a size is not a positive whole number, or gates or pairs do not
            divide the recurrent channels.
    """

    state_size: int
    action_size: int
    task_count: int
    width: int = 96
    recurrence_size: int = 96
    hidden_size: int = 192
    block_count: int = 2
    adapter_rank: int = 4
    skill_slots: int = 8
    longest_memory_steps: int = 32
    channels_per_gate: int = 1
    oscillating: bool = False

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if field.name == "oscillating" and type(value) is bool:
                continue
            if type(value) is not int or value < 1:
                raise errors.ConfigError(
                    f"WaveCoreConfig.{field.name}: expected a whole number of at"
                    f" least 1, got {value!r}; give every size explicitly"
                )

        shared = self.channels_per_gate * (2 if self.oscillating else 1)
        if self.recurrence_size % shared:
            raise errors.ConfigError(
                f"WaveCoreConfig.recurrence_size: expected a multiple of {shared}, got"
                f" {self.recurrence_size}; gates are shared by channels_per_gate"
                " channels, and oscillating channels come in pairs of one gate"
            )

    @property
    def gate_count(self) -> int:
        """g, gates of one recurrence; the two channels of a pair share one."""
        shared = self.channels_per_gate * (2 if self.oscillating else 1)
        return self.recurrence_size // shared

    @property
    def carry_size(self) -> int:
        """c, recurrent channels of the whole model."""
        return self.block_count * self.recurrence_size


def tiny(state_size: int, action_size: int, task_count: int) -> WaveCoreConfig:
    """The smallest useful model, for tests: structure and no skill.

    `./bazelw run //cloud:train -- --preset=tiny --steps=200`: 5 thousand parameters,
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
        skill_slots=4,
        longest_memory_steps=8,
    )


def pi5(state_size: int, action_size: int, task_count: int) -> WaveCoreConfig:
    """The default: a few tasks, learned in a minute.

    `./bazelw run //cloud:train`: 0.2 million parameters, a minute on 2 CPU cores,
    99 % success on five Meta-World tasks.

    Raises:
        ConfigError: a size is below 1.
    """
    return WaveCoreConfig(state_size, action_size, task_count)


def seed(state_size: int, action_size: int, task_count: int) -> WaveCoreConfig:
    """Seed genesis: the model a fleet begins with.

    `./bazelw run //cloud:train -- --preset=seed --sequence_length=128
    --batch_size=16`: 3.0 million parameters; docs/benchmarks.md says how fast.

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
        skill_slots=32,
        longest_memory_steps=128,
    )


PRESETS = {"tiny": tiny, "pi5": pi5, "seed": seed}
"""Preset name to the function that makes it for a robot's sizes."""
