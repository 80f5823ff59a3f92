"""Looks whether an episode may leave its robot: each value against the table's form.

That a redaction record names a field says what a robot meant to do. Here the values
themselves are looked at, by the robot that redacts, by the uploader and by ingest
alike. What no program can see is believed: that a masked image shows nobody, that
log-mel features came from no clearer sound, and that a word or a task names nobody.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any

import numpy as np

from base import text_forms
from rlds import jpeg_segments
from rlds.episode import Episode, EpisodeMetadata
from rlds.errors import FieldFormError, FieldNotCoveredError
from rlds.redaction_record import RedactionRecord, find_missing_fields
from rlds.spec import FIELDS, KNOWN_TAGS, SCHEMA_VERSION, Field

WORD = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:/+-]{0,63}")

_DIGEST = re.compile(r"[0-9a-f]{64}")
_ACTOR = re.compile(r"expert|human|policy:[0-9a-f]{12}")
_HOUR = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:00:00Z")
_CELL = re.compile(r"(-?[0-9]{1,2}\.[0-9]),(-?[0-9]{1,3}\.[0-9])")
_MAX_DEGREES = (90.0, 180.0)
_MAX_LINE = 256  # characters
_MS_PER_HOUR = 3_600_000
# Scripts need them inside words, and some emoji are joined by them.
_JOINERS = "\u200c\u200d"

_SENSITIVE = frozenset(field.name for field in FIELDS if field.sensitive)


def check_redacted(episode: Episode, record: RedactionRecord) -> None:
    """Checks that every field is covered and every value is in its redacted form.

    Raises:
        FieldNotCoveredError: the record does not cover a sensitive field, names no
            detector for images, or covers what is no sensitive field.
        FieldFormError: a value does not have the form that `rlds.spec` gives it; the
            error names the field and does not quote the value.
    """
    _check_record(episode, record)
    for field in episode.spec.episode_fields():
        check_text_form(field, getattr(episode.metadata, field.name))
    for field in episode.spec.step_fields():
        fault = _find_step_fault(field, episode.steps[field.name])
        if fault is not None:
            step, expected = fault
            raise FieldFormError(
                field.name, field.sensitive, expected, f"another at step {step}"
            )


def check_open_fields(metadata: EpisodeMetadata) -> None:
    """Checks, before an episode is recorded, the fields that redaction leaves alone.

    Raises:
        FieldFormError: a value does not have the form that `rlds.spec` gives it.
    """
    for field in FIELDS:
        if field.scope == "episode" and not field.sensitive:
            check_text_form(field, getattr(metadata, field.name))


def check_text_form(field: Field, value: object) -> None:
    """Checks one value of an episode as a whole.

    Raises:
        FieldFormError: the value does not have the form of the field.
    """
    if field.form is None:
        return
    expected, holds = _EPISODE_FORMS[field.form]
    if not holds(value):
        raise FieldFormError(field.name, field.sensitive, expected, "another value")


def is_hour(value: object) -> bool:
    """Whether a text is a UTC time cut down to its hour."""
    if not isinstance(value, str) or not _HOUR.fullmatch(value):
        return False
    try:
        datetime.fromisoformat(value)
    except ValueError:
        return False
    return True


def _check_record(episode: Episode, record: RedactionRecord) -> None:
    missing = find_missing_fields(record, episode.spec)
    if missing:
        raise FieldNotCoveredError(
            missing, "the redaction record to cover every sensitive field"
        )
    unknown = tuple(sorted(set(record.fields_covered) - _SENSITIVE))
    if unknown:
        raise FieldNotCoveredError(
            unknown, "the redaction record to name sensitive fields only"
        )
    images = sum(f.dtype == "jpeg" for f in episode.spec.step_fields())
    if images and not record.detectors:
        raise FieldNotCoveredError(
            ("detectors",), "the detector that looked for faces and plates"
        )
    if record.frames_masked > images * episode.num_steps:
        raise FieldNotCoveredError(
            ("frames_masked",), "no more frames masked than there are"
        )
    for word in (record.transform_version, *record.detectors):
        if not WORD.fullmatch(word):
            raise FieldNotCoveredError(
                ("detectors" if word in record.detectors else "transform_version",),
                "a word for each transform and detector",
            )


def _is_cell(value: object) -> bool:
    """Whether a text is `latitude,longitude` in whole tenths of a degree, or empty."""
    match = _CELL.fullmatch(value) if isinstance(value, str) else None
    if match is None:
        return value == ""
    # The text must be the one that rounding gives: no 007.0, no -0.0.
    return all(
        f"{float(text) + 0.0:.1f}" == text and abs(float(text)) <= limit
        for text, limit in zip(match.groups(), _MAX_DEGREES, strict=True)
    )


def _is_line(value: object) -> bool:
    return (
        isinstance(value, str)
        and 1 <= len(value) <= _MAX_LINE
        and value == value.strip()
        and all(one.isprintable() or one in _JOINERS for one in value)
    )


def _is_uuid7_of_an_hour(value: object) -> bool:
    try:
        return text_forms.parse_uuid7_ms(str(value)) % _MS_PER_HOUR == 0
    except ValueError:
        return False


def _matches(pattern: re.Pattern[str], empty: bool = False) -> Callable[[object], bool]:
    def holds(value: object) -> bool:
        if empty and value == "":
            return True
        return isinstance(value, str) and pattern.fullmatch(value) is not None

    return holds


_WORD_TEXT = "a word of up to 64 letters, digits and ._:/+-"
# What each form is for people, and whether a value has it.
_EPISODE_FORMS: Mapping[str, tuple[str, Callable[[Any], bool]]] = {
    "actor": ("expert, human or policy:<12 hex digits>", _matches(_ACTOR)),
    "digest": ("64 lower-case hex digits", _matches(_DIGEST)),
    "digest_or_empty": (
        "64 lower-case hex digits or nothing",
        _matches(_DIGEST, empty=True),
    ),
    "grid_cell_or_empty": ("a cell of 0.1 degrees such as 52.5,13.4", _is_cell),
    "hour": ("a whole hour such as 2026-01-31T08:00:00Z", is_hour),
    "known_tags": (
        f"tags of {', '.join(sorted(KNOWN_TAGS))}",
        KNOWN_TAGS.issuperset,
    ),
    "line": (f"one line of 1 to {_MAX_LINE} printable characters", _is_line),
    "schema_version": (SCHEMA_VERSION, lambda value: value == SCHEMA_VERSION),
    # The time in an id would tell what the hour in `start_time` hides.
    "uuid7_of_an_hour": (
        "a lower-case UUID of version 7 whose time is a whole hour",
        _is_uuid7_of_an_hour,
    ),
    "word": (_WORD_TEXT, _matches(WORD)),
    "word_or_empty": (f"{_WORD_TEXT}, or nothing", _matches(WORD, empty=True)),
}


def _find_step_fault(field: Field, values: Sequence[Any]) -> tuple[int, str] | None:
    """Returns the first step without the field's form, and what was expected there."""
    match field.form:
        case "plain_jpeg":
            for step, image in enumerate(values):
                fault = jpeg_segments.find_fault(image)
                if fault is not None:
                    return step, fault
        case "passing_time":
            # The control rate of a robot is the median, which some delays do not move.
            gaps = np.diff(np.asarray(values))
            if gaps.size and np.median(gaps) < 1:
                return int(gaps.argmin()) + 1, "time to pass between most steps"
        case "discount":
            wrong = (np.asarray(values) < 0) | (np.asarray(values) > 1)
            if wrong.any():
                return int(wrong.argmax()), "numbers from 0 to 1"
    return None
