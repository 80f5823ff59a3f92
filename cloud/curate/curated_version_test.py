"""A curated version, opened as training opens it; a bad one is refused."""

import io
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import rich.console

from base.store.store import LocalStore
from cloud import locations
from cloud.curate import curation
from cloud.dataset import split
from cloud.errors import DatasetError
from cloud.index import build
from cloud.testing.raw_robot import TRUSTED, RawRobot, ingest
from rlds import reader
from rlds.errors import ManifestError, ShardMismatchError

_ROBOTS = tuple(RawRobot(number) for number in range(3))
_SPEC = {
    "dataset": "bench",
    "version": "1.0.0",
    "where": "true",
    "split": {"by": ["robot_hash"], "val_groups": 1, "salt": "s"},
    "shards": {"train": 2, "val": 1},
}

Version = tuple[Path, dict[str, bytes]]


def open_version(
    location: str | Path, name: str = "train", work: str = "work"
) -> split.DatasetSplit:
    """Opens a split as training does; its offsets are kept beside the version."""
    version = locations.local_folder(locations.to_uri(location))
    assert version is not None
    return split.open_split(location, name, version.parent / work)


@pytest.fixture(scope="module")
def curated(tmp_path_factory: pytest.TempPathFactory) -> Version:
    """A curated version, and the recorded episodes by id."""
    root = tmp_path_factory.mktemp("curated")
    console = rich.console.Console(file=io.StringIO())
    (root / "raw").mkdir()
    raw = LocalStore(root / "raw")
    recorded = {}
    for robot in _ROBOTS:
        for number in range(3):
            one = robot.record(number)
            robot.upload(raw, one)
            recorded[one.sidecar.episode_id] = one.episode
    ingest(raw, *_ROBOTS)
    build.build(raw.uri, (root / "index").as_uri(), TRUSTED, readers=1)
    (root / "spec.json").write_text(json.dumps(_SPEC))
    folder = root / "bench" / "v1.0.0"
    curation.curate(
        raw_uri=raw.uri,
        index_uri=(root / "index").as_uri(),
        spec_file=root / "spec.json",
        output_uri=folder.as_uri(),
        code_commit="c0ffee",
        created_at="2026-02-01T00:00:00Z",
        trusted=TRUSTED,
        workers=1,
        console=console,
    )
    return folder, recorded


@pytest.fixture
def version(curated: Version, tmp_path: Path) -> Version:
    """A copy of the curated version, which the test may change."""
    folder, recorded = curated
    return shutil.copytree(folder, tmp_path / "bench" / "v1.0.0"), recorded


def test_both_splits_return_what_the_robots_recorded(version: Version) -> None:
    folder, recorded = version
    found = {}
    for name, count in (("train", 6), ("val", 3)):
        loaded = open_version(folder, name)
        assert len(loaded.episodes) == count
        assert loaded.split == name
        assert loaded.manifest.dataset == "bench"
        for episode in loaded.episodes:
            found[episode.metadata.episode_id] = episode
    assert found == {
        episode_id: reader.read_episode_bytes(raw)
        for episode_id, raw in recorded.items()
    }


def test_a_folder_and_its_uri_are_the_same_dataset(version: Version) -> None:
    folder, _ = version
    by_folder, by_uri = (
        open_version(str(folder)),
        open_version(folder.as_uri() + "/", work="other"),
    )
    assert list(by_folder.episodes) == list(by_uri.episodes)
    assert by_folder.manifest_digest == by_uri.manifest_digest
    assert len(by_folder.manifest_digest) == 64


@pytest.mark.parametrize(
    "change",
    [
        lambda raw: raw[:-1],
        lambda raw: raw + b"\0",
        lambda raw: raw[:100] + bytes([raw[100] ^ 1]) + raw[101:],
        lambda raw: b"",
        lambda raw: bytes(len(raw)),
    ],
)
def test_a_changed_shard_is_refused_and_named(
    version: Version, change: Callable[[bytes], bytes]
) -> None:
    folder, _ = version
    shard = folder / "train" / "shard-00001.tfrecord"
    shard.write_bytes(change(shard.read_bytes()))
    with pytest.raises(ShardMismatchError, match=r"train/shard-00001") as caught:
        open_version(folder)
    assert "\n" not in str(caught.value)
    assert len(open_version(folder, "val").episodes) == 3


def test_swapped_shards_are_refused(version: Version) -> None:
    folder, _ = version
    one = folder / "train" / "shard-00000.tfrecord"
    other = folder / "train" / "shard-00001.tfrecord"
    raw = one.read_bytes()
    one.write_bytes(other.read_bytes())
    other.write_bytes(raw)
    with pytest.raises(ShardMismatchError):
        open_version(folder)


def test_a_missing_shard_is_refused(version: Version) -> None:
    folder, _ = version
    (folder / "val" / "shard-00000.tfrecord").unlink()
    with pytest.raises(ShardMismatchError, match="no file"):
        open_version(folder, "val")


def test_a_missing_dataset_and_a_missing_split_are_named(
    version: Version, tmp_path: Path
) -> None:
    folder, _ = version
    with pytest.raises(DatasetError, match="got no manifest"):
        open_version(tmp_path / "nothing")
    with pytest.raises(DatasetError, match="'test', got"):
        open_version(folder, "test")


def test_a_file_that_is_not_a_manifest_is_refused(version: Version) -> None:
    folder, _ = version
    manifest = folder / "manifest.json"
    manifest.write_bytes(manifest.read_bytes()[:-1])
    with pytest.raises(ManifestError):
        open_version(folder)
