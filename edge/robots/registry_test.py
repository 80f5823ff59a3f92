import itertools
import re
from pathlib import Path

import numpy as np
import pytest

from edge.errors import ReplayError, UnknownRobotError
from edge.robots import metaworld_robot, registry
from edge.robots.changed_robot import CHANGES


def test_known_robot_opens_with_its_expert() -> None:
    robot = registry.open_robot("metaworld:window-open-v3")
    action = registry.open_expert("metaworld:window-open-v3").propose(robot.reset(1))
    assert robot.spec.task == "window-open-v3"
    assert action.shape == (robot.spec.action_size,)


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("metaworld:reach-v2", "use metaworld:reach-v3 or "),
        ("reach-v3", "use metaworld:reach-v3 or "),
        ("metaworld:push", "use metaworld:push-v3"),
        ("metaworld:xyz", "; --robot=metaworld: lists every task"),
        ("metaworld:", "metaworld:TASK"),
        ("metaworld-poor:reach-v2", "use metaworld-poor:reach-v3 or "),
        ("metaworld-poor:", "metaworld-poor:TASK"),
        ("", "window-close-v3, window-open-v3"),
        ("metaworld:", "assembly-v3, basketball-v3"),
    ],
)
def test_unknown_robot_is_refused_in_one_line_with_a_remedy(
    name: str, shown: str
) -> None:
    with pytest.raises(UnknownRobotError) as caught:
        registry.open_robot(name)
    text = str(caught.value)
    assert "\n" not in text
    assert repr(name) in text
    assert shown in text
    assert "replay:PATH" in text
    assert len(text) < 400 or name in ("", "metaworld:", "metaworld-poor:")
    with pytest.raises(UnknownRobotError):
        registry.open_expert(name)


@pytest.mark.parametrize(
    "name", ["", "metaworld:", "metaworld-poor:", "metaworld-changed:"]
)
def test_robot_without_a_task_is_refused_with_every_task_there_is(name: str) -> None:
    with pytest.raises(UnknownRobotError) as caught:
        registry.require_known(name)
    listed = str(caught.value).partition("TASK is one of ")[2]
    assert tuple(listed.split(", ")) == metaworld_robot.task_names()


def test_changed_robot_differs_in_the_readings_of_its_own_hand_only() -> None:
    plain = registry.open_robot("metaworld:reach-v3")
    changed = registry.open_robot("metaworld-changed:reach-v3")
    assert changed.spec == plain.spec
    assert changed.spec.simulated
    true, seen = plain.reset(1).state, changed.reset(1).state
    # The arm's own encoders have changed, in both frames, and nothing else.
    hand = [0, 1, 2, 18, 19, 20]
    expected = 1.03 * true[hand] + np.tile([0.02, -0.02, 0.02], 2)
    np.testing.assert_allclose(seen[hand], expected, rtol=1e-5)
    others = np.setdiff1d(np.arange(39), hand)
    np.testing.assert_array_equal(seen[others], true[others])
    with pytest.raises(UnknownRobotError):
        registry.open_robot("metaworld-changed:reach-v2")


def test_changed_robot_is_opened_with_the_change_that_its_name_has() -> None:
    biased = registry.open_robot("metaworld-changed:reach-v3@sensor-bias")
    together = registry.open_robot("metaworld-changed:reach-v3@all-together")
    plain = registry.open_robot("metaworld-changed:reach-v3")
    seen = [robot.reset(1).state[:3] for robot in (biased, together, plain)]
    true = registry.open_robot("metaworld:reach-v3").reset(1).state[:3]
    np.testing.assert_allclose(seen[0] - true, [0.03, -0.03, 0.03], atol=1e-6)
    np.testing.assert_array_equal(seen[1], seen[2])
    registry.open_expert("metaworld-changed:reach-v3@backlash")
    for name in ("metaworld-changed:reach-v3@rust", "metaworld-changed:reach-v3@"):
        with pytest.raises(UnknownRobotError, match="sensor-gaps, backlash"):
            registry.open_robot(name)
    with pytest.raises(UnknownRobotError):
        registry.open_robot("metaworld:reach-v3@latency")


def test_name_of_a_changed_robot_says_how_much_of_the_change() -> None:
    less = registry.open_robot("metaworld-changed:reach-v3@sensor-bias:-0.5")
    true = registry.open_robot("metaworld:reach-v3").reset(1).state[:3]
    seen = less.reset(1).state[:3]
    np.testing.assert_allclose(seen - true, [-0.015, 0.015, -0.015], atol=1e-6)
    registry.open_expert("metaworld-changed:reach-v3@sensor-bias:-0.5")
    for strength in ("", "much", "nan", "-1"):
        with pytest.raises(UnknownRobotError, match="@latency"):
            registry.open_robot(f"metaworld-changed:reach-v3@latency:{strength}")


def test_change_of_the_table_moves_what_stands_on_it() -> None:
    usual = registry.open_robot("metaworld:push-v3").reset(1).state
    nearer = registry.open_robot("metaworld-changed:push-v3@things-nearer:0.5")
    moved = nearer.reset(1).state - usual
    np.testing.assert_allclose(moved[4:7], [0, -0.075, 0], atol=2e-3)
    np.testing.assert_allclose(moved[36:39], [0, -0.075, 0], atol=1e-6)


def test_earlier_reading_of_a_motor_is_the_one_of_the_step_before() -> None:
    robot = registry.open_robot("metaworld-changed:reach-v3@unseen-backlash")
    states = [robot.reset(1).state]
    for action in ((1.0, 1.0, 1.0, 0.0), (-1.0, 1.0, -1.0, 0.0), (-1.0, 1.0, 1.0, 0.0)):
        states.append(robot.act(np.array(action, np.float32)).observation.state)
    for before, after in itertools.pairwise(states):
        np.testing.assert_allclose(after[18:21], before[:3], atol=1e-6)


def test_robot_behind_poor_sensors_opens_with_an_expert_that_sees_the_scene() -> None:
    robot = registry.open_robot("metaworld-poor:window-open-v3")
    seen = robot.reset(1)
    action = registry.open_expert("metaworld-poor:window-open-v3").propose(seen)
    good = registry.open_robot("metaworld:window-open-v3").reset(1)
    expected = registry.open_expert("metaworld:window-open-v3").propose(good)
    assert robot.spec.simulated
    assert not np.array_equal(seen.state, good.state)
    np.testing.assert_array_equal(action, expected)


def test_recorded_episode_has_no_expert() -> None:
    with pytest.raises(ReplayError, match="replay it with a package"):
        registry.open_expert("replay:episode.tfrecord")


def test_document_for_users_names_every_robot_there_is_and_no_other() -> None:
    page = Path("docs/your-robot.md").read_text()
    table = page.partition("| `--robot=` |")[2].partition("\n\n")[0]
    named = re.findall(r"^\| `([^`]+)` \|", table, re.M)
    assert named == list(registry.FORMS)


def test_help_and_the_error_for_an_unknown_robot_name_every_robot_there_is() -> None:
    shown = str(UnknownRobotError("x", "y"))
    for form in registry.FORMS:
        assert form in registry.HELP
        assert form == "ENTRY_POINT" or form in shown


def test_readme_tells_of_every_change_of_a_robot() -> None:
    readme = Path("edge/robots/README.md").read_text()
    table = readme.partition("| Change |")[2].partition("\n\n")[0]
    named = re.findall(r"^\| `([^`]+)` \|", table, re.M)
    assert named == [name.replace(" ", "-") for name in CHANGES]
