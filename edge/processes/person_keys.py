"""What the keys at the supervisor's terminal mean, decided without IO.

The keys have two layers, because those that move a robot need every letter. In the
first they say what the robot is to do. If the actor has keys (--actor=keyboard, or a
leader arm), Tab leads to the second, in which each key is passed to control and means
what `edge.actors.keys` says, and back. Ctrl-C ends the robot in both.
"""

from dataclasses import dataclass
from typing import Final

from edge.actors.registry import uses_keys
from edge.loops.mode import Mode

_DEMONSTRATE: Final = b"t"
_STOP: Final = b" "
_QUIT: Final = b"q"
_LAYER: Final = b"\t"
_MODES: Final = {
    b"d": Mode.DRIVING,
    b"i": Mode.IDLE,
    b"s": Mode.ASLEEP,
    _DEMONSTRATE: Mode.DRIVING,
    _STOP: Mode.IDLE,
}


@dataclass(frozen=True)
class Said:
    """What some keys came to.

    Attributes:
        told: what the robot is to do from now on; None if that was not said.
        demonstrates: whether the actor is to drive, in the place of the package.
        stops: whether the robot is to stop at once.
        quits: whether all is to end.
        acting: bytes of keys for the actor.
    """

    told: Mode | None = None
    demonstrates: bool = False
    stops: bool = False
    quits: bool = False
    acting: bytes = b""


class PersonKeys:
    """The keys of one person; it knows in which layer they are.

    Attributes:
        acts: whether they are in the layer that moves the robot.
    """

    def __init__(self, actor: str | None = None) -> None:
        """Begins in the first layer.

        Args:
            actor: who may act at the robot; None for nobody.
        """
        self._actor = actor
        self.acts = False

    def hear(self, raw: bytes) -> Said:
        """Says what bytes of the terminal mean; other keys mean nothing."""
        told, demonstrates, stops, acting = None, False, False, b""
        for at in range(len(raw)):
            key = raw[at : at + 1]
            if key == _LAYER and uses_keys(self._actor):
                self.acts = not self.acts
            elif self.acts:
                acting += key
            elif key == _QUIT:
                return Said(told, demonstrates, stops, quits=True, acting=acting)
            elif key in _MODES and (key != _DEMONSTRATE or self._actor is not None):
                told, demonstrates = _MODES[key], key == _DEMONSTRATE
                stops = stops or key == _STOP
        return Said(told, demonstrates, stops, acting=acting)

    def describe(self) -> str:
        """The line that names the keys."""
        if self.acts:
            return (
                "you act: space take over, or begin   h hand back   y success   "
                "n failure   x stop   ? the keys that move   tab back"
            )
        more = ""
        if self._actor is not None:
            more = "   t be shown a task"
        if uses_keys(self._actor):
            more += "   tab act"
        return f"d drive   i idle   s sleep{more}   space stop   q quit"
