"""What `sidecar.schema.json` allows is what the code takes, value by value."""

import copy
import json
from datetime import date
from pathlib import Path
from typing import Any

import jsonschema
from hypothesis import example, given, settings
from hypothesis import strategies as st

from base import canonical_json
from rlds import sidecar, sidecar_statements
from rlds.errors import SidecarError
from rlds.spec import FIRST_DATE

_SCHEMA = json.loads(Path(__file__).with_name("sidecar.schema.json").read_bytes())
_VALIDATOR = jsonschema.Draft202012Validator(
    _SCHEMA, format_checker=jsonschema.FormatChecker(["date"])
)
_BOUNDED = settings(max_examples=500, derandomize=True, deadline=None)
_HOUR = "2026-01-01T08:00:00Z"
_GOOD: dict[str, Any] = {
    "schema_version": "0.1.0",
    "episode_id": "019b7892-1c00-7d15-8162-71f76a1f35ef",
    "sha256": "ab" * 32,
    "size_bytes": 1,
    "num_steps": 1,
    "robot_hash": "cd" * 32,
    "date": FIRST_DATE,
    "consent": {"granted": True, "by": "operator", "at": _HOUR},
    "safety": {"violations": 0, "escalated": False},
    "privacy": {
        "transform_version": "numeric-1",
        "detectors": {"faces": "ef" * 32},
        "fields_covered": ["robot_hash", "tags"],
        "frames_masked": 0,
        "attested": True,
        "pictures": {
            "version": "masks-1",
            "frames_dropped": 0,
            "looked": {
                "faces": {
                    "name": "centerface",
                    "version": "1.5.0",
                    "sure_per_mille": 400,
                    "weak_per_mille": 250,
                }
            },
        },
    },
    "package_digest": "",
    "delta_digest": "",
    "software": "0.1.0",
    "keyid": "",
    "signature": "A" * 86 + "==",
}
_DRAWN: dict[str, Any] = copy.deepcopy(_GOOD)
_DRAWN["privacy"]["drawn"] = {
    "simulator": "so101-camera",
    "cameras": ["front"],
    "frames_dropped": 0,
}
del _DRAWN["privacy"]["pictures"]


def _is_taken(value: dict[str, Any]) -> bool:
    try:
        sidecar_statements.check_consent(sidecar.parse(canonical_json.encode(value)))
    except SidecarError:
        return False
    return True


def _check_agreement(value: dict[str, Any]) -> None:
    assert _VALIDATOR.is_valid(value) == _is_taken(value), value


def test_good_sidecar_is_taken_by_both() -> None:
    for good in (_GOOD, _DRAWN):
        assert _VALIDATOR.is_valid(good) and _is_taken(good)


def test_sidecar_of_before_pictures_could_leave_is_taken_by_both() -> None:
    old = copy.deepcopy(_GOOD)
    del old["privacy"]["pictures"]
    assert _VALIDATOR.is_valid(old) and _is_taken(old)


def _leaves(value: dict[str, Any]) -> list[tuple[str, ...]]:
    found: list[tuple[str, ...]] = []
    for key, inner in value.items():
        found.append((key,))
        if isinstance(inner, dict):
            found += [(key, *path) for path in _leaves(inner)]
    return found


def _replace(
    path: tuple[str, ...],
    new: Any,  # noqa: ANN401 - JSON
    good: dict[str, Any] = _GOOD,
) -> dict[str, Any]:
    value = copy.deepcopy(good)
    inner = value
    for key in path[:-1]:
        inner = inner[key]
    inner[path[-1]] = new
    return value


_WORDS = ("", "a", "-_", "..", "a/b", "2026-02-28", "2026-02-30")
_ROLES = ("operator", "unknown", "Ada", _HOUR)
_LENGTHS = (31, 32, 33, 64, 128, 129, 4096, 4097)
_TEXTS = st.one_of(
    st.text(max_size=3),
    st.sampled_from([*_WORDS, *_ROLES]),
    st.builds(
        str.__mul__, st.sampled_from(["a", "x", "ab", "AB"]), st.sampled_from(_LENGTHS)
    ),
).flatmap(lambda text: st.sampled_from([text, text + "\n", " " + text]))
_VALUES = st.one_of(
    _TEXTS,
    st.none(),
    st.booleans(),
    st.integers(-2, 2),
    st.sampled_from([2**31 - 1, 2**31, 2**53 - 1, 0.5, -0.5]),
    st.lists(_TEXTS | st.integers(1 - 2**53, 2**53 - 1), max_size=2),
    st.dictionaries(st.text(max_size=3), _TEXTS, max_size=2),
)


@_BOUNDED
@given(
    st.sampled_from([path for path in _leaves(_GOOD) if path != ("signature",)]),
    _VALUES,
)
@example(("date",), "2026-02-30")
@example(("sha256",), "ab" * 32 + "\n")
@example(("consent", "by"), "Ada Lovelace")
def test_value_in_any_field_is_taken_by_both_or_refused_by_both(
    path: tuple[str, ...],
    new: Any,  # noqa: ANN401 - JSON
) -> None:
    _check_agreement(_replace(path, new))


@_BOUNDED
@given(
    st.sampled_from([path for path in _leaves(_DRAWN) if "drawn" in path]),
    _VALUES,
)
def test_value_about_drawn_pictures_is_taken_by_both_or_refused_by_both(
    path: tuple[str, ...],
    new: Any,  # noqa: ANN401 - JSON
) -> None:
    _check_agreement(_replace(path, new, _DRAWN))


def _exists(time: str) -> bool:
    """Whether a text that begins like a day names one; others are of any form."""
    try:
        date.fromisoformat(time[:10])
    except ValueError:
        # A pattern cannot tell the months apart, and nobody was consulted then.
        return not (time[:4].isdigit() and time[4:5] == "-")
    return True


_TIMES = st.one_of(
    st.datetimes().map(lambda time: time.strftime("%Y-%m-%dT%H:00:00Z")),
    st.datetimes().map(lambda time: time.strftime("%Y-%m-%dT%H:%M:%SZ")),
    st.sampled_from(["", _HOUR, _HOUR[:-1], "2026-01-01T24:00:00Z", "noon"]),
).flatmap(lambda time: st.sampled_from([time, time + "\n", time + "Z"]))


@_BOUNDED
@given(
    granted=st.booleans(),
    by=st.sampled_from(["", "operator", "unknown", "Ada", "operator "]),
    at=_TIMES.filter(_exists),
)
def test_consent_is_taken_by_both_or_refused_by_both(
    granted: bool, by: str, at: str
) -> None:
    _check_agreement(_replace(("consent",), {"granted": granted, "by": by, "at": at}))
