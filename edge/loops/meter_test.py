"""A loop is charged for what it and its children use, with few writes."""

import dataclasses
import os
import subprocess
import sys
from pathlib import Path

import pytest

from base.errors import DiskError
from edge.loops import meter
from edge.loops.budgets import Budgets, Usage
from edge.loops.ledger import FILE, JOURNAL_BYTES, Ledger
from edge.loops.meter import Meter, read_resident_bytes, read_usage

BUDGETS = Budgets(
    wall_s_per_night=1000.0, processor_s_per_day=1000.0, disk_mb_per_day=100.0
)


class Work:
    """What a loop has used so far, which a test moves."""

    def __init__(self) -> None:
        self.used = Usage(5000.0, 70.0, 3e9)  # what was before does not count

    def do(self, wall_s: float, cores: float = 1.0, disk_bytes: float = 0.0) -> None:
        self.used += Usage(wall_s, wall_s * cores, disk_bytes)

    def read(self) -> Usage:
        return self.used


def make_meter(folder: Path, work: Work, loop: str = "slow") -> Meter:
    return Meter(Ledger(folder / FILE), loop, BUDGETS, work.read, cores=2.0)


def on_disk(folder: Path) -> Usage:
    """What the ledger says after a crash."""
    return Ledger(folder / FILE).spent().used


def test_loop_is_charged_exactly_what_it_used(tmp_path: Path) -> None:
    work = Work()
    with make_meter(tmp_path, work) as mine:
        for _ in range(40):
            work.do(0.5, cores=2.0, disk_bytes=1000.0)
            found = mine.spent().used
        assert (found.wall_s, found.processor_s) == (20.0, 40.0)
        assert mine.total() == Usage(20.0, 40.0, 40_000.0)
    after = on_disk(tmp_path)
    assert (after.wall_s, after.processor_s) == (20.0, 40.0)
    assert after.disk_bytes % JOURNAL_BYTES == 40_000 % JOURNAL_BYTES


def test_loop_that_came_to_its_end_is_charged_whatever_happens_next(
    tmp_path: Path,
) -> None:
    work = Work()
    book = Ledger(tmp_path / FILE)
    with Meter(book, "slow", BUDGETS, work.read) as mine:
        work.do(3.0)
        mine.spent()
        book.end_loop("slow", mine.total())
        assert on_disk(tmp_path).wall_s >= 3.0
    after = Ledger(tmp_path / FILE)
    assert after.spent().used.wall_s == 3.0
    assert after.spent().nights == 1
    assert after.took["slow"].wall_s == 3.0


def test_wall_time_of_the_waking_hours_is_nobodys_budget(tmp_path: Path) -> None:
    work = Work()
    with make_meter(tmp_path, work, "fast") as mine:
        work.do(500.0, cores=0.1)
        assert mine.spent().used.wall_s == 0.0
        assert mine.spent().awake.processor_s == 50.0


def test_crash_costs_at_most_an_advance_and_never_less_than_was_used(
    tmp_path: Path,
) -> None:
    work = Work()
    with make_meter(tmp_path, work) as mine:
        for turn in range(200):
            work.do(0.5, cores=2.0)
            mine.spent()
            used, counted = 0.5 * (turn + 1), on_disk(tmp_path)
            assert used <= counted.wall_s <= used + 10.0
            assert 2 * used <= counted.processor_s <= 2 * used + 10.0


def test_whole_day_costs_few_writes(tmp_path: Path) -> None:
    work = Work()
    with make_meter(tmp_path, work) as mine:
        while work.used.wall_s < 6000.0:
            work.do(0.5)
            mine.spent()
    assert on_disk(tmp_path).disk_bytes <= 0.1 * BUDGETS.disk_bytes_per_day
    assert on_disk(tmp_path).disk_bytes / JOURNAL_BYTES <= 202


def test_clock_of_usage_that_goes_back_gives_nothing_back(tmp_path: Path) -> None:
    work = Work()
    with make_meter(tmp_path, work) as mine:
        work.do(3.0)
        mine.spent()
        before = work.used
        work.used = dataclasses.replace(before, processor_s=0.0)
        assert mine.spent().used.processor_s == 3.0
        work.used = before
        assert mine.spent().used.processor_s == 3.0


def test_no_loop_begins_on_a_disk_that_refuses(tmp_path: Path) -> None:
    refused = make_meter(tmp_path / "missing", Work())
    with pytest.raises(DiskError), refused:
        pytest.fail("the block was entered")


_BUSY = """
import os, sys, time
folder = sys.argv[1]
with open(f"{folder}/written", "wb") as stream:
    stream.write(b"x" * 300_000)
    stream.flush()
    os.fsync(stream.fileno())
while time.process_time() < 0.3:
    pass
sys.stdout.write("r")
sys.stdout.flush()
sys.stdin.read()
"""


def test_processor_time_of_a_child_is_seen_while_it_runs_and_after(
    tmp_path: Path,
) -> None:
    before = read_usage()
    child = subprocess.Popen(
        [sys.executable, "-c", _BUSY, str(tmp_path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert child.stdout is not None
    assert child.stdin is not None
    child.stdout.read(1)
    running = read_usage([child.pid]) - before
    child.stdin.close()
    child.wait()
    child.stdout.close()
    ended = read_usage([child.pid]) - before
    assert running.processor_s >= 0.28
    assert ended.processor_s >= running.processor_s - 0.02
    assert ended.wall_s >= running.wall_s > 0


def test_disk_writes_of_a_process_are_read_from_its_counters(tmp_path: Path) -> None:
    folder = tmp_path / "proc" / "77"
    folder.mkdir(parents=True)
    fields = ["S", *["0"] * 10, "120", "30", "40", "10", *["0"] * 30]
    (folder / "stat").write_text(f"77 (a) b) {' '.join(fields)}\n")
    (folder / "io").write_text(
        "wchar: 9\nwrite_bytes: 8192\ncancelled_write_bytes: 1\n"
    )
    alone = read_usage(root=tmp_path)
    both = read_usage([77, 78], tmp_path)
    ticks = os.sysconf("SC_CLK_TCK")
    assert both.disk_bytes - alone.disk_bytes >= 8192
    assert both.processor_s - alone.processor_s >= 200 / ticks


def test_resident_memory_of_a_process_is_what_it_touched() -> None:
    def measure(size_bytes: int) -> int:
        touch = f"import sys; x = b'x' * {size_bytes}; print(flush=True); input()"
        child = subprocess.Popen(
            [sys.executable, "-I", "-S", "-c", touch],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        assert child.stdout is not None
        child.stdout.readline()
        found = read_resident_bytes([child.pid])
        child.communicate(b"\n")
        assert read_resident_bytes([child.pid]) == 0
        return found

    more = measure(50_000_000) - measure(0)
    assert 49_000_000 <= more <= 55_000_000


@pytest.mark.parametrize("content", ["", "garbage", "VmRSS: lots kB", "VmRSS:\t-4 kB"])
def test_memory_that_makes_no_sense_counts_nothing(
    tmp_path: Path, content: str
) -> None:
    folder = tmp_path / "proc" / "77"
    folder.mkdir(parents=True)
    (folder / "status").write_text(content)
    assert read_resident_bytes([77, 78], tmp_path) == 0


@pytest.mark.parametrize("content", ["", "garbage", "77 (a) S 1 2"])
def test_counters_that_make_no_sense_count_nothing(
    tmp_path: Path, content: str
) -> None:
    folder = tmp_path / "proc" / "77"
    folder.mkdir(parents=True)
    (folder / "stat").write_text(content)
    (folder / "io").write_text(content)
    assert meter._read_process(folder) == Usage()
