"""Times in signed records: UTC to the second, written `2026-01-31T08:00:00Z`."""

import re
from datetime import UTC, datetime
from pathlib import Path

from base.errors import MalformedError

_FORM = re.compile(r"\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}Z", re.ASCII)


def parse(text: str, source: str | Path) -> datetime:
    """Returns the time written in `text`.

    Raises:
        MalformedError: `text` has another form, or that day or hour does not exist.
    """
    try:
        if _FORM.fullmatch(text) is None:
            raise ValueError(text)
        return datetime.strptime(text, "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC)
    except ValueError as e:
        raise MalformedError(
            source,
            "a UTC time such as 2026-01-31T08:00:00Z",
            repr(text),
            "write the time in this form",
        ) from e


def format_utc(time: datetime) -> str:
    """Returns `time` in the form used in records, without fractions of a second.

    Raises:
        ValueError: `time` has no time zone.
    """
    return require_aware(time).astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def require_aware(time: datetime) -> datetime:
    """Returns `time`.

    Raises:
        ValueError: `time` has no time zone, so comparing it would mean guessing one.
    """
    if time.tzinfo is None:
        raise ValueError(f"expected a time with a time zone, got {time!r}")
    return time
