"""The part of the page on which somebody drives the robot.

| Request | Who | Does |
|---|---|---|
| `GET /drive` | a session | sticks, keys, and how it went |
| `GET /driving` | a session | the page's clock, who drives, what the robot does |
| `POST /drive` | a session and its form | one command, and the same answer |

A browser that drives sends twenty commands a second. `seat.py` says which of them
count; those go to control, which nobody here waits for.
"""

import json
import re
import threading
from collections.abc import Callable, Mapping
from http import HTTPStatus
from typing import Final, Protocol

from edge.actors.told_moves import MOST_AXES, Word
from edge.operator import markup
from edge.operator.seat import Command, RefusedError, Seat
from edge.operator.server import Response, say
from edge.operator.sessions import Session

_TURN: Final = re.compile(r"[0-9a-f]{16}")
_NUMBER: Final = re.compile(r"[0-9]{1,9}")
_STAMP: Final = re.compile(r"[0-9]{1,13}")  # milliseconds
_AXIS: Final = re.compile(r"-?(1(\.0{1,3})?|0(\.[0-9]{1,3})?)")
_WORDS: Final = {word.value: word for word in Word if word is not Word.STOP}
_NOBODY_HEARS: Final = "the robot does not hear the page: start it with --actor=page"


class Driven(Protocol):
    """A robot that can be driven. Called in several threads."""

    def count_axes(self) -> int:
        """Number of components of its action; 0 if it does not hear the page now."""

    def tell_doing(self) -> str:
        """What it does now, in a few words."""

    def act(self, acts: bool, axes: tuple[float, ...], says: str) -> bool:
        """Tells it who drives and where to; False if it does not hear that.

        It never waits: a robot that is busy misses a command, and gets the next one.
        """


class Driving:
    """Answers whoever drives, or wants to; called in several threads."""

    def __init__(self, robot: Driven, clock: Callable[[], float]) -> None:
        """Nobody drives.

        Args:
            robot: the robot.
            clock: monotonic time, in seconds.
        """
        self._robot, self._clock = robot, clock
        # So that commands reach the robot in the order in which they were accepted.
        self._lock = threading.Lock()
        self._seat = Seat()

    def show(self, session: Session, said: str) -> Response:
        """The page with the sticks."""
        text = markup.draw_driving(self._robot.count_axes(), session.csrf, said)
        return Response(body=text.encode(errors="replace"))

    def tell(self, session: Session, turn: str, refused: str = "") -> Response:
        """The clock, who drives, and what the robot does.

        Args:
            session: who asks.
            turn: that the browser believes to be its own.
            refused: why its command did not count; "" if it did.
        """
        with self._lock:
            now_s = self._clock()
            seat = self._seat.describe(session.csrf, turn, now_s)
        axes = self._robot.count_axes()
        told = {
            "stamp": int(now_s * 1000),
            "seat": seat,
            "axes": axes,
            "doing": self._robot.tell_doing() if axes else _NOBODY_HEARS,
            "refused": refused,
        }
        status = HTTPStatus.CONFLICT if refused else HTTPStatus.OK
        return Response(status, json.dumps(told).encode(), "application/json")

    def hear(self, session: Session, form: Mapping[str, str]) -> Response:
        """Takes a command."""
        command = parse(form)
        if command is None:
            return say(HTTPStatus.BAD_REQUEST, "expected a command of this page")
        refused = ""
        if not self._robot.count_axes():
            refused = _NOBODY_HEARS
        else:
            with self._lock:
                try:
                    acts = self._seat.hear(session.csrf, command, self._clock())
                    says = "" if command.says is None else command.says.value
                    if not self._robot.act(acts, command.axes if acts else (), says):
                        refused = "the robot is busy" if says else ""
                except RefusedError as e:
                    refused = str(e)
        return self.tell(session, command.turn, refused)

    def clear(self) -> None:
        """Takes the seat from whoever has it: the robot is stopped."""
        with self._lock:
            if self._seat.clear():
                self._robot.act(False, (), "")

    def leave(self, session: Session) -> None:
        """Takes the seat from a session that ends."""
        with self._lock:
            if self._seat.has(session.csrf) and self._seat.clear():
                self._robot.act(False, (), Word.GONE.value)


def parse(form: Mapping[str, str]) -> Command | None:
    """Reads the fields of a command; None if one is malformed."""
    turn, number = form.get("turn", ""), form.get("number", "")
    stamp, says = form.get("stamp", ""), form.get("says", "")
    parts = axes.split(",") if (axes := form.get("axes", "")) else []
    if (
        not _TURN.fullmatch(turn)
        or not _NUMBER.fullmatch(number)
        or not _STAMP.fullmatch(stamp)
        or (says and says not in _WORDS)
        or len(parts) > MOST_AXES
        or not all(map(_AXIS.fullmatch, parts))
    ):
        return None
    return Command(
        turn,
        int(number),
        int(stamp) / 1000,
        tuple(map(float, parts)),
        _WORDS.get(says),
    )
