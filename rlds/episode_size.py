"""How large an episode becomes, step by step, so that it stays one that readers take.

Readers bound the bytes of a file, its steps, and its images. The size is counted as an
upper bound, because it is asked before each step and must cost almost nothing.
"""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from rlds import example_codec, protobuf, tfrecord
from rlds.episode import EpisodeMetadata
from rlds.spec import MAX_STEPS, EpisodeSpec

# Bytes of one element at most; an int64 is a varint.
_ELEMENT_BYTES = {"float32": 4, "int64": 10, "bool": 1}
_IMAGE_OVERHEAD_BYTES = 6  # its tag and its length
# The lengths of the messages around a field, each of which grows with its content.
_LENGTHS_BYTES = 32
# What recovery and redaction may add to the metadata: a tag, a hash for a name.
_METADATA_BYTES = 4096


class EpisodeSize:
    """Counts the steps and the bytes of an episode that is being recorded."""

    def __init__(
        self, spec: EpisodeSpec, metadata: EpisodeMetadata, limit_bytes: int
    ) -> None:
        """Begins with an episode without steps.

        Args:
            spec: sizes of the step fields.
            metadata: the fields of the episode as a whole.
            limit_bytes: largest file that readers take.
        """
        fields = spec.step_fields()
        numbers = [field for field in fields if field.dtype != "jpeg"]
        none: dict[str, Any] = {
            field.name: [] if field.dtype == "jpeg" else np.zeros(0, field.dtype)
            for field in fields
        }
        empty = example_codec.encode_parts(spec, metadata, none)
        self._bytes = len(empty) + tfrecord.OVERHEAD_SIZE_BYTES + _METADATA_BYTES
        self._bytes += _LENGTHS_BYTES * (len(fields) + len(spec.episode_fields()))
        self._step_bytes = sum(
            _ELEMENT_BYTES[field.dtype] * math.prod(int(n) for n in field.shape)
            for field in numbers
        )
        self._step_bytes += _IMAGE_OVERHEAD_BYTES * len(spec.picture_fields)
        self._limit_bytes = limit_bytes
        self._steps = 0
        self._most_steps = MAX_STEPS
        if spec.picture_fields:
            self._most_steps = min(MAX_STEPS, protobuf.MAX_FIELDS)

    def fits(self, image_bytes: int = 0) -> bool:
        """Whether readers take the episode with one step more, of these pictures."""
        size = self._bytes + self._step_bytes + image_bytes
        return self._steps < self._most_steps and size <= self._limit_bytes

    def add(self, image_bytes: int = 0) -> None:
        """Counts a step."""
        self._bytes += self._step_bytes + image_bytes
        self._steps += 1

    def count_fitting(self, pictures: Sequence[Sequence[bytes]], num_steps: int) -> int:
        """Counts how many of the next steps fit, from the first on.

        Args:
            pictures: of each camera the picture of each of the steps.
            num_steps: number of steps.
        """
        each = np.full(num_steps, self._step_bytes, np.int64)
        for images in pictures:
            each += np.fromiter(map(len, images), np.int64, num_steps)
        room = np.searchsorted(
            np.cumsum(each), self._limit_bytes - self._bytes, "right"
        )
        return min(int(room), self._most_steps - self._steps, num_steps)
