"""The ledger counts no less than was used, and a day of it is about a day."""

import dataclasses
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from base.errors import DiskError
from edge.loops import ledger
from edge.loops.budgets import Spent, Usage
from edge.loops.ledger import Day, Ledger, Moment
from edge.testing import processes

HOUR, DAY, YEAR = 3600.0, 24 * 3600.0, 365 * 24 * 3600.0
NOON = 20_000 * DAY + 12 * HOUR
SOME = Usage(wall_s=10.0, processor_s=20.0, disk_bytes=1000.0)
JOURNAL = float(ledger.JOURNAL_BYTES)


class Clocks:
    """A machine's clocks, which a test moves."""

    def __init__(self, unix_s: float = NOON) -> None:
        self.unix_s, self.boot_s, self.starts = unix_s, 0.0, 1

    def read(self) -> Moment:
        return Moment(self.unix_s, 0.0, self.boot_s, f"start-{self.starts}")

    def run(self, time_s: float) -> None:
        """The machine runs for this time."""
        self.unix_s += time_s
        self.boot_s += time_s

    def restart(self, off_s: float = 0.0, clock_s: float | None = None) -> None:
        """It is off for this time; its clock goes on, or moves by another time."""
        self.unix_s += off_s if clock_s is None else clock_s
        self.boot_s = 20.0
        self.starts += 1


@pytest.fixture
def clocks() -> Clocks:
    return Clocks()


@pytest.fixture
def reopen(tmp_path: Path, clocks: Clocks) -> Callable[[], Ledger]:
    return lambda: Ledger(tmp_path / ledger.FILE, clocks.read)


def test_new_robot_has_used_nothing(reopen: Callable[[], Ledger]) -> None:
    assert reopen().spent() == Spent()
    assert reopen().took == {}


def test_what_was_charged_is_read_again(reopen: Callable[[], Ledger]) -> None:
    mine = reopen()
    mine.charge(SOME, "slow")
    mine.charge(SOME, "medium")
    mine.charge(SOME)
    mine.end_loop("slow", SOME)
    # The wall time of the slow loop alone, and the writes of the ledger itself.
    used = Usage(10.0, 60.0, 3000.0 + 4 * JOURNAL)
    assert mine.spent() == Spent(used, Usage(0.0, 20.0, 1000.0 + JOURNAL), nights=1)
    assert reopen().spent() == mine.spent()
    assert reopen().took == {"slow": SOME}
    assert ledger.read_spent(mine._path) == mine.spent()


def test_advance_counts_as_used_after_a_crash_and_not_before(
    reopen: Callable[[], Ledger],
) -> None:
    mine = reopen()
    mine.charge(Usage(), "slow", advance=SOME)
    assert mine.spent().used == Usage(disk_bytes=JOURNAL)
    crashed = reopen().spent().used
    assert crashed == SOME + Usage(disk_bytes=JOURNAL)
    # Whoever opened it charges on, and the advance is counted once.
    again = reopen()
    again.charge(Usage(processor_s=1.0), "slow")
    assert reopen().spent().used.processor_s == 21.0


def test_day_begins_at_noon(clocks: Clocks, reopen: Callable[[], Ledger]) -> None:
    mine = reopen()
    mine.charge(SOME, "slow")
    clocks.run(DAY - 1)
    assert mine.spent().used.wall_s == 10.0
    clocks.run(1)
    assert mine.spent() == Spent()
    assert reopen().spent() == Spent()


def test_noon_is_that_of_the_robot(clocks: Clocks) -> None:
    here = clocks.read()
    east = dataclasses.replace(here, utc_offset_s=2 * HOUR)
    west = dataclasses.replace(here, utc_offset_s=-1.0)
    assert (here.noon, east.noon, west.noon) == (20_000, 20_000, 19_999)


def test_robot_that_was_off_over_noon_begins_a_day(
    clocks: Clocks, reopen: Callable[[], Ledger]
) -> None:
    clocks.run(6 * HOUR)
    reopen().charge(SOME, "slow")
    clocks.restart(off_s=20 * HOUR)
    assert reopen().spent() == Spent()


def test_robot_that_was_off_for_an_hour_begins_none(
    clocks: Clocks, reopen: Callable[[], Ledger]
) -> None:
    clocks.run(6 * HOUR)
    reopen().charge(SOME, "slow")
    clocks.restart(off_s=HOUR)
    assert reopen().spent().used.wall_s == 10.0


def test_clock_that_the_network_sets_after_a_start_is_believed(
    clocks: Clocks, reopen: Callable[[], Ledger]
) -> None:
    reopen().charge(SOME, "slow")
    clocks.restart(off_s=DAY, clock_s=0.0)  # no battery keeps the clock
    mine = reopen()
    assert mine.spent().used.wall_s == 10.0
    clocks.run(30)
    clocks.unix_s += DAY
    assert mine.spent() == Spent()


@pytest.mark.parametrize("jump_s", [DAY, -DAY, YEAR, -YEAR, 60 * YEAR, -NOON])
def test_clock_that_jumps_to_and_fro_gives_one_budget_for_each_start(
    clocks: Clocks, reopen: Callable[[], Ledger], jump_s: float
) -> None:
    mine = reopen()
    budgets = 0
    for turn in range(100):
        mine.charge(SOME, "slow")
        clocks.run(60)
        clocks.unix_s += jump_s if turn % 2 == 0 else -jump_s
        budgets += mine.spent() == Spent()
    assert budgets <= 1


@pytest.mark.parametrize("jump_s", [DAY, YEAR])
def test_clock_that_runs_ahead_for_ever_gives_one_budget_for_each_start(
    clocks: Clocks, reopen: Callable[[], Ledger], jump_s: float
) -> None:
    mine = reopen()
    budgets = 0
    for _ in range(100):
        mine.charge(SOME, "slow")
        clocks.run(60)
        clocks.unix_s += jump_s
        budgets += mine.spent() == Spent()
    assert budgets == 1


@pytest.mark.parametrize("jump_s", [DAY, -DAY, YEAR, -YEAR, 60 * YEAR, -NOON])
def test_clock_that_jumped_once_locks_nobody_out(
    clocks: Clocks, reopen: Callable[[], Ledger], jump_s: float
) -> None:
    mine = reopen()
    clocks.unix_s += jump_s
    mine.charge(SOME, "slow")
    clocks.run(36 * HOUR)
    assert mine.spent() == Spent()
    # And set right again.
    mine.charge(SOME, "slow")
    clocks.unix_s -= jump_s
    clocks.run(36 * HOUR)
    assert mine.spent() == Spent()


def test_robot_whose_clock_was_a_year_ahead_gets_home_to_a_daily_rhythm(
    clocks: Clocks, reopen: Callable[[], Ledger]
) -> None:
    mine = reopen()
    clocks.unix_s += YEAR
    mine.spent()
    clocks.unix_s -= YEAR
    clocks.run(2 * DAY)
    mine.charge(SOME, "slow")
    for _ in range(5):  # it runs for two hours a day from here on
        clocks.restart(off_s=22 * HOUR)
        mine = reopen()
        clocks.run(2 * HOUR)
        assert mine.spent() == Spent()
        mine.charge(SOME, "slow")


def test_clock_that_stands_still_ends_a_day_after_36_hours(
    clocks: Clocks, reopen: Callable[[], Ledger]
) -> None:
    mine = reopen()
    mine.charge(SOME, "slow")
    clocks.boot_s += 36 * HOUR - 1
    assert mine.spent() != Spent()
    clocks.boot_s += 1
    assert mine.spent() == Spent()


events = st.lists(
    st.tuples(
        st.sampled_from(["run", "jump", "restart"]),
        st.floats(-400 * DAY, 400 * DAY),
        st.floats(0, 30 * HOUR),
    ),
    max_size=40,
)


@settings(max_examples=100, deadline=None)
@given(events)
def test_no_clock_gives_more_days_than_time_and_starts_allow(
    happened: list[tuple[str, float, float]],
) -> None:
    clocks = Clocks()
    day: Day = ledger.begin_day(clocks.read(), Spent(nights=1))
    ran_s, days = 0.0, 0
    since_s = 0.0
    for event, jump_s, time_s in happened:
        if event == "run":
            clocks.run(time_s)
            ran_s += time_s
            since_s += time_s
        elif event == "jump":
            clocks.unix_s += jump_s
        else:
            clocks.restart(clock_s=jump_s)
            ran_s += clocks.boot_s
            since_s += clocks.boot_s
        day = ledger.pass_time(day, clocks.read())
        if day.spent == Spent():
            days += 1
            since_s = 0.0
            day = dataclasses.replace(day, spent=Spent(nights=1))
        assert since_s < ledger.LONGEST_DAY_S
    assert days <= ran_s / ledger.SHORTEST_DAY_S + clocks.starts


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{}",
        b"\x00" * 400,
        b"x" * 100_000,
        b'{"schema_version":1}',
    ],
)
def test_damaged_ledger_says_so_until_its_day_is_over(
    tmp_path: Path, clocks: Clocks, reopen: Callable[[], Ledger], content: bytes
) -> None:
    (tmp_path / ledger.FILE).write_bytes(content)
    mine = reopen()
    assert mine.spent().lost
    mine.charge(SOME, "slow")
    assert reopen().spent().lost
    clocks.run(36 * HOUR)
    assert reopen().spent() == Spent()


def test_numbers_that_no_ledger_holds_are_damage(
    tmp_path: Path, reopen: Callable[[], Ledger]
) -> None:
    reopen().charge(SOME, "slow", advance=SOME)
    path = tmp_path / ledger.FILE
    good = path.read_bytes()
    for old, new in (
        (b'"wall_s":10', b'"wall_s":-9'),
        (b'"elapsed_s":0', b'"elapsed_s":-1'),
        (b'"loop":"slow"', b'"loop":"deep"'),
        (b'"noon":20000', b'"noon":20000.5'),
        (b'"lost":false', b'"lost":null'),
    ):
        assert old in good
        path.write_bytes(good.replace(old, new))
        assert reopen().spent().lost, new


def test_pipe_in_place_of_the_ledger_does_not_hold_the_robot(
    tmp_path: Path, reopen: Callable[[], Ledger]
) -> None:
    (tmp_path / ledger.FILE).symlink_to("/dev/zero")
    assert reopen().spent().lost


def test_disk_that_refuses_is_an_error_and_the_use_is_counted(
    tmp_path: Path, clocks: Clocks
) -> None:
    mine = Ledger(tmp_path / "missing" / ledger.FILE, clocks.read)
    with pytest.raises(DiskError):
        mine.charge(SOME, "slow")
    assert mine.spent().used.wall_s == 10.0


_CHARGE = """
import sys
from pathlib import Path
from edge.loops.budgets import Usage
from edge.loops.ledger import Ledger

one = Usage(1.0, 1.0, 1.0)
mine = Ledger(Path(sys.argv[1]))
mine.charge(Usage(), "slow", one)
while True:
    sys.stdout.write("u")  # used, and not charged yet
    sys.stdout.flush()
    mine.charge(one, "slow", one)
"""


@pytest.mark.parametrize("used", [1, 3, 8, 20, 33])
def test_process_that_is_killed_at_any_instant_is_charged_what_it_used(
    tmp_path: Path, used: int
) -> None:
    path = tmp_path / ledger.FILE
    child = subprocess.Popen(
        [sys.executable, "-c", _CHARGE, str(path)],
        stdout=subprocess.PIPE,
        env=processes.environment(),
    )
    assert child.stdout is not None
    seen = len(child.stdout.read(used))
    child.send_signal(signal.SIGKILL)
    seen += len(child.stdout.read())
    child.wait()
    child.stdout.close()
    counted = Ledger(path).spent().used.wall_s
    assert seen <= counted <= seen + 1
