"""Offsets say where each episode is, and are not used unless they are whole."""

import dataclasses
from collections.abc import Callable
from pathlib import Path

import pytest

from base.errors import ContinuonError, DiskError
from base.store.store import LocalStore
from cloud.dataset import shard_check, shard_offsets
from cloud.errors import DatasetError
from cloud.testing import dataset_version, training_episodes
from rlds.episode import Episode
from rlds.errors import ShardMismatchError
from rlds.manifest import Manifest, Shard

Version = tuple[Path, Manifest, list[Episode]]
"""The folder, its manifest and its episodes."""


class CountingStore(LocalStore):
    """Counts the bytes that are read from a folder."""

    read_bytes = 0

    def get_range(self, path: str, offset: int, size_bytes: int) -> bytes:
        raw = super().get_range(path, offset, size_bytes)
        self.read_bytes += len(raw)
        return raw


@pytest.fixture
def version(tmp_path: Path) -> Version:
    """Nine episodes in two shards: the folder, its manifest, the episodes."""
    made = training_episodes.episodes(9)
    folder = tmp_path / "version"
    manifest = dataset_version.write(folder, {"train": [made[:5], made[5:]]})
    return folder, manifest, made


def load(
    version: Version, work: Path, shard: int = 0
) -> tuple[CountingStore, Shard, tuple[shard_check.Record, ...]]:
    folder, manifest, _ = version
    store = CountingStore(folder)
    named = shard_check.entries_by_digest(manifest, "train")
    one = manifest.splits["train"][shard]
    return store, one, shard_offsets.load_or_make(store, one, named, work)


def test_any_episode_is_read_by_its_offset_alone(
    version: Version, tmp_path: Path
) -> None:
    store, shard, records = load(version, tmp_path / "work")
    store.read_bytes = 0
    for k in (4, 0, 2):
        assert shard_offsets.read_episode(store, shard, records[k]) == version[2][k]
    assert store.read_bytes == sum(records[k].size_bytes for k in (4, 0, 2))
    assert [r.num_steps for r in records] == [e.num_steps for e in version[2][:5]]


def test_a_shard_is_read_once_and_afterwards_only_its_offsets(
    version: Version, tmp_path: Path
) -> None:
    store, shard, made = load(version, tmp_path / "work")
    assert store.read_bytes == shard.size_bytes
    store, _, again = load(version, tmp_path / "work")
    assert store.read_bytes == 0
    assert again == made


@pytest.mark.parametrize(
    "change",
    [
        lambda raw: raw[: len(raw) // 2],
        lambda raw: b"",
        lambda raw: raw[:-3] + b"0" + raw[-2:],
        lambda raw: raw.replace(b'"num_steps":8', b'"num_steps":9', 1),
        lambda raw: b"\xff" + raw[1:],
    ],
    ids=["torn", "empty", "end", "number", "digest"],
)
def test_offsets_that_are_torn_or_changed_are_rewritten(
    version: Version,
    tmp_path: Path,
    change: Callable[[bytes], bytes],
) -> None:
    _, _, made = load(version, tmp_path / "work")
    (path,) = (tmp_path / "work").iterdir()
    good = path.read_bytes()
    assert change(good) != good
    path.write_bytes(change(good))
    store, shard, again = load(version, tmp_path / "work")
    assert store.read_bytes == shard.size_bytes
    assert again == made
    assert path.read_bytes() == good


def test_offsets_of_another_shard_under_this_name_are_rewritten(
    version: Version, tmp_path: Path
) -> None:
    _, one, made = load(version, tmp_path / "work")
    _, other, _ = load(version, tmp_path / "work", shard=1)
    path = tmp_path / "work" / f"{one.sha256}.offsets"
    path.write_bytes((tmp_path / "work" / f"{other.sha256}.offsets").read_bytes())
    assert load(version, tmp_path / "work")[2] == made


def test_offsets_of_fewer_episodes_than_the_manifest_says_are_not_used(
    version: Version, tmp_path: Path
) -> None:
    """Another manifest may claim another number of episodes for the same shard."""
    folder, manifest, _ = version
    load(version, tmp_path / "work")
    shard = dataclasses.replace(manifest.splits["train"][0], num_episodes=6)
    named = shard_check.entries_by_digest(manifest, "train")
    with pytest.raises(DatasetError, match="6 episodes as the manifest says, got 5"):
        shard_offsets.load_or_make(LocalStore(folder), shard, named, tmp_path / "work")


def test_a_shard_that_changed_after_it_was_verified_is_refused(
    version: Version, tmp_path: Path
) -> None:
    store, shard, records = load(version, tmp_path / "work")
    path = version[0] / shard.path
    raw = bytearray(path.read_bytes())
    raw[records[2].offset + 50] ^= 1
    path.write_bytes(raw)
    assert shard_offsets.read_episode(store, shard, records[1]) == version[2][1]
    with pytest.raises(ShardMismatchError, match=f"at byte {records[2].offset}"):
        shard_offsets.read_episode(store, shard, records[2])


def test_a_folder_that_cannot_be_created_is_one_clear_error(
    version: Version, tmp_path: Path
) -> None:
    (tmp_path / "work").write_bytes(b"")
    with pytest.raises(ContinuonError, match="work") as caught:
        load(version, tmp_path / "work" / "offsets")
    assert isinstance(caught.value, DiskError)
