"""What a robot executes is within its limits, whatever it was made to learn."""

import jax
import numpy as np
import pytest

from edge.control import safety
from model import step_function, surfaces
from model.testing import small_models

LIMITS = safety.SafetyConfig("test", (-1.0, -0.5), (1.0, 0.5))
STEP = jax.jit(step_function.make(small_models.model()))
HOSTILE = (0.0, 1.0, -1e3, 1e30, -np.inf, np.nan)


@pytest.mark.parametrize("seed", range(50))
def test_action_under_hostile_deltas_is_finite_and_within_limits(seed: int) -> None:
    random = np.random.default_rng(seed)
    model = small_models.model(seed=seed % 5)
    weights = step_function.weights(model)
    adapted = {}
    for name in surfaces.SURFACES:
        initial = weights[step_function.SURFACE_PREFIX + name]
        noise = random.standard_normal(initial.shape) * random.choice(HOSTILE)
        adapted[step_function.SURFACE_PREFIX + name] = (initial + noise).astype("f4")
    previous = None
    for _ in range(5):
        state = random.standard_normal(small_models.SIZES.state_size)
        said = STEP(
            observation_state=(state * random.choice(HOSTILE[:4])).astype("f4"),
            task=np.eye(small_models.SIZES.task_count, dtype="f4")[0],
            carry=weights["carry"],
            **adapted,
        )
        wanted = np.asarray(said["action"])
        done = safety.safe_action(LIMITS, wanted, previous)
        assert np.isfinite(done.action).all()
        assert (done.action >= LIMITS.action_minimum).all()
        assert (done.action <= LIMITS.action_maximum).all()
        assert done.violation is not bool(np.isfinite(wanted).all())
        previous = done.action
