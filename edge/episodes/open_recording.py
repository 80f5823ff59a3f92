"""Opens the folders of a recording: made, locked and checked before a robot moves."""

import contextlib
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path

from base import durable_file
from edge.episodes import recording_folders, robot_key
from edge.episodes.episode_id import make_random_id
from edge.episodes.provenance import Provenance, begin_metadata
from edge.episodes.recorder import episode_spec
from edge.episodes.robot_key import RobotKey
from edge.episodes.shared_copy import find_drawer
from edge.episodes.shared_quota import SharedQuota
from edge.episodes.sharing import DATASET_NAME, ROBOTS_CLOCK, SPLIT, Recording
from edge.redact import masker, redactor
from edge.redact.masker import Masker
from edge.robots.clock import Clock, MonotonicClock, require_right
from edge.robots.robot import RobotSpec
from edge.runtime_version import RUNTIME_DATE
from rlds import redacted_form, sidecar_statements
from rlds.sidecar import Consent
from rlds.tfds_directory import TfdsDirectory

_MACHINE = MonotonicClock()

OpenMasker = Callable[[Callable[[str], None]], Masker | None]


@contextlib.contextmanager
def open_recording(
    output: Path,
    private: Path,
    robot: RobotSpec,
    robot_id: str,
    open_key: Callable[[], RobotKey],
    consent: Consent,
    tell: Callable[[str], None],
    passed: datetime = RUNTIME_DATE,
    machine: Clock = _MACHINE,
    hand_over: Callable[[Path], None] | None = None,
    quota: SharedQuota | None = None,
    words: frozenset[str] = frozenset(),
    open_masker: OpenMasker = masker.open_masker,
    drawn: frozenset[str] = frozenset(),
) -> Iterator[Recording]:
    """Makes the folders and locks them against other recordings.

    Everything for which an episode of this robot could not be shared is looked at
    before it moves, and a start that is refused leaves nothing: the key is made last.

    Args:
        output: folder of redacted episodes; may hold some already.
        private: folder of raw episodes, mode 0700.
        robot: the robot whose episodes are recorded first.
        robot_id: the robot's name, which leaves it only as a keyed hash.
        open_key: reads the robot's secrets, or makes them.
        consent: whether the operator lets the episodes that begin now be uploaded;
            recovered episodes keep their own consent.
        tell: gets a line about each file that is set aside or cannot be shared.
        passed: a time that is known to have passed, such as that of the newest channel.
        machine: the machine's own clock, which tells what lies in the future.
        hand_over: gets the file of each raw episode once it is shared, before it is
            removed; after a crash it may get one again.
        quota: keeps `output` within a size; None for no limit.
        words: those of the operator that may leave in the episodes that begin now,
            beside the closed list; recovered episodes keep their own.
        open_masker: gives what masks the pictures of a robot with a camera; None, and
            a line, where a detector is missing: then no picture leaves.
        drawn: what `edge.robots.drawn_cameras` finds of that robot; it needs no masks.

    Raises:
        ClockError: the machine's clock is wrong.
        DateError: the robot's clock, from which the consent has its hour, is.
        FieldFormError: the robot's make, task or environment is not in the form in
            which it may leave the robot.
        OutputFolderError: another recording writes there, or other users can read
            `private`.
        DatasetFolderError: `output` holds episodes with other fields, or other files.
        KeyFileError: as `open_key`; or the robot has too many words of its own.
        RldsError, OSError: the folders cannot be made.
    """
    now = require_right(machine, passed)
    sidecar_statements.check_date(consent.at, now, ROBOTS_CLOCK, "a day")
    name = make_random_id(machine.unix_ns())
    nobody = Provenance("human")  # who acts is not known yet
    metadata = begin_metadata(robot, robot_id, name, machine.unix_ns(), nobody)
    redacted_form.check_open_fields(metadata)
    for field in redactor.find_hidden(metadata, words):
        tell(
            f"the robot's {field} is shared as a hash, since it is not made of words"
            " of rlds/known_words.py; a package that is trained on it fits no robot;"
            " --share_words=WORD,WORD lets words of yours leave (docs/privacy.md)"
        )
    with recording_folders.hold(output, private) as keep:
        durable_file.remove_leftovers(output)
        durable_file.remove_leftovers(output / SPLIT)
        durable_file.remove_leftovers(private)
        spec = episode_spec(robot, nobody)
        draws = bool(find_drawer(spec, metadata, drawn))
        chosen = open_masker(tell) if spec.picture_fields and not draws else None
        shared = redactor.shared_spec(spec, draws or chosen is not None)
        directory = TfdsDirectory(output, DATASET_NAME, shared, SPLIT)
        for path in directory.set_aside:
            tell(f"a file among the links of episodes is now {path}")
        key = open_key()
        robot_key.join_words(output, key.of_month(consent.at).keyid, words)
        keep()
        if quota is not None:  # it may be lower than before
            quota.make_room(output, directory, 0)
        yield Recording(
            output,
            private,
            directory,
            key,
            robot_id,
            consent,
            tell,
            machine,
            hand_over,
            quota,
            words,
            chosen,
        )
