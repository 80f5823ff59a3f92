from datetime import UTC, datetime, timedelta, timezone

import pytest

from base import times
from base.errors import MalformedError


def test_parse_reads_the_second_that_format_wrote() -> None:
    now = datetime(2026, 1, 31, 8, 0, 1, tzinfo=UTC)
    assert times.parse(times.format_utc(now), "test") == now


def test_time_in_another_zone_is_written_in_utc() -> None:
    zone = timezone(timedelta(hours=2))
    time = datetime(2026, 1, 31, 1, 0, 0, tzinfo=zone)
    assert times.format_utc(time) == "2026-01-30T23:00:00Z"


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
        times.parse(text, "test")


def test_a_time_without_a_zone_raises_value_error() -> None:
    with pytest.raises(ValueError, match="time zone"):
        times.format_utc(datetime(2026, 1, 31))
