"""Makes small episodes for tests; the same arguments give the same episode."""

from pathlib import Path
from typing import Any

import numpy as np

from base import text_forms
from rlds import example_codec, tfrecord
from rlds.episode import Episode, EpisodeMetadata
from rlds.spec import SCHEMA_VERSION, EpisodeSpec, age_field, picture_field
from rlds.writer import EpisodeWriter

PERIOD_NS = 12_500_000

# The smallest gray JPEG, 1 by 1 pixels.
JPEG = bytes.fromhex(
    "ffd8ffe000104a46494600010100000100010000ffdb004300"
    + "01" * 64
    + "ffc0000b080001000101011100ffc40014000100000000000000000000000000000009"
    "ffc40014100100000000000000000000000000000000ffda0008010100003f0054dfffd9"
)


def metadata(number: int = 0, **changes: Any) -> EpisodeMetadata:
    """Returns the metadata of episode `number`, with `changes` to its fields."""
    fields: dict[str, Any] = {
        "schema_version": SCHEMA_VERSION,
        "episode_id": text_forms.format_uuid7(1_767_254_400_000 + number, bytes(10)),
        "robot_hash": "ab" * 32,
        "robot_model": "sawyer",
        "environment_id": "metaworld-reach-v3",
        "package_digest": "cd" * 32,
        "delta_digest": "",
        "channel": "nightly",
        "software_version": "0.1.0",
        "start_time": "2026-01-01T08:00:00Z",
        "location": "52.5,13.4",
        "tags": ("simulated", "größer"),
        "task": "reach-v3",
        "success": True,
        "operator": "expert",
    }
    return EpisodeMetadata(**{**fields, **changes})


def steps(spec: EpisodeSpec, count: int, seed: int = 0) -> list[dict[str, Any]]:
    """Returns `count` steps in the form in which a control loop appends them."""
    random = np.random.default_rng(seed)

    def draw(size: int) -> np.ndarray[Any, np.dtype[np.float32]]:
        return random.standard_normal(size, dtype=np.float32)

    found = []
    for index in range(count):
        step: dict[str, Any] = {
            "observation/state": draw(spec.state_size),
            "action": draw(spec.action_size),
            "proposed_action": draw(spec.action_size),
            "reward": float(draw(1)[0]),
            "discount": 1.0,
            "is_first": index == 0,
            "is_last": index == count - 1,
            "is_terminal": index == count - 1,
            "t_monotonic_ns": index * PERIOD_NS,
            "deadline_missed": index % 3 == 1,
            "safety_violation": index % 4 == 2,
        }
        if spec.image:
            step["observation/image"] = JPEG
        for camera in spec.cameras:
            step[picture_field(camera)] = JPEG
            step[age_field(camera)] = index % 3 * PERIOD_NS
        if spec.audio_size:
            step["observation/audio_mel"] = draw(spec.audio_size)
        if spec.interventions:
            step["intervention"] = index % 3 != 0
        found.append(step)
    return found


def acted(
    states: np.ndarray[Any, Any], actions: np.ndarray[Any, Any]
) -> dict[str, Any]:
    """Returns the steps of an episode of these, which ends well without incident.

    Shapes: states [t n], actions [t a], executed as they were proposed.
    """
    count = len(states)
    index = np.arange(count, dtype=np.int64)
    never = np.zeros(count, np.bool_)
    return {
        "observation/state": states.astype(np.float32),
        "action": actions.astype(np.float32),
        "proposed_action": actions.astype(np.float32),
        "reward": np.zeros(count, np.float32),
        "discount": np.ones(count, np.float32),
        "is_first": index == 0,
        "is_last": index == count - 1,
        "is_terminal": index == count - 1,
        "t_monotonic_ns": index * PERIOD_NS,
        "deadline_missed": never,
        "safety_violation": never,
    }


def episode(
    spec: EpisodeSpec | None = None,
    count: int = 5,
    number: int = 0,
    **changes: Any,
) -> Episode:
    """Returns a whole episode of `count` steps."""
    spec = spec or EpisodeSpec(state_size=3, action_size=2)
    offered = steps(spec, count, seed=number)
    arrays: dict[str, Any] = {}
    for field in spec.step_fields():
        values = [step[field.name] for step in offered]
        arrays[field.name] = (
            values if field.dtype == "jpeg" else np.array(values, field.dtype)
        )
    return Episode(spec, metadata(number, **changes), arrays)


def frame_episode(found: Episode) -> bytes:
    """Returns the content of the episode's file."""
    return tfrecord.frame(example_codec.encode(found))


def record(folder: Path, number: int, count: int, spec: EpisodeSpec) -> EpisodeWriter:
    """Returns an open writer with `count` steps, none of which is marked as last."""
    writer = EpisodeWriter(folder, spec, metadata(number))
    for step in steps(spec, count, seed=number):
        writer.append({**step, "is_last": False, "is_terminal": False})
    return writer
