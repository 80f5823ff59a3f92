"""Says how recorded episodes went, after they were recorded.

    ./bazelw run //edge:label -- --from=DIR
    ./bazelw run //edge:label -- --from=DIR --episode=1f35ef --says=success
    ./bazelw run //edge:label -- --home=DIR --episode=1f35ef,1f35f0 --says=leave_out

Without --says it lists the episodes. success and failure are what the keys y and n say
at the end of an episode; unknown takes either back. leave_out says that nobody is to
learn from an episode: it gets a tag by which a dataset drops it, loses its consent, and
a robot forgets it. Another word takes that back, but gives no consent.

The episode is signed again with the robot's key and says that the operator labelled it.
One that a store holds already is not changed. A robot whose --home it is must not run.
"""

import base.interrupt  # noqa: F401 - Ctrl-C ends it from here on

from typing import Final

from absl import app, flags

from base import command_line, text_forms
from base.errors import one_line
from edge.episodes import amend, labels, terms
from edge.processes import amend_flags
from edge.processes.amending import Amending
from edge.record_summary import success_text
from edge.robots.clock import MonotonicClock
from rlds.episode import EpisodeMetadata
from rlds.spec import LABELLED_TAG, LEFT_OUT_TAG, TRIMMED_TAG

_TOLD: Final = (
    (LEFT_OUT_TAG, "left out"),
    (TRIMMED_TAG, "trimmed"),
    (LABELLED_TAG, "labelled"),
)

_EPISODE = flags.DEFINE_list(
    "episode", [], "parts of the names of the episodes, each of which only one has"
)
_SAYS = flags.DEFINE_enum(
    "says", None, list(labels.SAID), "how they went (default: they are listed)"
)
flags.adopt_module_key_flags(amend_flags)


def main(argv: list[str]) -> None:
    """Labels the episodes, or lists all of them."""
    if len(argv) > 1:
        raise app.UsageError(f"expected flags only, got {argv[1]!r}")
    if _SAYS.value is not None and not _EPISODE.value:
        raise app.UsageError("expected --episode with --says, got none")
    with amend_flags.open_episodes() as found:
        if _SAYS.value is None:
            _list_episodes(found)
            return
        # All of them are found before the first is changed.
        for name in [found.find(text) for text in dict.fromkeys(_EPISODE.value)]:
            _label(found, name, _SAYS.value)


def _list_episodes(found: Amending) -> None:
    wanted = [found.find(text) for text in _EPISODE.value] or found.names
    for name in wanted:
        episode = found.read(name)
        own = episode.metadata
        told = [text for tag, text in _TOLD if tag in own.tags]
        if found.is_sent(name):
            told.append("uploaded")
        command_line.say(
            f"{name}  {one_line(own.task)}  {episode.num_steps} steps"
            f"  {success_text(own.success)}" + "".join(f", {text}" for text in told)
        )
    command_line.say(text_forms.count(len(wanted), "episode"))


def _label(found: Amending, name: str, says: str) -> None:
    before = found.read(name).metadata
    if says == amend.LEAVE_OUT:
        consent = terms.operator_consent(False, MonotonicClock().unix_ns())
        copies = found.change(name, amend.leave_out, consent, forgets=True)
        told = "left out"
    else:
        success = amend.OUTCOMES[says]
        copies = found.change(name, lambda one: amend.label(one, success))
        told = success_text(success)
    files = text_forms.count(copies, "file")
    command_line.say(f"{name}: {told}, {_describe(before)} before; {files}")


def _describe(before: EpisodeMetadata) -> str:
    left_out = "left out, " if LEFT_OUT_TAG in before.tags else ""
    return left_out + success_text(before.success)


if __name__ == "__main__":
    command_line.run(main)
