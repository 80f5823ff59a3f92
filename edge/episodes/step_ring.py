"""What control says to the recorder through the ring: an episode begins, steps, ends.

Control writes and never waits. A step that finds no room is dropped and counted, and so
are those after it until half of the ring is free: a few long holes leave longer pieces
than many short ones. Each step has its number in the episode, so the recorder sees what
is missing. That an episode begins is said again with each step until it finds room.

In simulated pace nobody loses time, and control waits for the recorder.

A ring whose file somebody cut off takes no more steps. With the end or the begin of an
episode, when there is time, control makes another one: it says there how many steps the
episode had, so that those which are missing are counted.

A control process that hangs says nothing more. When its watchdog has killed it, the
watchdog says so here: no other process writes then.
"""

import contextlib
import dataclasses
import struct
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np

from base import canonical_json
from base.errors import MalformedError
from base.json_fields import Fields, decode
from edge.control.control_step import ControlStep
from edge.episodes.provenance import Provenance
from edge.episodes.recorder import describe_step, episode_spec
from edge.episodes.ring import SLOTS, Record, RingWriter
from edge.errors import RingError
from edge.robots.robot import Camera, Microphone, RobotSpec
from rlds import journal
from rlds.spec import (
    KNOWN_TAGS,
    NO_PICTURE_AGE,
    EpisodeSpec,
    age_field,
    picture_field,
)

BEGIN: Final = 1
STEP: Final = 2
END: Final = 3
HUNG: Final = 4
NS_PER_MS: Final = 1_000_000
_STEP: Final = struct.Struct("<16sI")  # the episode's name, the step's number in it
# The name, steps driven, success (-1: not known), tags with blanks between them.
_END: Final = struct.Struct("<16sIb128s")
_SPARE_BYTES: Final = 256  # in a slot: tags, a location, fields of an episode
_LENGTH_BYTES: Final = 4
LARGEST_BYTES: Final = 64 * 1024 * 1024
"""Of a ring that carries pictures: 20 s of two cameras of 320x240 at 20 Hz, should all
of their pictures be as large as any may be."""
_LEAST_SLOTS: Final = 32
_LARGEST_BEGIN_BYTES: Final = 1 << 20
_PATIENCE_S: Final = 5.0  # in simulated pace; then there is no recorder
_KEYS: Final = ("episode_id", "start_unix_ms", "robot", "provenance")


@dataclass(frozen=True)
class Begin:
    """An episode begins.

    Attributes:
        episode_id: its name.
        start_unix_ms: when, on the robot's clock.
        robot: the robot's properties.
        provenance: who acts, and with what.
    """

    episode_id: str
    start_unix_ms: int
    robot: RobotSpec
    provenance: Provenance

    def encode(self) -> bytes:
        """The content of the record; `decode_begin` is the inverse."""
        return canonical_json.encode(dataclasses.asdict(self))


@dataclass(frozen=True)
class Step:
    """One step of an episode.

    Attributes:
        episode_id: name of the episode.
        number: how many steps of the episode were driven before it.
        record: the record of a journal (`rlds.journal`): its numbers, then pictures.
    """

    episode_id: str
    number: int
    record: bytes

    def fields(self, spec: EpisodeSpec) -> dict[str, Any]:
        """One value per step field.

        Raises:
            MalformedError: it is no step of such a robot.
        """
        layout = journal.step_dtype(spec)
        names = spec.picture_fields
        pictures = journal.split_pictures(self.record[layout.itemsize :], len(names))
        if len(self.record) < layout.itemsize or pictures is None:
            raise MalformedError(
                "the ring", f"a step of {layout.itemsize} bytes", len(self.record)
            )
        (row,) = np.frombuffer(self.record, layout, count=1)
        numbers = {name: row[name] for name in layout.names or ()}
        return numbers | dict(zip(names, pictures, strict=True))


@dataclass(frozen=True)
class End:
    """An episode has ended.

    Attributes:
        episode_id: its name.
        steps: how many steps were driven.
        success: whether the task was fulfilled; None if that is not known.
        tags: what its end says of it (`EpisodeResult.tags`).
    """

    episode_id: str
    steps: int
    success: bool | None
    tags: tuple[str, ...] = ()


@dataclass(frozen=True)
class Hung:
    """Control hung in the episode that it said last, and its watchdog killed it."""


class StepSender:
    """Control's side of the ring; a `StepRecorder`."""

    def __init__(
        self,
        path: Path,
        robot: RobotSpec,
        *,
        waits: bool = False,
        slots: int | None = None,
        tell: Callable[[str], None] = lambda line: None,
    ) -> None:
        """Opens the ring, or makes one.

        Args:
            path: of the ring's file.
            robot: the robot that is driven.
            waits: whether to wait for room, as simulated pace allows.
            slots: size of the ring, in records; None for `SLOTS`, or fewer where
                pictures make them large.
            tell: gets a line when the ring was lost, and about pictures that are too
                large for it.

        Raises:
            RingError: there is no room for the ring.
        """
        self._robot = robot
        self._waits = waits
        self._tell = tell
        self._told = set[str]()
        digest = "0" * 64
        longest = Provenance(digest, digest, digest, digest)
        self._prepare(longest)
        example = Begin(digest, 1 << 52, robot, longest)
        pictures_bytes = sum(
            camera.largest_bytes + _LENGTH_BYTES for camera in robot.cameras
        )
        payload_bytes = _SPARE_BYTES + max(
            _STEP.size + self._row.nbytes + pictures_bytes, len(example.encode())
        )
        if slots is None:
            fitting = LARGEST_BYTES // (payload_bytes + _SPARE_BYTES)
            slots = min(SLOTS, max(_LEAST_SLOTS, fitting))
        self._path, self._form = path, (payload_bytes, slots)
        self._ring = RingWriter(path, payload_bytes, slots)
        self._episode: Begin | None = None  # the last one that began
        self._begin: Begin | None = None  # not said yet
        self._name = b""
        self._driven = 0
        self._holds_back = False

    @property
    def dropped(self) -> int:
        """Steps dropped since the ring was made."""
        return self._ring.dropped

    @property
    def filled(self) -> float:
        """Share of the ring that the recorder has not read yet."""
        return self._ring.waiting / self._ring.slots

    @property
    def identity(self) -> tuple[int, int]:
        """Device and inode of the ring's file, which another one may have replaced."""
        return self._ring.identity

    def begin(
        self, episode_id: str, start_unix_ns: int, provenance: Provenance
    ) -> None:
        """Says that an episode begins, in a new ring if this one is lost.

        Raises:
            ValueError: it says more of itself than a slot takes.
        """
        self._replace_lost()
        self._episode = self._begin = Begin(
            episode_id, start_unix_ns // NS_PER_MS, self._robot, provenance
        )
        self._name = uuid.UUID(episode_id).bytes
        self._driven = 0
        self._told.clear()
        if episode_spec(self._robot, provenance) != self._spec:
            self._prepare(provenance)
        self._wait_for_room()
        self._say_begin()

    def append(self, step: ControlStep) -> None:
        """Hands over a step, or drops it; see `StepRecorder.append`."""
        number, self._driven = self._driven, self._driven + 1
        row = self._row[0]
        fields = describe_step(step, self._spec)
        pictures = self._take_pictures(fields)
        for name, value in fields.items():
            row[name] = value
        payload = b"".join(
            (_STEP.pack(self._name, number), self._row.tobytes(), pictures)
        )
        self._wait_for_room()
        if self._holds_back and self._ring.waiting > self._ring.slots // 2:
            self._ring.drop()
            return
        self._holds_back = False
        if not self._say_begin() or not self._ring.write(STEP, payload):
            self._holds_back = True
            self._ring.drop()

    def end(self, success: bool | None, tags: tuple[str, ...] = ()) -> None:
        """Says that the episode has ended; the recorder finds out if this is lost."""
        if self._replace_lost():
            self._begin = self._episode  # the recorder may not have read it
        self._wait_for_room()
        if not self._say_begin():
            return
        known = -1 if success is None else int(success)
        payload = _END.pack(self._name, self._driven, known, " ".join(tags).encode())
        self._ring.write(END, payload, droppable=False)

    def count_unrecorded(
        self, episode_id: str, now_unix_ns: int, provenance: Provenance, steps: int
    ) -> None:
        """Says that steps were driven while there was no ring, so they are counted.

        Args:
            episode_id: of an episode that has none of its steps, so it is none.
            now_unix_ns: the time.
            provenance: who drove last.
            steps: how many there were.
        """
        self.begin(episode_id, now_unix_ns, provenance)
        self._driven = steps
        self.end(None)

    def close(self) -> None:
        """Lets go of the ring; the recorder reads what is in it."""
        self._ring.close()

    def _replace_lost(self) -> bool:
        """Makes a new ring in the place of a lost one; whether there is a new one."""
        lost = self._ring
        if not lost.is_lost:
            return False
        try:
            self._ring = RingWriter(self._path, *self._form, dropped=lost.dropped)
        except RingError as e:
            self._tell(str(e))  # tried again before and after each episode
            return False
        lost.close()
        error = RingError(
            self._path,
            "nobody else to write to the ring",
            "a file that was cut off or overwritten",
            "the robot drove on, and there is a new one; the steps that it lost are "
            "counted",
        )
        self._tell(str(error))
        return True

    def _prepare(self, provenance: Provenance) -> None:
        """Makes the row that the steps of an episode are packed in."""
        self._spec = episode_spec(self._robot, provenance)
        self._row = np.zeros(1, journal.step_dtype(self._spec))
        limits = {camera.name: camera.largest_bytes for camera in self._robot.cameras}
        self._limits = {
            picture_field(name): (name, limits[name]) for name in self._spec.cameras
        }

    def _take_pictures(self, fields: dict[str, Any]) -> bytes:
        """Takes the pictures out of the fields of a step, as the ring carries them.

        One that is larger than any that is recorded does not get that far.
        """
        if not self._limits:
            return b""
        taken = []
        for name, (camera, limit_bytes) in self._limits.items():
            picture = fields.pop(name)
            if len(picture) > limit_bytes:
                if camera not in self._told:
                    self._told.add(camera)
                    self._tell(
                        f"{name}: expected pictures of at most {limit_bytes} bytes, got"
                        f" {len(picture)}; such pictures are dropped, and the steps"
                        " kept"
                    )
                picture, fields[age_field(camera)] = b"", NO_PICTURE_AGE
            taken.append(picture)
        return journal.join_pictures(taken)

    def _say_begin(self) -> bool:
        """Says that the episode begins, unless that is said; False without room."""
        if self._begin is not None:
            if not self._ring.write(BEGIN, self._begin.encode(), droppable=False):
                return False
            self._begin = None
        return True

    def _wait_for_room(self) -> None:
        if not self._waits:
            return
        until_s = time.monotonic() + _PATIENCE_S
        while self._ring.waiting > self._ring.slots // 2 and not self._ring.is_lost:
            if time.monotonic() > until_s:
                self._waits = False  # nobody reads
                return
            time.sleep(0.001)


def say_hung(path: Path) -> None:
    """Says in the place of control that it hung and was killed; its watchdog calls it.

    Without a ring nothing is recorded, and nobody needs to know.

    Args:
        path: of the ring's file.
    """
    with (
        contextlib.suppress(RingError),
        contextlib.closing(RingWriter.carry_on(path)) as ring,
    ):
        ring.write(HUNG, b"", droppable=False)


def parse(record: Record) -> Begin | Step | End | Hung:
    """Reads one record of the ring.

    Raises:
        MalformedError, OversizedError: it is none of these.
    """
    raw = record.payload
    try:
        if record.kind == BEGIN:
            return decode_begin(raw)
        if record.kind == STEP:
            name, number = _STEP.unpack_from(raw)
            return Step(str(uuid.UUID(bytes=name)), number, raw[_STEP.size :])
        if record.kind == HUNG:
            return Hung()
        if record.kind == END:
            name, steps, known, text = _END.unpack(raw)
            success = None if known < 0 else bool(known)
            tags = tuple(text.rstrip(b"\0").decode().split())
            if not KNOWN_TAGS.issuperset(tags):
                raise MalformedError("the ring", "tags that are known", "others")
            return End(str(uuid.UUID(bytes=name)), steps, success, tags)
    except (struct.error, TypeError, ValueError) as e:
        raise MalformedError("the ring", "a record of control", e) from e
    raise MalformedError("the ring", "a record of control", f"kind {record.kind}")


def decode_begin(raw: bytes) -> Begin:
    """Reads the content of a record that says that an episode begins.

    Raises:
        MalformedError, OversizedError: it is not one.
        TypeError, ValueError: a field of the robot or of the provenance is wrong.
    """
    source = "the begin of an episode"
    fields = Fields(decode(raw, source, _LARGEST_BEGIN_BYTES), source, _KEYS)
    robot: dict[str, Any] = dict(fields.mapping("robot"))
    provenance: dict[str, Any] = dict(fields.mapping("provenance"))
    robot.pop("camera", None)  # of a program before cameras had names
    for key, value in robot.items():
        robot[key] = tuple(value) if isinstance(value, list) else value
    if (microphone := robot.get("microphone")) is not None:
        robot["microphone"] = Microphone(**microphone)
    robot["cameras"] = tuple(Camera(**one) for one in robot.get("cameras", ()))
    provenance["tags"] = tuple(provenance["tags"])
    return Begin(
        episode_id=str(uuid.UUID(fields.text("episode_id"))),
        start_unix_ms=fields.integer("start_unix_ms"),
        robot=RobotSpec(**robot),
        provenance=Provenance(**provenance),
    )
