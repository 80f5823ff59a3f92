"""Keeps the folder of shared episodes within a size; what is needed least goes first.

    halves that a cut left -> sent -> may not be sent -> wait to be sent

Of each kind the oldest go first. An episode goes with its sidecar, which is first, and
its receipt, which is last. A cut between two of them leaves a half that nobody takes
for an episode, and that goes before anything else. Where it went and what was decided
about it (`consents.py`) stays known.
"""

import contextlib
import itertools
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import Enum, auto
from pathlib import Path
from typing import Final

from base import plain_file, text_forms
from base.durable_file import DAMAGED_SUFFIX
from base.errors import ContinuonError
from edge.episodes import consents
from edge.episodes.consents import CONSENT_SUFFIX, RECEIPT_SUFFIX, STORES_SUFFIX
from rlds import sidecar, sidecar_statements
from rlds.tfds_directory import (
    EPISODE_SUFFIX,
    MAX_SHARDS,
    SIDECAR_SUFFIX,
    TfdsDirectory,
)

MOST_TRACES: Final = 10_000
"""Episodes that are gone and of which it stays known where they went and what was
decided: two small files each, together 80 MB of a disk at most."""
_SUFFIXES: Final = (EPISODE_SUFFIX, SIDECAR_SUFFIX, RECEIPT_SUFFIX)
_TRACES: Final = (CONSENT_SUFFIX, STORES_SUFFIX)


class _Kind(Enum):
    HALF = auto()
    SENT = auto()
    DAMAGED = auto()  # set aside for inspection; it may not be sent either
    PRIVATE = auto()
    WAITING = auto()


@dataclass
class _Kept:
    """An episode with its files, what is left of one, or a file that was set aside.

    Attributes:
        name: the episode's name, or that of the file that was set aside.
        suffixes: of the files that are here.
        size_bytes: of all of them.
        at_ns: when the oldest was written, in Unix time.
        decided_ns: when something was decided about it; 0 for never.
    """

    name: str
    suffixes: set[str] = field(default_factory=set)
    size_bytes: int = 0
    at_ns: int = 1 << 63
    decided_ns: int = 0


class SharedQuota:
    """Keeps the folder of shared episodes of one robot within a size.

    Attributes:
        private: episodes removed that might not be sent.
        waiting: episodes removed that waited to be sent.
    """

    def __init__(self, limit_bytes: int, tell: Callable[[str], None]) -> None:
        """Counts from 0.

        Args:
            limit_bytes: size of all episodes with their files.
            tell: gets a line when the first episode goes unsent, and about a folder
                from which nothing can be removed.
        """
        self._limit_bytes = limit_bytes
        self._tell = tell
        self._may_leave: dict[tuple[str, int, int], bool] = {}
        self.private = 0
        self.waiting = 0

    def make_room(self, folder: Path, directory: TfdsDirectory, added: int) -> None:
        """Removes what is needed least until an episode has room; call it before.

        One that is larger than the quota has the folder for itself. What cannot be
        removed is told of and stays: the robot goes on to record.

        Args:
            folder: the folder of shared episodes.
            directory: what is open there.
            added: size of the episode that comes, with its sidecar, in bytes.

        Raises:
            RldsError, DiskError: something could not be removed, and then the folder
                could not be read again.
        """
        before = self.private, self.waiting
        try:
            self._make_room(folder, directory, added)
        except (ContinuonError, OSError) as e:
            self._tell(f"the shared episodes stay above their quota: {e}")
            directory.read_again()
        if (self.private and not before[0]) or (self.waiting and not before[1]):
            self._tell(
                f"{folder} has reached {self._limit_bytes / 1e6:g} MB: "
                f"{text_forms.count(self.private, 'episode')} without consent and "
                f"{self.waiting} that waited to be sent were removed so far, and the "
                "oldest go on to be"
            )

    def _make_room(self, folder: Path, directory: TfdsDirectory, added: int) -> None:
        found, traces = _list(folder)
        _remove_oldest_traces(folder, traces)
        listed = set(directory.episode_files)
        excess = added + sum(kept.size_bytes for kept in found) - self._limit_bytes
        doomed = []
        for kept, kind in self._order(folder, found):
            if excess <= 0 and len(listed) < MAX_SHARDS:
                break
            doomed.append((kept, kind))
            excess -= kept.size_bytes
            listed.discard(f"{kept.name}{EPISODE_SUFFIX}")
        if not doomed:
            return
        try:
            directory.remove(
                [
                    f"{kept.name}{EPISODE_SUFFIX}"
                    for kept, kind in doomed
                    if kind is not _Kind.DAMAGED
                ]
            )
        finally:  # those that are gone count, though the next was not to be removed
            for kept, kind in doomed:
                if not (folder / f"{kept.name}{SIDECAR_SUFFIX}").exists():
                    self.private += kind is _Kind.PRIVATE
                    self.waiting += kind is _Kind.WAITING
        for kept, kind in doomed:
            if kind is _Kind.DAMAGED:
                (folder / kept.name).unlink(missing_ok=True)
            else:
                consents.remove_note(folder, kept.name, RECEIPT_SUFFIX)

    def _order(
        self, folder: Path, found: Iterable[_Kept]
    ) -> Iterator[tuple[_Kept, _Kind]]:
        """Yields what may go, in this order; reads no more sidecars than it must."""
        left: dict[_Kind, list[_Kept]] = {kind: [] for kind in _Kind}
        for kept in sorted(found, key=lambda kept: (kept.at_ns, kept.name)):
            left[_classify(kept)].append(kept)
        for kind in (_Kind.HALF, _Kind.SENT, _Kind.DAMAGED):
            yield from ((kept, kind) for kept in left[kind])
        unsent = {
            (kept.name, kept.at_ns, kept.decided_ns): kept
            for kept in left[_Kind.WAITING]
        }
        self._may_leave = {
            key: known for key, known in self._may_leave.items() if key in unsent
        }
        waiting = []
        for key, kept in unsent.items():
            if key not in self._may_leave:
                self._may_leave[key] = _may_leave(folder, kept.name)
            if self._may_leave[key]:
                waiting.append(kept)
            else:
                yield kept, _Kind.PRIVATE
        yield from ((kept, _Kind.WAITING) for kept in waiting)


def _list(folder: Path) -> tuple[list[_Kept], dict[str, int]]:
    """Lists the episodes of a folder, halves of them, and files set aside.

    What has such a name and is no file takes no room; it stays, with what belongs to
    it.

    Returns:
        These, and of episodes that are gone the names of which something is known,
        with the time at which it was written, in ns.
    """
    found: dict[str, _Kept] = {}
    traces: dict[str, int] = {}
    odd = set()
    with contextlib.ExitStack() as stack:
        entries = [stack.enter_context(os.scandir(folder))]
        with contextlib.suppress(FileNotFoundError, NotADirectoryError):
            entries.append(stack.enter_context(os.scandir(folder / consents.SENT)))
        for entry in itertools.chain.from_iterable(entries):
            if trace := _split_trace(entry.name):
                with contextlib.suppress(FileNotFoundError):
                    written_ns = entry.stat(follow_symlinks=False).st_mtime_ns
                    traces[trace] = max(traces.get(trace, 0), written_ns)
                continue
            name, suffix = _split(entry.name)
            if name is None:
                continue
            if not entry.is_file(follow_symlinks=False):
                odd.add(name)
                continue
            try:
                status = entry.stat(follow_symlinks=False)
            except FileNotFoundError:  # a person has just removed it
                continue
            kept = found.setdefault(name, _Kept(name))
            kept.suffixes.add(suffix)
            kept.size_bytes += status.st_size
            kept.at_ns = min(kept.at_ns, status.st_mtime_ns)
    for kept in found.values():
        kept.decided_ns = traces.pop(kept.name, 0)
    return [kept for kept in found.values() if kept.name not in odd], traces


def _split_trace(name: str) -> str:
    """The episode's name, if the file's is that of a trace of it; "" if not."""
    for suffix in _TRACES:
        if name.endswith(suffix):
            return name.removesuffix(suffix)
    return ""


def _remove_oldest_traces(folder: Path, traces: Mapping[str, int]) -> None:
    """Removes the oldest traces of episodes that are gone, beyond `MOST_TRACES`.

    One by which a store is still to be asked to erase an episode stays.
    """
    excess = len(traces) - MOST_TRACES
    for name, _ in sorted(traces.items(), key=lambda item: item[1])[: max(0, excess)]:
        with contextlib.suppress(ContinuonError, OSError):
            if not consents.is_owed(folder, name):
                (folder / f"{name}{CONSENT_SUFFIX}").unlink(missing_ok=True)
                consents.remove_note(folder, name, STORES_SUFFIX)


def _split(name: str) -> tuple[str | None, str]:
    """Splits a file's name into the episode's and the suffix; None for other files."""
    for suffix in _SUFFIXES:
        if name.endswith(suffix):
            return name.removesuffix(suffix), suffix
    return (name if DAMAGED_SUFFIX in name else None), ""


def _classify(kept: _Kept) -> _Kind:
    """Says what a file's name alone tells: whatever is not sent counts as waiting."""
    if "" in kept.suffixes:
        return _Kind.DAMAGED
    if not kept.suffixes >= {EPISODE_SUFFIX, SIDECAR_SUFFIX}:
        return _Kind.HALF
    return _Kind.SENT if RECEIPT_SUFFIX in kept.suffixes else _Kind.WAITING


def _may_leave(folder: Path, name: str) -> bool:
    """Whether the sidecar lets an episode leave; one that cannot be read does not."""
    path = folder / f"{name}{SIDECAR_SUFFIX}"
    try:
        stated = sidecar.parse(plain_file.read(path, sidecar.LIMIT_BYTES))
        allowed = consents.find_standing(folder, stated).allowed
    except (ContinuonError, OSError):
        return False
    return allowed and sidecar_statements.may_leave(stated, stated.safety.violations)
