"""What a robot sensed in an episode, for a package that is shown it again."""

from typing import Any, Final

import numpy as np
import numpy.typing as npt

from edge.errors import ReplayError
from edge.robots.clock import NS_PER_S
from edge.robots.robot import (
    LOWEST_SOUND_HZ,
    MAX_BANDS,
    Camera,
    Microphone,
    Observation,
    Picture,
    Sound,
)
from rlds import coarse_sound, jpeg_segments
from rlds.episode import Episode
from rlds.spec import NO_PICTURE_AGE, age_field, picture_field

_SOUND: Final = "observation/audio_mel"
_NAMES: Final = ("camera", "image")
"""Of a camera without a name, as a robot that exists has none: one that is free."""
_OTHER: Final = "choose another episode"


def list_observations(episode: Episode) -> list[Observation]:
    """Returns the observation of each step, with the pictures and sound that it had.

    A camera without a name is "", and its pictures are as old as the step. A step of
    zeros has no sound.
    """
    steps = episode.steps
    heard = steps.get(_SOUND)
    is_coarse = (
        heard is not None
        and coarse_sound.find_fault(heard, steps["t_monotonic_ns"]) is None
    )
    times_ns = steps["t_monotonic_ns"].tolist()
    found = []
    for number, now_ns in enumerate(times_ns):
        pictures = {}
        if episode.spec.image:
            jpeg = steps[picture_field("")][number]
            pictures[""] = Picture(jpeg, now_ns)
        for camera in episode.spec.cameras:
            age_ns = int(steps[age_field(camera)][number])
            if age_ns != NO_PICTURE_AGE:
                jpeg = steps[picture_field(camera)][number]
                pictures[camera] = Picture(jpeg, now_ns - age_ns)
        state = steps["observation/state"][number]
        sound = None
        if heard is not None and heard[number].any():
            sound = Sound(heard[number], now_ns, is_coarse)
        found.append(Observation(state, now_ns, pictures=pictures, sound=sound))
    return found


def list_cameras(episode: Episode, source: str, control_hz: float) -> dict[str, Camera]:
    """Returns the cameras of an episode, each as that of a robot.

    Its size is that of its first picture, its rate what lies between most of them.

    Args:
        episode: the episode.
        source: its name, for errors.
        control_hz: rate of a camera that took one picture only, or that has no name.

    Returns:
        A camera for each name in the episode; that of "" gets a name.

    Raises:
        ReplayError: a picture is broken, or no camera can have taken it so; the text
            names the step.
    """
    spec, times_ns = episode.spec, episode.steps["t_monotonic_ns"]
    found = {}
    unnamed = [""] if spec.image else []
    for name in (*unnamed, *spec.cameras):
        field = picture_field(name)
        jpegs = episode.steps[field]
        hz = control_hz
        if name:
            ages_ns = episode.steps[age_field(name)]
            _require_ages(ages_ns, source, age_field(name))
            hz = _find_rate(times_ns, ages_ns) or control_hz
        own = name or next(one for one in _NAMES if one not in spec.cameras)
        frame = _require_whole(jpegs, source, field)
        try:
            found[name] = Camera(own, frame.width, frame.height, hz)
        except ValueError as e:
            raise ReplayError(f"{source}: {field}", "a camera", str(e), _OTHER) from e
    return found


def find_microphone(
    episode: Episode, source: str, control_hz: float
) -> Microphone | None:
    """Returns the microphone of an episode; None if nothing was heard in it.

    How often it gave something new is not recorded: once in each step.

    Raises:
        ReplayError: no microphone has so many bands.
    """
    bands = episode.spec.audio_size
    if bands > MAX_BANDS:
        raise ReplayError(
            f"{source}: {_SOUND}", f"at most {MAX_BANDS} bands", bands, _OTHER
        )
    return Microphone(max(control_hz, LOWEST_SOUND_HZ), bands) if bands else None


def _find_rate(times_ns: npt.NDArray[Any], ages_ns: npt.NDArray[Any]) -> float | None:
    """Pictures per second of a camera; None if it took fewer than two."""
    there = ages_ns != NO_PICTURE_AGE
    taken_ns = np.unique(times_ns[there] - ages_ns[there])
    if len(taken_ns) < 2:
        return None
    return NS_PER_S / float(np.median(np.diff(taken_ns)))


def _require_ages(ages_ns: npt.NDArray[Any], source: str, field: str) -> None:
    wrong = ages_ns < NO_PICTURE_AGE
    if wrong.any():
        step = int(wrong.argmax())
        raise ReplayError(
            f"{source}: {field} of step {step}",
            f"an age, or {NO_PICTURE_AGE} for no picture",
            int(ages_ns[step]),
            _OTHER,
        )


def _require_whole(
    jpegs: tuple[bytes, ...], source: str, field: str
) -> jpeg_segments.Frame:
    """Checks each picture and returns what the first says of its size.

    No pixel is decoded: an episode has thousands.
    """
    first = None
    last = b""
    for step, jpeg in enumerate(jpegs):
        if jpeg == last:  # held
            continue
        frame, last = jpeg_segments.read_frame(jpeg), jpeg
        if frame is None or not jpeg.endswith(b"\xff\xd9"):
            raise ReplayError(
                f"{source}: {field} of step {step}",
                "a whole JPEG",
                f"{len(jpeg)} bytes that are none",
                _OTHER,
            )
        first = first or frame
    assert first is not None  # an episode has a step
    return first
