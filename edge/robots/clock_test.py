from datetime import datetime

import pytest

from edge.errors import BadTimeError, ClockError
from edge.robots import clock


@pytest.mark.parametrize(
    ("now", "passed", "right"),
    [
        ("1970-01-01T00:00:00Z", "2026-01-01T00:00:00Z", False),
        ("2025-12-31T23:59:59Z", "2026-01-01T00:00:00Z", False),
        ("2026-01-01T00:00:00Z", "2026-01-01T00:00:00Z", True),
        ("2026-01-01T00:00:00Z", "1999-01-01T00:00:00Z", True),
        ("2026-05-01T12:00:00Z", "2026-05-02T12:00:00Z", True),
        ("2026-05-01T11:59:59Z", "2026-05-02T12:00:00Z", False),
    ],
)
def test_clock_behind_what_has_passed_is_wrong(
    now: str, passed: str, right: bool
) -> None:
    machine = clock.SimulatedClock(clock.unix_ns_from_rfc3339(now))
    known = datetime.fromisoformat(passed)
    if right:
        assert clock.require_right(machine, known) == datetime.fromisoformat(now)
        return
    with pytest.raises(ClockError, match=f"got {now}; set the clock"):
        clock.require_right(machine, known)


def test_simulated_clock_moves_only_when_advanced() -> None:
    simulated = clock.SimulatedClock(start_unix_ns=5_000)
    assert (simulated.now_ns(), simulated.unix_ns()) == (0, 5_000)
    simulated.advance(7)
    simulated.sleep_until_ns(3)
    assert (simulated.now_ns(), simulated.unix_ns()) == (7, 5_007)
    simulated.sleep_until_ns(12)
    assert simulated.now_ns() == 12


def test_simulated_clock_refuses_to_go_back() -> None:
    with pytest.raises(ValueError, match="cannot go back by 1 ns"):
        clock.SimulatedClock(0).advance(-1)


def test_monotonic_clock_sleeps_until_the_given_time_and_not_at_all_if_late() -> None:
    real = clock.MonotonicClock()
    wake_ns = real.now_ns() + 2_000_000
    real.sleep_until_ns(wake_ns)
    assert real.now_ns() >= wake_ns
    real.sleep_until_ns(0)


def test_rfc3339_round_trip() -> None:
    text = "2026-01-01T08:00:00Z"
    unix_ns = clock.unix_ns_from_rfc3339(text)
    assert unix_ns == 1_767_254_400_000_000_000
    assert clock.rfc3339_from_unix_ns(unix_ns) == text


@pytest.mark.parametrize(
    "text", ["", "yesterday", "2026-01-01T08:00:00", "2026-01-01T08:00:00+01:00"]
)
def test_time_that_is_not_utc_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(BadTimeError, match="such as 2026-01-01T08:00:00Z"):
        clock.unix_ns_from_rfc3339(text)
