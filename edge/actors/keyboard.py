"""A person at the keyboard of a terminal, who demonstrates or corrects.

Keys move the robot while they are pressed (`keys.py` says for how long). The first
one that moves takes over from a package; the robot then stays still between two keys
until it is handed back.
"""

import time
from collections.abc import Callable
from typing import Final

from edge.actors.actor import (
    HUMAN,
    Ending,
    Loss,
    Signal,
    Stage,
    scale,
)
from edge.actors.keys import (
    ENDINGS,
    PAIRS,
    SPEEDS,
    HeldKeys,
    KeyReader,
    Move,
    Word,
    describe,
)
from edge.actors.terminal import Terminal
from edge.robots.robot import Observation, Vector

DEFAULT_SPEED: Final = 0.5
_STANDARD_INPUT: Final = 0
_SOURCE: Final = "--actor=keyboard"
LOSS: Final = Loss(
    "the terminal is gone",
    "the terminal is back; the space bar lets the robot go on",
    "its terminal to stay open",
    "it was closed",
    "run it again in one that stays; the robot was held still",
)


class Keyboard:
    """An `Actor` at a terminal."""

    def __init__(
        self,
        stage: Stage,
        now_s: Callable[[], float] = time.monotonic,
        axes: int | None = None,
    ) -> None:
        """Prepares the terminal and shows its keys.

        Args:
            stage: the robot, who is told, and where the keys come from.
            now_s: real time; a person presses keys in no other.
            axes: components that keys move; None for all of the robot's.

        Raises:
            ActorUnavailableError: standard input is no terminal.
        """
        self._spec, self._tell, self._now_s = stage.spec, stage.tell, now_s
        self._speed = DEFAULT_SPEED if stage.speed is None else stage.speed
        self._axes = stage.spec.action_size if axes is None else axes
        self._reader, self._held = KeyReader(), HeldKeys(self._axes)
        self._signal = Signal()
        self._asks = False  # whether the next episode may begin
        self._keys = stage.keys or Terminal(_STANDARD_INPUT, _SOURCE)
        # By a supervisor, whose own keys they are until Tab.
        self._is_handed = not isinstance(self._keys, Terminal)
        self._told_idle: set[Move] = set()
        self._help()

    @property
    def name(self) -> str:
        """See `Actor.name`."""
        return HUMAN

    @property
    def loss(self) -> Loss:
        """See `describe_loss`."""
        return LOSS

    def may_begin(self, wait_s: float = 0.0) -> bool | None:
        """See `Actor.may_begin`: the space bar begins, `x` ends the run."""
        if not self._asks:
            self._asks = True
            line = "space: begin the next episode   x: no more episodes"
            self._tell(f"press Tab first, then {line}" if self._is_handed else line)
        heard = self._read(wait_s)
        if Word.HELP in heard:
            self._help()
        if Word.TAKE_OVER in heard or Word.STOP in heard:
            self._asks = False
            return Word.STOP not in heard  # it counts whatever was said beside it
        if self._signal.ending is Ending.LOST:
            raise LOSS.make_error(_SOURCE)
        return None

    def reset(self, task: str) -> None:
        """See `Actor.reset`; of the keys that were pressed before only stop counts."""
        del task
        stop = Word.STOP in self._read()
        self._held.release()
        if self._signal.ending is not Ending.LOST:
            self._signal = Signal(ending=Ending.STOP if stop else None)

    def signal(self) -> Signal:
        """See `Actor.signal`."""
        for said in self._read():
            self._hear(said)
        return self._signal

    def propose(self, observation: Observation) -> Vector:
        """See `Actor.propose`."""
        del observation
        return scale(self._spec, self.axes() * self._speed)

    @property
    def speed(self) -> float:
        """Share of the action's range that a key moves by."""
        return self._speed

    def axes(self) -> Vector:
        """The direction of each component that keys move, f32: -1, 0 or 1."""
        return self._held.axes(self._now_s())

    def act(self, takes_over: bool) -> None:
        """Takes over or hands back, as its keys do."""
        if takes_over != self._signal.takes_over and self._signal.ending is None:
            self._signal = Signal(takes_over)

    def close(self) -> None:
        """See `Actor.close`."""
        self._keys.close()

    def _read(self, wait_s: float = 0.0) -> list[Move | Word]:
        if self._signal.ending is Ending.LOST:
            return []
        try:
            return list(self._reader.read(self._keys.read(wait_s)))
        except OSError as e:
            self._held.release()
            self._signal = Signal(takes_over=True, ending=Ending.LOST)
            self._tell(f"{LOSS.gone} ({e.strerror}): the robot holds still")
            return []

    def _hear(self, said: Move | Word) -> None:
        if isinstance(said, Move):
            if self._held.press(said, self._now_s()):
                self.act(True)
            elif said not in self._told_idle:
                self._told_idle.add(said)  # a held key comes ten times a second
                self._tell(self._describe_idle(said))
        elif said in ENDINGS:
            # The stop key counts whatever was said before, else the first word.
            if said is Word.STOP or self._signal.ending is None:
                self._signal = Signal(self._signal.takes_over, ENDINGS[said])
        elif said in (Word.TAKE_OVER, Word.HAND_BACK):
            self._held.release()
            self.act(said is Word.TAKE_OVER)
        elif said is Word.HELP:
            self._help()
        else:
            self._change_speed(said is Word.FASTER)

    def _describe_idle(self, move: Move) -> str:
        pair = PAIRS[move.component].decode()
        key = pair[(1 - move.direction) // 2]
        has_all = self._axes == self._spec.action_size
        who = "this robot has" if has_all else "here keys have"
        text = f"{key}: moves nothing, {who} {self._axes} axes"
        if self._is_handed:
            text += "; press Tab first for what it means to the robot"
        return text

    def _change_speed(self, up: bool) -> None:
        others = [s for s in SPEEDS if (s > self._speed if up else s < self._speed)]
        if others:
            self._speed = others[0] if up else others[-1]
        self._tell(f"speed {self._speed:g} of the action's range")

    def _help(self) -> None:
        for line in describe(self._axes):
            self._tell(line)
