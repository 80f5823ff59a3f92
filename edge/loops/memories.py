"""The episodes that this robot keeps for itself, raw, within a quota of bytes.

    memories/
      new/NAME.tfrecord                       handed over by the recorder
      00000042-learn-<sha256>.tfrecord        kept, see `memory_choice`
      00000043-judge-<sha256>.tfrecord
      *.damaged                               set aside: torn, or handed over as
                                              another robot's

The learner alone writes here, and nothing here ever leaves the robot. Whatever is said
of a memory lies in its name and its file, so a cut at any instant costs nothing: an
episode is in `new`, or it is kept. Only what this robot recorded comes in; an episode
from a package is redacted and names no robot. A kept file that another robot recorded
was put here by somebody: it stays where it is, and is not learned from.
"""

import contextlib
import dataclasses
import itertools
import os
import re
from collections import deque
from collections.abc import Callable, Mapping
from collections.abc import Set as AbstractSet
from pathlib import Path
from typing import Final

import numpy as np

from base import durable_file, plain_file
from base.digest import sha256_bytes
from base.errors import ContinuonError, DiskError, reason
from edge.errors import OtherRobotError, RobotMismatchError
from edge.loops import memory_choice
from edge.loops.memory_choice import Driver, Memory, Use
from release.package import RobotFit
from rlds import imitation, reader, sealing
from rlds.closed_episode import EPISODE_SUFFIX
from rlds.episode import Episode
from rlds.errors import SealedError
from rlds.spec import LEFT_OUT_TAG, StopRule

NEW: Final = "new"
DEFAULT_QUOTA_BYTES: Final = 128 << 20
"""About 2,600 episodes of 256 steps of 39 channels: ten times what the arrays of a
package hold, so that there is something to choose from."""
KEPT_ASIDE: Final = 16
"""Files that were set aside and stay to be looked at: the newest ones."""
MOST_READ: Final = 24
"""Files that one look reads, good or bad: somebody may have put any number here, and a
learner that has to stop does not wait for them. The next look goes on."""
MOST_NUMBER: Final = 10**12
"""No robot takes in as many; a name with a larger number was given by somebody else."""
EPISODE_LIMIT_BYTES: Final = 64 << 20  # what the recorder makes at most
_MOST_BYTES: Final = 16 << 20  # read in one look, beyond its last file
_MOST_LISTED: Final = 4096  # new files that one look at their times puts in order
_MOST_OLD: Final = 1024  # files set aside earlier, of which the oldest go at once
_NAME: Final = re.compile(r"(\d{8,})-(learn|judge)-([0-9a-f]{64})\.tfrecord")
_RECOVERED: Final = "recovered"
_REMEDY: Final = "it is not learned from; look at what put it here"


class LocalMemories:
    """One robot's memories; `take` and `note_surprise` are called by one process."""

    def __init__(
        self,
        root: Path,
        robot_id: str,
        quota_bytes: int = DEFAULT_QUOTA_BYTES,
        tell: Callable[[str], None] = lambda line: None,
    ) -> None:
        """Reads nothing yet.

        Args:
            root: folder of the memories.
            robot_id: name of this robot, as its raw episodes have it.
            quota_bytes: size of all that is kept.
            tell: receives one line for everything that is set aside, or not used.
        """
        self._root = root
        self._robot_id = robot_id
        self._quota_bytes = quota_bytes
        self._tell = tell
        self._known: dict[str, Memory] = {}
        self._is_whole = False  # whether the folder was read to its end once
        self._new: deque[Path] = deque()  # that were listed, in their order
        self._has_unlisted = False  # whether there were more than are listed
        self._kept_back: set[Path] = set()  # bad ones that cannot be set aside
        self._foreign: dict[Path, str] = {}  # kept ones of another robot, and its name
        self._told_sealed = False
        self._told_foreign = 0  # how many of them the operator knows of
        self._read_files = self._read_bytes = 0  # in this look
        self._bad: list[tuple[Path, Exception]] = []  # found in this look
        self._many = False  # whether the look before this one left some
        self._surprise: Mapping[str, float] = {}

    @property
    def is_whole(self) -> bool:
        """Whether all that was kept before is known."""
        return self._is_whole

    @property
    def has_more(self) -> bool:
        """Whether the last look left files for the next one."""
        return not self._is_whole or self._is_full or self._has_unlisted

    def read(self) -> tuple[Memory, ...]:
        """The memories in the order in which they were taken in, as far as known.

        The folder is read the first time, and again by `take`.
        """
        if not self._is_whole:
            self._begin_look()
            self._read_folder()
            self._set_aside()
        memories = [
            dataclasses.replace(one, surprise=self._surprise.get(one.digest))
            for one in self._known.values()
        ]
        return tuple(sorted(memories, key=lambda one: one.number))

    def _begin_look(self) -> None:
        self._read_files = self._read_bytes = 0

    def _read_folder(self) -> None:
        """Reads what is new in the folder; what is not what its name says is bad."""
        before, found = self._known, dict[str, Memory]()
        for name in _list_names(self._root):
            if name in before:
                found[name] = before[name]
            elif match := _NAME.fullmatch(name):
                path = self._root / name
                if self._is_full or path in self._kept_back or path in self._foreign:
                    continue
                try:
                    found[name] = self._open(path, match)
                except FileNotFoundError:
                    continue
                except OtherRobotError as e:
                    self._foreign[path] = str(e.got)
                except SealedError as e:
                    self._note_sealed(path, e)
                except (ContinuonError, OSError) as e:
                    self._bad.append((path, e))
        self._known = found
        self._is_whole = self._is_whole or not self._is_full

    def path(self, memory: Memory) -> Path:
        """The file of a memory."""
        return self._root / _name(memory)

    def note_surprise(self, surprise: Mapping[str, float]) -> None:
        """Sets how badly the package foresaw the memories, by their digests."""
        self._surprise = dict(surprise)

    def take(self, fit: RobotFit) -> tuple[Memory, ...]:
        """Takes in what the recorder handed over, and keeps to the quota.

        It begins when all that was kept before is known. Each call deals with some
        files; `has_more` says whether there are more.

        Args:
            fit: the robot that the active package fits.

        Returns:
            What was taken in, in its order. Some of it may not have been kept.

        Raises:
            DiskError: the folder cannot be written.
        """
        self._begin_look()
        self._read_folder()
        taken = [] if self._is_full else self._take_new(fit)
        self._set_aside()
        return tuple(taken)

    def _take_new(self, fit: RobotFit) -> list[Memory]:
        taken: list[Memory] = []
        have = list(self.read())
        if not self._new:
            self._new.extend(_list_new(self._root / NEW, self._kept_back))
            self._has_unlisted = len(self._new) >= _MOST_LISTED
        while self._new and not self._is_full:
            path = self._new[0]
            memory = self._read_new(path, fit, have)
            if memory is not None:
                target = self._root / _name(memory)
                try:
                    path.replace(target)
                except OSError as e:
                    raise durable_file.disk_error(target, "to keep a memory", e) from e
                self._known[target.name] = memory
                have.append(memory)
                taken.append(memory)
            self._new.popleft()
        if taken:
            # Before anything is removed for them; a cut leaves each in one place.
            durable_file.fsync_folder(self._root)
            self._keep_to_quota(have)
        return taken

    def _read_new(self, path: Path, fit: RobotFit, have: list[Memory]) -> Memory | None:
        """Reads what was handed over; None if it is not taken in."""
        try:
            raw, episode = self._read_file(path)
            _require_robot(path, episode, self._robot_id)
            _require_fit(path, episode, fit)
            if LEFT_OUT_TAG in episode.metadata.tags:
                _remove(path)
                return None
        except FileNotFoundError:
            return None  # the recorder removes the oldest when there are too many
        except SealedError as e:
            self._note_sealed(path, e)
            return None
        except (ContinuonError, OSError) as e:
            self._bad.append((path, e))
            return None
        number = max((one.number for one in have), default=-1) + 1
        made = _describe(raw, episode, number, Use.LEARN)
        if any(one.digest == made.digest for one in have):
            _remove(path)  # a cut came between the two names of one file
            return None
        use = memory_choice.choose_use(have, made.task, made.kind)
        return dataclasses.replace(made, use=use)

    def _read_file(self, path: Path) -> tuple[bytes, Episode]:
        """Reads a file, which counts in this look even if it is no episode.

        Raises:
            ContinuonError, OSError: it is no episode, or cannot be read.
        """
        self._read_files += 1
        with contextlib.suppress(OSError):
            self._read_bytes += path.lstat().st_size
        most_bytes = EPISODE_LIMIT_BYTES + sealing.OVERHEAD_BYTES
        raw = plain_file.read(path, most_bytes, follow_links=False)
        return raw, reader.read_episode_bytes(raw, EPISODE_LIMIT_BYTES)

    def _open(self, path: Path, match: re.Match[str]) -> Memory:
        """Reads a memory that was taken in.

        Raises:
            DiskError: it is not what its name says.
            ContinuonError, OSError: it is no episode, or cannot be read.
        """
        number, digits = int(match[1]), match[1]
        if number > MOST_NUMBER or digits != f"{number:08d}":
            self._read_files += 1  # that it is set aside takes its time as well
            raise DiskError(path, f"a number up to {MOST_NUMBER} in its name", digits)
        raw, episode = self._read_file(path)
        memory = _describe(raw, episode, number, Use(match[2]))
        if memory.digest != match[3]:
            raise DiskError(path, "the bytes that its name says", "others")
        _require_robot(path, episode, self._robot_id)
        return memory

    def _keep_to_quota(self, memories: list[Memory]) -> None:
        kept = memory_choice.choose_to_keep(memories, self._quota_bytes)
        for memory in memories:
            if memory.digest not in kept:
                _remove(self.path(memory))
                self._known.pop(_name(memory), None)

    @property
    def _is_full(self) -> bool:
        """Whether this look has read as much as it may."""
        return self._read_files >= MOST_READ or self._read_bytes >= _MOST_BYTES

    def _set_aside(self) -> None:
        """Sets aside what this look has found, with one line for all of it."""
        self._tell_of_foreign()
        bad, self._bad = self._bad, []
        many, self._many = self._many, bool(bad) and self._is_full
        if not bad:
            return
        path, error = bad[0]
        why = reason(error, path)
        if len(bad) == 1:
            self._tell(f"memory {path.name} set aside: {why}")
        elif not many:
            rest = ", and more follow" if self._many else ""
            self._tell(
                f"{len(bad)} files among the memories set aside{rest}; the first is "
                f"{path.name}: {why}"
            )
        for path, _ in bad:
            try:
                durable_file.set_aside(path, sync=False)
            except DiskError:
                self._kept_back.add(path)  # or each look would read it again
        for folder in {path.parent for path, _ in bad}:
            with contextlib.suppress(DiskError):
                durable_file.fsync_folder(folder)
        self._forget_old()

    def _note_sealed(self, path: Path, error: SealedError) -> None:
        """Lets a memory that cannot be opened lie until its key is back."""
        self._kept_back.add(path)
        if not self._told_sealed:
            self._told_sealed = True
            why = f"expected {error.expected}, got {error.got}"
            self._tell(f"memories such as {path.name} are not used: {why}")

    def _tell_of_foreign(self) -> None:
        count = len(self._foreign)
        if count == self._told_foreign or not self._is_whole:
            return
        self._told_foreign = count
        path, name = next(iter(self._foreign.items()))
        self._tell(
            f"{count} of the memories are not of this robot, {self._robot_id}, and are "
            f"not learned from; the first is {path.name}, of {name}; move them to the "
            "home of their robot"
        )

    def _forget_old(self) -> None:
        aside = [
            folder / name
            for folder in (self._root, self._root / NEW)
            for name in _list_names(folder)
            if durable_file.DAMAGED_SUFFIX in name
        ][:_MOST_OLD]
        aside.sort(key=_changed_ns)
        for old in aside[: max(0, len(aside) - KEPT_ASIDE)]:
            _remove(old)


def rename_for(path: Path, raw: bytes) -> Path | None:
    """Returns the name of a memory that holds these bytes instead, or None.

    Number and use stay: what was learned from must not judge.

    Args:
        path: its file; None is returned if it is not one that was taken in.
        raw: the bytes.
    """
    match = _NAME.fullmatch(path.name)
    if match is None:
        return None
    name = f"{match[1]}-{match[2]}-{sha256_bytes(raw)}{EPISODE_SUFFIX}"
    return path.with_name(name)


def _require_robot(path: Path, episode: Episode, robot_id: str) -> None:
    """Checks that this robot recorded an episode.

    Raises:
        OtherRobotError: another one did, or it came with a package.
    """
    if episode.metadata.robot_hash != robot_id:
        raise OtherRobotError(
            path, f"an episode of {robot_id}", episode.metadata.robot_hash, _REMEDY
        )


def _require_fit(path: Path, episode: Episode, fit: RobotFit) -> None:
    """Checks that an episode is of the robot as it is today.

    Raises:
        RobotMismatchError: it is of another model of robot, or has other channels.
    """
    metadata = episode.metadata
    if fit.robot_model not in (None, metadata.robot_model):
        raise RobotMismatchError(
            path, f"a robot {fit.robot_model}", metadata.robot_model, _REMEDY
        )
    state = fit.observation.get("state")
    expected = (None if state is None else state.shape, fit.action.shape)
    got = ((episode.spec.state_size,), (episode.spec.action_size,))
    if expected != got:
        raise RobotMismatchError(
            path, f"state and action of the shapes {expected}", got, _REMEDY
        )


def _describe(raw: bytes, episode: Episode, number: int, use: Use) -> Memory:
    metadata = episode.metadata
    by_key = StopRule.STOP_KEY.tag in metadata.tags
    violations = int(np.count_nonzero(episode.steps["safety_violation"]))
    return Memory(
        number=number,
        digest=sha256_bytes(raw),
        size_bytes=len(raw),
        use=use,
        task=metadata.task,
        environment_id=metadata.environment_id,
        driver=_tell_driver(episode),
        success=metadata.success,
        steps=episode.num_steps,
        package_digest=metadata.package_digest,
        delta_digest=metadata.delta_digest,
        # The key's own violation is the last step; what fired before has other causes.
        stop_rules=max(0, violations - by_key),
        cut_short=by_key or _RECOVERED in metadata.tags,
    )


def _tell_driver(episode: Episode) -> Driver:
    corrected = imitation.is_corrected(episode.steps)
    return memory_choice.tell_driver(episode.metadata, corrected)


def _name(memory: Memory) -> str:
    return f"{memory.number:08d}-{memory.use}-{memory.digest}{EPISODE_SUFFIX}"


def _list_names(folder: Path) -> list[str]:
    try:
        return sorted(os.listdir(folder))  # noqa: PTH208 - a path each takes 5 times as long
    except OSError:
        return []


def _list_new(folder: Path, without: AbstractSet[Path]) -> list[Path]:
    """New episodes in the order in which they were closed, as far as the clock says.

    Of very many it lists some, in their order.
    """
    found = []
    with contextlib.suppress(OSError), os.scandir(folder) as entries:
        wanted = (
            entry
            for entry in entries
            if entry.name.endswith(EPISODE_SUFFIX)
            and (not without or folder / entry.name not in without)
        )
        for entry in itertools.islice(wanted, _MOST_LISTED):
            with contextlib.suppress(OSError):
                changed_ns = entry.stat(follow_symlinks=False).st_mtime_ns
                found.append((changed_ns, entry.name))
    return [folder / name for _, name in sorted(found)]


def _changed_ns(path: Path) -> int:
    try:
        return path.lstat().st_mtime_ns
    except OSError:
        return 0


def _remove(path: Path) -> None:
    with contextlib.suppress(OSError):
        path.unlink()
