"""Whose turn it is at a robot that lives: the package's, or the actor's.

| turn | who drives | what the episode says |
|---|---|---|
| the package's, nobody or an expert beside it | the package | the package |
| the package's, a person beside it | who has taken over | of each step who acted |
| a demonstration | the actor | `human` or `expert` |

A person who stopped the robot lets it go on with what it was told before; until then
it stays still, as if it had been told to. One that rested or slept does so again.

A robot that exists is stopped in the same way after `MOST_IN_A_ROW` episodes that ended
outside its workspace: an arm that begins there would move again and again. What other
rules stop, an updater or a learner mends by going back, and the robot goes on.
"""

from typing import Final

from edge.actors.actor import Ending
from edge.control.loop import EpisodeResult
from edge.control.policy_source import Driver
from edge.episodes.provenance import Provenance
from edge.loops.mode import Mode
from edge.processes.acting import Acting
from edge.processes.mode_keeper import ModeKeeper
from edge.robots.robot import Policy, RobotSpec
from rlds.spec import FAST_LOOP_TAG, StopRule

DEMONSTRATION: Final = "demonstration"
_NOBODY_SHOWS: Final = "holds still: nobody may demonstrate here without --actor"
MOST_IN_A_ROW: Final = 3
"""Episodes in a row that may end outside the workspace before a robot that exists holds
still: one may have been pushed there."""
_BY_ACTOR: Final = "stopped by the actor"
_OUTSIDE: Final = "stopped outside its workspace"


class Turns:
    """The turns of one robot; with nobody else there each is the package's.

    Attributes:
        acting: the actor; None if nobody may act.
        shows: whether the next episode, or the one that runs, is a demonstration.
        in_episode: whether one runs.
        is_over: whether the actor wants no more of a number of episodes.
    """

    def __init__(
        self, acting: Acting | None, keeper: ModeKeeper, spec: RobotSpec, numbered: bool
    ) -> None:
        """Begins between two episodes.

        Args:
            acting: the actor; None if nobody may act.
            keeper: hears when the robot is stopped, and when it may continue.
            spec: the robot.
            numbered: whether the robot runs a number of episodes and ends; the actor
                demonstrates them all.
        """
        self.acting = acting
        self._keeper = keeper
        self._spec = spec
        self._numbered = numbered
        self._ended_outside = 0  # in a row
        # Whom a control process that is started again holds still for: where nobody
        # acts, only its workspace stops a robot.
        self._stopped_by = _OUTSIDE if acting is None else _BY_ACTOR
        self.shows = self.in_episode = self.is_over = False

    def begin_next(self) -> None:
        """Decides whose turn comes next."""
        told = self._numbered or self._keeper.demonstrates
        self.shows = told and self.acting is not None

    def await_actor(self) -> str:
        """Says why the next episode may not begin yet; "" if it may."""
        acting = self.acting
        if acting is None:
            if self._keeper.demonstrates and not self._numbered:
                # Who wants to show a task does not expect the package to move.
                return _NOBODY_SHOWS
            return ""
        if not self.shows:
            return "" if acting.is_here() else f"holds still: {acting.trouble}"
        may = acting.may_begin()
        if may is None:
            return acting.trouble or "waits until the actor begins"
        if may:
            return ""
        self.is_over = self._numbered
        self._stop()
        return Mode.IDLE.value

    def listen(self) -> None:
        """Hears the actor while the robot stands still, as it was told to."""
        if self.acting is None:
            return
        if self._keeper.stopped_s is not None:
            if self.acting.may_begin():
                self._keeper.go_on()
        elif self.acting.listen(self._spec.task):
            self._stop()

    def choose_policy(self, driver: Driver | None, robot: str) -> Policy:
        """Returns who drives the episode that begins.

        Args:
            driver: the package; None only if somebody demonstrates.
            robot: the robot string.
        """
        self.in_episode = True
        if self.shows and self.acting is not None:
            return self.acting
        assert driver is not None  # or there was nothing to do
        return driver.policy_for(robot, self._spec)

    def describe_episode(self, driver: Driver | None, *, adapts: bool) -> Provenance:
        """What the episode that begins says of who acts in it."""
        if self.shows and self.acting is not None:
            return Provenance(actor=self.acting.name, tags=(DEMONSTRATION,))
        assert driver is not None  # or there was nothing to do
        return Provenance(
            actor=driver.actor,
            package_digest=driver.package_digest or "",
            delta_digest=driver.delta_digest or "",
            channel=driver.channel,
            tags=(FAST_LOOP_TAG,) if adapts else (),
            watched=self.acting is not None and self.acting.is_person,
        )

    def end(self, result: EpisodeResult) -> str:
        """The episode has ended.

        Returns:
            A line for people if so many in a row ended outside the workspace that the
            robot holds still from now on; else "".
        """
        self.in_episode = False
        if result.ending is Ending.STOP:
            self._stop()
        outside = result.stop_rule is StopRule.WORKSPACE
        self._ended_outside = self._ended_outside + 1 if outside else 0
        bounded = self._spec.simulated or self._numbered
        if bounded or self._ended_outside < MOST_IN_A_ROW:
            return ""
        self._ended_outside = 0
        self._stop(_OUTSIDE)
        return (
            f"the robot holds still: {MOST_IN_A_ROW} episodes in a row ended outside "
            "its workspace; key d at its terminal, //edge:tell, A of a gamepad, to "
            "take over on its page or a restart of its service lets it go on"
        )

    def describe(self) -> str:
        """What the view says of the actor, or of a stop; "" while that is nothing."""
        acting = self.acting
        if not self.in_episode:
            return "" if self._keeper.stopped_s is None else self._stopped_by
        if acting is None:
            return ""
        if self.shows:
            return f"{acting.name} acts"
        return f"{acting.name} has taken over" if acting.takes_over else ""

    def _stop(self, by: str = _BY_ACTOR) -> None:
        if not self._numbered:
            self._stopped_by = by
            self._keeper.stop()
