"""The record of how an episode was redacted before it left the robot."""

import dataclasses
import re
from collections.abc import Mapping

from rlds.errors import RedactionRecordError
from rlds.spec import EpisodeSpec

_SHA256 = re.compile("[0-9a-f]{64}")
_SOURCE = "redaction record"


@dataclasses.dataclass(frozen=True)
class RedactionRecord:
    """States which sensitive fields were transformed, and how.

    Attributes:
        transform_version: version of the transforms.
        detectors: SHA-256 of each detector's weights, by the detector's name.
        fields_covered: names of the fields that were transformed, sorted.
        frames_masked: number of images in which something was masked.
        attested: whether the robot attests that the episode holds no other data.

    Raises:
        RedactionRecordError: a value has the wrong type or is out of range.
    """

    transform_version: str
    detectors: Mapping[str, str]
    fields_covered: tuple[str, ...]
    frames_masked: int
    attested: bool

    def __post_init__(self) -> None:
        _check(isinstance(self.transform_version, str), "transform_version: a string")
        _check(bool(self.transform_version), "transform_version: a version")
        _check(
            all(
                isinstance(name, str)
                and isinstance(digest, str)
                and _SHA256.fullmatch(digest)
                for name, digest in self.detectors.items()
            ),
            "detectors: a SHA-256 by name",
        )
        _check(
            all(isinstance(name, str) for name in self.fields_covered),
            "fields_covered: names",
        )
        _check(
            type(self.frames_masked) is int and 0 <= self.frames_masked < 1 << 31,
            "frames_masked: a count",
        )
        _check(type(self.attested) is bool, "attested: true or false")

    def __hash__(self) -> int:
        return hash((self.transform_version, self.fields_covered, self.frames_masked))

    def to_json(self) -> dict[str, object]:
        """Returns the record as JSON values."""
        return {
            "transform_version": self.transform_version,
            "detectors": dict(self.detectors),
            "fields_covered": list(self.fields_covered),
            "frames_masked": self.frames_masked,
            "attested": self.attested,
        }


def from_json(value: object) -> RedactionRecord:
    """Reads a record from the JSON values that `RedactionRecord.to_json` returns.

    Raises:
        RedactionRecordError: the value is missing (None) or is not such a record.
    """
    _check(value is not None, "a redaction record")
    if not isinstance(value, dict):
        raise RedactionRecordError(_SOURCE, "an object", type(value).__name__)
    names = {field.name for field in dataclasses.fields(RedactionRecord)}
    if set(value) != names:
        raise RedactionRecordError(
            _SOURCE, f"exactly the keys {sorted(names)}", sorted(value)
        )
    _check(isinstance(value["detectors"], dict), "detectors: an object")
    _check(isinstance(value["fields_covered"], list), "fields_covered: a list")
    return RedactionRecord(
        transform_version=value["transform_version"],
        detectors=value["detectors"],
        fields_covered=tuple(value["fields_covered"]),
        frames_masked=value["frames_masked"],
        attested=value["attested"],
    )


def find_missing_fields(record: RedactionRecord, spec: EpisodeSpec) -> tuple[str, ...]:
    """Returns the sensitive fields of `spec` that `record` does not cover.

    A record that is not attested covers nothing.
    """
    covered = set(record.fields_covered) if record.attested else set[str]()
    return tuple(
        field.name
        for field in (*spec.step_fields(), *spec.episode_fields())
        if field.sensitive and field.name not in covered
    )


def _check(holds: bool, expected: str) -> None:
    if not holds:
        raise RedactionRecordError(_SOURCE, expected, "another value or none")
