"""Clocks for robots and the control loop: a protocol, a real and a simulated clock.

Monotonic time orders steps and paces the loop; UTC only gives the hour in which an
episode began. Both are nanoseconds in `int`, so that nothing is rounded.
"""

import time
from datetime import UTC, datetime
from typing import Protocol

from base.text_forms import format_time
from edge.errors import BadTimeError, ClockError
from edge.runtime_version import RUNTIME_DATE
from rlds.spec import CLOCK_TOLERANCE

NS_PER_S = 1_000_000_000


class Clock(Protocol):
    """A source of time that never goes backwards."""

    def now_ns(self) -> int:
        """Monotonic time in nanoseconds since an arbitrary fixed instant."""

    def unix_ns(self) -> int:
        """Wall time in nanoseconds since 1970-01-01T00:00:00Z."""

    def sleep_until_ns(self, wake_ns: int) -> None:
        """Returns at monotonic time `wake_ns`, or at once if that has passed."""


class MonotonicClock:
    """The machine's own clock."""

    def now_ns(self) -> int:
        """See `Clock.now_ns`."""
        return time.monotonic_ns()

    def unix_ns(self) -> int:
        """See `Clock.unix_ns`."""
        return time.time_ns()

    def sleep_until_ns(self, wake_ns: int) -> None:
        """See `Clock.sleep_until_ns`."""
        wait_ns = wake_ns - time.monotonic_ns()
        if wait_ns > 0:
            time.sleep(wait_ns / NS_PER_S)


class SimulatedClock:
    """A clock that moves only when it is advanced.

    A simulated robot advances it by one control period per action, so that recorded
    times depend only on flags and seed.
    """

    def __init__(self, start_unix_ns: int) -> None:
        """Starts at monotonic zero and at the given wall time in nanoseconds."""
        self._start_unix_ns = start_unix_ns
        self._now_ns = 0

    def now_ns(self) -> int:
        """See `Clock.now_ns`."""
        return self._now_ns

    def unix_ns(self) -> int:
        """See `Clock.unix_ns`."""
        return self._start_unix_ns + self._now_ns

    def sleep_until_ns(self, wake_ns: int) -> None:
        """Jumps to `wake_ns`; does nothing if that has passed."""
        self._now_ns = max(self._now_ns, wake_ns)

    def advance(self, duration_ns: int) -> None:
        """Moves the clock forward by `duration_ns`.

        Raises:
            ValueError: `duration_ns` is negative.
        """
        if duration_ns < 0:
            raise ValueError(f"a clock cannot go back by {-duration_ns} ns")
        self._now_ns += duration_ns


def require_right(clock: Clock, passed: datetime) -> datetime:
    """Returns the wall time, unless it is one that is known to be wrong.

    Args:
        clock: a machine's own clock. Without a battery it begins in 1970.
        passed: a time that is known to have passed, such as that of the newest channel.

    Raises:
        ClockError: the clock is a day or more behind that time, or behind the day on
            which this software was made.
    """
    now = datetime.fromtimestamp(clock.unix_ns() / NS_PER_S, UTC)
    earliest = max(passed - CLOCK_TOLERANCE, RUNTIME_DATE)
    if now < earliest:
        raise ClockError(
            "the clock of this machine",
            f"{format_time(earliest)} or later, which has passed",
            format_time(now),
        )
    return now


def unix_ns_from_rfc3339(text: str, source: str = "time") -> int:
    """Reads a time such as `2026-01-01T08:00:00Z` as nanoseconds since 1970.

    Args:
        text: the time.
        source: where it was given, for errors, for example `--sim_start`.

    Raises:
        BadTimeError: the text is not an RFC 3339 time, or not in UTC.
    """
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as e:
        raise _bad_time(text, source) from e
    if moment.tzinfo is None or moment.utcoffset() != UTC.utcoffset(None):
        raise _bad_time(text, source)
    whole_s = int(moment.replace(microsecond=0).timestamp())
    return whole_s * NS_PER_S + moment.microsecond * 1000


def rfc3339_from_unix_ns(unix_ns: int) -> str:
    """Writes a wall time as RFC 3339 in UTC with whole seconds."""
    moment = datetime.fromtimestamp(unix_ns // NS_PER_S, UTC)
    return moment.replace(tzinfo=None).isoformat(timespec="seconds") + "Z"


def _bad_time(text: str, source: str) -> BadTimeError:
    return BadTimeError(
        source, "an RFC 3339 time in UTC such as 2026-01-01T08:00:00Z", repr(text)
    )
