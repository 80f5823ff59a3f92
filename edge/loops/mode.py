"""Whether the robot drives, stays still or sleeps, decided without IO.

These are asked in turn, and the first that holds decides:

| asked | mode |
|---|---|
| an episode runs | driving; whatever else holds waits for its end |
| told to sleep, and no night has ended since | asleep |
| told to drive, and no night has begun since; it has work | driving |
| night hours, but for those that were running when it was told to stay still | asleep |
| on its charger, and still for a while without work, or as it was told | asleep |
| told to stay still | idle |
| it has work | driving |
| otherwise | idle |

So what a person said holds until the next word, or until night next begins or ends. Who
told the robot to stay still can rely on it: it may fall asleep, but it does not move
before it is told to. A robot that drives does not fall asleep on its charger: a desk
computer is always on one.
"""

import enum
import math
import re
from dataclasses import dataclass
from typing import Final

SLEEP_AFTER_S: Final = 600.0
"""Who puts a robot on its charger may look at it for a while before it falls asleep."""
_HOUR_S: Final = 3600.0
_DAY_H: Final = 24.0
_NIGHT: Final = re.compile(r"([0-9]{1,2}):([0-9]{2})-([0-9]{1,2}):([0-9]{2})")


class Mode(enum.Enum):
    """What the robot is doing."""

    DRIVING = "driving"
    IDLE = "idle"
    ASLEEP = "asleep"


@dataclass(frozen=True)
class NightHours:
    """When a robot sleeps if nobody says otherwise, local time.

    Attributes:
        begin_h: hour at which the night begins, 0 to 24.
        end_h: hour at which it ends, 0 to 24; equal hours are no night.
    """

    begin_h: float = 22.0
    end_h: float = 6.0

    def hold(self, hour: float) -> bool:
        """Tells whether an hour of the day, 0 to 24, is in the night."""
        if self.begin_h <= self.end_h:
            return self.begin_h <= hour < self.end_h
        return hour >= self.begin_h or hour < self.end_h

    def began_within(self, hour: float, ago_s: float) -> bool:
        """Tells whether a night has begun in the last `ago_s`, if it is `hour` now."""
        return self._exists() and _since_s(self.begin_h, hour) < ago_s

    def ended_within(self, hour: float, ago_s: float) -> bool:
        """Tells whether a night has ended in the last `ago_s`, if it is `hour` now."""
        return self._exists() and _since_s(self.end_h, hour) < ago_s

    def _exists(self) -> bool:
        return self.begin_h != self.end_h


NO_NIGHT: Final = NightHours(0.0, 0.0)


@dataclass(frozen=True)
class ModeRules:
    """When a robot sleeps by itself.

    Attributes:
        night: its night hours; `NO_NIGHT` if the hour does not matter.
        sleep_after_s: how long it stands still on its charger before it falls asleep,
            in seconds.
    """

    night: NightHours = NO_NIGHT
    sleep_after_s: float = SLEEP_AFTER_S


@dataclass(frozen=True)
class RobotFacts:
    """All that the choice of a mode depends on.

    Attributes:
        in_episode: whether an episode runs, which is not broken off.
        has_work: whether there is another episode to drive, and a package to do it.
        hour: hour of the day, 0 to 24, local time.
        told: what somebody said last; None if nobody said anything.
        told_ago_s: how long ago that was, in seconds.
        on_charger: whether it has a battery and something feeds it.
        still_s: how long it has stood still, in seconds.
        demonstrates: whether `told` was that somebody is to demonstrate.
    """

    in_episode: bool
    has_work: bool
    hour: float
    told: Mode | None = None
    told_ago_s: float = math.inf
    on_charger: bool = False
    still_s: float = 0.0
    demonstrates: bool = False


@dataclass(frozen=True)
class ModeChoice:
    """What the robot is to do now, and why, for people."""

    mode: Mode
    reason: str


def choose_mode(facts: RobotFacts, rules: ModeRules) -> ModeChoice:
    """Says what the robot is to do now; see the table above."""
    choice = _choose_between_episodes(facts, rules)
    if facts.in_episode and choice.mode is not Mode.DRIVING:
        later = f"then {choice.mode.value}: {choice.reason}"
        return ModeChoice(Mode.DRIVING, later)
    return choice


def _choose_between_episodes(facts: RobotFacts, rules: ModeRules) -> ModeChoice:
    night, hour, ago_s = rules.night, facts.hour, facts.told_ago_s
    has_night = night != NO_NIGHT
    if facts.told is Mode.ASLEEP and not night.ended_within(hour, ago_s):
        until = f" until {_clock(night.end_h)}" if has_night else ""
        return ModeChoice(Mode.ASLEEP, f"told to sleep{until}")
    begun = night.began_within(hour, ago_s)
    if facts.told is Mode.DRIVING and not begun and facts.has_work:
        until = f" until {_clock(night.begin_h)}" if has_night else ""
        what = "demonstrate" if facts.demonstrates else "drive"
        return ModeChoice(Mode.DRIVING, f"told to {what}{until}")
    if night.hold(hour) and (facts.told is not Mode.IDLE or begun):
        return ModeChoice(Mode.ASLEEP, f"night until {_clock(night.end_h)}")
    stays = facts.told is Mode.IDLE
    still_s = min(facts.still_s, ago_s)
    if (stays or not facts.has_work) and facts.on_charger:
        if still_s >= rules.sleep_after_s:
            return ModeChoice(Mode.ASLEEP, "on its charger, with nothing to do")
        left_s = rules.sleep_after_s - still_s
        why = f"on its charger, asleep in {math.ceil(left_s / 60)} min"
        return ModeChoice(Mode.IDLE, f"told to stay still; {why}" if stays else why)
    if stays:
        return ModeChoice(Mode.IDLE, "told to stay still")
    if facts.has_work:
        return ModeChoice(Mode.DRIVING, "by default")
    return ModeChoice(Mode.IDLE, "nothing to drive with")


def parse_night(text: str) -> NightHours:
    """Reads night hours such as `22:00-06:00`.

    Raises:
        ValueError: the text is no such thing; the message says what was expected.
    """
    found = _NIGHT.fullmatch(text)
    hours = [] if found is None else [int(x) for x in found.groups()]
    if not hours or max(hours[1], hours[3]) > 59 or max(hours[0], hours[2]) > 23:
        raise ValueError(f"expected local hours such as 22:00-06:00, got {text!r}")
    return NightHours(hours[0] + hours[1] / 60, hours[2] + hours[3] / 60)


def _since_s(event_h: float, hour: float) -> float:
    """Time since it was last `event_h`, in seconds."""
    return ((hour - event_h) % _DAY_H) * _HOUR_S


def _clock(hour: float) -> str:
    minutes = round(hour * 60) % 1440
    return f"{minutes // 60:02}:{minutes % 60:02}"
