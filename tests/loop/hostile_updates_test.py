"""What a robot executes while both its training data and its sensors are broken.

Thousands of updates get broken data and broken deltas. The deltas that each returns
then drive an episode of the robot's control loop, with broken sensors.
"""

from collections.abc import Callable, Mapping
from typing import Any

import jax
import numpy as np
import pytest

from edge.control import loop, safety
from edge.robots.clock import SimulatedClock
from edge.robots.robot import Observation, RobotSpec, Transition
from model import step_function, surfaces
from model.learn import consolidation, fast_update, memories
from model.learn.consolidation import Batch
from model.learn.memories import KNOWN, LIVED
from model.testing import small_models
from model.wavecore import WaveCore

SPEC = RobotSpec(
    state_size=small_models.SIZES.state_size,
    action_size=small_models.SIZES.action_size,
    control_hz=80.0,
    robot_model="test",
    environment_id="bench",
    task="any",
    action_minimum=(-1.0, -0.5),
    action_maximum=(1.0, 0.5),
    simulated=True,
)
LIMITS = safety.SafetyConfig(
    "test", SPEC.action_minimum, SPEC.action_maximum, max_action_delta=0.4
)
EPISODE_STEPS, WINDOW_STEPS, BATCH = 4, 8, Batch(windows=2, steps=8)
HOSTILE = (0.0, np.nan, np.inf, -np.inf, 1e30, -1e30, 3.4e38, 1e-30, 1e4)

Arrays = dict[str, Any]
Rest = Callable[[Arrays, Arrays, Arrays, int], tuple[Arrays, int]]
"""Deltas, last good ones, memories and the number of the rest to the deltas after it
and the number of refused steps."""
Learner = tuple[WaveCore, step_function.Step, fast_update.Update, Rest]


def corrupt(random: np.random.Generator, array: np.ndarray) -> np.ndarray:
    """An array, often replaced, scaled, or with one number replaced."""
    value, kind = np.float32(random.choice(HOSTILE)), random.integers(6)
    if array.dtype == bool:
        return random.uniform(size=array.shape) < 0.2
    if array.dtype != np.float32 or kind > 2:
        return array
    if kind == 0:
        return np.full_like(array, value)
    if kind == 1:
        with np.errstate(all="ignore"):
            return array * value
    array = array.copy()
    array.flat[random.integers(array.size)] = value
    return array


def corrupt_some(
    random: np.random.Generator, arrays: Mapping[str, np.ndarray]
) -> dict[str, np.ndarray]:
    """Corrupts three arrays of ten on average, and leaves the others."""
    chosen = [random.uniform() < 0.3 for _ in arrays]
    return {
        name: corrupt(random, x) if broken else x
        for broken, (name, x) in zip(chosen, arrays.items(), strict=True)
    }


class BrokenRobot:
    """A robot whose sensors give any value; keeps the actions it was given."""

    spec = SPEC

    def __init__(self, random: np.random.Generator) -> None:
        self._random, self.clock = random, SimulatedClock(0)
        self.done: list[np.ndarray] = []

    def reset(self, seed: int) -> Observation:
        self.done = []
        return self._sensed()

    def act(self, action: np.ndarray) -> Transition:
        self.done.append(action)
        return Transition(self._sensed(), 0.0, success=False, terminal=False)

    def hold(self) -> None:
        pass

    def close(self) -> None:
        pass

    def _sensed(self) -> Observation:
        drawn = self._random.standard_normal(SPEC.state_size).astype(np.float32)
        return Observation(corrupt(self._random, drawn), self.clock.now_ns())


class Adapted:
    """The model's step with a delta on every surface; keeps its proposed actions."""

    def __init__(
        self,
        step: step_function.Step,
        weights: Mapping[str, Any],
        deltas: Mapping[str, np.ndarray],
    ) -> None:
        prefix = step_function.SURFACE_PREFIX
        self._step, self._begin = step, weights["carry"]
        self._surfaces = {
            prefix + n: weights[prefix + n] + x for n, x in deltas.items()
        }

    def reset(self, task: str) -> None:
        self._carry = self._begin
        self.proposed: list[np.ndarray] = []

    def propose(self, observation: Observation) -> np.ndarray:
        prediction = self._step(
            observation_state=observation.state,
            task=np.eye(small_models.SIZES.task_count, dtype=np.float32)[0],
            carry=self._carry,
            **self._surfaces,
        )
        self._carry = prediction["next_carry"]
        action: np.ndarray = np.asarray(prediction["action"])
        self.proposed.append(action)
        return action


def plausible(spec: Mapping[str, jax.ShapeDtypeStruct]) -> dict[str, np.ndarray]:
    return {
        name: small_models.numbers(*x.shape, seed=i).astype(x.dtype)
        for i, (name, x) in enumerate(spec.items())
    }


def check_executed(proposed: list[np.ndarray], done: list[np.ndarray]) -> None:
    """Within limits and rate; none for one with NaN, which ends the episode."""
    *before, last = proposed
    if np.isfinite(last).all():
        before.append(last)
    assert len(before) == len(done)
    previous = None
    for wanted, action in zip(before, done, strict=True):
        assert np.isfinite(wanted).all()
        assert np.isfinite(action).all()
        assert (action >= LIMITS.action_minimum).all()
        assert (action <= LIMITS.action_maximum).all()
        if previous is not None:
            assert LIMITS.max_action_delta is not None
            assert np.abs(action - previous).max() <= LIMITS.max_action_delta + 1e-6
        previous = action


@pytest.fixture(scope="module")
def learner() -> Learner:
    """Model, weights and compiled functions."""
    drawn = small_models.random_model()
    reach = {step_function.ACTION_REACH: np.array(SPEC.action_maximum, np.float32)}
    model = step_function.with_weights(drawn, step_function.weights(drawn) | reach)
    return (
        model,
        jax.jit(step_function.make(model)),
        jax.jit(fast_update.make(model)),
        make_rest(model),
    )


def make_rest(model: WaveCore) -> Rest:
    """A consolidation of one gradient step."""
    calls = {n: jax.jit(f) for n, f in consolidation.make(model, BATCH).items()}
    weights = step_function.weights(model)

    def rest(
        deltas: Arrays, last_good: Arrays, lived: Arrays, index: int
    ) -> tuple[Arrays, int]:
        state = calls["begin"](
            deltas=deltas,
            last_good=last_good,
            memories=lived,
            consolidations=np.int32(index),
            seed=np.int32(index),
        )["state"]
        given = {"weights": weights, "memories": lived}
        state = calls["compare"](**given, state=state)["state"]
        state = calls["imagine"](weights=weights, memories=lived, state=state)["state"]
        state = calls["step"](
            weights=weights, memories=lived, state=state, calls=np.int32(1)
        )["state"]
        return calls["end"](state=state)["deltas"], int(state["refused"])

    return rest


def remembered(model: WaveCore) -> Arrays:
    """Two episodes of random numbers, one of each kind."""
    shapes = memories.shapes(model.config, 2, WINDOW_STEPS)
    return plausible(shapes) | {
        "kind": np.array([KNOWN, LIVED], np.int32),
        "length": np.array([WINDOW_STEPS, WINDOW_STEPS], np.int32),
        "imitate": np.ones((2, WINDOW_STEPS), np.float32),
    }


@pytest.mark.parametrize("rounds", [100, pytest.param(1500, marks=pytest.mark.long)])
def test_executed_actions_stay_within_limits_after_thousands_of_hostile_updates(
    learner: Learner, rounds: int
) -> None:
    model, step, fast, rest = learner
    random, weights = np.random.default_rng(11), step_function.weights(model)
    window = plausible(fast_update.inputs(model, WINDOW_STEPS)[-1])
    lived = remembered(model)
    deltas = {
        n: np.zeros_like(weights[step_function.SURFACE_PREFIX + n])
        for n in surfaces.SURFACES
    }
    robot, refused, held, clamped, steps = BrokenRobot(random), 0, 0, 0, 0
    for index in range(rounds):
        given = corrupt_some(random, deltas)
        quick = fast(weights, given, corrupt_some(random, window))
        slow, missed = rest(
            given | quick["deltas"],
            corrupt_some(random, deltas),
            corrupt_some(random, lived),
            index,
        )
        deltas = jax.tree.map(np.asarray, deltas | quick["deltas"] | slow)
        policy = Adapted(step, weights, deltas)
        result = loop.run_episode(
            *(robot, policy, LIMITS, None, index, EPISODE_STEPS),
            loop.Pace.SIMULATED,
        )
        check_executed(policy.proposed, robot.done)
        not_finite = sum(not np.isfinite(x).all() for x in policy.proposed)
        assert result.safety_violations == not_finite
        refused += int(quick["refused"]) + missed
        held, clamped = held + not_finite, clamped + result.clamped_steps
        steps += result.steps
    # Each path of the loop was taken often.
    assert 2 * rounds - rounds // 5 > refused > rounds // 5
    assert held > rounds // 15
    # A delta may say that the arm moves further; commands are then smaller.
    assert clamped > held + rounds // 10
    assert steps - clamped > rounds // 5


ARM_LIMITS = safety.SafetyConfig("test", (-1.0, -0.5), (1.0, 0.5))
STEP = jax.jit(step_function.make(small_models.model()))
HOSTILE_FACTORS = (0.0, 1.0, -1e3, 1e30, -np.inf, np.nan)


@pytest.mark.parametrize("seed", range(50))
def test_action_under_hostile_deltas_is_finite_and_within_limits(seed: int) -> None:
    random = np.random.default_rng(seed)
    model = small_models.model(seed=seed % 5)
    weights = step_function.weights(model)
    adapted = {}
    for name in surfaces.SURFACES:
        initial = weights[step_function.SURFACE_PREFIX + name]
        noise = random.standard_normal(initial.shape) * random.choice(HOSTILE_FACTORS)
        adapted[step_function.SURFACE_PREFIX + name] = (initial + noise).astype("f4")
    previous = None
    for _ in range(5):
        state = random.standard_normal(small_models.SIZES.state_size)
        prediction = STEP(
            observation_state=(state * random.choice(HOSTILE_FACTORS[:4])).astype("f4"),
            task=np.eye(small_models.SIZES.task_count, dtype="f4")[0],
            carry=weights["carry"],
            **adapted,
        )
        wanted = np.asarray(prediction["action"])
        done = safety.safe_action(ARM_LIMITS, wanted, previous)
        assert np.isfinite(done.action).all()
        assert (done.action >= ARM_LIMITS.action_minimum).all()
        assert (done.action <= ARM_LIMITS.action_maximum).all()
        assert done.violation is not bool(np.isfinite(wanted).all())
        previous = done.action
