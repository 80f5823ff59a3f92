"""The page as HTML: plain forms and links, so that it works without its script.

Every text that comes from somewhere else goes through `_escape`. The script only
refreshes what the robot does; styles and script are files of their own, which the
policy of `server.py` allows and nothing else.
"""

import html
from collections.abc import Mapping, Sequence
from typing import Any, Final
from urllib.parse import urlencode

from base.errors import printable

_TITLE: Final = "ContinuonBrain"
_NO_DIGEST: Final = "0" * 64
_ORDERS: Final = (
    ("driving", "drive", ""),
    ("idle", "pause", ""),
    ("asleep", "sleep", ""),
    ("stopped", "stop now", "stop"),
)
_DRIVE_ORDERS: Final = (
    ("driving", "let the package drive", ""),
    ("demonstrating", "show a task", ""),
    ("idle", "pause", ""),
)
_WORDS: Final = (
    ("take_over", "take over, or begin", "yes"),
    ("hand_back", "hand back", ""),
    ("success", "success", ""),
    ("failure", "failure", ""),
    ("left_out", "leave it out", ""),
)
_LABELS: Final = (
    ("success", "success"),
    ("failure", "failure"),
    ("unknown", "not known"),
    ("leave_out", "leave it out"),
)


def encode_said(text: str) -> str:
    """What was done, as the query of the page that says it."""
    return urlencode({"said": text})


def draw_pairing(text: str) -> str:
    """The page for whoever is not paired.

    Args:
        text: what was wrong with the last try; "" for nothing.
    """
    return _page(
        "",
        "<h1>Pair this browser</h1>"
        "<p>The robot shows a code on its terminal, and in its log.</p>"
        f"{_fault(text)}"
        '<form method="post" action="/pair" class="pair">'
        '<label for="code">code</label>'
        '<input id="code" name="code" required autocomplete="off" autofocus '
        'autocapitalize="characters" spellcheck="false" maxlength="16" '
        'placeholder="ABCD-EFGH"><button>pair</button></form>',
    )


def draw_robot(rows: Sequence[tuple[str, str]], csrf: str, said: str) -> str:
    """What the robot does now, and what it can be told."""
    orders = "".join(
        f'<button name="says" value="{word}" class="{kind}">{text}</button>'
        for word, text, kind in _ORDERS
    )
    return _page(
        "robot",
        f"{_note(said)}<h1>Robot</h1>"
        f'<form method="post" action="/robot" class="orders">{_hidden(csrf)}{orders}'
        "</form>"
        f'<dl id="status">{_rows(rows)}</dl>'
        '<p class="note" id="stale" hidden>The robot does not answer.</p>'
        f'<form method="post" action="/update">{_hidden(csrf)}'
        "<button>update now</button></form>"
        f'<form method="post" action="/leave">{_hidden(csrf)}'
        '<button class="quiet">unpair this browser</button></form>'
        '<script src="/page.js" defer></script>',
    )


def draw_driving(axes: int, csrf: str, said: str) -> str:
    """Sticks and keys by which a person drives.

    Args:
        axes: number of components of the robot's action; 0 if it hears no page.
        csrf: what each form says.
        said: what was done; "" for nothing.
    """
    words = "".join(
        f'<button type="button" data-says="{word}" class="{kind}">{text}</button>'
        for word, text, kind in _WORDS
    )
    orders = "".join(
        f'<button name="says" value="{word}" class="{kind}">{text}</button>'
        for word, text, kind in _DRIVE_ORDERS
    )
    hidden = f'{_hidden(csrf)}<input type="hidden" name="from" value="drive">'
    return _page(
        "drive",
        f'{_note(said)}<div id="drive" data-axes="{axes}" data-csrf="{_escape(csrf)}">'
        f'<form method="post" action="/robot" id="stop">{hidden}'
        '<button name="says" value="stopped" class="stop">stop now</button></form>'
        '<p id="seat" role="status">Driving needs the script of this page.</p>'
        '<p id="doing" class="note"></p>'
        f'<div id="words" class="orders">{words}</div>'
        '<div id="sticks"></div>'
        '<label id="speed">speed <input type="range" min="5" max="100" value="50">'
        "<output>50 %</output></label>"
        f'<form method="post" action="/robot" class="orders">{hidden}{orders}</form>'
        '<p class="note keys">Keys: d/a, w/s, e/q, r/f, t/g, u/j, i/k, o/l move; space '
        "takes over, h hands back, y success, n failure, b leaves it out, x stops, "
        '+ and - change the speed.</p></div><script src="/drive.js" defer></script>',
    )


def draw_learning(history: Mapping[str, Any], csrf: str, said: str) -> str:
    """What the robot learned, with the way back."""
    current, good = history["current"], history["good"]
    now = "It drives without anything learned."
    if current:
        kind = "the last good one" if current == good else "on trial"
        now = f"It drives with delta {_escape(current[:12])}, {kind}."
    detail = f"<p>{_escape(history['delta'])}</p>" if history["delta"] else ""
    target = "what it drove well with before"
    if good in ("", current):
        target = "the package as it came"
    back = (
        f'<form method="post" action="/back">{_hidden(csrf)}'
        f'<input type="hidden" name="delta" value="{_escape(current)}">'
        f"<button>go back to {target}</button></form>"
        if current
        else ""
    )
    lines = "".join(
        f"<tr><td>{_escape(row['time'])}</td><td>{_escape(row['outcome'])}</td>"
        f"<td>{row['kind']} {_escape(row['subject'] or '-')}</td>"
        f"<td>{_escape(row['reason'])}</td></tr>"
        for row in history["rows"]
    )
    table = (
        '<div class="wide"><table><thead><tr><th>when</th><th>what</th><th>which</th>'
        f"<th>why</th></tr></thead><tbody>{lines}</tbody></table></div>"
    )
    return _page(
        "learning",
        f"{_note(said)}<h1>Learning</h1><p>{now}</p>{detail}{back}<h2>History</h2>"
        + (table if lines else "<p>Nothing yet.</p>"),
    )


def draw_list(episodes: Sequence[Mapping[str, Any]], more: str, said: str) -> str:
    """The newest episodes, with what becomes of each."""
    cards = "".join(map(_draw_card, episodes))
    older = (
        f'<p><a class="button" href="/episodes?before={_escape(more)}">'
        "older ones</a></p>"
        if more
        else ""
    )
    return _page(
        "episodes",
        f"{_note(said)}<h1>Episodes</h1>"
        '<p class="note">Each is the redacted copy that would leave, never the '
        "recording itself.</p>"
        + (f'<ul class="cards">{cards}</ul>' if cards else "<p>None yet.</p>")
        + older,
    )


def _draw_card(row: Mapping[str, Any]) -> str:
    picture = f'<img alt="" src="{_escape(row["picture"])}">' if row["picture"] else ""
    leaves = " leaves" if row["leaves"] else ""
    told = [row["date"], f"{row['steps']:,} steps" if row["here"] else "not here"]
    told += [row["success"]] if row["success"] else []
    return (
        f'<li><a href="/episodes/{_escape(row["name"])}">{picture}'
        f"<b>{_escape(row['task'] or row['name'])}</b>"
        f"<span>{_escape(' · '.join(told))}</span>"
        f'<span class="state{leaves}">{_escape(row["state"])}</span></a></li>'
    )


def draw_episode(told: Mapping[str, Any], csrf: str, said: str) -> str:
    """One episode: what would leave, beside what was masked, and what is decided."""
    name = _escape(told["name"])
    preview = (
        f'<iframe title="the redacted episode" src="/preview/{name}" '
        'sandbox="allow-scripts"></iframe>'
        f'<p><a href="/preview/{name}">the whole preview</a></p>'
        if told["here"]
        else "<p>Its copy is not on this robot any more.</p>"
    )
    content = "\n".join(told["content"])
    leaves = " leaves" if told["leaves"] else ""
    return _page(
        "episodes",
        f"{_note(said)}<h1>{_escape(told['task'] or 'Episode')}</h1>"
        f'<p class="state{leaves}">{_escape(told["state"])}</p>'
        f"{_draw_decisions(told, csrf)}"
        f'<div class="beside"><section>{preview}</section><section>'
        "<h2>What would leave, and what was done to it</h2>"
        f"<pre>{_escape(content)}</pre></section></div>",
    )


def _draw_decisions(told: Mapping[str, Any], csrf: str) -> str:
    sha256 = told["sha256"] or _NO_DIGEST
    where = f'method="post" action="/episodes/{_escape(told["name"])}"'
    buttons = []
    if told["here"]:
        buttons += [
            '<button name="says" value="granted" class="yes">let it leave</button>',
            '<button name="says" value="refused">keep it here</button>',
        ]
    if told["here"] or told["sent"]:
        text = "take it back and erase it" if told["sent"] else "delete it"
        buttons.append(
            f'<button name="says" value="taken_back" class="stop">{text}</button>'
        )
    decide = (
        f'<form {where} class="orders">{_hidden(csrf)}'
        f'<input type="hidden" name="sha256" value="{_escape(sha256)}">'
        f"{''.join(buttons)}</form>"
        if buttons
        else ""
    )
    if not told["here"] or told["sent"]:
        return decide
    labels = "".join(
        f'<button name="says" value="{word}">{text}</button>' for word, text in _LABELS
    )
    return (
        f'{decide}<form {where} class="orders">{_hidden(csrf)}'
        f"<span>how it went: {_escape(told['success'])}</span>{labels}</form>"
    )


def _page(here: str, body: str) -> str:
    links = "".join(
        f'<a href="{path}"{" aria-current=page" if name == here else ""}>{name}</a>'
        for name, path in (
            ("robot", "/"),
            ("drive", "/drive"),
            ("episodes", "/episodes"),
            ("learning", "/learning"),
        )
    )
    menu = f"<nav>{links}</nav>" if here else ""
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f'<title>{_TITLE}</title><link rel="stylesheet" href="/page.css">'
        '<link rel="icon" href="data:,"></head>'
        f"<body>{menu}<main>{body}</main></body></html>\n"
    )


def _rows(rows: Sequence[tuple[str, str]]) -> str:
    return "".join(
        f"<dt>{_escape(name)}</dt><dd>{_escape(text)}</dd>" for name, text in rows
    )


def _hidden(csrf: str) -> str:
    return f'<input type="hidden" name="csrf" value="{_escape(csrf)}">'


def _note(text: str) -> str:
    return f'<p class="said" role="status">{_escape(text)}</p>' if text else ""


def _fault(text: str) -> str:
    return f'<p class="fault" role="alert">{_escape(text)}</p>' if text else ""


def _escape(text: object) -> str:
    return html.escape("\n".join(map(printable, str(text).split("\n"))))
