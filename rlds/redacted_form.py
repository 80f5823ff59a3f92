"""Looks whether an episode may leave its robot: each value against the table's form.

That a redaction record names a field says what a robot meant to do. Here the values
themselves are looked at, by the robot that redacts, by the uploader and by ingest
alike. What no program can see is believed: that a masked image shows nobody, and that
the numbers of a robot's state and actions are what its driver says they are.
"""

import re
from collections.abc import Callable, Mapping, Sequence, Set
from datetime import datetime
from typing import Any

import numpy as np

from base import text_forms
from rlds import (
    blank_picture,
    coarse_sound,
    drawn_pictures,
    jpeg_segments,
    known_words,
)
from rlds.episode import Episode, EpisodeMetadata
from rlds.errors import FieldFormError, FieldNotCoveredError
from rlds.known_words import NO_WORDS
from rlds.redaction_record import RedactionRecord, find_missing_fields
from rlds.spec import (
    DETECTOR_NAMES,
    FIELDS,
    IMAGE_DETECTORS,
    KNOWN_TAGS,
    MASKS_VERSION,
    MAX_EPISODE_NS,
    NO_PICTURE_AGE,
    OPTIONAL_DETECTORS,
    SCHEMA_VERSION,
    TRANSFORM_VERSION,
    Field,
    Form,
)

CHANNELS = ("stable", "beta", "nightly", "rollback")

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:/+-]{0,63}")
# As PEP 440 writes versions, without what a builder may add at their end.
_VERSION = re.compile(r"[0-9]{1,4}(\.[0-9]{1,4}){2}((a|b|rc|\.dev|\.post)[0-9]{1,4})?")
_DIGEST = re.compile(r"[0-9a-f]{64}")
_ACTOR = re.compile(r"expert|human|policy:[0-9a-f]{12}")
_HOUR = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:00:00Z")
_CELL = re.compile(r"(-?[0-9]{1,2}\.[0-9]),(-?[0-9]{1,3}\.[0-9])")
_MAX_DEGREES = (90.0, 180.0)
_UNLISTED = re.compile(r"unlisted-[0-9a-f]{12}")
_MS_PER_HOUR = 3_600_000

_SENSITIVE = frozenset(field.name for field in FIELDS if field.sensitive)


def check_redacted(
    episode: Episode, record: RedactionRecord, words: Set[str] = NO_WORDS
) -> None:
    """Checks that every field is covered and every value is in its redacted form.

    Args:
        episode: what is to leave.
        record: what a robot says it did.
        words: those that the robot has of its own, beside the closed list.

    Raises:
        FieldNotCoveredError: the record does not cover a sensitive field, names no
            detector for images, or covers what is no sensitive field.
        FieldFormError: a value does not have the form that `rlds.spec` gives it; the
            error names the field and does not quote the value.
    """
    _check_record(episode, record)
    for field in episode.spec.episode_fields():
        check_text_form(field, getattr(episode.metadata, field.name), words)
    for field in episode.spec.step_fields():
        find_fault = _STEP_FORMS[field.form]
        fault = find_fault(episode.steps[field.name], episode.steps)
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


def has_form(name: str, metadata: EpisodeMetadata, words: Set[str] = NO_WORDS) -> bool:
    """Whether the value of a field of the episode could leave as it is."""
    (field,) = (field for field in FIELDS if field.name == name)
    return _holds(field, getattr(metadata, name), words)


def check_text_form(field: Field, value: object, words: Set[str] = NO_WORDS) -> None:
    """Checks one value of an episode as a whole.

    Raises:
        FieldFormError: the value does not have the form of the field.
    """
    if not _holds(field, value, words):
        expected, _ = _EPISODE_FORMS[field.form]
        raise FieldFormError(field.name, field.sensitive, expected, "another value")


def _holds(field: Field, value: object, words: Set[str]) -> bool:
    _, holds = _EPISODE_FORMS[field.form]
    return holds(value) or (
        field.form in _WORD_FORMS and _WORD_FORMS[field.form](value, words)
    )


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
    covered = set(record.fields_covered)
    cameras = set(episode.spec.picture_fields)
    if covered - _SENSITIVE - cameras or len(covered) < len(record.fields_covered):
        raise FieldNotCoveredError(
            ("fields_covered",), "the redaction record to name sensitive fields, once"
        )
    if record.drawn is None:
        _check_pictures(episode, record)
    else:
        drawn_pictures.check_drawn(episode, record, record.drawn)
    if record.transform_version != TRANSFORM_VERSION:
        raise FieldNotCoveredError(
            ("transform_version",), f"the transforms {TRANSFORM_VERSION}"
        )


def _check_pictures(episode: Episode, record: RedactionRecord) -> None:
    """Checks what a record says of pictures, or of looking for something in them."""
    images = [
        image
        for field in episode.spec.step_fields()
        if field.dtype == "jpeg"
        for image in episode.steps[field.name]
    ]
    masks = record.pictures
    dropped = blank_picture.count(images)
    if images and masks is None:
        raise FieldNotCoveredError(("pictures",), "how the pictures were masked")
    if masks is not None and masks.frames_dropped != dropped:
        raise FieldNotCoveredError(
            ("frames_dropped",), f"{dropped} dropped, which is how many are black"
        )
    if record.frames_masked + dropped > len(images):
        raise FieldNotCoveredError(
            ("frames_masked",), "no more frames masked than there are"
        )
    # Nobody needs to have looked at what is not there.
    wanted = set(IMAGE_DETECTORS) if dropped < len(images) else set[str]()
    named = set(record.detectors)
    looked = {} if masks is None else masks.looked
    if (
        named - {*IMAGE_DETECTORS, *OPTIONAL_DETECTORS}
        or not wanted <= named
        or (masks is not None and set(looked) != named)
    ):
        raise FieldNotCoveredError(
            ("detectors",),
            f"a detector for each of {' and '.join(IMAGE_DETECTORS)} where there are "
            "images, and no other",
        )
    if masks is not None and masks.version != MASKS_VERSION:
        raise FieldNotCoveredError(("pictures",), f"masks of version {MASKS_VERSION}")
    for one in looked.values():
        if one.name not in DETECTOR_NAMES or not _VERSION.fullmatch(one.version):
            raise FieldNotCoveredError(
                ("pictures",),
                f"detectors of {', '.join(DETECTOR_NAMES)} and their version",
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


def _is_name(value: object, words: Set[str]) -> bool:
    return (
        isinstance(value, str)
        and _NAME.fullmatch(value) is not None
        and known_words.find_unknown(value, words) is None
    )


def _is_line(value: object, words: Set[str]) -> bool:
    return (
        isinstance(value, str)
        and value == value.strip()
        and value.isprintable()
        and known_words.find_unknown(value, words) is None
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


_OUTCOMES = (True, False, None)
_OF_WORDS = "in words of rlds/known_words.py or of the robot's enrolment"
# What must be made of words, which hides behind a hash what is not.
_WORD_FORMS: Mapping[Form, Callable[[object, Set[str]], bool]] = {
    "known_name": _is_name,
    "known_words": _is_line,
}
# What each form is for people, and whether a value has it.
_EPISODE_FORMS: Mapping[Form, tuple[str, Callable[[Any], bool]]] = {
    "actor": ("expert, human or policy:<12 hex digits>", _matches(_ACTOR)),
    "channel": (
        f"{', '.join(CHANNELS)} or nothing",
        lambda value: value == "" or value in CHANNELS,
    ),
    "digest": ("64 lower-case hex digits", _matches(_DIGEST)),
    "digest_or_empty": (
        "64 lower-case hex digits or nothing",
        _matches(_DIGEST, empty=True),
    ),
    "grid_cell_or_empty": ("a cell of 0.1 degrees such as 52.5,13.4", _is_cell),
    "hour": ("a whole hour such as 2026-01-31T08:00:00Z", is_hour),
    "known_name": (
        f"a name {_OF_WORDS}, or unlisted-<12 hex digits>",
        _matches(_UNLISTED),
    ),
    "known_tags": (
        f"tags of {', '.join(sorted(KNOWN_TAGS))}",
        KNOWN_TAGS.issuperset,
    ),
    "known_words": (
        f"one line {_OF_WORDS}, or unlisted-<12 hex digits>",
        _matches(_UNLISTED),
    ),
    "outcome": ("success, failure or not known", lambda value: value in _OUTCOMES),
    "schema_version": (SCHEMA_VERSION, lambda value: value == SCHEMA_VERSION),
    # The time in an id would tell what the hour in `start_time` hides.
    "uuid7_of_an_hour": (
        "a lower-case UUID of version 7 whose time is a whole hour",
        _is_uuid7_of_an_hour,
    ),
    "version": ("a version such as 0.3.1 or 0.3.1.dev2", _matches(_VERSION)),
}

type _Steps = Mapping[str, Any]
type _Fault = tuple[int, str]
"""A step, and what was expected there."""


def _find_nothing(values: Sequence[Any], steps: _Steps) -> _Fault | None:
    """Numbers and flags: type, shape and `Episode` say all that can be known."""
    del values, steps
    return None


def _find_bad_image(values: Sequence[Any], steps: _Steps) -> _Fault | None:
    del steps
    for step, image in enumerate(values):
        fault = jpeg_segments.find_fault(image)
        if fault is not None:
            return step, fault
    return None


def _find_bad_time(values: Sequence[Any], steps: _Steps) -> _Fault | None:
    del steps
    times = np.asarray(values)
    if times[0] != 0:
        return 0, "times that begin with 0"
    if times[-1] > MAX_EPISODE_NS:
        wrong = int((times > MAX_EPISODE_NS).argmax())
        return wrong, f"at most {MAX_EPISODE_NS} ns since the first step"
    # The control rate of a robot is the median, which some delays do not move.
    gaps = np.diff(times)
    if gaps.size and np.median(gaps) < 1:
        return int(gaps.argmin()) + 1, "time to pass between most steps"
    return None


def _find_bad_age(values: Sequence[Any], steps: _Steps) -> _Fault | None:
    del steps
    ages = np.asarray(values)
    wrong = (ages < NO_PICTURE_AGE) | (ages > MAX_EPISODE_NS)
    expected = f"{NO_PICTURE_AGE} or an age of at most {MAX_EPISODE_NS} ns"
    return (int(wrong.argmax()), expected) if wrong.any() else None


def _find_bad_discount(values: Sequence[Any], steps: _Steps) -> _Fault | None:
    del steps
    wrong = (np.asarray(values) < 0) | (np.asarray(values) > 1)
    return (int(wrong.argmax()), "numbers from 0 to 1") if wrong.any() else None


def _find_fine_sound(values: Sequence[Any], steps: _Steps) -> _Fault | None:
    times_ns = np.asarray(steps["t_monotonic_ns"])
    return coarse_sound.find_fault(np.asarray(values), times_ns)


_STEP_FORMS: Mapping[Form, Callable[[Sequence[Any], _Steps], _Fault | None]] = {
    "coarse_sound": _find_fine_sound,
    "discount": _find_bad_discount,
    "flag": _find_nothing,
    "numbers": _find_nothing,
    "picture_age": _find_bad_age,
    "plain_jpeg": _find_bad_image,
    "time_from_zero": _find_bad_time,
}

for _field in FIELDS:
    _known = _STEP_FORMS if _field.scope == "step" else _EPISODE_FORMS
    if _field.form not in _known:
        raise TypeError(f"{_field.name}: no check of the form {_field.form} here")
