"""Whether the actions of a dataset keep the limits that its package will have.

A robot clamps what a package proposes to the package's limits. A model that imitates
actions outside of them, such as degrees where the limits are radians, is clamped at
most steps and cannot do what it was shown.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np

from cloud.errors import ActionLimitsError
from release.run_summary import ActionRange
from rlds.manifest import FeatureStatistics

FEATURE = "proposed_action"
LARGEST_SHARE = 0.5
"""Share of steps with an action outside the limits above which nothing is trained."""
_ROUNDING = 1e-4
"""Share of a channel's range by which an action may leave it: limits are written with
few digits, and actions are 32-bit numbers."""
_AT_ONCE = 1 << 20  # steps read at once, of data that may be larger than memory


@dataclasses.dataclass(frozen=True)
class ActionLimits:
    """Lowest and highest action of each channel, in the robot's unit."""

    minimum: tuple[float, ...]
    maximum: tuple[float, ...]

    def find_reach(self) -> np.ndarray:
        """Returns the largest absolute value f32 [a] of each channel."""
        both = np.abs([self.minimum, self.maximum])
        return np.asarray(both.max(axis=0), np.float32)

    def are_kept(self, statistics: FeatureStatistics) -> bool:
        """Tells whether the range of every channel lies within the limits."""
        low, high = self._bounds()
        return bool(
            (np.asarray(statistics.min) >= low).all()
            and (np.asarray(statistics.max) <= high).all()
        )

    def within(self, robot: ActionRange) -> ActionLimits:
        """Returns the part of these limits that a robot accepts.

        Args:
            robot: what it accepts, with as many channels.

        Raises:
            ActionLimitsError: nothing of a channel is left.
        """
        low = tuple(map(max, zip(self.minimum, robot.minimum, strict=True)))
        high = tuple(map(min, zip(self.maximum, robot.maximum, strict=True)))
        for channel, (least, most) in enumerate(zip(low, high, strict=True)):
            if not least < most:
                raise ActionLimitsError(
                    "--action_minimum, --action_maximum",
                    f"limits within {robot.minimum[channel]:g} to "
                    f"{robot.maximum[channel]:g} in channel {channel}, as the "
                    "evaluating robot accepts",
                    f"{self.minimum[channel]:g} to {self.maximum[channel]:g}",
                    "correct the flags",
                )
        return ActionLimits(low, high)

    def count_outside(self, actions: np.ndarray) -> tuple[np.ndarray, int]:
        """Returns the steps outside the limits, of each channel i64 [a] and of any.

        Args:
            actions: f32 [s a], the actions to imitate.
        """
        low, high = self._bounds()
        each, any_channel = np.zeros(len(low), np.int64), 0
        for begin in range(0, len(actions), _AT_ONCE):
            some = np.asarray(actions[begin : begin + _AT_ONCE])
            outside = (some < low) | (some > high)
            each += outside.sum(axis=0)
            any_channel += int(outside.any(axis=1).sum())
        return each, any_channel

    def _bounds(self) -> tuple[np.ndarray, np.ndarray]:
        low, high = np.asarray(self.minimum), np.asarray(self.maximum)
        slack = _ROUNDING * (high - low)
        return low - slack, high + slack


def for_channels(
    minimum: Sequence[float], maximum: Sequence[float], action_size: int
) -> ActionLimits:
    """Returns the limits of every channel; one number stands for all of them.

    Raises:
        ActionLimitsError: there are neither one number nor as many as channels, or a
            minimum is not below its maximum.
    """
    both = []
    for flag, given in (("--action_minimum", minimum), ("--action_maximum", maximum)):
        if len(given) not in (1, action_size):
            raise ActionLimitsError(
                flag,
                f"one number, or one for each of the {action_size} channels of an "
                "action",
                len(given),
                "correct the flag",
            )
        both.append(tuple(given) * (action_size if len(given) == 1 else 1))
    low, high = both
    for channel, (least, most) in enumerate(zip(low, high, strict=True)):
        if not least < most or not np.isfinite([least, most]).all():
            raise ActionLimitsError(
                "--action_minimum",
                f"a finite number below --action_maximum in channel {channel}",
                f"{least:g} and {most:g}",
                "correct the flags",
            )
    return ActionLimits(low, high)


def describe_outside(
    limits: ActionLimits,
    statistics: Mapping[str, FeatureStatistics],
    actions: np.ndarray,
    dataset: str,
) -> list[str]:
    """Returns a line for each channel whose actions leave the limits; often none.

    The actions are read only if the manifest does not already say that all keep them.

    Args:
        limits: of every channel.
        statistics: those of the dataset's manifest.
        actions: f32 [s a], the actions to imitate.
        dataset: its name, for the error.

    Raises:
        ActionLimitsError: most steps have an action outside the limits.
    """
    known = statistics.get(FEATURE)
    if known is not None and limits.are_kept(known):
        return []
    each, any_channel = limits.count_outside(actions)
    lines = [
        f"{FEATURE}[{k}] leaves its limits of {limits.minimum[k]:g} to "
        f"{limits.maximum[k]:g} in {count / len(actions):.1%} of steps"
        + ("" if known is None else f": {known.min[k]:g} to {known.max[k]:g}")
        for k, count in enumerate(each.tolist())
        if count
    ]
    if any_channel > LARGEST_SHARE * len(actions):
        raise ActionLimitsError(
            dataset,
            f"{FEATURE} within the limits of actions",
            f"{any_channel / len(actions):.1%} of steps outside; {lines[0]}",
            "give --action_minimum and --action_maximum in the dataset's unit, one "
            "number or one per channel",
        )
    return lines
