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

    Raises:
        ConfigError: a size is not a positive whole number.
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

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if type(value) is not int or value < 1:
                raise errors.ConfigError(
                    f"WaveCoreConfig.{field.name}: expected a whole number of at"
                    f" least 1, got {value!r}; give every size explicitly"
                )

    @property
    def carry_size(self) -> int:
        """c, recurrent channels of the whole model."""
        return self.block_count * self.recurrence_size


def seed(state_size: int, action_size: int, task_count: int) -> WaveCoreConfig:
    """The default model: fits a few tasks within a minute on two CPU cores.

    Raises:
        ConfigError: a size is below 1.
    """
    return WaveCoreConfig(state_size, action_size, task_count)


def tiny(state_size: int, action_size: int, task_count: int) -> WaveCoreConfig:
    """The smallest useful model: for tests, which need structure and no skill.

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
