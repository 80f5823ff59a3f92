"""What a package promises about its own canary episodes: the file `canary.json`.

    {"schema_version": 1, "action_error": 0.0123, "tolerance": 0.001, "steps": 406}

The episodes lie beside it in `canary.tfrecord`. Where the package is made, its step is
run over them and the error of its actions is written down; a robot runs the same
episodes through the same step and must find the same error.
"""

import dataclasses
import json
from dataclasses import dataclass
from pathlib import Path

from base.json_fields import Fields, Source, decode

SCHEMA_VERSION = 1
FILE = "canary.json"
LIMIT_BYTES = 64 * 1024
_KEYS = ("schema_version", "action_error", "tolerance", "steps")


@dataclass(frozen=True)
class Expectation:
    """The promise.

    Attributes:
        action_error: mean absolute difference between the proposed action and the
            recorded `proposed_action`, over all steps and channels.
        tolerance: largest accepted difference from it on another machine.
        steps: steps in the canary episodes.
    """

    action_error: float
    tolerance: float
    steps: int

    def encode(self) -> bytes:
        """Returns the content of `canary.json`.

        It is no canonical JSON, and stays as it was first written: a package that is
        made again from the same model keeps its digest.
        """
        value = {"schema_version": SCHEMA_VERSION, **dataclasses.asdict(self)}
        return json.dumps(value).encode()


def read(path: Path) -> Expectation:
    """Reads a package's `canary.json`.

    Raises:
        OversizedError, MalformedError: as `parse`.
        OSError: the file cannot be read.
    """
    with path.open("rb") as file:
        return parse(file.read(LIMIT_BYTES + 1), path)


def parse(raw: bytes, source: Source = FILE) -> Expectation:
    """Reads the bytes of a `canary.json`.

    Raises:
        OversizedError: longer than `LIMIT_BYTES`.
        MalformedError: not JSON, a field is missing, unknown or wrong, or another
            schema version.
    """
    fields = Fields(decode(raw, source, LIMIT_BYTES), source, _KEYS)
    fields.version(SCHEMA_VERSION)
    return Expectation(
        action_error=fields.number("action_error"),
        tolerance=fields.number("tolerance"),
        steps=fields.integer("steps", minimum=1),
    )
