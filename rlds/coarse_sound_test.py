"""Coarse sound is the same step by step as for a whole episode, and tells no more."""

import numpy as np
import numpy.typing as npt
import pytest

from rlds.coarse_sound import CoarseSound, Powers, coarsen, find_fault
from rlds.spec import SOUND_BANDS, SOUND_HOLD_NS

MS = 1_000_000


def make(count: int, bands: int = SOUND_BANDS, seed: int = 0) -> Powers:
    random = np.random.default_rng(seed)
    return random.uniform(-23.0, -1.0, (count, bands)).astype(np.float32)


def at(*, hz: float, count: int) -> npt.NDArray[np.int64]:
    jitter = np.random.default_rng(1).integers(0, 2 * MS, count)
    return np.round(np.arange(count) * 1e9 / hz).astype(np.int64) + jitter


@pytest.mark.parametrize("bands", [1, SOUND_BANDS])
@pytest.mark.parametrize("hz", [1.0, 10.0, 200.0])
def test_each_second_is_the_rounded_mean_of_the_one_before(
    hz: float, bands: int
) -> None:
    count = int(10 * hz)
    powers, times_ns = make(count, bands), at(hz=hz, count=count)
    coarse = coarsen(powers, times_ns)
    assert coarse.dtype == np.float32
    assert find_fault(coarse, times_ns) is None
    starts = [0]
    for step in range(count):
        if times_ns[step] - times_ns[starts[-1]] >= SOUND_HOLD_NS:
            starts.append(step)
    before = powers[:1]
    for start, end in zip(starts, [*starts[1:], count], strict=True):
        expected = np.round(before.astype(np.float64).mean(axis=0) / 2) * 2
        np.testing.assert_array_equal(coarse[start:end], [expected] * (end - start))
        before = powers[start:end]


def test_step_is_told_nothing_that_was_not_heard_yet() -> None:
    powers, times_ns = make(200), at(hz=20.0, count=200)
    whole = coarsen(powers, times_ns)
    hearing = CoarseSound()
    for step in range(200):
        now = hearing.add(powers[step], int(times_ns[step]))
        np.testing.assert_array_equal(now, whole[step])
        np.testing.assert_array_equal(
            coarsen(powers[: step + 1], times_ns[: step + 1])[-1], now
        )


def test_sound_that_is_coarse_already_stays_as_it_is() -> None:
    times_ns = at(hz=20.0, count=200)
    coarse = coarsen(make(200), times_ns)
    again = coarsen(coarse, times_ns)
    np.testing.assert_array_equal(again, coarse)
    assert again is not coarse


def test_steps_without_sound_count_in_no_mean() -> None:
    times_ns = np.arange(80) * 50 * MS
    powers = np.full((80, 2), -8.0, np.float32)
    powers[15:18] = 0.0  # a gap within a second
    powers[40:] = 0.0  # it vanishes
    coarse = coarsen(powers + np.float32(0.8) * (powers != 0), times_ns)
    np.testing.assert_array_equal(coarse[:60], np.full((60, 2), -8.0))
    np.testing.assert_array_equal(coarse[60:], np.zeros((20, 2)))


@pytest.mark.parametrize(
    ("powers", "expected"),
    [
        (np.zeros((3, 5), np.float32), (0, "at most 4 bands of sound")),
        (np.array([[2.0], [1.0], [2.0]]), (1, "powers in steps of 2.0 up to 64.0")),
        (np.array([[2.0], [2.0], [66.0]]), (2, "powers in steps of 2.0 up to 64.0")),
        (np.array([[2.0], [np.nan], [2.0]]), (1, "powers in steps of 2.0 up to 64.0")),
        (np.array([[2.0], [4.0], [2.0]]), (2, "powers that hold for 1000000000 ns")),
        (np.array([[2.0], [2.0], [4.0]]), None),
    ],
)
def test_fault_of_sound_is_named_with_its_step(
    powers: npt.NDArray[np.float32], expected: tuple[int, str] | None
) -> None:
    # The first value may be short: what came before it was cut off.
    times_ns = np.array([0, 1200, 2000]) * MS
    assert find_fault(powers, times_ns) == expected
