"""Senses are taken away in some windows, the same ones each time."""

import numpy as np
import pytest

from cloud.dataset import sense_dropout
from cloud.dataset.step_stream import StepStream

B, T, W = 60, 9, 6


def make_windows(cameras: int = 2, *, sees: bool = True) -> StepStream:
    random = np.random.default_rng(0)
    flat = np.zeros((B, T), np.float32)
    return StepStream(
        *(flat[..., None],) * 2,
        flat.astype(np.int32),
        flat > 0,
        *(flat,) * 6,
        places=random.uniform(0.1, 1, (B, T, W * cameras)).astype(np.float32)
        if sees
        else None,
        audio_mel=random.normal(size=(B, T, 4)).astype(np.float32),
    )


def drop(share: float = 0.5, rows: slice = slice(None)) -> StepStream:
    whole = make_windows()
    part = StepStream._make(None if c is None else c[rows].copy() for c in whole)
    numbers = np.arange(100, 100 + B)[rows]
    return sense_dropout.drop(part, share, 2, 7, numbers)


def test_each_camera_is_silent_or_stands_still_in_its_share_of_windows() -> None:
    before, after = make_windows().places, drop().places
    assert before is not None and after is not None
    changed, silent = [], []
    for columns in (slice(0, W), slice(W, 2 * W)):
        old, new = before[:, :, columns], after[:, :, columns]
        changed.append((old != new).any(axis=(1, 2)))
        silent.append((new == 0).all(axis=2).any(axis=1))
        for row in range(B):
            # From some step on for a while; before and after nothing is changed.
            differs = (old[row] != new[row]).any(axis=1)
            where = np.flatnonzero(differs)
            if where.size:
                part = new[row, where[0] : where[-1] + 1]
                assert (part == part[0]).all()
    for one, black in zip(changed, silent, strict=True):
        assert 0.3 < one.mean() < 0.6
        assert 0.1 < black.mean() < 0.4
    assert (changed[0] != changed[1]).any()


def test_same_windows_lose_the_same_however_they_are_shared_out() -> None:
    whole, second = drop(), drop(rows=slice(B // 2, None))
    for name in ("places", "audio_mel"):
        np.testing.assert_array_equal(
            getattr(whole, name)[B // 2 :], getattr(second, name)
        )


@pytest.mark.parametrize("sees", [True, False])
def test_nothing_is_taken_away_without_a_share(sees: bool) -> None:
    windows = make_windows(sees=sees)
    found = sense_dropout.drop(windows, 0.0, 2, 7, np.arange(B))
    assert found is windows


def test_states_and_actions_stay_and_sound_is_taken_away_too() -> None:
    before, after = make_windows(), drop()
    assert before.audio_mel is not None and after.audio_mel is not None
    lost = (before.audio_mel != after.audio_mel).any(axis=(1, 2))
    assert 0.3 < lost.mean() < 0.7
    np.testing.assert_array_equal(before.states, after.states)
