"""What the learner keeps of how episodes ended, and that losing it costs little."""

import dataclasses
from pathlib import Path
from typing import Any

import pytest

from edge.loops import history
from edge.loops.history import History
from edge.loops.memory_choice import Driver, Memory
from edge.loops.trial import ENOUGH, Standing, judge_use
from edge.testing.memories import make_memory

PACKAGE, DELTA = "a" * 64, "d" * 64
OF_PACKAGE = History(package=PACKAGE)


def memory(number: int, **changes: Any) -> Memory:
    """What the package drove with the delta, unless changed."""
    driven = {
        "driver": Driver.PACKAGE_WITH_DELTA,
        "package_digest": PACKAGE,
        "delta_digest": DELTA,
    }
    return make_memory(number, **(driven | changes))


def test_history_that_was_written_is_read_again(tmp_path: Path) -> None:
    ends = (True, False, None)
    known = OF_PACKAGE.add_outcomes(
        memory(n, success=end, delta_digest="" if n else DELTA)
        for n, end in enumerate(ends)
    )
    known = known.add_surprise({"b" * 64: 0.25})
    known = dataclasses.replace(known, rounds=3, given={"slow": 7})
    history.write(tmp_path, known)
    assert history.read(tmp_path) == known
    assert [one.success for one in known.outcomes] == [*ends]


def test_only_what_this_package_drove_is_an_outcome_and_once() -> None:
    shown = memory(0, driver=Driver.PERSON)
    other = memory(1, package_digest="e" * 64)
    own, alone = memory(2), memory(3, driver=Driver.PACKAGE, delta_digest="")
    known = OF_PACKAGE.add_outcomes([shown, other, own, alone])
    assert [one.delta for one in known.outcomes] == [DELTA, ""]
    assert known.add_outcomes([own]) == known
    assert known.of_package("e" * 64).outcomes == ()


def test_robot_that_cannot_tell_success_gets_a_good_delta() -> None:
    driven = [memory(n, success=None) for n in range(2 * ENOUGH)]
    for count in range(1, len(driven) + 1):
        known = OF_PACKAGE.add_outcomes(driven[:count])
        wanted = Standing.GOOD if count >= ENOUGH else Standing.ON_TRIAL
        assert judge_use(known.outcomes, DELTA)[0] is wanted


def test_person_who_stops_the_robot_says_nothing_against_a_delta() -> None:
    driven = [memory(n) for n in range(ENOUGH)]
    stopped = [
        memory(100 + n, success=False, cut_short=True, stop_rules=0) for n in range(20)
    ]
    known = OF_PACKAGE.add_outcomes([*driven, *stopped])
    assert len(known.outcomes) == ENOUGH
    assert judge_use(known.outcomes, DELTA)[0] is Standing.GOOD
    fired = memory(200, success=False, cut_short=True, stop_rules=1)
    known = known.add_outcomes([fired])
    assert judge_use(known.outcomes, DELTA)[0] is Standing.BAD


@pytest.mark.parametrize("version", [b'"schema_version":1', b'"schema_version":"x"'])
def test_history_of_another_version_begins_anew(tmp_path: Path, version: bytes) -> None:
    history.write(tmp_path, OF_PACKAGE.add_outcomes([memory(0)]))
    path = tmp_path / history.FILE
    written = path.read_bytes()
    assert b'"schema_version":2' in written
    path.write_bytes(written.replace(b'"schema_version":2', version))
    assert history.read(tmp_path) == History()


@pytest.mark.parametrize("raw", [b"", b"{", b"[]", b'{"rounds":1}', b"\xff" * 9])
def test_damaged_or_missing_history_begins_anew(tmp_path: Path, raw: bytes) -> None:
    assert history.read(tmp_path) == History()
    (tmp_path / history.FILE).write_bytes(raw)
    assert history.read(tmp_path) == History()


def test_folder_in_the_place_of_the_history_is_set_aside(tmp_path: Path) -> None:
    (tmp_path / history.FILE / "in it").mkdir(parents=True)
    history.write(tmp_path, OF_PACKAGE)
    assert history.read(tmp_path) == OF_PACKAGE


def test_outcomes_and_surprise_are_bounded_and_the_latest_stay() -> None:
    most = history.MOST_OUTCOMES
    known = OF_PACKAGE.add_outcomes(memory(n) for n in range(most + 5))
    assert len(known.outcomes) == most
    assert known.outcomes[-1].digest == f"{most + 4:064x}"
    many = {f"{n:064x}": 0.5 for n in range(history.MOST_MEASURED + 5)}
    assert len(known.add_surprise(many).surprise) == history.MOST_MEASURED
