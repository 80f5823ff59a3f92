from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from base.errors import ContinuonError, DiskError, OversizedError
from rlds import tfrecord
from rlds.errors import CorruptRecordError

_BOUNDED = settings(max_examples=200, derandomize=True, deadline=None)


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


def test_missing_file_is_a_disk_error(tmp_path: Path) -> None:
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
