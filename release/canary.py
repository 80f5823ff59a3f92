"""The error that a package must show on its own canary episodes: `canary.json`.

    {"schema_version": 1, "action_error": 0.0123, "tolerance": 0.001, "steps": 406}

The episodes are next to it in `canary.tfrecord`. The program that makes the package
runs its step over them and records the error of the actions. A robot runs the same
step over the same episodes and must measure the same error.
"""

import dataclasses
import json
from dataclasses import dataclass
from pathlib import Path

from base import plain_file
from base.json_fields import Fields, Source, decode

SCHEMA_VERSION = 1
FILE = "canary.json"
LIMIT_BYTES = 64 * 1024
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
        action_error=fields.number("action_error"),
        tolerance=fields.number("tolerance"),
        steps=fields.integer("steps", minimum=1),
    )
