import pickle
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from base.errors import ContinuonError, DiskError, OversizedError
from rlds import example_codec, reader, tfrecord
from rlds.errors import CorruptRecordError, MalformedEpisodeError
from rlds.spec import EpisodeSpec
from rlds.testing import episodes

_BOUNDED = settings(max_examples=200, derandomize=True, deadline=None)
_SMALL = EpisodeSpec(1, 1)


def test_episode_is_read_from_file_and_from_bytes(tmp_path: Path) -> None:
    whole = episodes.episode()
    path = tmp_path / "episode.tfrecord"
    path.write_bytes(episodes.frame_episode(whole))
    assert reader.read_episode(path) == whole
    assert reader.read_episode_bytes(path.read_bytes()) == whole


def test_any_flipped_bit_is_detected() -> None:
    whole = episodes.episode(_SMALL, count=2)
    raw = episodes.frame_episode(whole)
    for position in range(len(raw)):
        for bit in range(8):
            changed = bytearray(raw)
            changed[position] ^= 1 << bit
            try:
                found = reader.read_episode_bytes(bytes(changed))
            except ContinuonError:
                continue
            assert found == whole


def test_truncation_at_any_byte_is_detected(tmp_path: Path) -> None:
    raw = episodes.frame_episode(episodes.episode(_SMALL, count=1))
    for size in range(len(raw)):
        with pytest.raises((CorruptRecordError, MalformedEpisodeError)):
            reader.read_episode_bytes(raw[:size])


def test_oversized_file_is_refused_by_its_size_alone(tmp_path: Path) -> None:
    path = tmp_path / "large.tfrecord"
    with path.open("wb") as stream:
        stream.truncate(1 << 40)
    with pytest.raises(OversizedError, match=r"large\.tfrecord.*at most 1000 bytes"):
        reader.read_episode(path, limit_bytes=1000)


def test_oversized_length_in_a_small_file_is_refused() -> None:
    length = (1 << 60).to_bytes(8, "little")
    with pytest.raises(OversizedError, match="at most"):
        reader.read_episode_bytes(length + tfrecord.checksum(length))


@pytest.mark.parametrize("count", [0, 2])
def test_file_without_exactly_one_record_is_refused(tmp_path: Path, count: int) -> None:
    path = tmp_path / "episode.tfrecord"
    path.write_bytes(episodes.frame_episode(episodes.episode()) * count)
    with pytest.raises(MalformedEpisodeError, match=f"one record, got {count}"):
        reader.read_episode(path)


def test_error_names_the_file_and_survives_pickling(tmp_path: Path) -> None:
    path = tmp_path / "episode.tfrecord"
    path.write_bytes(tfrecord.frame(b"no example"))
    with pytest.raises(MalformedEpisodeError) as caught:
        reader.read_episode(path)
    assert str(caught.value).startswith(str(path))
    assert str(pickle.loads(pickle.dumps(caught.value))) == str(caught.value)
    path.write_bytes(b"cut")
    with pytest.raises(CorruptRecordError) as cut:
        reader.read_episode(path)
    assert str(cut.value).startswith(str(path))
    assert str(pickle.loads(pickle.dumps(cut.value))) == str(cut.value)


def test_missing_file_is_a_disk_error(tmp_path: Path) -> None:
    with pytest.raises(DiskError, match="No such file"):
        reader.read_episode(tmp_path / "none")


def test_record_longer_than_a_varint_of_one_byte_is_read() -> None:
    whole = episodes.episode(_SMALL, count=5000)
    assert example_codec.decode(example_codec.encode(whole)) == whole


def test_frame_matches_the_bytes_that_tensorflow_writes() -> None:
    # What tf.io.TFRecordWriter of TensorFlow 2.21 wrote for this record.
    assert tfrecord.frame(b"abc").hex() == "0300000000000000b099490e6162636e57f121"


@_BOUNDED
@given(st.lists(st.binary(max_size=50), max_size=5))
def test_records_come_back_in_order(records: list[bytes]) -> None:
    raw = b"".join(tfrecord.frame(record) for record in records)
    assert list(tfrecord.read_records(raw, 50)) == records


def test_truncation_at_any_byte_is_an_error_with_file_and_offset(
    tmp_path: Path,
) -> None:
    whole = tfrecord.frame(b"first") + tfrecord.frame(b"second")
    start = len(tfrecord.frame(b"first"))
    path = tmp_path / "cut"
    for size in range(start + 1, len(whole)):
        path.write_bytes(whole[:size])
        records = tfrecord.read_records(path, 100)
        assert next(records) == b"first"
        with pytest.raises(CorruptRecordError) as caught:
            next(records)
        assert caught.value.offset == start
        assert str(path) in str(caught.value)


def test_length_over_the_limit_is_refused_before_it_is_read() -> None:
    with pytest.raises(OversizedError, match="at most 4 bytes, got 5"):
        list(tfrecord.read_records(tfrecord.frame(b"12345"), 4))


def test_missing_file_of_records_is_a_disk_error(tmp_path: Path) -> None:
    with pytest.raises(DiskError, match="No such file"):
        list(tfrecord.read_records(tmp_path / "none", 10))


@_BOUNDED
@given(st.binary(max_size=100))
def test_random_bytes_are_records_or_refused(raw: bytes) -> None:
    try:
        records = list(tfrecord.read_records(raw, 100))
    except ContinuonError:
        return
    assert b"".join(map(tfrecord.frame, records)) == raw
