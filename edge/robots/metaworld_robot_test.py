import numpy as np
import pytest

from edge.errors import ActionAfterEndError, ActionShapeError, RobotUnavailableError
from edge.robots import metaworld_robot
from edge.robots.clock import SimulatedClock
from edge.robots.experts import ScriptedExpert
from edge.robots.robot import Robot
from edge.testing.simulated_episodes import ControlStep, EpisodeResult, drive

# One task of each kind: fixed body, moved body, moved site, two stages.
TASKS = ("reach-v3", "push-v3", "door-open-v3", "disassemble-v3", "box-close-v3")

HAND, OBJECT, GOAL = slice(0, 3), slice(4, 7), slice(36, 39)


class StateRecorder:
    def __init__(self) -> None:
        self.states: list[tuple[float, ...]] = []

    def append(self, step: ControlStep) -> None:
        self.states.append((*step.observation.state, *step.action, step.reward))


def record_episode(robot: Robot, seed: int) -> tuple[EpisodeResult, np.ndarray]:
    recorder = StateRecorder()
    expert = ScriptedExpert(robot.spec.task)
    result = drive(robot, expert, seed, recorder)
    return result, np.array(recorder.states)


@pytest.mark.parametrize("task", TASKS)
def test_seed_fully_determines_an_episode_whatever_came_before(task: str) -> None:
    used = metaworld_robot.MetaworldRobot(task, SimulatedClock(0))
    for seed in (900, 901):
        record_episode(used, seed)
    used_result, used_states = record_episode(used, 5)
    fresh = metaworld_robot.MetaworldRobot(task, SimulatedClock(0))
    fresh_result, fresh_states = record_episode(fresh, 5)
    _, other_states = record_episode(fresh, 6)
    assert used_result.success
    assert fresh_result.steps == used_result.steps
    np.testing.assert_array_equal(used_states, fresh_states)
    assert not np.array_equal(fresh_states[0], other_states[0])


def test_there_are_fifty_tasks() -> None:
    assert len(metaworld_robot.task_names()) == 50


@pytest.mark.parametrize(
    "task",
    [
        pytest.param(task, marks=[] if number % 10 == 0 else pytest.mark.long)
        for number, task in enumerate(metaworld_robot.task_names())
    ],
)
def test_every_task_opens_and_runs_a_step_with_its_expert(task: str) -> None:
    robot = metaworld_robot.MetaworldRobot(task, SimulatedClock(0))
    expert = ScriptedExpert(task)
    action = expert.propose(robot.reset(1))
    assert np.abs(action).max() <= 1.0
    transition = robot.act(action)
    assert transition.observation.state.shape == (robot.spec.state_size,)
    assert np.isfinite(transition.observation.state).all()
    robot.close()


def test_goal_is_part_of_the_observation() -> None:
    robot = metaworld_robot.MetaworldRobot("reach-v3", SimulatedClock(0))
    goals = [robot.reset(seed).state[-3:] for seed in (1, 2)]
    assert np.all(goals[0] != 0.0)
    assert not np.array_equal(goals[0], goals[1])


@pytest.mark.parametrize("task", ["push-v3", "drawer-close-v3"])
def test_things_stand_elsewhere_and_are_seen_there(task: str) -> None:
    usual = metaworld_robot.MetaworldRobot(task, SimulatedClock(0))
    moved_m = (0.05, -0.15, 0.0)
    moved = metaworld_robot.MetaworldRobot(task, SimulatedClock(0), moved_m)
    for seed in (3, 4):
        before, after = usual.reset(seed).state, moved.reset(seed).state
        np.testing.assert_allclose(after[OBJECT] - before[OBJECT], moved_m, atol=2e-3)
        np.testing.assert_allclose(after[GOAL] - before[GOAL], moved_m, atol=2e-3)
        np.testing.assert_allclose(after[HAND], before[HAND], atol=0.01)


def test_clock_advances_by_one_control_period_per_action() -> None:
    clock = SimulatedClock(0)
    robot = metaworld_robot.MetaworldRobot("reach-v3", clock)
    assert robot.reset(1).t_monotonic_ns == 0
    transition = robot.act(np.zeros(4, np.float32))
    assert transition.observation.t_monotonic_ns == 12_500_000
    assert robot.spec.control_hz == pytest.approx(1.0 / robot._env.dt)


def test_action_before_a_reset_or_after_the_last_step_is_refused() -> None:
    robot = metaworld_robot.MetaworldRobot("reach-v3", SimulatedClock(0))
    still = np.zeros(4, np.float32)
    with pytest.raises(ActionAfterEndError, match="expected a reset"):
        robot.act(still)
    robot.reset(1)
    transitions = [robot.act(still) for _ in range(metaworld_robot.MAX_STEPS)]
    assert [t.terminal for t in transitions].index(True) == 499
    with pytest.raises(ActionAfterEndError, match="at most 500 actions"):
        robot.act(still)


def test_action_of_another_shape_is_refused() -> None:
    robot = metaworld_robot.MetaworldRobot("reach-v3", SimulatedClock(0))
    robot.reset(1)
    with pytest.raises(ActionShapeError, match=r"expected .* \(4,\), got \(3,\)"):
        robot.act(np.zeros(3, np.float32))


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (
            ModuleNotFoundError("No module named 'mujoco'"),
            "expected the packages metaworld and mujoco, got No module named 'mujoco'; "
            "use a real robot or install them",
        ),
        (
            ImportError("Failed to load GLFW3 shared library."),
            "expected to load the packages metaworld and mujoco, which are here, got "
            "Failed to load GLFW3 shared library.; run again",
        ),
    ],
)
def test_package_that_is_not_here_is_told_from_one_that_did_not_load(
    monkeypatch: pytest.MonkeyPatch, error: ImportError, said: str
) -> None:
    def refuse(name: str) -> None:
        raise error

    monkeypatch.setattr("importlib.import_module", refuse)
    with pytest.raises(RobotUnavailableError) as caught:
        metaworld_robot._import_metaworld()
    assert said in str(caught.value)
