"""Powers are those of the samples, at any rate and however they come."""

import numpy as np
import pytest

from edge.robots.log_mel import FLOOR, HIGHEST_HZ, LogMel, make_filters
from edge.robots.robot import Vector
from edge.testing.sounds import Samples, make_noise, make_tone

RATES = [16_000, 44_100, 48_000]
BANDS = [8, 40]


def measure(samples: Samples, rate: int, bands: int = 8, hz: float = 20.0) -> Vector:
    return np.stack([value for value, _ in LogMel(rate, hz, bands).add(samples)])


@pytest.mark.parametrize("bands", BANDS)
@pytest.mark.parametrize("rate", RATES)
def test_powers_of_all_bands_are_the_mean_square(rate: int, bands: int) -> None:
    tone = measure(make_tone(rate, 1000.0, 1.0, loudness=1.0), rate, bands)
    np.testing.assert_allclose(np.exp(tone).sum(axis=1), 0.5, rtol=0.02)
    noise = make_noise(16_000, 4.0)
    heard = np.exp(measure(noise, 16_000, bands)).sum(axis=1).mean()
    # The lowest and the highest band fade out, so a part of white noise is not heard.
    assert 0.5 * np.square(noise).mean() < heard < np.square(noise).mean()


@pytest.mark.parametrize("hz", [500.0, 1000.0, 5000.0])
def test_tone_sounds_the_same_at_every_rate_and_is_loudest_in_its_band(
    hz: float,
) -> None:
    at_rates = [measure(make_tone(rate, hz, 1.0), rate).mean(axis=0) for rate in RATES]
    share = make_filters(np.array([hz]), 8)[:, 0]
    assert share.sum() == pytest.approx(1.0)
    for found in at_rates:
        assert np.argmax(found) == np.argmax(share)
        loud = found > -6.0
        np.testing.assert_allclose(found[loud], at_rates[0][loud], atol=0.1)


def test_pitch_and_loudness_are_what_a_value_tells() -> None:
    quiet = measure(make_tone(16_000, 1000.0, 1.0, 0.05), 16_000)
    loud = measure(make_tone(16_000, 1000.0, 1.0, 0.5), 16_000)
    band = int(loud[0].argmax())
    np.testing.assert_allclose((loud - quiet)[:, band], np.log(100.0), atol=0.01)


def test_silence_and_what_samples_are_about_are_the_floor() -> None:
    for constant in (0.0, 0.3):
        found = measure(np.full(16_000, constant, np.float32), 16_000)
        np.testing.assert_array_equal(found, np.full_like(found, FLOOR))


@pytest.mark.parametrize("rate", RATES)
@pytest.mark.parametrize("piece", [1, 399, 5000])
def test_samples_give_the_same_in_pieces_of_any_size(rate: int, piece: int) -> None:
    samples = make_noise(rate, 0.5)
    whole, log_mel = measure(samples, rate), LogMel(rate, 20.0, 8)
    found = [
        value
        for start in range(0, len(samples), piece)
        for value, _ in log_mel.add(samples[start : start + piece])
    ]
    np.testing.assert_array_equal(np.stack(found), whole)


@pytest.mark.parametrize("rate", RATES)
@pytest.mark.parametrize(("wanted", "hz"), [(20.0, 20.0), (12.5, 80 / 6), (2.0, 2.0)])
def test_values_come_in_time_however_long_it_lasts(
    rate: int, wanted: float, hz: float
) -> None:
    log_mel = LogMel(rate, wanted, 8)
    assert log_mel.hz == pytest.approx(hz)
    found = list(log_mel.add(np.zeros(30 * rate, np.float32)))
    assert 30 * hz - 1 <= len(found) <= 30 * hz
    behind = [behind / rate for _, behind in found]
    # A window is a hop longer than what it counts for.
    np.testing.assert_allclose(
        behind, 30 - 0.0125 - (1 + np.arange(len(found))) / hz, atol=2e-4
    )


def test_no_frequency_counts_twice() -> None:
    heard = make_filters(np.linspace(0.0, 24_000.0, 2000), 8)
    assert heard.shape == (8, 2000)
    assert heard.sum(axis=0).max() <= 1.0 + 1e-12
    assert not heard[:, np.linspace(0.0, 24_000.0, 2000) > HIGHEST_HZ].any()
