import numpy as np
import pytest

from model import errors
from model.learn import projection
from model.testing import small_models
from model.wavecore import WaveCore

STATES = small_models.SIZES.state_size
ACTIONS = small_models.SIZES.action_size


def calibrated(
    scale: np.ndarray, bias: np.ndarray | np.float32, action_bias: np.float32
) -> WaveCore:
    """The test model with the given calibration."""
    model = small_models.model()
    model.input_scale[...] = scale
    model.input_bias[...] = bias
    model.action_bias[...] = action_bias
    return model


@pytest.fixture(scope="module")
def models() -> tuple[WaveCore, WaveCore]:
    scale = 1 + 0.2 * small_models.numbers(STATES, seed=1)
    bias = 0.3 * small_models.numbers(STATES, seed=2)
    return small_models.model(), calibrated(scale, bias, np.float32(0.25))


def test_changed_model_gives_the_projected_action_for_the_projected_state(
    models: tuple[WaveCore, WaveCore],
) -> None:
    known, changed = models
    # In the middle of the range, because the encoder clips values far out.
    states = known.mean[...] + 0.3 * small_models.numbers(7, STATES, seed=3)
    task = np.eye(small_models.SIZES.task_count, dtype=np.float32)[np.zeros(7, int)]
    carry = np.zeros((7, small_models.SIZES.carry_size), np.float32)
    right = known.step(states, task, carry).action
    seen, asked = projection.project(known, changed, states, right)
    assert np.abs(seen - states).max() > 0.1
    np.testing.assert_allclose(changed.step(seen, task, carry).action, asked, atol=1e-5)


def test_memories_stay_the_same_for_an_unchanged_robot(
    models: tuple[WaveCore, WaveCore],
) -> None:
    known, _ = models
    states, actions = small_models.numbers(5, STATES), small_models.numbers(5, ACTIONS)
    seen, asked = projection.project(known, known, states, actions)
    np.testing.assert_allclose(seen, states, atol=1e-5)
    np.testing.assert_array_equal(asked, actions)


def test_scale_of_a_sensor_without_signal_is_not_divided_by(
    models: tuple[WaveCore, WaveCore],
) -> None:
    known, _ = models
    silent = calibrated(np.zeros(STATES, np.float32), np.float32(0), np.float32(0))
    seen, _ = projection.project(
        known, silent, small_models.numbers(5, STATES), small_models.numbers(5, ACTIONS)
    )
    assert np.isfinite(seen).all()
    assert np.abs(seen).max() < 1e3


@pytest.mark.parametrize(("states", "actions"), [(1, 0), (0, 1)])
def test_memories_of_another_robot_are_refused(
    models: tuple[WaveCore, WaveCore], states: int, actions: int
) -> None:
    memories = (
        small_models.numbers(5, STATES + states),
        small_models.numbers(5, ACTIONS + actions),
    )
    with pytest.raises(errors.ShapeMismatchError, match="this model's robot"):
        projection.project(*models, *memories)
