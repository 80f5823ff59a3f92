"""The actor at a robot that lives: heard without waiting, lost and found again.

While the package drives, a person may take over and hand back. When the robot is asked
to, the actor demonstrates whole episodes. Control waits for neither: it asks between
two steps, and between two episodes.

A device that is gone holds the robot still, since the person who watched it can stop
it no more. When the device is back and has been for a moment, the robot waits for the
key that takes it: nobody may look at it then. A device that opens but is dead, or comes
and goes, is looked for less and less often. The same holds if the device is not there
at the start.

The terminal of a robot on a desk belongs to its supervisor, which hands on the keys:

    {"kind": "keys", "keys": " ddd"}

What is pressed while control is being started again is ignored, but for the stop key:
the supervisor hands it on until control hears it.

The operator's page tells who drives there, and where to (`edge.actors.told_moves`).
"""

import time
from collections.abc import Callable, Mapping
from typing import Final

from edge.actors.actor import HUMAN, Actor, Ending, Signal, describe_loss
from edge.actors.keys import WORDS, Word
from edge.actors.told_moves import HeardMoves, Told
from edge.errors import ActorAbsentError, ActorLostError, ActorUnavailableError
from edge.robots.robot import Observation, Vector

_MOST_BYTES: Final = 4096  # of keys that nobody has read yet; the stop key stays
STOP_KEY: Final = next(key for key, word in WORDS.items() if word is Word.STOP)
"""By which a person at a keyboard stops the robot."""
_AGAIN_S: Final = 2.0  # between two looks whether a device is back
_LONGEST_S: Final = 30.0  # the same, for one that is lost again and again
_HERE_S: Final = 1.0  # a device that is back stays for so long before anything moves

Tell = Callable[[str], None]


class HandedKeys:
    """The keys that a supervisor hands on; a `KeySource`."""

    def __init__(self) -> None:
        """Nothing was pressed yet."""
        self._raw = b""

    def hear(self, fields: Mapping[str, object]) -> None:
        """Handles a `keys` message; ignores a malformed one."""
        keys = fields.get("keys")
        if isinstance(keys, str):
            # Each byte is one character: a key may be cut between two messages.
            raw = self._raw + keys.encode("latin-1", errors="ignore")
            too_old, self._raw = raw[:-_MOST_BYTES], raw[-_MOST_BYTES:]
            if STOP_KEY in too_old.lower():
                self._raw = STOP_KEY + self._raw[1:]

    def read(self, wait_s: float = 0.0) -> bytes:
        """See `KeySource.read`; it never waits."""
        del wait_s
        raw, self._raw = self._raw, b""
        return raw

    def close(self) -> None:
        """See `KeySource.close`; the terminal is the supervisor's."""


class HandedMoves:
    """What the operator's page tells of who drives there; a `MoveSource`."""

    def __init__(self) -> None:
        """Nothing was told yet."""
        self._heard = HeardMoves()

    def hear(self, fields: Mapping[str, object]) -> None:
        """Handles an `acts` message; ignores one that does not count."""
        self._heard.hear(fields, time.monotonic())

    def read(self, wait_s: float = 0.0) -> list[Told]:
        """See `MoveSource.read`; it never waits."""
        del wait_s
        return self._heard.take(time.monotonic())

    def close(self) -> None:
        """See `MoveSource.close`; the mailbox is the process's."""


class Acting:
    """The actor at one robot; an `Actor` that outlives the loss of its device.

    Attributes:
        trouble: why it cannot act now; "" if it can.
        takes_over: whether it has taken over from the package in this episode.
    """

    def __init__(
        self,
        open_actor: Callable[[Tell], Actor],
        say: Tell,
        now_s: Callable[[], float] = time.monotonic,
    ) -> None:
        """Opens the actor, or waits for its device.

        Args:
            open_actor: opens it, now and after each loss, with what gets its lines.
            say: gets a line when it is absent or lost for longer, when it is back, and
                its own lines.
            now_s: monotonic time.

        Raises:
            EdgeError: it cannot act on this robot, and waiting would not change that.
        """
        self._open, self._say, self._now_s = open_actor, say, now_s
        self._actor: Actor | None = None
        self._name = HUMAN  # who has a device that may be absent is a person
        self._held_back: list[str] | None = None  # lines of one that is not here yet
        self._said = ""  # the last trouble that was told
        self._here_s, self._pause_s = now_s(), _AGAIN_S
        self._next_s = self._here_s
        self._is_back = False  # after a loss, and nobody has taken the robot again
        self.trouble = ""
        self.takes_over = False
        try:
            self._actor = open_actor(self._tell)
            self._name = self._actor.name
        except ActorAbsentError as e:
            self._miss(str(e))

    @property
    def name(self) -> str:
        """See `Actor.name`."""
        return self._name

    @property
    def is_person(self) -> bool:
        """Whether it may take over from the package; an expert only demonstrates."""
        return self._name == HUMAN

    def is_here(self) -> bool:
        """Whether it can act; one that was lost is looked for again.

        That it is back is not enough: the person takes the robot by the key that
        begins an episode.
        """
        if not self.trouble:
            return True
        if not self._is_back and not self._look_for():
            return False
        assert self._actor is not None  # it was opened
        try:
            taken = self._actor.may_begin() is True
        except ActorLostError:
            self._lose()
            self._say_trouble()
            return False
        if taken:
            self.trouble = self._said = ""
            self._is_back = False
        return taken

    def _look_for(self) -> bool:
        """Whether the device is back, and has been for a moment."""
        now_s = self._now_s()
        if now_s < self._next_s or (self._held_back is None and not self._reopen()):
            return False
        assert self._actor is not None  # it was opened
        if self._actor.signal().ending is Ending.LOST:
            self._held_back = None
            self._lose()
            self._say_trouble()
            return False
        if now_s - self._here_s < _HERE_S:
            return False
        self._actor.reset("")  # what was pressed before this counts for nothing
        self._is_back, self.trouble = True, describe_loss(self._actor).back
        lines, self._held_back = self._held_back or [], None
        for line in lines:
            self._say(line)
        self._say_trouble()
        return True

    def _reopen(self) -> bool:
        if self._actor is not None:
            self._actor.close()
        # Once for all its tries: what it tells counts when it is here to stay.
        self._held_back = []
        try:
            self._actor = self._open(self._tell)
        except ActorUnavailableError as e:
            self._held_back = None
            self._miss(str(e))
            return False
        self._here_s = self._now_s()
        return True

    def _miss(self, why: str) -> None:
        """Notes that it cannot be opened now."""
        self._next_s = self._now_s() + _AGAIN_S
        self.trouble = why
        self._say_trouble()

    def _lose(self) -> None:
        """Notes that it was here, and is gone."""
        now_s = self._now_s()
        if now_s - self._here_s >= _LONGEST_S:
            self._pause_s = _AGAIN_S
        self._next_s = now_s + self._pause_s
        self._pause_s = min(2.0 * self._pause_s, _LONGEST_S)
        assert self._actor is not None  # it was opened
        self._is_back, self.trouble = False, describe_loss(self._actor).gone

    def _say_trouble(self) -> None:
        if self.trouble != self._said:
            self._said = self.trouble
            self._say(f"the robot holds still: {self.trouble}")

    def _tell(self, line: str) -> None:
        if self._held_back is None:
            self._say(line)
        else:
            self._held_back.append(line)

    def may_begin(self, wait_s: float = 0.0) -> bool | None:
        """See `Actor.may_begin`; None while the device is gone."""
        was_away = bool(self.trouble)
        if self.is_here() and self._actor is not None:
            if was_away:
                return True  # by the key that took the robot again
            try:
                return self._actor.may_begin(wait_s)
            except ActorLostError:
                self._lose()
        return None

    def listen(self, task: str) -> bool:
        """Hears what was asked for between two episodes; True for the stop key.

        Nothing else of it counts.
        """
        if not self.is_here():
            return False
        ending = self.signal().ending
        self.reset(task)
        return ending is Ending.STOP

    def reset(self, task: str) -> None:
        """See `Actor.reset`."""
        self.takes_over = False
        if self._actor is not None:
            self._actor.reset(task)

    def signal(self) -> Signal:
        """See `Actor.signal`."""
        if self._actor is None:
            return Signal(takes_over=True, ending=Ending.LOST)
        signal = self._actor.signal()
        self.takes_over = signal.takes_over
        if signal.ending is Ending.LOST and not self.trouble:
            self._lose()
        return signal

    def propose(self, observation: Observation) -> Vector:
        """See `Actor.propose`; only of one that has been here."""
        assert self._actor is not None  # no episode begins before
        return self._actor.propose(observation)

    def close(self) -> None:
        """See `Actor.close`."""
        if self._actor is not None:
            self._actor.close()
