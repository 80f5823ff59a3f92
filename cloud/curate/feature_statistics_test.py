import numpy as np
import pytest

from cloud.curate import feature_statistics


def _episodes() -> list[np.ndarray]:
    random = np.random.default_rng(3)
    return [
        random.normal(1000.0, 0.1, (length, 4)).astype(np.float32)
        for length in (1, 7, 70, 500)
    ]


def test_merged_moments_equal_the_moments_of_all_steps() -> None:
    episodes = _episodes()
    whole = np.concatenate(episodes).astype(np.float64)
    got = feature_statistics.describe(
        feature_statistics.merge(map(feature_statistics.measure, episodes))
    )
    np.testing.assert_allclose(got.mean, whole.mean(axis=0), rtol=1e-14)
    np.testing.assert_allclose(got.std, whole.std(axis=0), rtol=1e-9)
    np.testing.assert_array_equal(got.min, whole.min(axis=0))
    np.testing.assert_array_equal(got.max, whole.max(axis=0))


def test_moments_keep_every_bit_through_json() -> None:
    before = feature_statistics.measure(_episodes()[2])
    after = feature_statistics.Moments.from_json(before.to_json())
    for name in ("mean", "deviation", "minimum", "maximum"):
        np.testing.assert_array_equal(getattr(before, name), getattr(after, name))
    assert before.count == after.count


def test_a_constant_channel_has_deviation_zero() -> None:
    constant = np.full((5, 1), 0.25, np.float32)
    got = feature_statistics.describe(feature_statistics.measure(constant))
    assert (got.count, got.mean, got.std) == (5, (0.25,), (0.0,))
    assert got.min == got.max == (0.25,)


def test_merging_no_moments_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one episode"):
        feature_statistics.merge([])
