"""Flags with which a learner learns whatever it costs, in tests and in measurements.

How much memory it may have is no matter of time or of the machine, and stays bounded.
"""

from typing import Final

from base import record_flags
from edge.loops.budgets import Budgets

# Below what it may fall to; the others are above what any machine comes to.
_LOWEST: Final = {"learning_battery_percent": 0}
_ENDLESS: Final = 1_000_000
_BOUNDED: Final = "learning_memory_mb"


def _lift(name: str) -> str:
    return f"--{name}={_LOWEST.get(name, _ENDLESS)}"


NO_BUDGETS: Final = tuple(
    _lift(name) for name in record_flags.names(Budgets) if name != _BOUNDED
)
"""Nothing keeps it from learning."""
NEVER_TOO_BUSY: Final = (
    _lift("learning_load"),
    _lift("learning_temperature_c"),
    _lift("learning_battery_percent"),
)
"""What other programs of this machine do meanwhile does not keep it from learning."""
