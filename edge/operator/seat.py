"""Who drives the robot from the page: one browser at a time, by commands that are new.

A person who takes over gets the seat for a turn, which their browser names by a random
number. It is theirs until they give it back, somebody stops the robot, or nothing came
from them for `LOST_S`.

Whatever moves the robot names the page's own clock as the browser last heard it, and
its number within the turn. So a command that was on its way for longer than `MOST_S`,
comes a second time, or comes after a later one is refused, whoever sends it. No IO and
no clock: times are passed in, in monotonic seconds.
"""

from collections import deque
from dataclasses import dataclass
from typing import Final

from edge.actors.told_moves import LOST_S, Word

MOST_S: Final = 0.5
"""Between the answer that told the browser the time and the command that names it. The
way there and back, and 0.05 s between two commands: 0.45 s are left for a network."""
_ENDS_TURN: Final = (Word.HAND_BACK, Word.GONE)
_ENDED_TURNS: Final = 64  # whose commands may still come; MOST_S is over sooner


@dataclass(frozen=True)
class Command:
    """What a browser says of driving.

    Attributes:
        turn: the turn that it belongs to.
        number: its number in that turn; each has a higher one.
        heard_s: the page's clock in the last answer that the browser had.
        axes: where each component of the action is to go, from -1 to 1.
        says: a word; None for none.
    """

    turn: str
    number: int
    heard_s: float
    axes: tuple[float, ...] = ()
    says: Word | None = None


@dataclass
class _Turn:
    session: str
    name: str
    number: int
    heard_s: float


class Seat:
    """The seat of one robot."""

    def __init__(self) -> None:
        """Nobody drives."""
        self._turn: _Turn | None = None
        self._ended: deque[str] = deque(maxlen=_ENDED_TURNS)

    def hear(self, session: str, command: Command, now_s: float) -> bool:
        """Takes a command that counts; returns whether somebody drives from now on.

        Args:
            session: who sent it.
            command: what they sent.
            now_s: the time now.

        Raises:
            RefusedError: it does not count; why is its text.
        """
        if not 0.0 <= now_s - command.heard_s <= MOST_S:
            raise RefusedError("too late: the network is slow")
        if command.turn in self._ended:
            raise RefusedError("that turn is over")
        turn = self._find(now_s)
        if turn is not None and (session, command.turn) != (turn.session, turn.name):
            raise RefusedError("somebody else drives")
        if turn is None:
            return self._hear_free(session, command, now_s)
        if command.number <= turn.number:
            raise RefusedError("a later command came before this one")
        turn.number, turn.heard_s = command.number, now_s
        if command.says in _ENDS_TURN:
            self.clear()
        return self._turn is not None

    def _hear_free(self, session: str, command: Command, now_s: float) -> bool:
        """Takes a command while nobody drives."""
        if command.says is Word.TAKE_OVER:
            self._turn = _Turn(session, command.turn, command.number, now_s)
            return True
        if command.says is None or command.says in _ENDS_TURN:
            raise RefusedError("take over first")
        # A word about what the package does, said once.
        self._ended.append(command.turn)
        return False

    def clear(self) -> bool:
        """Ends the turn, if there is one; returns whether there was."""
        if self._turn is None:
            return False
        self._ended.append(self._turn.name)
        self._turn = None
        return True

    def has(self, session: str) -> bool:
        """Whether a session has the seat, or had it last."""
        return self._turn is not None and self._turn.session == session

    def describe(self, session: str, turn: str, now_s: float) -> str:
        """Whose the seat is: `yours`, `taken` by another or another tab, or `free`."""
        found = self._find(now_s)
        if found is None:
            return "free"
        return "yours" if (session, turn) == (found.session, found.name) else "taken"

    def _find(self, now_s: float) -> _Turn | None:
        """The turn, unless nothing came of it for too long: then it is over."""
        if self._turn is not None and now_s - self._turn.heard_s > LOST_S:
            self.clear()
        return self._turn


class RefusedError(Exception):
    """A command does not count."""
