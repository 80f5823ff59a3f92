"""One episode in memory: its metadata and its steps, checked on construction."""

import dataclasses
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

import numpy as np

from rlds.errors import MalformedEpisodeError
from rlds.spec import MAX_STEPS, SCHEMA_VERSION, EpisodeSpec, Field

Array = np.ndarray[Any, np.dtype[Any]]
# All values of one step field: an array [T, ...], or one encoded image per step.
StepValues = Array | Sequence[bytes]

_MAX_TEXT = 4096  # characters
_MAX_TAGS = 64
_REMEDY = "correct the program that made the episode"


@dataclasses.dataclass(frozen=True)
class EpisodeMetadata:
    """The fields of an episode as a whole; `rlds.spec.FIELDS` describes each.

    Raises:
        MalformedEpisodeError: a value has the wrong type or is too long, or the schema
            version is another one.
    """

    schema_version: str
    episode_id: str
    robot_hash: str
    robot_model: str
    environment_id: str
    package_digest: str
    delta_digest: str
    channel: str
    software_version: str
    start_time: str
    location: str
    tags: tuple[str, ...]
    task: str
    success: bool | None
    operator: str

    def __post_init__(self) -> None:
        object.__setattr__(self, "tags", tuple(self.tags))
        for field in dataclasses.fields(self):
            if field.name not in ("tags", "success"):
                _check_text(field.name, getattr(self, field.name))
        if len(self.tags) > _MAX_TAGS:
            raise _malformed("tags", f"at most {_MAX_TAGS}", len(self.tags))
        for tag in self.tags:
            _check_text("tags", tag)
        if self.success is not None and type(self.success) is not bool:
            raise _malformed("success", "a bool or None", repr(self.success))
        if self.schema_version != SCHEMA_VERSION:
            raise _malformed(
                "schema_version", repr(SCHEMA_VERSION), repr(self.schema_version)
            )
        check_episode_id(self.episode_id)


@dataclasses.dataclass(frozen=True, eq=False)
class Episode:
    """A whole episode of T steps, T at least 1.

    Attributes:
        spec: sizes of its fields.
        metadata: the fields of the episode as a whole.
        steps: an array of shape [T, *field shape] for each step field; images are a
            tuple of T encoded images. The arrays are read-only copies.

    Raises:
        MalformedEpisodeError: a field is missing, unknown, or of the wrong shape or
            type; a number is not finite; or first and last step are marked wrongly.
    """

    spec: EpisodeSpec
    metadata: EpisodeMetadata
    steps: Mapping[str, Any]

    def __post_init__(self) -> None:
        fields = self.spec.step_fields()
        expected = {field.name for field in fields}
        if set(self.steps) != expected:
            difference = sorted(set(self.steps) ^ expected)
            raise _malformed(
                "steps", "exactly the fields of the spec", f"a difference: {difference}"
            )
        count = len(self.steps["is_first"])
        if not 1 <= count <= MAX_STEPS:
            raise _malformed("steps", f"1 to {MAX_STEPS} steps", count)
        checked = {
            field.name: _check_values(field, self.steps[field.name], count)
            for field in fields
        }
        _check_marks(checked)
        object.__setattr__(self, "steps", MappingProxyType(checked))

    @property
    def num_steps(self) -> int:
        """Number of steps, T."""
        return len(self.steps["is_first"])

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Episode):
            return NotImplemented
        return (
            self.spec == other.spec
            and self.metadata == other.metadata
            and all(
                np.array_equal(self.steps[name], other.steps[name])
                for name in self.steps
            )
        )

    def __hash__(self) -> int:
        return hash((self.spec, self.metadata))

    def __reduce__(self) -> tuple[Any, ...]:
        return Episode, (self.spec, self.metadata, dict(self.steps))


def check_episode_id(text: str) -> None:
    """Checks that an episode id is safe to use as a file name.

    Raises:
        MalformedEpisodeError: it is empty, longer than 128 characters, or has
            characters other than letters, digits, `-` and `_`.
    """
    plain = text.replace("-", "").replace("_", "")
    if not (plain.isascii() and plain.isalnum() and len(text) <= 128):
        raise _malformed("episode_id", "a UUID of version 7", repr(text))


def _check_values(field: Field, value: StepValues, count: int) -> StepValues:
    if field.dtype == "jpeg":
        return _check_images(field.name, value, count)
    if not isinstance(value, np.ndarray) or value.dtype != np.dtype(field.dtype):
        got = getattr(value, "dtype", type(value).__name__)
        raise _malformed(field.name, f"an array of {field.dtype}", got)
    shape = (count, *field.shape)
    if value.shape != shape:
        raise _malformed(field.name, f"the shape {shape}", value.shape)
    if field.dtype == "float32" and not np.isfinite(value).all():
        raise _malformed(field.name, "finite numbers", "NaN or infinity")
    copy = np.array(value, order="C")
    copy.flags.writeable = False
    return copy


def _check_images(name: str, value: StepValues, count: int) -> tuple[bytes, ...]:
    images = tuple(value)
    if len(images) != count:
        raise _malformed(name, f"{count} images", len(images))
    for number, image in enumerate(images):
        if not isinstance(image, bytes) or not image.startswith(b"\xff\xd8"):
            got = "something else" if image else "nothing"
            raise _malformed(name, "images encoded as JPEG", f"{got} at step {number}")
    return images


def _check_marks(steps: Mapping[str, Any]) -> None:
    first, last = steps["is_first"], steps["is_last"]
    if not first[0] or first[1:].any():
        raise _malformed("is_first", "true only at the first step", "another step")
    if not last[-1] or last[:-1].any():
        raise _malformed("is_last", "true only at the last step", "another step")
    if steps["is_terminal"][:-1].any():
        raise _malformed("is_terminal", "true at the last step or never", "earlier")
    times_ns = steps["t_monotonic_ns"]
    if (times_ns[1:] < times_ns[:-1]).any():
        raise _malformed("t_monotonic_ns", "times in order", "a step back in time")


def _check_text(name: str, value: object) -> None:
    if not isinstance(value, str):
        raise _malformed(name, "a string", type(value).__name__)
    if len(value) > _MAX_TEXT:
        raise _malformed(name, f"at most {_MAX_TEXT} characters", len(value))
    try:
        value.encode()
    except UnicodeEncodeError as e:
        raise _malformed(name, "Unicode text", "a lone surrogate") from e


def _malformed(name: str, expected: str, got: object) -> MalformedEpisodeError:
    return MalformedEpisodeError(f"episode field {name}", expected, got, _REMEDY)
