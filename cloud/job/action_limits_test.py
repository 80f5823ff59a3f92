"""Actions outside their limits are counted and told, and refused when they are many."""

import math

import numpy as np
import pytest

from cloud.errors import ActionLimitsError
from cloud.job import action_limits
from cloud.job.action_limits import ActionLimits
from rlds.manifest import FeatureStatistics

LIMITS = ActionLimits((-1.0, 0.0), (1.0, 255.0))


def statistics(actions: np.ndarray) -> dict[str, FeatureStatistics]:
    low, high = tuple(actions.min(axis=0).tolist()), tuple(actions.max(axis=0).tolist())
    zeros = (0.0,) * len(low)
    found = FeatureStatistics(len(actions), zeros, zeros, low, high)
    return {"proposed_action": found}


def describe(actions: np.ndarray, limits: ActionLimits = LIMITS) -> list[str]:
    known = statistics(actions)
    return action_limits.describe_outside(limits, known, actions, "reach 1.0.0")


def test_actions_within_limits_are_not_read() -> None:
    inside = np.asarray([[-1.0, 0.0], [1.0, 255.0]], np.float32)
    unread = np.full((2, 2), np.nan, np.float32)
    lines = action_limits.describe_outside(LIMITS, statistics(inside), unread, "reach")
    assert lines == []


def test_each_channel_that_leaves_its_limits_is_told_with_its_share_of_steps() -> None:
    actions = np.zeros((1000, 2), np.float32)
    actions[:123, 1] = 300.0
    assert describe(actions) == [
        "proposed_action[1] leaves its limits of 0 to 255 in 12.3% of steps: 0 to 300"
    ]
    without = action_limits.describe_outside(LIMITS, {}, actions, "reach")
    assert without == [
        "proposed_action[1] leaves its limits of 0 to 255 in 12.3% of steps"
    ]


def test_degrees_instead_of_radians_are_refused_before_training() -> None:
    actions = np.random.default_rng(0).uniform(-1, 1, (1000, 4)).astype(np.float32)
    limits = action_limits.for_channels((-1.0,), (1.0,), 4)
    assert describe(actions, limits) == []
    with pytest.raises(ActionLimitsError, match=r"% of steps outside; proposed") as e:
        describe(actions * np.float32(57.29578), limits)
    assert str(e.value).startswith("reach 1.0.0: expected proposed_action within")
    assert "--action_minimum and --action_maximum" in str(e.value)


@pytest.mark.parametrize(("share", "refused"), [(0.5, False), (0.51, True)])
def test_most_steps_are_more_than_half(share: float, refused: bool) -> None:
    actions = np.zeros((100, 2), np.float32)
    actions[: round(100 * share), 0] = 2.0
    if refused:
        with pytest.raises(ActionLimitsError):
            describe(actions)
    else:
        assert len(describe(actions)) == 1


def test_limits_with_few_digits_hold_for_actions_with_many() -> None:
    actions = np.asarray([[math.pi], [-math.pi]], np.float32)
    limits = action_limits.for_channels((-3.1416,), (3.1415,), 1)
    assert describe(actions, limits) == []


def test_one_number_is_the_limit_of_every_channel() -> None:
    limits = action_limits.for_channels((-2.0,), (1.0, 2.0, 3.0), 3)
    assert limits == ActionLimits((-2.0,) * 3, (1.0, 2.0, 3.0))


@pytest.mark.parametrize(
    ("minimum", "maximum", "match"),
    [
        ((-1.0, -1.0), (1.0,), r"--action_minimum: .*each of the 3 channels.* got 2"),
        ((-1.0,), (1.0,) * 4, r"--action_maximum: .*each of the 3 channels.* got 4"),
        ((-1.0,), (1.0, -1.0, 1.0), r"in channel 1, got -1 and -1"),
        ((-1.0,), (math.inf,), r"a finite number .*, got -1 and inf"),
        ((math.nan,), (1.0,), r"a finite number .*, got nan and 1"),
    ],
)
def test_limits_that_no_robot_can_have_are_refused(
    minimum: tuple[float, ...], maximum: tuple[float, ...], match: str
) -> None:
    with pytest.raises(ActionLimitsError, match=match):
        action_limits.for_channels(minimum, maximum, 3)
