"""Statistics of real-looking data, of constant channels, and of damaged data."""

import numpy as np
import pytest

from model import errors, normalisation, testing


def test_measured_channels_become_zero_mean_and_unit_variance():
    episodes = [testing.numbers(50, 3, seed=s) * 4 + 2 for s in range(3)]
    measured = normalisation.measure(episodes)
    scaled = (np.concatenate(episodes) - measured.mean) / measured.deviation
    np.testing.assert_allclose(scaled.mean(0), 0, atol=1e-5)
    np.testing.assert_allclose(scaled.std(0), 1, atol=1e-5)


def test_constant_channel_is_divided_by_one():
    episode = testing.numbers(50, 3)
    episode[:, 1] = 7
    measured = normalisation.measure([episode])
    assert measured.deviation[1] == 1 and measured.change[1] == 1


def test_jump_between_episodes_is_no_change():
    episodes = [np.zeros((5, 1), np.float32), np.full((5, 1), 9, np.float32)]
    assert normalisation.measure(episodes).change[0] == 1


def test_nan_in_the_data_is_refused():
    episode = testing.numbers(5, 2)
    episode[3, 1] = np.nan
    with pytest.raises(errors.NonFiniteError, match="NaN"):
        normalisation.measure([episode])


def test_no_episode_or_mixed_widths_are_refused():
    with pytest.raises(errors.ShapeMismatchError, match="at least one"):
        normalisation.measure([])
    with pytest.raises(errors.ShapeMismatchError, match="same robot"):
        normalisation.measure([testing.numbers(5, 2), testing.numbers(5, 3)])


def test_statistics_with_a_zero_scale_are_refused():
    one = np.ones(2, np.float32)
    with pytest.raises(errors.NonFiniteError, match="positive"):
        normalisation.Statistics(one, 0 * one, one)
