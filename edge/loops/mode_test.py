"""What a robot does when: the table of `mode.py`, and how long a word holds."""

import dataclasses
import itertools
import math

import pytest

from edge.loops import mode
from edge.loops.mode import (
    NO_NIGHT,
    Mode,
    ModeRules,
    NightHours,
    RobotFacts,
    choose_mode,
)

DRIVING, IDLE, ASLEEP = Mode.DRIVING, Mode.IDLE, Mode.ASLEEP
NIGHT = ModeRules(NightHours(22.0, 6.0), 600.0)
ALWAYS_DAY = ModeRules(NO_NIGHT, 600.0)
HOUR_S = 3600.0
DAY = RobotFacts(in_episode=False, has_work=True, hour=15.0)
IDLE_DAY = dataclasses.replace(DAY, has_work=False)
CHARGED = {"on_charger": True, "still_s": 600.0}


@pytest.mark.parametrize(
    ("facts", "changes", "wanted", "reason"),
    [
        (DAY, {}, DRIVING, "by default"),
        (IDLE_DAY, {}, IDLE, "nothing to drive with"),
        (DAY, {"hour": 3.0}, ASLEEP, "night until 06:00"),
        (IDLE_DAY, {"hour": 3.0}, ASLEEP, "night until 06:00"),
        # A charger alone does not keep a robot from its work.
        (DAY, CHARGED, DRIVING, "by default"),
        (IDLE_DAY, CHARGED, ASLEEP, "on its charger, with nothing to do"),
        (
            IDLE_DAY,
            CHARGED | {"still_s": 70.0},
            IDLE,
            "on its charger, asleep in 9 min",
        ),
        (IDLE_DAY, {"still_s": 9000.0}, IDLE, "nothing to drive with"),
        # By day it does what it was told.
        (DAY, {"told": ASLEEP, "told_ago_s": 5.0}, ASLEEP, "told to sleep until 06:00"),
        (
            DAY,
            {"told": DRIVING, "told_ago_s": 5.0},
            DRIVING,
            "told to drive until 22:00",
        ),
        (DAY, {"told": IDLE, "told_ago_s": 5.0}, IDLE, "told to stay still"),
        (
            DAY,
            CHARGED | {"told": IDLE, "told_ago_s": 30.0},
            IDLE,
            "told to stay still; on its charger, asleep in 10 min",
        ),
        (
            DAY,
            CHARGED | {"told": IDLE, "told_ago_s": 700.0},
            ASLEEP,
            "on its charger, with nothing to do",
        ),
        # Who is there in the night is obeyed too.
        (
            DAY,
            {"hour": 3.0, "told": DRIVING, "told_ago_s": HOUR_S},
            DRIVING,
            "told to drive until 22:00",
        ),
        (
            DAY,
            {"hour": 3.0, "told": IDLE, "told_ago_s": 1.0},
            IDLE,
            "told to stay still",
        ),
        # A word from before the evening does not keep it awake.
        (
            DAY,
            {"hour": 3.0, "told": DRIVING, "told_ago_s": 6 * HOUR_S},
            ASLEEP,
            "night until 06:00",
        ),
        (
            DAY,
            {"hour": 3.0, "told": IDLE, "told_ago_s": 6 * HOUR_S},
            ASLEEP,
            "night until 06:00",
        ),
        # The next morning it drives, but not if it was told to stay still.
        (
            DAY,
            {"hour": 8.0, "told": ASLEEP, "told_ago_s": 9 * HOUR_S},
            DRIVING,
            "by default",
        ),
        (
            DAY,
            {"hour": 8.0, "told": IDLE, "told_ago_s": 1000 * HOUR_S},
            IDLE,
            "told to stay still",
        ),
        # An episode that runs is driven to its end.
        (DAY, {"in_episode": True}, DRIVING, "by default"),
        (
            DAY,
            {"in_episode": True, "hour": 22.0},
            DRIVING,
            "then asleep: night until 06:00",
        ),
        (
            DAY,
            {"in_episode": True, "told": IDLE, "told_ago_s": 0.0},
            DRIVING,
            "then idle: told to stay still",
        ),
    ],
)
def test_mode_and_reason_follow_from_what_is_known_of_the_robot(
    facts: RobotFacts, changes: dict[str, object], wanted: Mode, reason: str
) -> None:
    known = dataclasses.replace(facts, **changes)  # type: ignore[arg-type]
    found = choose_mode(known, NIGHT)
    assert (found.mode, found.reason) == (wanted, reason)


@pytest.mark.parametrize("told", [ASLEEP, DRIVING, IDLE])
def test_without_night_hours_a_word_holds_until_the_next_one(told: Mode) -> None:
    for hour, days in itertools.product((0.0, 8.0, 23.9), (0.0, 0.5, 30.0)):
        facts = RobotFacts(False, True, hour, told, days * 24 * HOUR_S)
        assert choose_mode(facts, ALWAYS_DAY).mode is told


def test_robot_that_was_told_to_stay_still_never_drives_by_itself() -> None:
    for hour, ago_h, charger, still_s, work in itertools.product(
        range(24), (0.0, 1.0, 13.0, 500.0), (True, False), (0.0, 1e6), (True, False)
    ):
        facts = RobotFacts(
            False, work, float(hour), IDLE, ago_h * HOUR_S, charger, still_s
        )
        for rules in (NIGHT, ALWAYS_DAY):
            assert choose_mode(facts, rules).mode is not DRIVING


def test_nothing_breaks_off_an_episode() -> None:
    for hour, told, charger in itertools.product(
        range(24), (None, *Mode), (True, False)
    ):
        facts = RobotFacts(True, True, float(hour), told, 1.0, charger, math.inf)
        assert choose_mode(facts, NIGHT).mode is DRIVING


@pytest.mark.parametrize(
    ("hours", "inside", "outside"),
    [
        (NightHours(22.0, 6.0), (22.0, 23.9, 0.0, 5.9), (6.0, 12.0, 21.9)),
        (NightHours(1.0, 5.0), (1.0, 4.9), (0.0, 5.0, 23.0)),
        (NO_NIGHT, (), (0.0, 12.0)),
    ],
)
def test_night_may_go_past_midnight(
    hours: NightHours, inside: tuple[float, ...], outside: tuple[float, ...]
) -> None:
    assert all(hours.hold(hour) for hour in inside)
    assert not any(hours.hold(hour) for hour in outside)


def test_night_has_begun_or_ended_within_a_time() -> None:
    night = NightHours(22.0, 6.0)
    assert night.began_within(1.0, 3.1 * HOUR_S)
    assert not night.began_within(1.0, 2.9 * HOUR_S)
    assert night.ended_within(7.0, 1.1 * HOUR_S)
    assert not night.ended_within(7.0, 0.9 * HOUR_S)
    assert not NO_NIGHT.began_within(0.0, math.inf)
    assert not NO_NIGHT.ended_within(0.0, math.inf)


def test_night_hours_are_read_as_people_write_them() -> None:
    assert mode.parse_night("22:00-06:00") == NightHours(22.0, 6.0)
    assert mode.parse_night("0:30-5:45") == NightHours(0.5, 5.75)


@pytest.mark.parametrize("text", ["", "22-6", "24:00-06:00", "22:60-06:00", "22:00"])
def test_other_texts_are_no_night_hours(text: str) -> None:
    with pytest.raises(ValueError, match=r"hours such as 22:00-06:00, got"):
        mode.parse_night(text)


def test_robot_whose_actor_is_to_drive_was_told_to_demonstrate() -> None:
    facts = RobotFacts(False, True, 12.0, Mode.DRIVING, 1.0, demonstrates=True)
    assert choose_mode(facts, ModeRules()).reason == "told to demonstrate"
