"""Checks one step and lays its numbers out as a journal keeps them."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from rlds import journal
from rlds.episode import Array
from rlds.errors import MalformedEpisodeError
from rlds.spec import EpisodeSpec

_IMAGE = "observation/image"
_SOURCE = "step"
_REMEDY = "offer each step once, in order, with every field of the spec"


class StepPacker:
    """Packs the steps of one episode, in order, into records of its journal."""

    def __init__(self, spec: EpisodeSpec) -> None:
        """Lays out one step in memory that every call uses again."""
        layout = journal.step_dtype(spec)
        self._row: Array = np.zeros(1, layout)
        self._raw = memoryview(self._row.view(np.uint8)).cast("B")
        self._names = {field.name for field in spec.step_fields()}
        self._image = spec.image
        self._vectors: list[tuple[str, Array, tuple[int, ...]]] = []
        self._scalars: list[tuple[str, Array, type]] = []
        kinds = {"f": float, "i": int, "b": bool}
        for name in layout.names or ():
            cells = self._row[name][0] if layout[name].shape else self._row[name]
            if layout[name].shape:
                self._vectors.append((name, cells, layout[name].shape))
            else:
                self._scalars.append((name, cells, kinds[layout[name].kind]))
        floats = sum(
            layout[name].itemsize
            for name in layout.names or ()
            if layout[name].base.kind == "f"
        )
        self._floats: Array = self._row.view(np.uint8)[:floats].view("<f4")
        self._count = 0
        self._ended = False
        self._last_ns = 0

    def pack(self, step: Mapping[str, Any]) -> bytes:
        """Returns the record of the next step.

        Raises:
            MalformedEpisodeError: a field is missing, unknown or of another shape or
                type, a number is not finite, or the step is out of order. The step
                is not counted.
        """
        if step.keys() != self._names:
            difference = sorted(set(step) ^ self._names)
            raise _malformed("exactly the fields of the spec", difference)
        for name, cells, shape in self._vectors:
            value = step[name]
            if np.shape(value) != shape:
                raise _malformed(f"{name} of shape {shape}", np.shape(value))
            try:
                cells[...] = value
            except (TypeError, ValueError) as e:
                raise _malformed(f"{name} in numbers", type(value).__name__) from e
        for name, cells, kind in self._scalars:
            try:
                cells[0] = kind(step[name])
            except (TypeError, ValueError, OverflowError) as e:
                raise _malformed(f"{name} as {kind.__name__}", step[name]) from e
        if not np.isfinite(self._floats).all():
            raise _malformed("finite numbers", "NaN or infinity")
        self._check_order(step)
        return self._raw.tobytes() + self._encoded_image(step)

    def _check_order(self, step: Mapping[str, Any]) -> None:
        time_ns = int(step["t_monotonic_ns"])
        if self._ended:
            raise _malformed("no step after the last", "another step")
        if bool(step["is_first"]) != (self._count == 0):
            raise _malformed("is_first at the first step alone", f"step {self._count}")
        if step["is_terminal"] and not step["is_last"]:
            raise _malformed("is_terminal at the last step alone", "an earlier step")
        if self._count and time_ns < self._last_ns:
            raise _malformed(f"t_monotonic_ns from {self._last_ns} on", time_ns)

    def kept(self, step: Mapping[str, Any]) -> None:
        """Counts a step whose record was written whole."""
        self._count += 1
        self._ended = bool(step["is_last"])
        self._last_ns = int(step["t_monotonic_ns"])

    def _encoded_image(self, step: Mapping[str, Any]) -> bytes:
        if not self._image:
            return b""
        image = step[_IMAGE]
        if not isinstance(image, bytes) or not image.startswith(b"\xff\xd8"):
            raise _malformed(f"{_IMAGE} encoded as JPEG", "something else")
        return image


def _malformed(expected: str, got: object) -> MalformedEpisodeError:
    return MalformedEpisodeError(_SOURCE, expected, got, _REMEDY)
