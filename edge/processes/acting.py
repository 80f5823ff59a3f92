"""The actor at a robot that lives: heard without waiting, lost and found again.

While the package drives, a person may take over and hand back. When the robot is asked
to, the actor demonstrates whole episodes. Control waits for neither: it asks between
two steps, and between two episodes.

A device that is gone holds the robot still, since the person who watched it can stop
it no more. It continues when the device is back.

The terminal of a robot on a desk belongs to its supervisor, which hands on the keys:

    {"kind": "keys", "keys": " ddd"}

What is pressed while control is being started again is ignored.
"""

import time
from collections.abc import Callable, Mapping
from typing import Final

from edge.actors.actor import HUMAN, Actor, Ending, Signal
from edge.errors import ActorLostError, ActorUnavailableError
from edge.robots.robot import Observation, Vector

_MOST_BYTES: Final = 4096  # of keys that nobody has read yet
_AGAIN_S: Final = 2.0  # between two looks whether a device is back
_GONE: Final = "the device of the actor is gone"


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
            self._raw += keys.encode("latin-1", errors="ignore")
            self._raw = self._raw[-_MOST_BYTES:]

    def read(self, wait_s: float = 0.0) -> bytes:
        """See `KeySource.read`; it never waits."""
        del wait_s
        raw, self._raw = self._raw, b""
        return raw

    def close(self) -> None:
        """See `KeySource.close`; the terminal is the supervisor's."""


class Acting:
    """The actor at one robot; an `Actor` that outlives the loss of its device.

    Attributes:
        trouble: why it cannot act now; "" if it can.
        takes_over: whether it has taken over from the package in this episode.
    """

    def __init__(
        self,
        open_actor: Callable[[], Actor],
        say: Callable[[str], None],
        now_s: Callable[[], float] = time.monotonic,
    ) -> None:
        """Opens the actor.

        Args:
            open_actor: opens it, now and after each loss.
            say: gets a line when it is lost for longer, and when it is back.
            now_s: monotonic time.

        Raises:
            EdgeError: it cannot act on this robot, or its device is not there.
        """
        self._open, self._say, self._now_s = open_actor, say, now_s
        self._actor = open_actor()
        self._name = self._actor.name
        self._next_s = 0.0
        self.trouble = ""
        self.takes_over = False

    @property
    def name(self) -> str:
        """See `Actor.name`."""
        return self._name

    @property
    def is_person(self) -> bool:
        """Whether it may take over from the package; an expert only demonstrates."""
        return self._name == HUMAN

    def is_here(self) -> bool:
        """Whether it can act; one that was lost is looked for again."""
        if not self.trouble or self._now_s() < self._next_s:
            return not self.trouble
        self._actor.close()
        try:
            self._actor = self._open()
        except ActorUnavailableError as e:
            self._next_s = self._now_s() + _AGAIN_S
            if str(e) != self.trouble:
                self.trouble = str(e)
                self._say(f"the robot holds still: {e}")
            return False
        self.trouble = ""
        self._say("the actor is back")
        return True

    def may_begin(self, wait_s: float = 0.0) -> bool | None:
        """See `Actor.may_begin`; None while the device is gone."""
        if self.is_here():
            try:
                return self._actor.may_begin(wait_s)
            except ActorLostError:
                self.trouble = _GONE
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
        self._actor.reset(task)

    def signal(self) -> Signal:
        """See `Actor.signal`."""
        signal = self._actor.signal()
        self.takes_over = signal.takes_over
        if signal.ending is Ending.LOST:
            self.trouble = self.trouble or _GONE
        return signal

    def propose(self, observation: Observation) -> Vector:
        """See `Actor.propose`."""
        return self._actor.propose(observation)

    def close(self) -> None:
        """See `Actor.close`."""
        self._actor.close()
