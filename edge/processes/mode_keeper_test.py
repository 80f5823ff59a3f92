"""What a person said is kept, late words change nothing, and the charger is asked."""

import pytest

from edge.loops.machine import READ_AGAIN_S
from edge.loops.mode import Mode, ModeRules, NightHours
from edge.processes.mode_keeper import ModeKeeper, read_hour


class Machine:
    """A clock, an hour and a charger that a test sets."""

    def __init__(self) -> None:
        self.now_s, self.hour_now, self.charged, self.asked = 1000.0, 12.0, False, 0

    def is_on_charger(self) -> bool:
        self.asked += 1
        return self.charged


@pytest.fixture
def machine() -> Machine:
    return Machine()


@pytest.fixture
def keeper(machine: Machine) -> ModeKeeper:
    return ModeKeeper(
        ModeRules(NightHours(22.0, 6.0), 600.0),
        is_on_charger=machine.is_on_charger,
        monotonic_s=lambda: machine.now_s,
        hour=lambda: machine.hour_now,
    )


def mode_of(keeper: ModeKeeper, has_work: bool = True) -> Mode:
    return keeper.choose(in_episode=False, has_work=has_work).mode


def test_robot_does_what_was_said_last(keeper: ModeKeeper, machine: Machine) -> None:
    assert not keeper.has_heard
    keeper.hear({"mode": "", "at_s": 0.0})
    assert keeper.has_heard
    assert mode_of(keeper) is Mode.DRIVING
    keeper.hear({"mode": "idle", "at_s": 990.0})
    assert mode_of(keeper) is Mode.IDLE
    machine.now_s = 1010.0
    keeper.hear({"mode": "asleep", "at_s": 1005.0})
    assert mode_of(keeper) is Mode.ASLEEP
    keeper.hear({"mode": "idle", "at_s": 990.0})  # it comes late
    assert mode_of(keeper) is Mode.ASLEEP
    keeper.hear({"mode": "flying", "at_s": 1010.0})
    keeper.hear({})
    assert mode_of(keeper) is Mode.ASLEEP
    keeper.hear({"mode": "driving"})  # without a time it was said just now
    assert mode_of(keeper) is Mode.DRIVING


def test_word_to_demonstrate_holds_until_the_next_one_or_the_night(
    keeper: ModeKeeper, machine: Machine
) -> None:
    assert not keeper.demonstrates
    keeper.hear({"mode": "driving", "demonstrates": True, "at_s": 990.0})
    assert keeper.demonstrates
    keeper.stop()
    assert not keeper.demonstrates
    assert mode_of(keeper) is Mode.IDLE
    keeper.go_on()
    assert keeper.demonstrates
    assert mode_of(keeper) is Mode.DRIVING
    machine.now_s += 11 * 3600.0
    machine.hour_now = 23.0
    assert not keeper.demonstrates
    keeper.hear({"mode": "driving", "demonstrates": True})
    assert keeper.demonstrates
    keeper.hear({"mode": "driving"})
    assert not keeper.demonstrates


@pytest.mark.parametrize("told", [Mode.IDLE, Mode.ASLEEP, Mode.DRIVING])
def test_robot_goes_on_with_what_it_was_told_before_it_was_stopped(
    keeper: ModeKeeper, machine: Machine, told: Mode
) -> None:
    keeper.hear({"mode": told.value, "at_s": 990.0})
    for _ in range(2):
        keeper.stop()
        assert keeper.stopped_s == machine.now_s
        machine.now_s += 1.0
        assert mode_of(keeper) is Mode.IDLE
    keeper.go_on()
    assert mode_of(keeper) is told
    assert keeper.stopped_s is None
    assert keeper.went_on_s == machine.now_s


def test_robot_that_nobody_told_anything_sleeps_at_night_after_a_stop_too(
    keeper: ModeKeeper, machine: Machine
) -> None:
    machine.hour_now = 23.0
    keeper.stop()
    keeper.go_on()
    assert mode_of(keeper) is Mode.ASLEEP


def test_stopped_robot_is_not_moved_by_a_word_from_before(
    keeper: ModeKeeper, machine: Machine
) -> None:
    keeper.hear({"mode": "driving", "at_s": 995.0})
    keeper.stop()
    machine.now_s += 0.5
    keeper.hear({"mode": "driving", "at_s": 995.0})
    assert mode_of(keeper) is Mode.IDLE
    keeper.hear({"mode": "driving", "at_s": machine.now_s})
    assert mode_of(keeper) is Mode.DRIVING


def test_word_from_the_future_does_not_hold_against_those_that_follow(
    keeper: ModeKeeper, machine: Machine
) -> None:
    keeper.hear({"mode": "asleep", "at_s": 1e12})
    assert mode_of(keeper) is Mode.ASLEEP
    machine.now_s += 1.0
    keeper.hear({"mode": "driving", "at_s": machine.now_s})
    assert mode_of(keeper) is Mode.DRIVING


def test_charger_is_asked_only_while_the_robot_stands_still(
    keeper: ModeKeeper, machine: Machine
) -> None:
    machine.charged = True
    for in_episode in (True, False):
        keeper.choose(in_episode=in_episode, has_work=True)
    assert machine.asked == 0
    assert mode_of(keeper, has_work=False) is Mode.IDLE
    machine.now_s += READ_AGAIN_S / 2
    assert mode_of(keeper, has_work=False) is Mode.IDLE
    assert machine.asked == 1
    machine.now_s += 600.0
    assert mode_of(keeper, has_work=False) is Mode.ASLEEP
    machine.charged = False
    machine.now_s += READ_AGAIN_S
    assert mode_of(keeper, has_work=False) is Mode.IDLE
    machine.charged = True
    keeper.note_moved()
    machine.now_s += READ_AGAIN_S
    assert mode_of(keeper, has_work=False) is Mode.IDLE


def test_night_begins_and_ends_by_the_clock(
    keeper: ModeKeeper, machine: Machine
) -> None:
    for hour, wanted in (
        (21.9, Mode.DRIVING),
        (22.0, Mode.ASLEEP),
        (6.0, Mode.DRIVING),
    ):
        machine.hour_now = hour
        assert mode_of(keeper) is wanted


def test_hour_is_one_of_the_day() -> None:
    assert 0.0 <= read_hour() < 24.0
