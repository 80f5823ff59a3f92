"""Noise of the places is that of its window, and leaves silent cameras alone."""

import numpy as np

from cloud.dataset import place_noise
from cloud.dataset.step_stream import StepStream

B, T, P = 40, 50, 6
NOISE = np.array([0.1, 0.2, 0.3, 0.0, 0.1, 0.1], np.float32)


def make_windows() -> StepStream:
    random = np.random.default_rng(0)
    flat = np.zeros((B, T), np.float32)
    places = random.uniform(-1, 1, (B, T, P)).astype(np.float32)
    places[:, : T // 2, P // 2 :] = 0  # the second camera
    return StepStream(
        *(flat[..., None],) * 2,
        flat.astype(np.int32),
        flat > 0,
        *(flat,) * 6,
        places=places,
    )


def add(rows: slice = slice(None), seed: int = 7) -> np.ndarray:
    whole = make_windows()
    part = StepStream._make(None if c is None else c[rows].copy() for c in whole)
    found = place_noise.add(part, NOISE, seed, np.arange(B)[rows]).places
    assert found is not None
    return found


def test_noise_has_its_deviation_in_each_place_and_step() -> None:
    before = make_windows().places
    assert before is not None
    added = add() - before
    seen = added[:, T // 2 :].reshape(-1, P)
    np.testing.assert_allclose(seen.std(0), NOISE, rtol=0.1)
    np.testing.assert_allclose(seen.mean(0), 0, atol=0.02)
    assert not np.any(added[:, : T // 2, P // 2 :]), "a silent camera"


def test_same_windows_have_the_same_noise_however_they_are_shared_out() -> None:
    np.testing.assert_array_equal(add()[B // 2 :], add(slice(B // 2, None)))
    assert np.any(add() != add(seed=8))


def test_steps_without_a_camera_or_noise_stay_as_they_are() -> None:
    windows = make_windows()
    assert place_noise.add(windows, None, 7, np.arange(B)) is windows
    blind = windows._replace(places=None)
    assert place_noise.add(blind, NOISE, 7, np.arange(B)) is blind
