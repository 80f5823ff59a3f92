"""The record of how an episode was redacted before it left the robot."""

import dataclasses
import re
from collections.abc import Mapping, Set
from typing import Any

from rlds.errors import RedactionRecordError
from rlds.spec import EpisodeSpec, picture_field

_SHA256 = re.compile("[0-9a-f]{64}")
_SOURCE = "redaction record"


@dataclasses.dataclass(frozen=True)
class Looked:
    """States which detector looked for something in every picture.

    Attributes:
        name: of the detector.
        version: of the package that carries its weights.
        sure_per_mille: score from which one box is masked by itself, 0 to 1000.
        weak_per_mille: score from which boxes are masked that follow each other.

    Raises:
        RedactionRecordError: a value has the wrong type or is out of range.
    """

    name: str
    version: str
    sure_per_mille: int
    weak_per_mille: int

    def __post_init__(self) -> None:
        texts = (self.name, self.version)
        _check(all(type(text) is str and text for text in texts), "detector: texts")
        scores = (self.sure_per_mille, self.weak_per_mille)
        _check(
            all(type(score) is int and 0 <= score <= 1000 for score in scores),
            "detector: scores from 0 to 1000",
        )


@dataclasses.dataclass(frozen=True)
class PictureMasks:
    """States how pictures were masked.

    Attributes:
        version: of the way in which what was found becomes masks.
        frames_dropped: pictures that are black, since one of the detectors did not
            look at them.
        looked: who looked, by what for.

    Raises:
        RedactionRecordError: a value has the wrong type or is out of range.
    """

    version: str
    frames_dropped: int
    looked: Mapping[str, Looked]

    def __post_init__(self) -> None:
        _check(type(self.version) is str and bool(self.version), "pictures: a version")
        _check(_is_count(self.frames_dropped), "frames_dropped: a count")
        _check(all(type(name) is str for name in self.looked), "looked: names")

    def __hash__(self) -> int:
        return hash((self.version, self.frames_dropped))

    def to_json(self) -> dict[str, object]:
        """Returns it as JSON values."""
        looked = {name: dataclasses.asdict(one) for name, one in self.looked.items()}
        return {
            "version": self.version,
            "frames_dropped": self.frames_dropped,
            "looked": looked,
        }


@dataclasses.dataclass(frozen=True)
class DrawnPictures:
    """States that a simulator drew the pictures, and that they are not masked.

    `rlds.drawn_pictures` checks that it can be true.

    Attributes:
        simulator: what drew them.
        cameras: names of the cameras whose pictures it drew, sorted.
        frames_dropped: pictures that are black, since there was none.

    Raises:
        RedactionRecordError: a value has the wrong type or is out of range.
    """

    simulator: str
    cameras: tuple[str, ...]
    frames_dropped: int

    def __post_init__(self) -> None:
        texts = (self.simulator, *self.cameras)
        _check(all(type(text) is str and text for text in texts), "drawn: texts")
        _check(_is_count(self.frames_dropped), "drawn.frames_dropped: a count")

    def to_json(self) -> dict[str, object]:
        """Returns it as JSON values."""
        return {**dataclasses.asdict(self), "cameras": list(self.cameras)}


@dataclasses.dataclass(frozen=True)
class RedactionRecord:
    """States which sensitive fields were transformed, and how.

    Attributes:
        transform_version: version of the transforms.
        detectors: SHA-256 of each detector's weights, by the detector's name.
        fields_covered: names of the fields that were transformed, sorted.
        frames_masked: number of images in which something was masked.
        attested: whether the robot attests that the episode holds no other data.
        pictures: how they were masked; None where there are none, and in what was
            written before pictures could leave.
        drawn: that they are drawn, and so not masked; None in all but some episodes of
            simulated robots.

    Raises:
        RedactionRecordError: a value has the wrong type or is out of range.
    """

    transform_version: str
    detectors: Mapping[str, str]
    fields_covered: tuple[str, ...]
    frames_masked: int
    attested: bool
    pictures: PictureMasks | None = None
    drawn: DrawnPictures | None = None

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
        _check(_is_count(self.frames_masked), "frames_masked: a count")
        _check(type(self.attested) is bool, "attested: true or false")

    def __hash__(self) -> int:
        return hash((self.transform_version, self.fields_covered, self.frames_masked))

    def to_json(self) -> dict[str, object]:
        """Returns the record as JSON values."""
        found: dict[str, object] = {
            "transform_version": self.transform_version,
            "detectors": dict(self.detectors),
            "fields_covered": list(self.fields_covered),
            "frames_masked": self.frames_masked,
            "attested": self.attested,
        }
        if self.pictures is not None:
            found["pictures"] = self.pictures.to_json()
        if self.drawn is not None:
            found["drawn"] = self.drawn.to_json()
        return found


def from_json(value: object) -> RedactionRecord:
    """Reads a record from the JSON values that `RedactionRecord.to_json` returns.

    Raises:
        RedactionRecordError: the value is missing (None) or is not such a record.
    """
    _check(value is not None, "a redaction record")
    names = {field.name for field in dataclasses.fields(RedactionRecord)}
    if isinstance(value, dict):
        names -= {"pictures", "drawn"} - set(value)
    value = _read_object(value, names)
    _check(isinstance(value["detectors"], dict), "detectors: an object")
    _check(isinstance(value["fields_covered"], list), "fields_covered: a list")
    return RedactionRecord(
        transform_version=value["transform_version"],
        detectors=value["detectors"],
        fields_covered=tuple(value["fields_covered"]),
        frames_masked=value["frames_masked"],
        attested=value["attested"],
        pictures=_read_pictures(value["pictures"]) if "pictures" in value else None,
        drawn=_read_drawn(value["drawn"]) if "drawn" in value else None,
    )


def _read_drawn(value: object) -> DrawnPictures:
    keys = {field.name for field in dataclasses.fields(DrawnPictures)}
    found = _read_object(value, keys)
    _check(isinstance(found["cameras"], list), "drawn.cameras: a list")
    return DrawnPictures(**{**found, "cameras": tuple(found["cameras"])})


def _read_pictures(value: object) -> PictureMasks:
    found = _read_object(value, {"version", "frames_dropped", "looked"})
    _check(isinstance(found["looked"], dict), "looked: an object")
    keys = {field.name for field in dataclasses.fields(Looked)}
    looked = {
        name: Looked(**_read_object(one, keys)) for name, one in found["looked"].items()
    }
    return PictureMasks(found["version"], found["frames_dropped"], looked)


def _read_object(value: object, keys: Set[str]) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise RedactionRecordError(_SOURCE, "an object", type(value).__name__)
    if set(value) != keys:
        raise RedactionRecordError(
            _SOURCE, f"exactly the keys {sorted(keys)}", sorted(value)
        )
    return value


def find_missing_fields(record: RedactionRecord, spec: EpisodeSpec) -> tuple[str, ...]:
    """Returns the sensitive fields of `spec` that `record` does not cover.

    What is said to be drawn needs no transform. A record that is not attested covers
    nothing.
    """
    drawn = () if record.drawn is None else record.drawn.cameras
    covered = {*record.fields_covered, *map(picture_field, drawn)}
    if not record.attested:
        covered = set()
    return tuple(
        field.name
        for field in (*spec.step_fields(), *spec.episode_fields())
        if field.sensitive and field.name not in covered
    )


def _is_count(value: object) -> bool:
    return type(value) is int and 0 <= value < 1 << 31


def _check(holds: bool, expected: str) -> None:
    if not holds:
        raise RedactionRecordError(_SOURCE, expected, "another value or none")
