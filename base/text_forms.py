"""Texts that have one form in every record: times, paths, base64, ids in order of time.

The ids are UUIDs of version 7 (RFC 9562), made of a time and random bytes.
"""

import base64
import re
import uuid
from datetime import UTC, datetime
from pathlib import Path

from base.errors import MalformedError, UnsafePathError

_TIME = re.compile(r"\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}Z", re.ASCII)


def parse_time(text: str, source: str | Path) -> datetime:
    """Returns the time written in `text`.

    Raises:
        MalformedError: `text` has another form, or that day or hour does not exist.
    """
    try:
        if _TIME.fullmatch(text) is None:
            raise ValueError(text)
        return datetime.strptime(text, "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC)
    except ValueError as e:
        raise MalformedError(
            source,
            "a UTC time such as 2026-01-31T08:00:00Z",
            repr(text),
            "write the time in this form",
        ) from e


def format_time(time: datetime) -> str:
    """Returns `time` in the form used in records, without fractions of a second.

    Raises:
        ValueError: `time` has no time zone.
    """
    in_utc = require_aware(time).astimezone(UTC).replace(tzinfo=None)
    # strftime writes the year 26 as 26 on Linux, which is no time of records.
    return in_utc.isoformat(timespec="seconds") + "Z"


def require_aware(time: datetime) -> datetime:
    """Returns `time`.

    Raises:
        ValueError: `time` has no time zone, so comparing it would mean guessing one.
    """
    if time.tzinfo is None:
        raise ValueError(f"expected a time with a time zone, got {time!r}")
    return time


def count(number: int, one: str, many: str | None = None) -> str:
    """Returns "1 episode" or "1,204 episodes".

    Args:
        number: how many there are.
        one: the word for one of them.
        many: the word for several; None for `one` with an s.
    """
    return f"{number:,} {one if number == 1 else many or one + 's'}"


def after(time_s: float) -> str:
    """Says when something comes that is due in `time_s`, such as "in 4 s" or "now"."""
    if time_s < 0.05:
        return "now"
    return f"in {time_s:.1f} s" if time_s < 0.95 else f"in {time_s:.0f} s"


# Longer names exist in no file system (PATH_MAX of Linux) and in no bucket.
LONGEST_PATH = 4096
_SEGMENT = re.compile(r"[A-Za-z0-9_=+@,~-][A-Za-z0-9._=+@,~-]*", re.ASCII)


def check_relative_path(path: str, source: str | Path) -> str:
    """Returns `path` if it is a plain path relative to a folder.

    Segments are separated by one `/`, use letters, digits and `._=+@,~-`, and do not
    begin with a dot, which rules out `..`, hidden files and absolute paths. A path has
    at most 4096 characters.

    Raises:
        UnsafePathError: any other path.
    """
    if len(path) > LONGEST_PATH:
        raise UnsafePathError(
            source, f"a path of at most {LONGEST_PATH} characters", len(path)
        )
    for segment in path.split("/"):
        if _SEGMENT.fullmatch(segment) is None:
            raise UnsafePathError(
                source,
                "a relative path of plain segments (letters, digits, ._=+@,~-)",
                repr(path),
            )
    return path


def parse_base64(text: object, source: str | Path, what: str) -> bytes:
    """Returns the bytes that a value from outside holds in base64.

    Args:
        text: a decoded JSON value, which need not be a text.
        source: where it came from, for errors.
        what: what it is, for errors; the value itself may be a secret and is not shown.

    Raises:
        MalformedError: it is no text, has other characters than those of base64, or
            is cut short.
    """
    try:
        if not isinstance(text, str):
            raise ValueError(type(text).__name__)
        return base64.b64decode(text.encode("ascii"), validate=True)
    except ValueError:  # binascii.Error and UnicodeEncodeError among them
        # Its text is left out because it could quote a key.
        raise MalformedError(source, f"{what} in base64", "another value") from None


_RANDOM_SIZE_BYTES = 10


def format_uuid7(unix_ms: int, random_bytes: bytes) -> str:
    """Returns a UUID of version 7 in its lower-case text form.

    Args:
        unix_ms: milliseconds since 1970-01-01T00:00:00Z.
        random_bytes: 10 bytes; the id uses 74 of their 80 bits.

    Raises:
        ValueError: the time does not fit 48 bits, or there are not 10 bytes.
    """
    if not 0 <= unix_ms < 1 << 48:
        raise ValueError(f"unix_ms: expected 48 bits, got {unix_ms}")
    if len(random_bytes) != _RANDOM_SIZE_BYTES:
        raise ValueError(
            f"random_bytes: expected {_RANDOM_SIZE_BYTES}, got {len(random_bytes)}"
        )
    random = int.from_bytes(random_bytes)
    value = unix_ms << 80
    value |= 7 << 76 | (random >> 68) << 64
    value |= 0b10 << 62 | random & ((1 << 62) - 1)
    return str(uuid.UUID(int=value))


def parse_uuid7_ms(text: str) -> int:
    """Returns the time of an id that `format_uuid7` made, in milliseconds.

    Raises:
        ValueError: `text` is not a UUID of version 7 in lower-case text form.
    """
    value = uuid.UUID(text)
    if value.version != 7 or str(value) != text:
        raise ValueError(f"expected a lower-case UUID of version 7, got {text!r}")
    return value.int >> 80
