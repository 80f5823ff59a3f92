"""The flags of //edge:learn that //edge:robot hands on: its budgets, and what it takes.

Each is defined once: the budgets in `edge.loops.budgets.Budgets`, with their units and
defaults, the others here.
"""

from typing import Final

from absl import flags

from base import record_flags
from edge.loops.budgets import Budgets
from edge.processes import robot_flags

# So that the flags belong to the program that defines them, for `--help`.
flags.disclaim_key_flags()

_MEMORIES_MB: Final = "memories_mb"
_THREADS: Final = "learner_threads"


def define() -> None:
    """Defines the flags, for `read_budgets`, `read_quota_bytes` and `read_threads`."""
    record_flags.define(Budgets)
    flags.DEFINE_float(
        _MEMORIES_MB, 128.0, "size of all memories, in MB", lower_bound=0.0
    )
    flags.DEFINE_integer(
        _THREADS, 1, "processors that the learner uses; 0 for all", lower_bound=0
    )


def read_budgets() -> Budgets:
    """What learning may use."""
    return record_flags.read(Budgets)


def read_quota_bytes() -> int:
    """Size of all memories, in bytes."""
    return int(float(str(flags.FLAGS[_MEMORIES_MB].value)) * 1e6)


def read_threads() -> int:
    """Processors that the learner uses; 0 for all."""
    return int(str(flags.FLAGS[_THREADS].value))


def hand_on() -> list[str]:
    """Returns those of the flags that were given, for another program."""
    return robot_flags.hand_on(*record_flags.names(Budgets), _MEMORIES_MB, _THREADS)
