"""Who acts in a step when an actor watches, and what is recorded of it."""

from collections.abc import Callable

import numpy as np
import pytest

from edge.actors.actor import HUMAN, Ending, Signal, Stage
from edge.actors.keyboard import Keyboard
from edge.control.control_step import ControlStep
from edge.control.loop import EpisodeResult, Pace, run_episode
from edge.control.safety import SafetyConfig, config_for
from edge.control.stop_rules import StopRules
from edge.robots.clock import SimulatedClock
from edge.robots.experts import GaussianNoise
from edge.robots.robot import Observation, Policy, Robot, Transition, Vector
from edge.robots.simulated_point import SPEC, SimulatedPoint
from rlds.spec import LEFT_OUT_TAG, StopRule

WATCHES, ACTS = Signal(), Signal(takes_over=True)
AWAY = 0.3  # what the package does; the goal is never below 0.5
BACK = -0.25  # what the person does instead


class Package:
    """Proposes the same action each time, or what it is given."""

    def __init__(self, *actions: float) -> None:
        self.actions = actions or (AWAY,)
        self.seen: list[float] = []

    def reset(self, task: str) -> None:
        self.seen = []

    def propose(self, observation: Observation) -> Vector:
        self.seen.append(float(observation.state[0]))
        action = self.actions[min(len(self.seen), len(self.actions)) - 1]
        return np.array([action], np.float32)


class Person:
    """Wants one thing after the other, and the last one from then on."""

    name = HUMAN

    def __init__(self, *signals: Signal, action: float = BACK) -> None:
        self.signals, self.action = signals, action
        self.asked = 0
        self.tasks: list[str] = []

    def may_begin(self, wait_s: float = 0.0) -> bool | None:
        return True

    def reset(self, task: str) -> None:
        self.tasks.append(task)

    def signal(self) -> Signal:
        self.asked += 1
        return self.signals[min(self.asked, len(self.signals)) - 1]

    def propose(self, observation: Observation) -> Vector:
        return np.array([self.action], np.float32)

    def close(self) -> None:
        pass


class Recorder:
    def __init__(self, steps: list[ControlStep]) -> None:
        self.append = steps.append


def run(
    actor: Person,
    policy: Policy | None = None,
    *,
    noise: float = 0.0,
    max_steps: int = 6,
    safety: SafetyConfig | None = None,
    robot: Robot | None = None,
) -> tuple[EpisodeResult, list[ControlStep]]:
    steps: list[ControlStep] = []
    result = run_episode(
        robot or SimulatedPoint(SimulatedClock(0)),
        policy or Package(),
        safety or config_for(SPEC),
        Recorder(steps),
        seed=1,
        max_steps=max_steps,
        pace=Pace.SIMULATED,
        disturbance=GaussianNoise(noise),
        actor=actor,
    )
    return result, steps


def test_actor_acts_between_taking_over_and_handing_back() -> None:
    package = Package()
    actor = Person(WATCHES, ACTS, ACTS, WATCHES)
    result, steps = run(actor, package)
    assert actor.tasks == [SPEC.task]
    assert [step.intervention for step in steps] == [False, True, True] + [False] * 3
    acted = np.concatenate([step.action for step in steps])
    np.testing.assert_allclose(acted, [AWAY, BACK, BACK, AWAY, AWAY, AWAY])
    proposed = np.concatenate([step.proposed_action for step in steps])
    np.testing.assert_allclose(proposed, [AWAY] * 6)
    assert len(package.seen) == 6, "it sees every step, so that it can go on"
    assert (result.interventions, result.steps, result.ending) == (2, 6, None)


def test_action_of_the_actor_is_limited_as_any_other() -> None:
    safety = SafetyConfig("test", (-0.5,), (0.5,), max_action_delta=0.25)
    _, steps = run(Person(ACTS, action=-9.0), safety=safety)
    acted = np.concatenate([step.action for step in steps])
    np.testing.assert_allclose(acted, [-0.5] * 6)
    _, steps = run(Person(WATCHES, ACTS, action=-9.0), safety=safety)
    np.testing.assert_allclose(
        np.concatenate([step.action for step in steps])[:3],
        [0.3, 0.05, -0.2],
        atol=1e-6,
    )


def test_noise_of_the_policy_is_not_on_the_hand_of_the_actor() -> None:
    _, steps = run(Person(WATCHES, ACTS), noise=0.2)
    assert steps[0].action != np.float32(AWAY)
    assert {float(step.action[0]) for step in steps[1:]} == {BACK}


@pytest.mark.parametrize(
    ("ending", "success"), [(Ending.SUCCESS, True), (Ending.FAILURE, False)]
)
def test_actor_says_how_the_episode_went(ending: Ending, success: bool) -> None:
    result, steps = run(Person(WATCHES, Signal(ending=ending)))
    assert (result.success, result.steps, result.ending) == (success, 2, ending)
    assert not result.stopped
    last = steps[-1]
    assert last.is_last
    assert (last.is_terminal, last.discount) == (success, 0.0 if success else 1.0)
    assert not last.safety_violation
    np.testing.assert_allclose(last.action, AWAY)


def test_episode_that_the_actor_leaves_out_has_a_tag_and_no_success() -> None:
    leaves_out = Signal(ending=Ending.LEFT_OUT)
    result, steps = run(Person(WATCHES, leaves_out))
    assert (result.success, result.steps, result.stopped) == (None, 2, False)
    assert result.tags == (LEFT_OUT_TAG,)
    assert steps[-1].is_last
    assert not steps[-1].is_terminal
    arrives = run(Person(WATCHES), Package(1.0), max_steps=20)[0]
    watched = [WATCHES] * (arrives.steps - 1)
    again, steps = run(Person(*watched, leaves_out), Package(1.0), max_steps=20)
    assert (again.success, steps[-1].is_terminal) == (None, False)


def test_word_of_the_actor_counts_more_than_that_of_the_robot() -> None:
    arrives = Package(1.0)  # the goal of this seed is reached in a few steps
    result, _ = run(Person(WATCHES), arrives, max_steps=20)
    assert result.success is True
    watched = [WATCHES] * (result.steps - 1)
    again, steps = run(
        Person(*watched, Signal(ending=Ending.FAILURE)),
        Package(1.0),
        max_steps=20,
    )
    assert (again.success, again.steps) == (False, result.steps)
    assert not steps[-1].is_terminal


def test_stop_key_holds_the_robot_still_and_is_a_safety_violation() -> None:
    result, steps = run(Person(ACTS, Signal(True, Ending.STOP)))
    assert result.steps == 2
    assert result.safety_violations == 1
    assert result.success is not True
    assert steps[-1].safety_violation
    assert not steps[-1].intervention, "nobody acts any more"
    np.testing.assert_array_equal(steps[-1].action, [0.0])


def test_action_of_the_operator_that_breaks_a_rule_is_theirs() -> None:
    rules = StopRules(action_limit=1.0)
    safety = SafetyConfig("test", (-0.5,), (0.5,), stop_rules=rules)
    result, steps = run(Person(ACTS, action=-9.0), safety=safety)
    assert result.stop_rule is StopRule.ACTION_LIMIT
    assert (result.steps, result.interventions) == (1, 1)
    assert not steps[-1].intervention, "the robot was held"


def test_lost_device_holds_the_robot_still_and_nobody_knows_how_it_went() -> None:
    result, steps = run(Person(ACTS, Signal(True, Ending.LOST)))
    assert (result.steps, result.success, result.stopped) == (2, None, True)
    assert result.ending is Ending.LOST
    assert not steps[-1].safety_violation
    assert not steps[-1].is_terminal
    np.testing.assert_array_equal(steps[-1].action, [0.0])


def test_lost_device_holds_the_robot_where_it_is_and_sends_no_action() -> None:
    told: list[str] = []

    class Held(SimulatedPoint):
        def act(self, action: Vector) -> Transition:
            told.append("act")
            return super().act(action)

        def hold(self) -> None:
            told.append("hold")

    run(Person(ACTS, Signal(True, Ending.LOST)), robot=Held(SimulatedClock(0)))
    assert told == ["act", "hold"]


def test_proposal_that_is_no_number_stops_the_robot_while_the_actor_acts() -> None:
    result, steps = run(Person(ACTS), Package(AWAY, float("nan")))
    assert [step.intervention for step in steps] == [True, False]
    assert steps[-1].safety_violation
    np.testing.assert_array_equal(steps[-1].action, [0.0])
    assert result.safety_violations == 1


def test_actor_who_demonstrates_takes_over_from_nobody() -> None:
    actor = Person(ACTS, ACTS, Signal(True, Ending.SUCCESS))
    result, steps = run(actor, actor)
    assert actor.tasks == [SPEC.task], "reset once"
    assert (result.success, result.interventions) == (True, 0)
    for step in steps:
        assert not step.intervention
        np.testing.assert_array_equal(step.proposed_action, step.action)


class Keys:
    """Keys that another process hands on while control asks for the stop key."""

    def __init__(self) -> None:
        self.pressed = self._handed_on = b""

    def hand_on(self) -> bool:
        self._handed_on, self.pressed = self._handed_on + self.pressed, b""
        return False

    def read(self, wait_s: float = 0.0) -> bytes:
        raw, self._handed_on = self._handed_on, b""
        return raw

    def close(self) -> None:
        pass


class Watched(SimulatedPoint):
    """A robot at which somebody presses keys while it goes to its start, or moves."""

    def __init__(self, press: Callable[[int], None]) -> None:
        super().__init__(SimulatedClock(0))
        self._press = press
        self.moves = 0

    def reset(self, seed: int) -> Observation:
        self._press(self.moves)
        return super().reset(seed)

    def act(self, action: Vector) -> Transition:
        self.moves += 1
        self._press(self.moves)
        return super().act(action)


def run_at_keyboard(
    presses: dict[int, bytes], *, demonstrates: bool
) -> tuple[EpisodeResult, list[ControlStep], Watched]:
    """Runs an episode in which keys are pressed after so many moves."""
    keys = Keys()

    def press(moves: int) -> None:
        keys.pressed += presses.get(moves, b"")

    robot = Watched(press)
    steps: list[ControlStep] = []
    person = Keyboard(
        Stage("point", SPEC, 1.0, None, lambda text: None, keys), lambda: 0.0
    )
    result = run_episode(
        robot,
        person if demonstrates else Package(),
        config_for(SPEC),
        Recorder(steps),
        seed=1,
        max_steps=4,
        pace=Pace.SIMULATED,
        actor=person,
        stop_key=keys.hand_on,
    )
    return result, steps, robot


@pytest.mark.parametrize("demonstrates", [True, False])
def test_stop_key_while_the_robot_goes_to_its_start_stops_it_before_it_moves(
    demonstrates: bool,
) -> None:
    result, steps, robot = run_at_keyboard({0: b"dxy"}, demonstrates=demonstrates)
    assert robot.moves == 0
    assert (result.ending, result.stop_rule) == (Ending.STOP, StopRule.STOP_KEY)
    (step,) = steps
    assert step.safety_violation
    np.testing.assert_array_equal(step.action, [0.0])


@pytest.mark.parametrize("demonstrates", [True, False])
def test_other_keys_while_the_robot_goes_to_its_start_count_for_nothing(
    demonstrates: bool,
) -> None:
    result, steps, _ = run_at_keyboard({0: b"dy"}, demonstrates=demonstrates)
    assert (result.ending, result.interventions) == (None, 0)
    assert len(steps) == 4


@pytest.mark.parametrize("demonstrates", [True, False])
def test_key_that_comes_during_an_action_moves_the_robot_with_the_next_one(
    demonstrates: bool,
) -> None:
    _, steps, _ = run_at_keyboard({2: b"a"}, demonstrates=demonstrates)
    rest = 0.0 if demonstrates else AWAY
    acted = np.concatenate([step.action for step in steps])
    np.testing.assert_allclose(acted, [rest, rest, -1.0, -1.0])


def test_key_that_comes_while_the_package_thinks_counts_for_this_action() -> None:
    keys, steps = Keys(), list[ControlStep]()

    class Thinks(Package):
        def propose(self, observation: Observation) -> Vector:
            action = super().propose(observation)
            keys.pressed += {2: b"a", 4: b"x"}.get(len(self.seen), b"")
            return action

    stage = Stage("point", SPEC, 1.0, None, lambda text: None, keys)
    result = run_episode(
        SimulatedPoint(SimulatedClock(0)),
        Thinks(),
        config_for(SPEC),
        Recorder(steps),
        seed=1,
        max_steps=5,
        pace=Pace.SIMULATED,
        actor=Keyboard(stage, lambda: 0.0),
        stop_key=keys.hand_on,
    )
    acted = np.concatenate([step.action for step in steps])
    np.testing.assert_allclose(acted, [AWAY, -1.0, -1.0, 0.0])
    assert result.stop_rule is StopRule.STOP_KEY
