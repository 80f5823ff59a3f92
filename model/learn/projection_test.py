import jax.numpy as jnp
import numpy as np
import pytest

from model.learn import memories, projection
from model.learn.memories import KNOWN
from model.testing import small_models
from model.wavecore import WaveCore

STATES = small_models.SIZES.state_size


def calibrated(
    scale: np.ndarray, bias: np.ndarray | np.float32, action_bias: np.float32
) -> WaveCore:
    """The test model with the given calibration."""
    model = small_models.model()
    model.input_scale[...] = scale
    model.input_bias[...] = bias
    model.action_bias[...] = action_bias
    return model


def project(recorded: WaveCore, viewed: WaveCore) -> memories.View:
    plain = memories.as_recorded(small_models.SIZES, KNOWN)
    return projection.project(plain, recorded, viewed)


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
    view = project(known, changed)
    seen, asked = states * view.scale + view.shift, right + view.action_shift
    assert np.abs(seen - states).max() > 0.1
    np.testing.assert_allclose(changed.step(seen, task, carry).action, asked, atol=1e-5)


def test_view_of_an_unchanged_robot_changes_nothing(
    models: tuple[WaveCore, WaveCore],
) -> None:
    known, _ = models
    view = project(known, known)
    np.testing.assert_allclose(view.scale, 1, rtol=1e-6)
    np.testing.assert_allclose(view.shift, 0, atol=1e-6)
    np.testing.assert_array_equal(view.action_shift, 0)


def test_there_and_back_is_where_it_began(models: tuple[WaveCore, WaveCore]) -> None:
    known, changed = models
    states = small_models.numbers(5, STATES, seed=3)
    there, back = project(known, changed), project(changed, known)
    seen = (states * there.scale + there.shift) * back.scale + back.shift
    np.testing.assert_allclose(seen, states, atol=1e-5)


def test_scale_of_a_sensor_without_signal_is_not_divided_by(
    models: tuple[WaveCore, WaveCore],
) -> None:
    known, _ = models
    silent = calibrated(np.zeros(STATES, np.float32), np.float32(0), np.float32(0))
    view = project(known, silent)
    assert jnp.isfinite(view.scale).all() and jnp.isfinite(view.shift).all()
    assert np.abs(view.scale).max() <= 1 / projection.SMALLEST_SCALE + 1e-3
