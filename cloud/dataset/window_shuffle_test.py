"""Every epoch visits every window once, in an order that only the seed decides."""

import numpy as np
import pytest

from cloud.dataset import window_shuffle
from cloud.dataset.window_shuffle import WindowOrder

KEYS = (1, 2, 3, 4, 5, 6, 7)


@pytest.mark.parametrize("count", [1, 2, 3, 4, 5, 7, 16, 17, 63, 64, 65, 1000, 70_001])
def test_every_number_is_the_image_of_exactly_one(count: int) -> None:
    found = window_shuffle.permute(np.arange(count), count, KEYS)
    assert np.array_equal(np.sort(found), np.arange(count))


def test_a_position_in_a_huge_range_is_computed_independently() -> None:
    count = 10**15 + 7
    positions = np.array([0, 1, count - 1])
    found = window_shuffle.permute(positions, count, KEYS)
    alone = [
        window_shuffle.permute(positions[k : k + 1], count, KEYS)[0] for k in range(3)
    ]
    assert found.tolist() == alone
    assert len(set(alone)) == 3 and min(alone) >= 0 and max(alone) < count


@pytest.mark.parametrize(("steps", "length"), [(100, 8), (96, 8), (9, 9), (17, 1)])
def test_an_epoch_covers_every_step_once_except_the_remainder(
    steps: int, length: int
) -> None:
    order = WindowOrder(steps, length, seed=3)
    for epoch in range(5):
        positions = np.arange(order.windows_per_epoch) + epoch * order.windows_per_epoch
        covered = order.first_steps(positions)[:, None] + np.arange(length)
        seen = np.bincount(covered.ravel() % steps, minlength=steps)
        assert seen.max() == 1
        assert np.count_nonzero(seen == 0) == steps % length


def test_positions_computed_together_equal_those_computed_separately() -> None:
    order = WindowOrder(100, 8, seed=3)
    positions = np.arange(5, 40)
    apart = [int(order.first_steps(positions[k : k + 1])[0]) for k in range(35)]
    assert order.first_steps(positions).tolist() == apart


def test_epochs_and_seeds_differ_in_order_and_in_borders() -> None:
    found = {
        (seed, epoch): order.first_steps(np.arange(100) + 100 * epoch)
        for seed in range(3)
        for epoch in range(3)
        for order in [WindowOrder(801, 8, seed)]
    }
    borders = {name: np.sort(first % 8)[0] for name, first in found.items()}
    assert len({first.tobytes() for first in found.values()}) == 9
    assert len(set(borders.values())) > 3


def test_the_order_is_the_same_on_every_machine_and_release() -> None:
    """Pinned: with a changed order a resumed run would see steps twice or never."""
    order = WindowOrder(1000, 10, seed=1)
    assert order.first_steps(np.arange(98, 104)).tolist() == [
        540,
        660,
        45,
        595,
        495,
        885,
    ]


def test_each_window_is_equally_likely_at_each_position_of_a_small_epoch() -> None:
    """4,000 epochs of 8 windows: 500 expected, deviation 21, six deviations allowed."""
    order = WindowOrder(8, 1, seed=0)
    first = order.first_steps(np.arange(8 * 4000)).reshape(4000, 8)
    for position in range(8):
        seen = np.bincount(first[:, position], minlength=8)
        assert abs(seen - 500).max() < 6 * 21
    neighbours = np.bincount((first[:, 1] - first[:, 0]) % 8, minlength=8)
    assert neighbours[0] == 0
    assert abs(neighbours[1:] - 4000 / 7).max() < 6 * 22


def test_more_steps_in_a_window_than_there_are_is_refused() -> None:
    with pytest.raises(ValueError, match="expected 1 to 7, got 8"):
        WindowOrder(7, 8, seed=0)
