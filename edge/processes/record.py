"""Records what control drives: from the ring to a private journal to a shared episode.

    ./bazelw run //edge/processes:record -- --home=DIR

Each step goes into a journal in `home/private` as it comes. When an episode has ended
it is redacted, signed and shared in `home/shared`, and the raw episode is handed over
to `home/memories/new`, from which the robot learns.

Control never waits for this process. While the disk is full, or the clock is wrong,
nothing is recorded and the robot drives; the steps are counted. SIGTERM records what is
in the ring, and ends with 0.
"""

import base.interrupt  # noqa: F401 - Ctrl-C ends it from here on

import contextlib
import functools
import os
import stat
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from absl import app, flags

from base import command_line, durable_file
from base.errors import ContinuonError, DiskError, reason
from edge import raw_memory, simulated_or_real, word_flags
from edge.episodes import amend, consents, labels, robot_key, terms
from edge.episodes.deciding import Deciding
from edge.episodes.open_recording import open_recording
from edge.episodes.own_episodes import OwnEpisodes
from edge.episodes.ring import RingReader
from edge.episodes.ring_recording import RingRecording
from edge.episodes.robot_key import RobotKey
from edge.episodes.shared_quota import SharedQuota
from edge.episodes.sharing import Recording, Shared
from edge.episodes.step_account import Account
from edge.errors import KeyFileError, RingError
from edge.processes import process, robot_flags
from edge.processes.home import Home
from edge.processes.process import Process
from edge.robots import machine_name
from edge.robots.clock import NS_PER_S, MonotonicClock
from edge.robots.robot import RobotSpec
from rlds import spool_flags

NAME: Final = "record"
NEW_LIMIT_BYTES: Final = 1 << 30
"""Raw episodes that wait for a learner; the oldest go first, since a robot that does
not learn must not fill its disk with them."""
_POLL_S: Final = 0.005  # a fifth of a period at 40 Hz; the ring holds seconds
_REST_S: Final = 1.0
_REST_POLL_S: Final = 0.05
"""Between two looks once nothing has come for `_REST_S`: looking 200 times a second for
steps of a robot that stands still took 4.8 % of a processor (of an EPYC)."""
_WISHES_S: Final = 0.5  # between two looks, if no message comes
_SILENCE_S: Final = 10.0
"""A robot is driven at 1 Hz at least; after this time its episode is closed."""

HOME = robot_flags.define_home()
ROBOT_ID = robot_flags.define_robot_id()
KEY_FILE = robot_flags.define_key_file()
robot_flags.define_shared_quota()
flags.adopt_module_key_flags(word_flags)
flags.adopt_module_key_flags(spool_flags)
CONSENT = flags.DEFINE_bool(
    "consent", False, "whether the operator lets these episodes be uploaded"
)


class _Wishes:
    """What the operator says of shared episodes, signed between two records."""

    def __init__(
        self, me: Process, home: Home, recording: RingRecording, robot_id: str
    ) -> None:
        self._me, self._home, self._recording = me, home, recording
        self._robot_id = robot_id
        self._looked_s = -_WISHES_S
        self._names: list[str] = []
        self._labelled: list[str] = []
        self._said = ""
        self._is_whole = False  # what a cut left of deletions is done

    def sign(self, now_s: float) -> None:
        """Signs one wish, if there is one: an episode that is recorded does not wait.

        What cannot be signed is said once.
        """
        if any(one.kind == "decided" for one in self._me.receive()):
            self._looked_s = -_WISHES_S
        shared = self._home.shared
        waits = self._names or self._labelled
        if not waits and now_s - self._looked_s >= _WISHES_S:
            self._looked_s = now_s
            self._names = consents.list_wishes(shared)
            self._labelled = labels.list_names(shared / labels.SHARED_FOLDER)
        if not shared.is_dir():
            return
        if self._labelled:
            self._note_label(self._labelled.pop(0))
        if self._is_whole and not self._names:
            return
        try:
            with self._recording.hold_shared(shared) as open_directory:
                holder = Deciding(shared, open_directory, self._find_key)
                if not self._is_whole:
                    self._is_whole = True
                    holder.finish(self._say)
                if self._names:
                    now_ns = MonotonicClock().unix_ns()
                    holder.apply_wish(self._names.pop(0), now_ns, self._say)
        except (ContinuonError, OSError) as e:
            self._names = []  # they are looked for again
            self._say(" ".join(str(e).split()))

    def _note_label(self, name: str) -> None:
        """Notes in the shared copy how an episode went, and hands it to the learner."""
        shared = self._home.shared
        folder = shared / labels.SHARED_FOLDER
        try:
            says = labels.read(folder, name)
            if says is not None:
                self._amend(name, says)
                labels.write(self._home.memories / labels.FOLDER, name, says)
                self._me.mailbox.send("learn", "episode", {})
            labels.remove(folder, name)
        except (ContinuonError, OSError) as e:
            self._say(" ".join(str(e).split()))
            if isinstance(e, ContinuonError) and not isinstance(e, DiskError):
                with contextlib.suppress(ContinuonError):
                    labels.remove(folder, name)  # it will not be otherwise

    def _amend(self, name: str, says: str) -> None:
        now_ns = MonotonicClock().unix_ns()
        with self._recording.hold_shared(self._home.shared) as open_directory:
            own = OwnEpisodes(
                self._home.shared,
                self._home.private,
                self._find_key,
                datetime.fromtimestamp(now_ns / NS_PER_S, UTC),
                lambda _: open_directory(),
            )
            consent = None
            if says == amend.LEAVE_OUT:
                consent = terms.operator_consent(False, now_ns)
            for copy in own.find_copies(name):
                change = functools.partial(amend.apply_said, says=says)
                own.prepare(copy, change, consent)()

    def _say(self, text: str) -> None:
        if text != self._said:
            self._said = text
            self._me.say(text)

    def _find_key(self, keyid: str, time: str) -> RobotKey:
        keys = [robot_key.derive_simulated(self._robot_id)]
        path = Path(KEY_FILE.value or self._home.private / "robot.key")
        if path.exists():
            keys.append(robot_key.load_or_create(path))
        found = robot_key.find(keys, keyid, time)
        if found is None:
            raise KeyFileError(
                path,
                f"the robot's key {keyid[:12]}, which signed this episode",
                "another one",
                "start the robot with the --robot_id and --key_file that recorded it",
            )
        return found


def main(argv: list[str]) -> None:
    """Records until it is told to end."""
    if len(argv) > 1:
        raise app.UsageError(f"expected flags only, got {argv[1]!r}")
    word_flags.read()  # a wrong one is refused now
    raw_memory.hide()
    raw_memory.try_lock()
    spool_flags.use()
    home = Home(Path(HOME.value))
    with process.open_process(home.root, NAME) as me:
        _record(me, home, ROBOT_ID.value or machine_name.derive_name())


def _record(me: Process, home: Home, robot_id: str) -> None:
    quota = SharedQuota(robot_flags.read_shared_quota_bytes(), me.say)
    recording = RingRecording(
        home.private,
        functools.partial(_open_folders, me, home, robot_id, quota),
        functools.partial(_tell_learner, me, home),
        me.say,
    )
    with contextlib.closing(recording):
        try:
            recording.resume()
        except (ContinuonError, OSError) as e:
            me.say(str(e))
        me.say_ready()
        signer = _Wishes(me, home, recording, robot_id)
        before = recording.account
        describe = functools.partial(_describe, recording, before, quota)
        ring = _wait_for_ring(me, home, recording, describe, signer)
        heard_s = time.monotonic()
        while ring is not None:
            now_s = time.monotonic()
            recording.share_masked()
            if recording.take(ring, now_s):
                heard_s = now_s
                if me.is_status_due():  # one that is never empty keeps no wish waiting
                    signer.sign(now_s)
            elif ring.is_lost or ring.is_replaced() or me.is_stopped():
                ring.close()
                if me.is_stopped():
                    break
                ring = _wait_for_ring(me, home, recording, describe, signer)
                continue
            else:
                if now_s - heard_s > _SILENCE_S:
                    heard_s = now_s
                    if ring.pass_damage():
                        continue
                    recording.cut(now_s)
                signer.sign(now_s)
                resting = now_s - heard_s > _REST_S
                time.sleep(_REST_POLL_S if resting else _POLL_S)
            if me.is_status_due():
                me.show_now(describe(ring))
        recording.cut(time.monotonic())
    me.say(_summarize(recording.account, quota))


def _wait_for_ring(
    me: Process,
    home: Home,
    recording: RingRecording,
    describe: Callable[[RingReader | None], dict[str, object]],
    signer: _Wishes,
) -> RingReader | None:
    """Waits until control has made a ring; None when this process is told to end."""
    while not me.is_stopped():
        with contextlib.suppress(RingError):
            return RingReader(home.ring)
        recording.share_left()  # nobody says more of it
        recording.share_masked()
        signer.sign(time.monotonic())
        me.show(describe(None))
        me.rest(0.05)
    return None


@contextlib.contextmanager
def _open_folders(
    me: Process, home: Home, robot_id: str, quota: SharedQuota, robot: RobotSpec
) -> Iterator[Recording]:
    """Opens the folders for the episodes of a robot."""
    for folder in (home.private, home.shared):
        _tell_aside(me, folder, durable_file.set_aside_non_folder(folder))
    spool_flags.say_if_plain(robot.simulated, me.say)
    key_file = KEY_FILE.value
    if key_file is None and not robot.simulated:
        key_file = str(home.private / "robot.key")
    with open_recording(
        output=home.shared,
        private=home.private,
        robot=robot,
        robot_id=robot_id,
        open_key=lambda: simulated_or_real.open_key(robot, key_file, robot_id),
        consent=terms.operator_consent(CONSENT.value, MonotonicClock().unix_ns()),
        tell=me.say,
        hand_over=functools.partial(hand_over, home.new_memories, me),
        quota=quota,
        words=word_flags.read(),
    ) as recording:
        yield recording


def _tell_aside(me: Process, folder: Path, aside: Path | None) -> None:
    if aside is not None:
        me.say(f"{folder} was no folder: now {aside.name}")


def hand_over(folder: Path, me: Process, raw: Path) -> None:
    """Gives a raw episode to the learner, by a second name for the same bytes.

    Where the folder is on another file system, it gets a copy. A robot whose learner
    does not take them keeps the newest. A failure is reported, and the episode
    is shared all the same.
    """
    target = folder / raw.name
    try:
        for own in (folder.parent, folder):
            _tell_aside(me, own, durable_file.make_own_folder(own, 0o770))
        _make_room(folder, raw.stat().st_size)
        try:
            os.link(raw, target)
        except FileExistsError:
            return
        except OSError:
            durable_file.write(target, raw.read_bytes(), mode=0o640)
        durable_file.fsync_folder(folder)
    except (ContinuonError, OSError) as e:
        me.say(f"{raw.name} is not kept to learn from: {reason(e, target)}")


def _make_room(folder: Path, size_bytes: int) -> None:
    """Removes the oldest episodes that nobody learned from, beyond the limit.

    What is no file takes no room and stays: the learner sets it aside.
    """
    found = []
    for path in folder.glob("*"):
        with contextlib.suppress(FileNotFoundError):  # the learner has just taken it
            status = path.lstat()
            if stat.S_ISREG(status.st_mode):
                found.append((status.st_mtime_ns, status.st_size, path))
    total = size_bytes + sum(size for _, size, _ in found)
    for _, size, path in sorted(found):
        if total <= NEW_LIMIT_BYTES:
            return
        total -= size
        path.unlink(missing_ok=True)


def _tell_learner(me: Process, home: Home, shared: Shared) -> None:
    path = home.new_memories / shared.path.name
    me.mailbox.send(
        "learn",
        "episode",
        {"episode_id": shared.episode_id, "steps": shared.num_steps, "path": str(path)},
    )


def _describe(
    recording: RingRecording,
    before: Account,
    quota: SharedQuota,
    ring: RingReader | None,
) -> dict[str, object]:
    """The fields of a status: what this process did, not those before it."""
    account = recording.account
    doing = "records" if recording.is_recording else "waits for an episode"
    return {
        "doing": f"cannot record: {recording.trouble}" if recording.trouble else doing,
        "episodes": recording.episodes,
        "driven": account.driven - before.driven,
        "recorded": account.recorded - before.recorded,
        "missing": account.missing.total - before.missing.total,
        "dropped": 0 if ring is None else ring.dropped,
        "waiting_for_masks": recording.waiting_for_masks,
        "removed_private": quota.private,
        "removed_waiting": quota.waiting,
    }


def _summarize(account: Account, quota: SharedQuota) -> str:
    """Says what became of every step that was driven in this home.

    The episodes that were removed unsent are those that this process removed.
    """
    missing = account.missing
    text = f"{account.recorded} of all {account.driven} steps so far are recorded"
    if missing.total:
        text += (
            f"; {missing.no_room} found no room, {missing.refused} were refused by disk"
            f" or clock, {missing.unfit} fit no episode"
        )
    if quota.private or quota.waiting:
        text += (
            f"; of the shared episodes {quota.private} without consent and "
            f"{quota.waiting} that waited to be sent made room for newer ones"
        )
    return text


if __name__ == "__main__":
    command_line.run(main)
