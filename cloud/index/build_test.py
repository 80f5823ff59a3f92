import dataclasses
import io
from pathlib import Path

import pytest
import rich.console

from base.errors import MalformedError
from base.store.store import LocalStore
from cloud.errors import RawRootError
from cloud.index import build, query, snapshot
from cloud.index.build import Built
from cloud.ingest import judge
from cloud.testing.raw_robot import RawRobot, enrol

_ROBOTS = (RawRobot(1), RawRobot(2))


@pytest.fixture
def raw(tmp_path: Path) -> LocalStore:
    root = tmp_path / "raw"
    root.mkdir()
    return LocalStore(root)


def _ingest(raw: LocalStore) -> None:
    console = rich.console.Console(file=io.StringIO())
    judge.ingest(raw, enrol(*_ROBOTS), 1 << 20, 1, console)


def _build(raw: LocalStore, tmp_path: Path) -> Built:
    return build.build(raw.uri, (tmp_path / "index").as_uri())


def test_admitted_episodes_become_rows(raw: LocalStore, tmp_path: Path) -> None:
    for robot in _ROBOTS:
        for number in range(2):
            robot.upload(raw, robot.record(number, task=f"task-{number}"))
    _ingest(raw)
    built = _build(raw, tmp_path)
    assert (len(built.index.rows), built.quarantined, built.not_judged) == (4, 0, 0)
    read = snapshot.read((tmp_path / "index").as_uri())
    assert read == built.index
    answer = query.run(
        read,
        "SELECT task, count(*), min(num_steps), any_value(success), any_value(tags) "
        "FROM episodes GROUP BY task ORDER BY task",
    )
    assert answer.rows == (
        ("task-0", 2, 5, 1, ["bench"]),
        ("task-1", 2, 5, 1, ["bench"]),
    )
    files = sorted(path.name for path in (tmp_path / "index").glob("[a-z]*"))
    assert files == ["episodes.duckdb", "snapshot.jsonl"]


def test_the_same_raw_episodes_give_the_same_snapshot(
    raw: LocalStore, tmp_path: Path
) -> None:
    for number in range(3):
        _ROBOTS[0].upload(raw, _ROBOTS[0].record(number))
    _ingest(raw)
    assert _build(raw, tmp_path).index == _build(raw, tmp_path).index


def test_a_mistyped_raw_root_leaves_the_index_unchanged(
    raw: LocalStore, tmp_path: Path
) -> None:
    _ROBOTS[0].upload(raw, _ROBOTS[0].record(1))
    _ingest(raw)
    _build(raw, tmp_path)
    index = tmp_path / "index"
    before = {path.name: path.read_bytes() for path in index.iterdir()}
    with pytest.raises(RawRootError, match="typo: expected raw episodes"):
        build.build((tmp_path / "typo").as_uri(), index.as_uri())
    assert {path.name: path.read_bytes() for path in index.iterdir()} == before
    assert not (tmp_path / "typo").exists()


def test_episodes_that_are_not_admitted_are_counted_and_left_out(
    raw: LocalStore, tmp_path: Path
) -> None:
    robot = _ROBOTS[0]
    good, bad = robot.record(1), robot.record(2)
    robot.upload(raw, good)
    robot.upload(raw, dataclasses.replace(bad, episode=b"x"))
    _ingest(raw)
    robot.upload(raw, robot.record(3))
    built = _build(raw, tmp_path)
    assert [row["sha256"] for row in built.index.rows] == [good.sidecar.sha256]
    assert (built.quarantined, built.not_judged) == (1, 1)


def test_a_sidecar_that_changed_after_its_verdict_is_not_indexed(
    raw: LocalStore, tmp_path: Path
) -> None:
    robot = _ROBOTS[0]
    folder = robot.upload(raw, robot.record(1))
    _ingest(raw)
    raw.put(folder.sidecar, raw.get(folder.sidecar, 1 << 20).replace(b"a", b"b"))
    built = _build(raw, tmp_path)
    assert (built.index.rows, built.not_judged) == ((), 1)


def test_a_file_that_is_not_a_verdict_is_refused_by_name(
    raw: LocalStore, tmp_path: Path
) -> None:
    folder = _ROBOTS[0].upload(raw, _ROBOTS[0].record(1))
    raw.put(folder.admission, b'{"status":"admitted"}')
    with pytest.raises(MalformedError, match=r"admission\.json"):
        _build(raw, tmp_path)
    assert not (tmp_path / "index").exists()
