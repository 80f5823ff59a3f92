"""A surface can be turned into a flat vector or named arrays, and back."""

import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from model import errors, surfaces
from model.testing import small_models


def adapters() -> nnx.State:
    return nnx.split(small_models.model(), surfaces.Adapters, ...)[1]


def test_flattened_surface_unflattens_to_the_same_surface() -> None:
    state = adapters()
    vector = surfaces.flatten(state) + 1
    again = surfaces.flatten(surfaces.unflatten(vector, state))
    np.testing.assert_array_equal(again, vector)


def test_vector_of_another_length_is_refused() -> None:
    with pytest.raises(errors.ShapeMismatchError, match="surface of this model"):
        surfaces.unflatten(jnp.zeros(3), adapters())


def test_arrays_of_another_model_are_refused_by_name() -> None:
    arrays = surfaces.named_arrays(adapters())
    arrays["blocks/0/adapter_in"] = jnp.zeros((1, 1))
    with pytest.raises(errors.ShapeMismatchError, match="blocks/0/adapter_in"):
        surfaces.with_arrays(adapters(), arrays)
    del arrays["blocks/0/adapter_in"]
    with pytest.raises(errors.ShapeMismatchError, match="nothing"):
        surfaces.with_arrays(adapters(), arrays)


def test_every_surface_has_a_bound() -> None:
    assert set(surfaces.BOUNDS) == set(surfaces.SURFACES)
