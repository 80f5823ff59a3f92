from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from base.errors import MalformedError
from edge.ota import health, start_count
from edge.ota.health import EpisodeReport, Health
from edge.ota.start_count import Starts
from edge.ota.watch import Counts

DIGEST, OTHER = "ab" * 32, "cd" * 32
MESSAGE = {
    "package": DIGEST,
    "delta": None,
    "success": True,
    "steps": 80,
    "missed_deadlines": 2,
    "stop_rules": 1,
    "stopped": False,
    "stop_key": False,
}


def report(**changes: Any) -> EpisodeReport:
    return health.parse_report({**MESSAGE, **changes})


def test_reports_add_up_and_come_back_from_the_disk(tmp_path: Path) -> None:
    found = Health(DIGEST)
    for changes in ({}, {"success": False, "stop_rules": 0}, {"success": None}):
        found = found.add(report(**changes))
    expected = Counts(
        episodes=3, judged=2, successes=1, steps=240, late_steps=6, stopped=2
    )
    assert found.counts == expected
    health.write(tmp_path, found)
    assert health.read(tmp_path, DIGEST) == found
    assert health.read(tmp_path, OTHER) == Health(OTHER)
    assert [p.name for p in tmp_path.iterdir()] == [health.FILE]


def test_episodes_with_a_delta_are_counted_apart_as_well(tmp_path: Path) -> None:
    found = Health(DIGEST)
    for success in (True, False, None):
        found = found.add(report(delta=OTHER, success=success))
    found = found.add(report(success=False))
    assert (found.counts.judged, found.counts.successes) == (3, 1)
    assert (found.counts.with_delta, found.counts.successes_with_delta) == (2, 1)
    health.write(tmp_path, found)
    assert health.read(tmp_path, DIGEST) == found


def test_episode_that_was_cut_short_counts_neither_for_nor_against() -> None:
    found = Health(DIGEST).add(report())
    assert found.add(report(stopped=True, success=None, stop_rules=0)) == found


def test_episode_that_a_person_stopped_counts_as_nothing_else(tmp_path: Path) -> None:
    found = Health(DIGEST).add(report())
    stopped = found.add(report(stopped=True, stop_key=True, success=None, stop_rules=0))
    assert stopped.counts == replace(found.counts, by_people=1)
    health.write(tmp_path, stopped)
    assert health.read(tmp_path, DIGEST) == stopped


def test_counts_without_episodes_that_people_stopped_are_read_as_before(
    tmp_path: Path,
) -> None:
    found = Health(DIGEST).add(report())
    health.write(tmp_path, found)
    assert b"by_people" not in (tmp_path / health.FILE).read_bytes()
    assert health.read(tmp_path, DIGEST) == found


@pytest.mark.parametrize(
    "changes",
    [
        {"package": None},
        {"package": "x"},
        {"steps": -1},
        {"steps": True},
        {"missed_deadlines": 81},
        {"success": 1},
        {"stopped": None},
        {"stop_key": 1},
        {"stop_rules": "speed"},
        {"more": 1},
    ],
)
def test_message_of_another_form_is_not_counted(changes: dict[str, Any]) -> None:
    with pytest.raises(MalformedError, match="a health message"):
        report(**changes)


def test_counts_are_halved_so_that_they_are_those_of_the_last_episodes() -> None:
    found = Health(DIGEST)
    for _ in range(1000):
        found = found.add(report())
    for _ in range(health.MOST_EPISODES):
        found = found.add(report(stop_rules=0, missed_deadlines=0))
    counts = found.counts
    assert health.MOST_EPISODES // 2 <= counts.episodes <= health.MOST_EPISODES
    assert counts.stopped < counts.episodes / 2
    assert counts.judged == counts.successes == counts.episodes
    assert 79 <= counts.steps / counts.episodes <= 81


def test_crash_is_added_once_and_starts_in_a_row_are_those_of_now() -> None:
    found = Health(DIGEST).see(Starts(DIGEST, in_a_row=2, crashes=3))
    assert (found.counts.crashes, found.counts.starts_in_a_row) == (3, 2)
    found = found.see(Starts(DIGEST, in_a_row=0, crashes=4))
    assert (found.counts.crashes, found.counts.starts_in_a_row) == (4, 0)
    lost = found.see(Starts(DIGEST))
    assert (lost.counts.crashes, lost.crashes_seen) == (4, 0)


def test_counts_of_a_package_hold_its_starts(tmp_path: Path) -> None:
    health.write(tmp_path, Health(DIGEST).add(report()))
    (tmp_path / start_count.FILE).write_text(
        f'{{"count":4,"crashes":1,"digest":"{DIGEST}","running":"x","schema_version":2}}'
    )
    counts = health.read_counts(tmp_path, DIGEST)
    assert (counts.episodes, counts.crashes, counts.starts_in_a_row) == (1, 1, 4)
    assert health.read_counts(tmp_path, OTHER) == Counts()


@pytest.mark.parametrize("raw", [b"", b"{", b"\xff", b"{}", b"9" * 9999])
def test_damaged_file_holds_nothing(tmp_path: Path, raw: bytes) -> None:
    (tmp_path / health.FILE).write_bytes(raw)
    assert health.read(tmp_path, DIGEST) == Health(DIGEST)
