import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from base.errors import ContinuonError, OversizedError
from rlds import example_codec, protobuf
from rlds.errors import MalformedEpisodeError
from rlds.spec import EpisodeSpec
from rlds.testing import episodes

_BOUNDED = settings(max_examples=300, derandomize=True, deadline=None)
_SPECS = [
    EpisodeSpec(3, 2),
    EpisodeSpec(1, 1),
    EpisodeSpec(39, 4, image=True, audio_size=5),
    EpisodeSpec(3, 2, image=True, cameras=("front", "wrist")),
]


@pytest.mark.parametrize("spec", _SPECS)
@pytest.mark.parametrize("count", [1, 2, 300])
def test_episode_survives_a_round_trip_and_its_spec_is_inferred(
    spec: EpisodeSpec, count: int
) -> None:
    whole = episodes.episode(spec, count)
    raw = example_codec.encode(whole)
    assert example_codec.decode(raw) == whole
    assert example_codec.decode(raw, spec) == whole
    assert example_codec.encode(example_codec.decode(raw)) == raw


@pytest.mark.parametrize("success", [True, False, None])
@pytest.mark.parametrize("tags", [(), ("one",), ("", "ü", "three")])
def test_success_and_tags_survive_a_round_trip(
    success: bool | None, tags: tuple[str, ...]
) -> None:
    whole = episodes.episode(success=success, tags=tags)
    found = example_codec.decode(example_codec.encode(whole)).metadata
    assert (found.success, found.tags) == (success, tags)


def test_episode_of_another_spec_is_refused() -> None:
    raw = example_codec.encode(episodes.episode(EpisodeSpec(3, 2)))
    with pytest.raises(MalformedEpisodeError, match="state_size=4"):
        example_codec.decode(raw, EpisodeSpec(4, 2))


def test_camera_whose_name_is_not_of_the_closed_list_is_refused() -> None:
    raw = example_codec.encode(episodes.episode(EpisodeSpec(3, 2, cameras=("front",))))
    other = raw.replace(b"image_front", b"image_adaxx").replace(b"_front", b"_adaxx")
    with pytest.raises(MalformedEpisodeError, match="sizes within the limits"):
        example_codec.decode(other)


def test_more_bytes_than_the_limit_are_refused() -> None:
    raw = example_codec.encode(episodes.episode())
    with pytest.raises(OversizedError, match=f"at most {len(raw) - 1} bytes"):
        example_codec.decode(raw, limit_bytes=len(raw) - 1)


@pytest.mark.parametrize("extra", ["surprise", "steps/surprise", "task"])
def test_unknown_and_repeated_features_are_refused(extra: str) -> None:
    raw = example_codec.encode(episodes.episode())
    value = protobuf.encode_bytes_field(1, protobuf.encode_bytes_field(1, b"x"))
    entry = protobuf.encode_bytes_field(
        1, extra.encode()
    ) + protobuf.encode_bytes_field(2, value)
    more = protobuf.encode_bytes_field(1, protobuf.encode_bytes_field(1, entry))
    with pytest.raises(MalformedEpisodeError, match=extra):
        example_codec.decode(raw + more)


def test_numbers_that_are_not_packed_can_be_read() -> None:
    whole = episodes.episode(EpisodeSpec(1, 1), count=2, success=False)
    packed = protobuf.encode_bytes_field(3, protobuf.encode_bytes_field(1, b"\x00\x01"))
    single = protobuf.encode_bytes_field(3, b"\x08\x00\x08\x01")
    raw = example_codec.encode(whole)
    name = b"steps/is_last"
    before = _entry(name, packed)
    assert before in raw
    features = raw[raw.index(b"\x0a", 1) :]
    changed = features.replace(before, _entry(name, single))
    assert example_codec.decode(protobuf.encode_bytes_field(1, changed)) == whole


def test_every_truncation_is_refused() -> None:
    raw = example_codec.encode(episodes.episode(EpisodeSpec(1, 1), count=2))
    for size in range(len(raw)):
        with pytest.raises(MalformedEpisodeError):
            example_codec.decode(raw[:size])


def test_every_changed_byte_gives_an_episode_or_a_typed_error() -> None:
    raw = example_codec.encode(episodes.episode(EpisodeSpec(1, 1), count=2))
    for position in range(len(raw)):
        for flip in (0x01, 0x80, 0xFF):
            changed = bytearray(raw)
            changed[position] ^= flip
            try:
                example_codec.decode(bytes(changed))
            except ContinuonError:
                continue


@_BOUNDED
@given(st.binary(max_size=200))
def test_random_bytes_are_refused(raw: bytes) -> None:
    with pytest.raises(ContinuonError):
        example_codec.decode(raw)


@_BOUNDED
@given(
    st.lists(
        st.tuples(st.integers(0, 2**20), st.binary(min_size=1, max_size=9)),
        min_size=1,
        max_size=4,
    )
)
def test_overwritten_bytes_give_an_episode_or_a_typed_error(
    writes: list[tuple[int, bytes]],
) -> None:
    raw = bytearray(example_codec.encode(episodes.episode(_SPECS[2], count=2)))
    for position, piece in writes:
        start = position % len(raw)
        raw[start : start + len(piece)] = piece
    try:
        example_codec.decode(bytes(raw))
    except ContinuonError:
        return


def _entry(name: bytes, value: bytes) -> bytes:
    pair = protobuf.encode_bytes_field(1, name) + protobuf.encode_bytes_field(2, value)
    return protobuf.encode_bytes_field(1, pair)


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
    assert protobuf.decode_int64s(memoryview(encoded), len(values)).tolist() == values


@pytest.mark.parametrize("shift", range(10))
def test_integers_of_many_chunks_are_decoded_wherever_a_chunk_ends(shift: int) -> None:
    values = [1] * shift + [300, -1] * 20_000
    encoded = protobuf.encode_int64s(np.array(values, np.int64))
    assert protobuf.decode_int64s(memoryview(encoded), 50_000).tolist() == values


def test_more_integers_or_fields_than_the_limit_are_refused() -> None:
    with pytest.raises(MalformedEpisodeError, match="at most 3 integers"):
        protobuf.decode_int64s(memoryview(b"\x01\x81\x01\x01\x01"), 3)
    with pytest.raises(MalformedEpisodeError, match="at most 3 integers"):
        protobuf.decode_int64s(memoryview(b"\xff" * 31), 3)
    with pytest.raises(MalformedEpisodeError, match="at most 2 fields"):
        list(protobuf.read_fields(memoryview(b"\x0a\x00" * 3), 2))


@pytest.mark.parametrize(
    "raw",
    [
        b"\x80",
        b"\x01\xff",
        b"\xff" * 9 + b"\x02",
        b"\xff" * 10 + b"\x01",
        b"\xff" * 100_000 + b"\x01",
    ],
)
def test_varints_cut_short_or_too_long_are_refused(raw: bytes) -> None:
    with pytest.raises(MalformedEpisodeError):
        protobuf.decode_int64s(memoryview(raw), 10**6)


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
