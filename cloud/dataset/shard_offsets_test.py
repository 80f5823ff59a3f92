"""An index says where each episode is, and is never believed when it is not whole."""

import dataclasses

import pytest

from base.errors import ContinuonError, DiskError
from base.store.store import LocalStore
from cloud.dataset import shard_check, shard_offsets
from cloud.errors import DatasetError
from cloud.testing import dataset_version, training_episodes
from rlds.errors import ShardMismatchError


class CountingStore(LocalStore):
    """Counts what is read of a folder."""

    read_bytes = 0

    def get_range(self, path, offset, size_bytes):
        raw = super().get_range(path, offset, size_bytes)
        self.read_bytes += len(raw)
        return raw


@pytest.fixture
def version(tmp_path):
    """Nine episodes in two shards: the folder, its manifest, the episodes."""
    made = training_episodes.episodes(9)
    folder = tmp_path / "version"
    manifest = dataset_version.write(folder, {"train": [made[:5], made[5:]]})
    return folder, manifest, made


def index(version, work, shard=0):
    folder, manifest, _ = version
    store = CountingStore(folder)
    named = shard_check.entries_by_digest(manifest, "train")
    told = manifest.splits["train"][shard]
    return store, told, shard_offsets.load_or_make(store, told, named, work)


def test_any_episode_is_read_by_its_offset_alone(version, tmp_path):
    store, shard, records = index(version, tmp_path / "work")
    store.read_bytes = 0
    for place in (4, 0, 2):
        assert (
            shard_offsets.read_episode(store, shard, records[place])
            == version[2][place]
        )
    assert store.read_bytes == sum(records[k].size_bytes for k in (4, 0, 2))
    assert [r.num_steps for r in records] == [e.num_steps for e in version[2][:5]]


def test_a_shard_is_read_once_and_afterwards_only_its_index(version, tmp_path):
    store, shard, made = index(version, tmp_path / "work")
    assert store.read_bytes == shard.size_bytes
    store, _, again = index(version, tmp_path / "work")
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
def test_an_index_that_is_torn_or_changed_is_made_anew(version, tmp_path, change):
    _, _, made = index(version, tmp_path / "work")
    (path,) = (tmp_path / "work").iterdir()
    good = path.read_bytes()
    assert change(good) != good
    path.write_bytes(change(good))
    store, shard, again = index(version, tmp_path / "work")
    assert store.read_bytes == shard.size_bytes
    assert again == made
    assert path.read_bytes() == good


def test_the_index_of_another_shard_under_this_name_is_made_anew(version, tmp_path):
    _, one, made = index(version, tmp_path / "work")
    _, other, _ = index(version, tmp_path / "work", shard=1)
    path = tmp_path / "work" / f"{one.sha256}.index"
    path.write_bytes((tmp_path / "work" / f"{other.sha256}.index").read_bytes())
    assert index(version, tmp_path / "work")[2] == made


def test_an_index_of_fewer_episodes_than_the_manifest_says_is_not_believed(
    version, tmp_path
):
    """Another manifest may tell the same shard to be of other episodes."""
    folder, manifest, _ = version
    index(version, tmp_path / "work")
    shard = dataclasses.replace(manifest.splits["train"][0], num_episodes=6)
    named = shard_check.entries_by_digest(manifest, "train")
    with pytest.raises(DatasetError, match="6 episodes as the manifest says, got 5"):
        shard_offsets.load_or_make(LocalStore(folder), shard, named, tmp_path / "work")


def test_a_shard_that_changed_after_it_was_indexed_is_refused(version, tmp_path):
    store, shard, records = index(version, tmp_path / "work")
    path = version[0] / shard.path
    raw = bytearray(path.read_bytes())
    raw[records[2].offset + 50] ^= 1
    path.write_bytes(raw)
    assert shard_offsets.read_episode(store, shard, records[1]) == version[2][1]
    with pytest.raises(ShardMismatchError, match=f"at byte {records[2].offset}"):
        shard_offsets.read_episode(store, shard, records[2])


def test_a_folder_that_cannot_be_made_is_one_clear_error(version, tmp_path):
    (tmp_path / "work").write_bytes(b"")
    with pytest.raises(ContinuonError, match="work") as caught:
        index(version, tmp_path / "work" / "indexes")
    assert isinstance(caught.value, DiskError)
