"""Gymnasium environments as robots: their spaces, rates, ends and success."""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium import spaces

from edge.errors import (
    ActionAfterEndError,
    ActionShapeError,
    GymRobotError,
    NoExpertError,
    RobotFaultError,
    RobotUnavailableError,
)
from edge.robots import outside, registry
from edge.robots.clock import NS_PER_S, SimulatedClock
from edge.robots.gym_robot import DEFAULT_HZ, GymRobot


class Env(gymnasium.Env[Any, Any]):
    """An environment with whatever spaces and answers a test gives it."""

    metadata = {"render_modes": []}  # noqa: RUF012 - as its base has it

    def __init__(
        self, seen: spaces.Space[Any], acts: spaces.Space[Any], **info: object
    ) -> None:
        self.observation_space, self.action_space = seen, acts
        self.info = info
        self.actions: list[Any] = []

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        self.observation_space.seed(seed)
        return self.observation_space.sample(), {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:  # noqa: ANN401
        self.actions.append(action)
        ended = len(self.actions) == 3
        return self.observation_space.sample(), 2.0, ended, False, self.info


BOX = spaces.Box(-1.0, 1.0, (2,), np.float32)


@pytest.fixture
def register() -> Iterator[Any]:
    """Registers an environment of a test, for as long as that runs."""
    before = dict(gymnasium.registry)

    def add(
        seen: spaces.Space[Any] = BOX,
        acts: spaces.Space[Any] = BOX,
        reward_threshold: float | None = None,
        **info: object,
    ) -> Env:
        env = Env(seen, acts, **info)
        make_env: Any = lambda: env  # noqa: E731 - of a type that takes one
        gymnasium.register(
            "Test-v0",
            entry_point=make_env,
            reward_threshold=reward_threshold,
            order_enforce=False,
        )
        return env

    yield add
    gymnasium.registry.clear()
    gymnasium.registry.update(before)


def make() -> GymRobot:
    return GymRobot("Test-v0", SimulatedClock(0))


def test_pendulum_is_a_robot_at_the_rate_of_its_time_step() -> None:
    robot = registry.open_robot("gym:Pendulum-v1")
    spec = robot.spec
    assert (spec.state_size, spec.action_size, spec.control_hz) == (3, 1, 20.0)
    assert (spec.action_minimum, spec.action_maximum) == ((-2.0,), (2.0,))
    assert (spec.robot_model, spec.task, spec.simulated) == (*["Pendulum-v1"] * 2, True)
    assert spec.environment_id == f"gymnasium-{gymnasium.__version__}"
    seen = robot.reset(4)
    assert seen.state.dtype == np.float32
    done = robot.act(np.array([2.0], np.float32))
    assert done.observation.t_monotonic_ns == NS_PER_S // 20
    assert done.success is None, "nobody says when a pendulum is well"
    assert done.reward < 0
    robot.close()


def test_same_seed_and_actions_give_the_same_episode_whatever_came_before() -> None:
    def run(robot: Any) -> list[bytes]:  # noqa: ANN401
        states = [robot.reset(7).state.tobytes()]
        for k in range(10):
            action = np.array([np.sin(k)], np.float32)
            states.append(robot.act(action).observation.state.tobytes())
        return states

    robot = registry.open_robot("gym:Pendulum-v1")
    first = run(robot)
    robot.reset(8)
    assert run(robot) == first
    assert run(registry.open_robot("gym:Pendulum-v1")) == first


def test_cart_pole_is_driven_by_one_number_and_succeeds_at_its_own_threshold() -> None:
    robot = registry.open_robot("gym:CartPole-v1")
    assert robot.spec.control_hz == 50.0
    assert (robot.spec.action_minimum, robot.spec.action_maximum) == ((-1.0,), (1.0,))
    seen, steps, done = robot.reset(0), 0, None
    while done is None or not done.terminal:
        cart, speed, angle, turn = seen.state
        push = angle + 0.5 * turn + 0.05 * cart + 0.1 * speed
        done = robot.act(np.array([np.sign(push)], np.float32))
        seen, steps = done.observation, steps + 1
        assert done.success is (steps == 500)
    robot.reset(0)
    while not (done := robot.act(np.array([1.0], np.float32))).terminal:
        assert done.success is False
    assert done.success is False
    with pytest.raises(ActionAfterEndError):
        robot.act(np.zeros(1, np.float32))


def test_equal_parts_of_one_number_choose_among_discrete_actions(
    register: Any,  # noqa: ANN401
) -> None:
    env = register(acts=spaces.Discrete(3, start=5))
    robot = make()
    for value, chosen in (
        (-1.0, 5),
        (-0.4, 5),
        (-0.3, 6),
        (0.0, 6),
        (0.4, 7),
        (1.0, 7),
    ):
        env.actions.clear()
        robot.reset(0)
        robot.act(np.array([value], np.float32))
        assert env.actions == [chosen]


def test_boxes_of_any_shape_are_flattened_both_ways(
    register: Any,  # noqa: ANN401
) -> None:
    seen = spaces.Dict(
        {
            "joints": spaces.Box(-np.inf, np.inf, (2, 2), np.float64),
            "mode": spaces.Discrete(3),
        }
    )
    low = np.array([[-1.0, -2.0], [-3.0, -4.0]])
    env = register(seen, spaces.Box(low, -low, dtype=np.float64))
    robot = make()
    assert robot.spec.state_size == 7
    assert robot.spec.action_minimum == (-1.0, -2.0, -3.0, -4.0)
    assert robot.spec.control_hz == DEFAULT_HZ
    assert robot.reset(0).state.shape == (7,)
    robot.act(np.array([0.5, 1.0, 1.5, 2.0], np.float32))
    assert env.actions[0].tolist() == [[0.5, 1.0], [1.5, 2.0]]
    assert env.actions[0].dtype == np.float64
    with pytest.raises(ActionShapeError):
        robot.act(np.zeros((2, 2), np.float32))


@pytest.mark.parametrize(
    ("info", "threshold", "expected"),
    [
        ({"is_success": 1.0}, None, [True, True, True]),
        ({"success": False}, 1.0, [False, False, False]),
        ({}, 6.0, [False, False, True]),
        ({}, 6.5, [False, False, False]),
        ({}, None, [None, None, None]),
    ],
)
def test_success_is_what_the_environment_says(
    register: Any,  # noqa: ANN401
    info: dict[str, object],
    threshold: float | None,
    expected: list[bool | None],
) -> None:
    register(reward_threshold=threshold, **info)
    robot = make()
    robot.reset(0)
    action = np.zeros(2, np.float32)
    done = [robot.act(action) for _ in range(3)]
    assert [one.success for one in done] == expected
    assert [one.terminal for one in done] == [False, False, True]


@pytest.mark.parametrize(
    ("seen", "acts", "said"),
    [
        (
            spaces.Box(0, 255, (96, 96, 3), np.uint8),
            BOX,
            "without pictures, or wrap it",
        ),
        (spaces.Graph(BOX, None), BOX, "observations of 1 to 4096 numbers"),
        (
            BOX,
            spaces.Box(-np.inf, 1.0, (2,)),
            "a Box of floats with finite limits, or D",
        ),
        (BOX, spaces.Box(0, 9, (2,), np.int64), "a Box of floats with finite limits"),
        (BOX, spaces.MultiDiscrete([2, 3]), "got MultiDiscrete([2 3]); choose another"),
    ],
)
def test_spaces_that_no_robot_has_are_refused_in_one_line(
    register: Any,  # noqa: ANN401
    seen: spaces.Space[Any],
    acts: spaces.Space[Any],
    said: str,
) -> None:
    register(seen, acts)
    with pytest.raises(GymRobotError) as caught:
        make()
    assert said in str(caught.value)
    assert str(caught.value).startswith("--robot: expected ")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("method", "answer", "expected"),
    [
        ("reset", ValueError("no arm"), r"reset to work, got ValueError: no arm \(gym"),
        ("step", ValueError("no arm"), r"act to work, got ValueError: no arm \(gym"),
        ("step", (np.full(2, np.nan), 0.0, False, False, {}), "finite numbers in the"),
        ("step", (np.zeros(2), np.inf, False, False, {}), "a finite number as the rew"),
        ("step", (np.zeros(2), 0.0, False), "act to work, got ValueError"),
        ("close", OSError("busy"), "close to work, got OSError: busy"),
    ],
)
def test_environment_that_fails_or_answers_nonsense_is_one_error_that_names_it(
    register: Any,  # noqa: ANN401
    method: str,
    answer: object,
    expected: str,
) -> None:
    def give(*given: object, **named: object) -> object:
        if isinstance(answer, Exception):
            raise answer
        return answer

    setattr(register(), method, give)
    robot = registry.open_robot("gym:Test-v0")
    with pytest.raises(
        RobotFaultError, match=f"robot gym:Test-v0: expected {expected}"
    ):
        robot.reset(0)
        robot.act(np.zeros(2, np.float32))
        robot.close()


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("gym:CartPol-v1", "Did you mean: `CartPole`?"),
        ("gym:CartPole-v9", "versioned environments: [ `v0`, `v1` ]"),
        ("gym:", "got Error: Malformed environment ID"),
        ("gym:absent_module:Env-v0", "No module named 'absent_module'"),
    ],
)
def test_unknown_environment_is_refused_with_what_gymnasium_says(
    name: str, said: str
) -> None:
    with pytest.raises(GymRobotError) as caught:
        registry.require_known(name)
    assert said in str(caught.value)


def test_environment_of_somebody_elses_module_is_found_in_their_folder(
    register: Any,  # noqa: ANN401
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (tmp_path / "their_envs.py").write_text(
        "import gymnasium\n"
        "from gymnasium.envs.classic_control import PendulumEnv\n"
        "gymnasium.register('Theirs-v0', entry_point=PendulumEnv)\n"
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    outside.look_outside.cache_clear()
    registry.require_known("gym:their_envs:Theirs-v0")
    robot = registry.open_robot("gym:their_envs:Theirs-v0")
    assert robot.spec.task == "their_envs:Theirs-v0"
    robot.close()


def test_environment_that_cannot_be_made_is_unavailable(
    register: Any,  # noqa: ANN401
) -> None:
    del register  # it cleans up
    gymnasium.register("Test-v0", entry_point="their_absent_module:Env")
    with pytest.raises(RobotUnavailableError, match="ModuleNotFoundError"):
        make()


def test_no_expert_drives_an_environment() -> None:
    assert registry.name_actor("gym:CartPole-v1") == "keyboard"
    assert not registry.has_driver("gym:CartPole-v1")
    with pytest.raises(NoExpertError, match="--actor=keyboard"):
        registry.open_expert("gym:CartPole-v1")
