"""Removes what is sensitive from a field: one pure function per transform.

`rlds.spec` names the transform of each sensitive field; the functions here implement
them on a robot. There is no transform for images yet, so they stay on the robot.
"""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

import numpy as np
import numpy.typing as npt

from edge.errors import RedactionError
from rlds import coarse_sound
from rlds.spec import KNOWN_TAGS, SOUND_HOLD_NS

_MAX_DEGREES = (90.0, 180.0)


def coarsen_time(text: str) -> str:
    """Cuts an RFC 3339 time down to its hour, in UTC.

    Raises:
        RedactionError: the text is not an RFC 3339 time with a time zone.
    """
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as e:
        raise RedactionError("start_time", "an RFC 3339 time", f"{text!r}") from e
    if moment.tzinfo is None:
        raise RedactionError("start_time", "a time zone", f"{text!r}")
    in_utc = moment.astimezone(UTC).replace(tzinfo=None)
    return in_utc.isoformat(timespec="hours") + ":00:00Z"


def coarsen_location(text: str) -> str:
    """Rounds `latitude,longitude` in degrees to a tenth of a degree.

    That is about 11 km from north to south. An empty text, for a robot that does not
    know its location, stays empty.

    Raises:
        RedactionError: the text is not such a pair; the error does not quote it, since
            it might be an address.
    """
    if not text:
        return ""
    parts = text.split(",")
    try:
        degrees = [float(part) for part in parts]
    except ValueError:
        degrees = []
    if len(degrees) != 2:
        raise _wrong_location("other text")
    if not all(
        abs(value) <= limit for value, limit in zip(degrees, _MAX_DEGREES, strict=True)
    ):
        raise _wrong_location("a number outside -90 to 90, -180 to 180")
    # Adding 0.0 turns a rounded -0.0 into 0.0.
    return ",".join(f"{round(value, 1) + 0.0:.1f}" for value in degrees)


def _wrong_location(got: str) -> RedactionError:
    return RedactionError(
        "--location",
        "latitude,longitude in degrees such as 52.5,13.4",
        f"{got}, which is not repeated here",
        "correct it",
    )


def allow_tags(tags: tuple[str, ...]) -> tuple[str, ...]:
    """Keeps the tags that are in `rlds.spec.KNOWN_TAGS`, in their order."""
    return tuple(tag for tag in tags if tag in KNOWN_TAGS)


def hide_text(text: str, keyed_hash: Callable[[str], str]) -> str:
    """Puts a keyed hash in the place of a text: equal texts of a robot stay equal."""
    return f"unlisted-{keyed_hash(text)[:12]}"


def count_from_first_step(
    values: npt.NDArray[np.int64], steps: Mapping[str, Any]
) -> npt.NDArray[np.int64]:
    """Counts the times of the steps from the first one, [t] in ns.

    The clock of a robot counts from its last start, or from 1970.
    """
    del steps
    since: npt.NDArray[np.int64] = values - values[0]
    return since


def coarsen_sound(
    values: npt.NDArray[np.float32], steps: Mapping[str, Any]
) -> npt.NDArray[np.float32]:
    """Makes log-mel powers so coarse in time that no word is left, [t m]."""
    return coarse_sound.coarsen(values, np.asarray(steps["t_monotonic_ns"]))


def settle_cut(steps: Mapping[str, Any]) -> dict[str, Any]:
    """Counts the times from the first step that was left, and lets its sound hold.

    Where the cut left a part of a second of sound, that lasts over the next one:
    a step is told nothing that it has not heard yet.
    """
    times = count_from_first_step(steps["t_monotonic_ns"], steps)
    settled = {**steps, "t_monotonic_ns": times}
    if (sound := steps.get("observation/audio_mel")) is not None:
        changes = np.flatnonzero((sound[1:] != sound[:-1]).any(axis=1)) + 1
        if changes.size and times[changes[0]] < SOUND_HOLD_NS:
            until = changes[1] if changes.size > 1 else len(sound)
            settled["observation/audio_mel"] = sound.copy()
            settled["observation/audio_mel"][:until] = sound[0]
    return settled
