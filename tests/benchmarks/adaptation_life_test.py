import numpy as np
import pytest

from edge.robots.changed_robot import CHANGES, NO_CHANGE
from edge.robots.experts import ScriptedExpert
from edge.robots.robot import Observation
from model import step_function, surfaces
from model.wavecore import WaveCore
from tests.benchmarks import adaptation_life as life
from tests.benchmarks import sequence_models

TASKS = ("drawer-close-v3", "reach-v3")


@pytest.fixture(scope="module")
def model() -> WaveCore:
    return sequence_models.wavecore("tiny", len(TASKS))


@pytest.fixture(scope="module")
def body(model: WaveCore) -> life.Body:
    return life.Body(model.config, step_function.weights(model), TASKS)


@pytest.fixture(scope="module")
def nothing(model: WaveCore) -> life.Deltas:
    initial = step_function.initial_surfaces(model)
    prefix = step_function.SURFACE_PREFIX
    return {n: np.zeros_like(initial[prefix + n]) for n in surfaces.SURFACES}


@pytest.mark.parametrize("name", CHANGES)
def test_operator_succeeds_on_every_changed_robot(
    body: life.Body, nothing: life.Deltas, name: str
) -> None:
    lived = body.drive("reach-v3", CHANGES[name], 3, nothing, driver="operator")
    assert lived.success
    steps = len(lived.memory.actions)
    assert lived.memory.states.shape == (steps + 1, 39)
    assert np.abs(lived.memory.actions).max() <= 1
    np.testing.assert_array_equal(lived.memory.task, [0, 1])


def test_model_drives_with_the_deltas_that_were_just_learned(
    body: life.Body, nothing: life.Deltas
) -> None:
    seen = []

    def learn(
        deltas: life.Deltas, states: list[np.ndarray], task: np.ndarray
    ) -> life.Deltas:
        seen.append((len(states), task.tolist()))
        head = deltas["head"].copy()
        head[:4] += 1.0  # head names sort the matrix last: these are the biases
        return {**deltas, "head": head}

    still = body.drive("reach-v3", NO_CHANGE, 3, nothing)
    moved = body.drive("reach-v3", NO_CHANGE, 3, nothing, learn)
    assert [count for count, _ in seen] == list(range(2, len(seen) + 2))
    assert seen[0][1] == [0.0, 1.0]
    first = slice(0, 1)
    np.testing.assert_array_equal(
        still.memory.actions[first], moved.memory.actions[first]
    )
    assert not np.array_equal(still.memory.actions[1], moved.memory.actions[1])
    assert np.abs(moved.deltas["head"]).max() == len(seen)


def test_hand_of_the_operator_is_noisy_but_the_imitated_action_is_not(
    body: life.Body, nothing: life.Deltas, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown, again = (
        body.drive("reach-v3", NO_CHANGE, 3, nothing, driver="operator").memory
        for _ in range(2)
    )
    np.testing.assert_array_equal(shown.states, again.states)
    wanted = ScriptedExpert("reach-v3")
    for state, action in zip(shown.states, shown.actions, strict=False):
        np.testing.assert_array_equal(wanted.propose(Observation(state, 0)), action)
    monkeypatch.setattr(life, "OPERATOR_NOISE", 0.0)
    steady = body.drive("reach-v3", NO_CHANGE, 3, nothing, driver="operator").memory
    np.testing.assert_array_equal(steady.executed, steady.actions)
    assert shown.executed.shape == shown.actions.shape
    assert np.std(shown.executed - shown.actions) > 0.05
    np.testing.assert_array_equal(steady.actions[0], shown.actions[0])
    assert not np.array_equal(steady.states[1], shown.states[1])
