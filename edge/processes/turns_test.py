"""Whose turn it is: what a person said, where the actor is, and who is to blame."""

import dataclasses
from typing import Any, NoReturn

import numpy as np
import pytest

from edge.actors.actor import EXPERT, HUMAN, Ending, Signal
from edge.control.loop import EpisodeResult
from edge.control.policy_source import Driver
from edge.control.step_times import StepTimes
from edge.errors import ActorLostError
from edge.loops.mode import Mode, ModeRules
from edge.processes.acting import Acting
from edge.processes.mode_keeper import ModeKeeper
from edge.processes.turns import DEMONSTRATION, MOST_IN_A_ROW, Turns
from edge.robots.robot import Observation, Vector
from edge.robots.simulated_point import SPEC
from rlds.spec import FAST_LOOP_TAG, StopRule

DIGEST = "ab" * 32


class Person:
    """An actor who says what a test sets."""

    def __init__(self, name: str = HUMAN) -> None:
        self.name = name
        self.begins: bool | None = None
        self.wants = Signal()
        self.is_gone = False
        self.tasks: list[str] = []

    def may_begin(self, wait_s: float = 0.0) -> bool | None:
        if self.is_gone:
            raise ActorLostError("test", "it to stay", "it is gone")
        said, self.begins = self.begins, None
        return said

    def reset(self, task: str) -> None:
        self.tasks.append(task)
        self.wants = Signal()

    def signal(self) -> Signal:
        return Signal(True, Ending.LOST) if self.is_gone else self.wants

    def propose(self, observation: Observation) -> Vector:
        return np.zeros(1, np.float32)

    def close(self) -> None:
        pass


class Desk:
    """A robot, its actor, and what was said to it."""

    def __init__(
        self,
        actor: str | None = HUMAN,
        *,
        numbered: bool = False,
        simulated: bool = True,
    ) -> None:
        self.now_s = 1000.0
        self.keeper = ModeKeeper(
            ModeRules(),
            is_on_charger=lambda: False,
            monotonic_s=lambda: self.now_s,
            hour=lambda: 12.0,
        )
        self.person = Person(actor or HUMAN)
        self.acting: Acting | None = None
        if actor is not None:
            self.acting = Acting(
                lambda tell: self.person, lambda line: None, lambda: self.now_s
            )
        spec = dataclasses.replace(SPEC, simulated=simulated)
        self.turns = Turns(self.acting, self.keeper, spec, numbered)

    def tell(self, mode: Mode, *, demonstrates: bool = False) -> None:
        self.now_s += 1.0
        fields = {"mode": mode.value, "demonstrates": demonstrates, "at_s": self.now_s}
        self.keeper.hear(fields)

    def mode(self) -> Mode:
        return self.keeper.choose(in_episode=False, has_work=True).mode

    def begin(self) -> str:
        """Decides about the next episode; why it may not begin yet, or ""."""
        self.turns.begin_next()
        return self.turns.await_actor()


def never(*_: object) -> NoReturn:
    raise AssertionError("nobody is to drive here")


DRIVER = Driver(
    DIGEST, "cd" * 32, "nightly", "policy:abababababab", lambda *_: PACKAGE, never
)
PACKAGE: Any = object()


def result(
    ending: Ending | None = None, stop_rule: StopRule | None = None
) -> EpisodeResult:
    return EpisodeResult(
        True, 40, 0, StepTimes(), 0, 0, stop_rule=stop_rule, ending=ending
    )


def test_robot_without_an_actor_is_always_the_packages() -> None:
    desk = Desk(None)
    desk.tell(Mode.DRIVING)
    assert desk.begin() == ""
    assert not desk.turns.shows
    assert desk.turns.choose_policy(DRIVER, "point") is PACKAGE
    made = desk.turns.describe_episode(DRIVER, adapts=True)
    assert (made.actor, made.package_digest, made.delta_digest, made.channel) == (
        DRIVER.actor,
        DIGEST,
        "cd" * 32,
        "nightly",
    )
    assert (made.tags, made.watched) == ((FAST_LOOP_TAG,), False)
    assert desk.turns.describe() == ""
    desk.turns.listen()
    desk.turns.end(result())
    assert not desk.turns.in_episode


def test_package_does_not_move_a_robot_that_an_absent_actor_was_to_move() -> None:
    desk = Desk(None)
    desk.tell(Mode.DRIVING, demonstrates=True)
    assert desk.begin().startswith("holds still: nobody may demonstrate")
    desk.tell(Mode.DRIVING)
    assert desk.begin() == ""
    numbered = Desk(None, numbered=True)
    numbered.tell(Mode.DRIVING, demonstrates=True)
    assert numbered.begin() == ""


@pytest.mark.parametrize("name", [HUMAN, EXPERT])
def test_package_drives_beside_an_actor_and_a_person_alone_watches(name: str) -> None:
    desk = Desk(name)
    desk.tell(Mode.DRIVING)
    assert desk.begin() == ""
    assert desk.turns.choose_policy(DRIVER, "point") is PACKAGE
    made = desk.turns.describe_episode(DRIVER, adapts=False)
    assert (made.watched, made.tags) == (name == HUMAN, ())
    assert desk.turns.describe() == ""
    assert desk.acting is not None
    desk.person.wants = Signal(takes_over=True)
    desk.acting.signal()
    assert desk.turns.describe() == f"{name} has taken over"
    desk.turns.end(result())
    assert desk.turns.describe() == ""


@pytest.mark.parametrize("name", [HUMAN, EXPERT])
def test_demonstration_waits_for_the_actor_and_names_no_package(name: str) -> None:
    desk = Desk(name)
    desk.tell(Mode.DRIVING, demonstrates=True)
    assert desk.begin() == "waits until the actor begins"
    desk.person.begins = True
    assert desk.begin() == ""
    assert desk.turns.choose_policy(None, "point") is desk.acting
    made = desk.turns.describe_episode(None, adapts=False)
    assert (made.actor, made.tags) == (name, (DEMONSTRATION,))
    assert (made.package_digest, made.delta_digest, made.watched) == ("", "", False)
    assert desk.turns.describe() == f"{name} acts"
    desk.turns.end(result())
    desk.tell(Mode.DRIVING)
    assert desk.begin() == ""
    assert not desk.turns.shows


def test_person_who_wants_no_episode_stops_the_robot_until_they_begin_one() -> None:
    desk = Desk()
    desk.tell(Mode.DRIVING, demonstrates=True)
    desk.person.begins = False
    assert desk.begin() == "idle"
    assert desk.mode() is Mode.IDLE
    assert desk.turns.describe() == "stopped by the actor"
    assert not desk.turns.is_over
    desk.turns.listen()
    assert desk.mode() is Mode.IDLE
    desk.person.begins = True
    desk.turns.listen()
    assert desk.mode() is Mode.DRIVING
    assert desk.turns.describe() == ""


def test_numbered_episodes_are_all_the_actors_and_end_when_they_want_no_more() -> None:
    desk = Desk(numbered=True)
    desk.person.begins = True
    assert desk.begin() == ""
    assert desk.turns.shows
    desk.turns.choose_policy(DRIVER, "point")
    desk.turns.end(result(Ending.STOP))
    assert desk.mode() is Mode.DRIVING, "the next one of the number comes"
    desk.person.begins = False
    assert desk.begin() == "idle"
    assert desk.turns.is_over


@pytest.mark.parametrize("ending", [None, *Ending])
def test_only_the_stop_key_of_an_episode_stops_the_robot(
    ending: Ending | None,
) -> None:
    desk = Desk()
    desk.tell(Mode.DRIVING)
    desk.begin()
    desk.turns.choose_policy(DRIVER, "point")
    desk.turns.end(result(ending))
    assert (desk.mode() is Mode.IDLE) is (ending is Ending.STOP)


@pytest.mark.parametrize("mode", [Mode.IDLE, Mode.ASLEEP])
def test_stop_key_while_the_robot_rests_ends_no_rest(mode: Mode) -> None:
    desk = Desk()
    desk.tell(mode)
    desk.person.wants = Signal(takes_over=True)
    desk.turns.listen()
    assert desk.person.tasks == [SPEC.task], "what was pressed counts for nothing"
    assert desk.keeper.stopped_s is None
    desk.person.wants = Signal(ending=Ending.STOP)
    desk.turns.listen()
    assert desk.turns.describe() == "stopped by the actor"
    desk.person.begins = True
    desk.now_s += 1.0
    desk.turns.listen()
    assert desk.mode() is mode


@pytest.mark.parametrize("demonstrates", [True, False])
def test_lost_device_holds_the_robot_still_until_it_is_taken_again(
    demonstrates: bool,
) -> None:
    desk = Desk()
    desk.tell(Mode.DRIVING, demonstrates=demonstrates)
    assert desk.acting is not None
    desk.person.is_gone = True
    desk.acting.signal()
    assert "device of the actor is gone" in desk.begin()
    desk.tell(Mode.DRIVING, demonstrates=demonstrates)
    assert "device of the actor is gone" in desk.begin(), "no word brings it back"
    desk.person.is_gone = False
    for _ in range(20):
        desk.now_s += 1.0
        assert desk.begin()
    assert "is back" in desk.begin()
    desk.person.begins = True
    assert desk.begin() == ""
    assert desk.turns.shows is demonstrates


def end_outside(desk: Desk, episodes: int) -> list[str]:
    """Ends so many episodes by a stop rule; returns what each came to."""
    said = []
    for _ in range(episodes):
        desk.begin()
        desk.turns.choose_policy(DRIVER, "point")
        said.append(desk.turns.end(result(stop_rule=StopRule.WORKSPACE)))
    return said


@pytest.mark.parametrize("actor", [None, HUMAN])
def test_robot_that_exists_holds_still_after_stop_rules_in_a_row(
    actor: str | None,
) -> None:
    desk = Desk(actor, simulated=False)
    *before, last = end_outside(desk, MOST_IN_A_ROW)
    assert not any(before)
    assert "holds still" in last
    assert desk.mode() is Mode.IDLE
    assert desk.turns.describe() == "stopped outside its workspace"
    if actor is None:
        desk.tell(Mode.DRIVING)
    else:
        desk.person.begins = True
        desk.turns.listen()
    assert desk.mode() is Mode.DRIVING
    assert desk.turns.describe() == ""
    assert not any(end_outside(desk, MOST_IN_A_ROW - 1)), "it is counted anew"


@pytest.mark.parametrize(
    "between", [None, StopRule.STOP_KEY, StopRule.WATCHDOG, StopRule.ACTION_RATE]
)
def test_episodes_outside_that_are_not_in_a_row_hold_no_robot(
    between: StopRule | None,
) -> None:
    desk = Desk(None, simulated=False)
    for _ in range(3):
        assert not any(end_outside(desk, MOST_IN_A_ROW - 1))
        assert desk.turns.end(result(stop_rule=between)) == ""
    assert desk.mode() is Mode.DRIVING


@pytest.mark.parametrize("numbered", [True, False])
def test_simulated_robot_and_a_number_of_episodes_go_on_after_stop_rules(
    numbered: bool,
) -> None:
    desk = Desk(None, numbered=numbered, simulated=not numbered)
    assert not any(end_outside(desk, 3 * MOST_IN_A_ROW))
    assert desk.mode() is Mode.DRIVING


def test_actor_who_stops_a_robot_that_rules_had_stopped_is_named() -> None:
    desk = Desk(simulated=False)
    end_outside(desk, MOST_IN_A_ROW)
    desk.person.begins = True
    desk.turns.listen()
    desk.turns.end(result(Ending.STOP))
    assert desk.turns.describe() == "stopped by the actor"
