"""Turns what control says through the ring into episodes; the recorder's side.

    ring -> journal -> raw episode -> redact, sign, share

Every step is accounted for: it is in an episode, or counted with the reason why not. An
episode is cut where steps are missing, so that in each part a step follows the one
before it; a part is an episode of its own, as in `recorder.py`.

What is being recorded is written down (`open_episode.py`), and so is what became of
the steps so far (`step_account.py`).

A recorder that is killed leaves a journal. The next one makes it a part, and the steps
that come become the part after it. A step that was in the journal already when the
recorder died is not recorded twice.
"""

import contextlib
import dataclasses
import functools
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path
from typing import Final

from base import durable_file
from base.errors import ContinuonError, DiskError, MalformedError, OversizedError
from edge.episodes import deciding, episode_id, recording_folders, replacing
from edge.episodes.episode_id import Held
from edge.episodes.masking_queue import MaskingQueue
from edge.episodes.open_episode import OPEN, OpenEpisode, read_open
from edge.episodes.recorder import EpisodeRecorder, episode_spec
from edge.episodes.ring import RingReader
from edge.episodes.sharing import Recording, Shared
from edge.episodes.step_account import ACCOUNT, Account, Missing, open_account
from edge.episodes.step_ring import (
    NS_PER_MS,
    Begin,
    End,
    Step,
    parse,
)
from edge.robots.robot import RobotSpec
from rlds import journal, recovery
from rlds.closed_episode import EPISODE_SUFFIX
from rlds.errors import MalformedEpisodeError, SealedError
from rlds.spec import LEFT_OUT_TAG
from rlds.tfds_directory import TfdsDirectory

RETRY_S: Final = 5.0
"""A disk that refused is tried again after this time."""
AGAIN_S: Final = 600.0
"""The same trouble is told of again after this time, in whatever episode it comes."""

OpenFolders = Callable[[RobotSpec], AbstractContextManager[Recording]]
"""Opens the folders of a recording for the episodes of a robot."""


class RingRecording:
    """Records the episodes that come through one ring after the other."""

    def __init__(
        self,
        private: Path,
        open_folders: OpenFolders,
        on_shared: Callable[[Shared], None],
        tell: Callable[[str], None],
    ) -> None:
        """Reads what a recorder before this one left.

        Args:
            private: folder of journals and raw episodes.
            open_folders: opens it, and the folder of shared episodes.
            on_shared: called for each episode that was shared.
            tell: gets a line about whatever cannot be recorded.
        """
        self._private = private
        self._open_folders = open_folders
        self._on_shared = on_shared
        self._tell = tell
        self._stack = ExitStack()
        self._folders: Recording | None = None
        self._has_cameras = False
        self._recorder: EpisodeRecorder | None = None
        self._began_at = 0  # the step with which it began
        self._open: OpenEpisode | None = None
        self._next = 0  # number of the step that follows the last one that was kept
        self._refused_until_s = 0.0
        self._has_leftovers = False
        self._is_left = False  # the last part of the open episode, as a journal
        self._masking = MaskingQueue(tell)
        self._counted = open_account(private, tell)
        self.episodes = 0
        self._told_s: dict[tuple[str, ...], float] = {}
        self._now_s = -AGAIN_S
        self.trouble = ""

    @property
    def account(self) -> Account:
        """What became of all steps so far, those of the open episode among them."""
        if self._open is None:
            return self._counted
        return dataclasses.replace(
            self._counted,
            driven=self._counted.driven + self._next,
            missing=self._counted.missing + self._open.missing,
        )

    @property
    def waiting_for_masks(self) -> int:
        """Raw episodes whose pictures are not masked yet."""
        return len(self._masking)

    def share_masked(self) -> None:
        """Shares an episode whose pictures are masked by now; it waits for none.

        Call it again and again, while there is something to record and while not.
        """
        if self._folders is None or not len(self._masking):
            return
        self._let_go_of_lost_folders()
        if self._folders is None:
            return
        try:
            shared = self._masking.poll(self._folders)
        except (ContinuonError, OSError) as e:
            self._complain(e)
            return
        if shared is not None:
            self._tell_shared(shared)

    @property
    def is_recording(self) -> bool:
        """Whether an episode has begun and not ended."""
        return self._open is not None

    def resume(self) -> None:
        """Takes up what a killed recorder left; call it once, at the start.

        A part of the open episode becomes an episode with the next record: that may
        say that control hung in it.

        Raises:
            ContinuonError: the folders cannot be opened; the next episode tries again.
        """
        left = read_open(self._private)
        if left is None:
            return
        if left.begin.episode_id == self._counted.last_episode:
            (self._private / OPEN).unlink(missing_ok=True)
        else:
            kept = _count_steps(self._private / f"{left.part}{journal.SUFFIX}")
            self._open, self._next = left, left.first + kept
            if kept:
                self._reserve_next()
                self._has_leftovers = self._is_left = True
        self._enter(left.begin.robot)

    def take(self, ring: RingReader, now_s: float) -> bool:
        """Deals with the next record of a ring; False if there is none.

        A full disk or a wrong clock is told of, and the steps are counted.
        """
        record = ring.peek()
        if record is None:
            return False
        self._now_s = now_s
        try:
            found = parse(record)
            if isinstance(found, Begin):
                self._begin(found, now_s)
            elif isinstance(found, Step):
                self._step(found, now_s)
            elif isinstance(found, End):
                self._end(found, now_s)
            elif self._open is not None:
                self._finish(None, now_s, hung=True)
        except (MalformedError, OversizedError) as e:
            self._complain(e)
        ring.release()
        return True

    def cut(self, now_s: float) -> None:
        """Closes the part that is open, whose next step is missing or may never come.

        Steps that still come become the next part.
        """
        self._let_go_of_lost_folders()
        recorder, self._recorder = self._recorder, None
        if recorder is not None:
            self._reserve_next()
            self._close_part(recorder, None, now_s)
        self.share_left()

    def share_left(self) -> None:
        """Makes an episode of the part that a killed recorder left; tries it once."""
        if self._is_left:
            self._is_left = False
            self._recover()

    @contextlib.contextmanager
    def hold_shared(self, shared: Path) -> Iterator[Callable[[], TfdsDirectory]]:
        """Holds the folder of shared episodes, to which nobody else writes meanwhile.

        Yields:
            What opens it as a dataset, to remove episodes from it.

        Raises:
            OutputFolderError: another program writes there.
            ContinuonError, OSError: the folders cannot be opened.
        """
        self._let_go_of_lost_folders()
        if self._folders is None:
            with recording_folders.hold(shared, self._private) as keep:
                keep()
                open_directory = functools.partial(deciding.open_directory, shared)
                replacing.finish(self._private, lambda _: open_directory(), self._tell)
                yield open_directory
            return
        directory = self._folders.directory
        yield lambda: directory

    def close(self) -> None:
        """Lets go of journals and folders."""
        if self._recorder is not None:
            self._recorder.leave()
            self._recorder = None
        self._stack.close()
        self._folders = None

    def _begin(self, begin: Begin, now_s: float) -> None:
        if self._open is not None:
            if self._open.begin.episode_id == begin.episode_id:
                return  # it was read before the recorder died
            self._finish(None, now_s)
        self._let_go_of_lost_folders()
        self._open, self._next = OpenEpisode(begin, begin.episode_id, 0), 0
        self._refused_until_s = 0.0
        try:
            self._enter(begin.robot)
            self._write_open()
        except (ContinuonError, OSError) as e:
            self._complain(e)

    def _step(self, step: Step, now_s: float) -> None:
        episode = self._open
        if episode is None or episode.begin.episode_id != step.episode_id:
            missing = self._counted.missing + Missing(no_room=1)
            driven = self._counted.driven + 1
            self._counted = dataclasses.replace(
                self._counted, driven=driven, missing=missing
            )
            return
        if step.number < self._next:
            return  # it was kept before the recorder died
        if step.number > self._next:
            self._miss(Missing(no_room=step.number - self._next))
            self._next = step.number
            self.cut(now_s)
        if self._recorder is None and not self._begin_part(now_s):
            self._miss(Missing(refused=1))
            self._next += 1
            return
        self._append(step, now_s)

    def _append(self, step: Step, now_s: float) -> None:
        assert self._open is not None
        assert self._recorder is not None
        begin = self._open.begin
        fields = step.fields(episode_spec(begin.robot, begin.provenance))
        fields["is_first"] = step.number == self._open.first
        try:
            self._recorder.append_fields(fields)
            self._next += 1
        except DiskError as e:
            self._next += 1
            self._miss(Missing(refused=1))
            self._leave(e, now_s)
        except (MalformedEpisodeError, OversizedError) as e:
            self._next += 1
            self._miss(Missing(unfit=1))
            self._complain(e)
            self.cut(now_s)

    def _end(self, end: End, now_s: float) -> None:
        episode = self._open
        if episode is None or episode.begin.episode_id != end.episode_id:
            return
        missing = max(0, end.steps - self._next)
        self._miss(Missing(no_room=missing))
        self._next += missing
        if LEFT_OUT_TAG in end.tags and (self._recorder is None or self._began_at):
            self._tell(
                f"{end.episode_id} is left out, but not what was closed of it before"
                f" {episode.part}: //edge:label leaves that out"
            )
        self._finish(None if missing else end.success, now_s, end.tags)

    def _finish(
        self,
        success: bool | None,
        now_s: float,
        tags: tuple[str, ...] = (),
        *,
        hung: bool = False,
    ) -> None:
        """Ends the episode: its last part becomes an episode, and nothing is open."""
        assert self._open is not None
        self._let_go_of_lost_folders()
        recorder, self._recorder = self._recorder, None
        if recorder is not None:
            self._reserve_next()  # so that the last part is counted once if this is cut
            if hung:
                self._leave_hung(recorder)
            else:
                self._close_part(recorder, success, now_s, tags)
        name = self._open.begin.episode_id
        if hung and recorder is None:
            if self._is_left:
                self._mark_hung()
            else:
                self._tell(
                    f"control hung in episode {name}, after all that is recorded of it"
                )
        self._is_left = False
        self._counted = dataclasses.replace(self.account, last_episode=name)
        self._open, self._next = None, 0
        try:
            if self._private.is_dir():  # else it was told of, and comes again
                account = self._private / ACCOUNT
                durable_file.write_record(account, self._counted.encode())
                (self._private / OPEN).unlink(missing_ok=True)
        except (ContinuonError, OSError) as e:
            self._complain(e)
        if self._has_leftovers:
            self._recover()

    def _begin_part(self, now_s: float) -> bool:
        """Opens the journal of a part; False if the disk or the clock is against it."""
        if now_s < self._refused_until_s:
            return False
        assert self._open is not None
        begin = self._open.begin
        try:
            folders = self._enter(begin.robot)
            self.share_left()
            name = self._open.part
            while self._is_taken(folders, name):
                name = episode_id.derive_next(name)
            self._open = dataclasses.replace(self._open, part=name, first=self._next)
            self._began_at = self._next
            self._recorder = folders.begin(
                begin.robot,
                name,
                begin.start_unix_ms * NS_PER_MS,
                begin.provenance,
                self._note_part,
            )
        except (ContinuonError, OSError) as e:
            self._refused_until_s = now_s + RETRY_S
            self._has_leftovers = True
            self._complain(e)
            return False
        self.trouble = ""
        return True

    def _is_taken(self, folders: Recording, name: str) -> bool:
        """Whether there is an episode of this name, or its journal."""
        return folders.look_up(name) is not Held.NOTHING or any(
            (self._private / f"{name}{suffix}").exists()
            for suffix in (journal.SUFFIX, EPISODE_SUFFIX)
        )

    def _note_part(self, name: str) -> None:
        """Writes down that a part has begun; its journal exists already.

        A part that became too large is cut by the step that follows `_next`.
        """
        assert self._open is not None
        self._open = dataclasses.replace(self._open, part=name, first=self._next)
        self._write_open()

    def _write_open(self) -> None:
        assert self._open is not None
        durable_file.write_record(self._private / OPEN, self._open.encode(), mode=0o600)

    def _reserve_next(self) -> None:
        """Names the part that the next step begins, before the one before is closed."""
        assert self._open is not None
        name = episode_id.derive_next(self._open.part)
        self._open = dataclasses.replace(self._open, part=name, first=self._next)
        try:
            self._write_open()
        except ContinuonError as e:
            self._complain(e)

    def _miss(self, missing: Missing) -> None:
        assert self._open is not None
        missing = self._open.missing + missing
        self._open = dataclasses.replace(self._open, missing=missing)

    def _close_part(
        self,
        recorder: EpisodeRecorder,
        success: bool | None,
        now_s: float,
        tags: tuple[str, ...] = (),
    ) -> None:
        """Turns the journals into raw episodes and shares them."""
        try:
            for closed in recorder.close(success, tags):
                assert self._folders is not None
                if not self._masks_later(closed.path):
                    self._tell_shared(self._folders.share(closed))
        except (ContinuonError, OSError) as e:
            recorder.leave()
            self._has_leftovers = True
            if not isinstance(e, MalformedEpisodeError):  # it had no step
                self._is_left = True
                self._refused_until_s = now_s + RETRY_S
                self._complain(e)

    def _leave_hung(self, recorder: EpisodeRecorder) -> None:
        """Leaves the journal of a control process that hung, as its crash would have.

        What is recovered has the tag of the watchdog, and its last step is a safety
        violation.
        """
        self._mark_hung()
        recorder.leave()
        self._has_leftovers = True

    def _mark_hung(self) -> None:
        try:
            recovery.mark_hung(self._private)
        except OSError as e:
            self._complain(f"nobody will know that control hung: {e.strerror}")

    def _leave(self, error: Exception, now_s: float) -> None:
        """Lets go of a journal that the disk does not take; it is closed later."""
        assert self._recorder is not None
        self._recorder.leave()
        self._recorder, self._has_leftovers, self._is_left = None, True, True
        self._refused_until_s = now_s + RETRY_S
        self._reserve_next()
        self._complain(error)

    def _enter(self, robot: RobotSpec) -> Recording:
        """Opens the folders if they are not open, and shares what was left in them."""
        if self._folders is None:
            self._has_cameras = bool(robot.cameras)
            with ExitStack() as stack:
                self._folders = stack.enter_context(self._open_folders(robot))
                self._stack = stack.pop_all()
            if not self._is_left:
                self._recover()
        return self._folders

    def _let_go_of_lost_folders(self) -> None:
        """Notices that a folder was removed or replaced; the next one is made anew.

        A journal in the private folder is gone with it, and its steps are missing; one
        that is still there becomes an episode when the folders are opened again.
        """
        if self._folders is None or self._folders.is_in_place():
            return
        recorder, self._recorder = self._recorder, None
        if recorder is not None and self._open is not None:
            with contextlib.suppress(ContinuonError, OSError):
                recorder.leave()
            if (self._private / f"{self._open.part}{journal.SUFFIX}").exists():
                self._has_leftovers = True
            else:
                self._miss(Missing(refused=self._next - self._open.first))
        self._stack.close()
        self._folders = None
        self._complain(
            f"{self._private}: this folder or that of shared episodes was removed or "
            "replaced while the recorder ran; both are made anew with the next episode"
        )

    def _recover(self) -> None:
        if self._folders is None:
            return
        try:
            for shared in self._folders.recover(self._masks_later):
                self._tell_shared(shared)
            self._has_leftovers = self._folders.has_more
        except (ContinuonError, OSError) as e:
            self._complain(e)

    def _masks_later(self, path: Path) -> bool:
        """Whether an episode waits for masks, which takes longer than it was long."""
        assert self._folders is not None
        if not self._has_cameras or not self._folders.masks:
            return self._masking.holds(path)
        self._masking.add(path)
        return True

    def _tell_shared(self, shared: Shared) -> None:
        self.episodes += 1
        self._on_shared(shared)

    def _complain(self, trouble: Exception | str) -> None:
        """Tells of trouble when it begins, and seldom while it lasts.

        A full disk refuses the files of each episode, and each has another name: what
        tells one trouble from another is what was refused, and why.
        """
        text = str(trouble)
        if text == self.trouble:
            return
        self.trouble = text
        if isinstance(trouble, Exception):
            kind = _name_kind(trouble)
            last_s = self._told_s.get(kind)
            if last_s is not None and self._now_s - last_s < AGAIN_S:
                return
            self._told_s[kind] = self._now_s
        self._tell(text)


def _name_kind(trouble: Exception) -> tuple[str, ...]:
    """What stays the same of a trouble from one episode to the next."""
    if isinstance(trouble, DiskError):
        return "disk", trouble.got
    if isinstance(trouble, ContinuonError):
        return type(trouble).__name__, trouble.expected, trouble.got
    return "disk", getattr(trouble, "strerror", None) or type(trouble).__name__


def _count_steps(path: Path) -> int:
    """Number of whole steps in a journal; 0 if there is none that can be read."""
    try:
        content = journal.read(path)
    except SealedError:  # they are there, though the key is lost
        with contextlib.suppress(OSError):
            return journal.count_sealed_steps(path)
        return 0
    except ContinuonError:
        return 0
    return 0 if content is None else content.num_steps
