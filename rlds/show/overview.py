"""The page that lists several episodes, each with a link to its own page."""

import dataclasses
import html
from collections.abc import Sequence

import numpy as np

from base.errors import printable
from rlds.show import facts, page
from rlds.show.found import Found


@dataclasses.dataclass(frozen=True)
class Listed:
    """What the list says of one episode.

    Attributes:
        file: name of its page.
        cells: what it says, as HTML.
    """

    file: str
    cells: tuple[str, ...]


_HEADS = (
    *("", "episode", "task", "how it went", "who acted", "steps", "s", "late"),
    *("violations", "notes"),
)
_NUMBERS = frozenset({"steps", "s", "late", "violations"})


def list_episode(found: Found, file: str) -> Listed:
    """Returns the row of an episode whose page is `file`."""
    episode, own = found.episode, found.episode.metadata
    marks = facts.mark_steps(episode)
    image = "".join(
        f'<img alt="" src="{page.picture_uri(found[0])}">'
        for found in facts.pictures(episode).values()
    )
    notes = [*own.tags, *(["see its page: " + found.fault] if found.fault else [])]
    return Listed(
        file,
        (
            image,
            f'<a href="{_escape(file)}">{_escape(found.name)}</a>',
            _escape(own.task),
            page.badge(own.success),
            _escape(facts.tell_actor(episode)),
            f"{episode.num_steps:,}",
            f"{float(facts.seconds(episode)[-1]):.1f}",
            f"{int(np.count_nonzero(marks['deadline_missed'])):,}",
            f"{int(np.count_nonzero(marks['safety_violation'])):,}",
            _escape(", ".join(notes)),
        ),
    )


def render(title: str, rows: Sequence[Listed], faults: Sequence[str]) -> str:
    """Returns the page as HTML text.

    Args:
        title: where the episodes are from.
        rows: the episodes, in their order.
        faults: a line about each file that could not be shown.
    """
    heads = "".join(_cell("th", head, head) for head in _HEADS)
    lines = "".join(
        "<tr>"
        + "".join(
            _cell("td", head, cell)
            for head, cell in zip(_HEADS, row.cells, strict=True)
        )
        + "</tr>"
        for row in rows
    )
    bad = "".join(f'<p class="fault">{_escape(fault)}</p>' for fault in faults)
    return page.make_page(
        title,
        f"<h1>{_escape(title)}</h1><p>{len(rows):,} episodes</p>{bad}"
        f'<div class="wide"><table><thead><tr>{heads}</tr></thead>'
        f"<tbody>{lines}</tbody></table></div>",
    )


def _cell(tag: str, head: str, content: str) -> str:
    kind = ' class="number"' if head in _NUMBERS else ""
    return f"<{tag}{kind}>{content}</{tag}>"


def _escape(text: str) -> str:
    return html.escape(printable(text))
