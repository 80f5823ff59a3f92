"""An index says where each episode is, and is never believed when it is not whole."""

import pytest

from base.errors import ContinuonError, DiskError
from base.store.store import LocalStore
from cloud.dataset import shard_offsets, stored_episodes
from cloud.dataset import version as dataset
from cloud.testing import dataset_version, training_episodes
from rlds import example_codec, tfrecord
from rlds.errors import MalformedEpisodeError, ShardMismatchError


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
    named = {entry.sha256: entry for entry in manifest.episodes}
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


def test_a_shard_longer_than_a_block_is_read_whole(version, tmp_path, monkeypatch):
    _, _, whole = index(version, tmp_path / "one")
    monkeypatch.setattr(shard_offsets, "_BLOCK_BYTES", 100)
    assert index(version, tmp_path / "other")[2] == whole


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


@pytest.mark.parametrize("place", [3, 60, 400, -1])
def test_a_changed_shard_is_refused_and_leaves_no_index(version, tmp_path, place):
    path = version[0] / "train/shard-00000.tfrecord"
    raw = bytearray(path.read_bytes())
    raw[place] ^= 1
    path.write_bytes(raw)
    with pytest.raises(ShardMismatchError, match="train/shard-00000") as caught:
        index(version, tmp_path / "work")
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "work").exists()


@pytest.mark.parametrize("change", [lambda raw: raw[:-700], lambda raw: raw + raw])
def test_a_shard_of_other_length_is_refused(version, tmp_path, change):
    path = version[0] / "train/shard-00000.tfrecord"
    path.write_bytes(change(path.read_bytes()))
    with pytest.raises(ShardMismatchError):
        index(version, tmp_path / "work")


def test_whole_records_in_another_order_are_not_the_shard(version, tmp_path):
    path = version[0] / "train/shard-00000.tfrecord"
    records = list(tfrecord.read_records(path, 1 << 20))
    path.write_bytes(b"".join(map(tfrecord.frame, reversed(records))))
    with pytest.raises(ShardMismatchError, match="with SHA-256"):
        index(version, tmp_path / "work")


def test_a_shard_that_changed_after_it_was_indexed_is_refused(version, tmp_path):
    store, shard, records = index(version, tmp_path / "work")
    path = version[0] / shard.path
    raw = bytearray(path.read_bytes())
    raw[records[2].offset + 50] ^= 1
    path.write_bytes(raw)
    assert shard_offsets.read_episode(store, shard, records[1]) == version[2][1]
    with pytest.raises(ShardMismatchError, match=f"at byte {records[2].offset}"):
        shard_offsets.read_episode(store, shard, records[2])


def test_nan_in_a_dataset_is_one_line_that_names_shard_place_and_field(tmp_path):
    """The digests agree: the dataset was curated of it by other means."""
    made = training_episodes.episodes(2)
    encoded = example_codec.encode(made[1])
    clean = made[1].steps["observation/state"].astype("<f4").tobytes()
    assert encoded.count(clean) == 1
    nan = encoded.replace(clean, b"\x00\x00\xc0\x7f" + clean[4:])
    framed = [
        (made[0], tfrecord.frame(example_codec.encode(made[0]))),
        (made[1], tfrecord.frame(nan)),
    ]
    folder = tmp_path / "version"
    manifest = dataset_version.write_framed(folder, {"train": [framed]})
    for open_ in (
        lambda: dataset.load(folder, "train"),
        lambda: stored_episodes.open_episodes(
            folder.as_uri(), manifest, "train", tmp_path / "work"
        ),
    ):
        with pytest.raises(MalformedEpisodeError) as caught:
            open_()
        told = str(caught.value)
        assert "train/shard-00000.tfrecord" in told
        assert "observation/state: expected finite numbers, got NaN or infinit" in told
        assert "\n" not in told
    assert f"at byte {len(framed[0][1])}" in told
    assert not (tmp_path / "work").exists()


def test_a_folder_that_cannot_be_made_is_one_clear_error(version, tmp_path):
    (tmp_path / "work").write_bytes(b"")
    with pytest.raises(ContinuonError, match="work") as caught:
        index(version, tmp_path / "work" / "indexes")
    assert isinstance(caught.value, DiskError)
