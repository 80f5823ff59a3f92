"""Says which episodes of a robot may be uploaded, after somebody has looked at them.

    ./bazelw run //edge:consent -- --home=DIR
    ./bazelw run //edge:consent -- --home=DIR --episode=1f35ef
    ./bazelw run //edge:consent -- --home=DIR --episode=1f35ef --says=grant
    ./bazelw run //edge:consent -- --home=DIR --day=2026-01-31 --says=refuse
    ./bazelw run //edge:consent -- --from=DIR --all --says=take_back

Without --says it lists the episodes and what becomes of each; of one that is named it
shows what would leave, to the field. grant lets the copy be uploaded that lies in the
shared folder now. refuse keeps it on the robot, whatever was said when it was recorded
and though a stop rule fired in it. take_back deletes the copy, too. Each store that may
hold the episode is asked to erase it by the next //edge:upload to it, also if it is
refused. What the robot itself learned from stays on it (//edge:label --says=leave_out).

Each decision is a record signed with the robot's key, and the newest one counts. If the
robot runs, its recorder signs. A refusal holds even before that.
"""

import base.interrupt  # noqa: F401 - Ctrl-C ends it from here on

import contextlib
import functools
import os
import re
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from absl import app, flags

from base import command_line, durable_file, file_lock, text_forms
from base.errors import ContinuonError
from edge.episodes import (
    consent_view,
    consents,
    deciding,
    recording_folders,
    replacing,
)
from edge.episodes.consent_view import Shared
from edge.episodes.consents import Wish
from edge.episodes.deciding import Deciding
from edge.errors import ConsentError
from edge.processes import amend_flags
from edge.processes.amending import Place
from edge.processes.mailbox import Outbox, lock_path
from edge.robots.clock import MonotonicClock, require_right
from edge.runtime_version import RUNTIME_DATE
from rlds.consent_record import Decision

NAME: Final = "consent"
_SAID: Final = {
    "grant": Decision.GRANTED,
    "refuse": Decision.REFUSED,
    "take_back": Decision.TAKEN_BACK,
}
_DAY: Final = re.compile("[0-9]{4}-[0-9]{2}-[0-9]{2}")
_SIGNED_WITHIN_S: Final = 10.0  # by a recorder that runs
_LOOK_S: Final = 0.1
_SHOWN: Final = 5  # names in an error

_EPISODE = flags.DEFINE_list(
    "episode", [], "parts of the names of the episodes, each of which only one has"
)
_DAY_FLAG = flags.DEFINE_string("day", None, "all episodes of a day, YYYY-MM-DD")
_ALL = flags.DEFINE_bool("all", False, "all episodes")
_SAYS = flags.DEFINE_enum(
    "says", None, list(_SAID), "what is decided (default: they are listed)"
)
flags.adopt_module_key_flags(amend_flags)


def main(argv: list[str]) -> int:
    """Decides about episodes, or lists them; 1 if a decision is not signed."""
    _require_usage(argv)
    place = amend_flags.read_place()
    if not place.shared.is_dir():
        raise ConsentError(
            place.shared,
            "a folder of recorded episodes",
            "none",
            "name what //edge:record --output or the --home of a robot is",
        )
    found = _choose(place.shared)
    if _SAYS.value is None:
        _list(place.shared, found)
        return 0
    require_right(MonotonicClock(), RUNTIME_DATE)
    decision = _SAID[_SAYS.value]
    if decision is not Decision.TAKEN_BACK:
        found = [one for one in found if one.stated is not None]
    with _hold(place) as holder:
        if holder is None:
            return _ask_recorder(place, found, decision)
        return _decide(place.shared, holder, found, decision)


def _require_usage(argv: list[str]) -> None:
    """Checks the rules that concern several flags at once.

    Raises:
        app.UsageError: a rule is broken.
    """
    if len(argv) > 1:
        raise app.UsageError(f"expected flags only, got {argv[1]!r}")
    chosen = bool(_EPISODE.value) + bool(_DAY_FLAG.value) + _ALL.value
    if chosen > 1:
        raise app.UsageError("expected one of --episode, --day and --all")
    if _SAYS.value and not chosen:
        raise app.UsageError("expected --episode, --day or --all with --says, got none")
    if _DAY_FLAG.value and not _DAY.fullmatch(_DAY_FLAG.value):
        raise app.UsageError(f"--day: expected YYYY-MM-DD, got {_DAY_FLAG.value!r}")


def _choose(folder: Path) -> list[Shared]:
    """The episodes that the flags name; all of them without one.

    Raises:
        ConsentError: a name is in none or several of them.
    """
    names = consent_view.list_shared(folder)
    if _EPISODE.value:
        texts = dict.fromkeys(_EPISODE.value)
        names = list(dict.fromkeys(_find(names, text) for text in texts))
    found = [consent_view.look(folder, name) for name in names]
    if _DAY_FLAG.value:
        found = [one for one in found if one.date == _DAY_FLAG.value]
    return found


def _find(names: Sequence[str], text: str) -> str:
    found = [name for name in names if text in name]
    if text in found or len(found) == 1:
        return text if text in found else found[0]
    named = found or names
    shown = ", ".join(named[:_SHOWN]) + (", ..." if len(named) > _SHOWN else "")
    raise ConsentError(
        "--episode",
        "a part of the name of one episode",
        f"{text!r}, which is in {'none' if not found else f'{len(found)}'} of them",
        f"give more of its name: {shown}" if named else "record an episode first",
    )


def _list(folder: Path, found: Sequence[Shared]) -> None:
    for one in found:
        command_line.say(_describe(one))
        if _EPISODE.value:
            for line in consent_view.tell_content(folder, one):
                command_line.say(f"  {line}")
            if one.reached is not None:
                for uri in sorted(one.reached.stores):
                    late = ", which does not know the last decision yet"
                    command_line.say(f"  in {uri}{late if uri in one.owed else ''}")
    leave = sum(one.may_leave for one in found)
    command_line.say(
        f"{text_forms.count(len(found), 'episode')}, {leave} of which may leave"
    )


def _describe(one: Shared) -> str:
    parts = [one.name, one.date or "-"]
    if one.stated is not None:
        parts.append(f"{one.stated.num_steps:,} steps")
        parts.append(f"{one.stated.size_bytes / 1000:,.0f} kB")
    return "  ".join([*parts, one.tell()])


def _decide(
    folder: Path, holder: Deciding, found: Sequence[Shared], decision: Decision
) -> int:
    """Decides here; an episode that cannot be decided about keeps no other one."""
    unix_ns = MonotonicClock().unix_ns()
    failed: ContinuonError | None = None
    count = 0
    for one in found:
        sha256 = None if one.stated is None else one.stated.sha256
        try:
            holder.decide(one.name, decision, unix_ns, sha256)
            consents.remove_wish(folder, one.name)
        except ContinuonError as e:
            command_line.say(f"{one.name}: {e}")
            failed = failed or e
            continue
        count += 1
        command_line.say(_describe(consent_view.look(folder, one.name)))
    command_line.say(f"{text_forms.count(count, 'decision')} signed")
    if failed is not None:
        raise failed
    return 0


def _ask_recorder(place: Place, found: Sequence[Shared], decision: Decision) -> int:
    """Leaves wishes for the recorder that runs, and waits until it has signed them."""
    folder = place.shared
    for one in found:
        sha256 = one.stated.sha256 if one.stated is not None else "0" * 64
        consents.write_wish(folder, one.name, Wish(decision, sha256))
    assert place.home is not None  # else nothing else could run
    mailbox = Outbox(place.home, NAME)
    mailbox.send("record", "decided", {})
    names = {one.name for one in found}
    by_s = time.monotonic() + _SIGNED_WITHIN_S
    while (left := names & set(consents.list_wishes(folder))) and (
        time.monotonic() < by_s
    ):
        time.sleep(_LOOK_S)
    for name in sorted(names):
        command_line.say(_describe(consent_view.look(folder, name)))
    signed = len(names) - len(left)
    command_line.say(f"{text_forms.count(signed, 'decision')} signed by the recorder")
    if left:
        raise ConsentError(
            folder / consents.WISHES,
            "the recorder to sign every decision",
            f"{len(left)} that it has not signed after {_SIGNED_WITHIN_S:.0f} s",
            "its log says why; a refusal holds meanwhile, and nothing is sent",
        )
    return 0


@contextlib.contextmanager
def _hold(place: Place) -> Iterator[Deciding | None]:
    """Holds the folders of a robot that does not record; None of one that does.

    Raises:
        OutputFolderError: a recording without a home writes there.
        DiskError, OSError: the disk refuses.
    """
    with contextlib.ExitStack() as stack:
        if place.home is not None and not _lock_recorder(stack, place.home):
            yield None
            return
        hold = recording_folders.hold(place.shared, place.private)
        stack.enter_context(hold)()
        durable_file.remove_leftovers(place.shared)
        open_directory = functools.partial(deciding.open_directory, place.shared)
        replacing.finish(place.private, lambda _: open_directory(), command_line.say)
        holder = Deciding(
            place.shared,
            open_directory,
            functools.partial(amend_flags.find_key, place),
        )
        holder.finish(command_line.say)
        holder.apply_wishes(MonotonicClock().unix_ns(), command_line.say)
        yield holder


def _lock_recorder(stack: contextlib.ExitStack, home: Path) -> bool:
    """Keeps a recorder from starting; False if one runs."""
    path = lock_path(home, "record")
    if not path.exists():
        return True
    descriptor = file_lock.open_file(path)
    stack.callback(os.close, descriptor)
    return file_lock.try_take(descriptor)


if __name__ == "__main__":
    command_line.run(main)
