import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rlds import protobuf
from rlds.errors import MalformedEpisodeError

_BOUNDED = settings(max_examples=200, derandomize=True, deadline=None)
_INT64 = st.integers(-(2**63), 2**63 - 1) | st.sampled_from(
    [0, 1, 127, 128, 2**63 - 1, -1, -(2**63)]
)


@_BOUNDED
@given(st.lists(_INT64, max_size=20))
def test_integers_survive_a_round_trip_and_match_the_specification(
    values: list[int],
) -> None:
    encoded = protobuf.encode_int64s(np.array(values, np.int64))
    assert encoded == b"".join(
        protobuf.encode_varint(value % 2**64) for value in values
    )
    assert protobuf.decode_int64s(memoryview(encoded)).tolist() == values


@pytest.mark.parametrize(
    "raw", [b"\x80", b"\x01\xff", b"\xff" * 9 + b"\x02", b"\xff" * 10 + b"\x01"]
)
def test_varints_cut_short_or_too_long_are_refused(raw: bytes) -> None:
    with pytest.raises(MalformedEpisodeError):
        protobuf.decode_int64s(memoryview(raw))


@pytest.mark.parametrize(
    "raw",
    [b"\x0a", b"\x0a\x05abc", b"\x0b", b"\x02\x00", b"\x0d\x00", b"\x80" * 11, b"\x08"],
)
def test_fields_cut_short_or_unknown_are_refused(raw: bytes) -> None:
    with pytest.raises(MalformedEpisodeError):
        list(protobuf.read_fields(memoryview(raw)))


def test_fields_are_read_with_number_wire_type_and_payload() -> None:
    raw = b"\x0a\x02ab" + b"\x10\x96\x01" + b"\x1d\x00\x00\x80\x3f"
    found = [
        (number, wire, bytes(payload))
        for number, wire, payload in protobuf.read_fields(memoryview(raw))
    ]
    assert found == [
        (1, protobuf.WIRE_BYTES, b"ab"),
        (2, protobuf.WIRE_VARINT, b"\x96\x01"),
        (3, protobuf.WIRE_FIXED32, b"\x00\x00\x80\x3f"),
    ]
