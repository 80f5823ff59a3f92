import pytest

from edge.control.ticker import Ticker
from edge.robots.clock import SimulatedClock

PERIOD_NS = 20_000_000
MS = 1_000_000


def drive(*steps_ms: tuple[float, float]) -> tuple[list[bool], list[int], int]:
    """Takes steps of (policy, rest) milliseconds; returns late, jitter and the time."""
    clock = SimulatedClock(0)
    ticker = Ticker(PERIOD_NS, clock)
    ticker.start()
    late, jitter_ns = [], []
    for policy_ms, rest_ms in steps_ms:
        clock.advance(round(policy_ms * MS))
        late.append(ticker.is_late())
        clock.advance(round(rest_ms * MS))
        jitter_ns.append(ticker.wait())
    return late, jitter_ns, clock.now_ns()


def test_steps_that_fit_into_their_period_begin_on_time() -> None:
    late, jitter_ns, now_ns = drive((1, 1), (19, 1), (0, 0))
    assert late == [False] * 3
    assert jitter_ns == [0] * 3
    assert now_ns == 3 * PERIOD_NS


def test_time_that_is_left_falls_from_one_period_to_below_zero() -> None:
    clock = SimulatedClock(0)
    ticker = Ticker(PERIOD_NS, clock)
    ticker.start()
    assert ticker.left_ns() == PERIOD_NS
    clock.advance(15 * MS)
    assert ticker.left_ns() == 5 * MS
    ticker.wait()
    assert ticker.left_ns() == PERIOD_NS
    clock.advance(25 * MS)
    assert ticker.left_ns() == -5 * MS
    assert Ticker(PERIOD_NS, None).left_ns() is None


def test_slow_policy_is_late_once_and_what_follows_is_not_hurried() -> None:
    late, jitter_ns, now_ns = drive((50, 0), (1, 0), (1, 0))
    assert late == [True, False, False]
    assert jitter_ns == [30 * MS, 0, 0]
    assert now_ns == 50 * MS + 2 * PERIOD_NS


def test_slow_robot_or_disk_makes_the_next_step_late() -> None:
    late, jitter_ns, _ = drive((1, 60), (1, 0), (1, 0))
    assert late == [False, True, False]
    assert jitter_ns == [41 * MS, 0, 0]


def test_short_hold_up_within_a_period_is_jitter_and_not_late() -> None:
    late, jitter_ns, _ = drive((1, 25), (1, 0))
    assert late == [False, False]
    assert jitter_ns == [6 * MS, 0]


def test_late_step_and_the_hold_up_after_it_are_two_late_steps() -> None:
    late, jitter_ns, _ = drive((30, 30), (1, 0), (1, 0))
    assert late == [True, True, False]
    assert jitter_ns == [40 * MS, 0, 0]


@pytest.mark.parametrize("hz", [10, 50, 200])
def test_a_thousand_steps_take_a_thousand_periods(hz: int) -> None:
    clock = SimulatedClock(0)
    ticker = Ticker(1_000_000_000 // hz, clock)
    ticker.start()
    for _ in range(1000):
        clock.advance(3 * MS)
        assert not ticker.is_late()
        ticker.wait()
    assert clock.now_ns() == 1000 * 1_000_000_000 // hz


def test_simulated_pace_waits_for_nothing_and_nothing_is_late() -> None:
    ticker = Ticker(PERIOD_NS, None)
    ticker.start()
    assert not ticker.is_late()
    assert ticker.wait() == 0
