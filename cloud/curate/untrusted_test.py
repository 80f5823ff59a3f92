"""What somebody else wrote to the index or the raw root does not enter a dataset."""

import io
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import rich.console

from base.store.store import LocalStore
from cloud.curate import curation
from cloud.errors import CurationSpecError
from cloud.index import build, snapshot
from cloud.ingest import admission, ingest_key
from cloud.testing.raw_robot import TRUSTED, RawRobot, ingest
from release.signing.private_keys import PrivateKey
from release.trusted_keys import ADMISSION_ROLE, TrustedKeys
from rlds.manifest import Manifest
from rlds.raw_layout import RawFolder
from rlds.sidecar import Consent

_ROBOT = RawRobot(1)
_SPEC = {
    "dataset": "bench",
    "version": "1.0.0",
    "where": "success = 1",
    "split": {"by": ["date"], "val_groups": 1, "salt": "s"},
    "shards": {"train": 1, "val": 1},
}

Rows = list[dict[str, Any]]


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two good days, and an episode without consent, judged and indexed."""
    root = tmp_path_factory.mktemp("world")
    (root / "raw").mkdir()
    store = LocalStore(root / "raw")
    for number, day in enumerate(("2026-01-01", "2026-01-02", "2026-01-03")):
        _ROBOT.upload(store, _ROBOT.record(number, date=day))
    denied = Consent(False, "operator", "2026-01-01T08:00:00Z")
    _ROBOT.upload(store, _ROBOT.record(9, date="2026-01-03"), consent=denied)
    ingest(store, _ROBOT)
    build.build(store.uri, (root / "index").as_uri(), TRUSTED, readers=1)
    return root


@pytest.fixture
def raw(world: Path, tmp_path: Path) -> LocalStore:
    """A copy of the raw root, beside one of its index, which the test may change."""
    shutil.copytree(world, tmp_path, dirs_exist_ok=True)
    return LocalStore(tmp_path / "raw")


def _curate(folder: Path, trusted: TrustedKeys = TRUSTED) -> Manifest:
    (folder / "spec.json").write_text(json.dumps(_SPEC))
    return curation.curate(
        raw_uri=(folder / "raw").as_uri(),
        index_uri=(folder / "index").as_uri(),
        spec_file=folder / "spec.json",
        output_uri=(folder / "bench" / "v1.0.0").as_uri(),
        code_commit="c0ffee",
        created_at="2026-02-01T00:00:00Z",
        trusted=trusted,
        workers=1,
        console=rich.console.Console(file=io.StringIO()),
    )


def _rewrite_index(folder: Path, change: Callable[[Rows], object]) -> None:
    """Writes another index in good form, as whoever may write there could."""
    file = folder / "index" / snapshot.FILE
    rows = [json.loads(line) for line in file.read_bytes().splitlines()]
    change(rows)
    file.write_bytes(snapshot.encode(rows))


def _id(number: int) -> str:
    return _ROBOT.record(number).sidecar.episode_id


def test_episodes_that_ingest_admitted_are_all_taken(
    raw: LocalStore, tmp_path: Path
) -> None:
    manifest = _curate(tmp_path)
    assert len(manifest.episodes) == 3
    assert dict(manifest.drops) == {}


def test_row_that_was_added_to_the_index_is_dropped(
    raw: LocalStore, tmp_path: Path
) -> None:
    """The episode is there and whole; its operator did not consent."""
    folder = _ROBOT.record(9, date="2026-01-03").folder
    changes = {
        "episode_id": _id(9),
        "sha256": raw.digest(folder.episode, 1 << 20),
        "path": folder.path,
    }
    _rewrite_index(tmp_path, lambda rows: rows.append({**rows[2], **changes}))
    manifest = _curate(tmp_path)
    assert dict(manifest.drops) == {_id(9): "row_not_of_verdict"}
    assert len(manifest.episodes) == 3


@pytest.mark.parametrize(
    "change",
    [
        {"task": "push-v3"},
        {"path": "rlds_v0/elsewhere"},
        {"sha256": "a" * 64},
        {"consent_granted": False},
        {"robot_model": "other"},
    ],
)
def test_row_that_was_changed_in_the_index_is_dropped(
    raw: LocalStore, tmp_path: Path, change: dict[str, Any]
) -> None:
    _rewrite_index(tmp_path, lambda rows: rows[1].update(change))
    manifest = _curate(tmp_path)
    assert dict(manifest.drops) == {_id(1): "row_not_of_verdict"}
    assert len(manifest.episodes) == 2


def test_row_with_a_verdict_of_a_strangers_key_is_dropped(
    raw: LocalStore, tmp_path: Path
) -> None:
    folder = _ROBOT.record(1, date="2026-01-02").folder
    own = PrivateKey.generate((ADMISSION_ROLE,))
    found = admission.verify(raw.get(folder.admission, 1 << 20), folder, TRUSTED)
    raw.put(folder.admission, found.sign(own))
    assert dict(_curate(tmp_path).drops) == {_id(1): "verdict_not_trusted"}


def test_row_whose_verdict_was_taken_back_is_dropped(
    raw: LocalStore, tmp_path: Path
) -> None:
    recorded = _ROBOT.record(1, date="2026-01-02")
    _ROBOT.upload(raw, recorded, consent=Consent(False, "", ""))
    ingest(raw, _ROBOT)
    assert dict(_curate(tmp_path).drops) == {_id(1): "row_not_of_verdict"}


def test_row_without_a_verdict_is_dropped(raw: LocalStore, tmp_path: Path) -> None:
    folder = _ROBOT.record(1, date="2026-01-02").folder
    (raw.root / folder.admission).unlink()
    assert dict(_curate(tmp_path).drops) == {_id(1): "verdict_missing"}


def test_without_the_key_of_this_ingest_nothing_is_curated(
    raw: LocalStore, tmp_path: Path
) -> None:
    stranger = ingest_key.trust(PrivateKey.generate((ADMISSION_ROLE,)))
    with pytest.raises(CurationSpecError, match="verdict_not_trusted"):
        _curate(tmp_path, stranger)
    assert list((tmp_path / "bench").iterdir()) == []


def test_path_of_a_row_leads_nowhere_else(raw: LocalStore, tmp_path: Path) -> None:
    outside = RawFolder("../../etc", "2026-01-01", "passwd")
    _rewrite_index(
        tmp_path,
        lambda rows: rows[1].update(robot_hash=outside.robot_hash, path=outside.path),
    )
    assert dict(_curate(tmp_path).drops) == {_id(1): "verdict_not_trusted"}
