"""Statistics of real-looking data, of constant channels, and of damaged data."""

import numpy as np
import pytest

from model import errors, normalisation
from model.testing import small_models


def test_measured_channels_become_zero_mean_and_unit_variance() -> None:
    episodes = [small_models.numbers(50, 3, seed=s) * 4 + 2 for s in range(3)]
    measured = normalisation.measure(episodes)
    scaled = (np.concatenate(episodes) - measured.mean) / measured.deviation
    np.testing.assert_allclose(scaled.mean(0), 0, atol=1e-5)
    np.testing.assert_allclose(scaled.std(0), 1, atol=1e-5)


def test_one_episode_after_the_other_gives_the_same_statistics_as_all_at_once() -> None:
    """Far from zero, where sums of squares in f32 would lose every digit."""
    episodes = [
        small_models.numbers(length, 3, seed=length) * 0.1 + np.float32(1000)
        for length in (1, 2, 50, 7, 1)
    ]
    measured = normalisation.measure(iter(episodes))
    joined = np.concatenate(episodes).astype(np.float64)
    changes = np.concatenate([np.diff(x.astype(np.float64), axis=0) for x in episodes])
    np.testing.assert_allclose(measured.mean, joined.mean(0), rtol=1e-7)
    np.testing.assert_allclose(measured.deviation, joined.std(0), rtol=1e-6)
    expected = np.sqrt(np.square(changes).mean(0))
    np.testing.assert_allclose(measured.change, expected, rtol=1e-6)


def test_rest_is_where_the_episodes_of_each_task_begin() -> None:
    episodes = [small_models.numbers(n, 3, seed=n) for n in (1, 2, 50, 9)]
    measurement = normalisation.Measurement(task_count=3)
    for number, states in enumerate(episodes):
        measurement.add(states, task=2 * (number % 2))
    measured = measurement.statistics()
    first = np.stack([x[0] for x in episodes]).astype(np.float64)
    expected = [first[::2].mean(0), measured.mean, first[1::2].mean(0)]
    assert measured.rest is not None
    np.testing.assert_allclose(measured.rest, expected, rtol=1e-6)


def test_sound_in_some_episodes_gives_the_same_statistics_as_all_at_once() -> None:
    sounds = [small_models.numbers(9, 4, seed=s) - 3 for s in range(3)]
    sounds[1][:] = 0
    sounds[2][4:] = 0
    measured = normalisation.measure([small_models.numbers(9, 2)], sounds)
    heard = np.concatenate([sounds[0], sounds[2][:4]]).astype(np.float64)
    assert measured.audio_mean is not None
    assert measured.audio_deviation is not None
    np.testing.assert_allclose(measured.audio_mean, heard.mean(0), rtol=1e-6)
    np.testing.assert_allclose(measured.audio_deviation, heard.std(0), rtol=1e-6)


def test_constant_channel_is_divided_by_one() -> None:
    episode = small_models.numbers(50, 3)
    episode[:, 1] = 7
    measured = normalisation.measure([episode])
    assert measured.deviation[1] == 1 and measured.change[1] == 1


def test_jump_between_episodes_does_not_count_as_change() -> None:
    episodes = [np.zeros((5, 1), np.float32), np.full((5, 1), 9, np.float32)]
    assert normalisation.measure(episodes).change[0] == 1


def test_nan_in_the_data_is_refused() -> None:
    episode = small_models.numbers(5, 2)
    episode[3, 1] = np.nan
    with pytest.raises(errors.NonFiniteError, match="NaN"):
        normalisation.measure([episode])


def test_no_episode_or_mixed_widths_are_refused() -> None:
    with pytest.raises(errors.ShapeMismatchError, match="at least one"):
        normalisation.measure([])
    with pytest.raises(errors.ShapeMismatchError, match="same robot"):
        normalisation.measure([small_models.numbers(5, 2), small_models.numbers(5, 3)])


def test_rest_may_be_negative_and_must_be_finite_and_of_these_channels() -> None:
    one = np.ones(2, np.float32)
    normalisation.Statistics(one, one, one, rest=-one[None])
    with pytest.raises(errors.NonFiniteError, match="rest"):
        normalisation.Statistics(one, one, one, rest=one[None] * np.inf)
    for wrong in (one, np.ones((1, 3), np.float32)):
        with pytest.raises(errors.ShapeMismatchError, match="rest"):
            normalisation.Statistics(one, one, one, rest=wrong)


def test_statistics_with_a_zero_scale_are_refused() -> None:
    one = np.ones(2, np.float32)
    with pytest.raises(errors.NonFiniteError, match="positive"):
        normalisation.Statistics(one, 0 * one, one)
