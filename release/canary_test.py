import dataclasses
import json
from pathlib import Path

import pytest

from base.errors import MalformedError, OversizedError
from release import canary
from release.canary import Expectation

_EXPECTATION = Expectation(action_error=0.0625, tolerance=0.001, steps=18)
_RAW = b'{"schema_version": 1, "action_error": 0.0625, "tolerance": 0.001, "steps": 18}'


def test_expectation_of_format_one_keeps_its_bytes_and_can_be_read() -> None:
    assert _EXPECTATION.encode() == _RAW
    assert canary.parse(_RAW) == _EXPECTATION


@pytest.mark.parametrize(
    "name", ["schema_version", "action_error", "tolerance", "steps"]
)
def test_missing_field_is_named(tmp_path: Path, name: str) -> None:
    value = json.loads(_RAW)
    del value[name]
    path = tmp_path / "canary.json"
    path.write_text(json.dumps(value))
    with pytest.raises(MalformedError, match=rf"canary\.json: expected field {name}"):
        canary.read(path)


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("schema_version", 2, "schema_version to be 1"),
        ("action_error", "0.1", "action_error to be a number"),
        ("action_error", -0.1, "action_error not to be negative"),
        ("tolerance", None, "tolerance to be a number"),
        ("tolerance", -1e-9, "tolerance not to be negative"),
        ("steps", 0, "steps to be an integer of at least 1"),
        ("episodes", 2, "only fields of the format"),
    ],
)
def test_malformed_field_is_refused(name: str, value: object, expected: str) -> None:
    with pytest.raises(MalformedError, match=expected):
        canary.parse(json.dumps({**json.loads(_RAW), name: value}).encode())


@pytest.mark.parametrize("raw", [b"", b"[]", _RAW[:-1], _RAW.replace(b"18", b"NaN")])
def test_bytes_that_are_not_an_expectation_raise_malformed_error(raw: bytes) -> None:
    with pytest.raises(MalformedError):
        canary.parse(raw)


def test_more_bytes_than_the_limit_are_not_decoded(tmp_path: Path) -> None:
    path = tmp_path / "canary.json"
    path.write_bytes(_RAW + b" " * canary.LIMIT_BYTES)
    with pytest.raises(OversizedError, match="at most 65536 bytes"):
        canary.read(path)


@pytest.mark.parametrize(
    ("form", "half_range", "largest"),
    [("f32", 1.0, 1e-3), ("int8", 1.0, 4e-3), ("int8", 3.0, 1.2e-2), ("x", 1.0, 1e-3)],
)
def test_tolerance_is_bounded_by_the_form_of_the_step_and_the_range_of_its_actions(
    form: str, half_range: float, largest: float
) -> None:
    limits = ((-half_range, 0.0), (half_range, 2 * half_range))
    stated = dataclasses.replace(_EXPECTATION, tolerance=largest * 0.999)
    canary.check_tolerance(stated, *limits, form)
    for tolerance in (largest * 1.001, 1e300):
        enormous = dataclasses.replace(stated, tolerance=tolerance)
        match = rf"canary\.json: expected a tolerance of at most {largest:g}, .* {form}"
        with pytest.raises(MalformedError, match=match):
            canary.check_tolerance(enormous, *limits, form)
