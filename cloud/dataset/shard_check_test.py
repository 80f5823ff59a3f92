"""A bad shard is refused by the check itself and when training opens a split."""

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from base.store.store import LocalStore
from cloud.dataset import shard_check, split
from cloud.errors import DatasetError
from cloud.testing import dataset_version, training_episodes
from rlds import example_codec, tfrecord
from rlds import manifest as manifest_format
from rlds.episode import Episode
from rlds.errors import MalformedEpisodeError, ShardMismatchError

EPISODES = training_episodes.episodes(9)
FIRST = "train/shard-00000.tfrecord"

Check = Callable[[Path], object]


def verify(folder: Path, work: Path) -> None:
    """Checks every shard, as curation does, and stores nothing."""
    shard_check.verify_shards(LocalStore(folder), read_manifest(folder))


def read_manifest(folder: Path) -> manifest_format.Manifest:
    return manifest_format.parse((folder / "manifest.json").read_bytes())


def records_of(folder: Path) -> list[tuple[shard_check.Record, ...]]:
    """The records of each shard of the training split."""
    manifest = read_manifest(folder)
    entries = shard_check.entries_by_digest(manifest, "train")
    store = LocalStore(folder)
    return [
        shard_check.verify_shard(store, shard, entries)
        for shard in manifest.splits["train"]
    ]


def open_for_training(folder: Path, work: Path) -> split.DatasetSplit:
    """Opens the split as the main job does."""
    return split.open_split(folder, "train", work)


@pytest.fixture(params=[verify, open_for_training])
def check(request: pytest.FixtureRequest, tmp_path: Path) -> Check:
    """Checks a version in one of the two ways; a refused one leaves no offsets."""

    def run(folder: Path) -> object:
        return request.param(folder, tmp_path / "work")

    return run


@pytest.fixture
def version(tmp_path: Path) -> Path:
    """The folder of nine episodes in two shards."""
    dataset_version.write(tmp_path / "version", {"train": [EPISODES[:5], EPISODES[5:]]})
    return tmp_path / "version"


def change_manifest(folder: Path, **changes: Any) -> None:
    """Writes other values to the manifest, which stays consistent."""
    changed = dataclasses.replace(read_manifest(folder), **changes)
    (folder / "manifest.json").write_bytes(manifest_format.encode(changed))


def test_records_of_a_good_shard_are_returned_in_order(version: Path) -> None:
    one, other = records_of(version)
    for records, episodes in ((one, EPISODES[:5]), (other, EPISODES[5:])):
        raw = [tfrecord.frame(example_codec.encode(e)) for e in episodes]
        assert [r.size_bytes for r in records] == [len(x) for x in raw]
        assert [r.num_steps for r in records] == [e.num_steps for e in episodes]
        assert [r.task for r in records] == [e.metadata.task for e in episodes]
        ends = [r.offset + r.size_bytes for r in records]
        assert [r.offset for r in records] == [0, *ends[:-1]]


def test_a_shard_longer_than_a_block_is_read_whole(
    version: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = records_of(version)
    monkeypatch.setattr(shard_check, "_BLOCK_BYTES", 100)
    assert records_of(version) == whole


@pytest.mark.parametrize("position", [3, 60, 400, -1])
def test_a_changed_shard_is_refused_and_named(
    version: Path, check: Check, tmp_path: Path, position: int
) -> None:
    raw = bytearray((version / FIRST).read_bytes())
    raw[position] ^= 1
    (version / FIRST).write_bytes(raw)
    with pytest.raises(ShardMismatchError, match="train/shard-00000") as caught:
        check(version)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "work").exists()


@pytest.mark.parametrize(
    "change",
    [
        lambda raw: raw[:-700],
        lambda raw: raw + raw,
        lambda raw: raw + b"\0",
        lambda raw: b"",
    ],
    ids=["shorter", "twice", "longer", "empty"],
)
def test_a_shard_of_another_length_is_refused(
    version: Path, check: Check, tmp_path: Path, change: Callable[[bytes], bytes]
) -> None:
    (version / FIRST).write_bytes(change((version / FIRST).read_bytes()))
    with pytest.raises(ShardMismatchError, match="train/shard-00000"):
        check(version)
    assert not (tmp_path / "work").exists()


def test_a_missing_shard_is_refused(
    version: Path, check: Check, tmp_path: Path
) -> None:
    (version / FIRST).unlink()
    with pytest.raises(ShardMismatchError, match=r"train/shard-00000.*got no file"):
        check(version)
    assert not (tmp_path / "work").exists()


def test_whole_records_in_another_order_are_refused(
    version: Path, check: Check
) -> None:
    records = list(tfrecord.read_records(version / FIRST, 1 << 20))
    (version / FIRST).write_bytes(b"".join(map(tfrecord.frame, reversed(records))))
    with pytest.raises(ShardMismatchError, match="with SHA-256"):
        check(version)


def test_an_episode_that_the_manifest_does_not_name_is_refused(
    version: Path, check: Check
) -> None:
    stranger = training_episodes.episode(50)
    raw = tfrecord.frame(example_codec.encode(stranger))
    (version / FIRST).write_bytes(raw + (version / FIRST).read_bytes())
    with pytest.raises(ShardMismatchError, match="at byte 0: expected an episode that"):
        check(version)


def test_a_shard_of_another_number_of_episodes_is_refused(
    version: Path, check: Check, tmp_path: Path
) -> None:
    manifest = read_manifest(version)
    one, other = manifest.splits["train"]
    changed = (
        dataclasses.replace(one, num_episodes=4),
        dataclasses.replace(other, num_episodes=5),
    )
    change_manifest(version, splits={"train": changed})
    with pytest.raises(DatasetError, match="4 episodes as the manifest says, got 5"):
        check(version)
    assert not (tmp_path / "work").exists()


def test_episode_with_wrong_step_count_is_refused(
    version: Path, check: Check, tmp_path: Path
) -> None:
    manifest = read_manifest(version)
    one, other, *rest = manifest.episodes
    assert one.num_steps != other.num_steps
    swapped = (
        dataclasses.replace(one, num_steps=other.num_steps),
        dataclasses.replace(other, num_steps=one.num_steps),
    )
    change_manifest(version, episodes=(*swapped, *rest))
    with pytest.raises(DatasetError, match="steps as the manifest says"):
        check(version)
    assert not (tmp_path / "work").exists()


def write_beside(folder: Path, episode: Episode, encoded: bytes) -> int:
    """Writes a good episode and these bytes to one shard with matching digests."""
    framed = [
        (EPISODES[0], tfrecord.frame(example_codec.encode(EPISODES[0]))),
        (episode, tfrecord.frame(encoded)),
    ]
    dataset_version.write_framed(folder, {"train": [framed]})
    return len(framed[0][1])


def test_nan_is_one_line_that_names_shard_offset_and_field(
    tmp_path: Path, check: Check
) -> None:
    """The digests match: other software curated the dataset."""
    encoded = example_codec.encode(EPISODES[1])
    clean = EPISODES[1].steps["observation/state"].astype("<f4").tobytes()
    assert encoded.count(clean) == 1
    nan = encoded.replace(clean, b"\x00\x00\xc0\x7f" + clean[4:])
    offset = write_beside(tmp_path / "version", EPISODES[1], nan)
    with pytest.raises(MalformedEpisodeError) as caught:
        check(tmp_path / "version")
    message = str(caught.value)
    assert "train/shard-00000.tfrecord" in message and f"at byte {offset}" in message
    assert "observation/state: expected finite numbers, got NaN or infinit" in message
    assert "\n" not in message
    assert not (tmp_path / "work").exists()


@pytest.mark.parametrize("name", ["proposed_action", "reward", "t_monotonic_ns"])
def test_another_shape_is_one_line_that_names_shard_offset_and_field(
    tmp_path: Path, check: Check, name: str
) -> None:
    """A field has twice as many numbers as the episode has steps."""
    one = EPISODES[1]
    steps = dict(one.steps) | {name: one.steps[name].repeat(2, axis=0)}
    encoded = example_codec.encode_parts(one.spec, one.metadata, steps)
    offset = write_beside(tmp_path / "version", one, encoded)
    with pytest.raises(MalformedEpisodeError) as caught:
        check(tmp_path / "version")
    message = str(caught.value)
    assert "train/shard-00000.tfrecord" in message and f"at byte {offset}" in message
    assert name in message
    assert "\n" not in message
    assert not (tmp_path / "work").exists()
