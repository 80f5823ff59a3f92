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
