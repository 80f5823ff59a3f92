"""One episode as one HTML page, which needs no other file and loads nothing.

The curves are drawn here, so that a page without scripts shows them too; its script
only moves the time. What the page holds does not grow with the episode beyond these
limits: curves have buckets (`curves.py`), and of values and pictures every so manieth
is kept, which the page says.
"""

import base64
import functools
import html
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np

from base.errors import printable
from rlds.episode import Array, Episode
from rlds.show import curves, facts, spectrogram
from rlds.show.channel_names import Channel, ChannelNames
from rlds.show.found import Found

MOST_VALUES: Final = 1_000_000
"""Values behind the number beside each curve: 4 MB, and 5.4 MB as text."""
MOST_PICTURE_BYTES: Final = 24_000_000
"""Pictures of a page, in bytes: what a phone opens and a mail takes."""
_FEW_CHANNELS: Final = 12

_POLICY: Final = (
    "default-src 'none'; img-src data:; style-src 'unsafe-inline'; "
    "script-src 'unsafe-inline'"
)


def render(found: Found, names: ChannelNames, index: str = "") -> str:
    """Returns the page of an episode as HTML text.

    Args:
        found: the episode, and what is beside it.
        names: what the channels are called.
        index: name of the page that lists this one and others; "" for none.

    Raises:
        ShowError: `names` has another number of channels than the episode.
    """
    episode = found.episode
    groups = _group(episode)
    state = names.name("state", episode.spec.state_size, str(found.path))
    action = names.name("action", episode.spec.action_size, str(found.path))
    pictures, picture_every = _take_pictures(episode)
    body = [
        f'<p><a href="{_escape(index)}">all episodes</a></p>' if index else "",
        _draw_head(found, pictures),
        _draw_marks(episode),
        _draw_actions(groups, action),
        _draw_group(_head("State", state), "state", groups["state"], state),
        _draw_others(groups, episode.steps.get("observation/audio_mel")),
        _draw_bar(episode, pictures),
    ]
    content = _encode_data(episode, groups, pictures, picture_every)
    script = (
        f'<script type="application/json" id="data">{content}</script>'
        f"<script>{read_asset('page.js')}</script>"
    )
    return make_page(_title(found), "".join(body) + script)


def make_page(title: str, body: str) -> str:
    """Returns a whole HTML page; `body` is HTML."""
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{_escape(title)}</title><style>{read_asset('page.css')}</style>"
        f"</head><body>{body}</body></html>\n"
    )


@functools.cache
def read_asset(name: str) -> str:
    """Reads a file of this folder that becomes part of a page."""
    return (Path(__file__).parent / name).read_text()


def badge(success: bool | None) -> str:
    """Says how an episode went, as HTML."""
    kind = {True: " yes", False: " no", None: ""}[success]
    return f'<span class="badge{kind}">{facts.SUCCESS[success]}</span>'


def _escape(text: str) -> str:
    return html.escape(printable(text))


def _title(found: Found) -> str:
    return f"{found.episode.metadata.task or 'episode'} · {found.name}"


def _group(episode: Episode) -> dict[str, Array]:
    """The values behind the curves, [T, C] f32 by the name of their group."""
    steps = episode.steps
    groups = {
        "state": steps["observation/state"],
        "action": steps["action"],
        "proposed": steps["proposed_action"],
        "reward": steps["reward"][:, None],
    }
    if episode.spec.audio_size:
        groups["sound"] = steps["observation/audio_mel"].mean(axis=1, keepdims=True)
    return groups


def _draw_head(found: Found, pictures: Mapping[str, Sequence[bytes]]) -> str:
    rows = "".join(
        f"<dt>{_escape(name)}</dt><dd>{_escape(text)}</dd>"
        for name, text in facts.describe(found)
    )
    images = "".join(
        f'<img class="now" data-camera="{number}" alt="{name}"'
        f' title="{name}" src="{picture_uri(of_camera[0])}">'
        for number, (name, of_camera) in enumerate(pictures.items())
    )
    image = f"<div>{images}</div>" if images else ""
    return (
        f"<h1>{_escape(_title(found))}</h1>"
        f"<p>{badge(found.episode.metadata.success)}</p>"
        + (f'<p class="fault">{_escape(found.fault)}</p>' if found.fault else "")
        + (f'<p class="note">{_escape(found.note)}</p>' if found.note else "")
        + f'<div class="top{" seen" if image else ""}">{image}<dl>{rows}</dl></div>'
    )


def picture_uri(picture: bytes) -> str:
    """Returns a picture as a URI that holds it."""
    return f"data:image/jpeg;base64,{base64.b64encode(picture).decode()}"


def _draw_marks(episode: Episode) -> str:
    marks = facts.mark_steps(episode)
    rows = [
        f'<figure class="strip {name}"><figcaption><b>{told}</b><span class="range">'
        f"{int(np.count_nonzero(marks[name])):,} of {episode.num_steps:,} steps</span>"
        f"</figcaption>{_svg(_mark_path(marks[name]))}</figure>"
        for name, told in facts.MARKS
        if name in marks and marks[name].any()
    ]
    return "<h2>What happened</h2>" + ("".join(rows) or "<p>Nothing to mark.</p>")


def _mark_path(marked: Array) -> str:
    return f'<path class="mark" d="{curves.draw_marks(marked)}"/>'


def _draw_actions(groups: Mapping[str, Array], channels: Sequence[Channel]) -> str:
    action, proposed = groups["action"], groups["proposed"]
    figures = []
    for number, channel in enumerate(channels):
        both = np.stack((action[:, number], proposed[:, number]))
        low, high = float(both.min()), float(both.max())
        applied = f'<path d="{curves.draw_curve(both[0], low, high)}"/>'
        wanted = ""
        differs = int(np.count_nonzero(both[0] != both[1]))
        if differs:
            drawn = curves.draw_curve(both[1], low, high)
            wanted = f'<path class="proposed" d="{drawn}"/>'
        figures.append(
            _figure(
                channel, "action", number, (low, high), wanted + applied, "proposed"
            )
        )
    key = (
        '<small><span class="key"></span>applied'
        '<span class="key proposed"></span>proposed, where it differs</small>'
    )
    return f"<h2>{_head('Action', channels)} {key}</h2>{_grid(figures)}"


def _head(title: str, channels: Sequence[Channel]) -> str:
    """The heading of channels; where none has a unit, they are the robot's own."""
    if any(channel.unit for channel in channels):
        return title
    return f"{title} <small>in the robot's own units</small>"


def _draw_group(
    title: str, name: str, values: Array, channels: Sequence[Channel]
) -> str:
    """Draws a curve for each channel that changes, and a line about the others."""
    lows, highs = values.min(axis=0), values.max(axis=0)
    still = [
        number
        for number in range(len(channels))
        if curves.is_still(float(lows[number]), float(highs[number]))
    ]
    figures = []
    for number, channel in enumerate(channels):
        low, high = float(lows[number]), float(highs[number])
        if not curves.is_still(low, high):
            drawn = curves.draw_curve(values[:, number], low, high)
            path = f'<path d="{drawn}"/>'
            figures.append(_figure(channel, name, number, (low, high), path))
    unchanged = ", ".join(
        f"{_escape(channels[number].name)} = {curves.format_number(lows[number])}"
        for number in still
    )
    rest = f'<p class="note">Did not change: {unchanged}.</p>' if unchanged else ""
    return f"<h2>{title}</h2>{_grid(figures)}{rest}"


def _draw_others(groups: Mapping[str, Array], sound: Array | None) -> str:
    reward = _draw_group("Reward", "reward", groups["reward"], [Channel("reward")])
    if sound is None:
        return reward
    return f"{reward}<h2>Sound</h2>{_draw_sound(sound, groups['sound'])}"


def _draw_sound(powers: Array, mean: Array) -> str:
    """Draws the powers [T M] of all bands; beside it is their mean [T 1]."""
    heard = powers[np.any(powers != 0, axis=1)]
    if not len(heard):
        return '<p class="note">None was heard.</p>'
    limits = float(heard.min()), float(heard.max())
    uri = base64.b64encode(spectrogram.draw(powers, *limits)).decode()
    image = (
        f'<image href="data:image/png;base64,{uri}" width="{curves.WIDTH}"'
        f' height="{curves.HEIGHT}" preserveAspectRatio="none"/>'
    )
    told = Channel(f"{powers.shape[1]} bands, the lowest below", "log power")
    return _grid([_figure(told, "sound", 0, limits, image)])


def _grid(figures: Sequence[str]) -> str:
    many = " many" if len(figures) > _FEW_CHANNELS else ""
    return f'<div class="grid{many}">{"".join(figures)}</div>'


def _figure(
    channel: Channel,
    group: str,
    number: int,
    limits: tuple[float, float],
    paths: str,
    other: str = "",
) -> str:
    low, high = curves.format_limits(*limits)
    unit = f'<span class="unit">{_escape(channel.unit)}</span>' if channel.unit else ""
    return (
        f"<figure><figcaption><b>{_escape(channel.name)}</b>{unit}"
        f'<span class="range">{low} to {high}</span>'
        f'<output data-group="{group}" data-channel="{number}" data-other="{other}">'
        f"</output></figcaption>{_svg(paths)}</figure>"
    )


def _svg(paths: str) -> str:
    size = f"0 0 {curves.WIDTH} {curves.HEIGHT}"
    return (
        f'<svg viewBox="{size}" preserveAspectRatio="none">{paths}'
        f'<line x1="0" x2="0" y1="0" y2="{curves.HEIGHT}"/></svg>'
    )


def _draw_bar(episode: Episode, pictures: Mapping[str, Sequence[bytes]]) -> str:
    mini = "".join(
        f'<img class="now mini" data-camera="{number}" alt="{name}">'
        for number, name in enumerate(pictures)
    )
    last = episode.num_steps - 1
    return (
        f'<div class="bar"><div>{mini}<button id="play">play</button>'
        f'<input id="step" type="range" min="0" max="{last}" value="0" '
        'aria-label="step"></div><output id="told"></output></div>'
    )


def _take_pictures(episode: Episode) -> tuple[dict[str, list[bytes]], int]:
    """Takes as many pictures as a page may hold, evenly.

    Returns:
        The pictures by what they are called, and every how manieth they are.
    """
    pictures = facts.pictures(episode)
    size_bytes = sum(len(one) for of_camera in pictures.values() for one in of_camera)
    every = max(1, math.ceil(size_bytes / MOST_PICTURE_BYTES))
    return {name: list(found[::every]) for name, found in pictures.items()}, every


def _encode_data(
    episode: Episode,
    groups: Mapping[str, Array],
    pictures: Mapping[str, Sequence[bytes]],
    picture_every: int,
) -> str:
    """Returns what the script needs, as JSON that may stand inside HTML."""
    count = episode.num_steps
    every = max(1, math.ceil(sum(v.size for v in groups.values()) / MOST_VALUES))
    marks = facts.mark_steps(episode)
    value: dict[str, Any] = {
        "steps": count,
        "seconds": float(facts.seconds(episode)[-1]),
        "every": every,
        "times": _pack(facts.seconds(episode)[::every]),
        "groups": {
            name: {"size": found.shape[1], "values": _pack(found[::every])}
            for name, found in groups.items()
        },
        "marks": [
            [told, curves.find_runs(marks[name])]
            for name, told in facts.MARKS
            if name in marks
        ],
        "pictures": [
            [base64.b64encode(picture).decode() for picture in of_camera]
            for of_camera in pictures.values()
        ],
        "picture_every": picture_every,
    }
    return json.dumps(value, separators=(",", ":")).replace("<", "\\u003c")


def _pack(values: Array) -> str:
    return base64.b64encode(np.ascontiguousarray(values, "<f4").tobytes()).decode()
