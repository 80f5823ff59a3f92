"""The error that a package must show on its own canary episodes: `canary.json`.

    {"schema_version": 1, "action_error": 0.0123, "tolerance": 0.001, "steps": 406}

The episodes are next to it in `canary.tfrecord`. The program that makes the package
runs its step over them and records the error of the actions. A robot runs the same
step over the same episodes and must measure the same error.

A package states its own tolerance, so it is bounded: with an enormous one, every step
would pass.
"""

import dataclasses
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Final

from base import plain_file
from base.errors import MalformedError
from base.json_fields import Fields, Source, decode

SCHEMA_VERSION = 1
FILE = "canary.json"
LIMIT_BYTES = 64 * 1024
F32: Final = "f32"
INT8: Final = "int8"
LARGEST_TOLERANCES: Final[Mapping[str, float]] = MappingProxyType(
    {F32: 1e-3, INT8: 4e-3}
)
"""Largest tolerance by step form, in half ranges of the action.

Measured between an x86 machine and an emulated Cortex-A76: a mean of 5e-7 in f32, and
of 7e-4 on the worst of five episodes in int8, where a rounding may fall on the other
side. f32 packages have stated 1e-3 since the first one; int8 has about six times what
was measured.
"""
_KEYS = ("schema_version", "action_error", "tolerance", "steps")


@dataclass(frozen=True)
class Expectation:
    """The expected result of the canary.

    Attributes:
        action_error: mean absolute difference between the proposed action and the
            recorded `proposed_action`, over all steps and channels, in the unit of
            the action.
        tolerance: largest accepted deviation of that error on another machine.
        steps: number of steps in the canary episodes.
    """

    action_error: float
    tolerance: float
    steps: int

    def encode(self) -> bytes:
        """Returns the content of `canary.json`.

        It is not canonical JSON and must not change: a package that is made again
        from the same model keeps its digest.
        """
        value = {"schema_version": SCHEMA_VERSION, **dataclasses.asdict(self)}
        return json.dumps(value).encode()


def read(path: Path) -> Expectation:
    """Reads a package's `canary.json`.

    Raises:
        OversizedError, MalformedError: as `parse`.
        OSError: the file cannot be read.
    """
    return parse(plain_file.read(path, LIMIT_BYTES), path)


def parse(raw: bytes, source: Source = FILE) -> Expectation:
    """Reads the bytes of a `canary.json`.

    Raises:
        OversizedError: `raw` is longer than `LIMIT_BYTES`.
        MalformedError: `raw` is not JSON, a field is missing, unknown or wrong, or the
            schema version is another one.
    """
    fields = Fields(decode(raw, source, LIMIT_BYTES), source, _KEYS)
    fields.version(SCHEMA_VERSION)
    return Expectation(
        action_error=_not_negative(fields, "action_error"),
        tolerance=_not_negative(fields, "tolerance"),
        steps=fields.integer("steps", minimum=1),
    )


def check_tolerance(
    stated: Expectation,
    minimum: Sequence[float],
    maximum: Sequence[float],
    form: str,
    source: Source = FILE,
) -> None:
    """Checks that a package does not accept more deviation than its form explains.

    Args:
        stated: what the package states.
        minimum: lowest action, one number per channel, in the robot's unit.
        maximum: highest action, in the same order and unit.
        form: form of the step that robots run; an unknown one is judged as f32.
        source: the name used in errors.

    Raises:
        MalformedError: the tolerance is above the form's largest.
    """
    bound = LARGEST_TOLERANCES.get(form, LARGEST_TOLERANCES[F32])
    largest = bound * half_range(minimum, maximum)
    if stated.tolerance > largest:
        raise MalformedError(
            source,
            f"a tolerance of at most {largest:g}, for a step in {form} whose actions "
            f"have a mean half range of {half_range(minimum, maximum):g}",
            f"{stated.tolerance:g}",
            "export the package again",
        )


def half_range(minimum: Sequence[float], maximum: Sequence[float]) -> float:
    """Returns half of the distance between the limits, mean over the channels."""
    distances = [high - low for low, high in zip(minimum, maximum, strict=True)]
    return sum(distances) / (2 * len(distances)) if distances else 0.0


def _not_negative(fields: Fields, key: str) -> float:
    number = fields.number(key)
    if number < 0:
        raise fields.fail(key, "not to be negative")
    return number
