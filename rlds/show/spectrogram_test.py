"""The picture of a sound is its powers, and any program can read it."""

import io

import numpy as np
import pytest
from PIL import Image

from rlds.show import curves, spectrogram
from rlds.show.spectrogram import draw


def read(png: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(png)).convert("RGB")).astype(int)


@pytest.mark.parametrize("bands", [1, 8])
@pytest.mark.parametrize("count", [1, 40])
def test_each_power_is_a_pixel_and_the_lowest_band_is_below(
    count: int, bands: int
) -> None:
    powers = np.random.default_rng(0).uniform(-20, -1, (count, bands))
    found = read(draw(powers, -20.0, -1.0))
    assert found.shape == (bands, count, 3)
    darkness = 255 - found[::-1, :, 1].T
    order = np.argsort(powers, axis=None)
    assert (np.diff(darkness.reshape(-1)[order]) >= 0).all()


def test_bang_of_one_step_of_many_is_seen_and_missing_sound_is_white() -> None:
    powers = np.full((20_000, 8), -20.0)
    powers[777] = -1.0
    powers[10_000:] = 0.0
    found = read(draw(powers, -20.0, -1.0))
    assert found.shape == (8, curves.BUCKETS, 3)
    loud = (found == np.rint(spectrogram._LOUD)).all(axis=(0, 2))
    assert np.flatnonzero(loud).tolist() == [777 * curves.BUCKETS // 20_000]
    white = (found == 255).all(axis=(0, 2))
    assert white.tolist() == [False] * 240 + [True] * 240
