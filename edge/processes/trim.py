"""Cuts the beginning or the end of a recorded episode off.

    ./bazelw run //edge:trim -- --from=DIR --episode=1f35ef --first=12 --last=140

Steps are counted from 1, as //rlds:show counts them, and both of these stay. The
episode says that the operator trimmed it, and is signed again with the robot's key; its
last step ends as the episode does: with success, or not. A step at which a stop rule
fired cannot be cut off. An episode that a store holds already is not changed. A robot
whose --home it is must not run. What is cut off is gone.
"""

import base.interrupt  # noqa: F401 - Ctrl-C ends it from here on

from absl import app, flags

from base import command_line, text_forms
from edge.episodes import amend
from edge.errors import AmendError
from edge.processes import amend_flags
from edge.processes.amending import Amending
from edge.record_summary import success_text

_EPISODE = flags.DEFINE_string(
    "episode", None, "part of the name of the episode, which only it has", required=True
)
_FIRST = flags.DEFINE_integer("first", 1, "first step that stays", lower_bound=1)
_LAST = flags.DEFINE_integer(
    "last", None, "last step that stays (default: the last one)", lower_bound=1
)
flags.adopt_module_key_flags(amend_flags)


def main(argv: list[str]) -> None:
    """Trims the episode."""
    if len(argv) > 1:
        raise app.UsageError(f"expected flags only, got {argv[1]!r}")
    with amend_flags.open_episodes() as found:
        _trim(found, found.find(_EPISODE.value))


def _trim(found: Amending, name: str) -> None:
    episode = found.read(name)
    count = episode.num_steps
    first, last = _FIRST.value, count if _LAST.value is None else _LAST.value
    if not first <= last <= count:
        raise AmendError(
            "--last" if last > count else "--first",
            f"steps from 1 to {count}, the first not behind the last",
            f"{first} to {last}",
        )
    copies = found.change(
        name, lambda one: amend.trim(one, episode, first - 1, last - 1)
    )
    command_line.say(
        f"{name}: {last - first + 1} of {count} steps stay, "
        f"{success_text(episode.metadata.success)}; {text_forms.count(copies, 'file')}"
    )


if __name__ == "__main__":
    command_line.run(main)
