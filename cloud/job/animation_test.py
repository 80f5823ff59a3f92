"""An animation of a success and of each failure, in a page that is still one file."""

import math
import re
import xml.etree.ElementTree as ET

import pytest

from cloud.evaluate.trajectories import Trajectory
from cloud.job import animation

PATH = [(0.1 * k, 0.6, 0.2 + 0.01 * k) for k in range(200)]


def trajectory(success: bool | None, label: str, **changes: object) -> Trajectory:
    given: dict[str, object] = {"positions_m": PATH, "seconds": 2.5} | changes
    return Trajectory("push-v3", label, success=success, **given)  # type: ignore[arg-type]


def test_one_success_and_every_other_ending_are_drawn() -> None:
    shown = [
        trajectory(True, "first success"),
        trajectory(True, "second success"),
        trajectory(False, "500 steps, did not succeed"),
        trajectory(None, "success not known"),
        trajectory(False, "ended by stop rule workspace"),
    ]
    drawn = animation.draw(shown)
    captions = re.findall(r"<figcaption[^>]*>([^<]*)<", drawn)
    assert captions == [
        "push-v3: first success",
        "push-v3: 500 steps, did not succeed",
        "push-v3: success not known",
        "push-v3: ended by stop rule workspace",
    ]
    root = ET.fromstring(drawn)
    colors = [circle.get("fill") for circle in root.iter("circle")][::2]
    assert colors == [
        animation.SUCCESS_COLOR,
        animation.FAILURE_COLOR,
        animation.UNKNOWN_COLOR,
        animation.FAILURE_COLOR,
    ]


def test_dot_goes_along_the_path_as_fast_as_the_robot_did_and_rests_at_its_end() -> (
    None
):
    root = ET.fromstring(animation.draw([trajectory(True, "ok")]))
    circle = next(root.iter("circle"))
    first = next(iter(circle))
    assert first.get("dur") == "2.50s"
    values = [float(v) for v in str(first.get("values")).split(";")]
    times = [float(t) for t in str(first.get("keyTimes")).split(";")]
    assert len(values) == len(times) <= 82
    assert values == sorted(values) and times == sorted(times)
    assert values[-1] == values[-2] == float(str(circle.get("cx")))
    assert (times[0], times[-1]) == (0.0, 1.0)


@pytest.mark.parametrize("seconds", [0.0, 1e9, math.nan])
def test_time_of_an_animation_is_one_that_somebody_watches(seconds: float) -> None:
    drawn = animation.draw([trajectory(False, "odd", seconds=seconds)])
    found = {float(one) for one in re.findall(r'dur="([0-9.]+)s"', drawn)}
    assert len(found) == 1 and 1.0 <= found.pop() <= 8.0


@pytest.mark.parametrize(
    "path", [[], [(0.0, 0.0, 0.0)], [(math.nan, 0.0, 0.0), (1.0, 1.0, math.inf)]]
)
def test_path_without_a_length_or_with_odd_numbers_is_drawn_as_a_dot(
    path: list[tuple[float, float, float]],
) -> None:
    drawn = animation.draw([trajectory(False, "odd", positions_m=path)])
    ET.fromstring(drawn)
    assert "nan" not in drawn and "inf" not in drawn


def test_names_from_outside_are_text() -> None:
    drawn = animation.draw([trajectory(False, '<script>alert("1")</script>')])
    assert "<script" not in drawn
    ET.fromstring(drawn)
