"""Writes one episode as an MCAP file, with messages in JSON that Foxglove shows.

Each field of a step is a topic of its own, at the time of the step; pictures are
`foxglove.CompressedImage`. What is said of the whole episode is one metadata record.
"""

import base64
import json
import pathlib
from typing import Any

import numpy as np
from mcap.writer import CompressionType, Writer

from base import project_version
from rlds.episode import Episode
from rlds.spec import PICTURE_PREFIX

METADATA = "episode"
_NS_PER_S = 1_000_000_000
_VALUES = {
    "title": "continuon.Values",
    "type": "object",
    "properties": {"values": {"type": "array", "items": {"type": "number"}}},
}
_STAMP = {
    "type": "object",
    "title": "time",
    "properties": {"sec": {"type": "integer"}, "nsec": {"type": "integer"}},
}
_PICTURE = {
    "title": "foxglove.CompressedImage",
    "type": "object",
    "properties": {
        "timestamp": _STAMP,
        "frame_id": {"type": "string"},
        "data": {"type": "string", "contentEncoding": "base64"},
        "format": {"type": "string"},
    },
}


def write(path: pathlib.Path, episode: Episode) -> None:
    """Writes the file, which must not be there yet.

    Raises:
        OSError: it cannot be written.
    """
    with path.open("xb") as stream:
        writer = Writer(stream, compression=CompressionType.ZSTD)
        library = f"continuon {project_version.VERSION}"
        writer.start(profile="", library=library)
        own = {
            field.name: _text(getattr(episode.metadata, field.name))
            for field in episode.spec.episode_fields()
        }
        writer.add_metadata(METADATA, own)
        topics = _register(writer, episode)
        fields = episode.spec.step_fields()
        pictures = {
            field.name: field.name.partition(PICTURE_PREFIX)[2] or "camera"
            for field in fields
            if field.dtype == "jpeg"
        }
        times_ns = episode.steps["t_monotonic_ns"]
        for step in range(episode.num_steps):
            time_ns = int(times_ns[step])
            for name, channel in topics.items():
                value = episode.steps[name][step]
                if name in pictures:
                    data = _show(value, time_ns, pictures[name])
                else:
                    data = _state(value)
                writer.add_message(channel, time_ns, data, time_ns, sequence=step)
        writer.finish()


def _register(writer: Writer, episode: Episode) -> dict[str, int]:
    values = writer.register_schema(
        str(_VALUES["title"]), "jsonschema", json.dumps(_VALUES).encode()
    )
    picture = writer.register_schema(
        str(_PICTURE["title"]), "jsonschema", json.dumps(_PICTURE).encode()
    )
    return {
        field.name: writer.register_channel(
            f"/{field.name}",
            "json",
            picture if field.dtype == "jpeg" else values,
            {"unit": field.unit, "description": field.doc},
        )
        for field in episode.spec.step_fields()
    }


def _show(picture: bytes, time_ns: int, camera: str) -> bytes:
    seconds, rest_ns = divmod(time_ns, _NS_PER_S)
    return json.dumps(
        {
            "timestamp": {"sec": seconds, "nsec": rest_ns},
            "frame_id": camera,
            "data": base64.b64encode(picture).decode(),
            "format": "jpeg",
        }
    ).encode()


def _state(value: Any) -> bytes:  # noqa: ANN401 - numpy
    # A number of 32 bits is the same again after the digits that Python writes.
    return json.dumps({"values": np.asarray(value).reshape(-1).tolist()}).encode()


def _text(value: object) -> str:
    """Returns one value of an episode as the text that a record of MCAP holds."""
    if isinstance(value, tuple):
        return json.dumps(value)
    if value is None:
        return "unknown"
    return str(value).lower() if isinstance(value, bool) else str(value)
