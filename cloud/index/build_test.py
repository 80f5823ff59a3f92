import dataclasses
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from base.store.store import LocalStore
from cloud.errors import RawRootError, VerdictError
from cloud.index import build, query, schema, snapshot
from cloud.index.build import Built
from cloud.ingest import admission, claims, ingest_key
from cloud.testing.raw_robot import INGEST_KEY, TRUSTED, RawRobot, ingest, make_raw
from release.signing.private_keys import PrivateKey
from release.trusted_keys import ADMISSION_ROLE
from rlds.raw_layout import RawFolder
from rlds.sidecar import Consent

_ROBOTS = (RawRobot(1), RawRobot(2))
raw = pytest.fixture(make_raw)


def _ingest(raw: LocalStore) -> None:
    ingest(raw, *_ROBOTS)


def _build(raw: LocalStore, tmp_path: Path) -> Built:
    return build.build(raw.uri, (tmp_path / "index").as_uri(), TRUSTED, readers=2)


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
        ("task-0", 2, 5, 1, ["simulated"]),
        ("task-1", 2, 5, 1, ["simulated"]),
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
        build.build((tmp_path / "typo").as_uri(), index.as_uri(), TRUSTED, 1)
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


def test_an_episode_that_grew_after_its_verdict_is_not_read(
    raw: LocalStore, tmp_path: Path
) -> None:
    grown, good = (_ROBOTS[0].upload(raw, _ROBOTS[0].record(n)) for n in range(2))
    _ingest(raw)
    # Reading this much would take hours.
    os.truncate(raw.root / grown.episode, 8 * 1024**4)
    built = _build(raw, tmp_path)
    assert [row["path"] for row in built.index.rows] == [good.path]
    ((path, reason),) = built.refused
    assert path == grown.path
    assert "bytes, got more" in reason


def test_what_changed_after_its_verdict_is_named_and_not_indexed(
    raw: LocalStore, tmp_path: Path
) -> None:
    robot = _ROBOTS[0]
    sidecar, episode, lost, good = (
        robot.upload(raw, robot.record(n)) for n in range(4)
    )
    _ingest(raw)
    raw.put(sidecar.sidecar, raw.get(sidecar.sidecar, 1 << 20).replace(b"a", b"b"))
    raw.put(episode.episode, b"another episode")
    (raw.root / lost.episode).unlink()
    built = _build(raw, tmp_path)
    assert [row["path"] for row in built.index.rows] == [good.path]
    reasons = dict(built.refused)
    assert set(reasons) == {sidecar.path, episode.path, lost.path}
    assert "expected the sidecar that was judged" in reasons[sidecar.path]
    assert "expected the episode that was judged" in reasons[episode.path]
    assert "expected an object, got none" in reasons[lost.path]


def _forged(raw: LocalStore, folder: RawFolder) -> bytes:
    """A verdict that a robot's account signed with a key of its own."""
    own = PrivateKey.generate((ADMISSION_ROLE,))
    found = admission.verify(raw.get(folder.admission, 1 << 20), folder, TRUSTED)
    return found.sign(own)


POISON: dict[str, Callable[[LocalStore, RawFolder], bytes]] = {
    "unsigned": lambda raw, folder: b'{"status":"admitted"}',
    "a key of the robot's": _forged,
    "2 MB": lambda raw, folder: b" " * 2_000_000,
    "no JSON": lambda raw, folder: b"\xff\x00",
    "deep JSON": lambda raw, folder: b"[" * 100_000,
    "a key that is a list": lambda raw, folder: b'{"keyid":[],"signature":"x"}',
    "the verdict on another folder": lambda raw, folder: raw.get(
        next(p for p in raw.list("") if "admission" in p and folder.path not in p),
        1 << 20,
    ),
    "an admission of nothing": lambda raw, folder: dataclasses.replace(
        admission.verify(raw.get(folder.admission, 1 << 20), folder, TRUSTED),
        episode={},
    ).sign(INGEST_KEY),
    "episode fields of other types": lambda raw, folder: dataclasses.replace(
        admission.verify(raw.get(folder.admission, 1 << 20), folder, TRUSTED),
        episode={name: [] for name in schema.NAMES},
    ).sign(INGEST_KEY),
}


@pytest.mark.parametrize("poison", POISON)
def test_a_verdict_that_ingest_did_not_sign_is_named_and_the_others_are_indexed(
    raw: LocalStore, tmp_path: Path, poison: str
) -> None:
    robot = _ROBOTS[0]
    bad, good = (robot.upload(raw, robot.record(number)) for number in range(2))
    _ingest(raw)
    raw.put(bad.admission, POISON[poison](raw, bad))
    built = _build(raw, tmp_path)
    assert [row["path"] for row in built.index.rows] == [good.path]
    assert [path for path, _ in built.refused] == [bad.path]
    assert bad.admission in built.refused[0][1]


def test_an_episode_that_nobody_judged_is_not_indexed_whatever_lies_beside_it(
    raw: LocalStore, tmp_path: Path
) -> None:
    """An account that may upload writes its own verdict and its own claim."""
    robot = _ROBOTS[0]
    own = robot.upload(raw, robot.record(1), consent=Consent(False, "", ""))
    ingest(raw, robot)
    forger = PrivateKey.generate((ADMISSION_ROLE,))
    admitted = robot.upload(raw, robot.record(2))
    ingest(raw, *_ROBOTS)
    shown = admission.verify(raw.get(admitted.admission, 1 << 20), admitted, TRUSTED)
    lie = dataclasses.replace(
        shown,
        folder=own.path,
        episode_id=own.episode_id,
        sha256=raw.digest(own.episode, 1 << 20),
    )
    raw.put(own.admission, lie.sign(forger))
    claims.claim(raw, own, forger, ingest_key.trust(forger))
    built = _build(raw, tmp_path)
    assert [row["path"] for row in built.index.rows] == [admitted.path]
    assert [path for path, _ in built.refused] == [own.path]


def test_an_old_verdict_does_not_count_once_another_folder_holds_the_id(
    raw: LocalStore, tmp_path: Path
) -> None:
    robot = _ROBOTS[0]
    first = robot.upload(raw, robot.record(1))
    _ingest(raw)
    second = robot.upload(raw, robot.record(1, date="2026-02-01"))
    raw.put(
        f"admitted/episode_id={first.episode_id}",
        b"a robot took the first one's claim away",
    )
    (raw.root / first.admission).rename(tmp_path / "kept")
    (raw.root / first.sidecar).unlink()
    _ingest(raw)
    raw.put(first.admission, (tmp_path / "kept").read_bytes())
    robot.upload(raw, robot.record(1))
    built = _build(raw, tmp_path)
    assert [row["path"] for row in built.index.rows] == [second.path]
    assert [path for path, _ in built.refused] == [first.path]
    assert "claimed the episode's id" in built.refused[0][1]


def test_an_index_is_left_as_it_is_when_no_verdict_counts(
    raw: LocalStore, tmp_path: Path
) -> None:
    _ROBOTS[0].upload(raw, _ROBOTS[0].record(1))
    _ingest(raw)
    _build(raw, tmp_path)
    index = tmp_path / "index"
    before = {path.name: path.read_bytes() for path in index.iterdir()}
    stranger = ingest_key.trust(PrivateKey.generate((ADMISSION_ROLE,)))
    with pytest.raises(VerdictError, match="--ingest_public"):
        build.build(raw.uri, index.as_uri(), stranger, readers=1)
    assert {path.name: path.read_bytes() for path in index.iterdir()} == before
