import pytest

from rlds import uuid7

# The example of RFC 9562, appendix A.6.
_UNIX_MS = 0x017F22E279B0
_RFC_EXAMPLE = "017f22e2-79b0-7cc3-98c4-dc0c0c07398f"
_RANDOM = (0xCC3 << 68 | 0x18C4DC0C0C07398F).to_bytes(10)


def test_id_matches_the_example_of_the_specification() -> None:
    assert uuid7.uuid7(_UNIX_MS, _RANDOM) == _RFC_EXAMPLE
    assert uuid7.unix_ms(_RFC_EXAMPLE) == _UNIX_MS


def test_ids_sort_by_time() -> None:
    ids = [uuid7.uuid7(time, b"\xff" * 10) for time in (0, 1, 1 << 40)]
    assert ids == sorted(ids)


@pytest.mark.parametrize(
    ("time", "chance"), [(-1, bytes(10)), (1 << 48, bytes(10)), (0, bytes(9))]
)
def test_arguments_out_of_range_are_refused(time: int, chance: bytes) -> None:
    with pytest.raises(ValueError, match="expected"):
        uuid7.uuid7(time, chance)


@pytest.mark.parametrize(
    "text", ["", _RFC_EXAMPLE.upper(), "00000000-0000-4000-8000-000000000000"]
)
def test_text_that_is_not_a_uuid7_has_no_time(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        uuid7.unix_ms(text)
