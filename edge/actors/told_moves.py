"""What the operator's page says of whoever drives there, and what of it still counts.

The page sends one message for each request of the browser that drives, twenty a second:

    {"at_s": 1234.5, "acts": true, "axes": [0.0, -0.5], "says": ""}

`at_s` is when the request came, by the monotonic clock that all processes of a machine
share. `acts` is whether somebody has the robot in their hands, in each message anew, so
that one that was lost changes nothing. `axes` say where each component of the action is
to go, from -1 to 1. `says` is a `Word`, told once, or "".

Messages may be late, come twice or be forged by a page that was taken over. So only one
that is newer than all before it is heard, and it moves the robot for `HOLD_S` at most.
"""

import enum
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, TypeGuard

HOLD_S: Final = 0.3
"""How long the robot moves after the last message. A browser sends one each 0.05 s, so
five may be lost in a row; and who sees the robot move wrongly needs about as long to
let go of a stick (a simple reaction takes 0.2 to 0.25 s)."""
WORD_S: Final = 1.0
"""How old a word may be when it is heard: it is told once, and control may be busy
between two episodes."""
LOST_S: Final = 3.0
"""Silence after which whoever drove is gone: longer than a network takes to come back
after a short gap, so that a demonstration outlives one."""
MOST_AXES: Final = 16
_TOO_LARGE: Final = 1e12


class Word(enum.Enum):
    """What a person says that moves nothing."""

    TAKE_OVER = "take_over"
    HAND_BACK = "hand_back"
    SUCCESS = "success"
    FAILURE = "failure"
    LEFT_OUT = "left_out"
    STOP = "stop"
    GONE = "gone"


@dataclass(frozen=True)
class Told:
    """One message of the page.

    Attributes:
        at_s: when the browser's request came, in monotonic seconds.
        acts: whether somebody has the robot in their hands.
        axes: where each component is to go, from -1 to 1; some may be missing.
        says: a word; None for none.
    """

    at_s: float
    acts: bool = False
    axes: tuple[float, ...] = ()
    says: Word | None = None


def parse(fields: Mapping[str, object]) -> Told | None:
    """Reads the fields of a message; None if they are malformed."""
    at_s, acts, axes = fields.get("at_s"), fields.get("acts"), fields.get("axes")
    says = fields.get("says")
    if not _is_number(at_s) or not isinstance(acts, bool) or not isinstance(says, str):
        return None
    if not isinstance(axes, list | tuple) or len(axes) > MOST_AXES:
        return None
    if not all(_is_number(one) and -1.0 <= one <= 1.0 for one in axes):
        return None
    try:
        word = Word(says) if says else None
    except ValueError:
        return None
    return Told(float(at_s), acts, tuple(float(one) for one in axes), word)


class HeardMoves:
    """Collects messages in the order of their times; it knows the newest of them."""

    def __init__(self) -> None:
        """Nothing was said yet."""
        self._newest_s = -math.inf
        self._told: list[Told] = []

    def hear(self, fields: Mapping[str, object], now_s: float) -> None:
        """Takes a message; ignores one that is malformed, older or of the future.

        Args:
            fields: of the message.
            now_s: the time now, in monotonic seconds.
        """
        told = parse(fields)
        if told is None or not self._newest_s < told.at_s <= now_s:
            return
        self._newest_s = told.at_s
        self._forget(now_s)  # nobody may take them for a while
        self._told.append(told)

    def stop(self, now_s: float) -> None:
        """Takes the stop button, which counts however late it comes."""
        self._told.append(Told(now_s, says=Word.STOP))

    def take(self, now_s: float) -> list[Told]:
        """What was heard since the last call and still counts, oldest first."""
        self._forget(now_s)
        told, self._told = self._told, []
        return told

    def _forget(self, now_s: float) -> None:
        self._told = [
            one
            for one in self._told
            if one.says is Word.STOP or now_s - one.at_s <= WORD_S
        ]


def _is_number(value: object) -> TypeGuard[float]:
    return (
        isinstance(value, int | float)
        and not isinstance(value, bool)
        and abs(value) < _TOO_LARGE  # not so of NaN, nor of an int no float holds
    )
