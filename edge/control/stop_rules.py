"""Stop rules: what ends an episode at once, decided from one step's facts.

A limit changes an action; a stop rule ends the episode. The robot then holds still, the
step is recorded as a safety violation and the episode is tagged with the rule
(`rlds.spec.StopRule`). Rules that a package does not state are off, but for lateness,
which a robot that exists is always stopped for.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from base.json_fields import Fields
from edge.errors import SafetyConfigError
from edge.robots.robot import Vector
from rlds.spec import StopRule

LATE_WINDOW: Final = 100
"""Steps among which late ones are counted for `late_share`."""
DEFAULT_LATE_IN_A_ROW: Final = 10
"""Late steps in a row that stop a robot that exists. A machine that swaps or heats up
makes every step late; one hiccup, however long, makes one."""
DEFAULT_LATE_SHARE: Final = 0.2
"""Share of late steps that stops it. Control that keeps time misses one in a thousand;
one in five is another control rate than the policy was trained for."""
_LATE_MASK: Final = (1 << LATE_WINDOW) - 1
NAMES: Final = (
    "action_limit",
    "action_rate",
    "late_in_a_row",
    "late_share",
    "workspace",
)
"""Rules that a safety config may state or leave out."""
_BUSY: Final = "what else runs on this machine, its heat and its free memory"
_PROPOSED: Final = (
    "look at what the package proposed in this episode, and install another package if "
    "it goes on"
)
ADVICE: Final[Mapping[StopRule, str]] = {
    StopRule.NON_FINITE_ACTION: _PROPOSED,
    StopRule.ACTION_LIMIT: _PROPOSED,
    StopRule.ACTION_RATE: _PROPOSED,
    StopRule.WORKSPACE: "bring the robot back into its box, or correct the box in "
    "--stop_rules or the package",
    StopRule.LATE_IN_A_ROW: f"look at {_BUSY}",
    StopRule.LATE_SHARE: f"look at {_BUSY}",
    StopRule.WATCHDOG: f"look at the robot's cable and port, and {_BUSY}",
    StopRule.STOP_KEY: "let it go on when you want to",
}
"""What a person can do about each rule that ended an episode."""


@dataclass(frozen=True)
class Workspace:
    """A box in which the robot may be.

    Attributes:
        channels: the channels of the state that name its position, one for each side of
            the box; a joint's angle is a position too.
        minimum: lowest value of each, in the unit of its channel.
        maximum: highest value of each.
    """

    channels: tuple[int, ...]
    minimum: tuple[float, ...]
    maximum: tuple[float, ...]

    def __post_init__(self) -> None:
        """Checks that the box has sides.

        Raises:
            SafetyConfigError: the sizes differ, a channel is negative or named twice,
                or a minimum is not finite and below its maximum.
        """
        sizes = (len(self.channels), len(self.minimum), len(self.maximum))
        if len(set(sizes)) != 1 or not self.channels:
            raise SafetyConfigError(
                "workspace", "as many channels as minima and maxima", sizes
            )
        if min(self.channels) < 0 or len(set(self.channels)) != len(self.channels):
            raise SafetyConfigError(
                "workspace", "different channels, counted from 0", self.channels
            )
        for low, high in zip(self.minimum, self.maximum, strict=True):
            if not (math.isfinite(low) and math.isfinite(high) and low < high):
                raise SafetyConfigError(
                    "workspace",
                    "finite sides with minimum below maximum",
                    f"{low} and {high}",
                )

    def holds(self, state: Vector) -> bool:
        """Whether a state [N] is inside; one that is not a number is not."""
        values = state[list(self.channels)]
        return bool(np.all((values >= self.minimum) & (values <= self.maximum)))


@dataclass(frozen=True)
class StopRules:
    """When to stop; None switches a rule off.

    Attributes:
        action_limit: how far beyond its limit a proposed component may be, in lengths
            of its range. A good policy pushes against its limits; one that proposes a
            hundred times what the arm can do is broken.
        action_rate: how much a proposed component may differ from the action that was
            executed before it, in lengths of its range.
        workspace: where the robot may be.
        late_in_a_row: this many late steps, one after the other, stop it.
        late_share: this share of the last `LATE_WINDOW` steps, late, stops it.
    """

    action_limit: float | None = None
    action_rate: float | None = None
    workspace: Workspace | None = None
    late_in_a_row: int | None = None
    late_share: float | None = None

    def __post_init__(self) -> None:
        """Checks that each number can be reached.

        Raises:
            SafetyConfigError: one is not positive, not finite, or a share above 1.
        """
        for name in ("action_limit", "action_rate", "late_in_a_row", "late_share"):
            value = getattr(self, name)
            highest = 1.0 if name == "late_share" else math.inf
            if value is not None and not (
                math.isfinite(value) and 0 < value <= highest
            ):
                raise SafetyConfigError("stop rules", f"a positive {name}", value)

    def for_robot(self, simulated: bool) -> "StopRules":
        """Returns the rules for a robot that is simulated or exists."""
        if simulated:
            return self
        in_a_row, share = self.late_in_a_row, self.late_share
        return StopRules(
            self.action_limit,
            self.action_rate,
            self.workspace,
            DEFAULT_LATE_IN_A_ROW if in_a_row is None else in_a_row,
            DEFAULT_LATE_SHARE if share is None else share,
        )


@dataclass(frozen=True)
class Lateness:
    """How late the last steps were.

    Attributes:
        in_a_row: late steps since the last one in time.
        recent: the last `LATE_WINDOW` steps, one bit each; 1 is late.
    """

    in_a_row: int = 0
    recent: int = 0

    def after(self, late: bool) -> "Lateness":
        """Returns the lateness after one more step."""
        if not late and not self.recent:
            return self
        recent = (self.recent << 1 | late) & _LATE_MASK
        return Lateness(self.in_a_row + 1 if late else 0, recent)

    @property
    def share(self) -> float:
        """Late steps of the last `LATE_WINDOW`, also while there were fewer."""
        return self.recent.bit_count() / LATE_WINDOW


@dataclass(frozen=True)
class StepFacts:
    """What the rules look at.

    Attributes:
        state: [N] f32, the observation from which the action was proposed.
        wanted: [A], the action before any limit, its disturbance included.
        previous: [A] f32, the action executed before; None at the first step.
        lateness: how late the steps were, this one included.
        stop_key: whether somebody asked to stop at once.
    """

    state: Vector
    wanted: npt.NDArray[Any]
    previous: Vector | None
    lateness: Lateness
    stop_key: bool


def find_broken(
    rules: StopRules, minimum: Vector, maximum: Vector, facts: StepFacts
) -> StopRule | None:
    """Returns the rule that ends the episode with this step; None if none does.

    The rule that a person would name first comes first: the key, then where the robot
    is, then what it was about to do, then how late.

    Args:
        rules: when to stop.
        minimum: [A] f32, the lowest executed value of each component.
        maximum: [A] f32, the highest.
        facts: the step.
    """
    if facts.stop_key:
        return StopRule.STOP_KEY
    if not np.isfinite(facts.wanted).all():
        return StopRule.NON_FINITE_ACTION
    if rules.workspace is not None and not rules.workspace.holds(facts.state):
        return StopRule.WORKSPACE
    if rules.action_limit is not None:
        reach = rules.action_limit * (maximum - minimum)
        beyond = np.maximum(minimum - facts.wanted, facts.wanted - maximum)
        if np.any(beyond > reach):
            return StopRule.ACTION_LIMIT
    if rules.action_rate is not None and facts.previous is not None:
        reach = rules.action_rate * (maximum - minimum)
        if np.any(np.abs(facts.wanted - facts.previous) > reach):
            return StopRule.ACTION_RATE
    lateness = facts.lateness
    if rules.late_in_a_row is not None and lateness.in_a_row >= rules.late_in_a_row:
        return StopRule.LATE_IN_A_ROW
    if rules.late_share is not None and lateness.share >= rules.late_share:
        return StopRule.LATE_SHARE
    return None


def read(fields: Fields) -> StopRules:
    """Reads the optional rules of the `stop_rules` in a safety config.

    Raises:
        MalformedError, SafetyConfigError: one is of another type or out of range.
    """
    return StopRules(
        action_limit=_read_number(fields, "action_limit"),
        action_rate=_read_number(fields, "action_rate"),
        workspace=_read_workspace(fields) if fields.has("workspace") else None,
        late_in_a_row=(
            fields.integer("late_in_a_row", 1) if fields.has("late_in_a_row") else None
        ),
        late_share=_read_number(fields, "late_share"),
    )


def _read_number(fields: Fields, name: str) -> float | None:
    return fields.number(name) if fields.has(name) else None


def _read_workspace(fields: Fields) -> Workspace:
    box = fields.fields("workspace", ("channels", "minimum", "maximum"))
    channels = box.numbers("channels")
    if not all(channel.is_integer() for channel in channels):
        raise box.fail("channels", "to be whole numbers")
    return Workspace(
        tuple(int(channel) for channel in channels),
        box.numbers("minimum"),
        box.numbers("maximum"),
    )
