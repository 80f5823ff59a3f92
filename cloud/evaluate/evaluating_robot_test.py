"""A dataset of another robot or task is refused before training, by the real robot."""

from typing import Any

import pytest

from cloud.errors import UnsuitableRobotError
from cloud.evaluate import evaluating_robot
from cloud.evaluate.evaluating_robot import EvaluatingRobot
from cloud.evaluate.rollouts import Trials
from release.run_summary import ActionRange
from rlds.spec import EpisodeSpec

SAWYER = EpisodeSpec(39, 4)


def trials(*tasks: str, environment: str = "metaworld") -> Trials:
    return Trials(environment, tasks, 1, 10000, 500)


def require_fit(given: Trials, spec: EpisodeSpec = SAWYER) -> EvaluatingRobot:
    return evaluating_robot.require_fit(given, "lab 0.1.0", spec)


def test_robot_of_the_dataset_is_accepted_and_tells_what_it_is() -> None:
    robot = require_fit(trials("reach-v3", "push-v3"))
    about_80_hz: Any = pytest.approx(80.0)
    limits = ActionRange((-1.0,) * 4, (1.0,) * 4)
    assert robot == EvaluatingRobot("metaworld", "sawyer", about_80_hz, limits)
    robot.require_same("lab 0.1.0", "sawyer", 80.2)


@pytest.mark.parametrize(("model", "hz"), [("sawyer", 30.0), ("lab-arm", 80.0)])
def test_dataset_of_another_machine_or_rate_is_refused(model: str, hz: float) -> None:
    robot = EvaluatingRobot("metaworld", "sawyer", 80.0)
    expected = f"a sawyer at 80 control .* as metaworld is, got a {model} at {hz:g};"
    with pytest.raises(UnsuitableRobotError, match=expected):
        robot.require_same("lab 0.1.0", model, hz)


@pytest.mark.parametrize(
    ("given", "match"),
    [
        (trials("pick up the red cube"), "pick up the red cube"),
        (trials("reach-v3", "pick up the cube, please"), "cube, please"),
        (trials("reach-v3", environment="lab-bench"), "lab-bench:reach-v3"),
    ],
)
def test_task_or_environment_that_no_robot_has_is_named(
    given: Trials, match: str
) -> None:
    with pytest.raises(UnsuitableRobotError, match=match) as e:
        require_fit(given)
    assert str(e.value).startswith("lab 0.1.0: expected tasks that ")
    assert "--environment" in str(e.value) and "\n" not in str(e.value)


def test_sizes_of_another_robot_are_named() -> None:
    with pytest.raises(UnsuitableRobotError) as e:
        require_fit(trials("reach-v3"), EpisodeSpec(7, 7))
    assert str(e.value) == (
        "lab 0.1.0: expected 39 numbers of state and 4 of action, as metaworld:reach-v3"
        " has, got 7 and 7; train on a dataset of this robot, or name another "
        "--environment; none if no simulator has the dataset's robot"
    )


@pytest.mark.parametrize(
    ("sensed", "told"),
    [
        ({"cameras": ("front",)}, "observation/image_front"),
        ({"audio_size": 8}, "observation/audio_mel of 8 bands"),
    ],
)
def test_robot_without_the_senses_of_the_dataset_is_refused_unless_nobody_reads_them(
    sensed: dict[str, Any], told: str
) -> None:
    seen = EpisodeSpec(39, 4, **sensed)
    assert require_fit(trials("reach-v3"), seen).robot_model == "sawyer"
    with pytest.raises(UnsuitableRobotError) as e:
        evaluating_robot.require_fit(trials("reach-v3"), "lab 0.1.0", seen, senses=True)
    assert f"a robot that has {told} to evaluate" in str(e.value)
    assert "--nosenses" in str(e.value)
