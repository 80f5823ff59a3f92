"""Tests of the texts that have one form in every record."""

from datetime import UTC, datetime, timedelta, timezone

import pytest

from base import text_forms
from base.errors import MalformedError, UnsafePathError

# The example of RFC 9562, appendix A.6.
_UNIX_MS = 0x017F22E279B0
_RFC_EXAMPLE = "017f22e2-79b0-7cc3-98c4-dc0c0c07398f"
_RANDOM = (0xCC3 << 68 | 0x18C4DC0C0C07398F).to_bytes(10)


def test_parse_reads_the_second_that_format_wrote() -> None:
    now = datetime(2026, 1, 31, 8, 0, 1, tzinfo=UTC)
    assert text_forms.parse_time(text_forms.format_time(now), "test") == now


def test_one_thing_is_not_told_as_several() -> None:
    assert text_forms.count(1, "episode") == "1 episode"
    assert text_forms.count(0, "episode") == "0 episodes"
    assert text_forms.count(1204, "memory", "memories") == "1,204 memories"


@pytest.mark.parametrize(
    ("time_s", "text"),
    [
        (-1, "now"),
        (0.04, "now"),
        (0.5, "in 0.5 s"),
        (0.98, "in 1 s"),
        (276, "in 276 s"),
    ],
)
def test_what_comes_soon_is_never_due_in_0_s(time_s: float, text: str) -> None:
    assert text_forms.after(time_s) == text


def test_early_year_is_written_with_four_digits() -> None:
    assert text_forms.parse_time("0026-03-02T08:00:00Z", "test").year == 26
    time = datetime(26, 3, 2, 8, tzinfo=UTC)
    assert text_forms.format_time(time) == "0026-03-02T08:00:00Z"


def test_time_in_another_zone_is_written_in_utc() -> None:
    zone = timezone(timedelta(hours=2))
    time = datetime(2026, 1, 31, 1, 0, 0, tzinfo=zone)
    assert text_forms.format_time(time) == "2026-01-30T23:00:00Z"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "2026-01-31",
        "2026-01-31T08:00:00",
        "2026-01-31T08:00:00+00:00",
        "2026-01-31 08:00:00Z",
        "2026-02-30T08:00:00Z",
        "2026-01-31T25:00:00Z",
        "2026-01-31T08:00:00Z\n",
    ],
)
def test_text_of_another_form_or_impossible_time_is_malformed(text: str) -> None:
    with pytest.raises(MalformedError, match="a UTC time such as"):
        text_forms.parse_time(text, "test")


def test_a_time_without_a_zone_raises_value_error() -> None:
    with pytest.raises(ValueError, match="time zone"):
        text_forms.format_time(datetime(2026, 1, 31))


@pytest.mark.parametrize(
    "path",
    ["a", "functions/step.tflite", "robot_hash=0f/date=2026-01-31/x", "a..b/c-1.json"],
)
def test_plain_relative_path_is_returned(path: str) -> None:
    assert text_forms.check_relative_path(path, "test") == path


@pytest.mark.parametrize(
    "path",
    [
        "",
        "/etc/passwd",
        "../up",
        "a/../b",
        "a/..",
        "./a",
        "a//b",
        "a/",
        ".hidden",
        "a/.tmp-x",
        "a\\b",
        "C:\\x",
        "a\0b",
        "a\nb",
        "a b",
        "\u00fc",
    ],
)
def test_any_other_path_is_refused(path: str) -> None:
    with pytest.raises(UnsafePathError, match="plain segments"):
        text_forms.check_relative_path(path, "test")


def test_id_matches_the_example_of_the_specification() -> None:
    assert text_forms.format_uuid7(_UNIX_MS, _RANDOM) == _RFC_EXAMPLE
    assert text_forms.parse_uuid7_ms(_RFC_EXAMPLE) == _UNIX_MS


def test_ids_sort_by_time() -> None:
    ids = [text_forms.format_uuid7(time, b"\xff" * 10) for time in (0, 1, 1 << 40)]
    assert ids == sorted(ids)


@pytest.mark.parametrize(
    ("time", "chance"), [(-1, bytes(10)), (1 << 48, bytes(10)), (0, bytes(9))]
)
def test_arguments_out_of_range_are_refused(time: int, chance: bytes) -> None:
    with pytest.raises(ValueError, match="expected"):
        text_forms.format_uuid7(time, chance)


@pytest.mark.parametrize(
    "text", ["", _RFC_EXAMPLE.upper(), "00000000-0000-4000-8000-000000000000"]
)
def test_text_that_is_not_a_uuid7_has_no_time(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        text_forms.parse_uuid7_ms(text)
