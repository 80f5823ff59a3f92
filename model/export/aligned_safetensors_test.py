"""What is written is safetensors, aligned, and the same every time."""

import numpy as np
import pytest
import safetensors.numpy

from model import errors
from model.export import aligned_safetensors

ARRAYS = {
    "a_small": np.arange(3, dtype=np.float32),
    "b_large": np.arange(32, dtype=np.float32).reshape(2, 16),
    "c_large": np.ones(16, np.float32),
}


def test_the_safetensors_library_reads_every_array_back() -> None:
    read = safetensors.numpy.load(aligned_safetensors.encode(ARRAYS))
    assert set(read) == set(ARRAYS)
    for name, array in ARRAYS.items():
        np.testing.assert_array_equal(read[name], array)


def test_large_arrays_begin_at_multiples_of_64_bytes() -> None:
    raw = aligned_safetensors.encode(ARRAYS)
    for name in ("b_large", "c_large"):
        assert raw.index(ARRAYS[name].tobytes()) % 64 == 0


def test_order_of_the_arrays_does_not_change_the_bytes() -> None:
    backward = dict(reversed(ARRAYS.items()))
    assert aligned_safetensors.encode(backward) == aligned_safetensors.encode(ARRAYS)


def test_other_types_are_refused_by_name() -> None:
    with pytest.raises(errors.ShapeMismatchError, match=r"x.*float32.*float64"):
        aligned_safetensors.encode({"x": np.zeros(2)})
