"""An episode as a recording for the Rerun viewer, with one time for all of it.

Pictures are those of the episode, as they are. The library is 170 MB and an own layer:
programs have it with --config=rerun, and it is imported when such a file is asked for.
It writes into memory and speaks to nobody.
"""

import importlib
from collections.abc import Sequence
from typing import Any, Final

import numpy as np

from rlds.errors import ShowError
from rlds.show import facts
from rlds.show.channel_names import Channel, ChannelNames
from rlds.show.found import Found

TIMELINE: Final = "episode"
"""Seconds from its first step."""
APPLICATION: Final = "continuon"


def render(found: Found, names: ChannelNames) -> bytes:
    """Returns the recording.

    | Entity | What |
    |---|---|
    | `state`, `action`, `proposed_action` | a curve for each channel |
    | `reward`, `sound` | one curve; one for each band |
    | `marks/…` | 1 in steps that have what `facts.MARKS` lists, else 0 |
    | `camera/…` | the pictures |
    | `about` | what the head of a page says |

    Raises:
        ShowError: the library is not here, or `names` do not fit.
    """
    rerun = _load()
    episode, steps = found.episode, found.episode.steps
    recording = rerun.RecordingStream(
        APPLICATION, recording_id=episode.metadata.episode_id
    )
    memory = rerun.memory_recording(recording=recording)
    time = rerun.TimeColumn(TIMELINE, duration=facts.seconds(episode))

    def send(entity: str, columns: Any) -> None:  # noqa: ANN401 - of the library
        rerun.send_columns(entity, indexes=[time], columns=columns, recording=recording)

    def draw(entity: str, values: Any, lines: Sequence[str] = ()) -> None:  # noqa: ANN401
        send(entity, rerun.Scalars.columns(scalars=np.asarray(values, np.float64)))
        if lines:
            style = rerun.SeriesLines(names=list(lines))
            recording.log(entity, style, static=True)

    source = str(found.path)
    state = names.name("state", episode.spec.state_size, source)
    action = _label(names.name("action", episode.spec.action_size, source))
    draw("state", steps["observation/state"], _label(state))
    draw("action", steps["action"], action)
    draw("proposed_action", steps["proposed_action"], action)
    draw("reward", steps["reward"])
    if episode.spec.audio_size:
        draw("sound", steps["observation/audio_mel"])
    for mark, has in facts.mark_steps(episode).items():
        draw(f"marks/{mark}", has)
    for camera, pictures in facts.pictures(episode).items():
        kinds = ["image/jpeg"] * len(pictures)
        columns = rerun.EncodedImage.columns(blob=list(pictures), media_type=kinds)
        send(f"camera/{camera}", columns)
    told = "\n".join(f"{name}: {text}" for name, text in facts.describe(found))
    recording.log("about", rerun.TextDocument(told), static=True)
    raw: bytes = memory.drain_as_bytes()
    return raw


def _label(channels: Sequence[Channel]) -> list[str]:
    return [f"{one.name} ({one.unit})" if one.unit else one.name for one in channels]


def _load() -> Any:  # noqa: ANN401 - a module
    try:
        return importlib.import_module("rerun")
    except ImportError as e:
        raise ShowError(
            "--output",
            "rerun-sdk, for a recording of Rerun",
            str(e),
            "start with `./bazelw run --config=rerun //rlds:show`, or name an --output"
            " that ends in .html",
        ) from e
