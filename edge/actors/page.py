"""A person at the operator's page, with the sticks and keys of a browser.

The page is another process, and tells what `told_moves.py` describes. While somebody
has the robot in their hands it is theirs: it moves where their sticks point, and stands
still when those are let go, or when nothing new has come for `HOLD_S`. After `LOST_S`
they are lost, as a device that goes away.

Nobody needs to have the page open while a package drives.
"""

import time
from collections.abc import Callable
from typing import Final

import numpy as np

from edge.actors.actor import HUMAN, Ending, Loss, Signal, Stage, scale
from edge.actors.told_moves import HOLD_S, LOST_S, Told, Word
from edge.errors import ActorUnavailableError
from edge.robots.robot import Observation, Vector

DEFAULT_SPEED: Final = 1.0  # the page has a speed of its own
_ENDINGS: Final = {
    Word.SUCCESS: Ending.SUCCESS,
    Word.FAILURE: Ending.FAILURE,
    Word.LEFT_OUT: Ending.LEFT_OUT,
    Word.STOP: Ending.STOP,
}
LEGEND: Final = (
    "page: open `drive` on the operator's page and take over; sticks, or the keys of"
    " --actor=keyboard, move the robot"
)
LOSS: Final = Loss(
    "nobody is at the page any more",
    "whoever takes over on the page lets the robot go on",
    "whoever took over on the page to stay there",
    "nobody",
    "run it again and keep the page open; the robot was held still",
)


class Page:
    """An `Actor` at the operator's page."""

    def __init__(
        self, stage: Stage, now_s: Callable[[], float] = time.monotonic
    ) -> None:
        """Says where the person acts.

        Args:
            stage: the robot, who is told, and what hears the page.
            now_s: the monotonic clock by which the page says when it was told.

        Raises:
            ActorUnavailableError: nothing hears the page here.
        """
        if stage.moves is None:
            raise ActorUnavailableError(
                "--actor=page",
                "a program that hears the operator's page",
                "one that does not",
                "let it act at //edge:robot, //edge:record or //edge:run",
            )
        self._spec, self._tell, self._now_s = stage.spec, stage.tell, now_s
        self._speed = DEFAULT_SPEED if stage.speed is None else stage.speed
        self._moves = stage.moves
        self._last: Told | None = None
        self._ending: Ending | None = None
        self._since_s = now_s()  # silence counts from here
        self._is_asked = False  # for an action, since the last look
        self._asks = False  # whether the next episode may begin
        self._tell(LEGEND)

    @property
    def name(self) -> str:
        """See `Actor.name`."""
        return HUMAN

    @property
    def loss(self) -> Loss:
        """See `describe_loss`."""
        return LOSS

    def may_begin(self, wait_s: float = 0.0) -> bool | None:
        """See `Actor.may_begin`: to take over begins, stop ends the run."""
        if not self._asks:
            self._asks = True
            self._tell("take over: begin the next episode   stop: no more episodes")
        words = [told.says for told in self._read(wait_s)]
        if Word.TAKE_OVER in words or Word.STOP in words:
            self._asks = False
            return Word.STOP not in words  # it counts whatever was said beside it
        return None

    def reset(self, task: str) -> None:
        """See `Actor.reset`; who has the robot in their hands keeps it."""
        del task
        stop = any(told.says is Word.STOP for told in self._read())
        self._ending = Ending.STOP if stop else None
        self._since_s, self._is_asked = self._now_s(), False

    def signal(self) -> Signal:
        """See `Actor.signal`."""
        had = self._acts
        told = self._read()
        for says in (one.says for one in told):
            # Stop counts whatever was said before, else the first word.
            if says in _ENDINGS and (self._ending is None or says is Word.STOP):
                self._ending = _ENDINGS[says]
        taken = not had and any(one.acts for one in told)
        gone = self._is_silent() or any(one.says is Word.GONE for one in told)
        # Who leaves while the robot stands still, or the package drives, is no loss.
        if self._ending is None and gone and (self._is_asked or taken):
            self._ending = Ending.LOST
            self._last = None
            self._tell(f"{LOSS.gone}: the robot holds still")
        self._is_asked = False
        lost = self._ending is Ending.LOST
        return Signal(self._acts or lost, self._ending)

    def propose(self, observation: Observation) -> Vector:
        """See `Actor.propose`; still unless a stick was pushed just now."""
        del observation
        self._is_asked = True
        axes = np.zeros(self._spec.action_size, np.float32)
        told = self._last
        if told is not None and told.acts and self._now_s() - told.at_s <= HOLD_S:
            given = told.axes[: len(axes)]
            axes[: len(given)] = given
        return scale(self._spec, axes * np.float32(self._speed))

    def close(self) -> None:
        """See `Actor.close`."""
        self._moves.close()

    @property
    def _acts(self) -> bool:
        """Whether somebody has the robot in their hands."""
        return self._last is not None and self._last.acts

    def _is_silent(self) -> bool:
        last_s = self._since_s if self._last is None else self._last.at_s
        return self._now_s() - max(last_s, self._since_s) > LOST_S

    def _read(self, wait_s: float = 0.0) -> list[Told]:
        """Takes in what has come."""
        found = self._moves.read(wait_s)
        for told in found:
            if told.says is not Word.STOP:
                self._last = told
        return found
