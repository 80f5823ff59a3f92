"""Labels or trims every copy of an episode that a robot keeps: the operator's word.

An episode may lie in the shared folder, redacted; in the private one, raw; and among
the memories of a robot, raw. Each copy is changed in the same way. All that could be
refused is looked at before the first of them is written; a cut between two leaves some
of them changed, and the same command again changes the rest.
"""

import contextlib
import dataclasses
import itertools
import os
from collections.abc import Callable, Iterable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Final

from base import durable_file
from edge.episodes import own_episodes
from edge.episodes.own_episodes import Change, Copy, FindKey, OwnEpisodes
from edge.errors import AmendError
from edge.loops import memory_copies
from edge.processes.home import Home
from edge.processes.mailbox import take_name
from rlds.episode import Episode
from rlds.sidecar import Consent

_WRITERS: Final = ("record", "learn")
"""Processes that write where the copies lie."""
_SHOWN: Final = 5  # names in an error


@dataclasses.dataclass(frozen=True)
class Place:
    """Where the episodes of a robot lie.

    Attributes:
        shared: folder of redacted episodes.
        private: folder of raw episodes.
        home: the robot's folder, if it has one and so may have memories.
    """

    shared: Path
    private: Path
    home: Path | None = None


class Amending:
    """The episodes of one robot, while nobody else writes to them."""

    def __init__(
        self, own: OwnEpisodes, memories: Path | None, tell: Callable[[str], None]
    ) -> None:
        """Reads all copies; `tell` gets a line about each that cannot be read."""
        self._own = own
        self._copies = _group(own.list_copies(tell))
        kept = () if memories is None else memory_copies.list_copies(memories, tell)
        self._memories = _group(itertools.starmap(Copy, kept))

    @property
    def names(self) -> list[str]:
        """Names of the episodes, in the order in which they were recorded."""
        return sorted({*self._copies, *self._memories})

    def read(self, name: str) -> Episode:
        """Returns the longest copy of an episode: a shorter one is trimmed already."""
        copies = [*self._copies.get(name, ()), *self._memories.get(name, ())]
        longest: Copy = max(copies, key=lambda copy: copy.episode.num_steps)
        return longest.episode

    def is_sent(self, name: str) -> bool:
        """Whether a store holds an episode."""
        return self._own.is_sent(name)

    def find(self, text: str) -> str:
        """Returns the name of the one episode of which `text` is a part.

        Raises:
            AmendError: none or several have it.
        """
        found = [name for name in self.names if text in name]
        if text in found or len(found) == 1:
            return text if text in found else found[0]
        named = found or self.names
        shown = ", ".join(named[:_SHOWN]) + (", ..." if len(named) > _SHOWN else "")
        raise AmendError(
            "--episode",
            "a part of the name of one episode",
            f"{text!r}, which is in {'none' if not found else f'{len(found)}'} of them",
            f"give more of its name: {shown}" if named else "record an episode first",
        )

    def change(
        self,
        name: str,
        change: Change,
        consent: Consent | None = None,
        forgets: bool = False,
    ) -> int:
        """Changes all copies of an episode; returns how many there are.

        Args:
            name: the episode.
            change: gives the episode as it is to be.
            consent: in the place of that which it was recorded with; None to keep it.
            forgets: whether its memories go, so that nothing is learned from it.

        Raises:
            ContinuonError: it is refused, and nothing was changed; or the disk refused
                in between, and the same call goes on.
        """
        writes = [
            self._own.prepare(copy, change, consent)
            for copy in self._copies.get(name, ())
        ]
        memories = [
            (copy, change(copy.episode)) for copy in self._memories.get(name, ())
        ]
        for copy, changed in memories:
            if forgets:
                memory_copies.forget(copy.path)
            else:
                memory_copies.rewrite(copy.path, changed)
        for write in writes:
            write()
        return len(writes) + len(memories)


def _group(copies: Iterable[Copy]) -> dict[str, list[Copy]]:
    found: dict[str, list[Copy]] = {}
    for copy in copies:
        found.setdefault(copy.name, []).append(copy)
    return found


@contextlib.contextmanager
def open_amending(
    place: Place,
    find_key: FindKey,
    now: datetime,
    tell: Callable[[str], None],
) -> Iterator[Amending]:
    """Opens the episodes of a robot that stands still.

    Raises:
        AlreadyRunningError, OutputFolderError: something writes to them.
        AmendError: there is no such folder.
        DiskError, OSError: the disk refuses.
    """
    with contextlib.ExitStack() as stack:
        if place.home is not None and place.home.is_dir():
            for name in _WRITERS:
                stack.enter_context(_take_lock(place.home, name))
        own = stack.enter_context(
            own_episodes.open_folders(place.shared, place.private, find_key, now, tell)
        )
        memories = None
        if place.home is not None:
            home = Home(place.home)
            memories = home.memories
            for folder in (memories, home.new_memories):
                durable_file.remove_leftovers(folder)
        yield Amending(own, memories, tell)


@contextlib.contextmanager
def _take_lock(home: Path, name: str) -> Iterator[None]:
    descriptor = take_name(
        home,
        name,
        f"a robot whose {name} process does not run",
        "one that does",
        "stop the robot, or wait until it has ended",
    )
    try:
        yield
    finally:
        os.close(descriptor)
