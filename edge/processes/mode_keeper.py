"""Keeps what the choice of a robot's mode needs: what was said, the clock, the charger.

Control chooses the mode (`edge.loops.mode`), since it knows whether an episode runs,
and tells the learner. So a robot whose processes are services, without a supervisor,
sleeps at night like one on a desk. The supervisor, to which a person talks, hands on
the last word again and again:

    {"kind": "told", "mode": "driving", "demonstrates": false, "at_s": 1234.5,
     "stopped_s": null}

`mode` is "" while nobody has said anything; `demonstrates` whether the actor drives
in the place of the package; `at_s` is the time of the word by the monotonic clock,
which all processes of a machine share. `stopped_s` is when the actor stopped the
robot after that word; null if it may do what it was told.
"""

import math
import time
from collections.abc import Callable, Mapping

from edge.loops import machine, mode
from edge.loops.machine import READ_AGAIN_S
from edge.loops.mode import Mode, ModeChoice, ModeRules, RobotFacts


def read_hour() -> float:
    """Returns the hour of the day, 0 to 24, local time."""
    now = time.localtime()
    return now.tm_hour + now.tm_min / 60 + now.tm_sec / 3600


class ModeKeeper:
    """What a robot is to do, from one moment to the next.

    Attributes:
        has_heard: whether the supervisor has said what a person said, or that nobody
            said anything.
        stopped_s: when the actor stopped the robot, in monotonic seconds; None if it
            may do what it was told.
        went_on_s: when the actor last let it go on; None if they never did.
    """

    def __init__(
        self,
        rules: ModeRules,
        *,
        is_on_charger: Callable[[], bool] = machine.is_on_charger,
        monotonic_s: Callable[[], float] = time.monotonic,
        hour: Callable[[], float] = read_hour,
    ) -> None:
        """Begins with a robot that moved just now and has been told nothing yet.

        Args:
            rules: when it sleeps by itself.
            is_on_charger: asks the machine; called every `READ_AGAIN_S` at most, and
                only while the robot stands still.
            monotonic_s: the monotonic clock, in seconds.
            hour: hour of the day, 0 to 24, local time.
        """
        self._rules = rules
        self._ask_charger, self._now_s, self._hour = is_on_charger, monotonic_s, hour
        self._told: Mode | None = None
        self._told_s = self._moved_s = monotonic_s()
        self._looked_s = -READ_AGAIN_S
        self._on_charger = False
        self._demonstrates = False
        self.has_heard = False
        self.stopped_s: float | None = None
        self.went_on_s: float | None = None

    @property
    def demonstrates(self) -> bool:
        """Whether somebody was told to demonstrate, for as long as that word holds."""
        ago_s = self._now_s() - self._told_s
        if self._heeded is not Mode.DRIVING or not self._demonstrates:
            return False
        return not self._rules.night.began_within(self._hour(), ago_s)

    def hear(self, fields: Mapping[str, object]) -> None:
        """Handles a `told` message; ignores repeated or malformed ones.

        A word that is older than the last one changes nothing: messages may be late.
        """
        self.has_heard = True
        now_s, stopped_s = self._now_s(), fields.get("stopped_s")
        self._hear_word(fields, now_s)
        if isinstance(stopped_s, int | float):
            stopped_s = min(float(stopped_s), now_s)
            word_s = -math.inf if self._told is None else self._told_s
            if stopped_s > max(word_s, self.went_on_s or -math.inf):
                self.stopped_s = stopped_s

    def _hear_word(self, fields: Mapping[str, object], now_s: float) -> None:
        at_s = fields.get("at_s")
        try:
            told = Mode(fields.get("mode"))
        except ValueError:
            return
        said_s = now_s
        if isinstance(at_s, int | float) and at_s <= now_s:
            said_s = float(at_s)
        if self._told is None or said_s >= self._told_s:
            self._told, self._told_s = told, said_s
            self._demonstrates = fields.get("demonstrates") is True
            if self.stopped_s is not None and said_s >= self.stopped_s:
                self.stopped_s = None

    def stop(self) -> None:
        """Notes that the actor stopped the robot.

        It stays still until they let it go on, or it is told something.
        """
        self.stopped_s = self._now_s()

    def go_on(self) -> None:
        """Notes that the actor lets the robot do what it was told before the stop.

        That holds as if it had been said now.
        """
        self.stopped_s = None
        self._told_s = self.went_on_s = self._now_s()

    @property
    def _heeded(self) -> Mode | None:
        """What the robot is to do by what was said: nothing while it is stopped."""
        return self._told if self.stopped_s is None else Mode.IDLE

    def note_moved(self) -> None:
        """Notes that an episode has just ended."""
        self._moved_s = self._now_s()

    def choose(self, *, in_episode: bool, has_work: bool) -> ModeChoice:
        """Says what the robot is to do now, and why.

        Args:
            in_episode: whether an episode runs.
            has_work: whether there is another one to drive.
        """
        now_s = self._now_s()
        heeded, heeded_s = self._heeded, self.stopped_s or self._told_s
        stands = not in_episode and (heeded is Mode.IDLE or not has_work)
        if stands and now_s - self._looked_s >= READ_AGAIN_S:
            self._looked_s, self._on_charger = now_s, self._ask_charger()
        facts = RobotFacts(
            in_episode=in_episode,
            has_work=has_work,
            hour=self._hour(),
            told=heeded,
            told_ago_s=now_s - heeded_s,
            on_charger=self._on_charger,
            still_s=now_s - self._moved_s,
            demonstrates=self._demonstrates,
        )
        return mode.choose_mode(facts, self._rules)
