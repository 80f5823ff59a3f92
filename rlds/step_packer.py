"""Checks a step and packs its numbers in the layout of a journal."""

import math
import struct
from collections.abc import Mapping
from typing import Any

import numpy as np

from rlds import journal
from rlds.episode import Array
from rlds.errors import MalformedEpisodeError
from rlds.spec import EpisodeSpec

_SOURCE = "step"
_REMEDY = "append each step once, in order, with every field of the spec"
_CODES = {"f": "f", "i": "q", "b": "?"}


class StepPacker:
    """Packs the steps of one episode, in order, into records of its journal.

    It runs in every control period, so arrays and formats are made only once.
    """

    def __init__(self, spec: EpisodeSpec) -> None:
        """Allocates the memory of one step, which every call reuses."""
        layout = journal.step_dtype(spec)
        names = layout.names or ()
        self._names = {field.name for field in spec.step_fields()}
        self._pictures = spec.picture_fields
        vectors = [name for name in names if layout[name].shape]
        self._scalars = tuple(name for name in names if not layout[name].shape)
        self._tail = struct.Struct(
            "<" + "".join(_CODES[layout[name].kind] for name in self._scalars)
        )
        self._vector: Array = np.zeros(
            sum(math.prod(layout[name].shape) for name in vectors), "<f4"
        )
        self._slices: list[tuple[str, Array, tuple[int, ...]]] = []
        start = 0
        for name in vectors:
            size = math.prod(layout[name].shape)
            self._slices.append(
                (name, self._vector[start : start + size], layout[name].shape)
            )
            start += size
        if list(names) != [*vectors, *self._scalars]:
            raise AssertionError("a journal must hold vectors before scalars")
        self._count = 0
        self._ended = False
        self._last_ns = 0

    def pack(self, step: Mapping[str, Any]) -> bytes:
        """Returns the record of the next step.

        Raises:
            MalformedEpisodeError: a field is missing, unknown or of the wrong shape or
                type, a number is not finite, or the step is out of order. The step
                is not counted.
        """
        if step.keys() != self._names:
            difference = sorted(set(step) ^ self._names)
            raise _malformed("exactly the fields of the spec", difference)
        for name, cells, shape in self._slices:
            value = step[name]
            found = value.shape if isinstance(value, np.ndarray) else np.shape(value)
            if found != shape:
                raise _malformed(f"{name} of shape {shape}", found)
            try:
                cells[...] = value
            except (TypeError, ValueError) as e:
                raise _malformed(f"{name} in numbers", type(value).__name__) from e
        try:
            scalars = [step[name] for name in self._scalars]
            tail = self._tail.pack(*scalars)
        except (struct.error, TypeError, ValueError, OverflowError) as e:
            raise _malformed("numbers and marks that fit their fields", e) from e
        if not np.isfinite(self._vector).all():
            raise _malformed("finite numbers", "NaN or infinity")
        if not (math.isfinite(step["reward"]) and math.isfinite(step["discount"])):
            raise _malformed("finite reward and discount", "NaN or infinity")
        self._check_order(step)
        return self._vector.tobytes() + tail + self._join_pictures(step)

    def mark_kept(self, step: Mapping[str, Any]) -> None:
        """Counts a step whose record has been written completely."""
        self._count += 1
        self._ended = bool(step["is_last"])
        self._last_ns = int(step["t_monotonic_ns"])

    def _check_order(self, step: Mapping[str, Any]) -> None:
        if self._ended:
            raise _malformed("no step after the last", "another step")
        if bool(step["is_first"]) != (self._count == 0):
            raise _malformed("is_first only at the first step", f"step {self._count}")
        if step["is_terminal"] and not step["is_last"]:
            raise _malformed("is_terminal only at the last step", "an earlier step")
        if self._count and step["t_monotonic_ns"] < self._last_ns:
            raise _malformed(
                f"t_monotonic_ns of at least {self._last_ns}", step["t_monotonic_ns"]
            )

    def _join_pictures(self, step: Mapping[str, Any]) -> bytes:
        for name in self._pictures:
            image = step[name]
            if not isinstance(image, bytes) or not image.startswith(b"\xff\xd8"):
                raise _malformed(f"{name} encoded as JPEG", "something else")
        return journal.join_pictures([step[name] for name in self._pictures])


def _malformed(expected: str, got: object) -> MalformedEpisodeError:
    return MalformedEpisodeError(_SOURCE, expected, got, _REMEDY)
