"""What the keys of a terminal mean, and for how long a pressed key moves the robot.

A terminal tells that a key went down and then repeats it; it never tells that a key
went up, and it repeats only the last of several. So each press moves for `HOLD_S`, and
keys that are pressed within that time of each other move together.
"""

import enum
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np

from edge.actors.actor import Ending
from edge.robots.robot import Vector

HOLD_S: Final = 0.12
"""How long one press moves the robot. Longer than between two repeats of a held key (92
ms on Linux's console by default, 10.9 a second; 33 to 40 ms in a window system), so
that a held key moves without pauses. Shorter than before the first repeat (250 to 660
ms), so that a tap is a small move, and a held key pauses once after its first press:
waiting longer would make the robot run on for that long after a key is released."""

SPEEDS: Final = (0.05, 0.1, 0.2, 0.35, 0.5, 0.75, 1.0)
"""Shares of the action's range that `+` and `-` step through."""


class Word(enum.Enum):
    """What a key says that moves nothing."""

    TAKE_OVER = "take over and hold still, or begin"
    HAND_BACK = "hand back to the package"
    SUCCESS = "end: success"
    FAILURE = "end: failure"
    LEFT_OUT = "end: leave this one out"
    STOP = "stop at once"
    FASTER = "faster"
    SLOWER = "slower"
    HELP = "this list"


ENDINGS: Final = {
    Word.SUCCESS: Ending.SUCCESS,
    Word.FAILURE: Ending.FAILURE,
    Word.LEFT_OUT: Ending.LEFT_OUT,
    Word.STOP: Ending.STOP,
}

WORDS: Final = {
    b" ": Word.TAKE_OVER,
    b"h": Word.HAND_BACK,
    b"y": Word.SUCCESS,
    b"n": Word.FAILURE,
    b"b": Word.LEFT_OUT,
    b"x": Word.STOP,
    b"+": Word.FASTER,
    b"=": Word.FASTER,
    b"-": Word.SLOWER,
    b"?": Word.HELP,
}

PAIRS: Final = (b"da", b"ws", b"eq", b"rf", b"tg", b"uj", b"ik", b"ol")
"""Of each action component in order: the key that raises it and the one that lowers."""

_ARROWS: Final = {b"A": b"w", b"B": b"s", b"C": b"d", b"D": b"a"}
_ESCAPE: Final = 0x1B
_LONGEST_SEQUENCE: Final = 32  # bytes; a longer one is no key


@dataclass(frozen=True)
class Move:
    """A key that moves one action component up (1) or down (-1)."""

    component: int
    direction: int


_MOVES: Final = {
    bytes([pair[side]]): Move(component, 1 - 2 * side)
    for component, pair in enumerate(PAIRS)
    for side in (0, 1)
}


class KeyReader:
    """Turns the bytes of a terminal into moves and words, however they are cut."""

    def __init__(self) -> None:
        """Begins between two keys."""
        self._rest = b""

    def read(self, raw: bytes) -> Iterator[Move | Word]:
        """Yields what these bytes, after those before, say; unknown keys say nothing.

        An arrow key is three bytes, which may come one by one; other sequences of that
        kind are read over to their end.
        """
        data, self._rest = self._rest + raw, b""
        at = 0
        while at < len(data):
            key = data[at : at + 1].lower()
            at += 1
            if key[0] == _ESCAPE:
                end = _find_end(data, at)
                if end is None:
                    unread = data[at - 1 :]
                    self._rest = unread if len(unread) < _LONGEST_SEQUENCE else b""
                    return
                key = _ARROWS.get(data[at + 1 : end], b"") if end > at + 1 else b""
                at = end
            found = _MOVES.get(key) or WORDS.get(key)
            if found is not None:
                yield found


def _find_end(data: bytes, begin: int) -> int | None:
    """Where a sequence ends whose escape is before `begin`; None if bytes are missing.

    `ESC [` or `ESC O`, parameters below 0x40, and one byte from 0x40 to 0x7e: ECMA-48,
    section 5.4. An escape before any other byte is a key of its own.
    """
    if begin >= len(data):
        return None
    if data[begin : begin + 1] not in (b"[", b"O"):
        return begin
    for at in range(begin + 1, len(data)):
        if 0x40 <= data[at] <= 0x7E:
            return at + 1
        if data[at] < 0x20:
            return at
    return None


class HeldKeys:
    """Which keys move the robot at a moment; time is passed in."""

    def __init__(self, action_size: int) -> None:
        """Begins with no key held; keys of components that are not there do nothing."""
        self._size = action_size
        self._pressed_s: dict[Move, float] = {}

    def press(self, move: Move, now_s: float) -> bool:
        """Notes that a key went down or was repeated; False if it moves nothing."""
        if move.component >= self._size:
            return False
        # The other direction ends at once: a robot that turns back must not wait.
        self._pressed_s.pop(Move(move.component, -move.direction), None)
        self._pressed_s[move] = now_s
        return True

    def release(self) -> None:
        """Lets go of all keys."""
        self._pressed_s.clear()

    def axes(self, now_s: float) -> Vector:
        """The direction of each component, [action_size] f32: -1, 0 or 1."""
        found = np.zeros(self._size, np.float32)
        for move, pressed_s in self._pressed_s.items():
            if now_s - pressed_s <= HOLD_S:
                found[move.component] = move.direction
        return found


def describe(axes: int) -> list[str]:
    """The lines that tell a person which key does what.

    Args:
        axes: components that keys move.
    """
    pairs = [pair.decode() for pair in PAIRS[:axes]]
    moves = "   ".join(
        f"{pair[0]}/{pair[1]} +/- component {number}"
        for number, pair in enumerate(pairs)
    )
    shown = {b" ": "space", b"=": ""}
    words: dict[Word, str] = {}
    for key, word in WORDS.items():
        name = shown.get(key, key.decode())
        if name:
            words.setdefault(word, name)
    said = "   ".join(f"{name}: {word.value}" for word, name in words.items())
    if not axes:
        return [f"keys: {said}"]
    return [f"keys: {moves} (arrows are w, s, d and a)", said]
