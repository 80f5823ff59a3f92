"""A person at the operator's page: what it tells becomes signals and actions."""

from dataclasses import dataclass, field, replace

import numpy as np
import pytest

from edge.actors.actor import Ending, Signal, Stage, describe_loss
from edge.actors.page import Page
from edge.actors.told_moves import HOLD_S, LOST_S, HeardMoves, Told
from edge.errors import ActorUnavailableError
from edge.robots.robot import Observation
from edge.robots.simulated_point import SPEC

ARM = replace(SPEC, action_size=2, action_minimum=(-1, -4), action_maximum=(1, 2))
SEEN = Observation(np.zeros(2, np.float32), 0)
STILL = [0.0, 0.0]
LOST = Signal(takes_over=True, ending=Ending.LOST)


@dataclass
class Browser:
    """What the page says, the way of it to the actor, and the time."""

    heard: HeardMoves = field(default_factory=HeardMoves)
    told: list[str] = field(default_factory=list)
    now_s: float = 100.0

    def say(self, says: str = "", *axes: float, acts: bool = True) -> None:
        self.now_s += 0.01
        fields = {"at_s": self.now_s, "acts": acts, "axes": axes, "says": says}
        self.heard.hear(fields, self.now_s)

    def read(self, wait_s: float = 0.0) -> list[Told]:
        del wait_s
        return self.heard.take(self.now_s)

    def close(self) -> None:
        pass


def sit_down(speed: float | None = None) -> tuple[Browser, Page]:
    browser = Browser()
    stage = Stage("point", ARM, speed, None, browser.told.append, moves=browser)
    page = Page(stage, lambda: browser.now_s)
    page.reset("reach")
    return browser, page


def step(page: Page) -> tuple[Signal, list[float]]:
    """One step of control in which a person acts."""
    signal = page.signal()
    return signal, page.propose(SEEN).tolist()


def test_person_takes_over_moves_and_hands_back() -> None:
    browser, page = sit_down(speed=0.5)
    assert page.name == "human"
    assert page.signal() == Signal()
    browser.say("take_over")
    assert step(page) == (Signal(takes_over=True), STILL)
    browser.say("", 1.0, -0.5)
    assert step(page) == (Signal(takes_over=True), [0.5, -1.0])
    browser.say("hand_back", acts=False)
    assert page.signal() == Signal()


def test_robot_holds_still_when_nothing_new_came_and_moves_on_when_it_does() -> None:
    browser, page = sit_down()
    browser.say("", 1.0)
    assert step(page)[1] == [1.0, 0.0]
    browser.now_s += HOLD_S - 0.001
    assert step(page)[1] == [1.0, 0.0]
    browser.now_s += 0.002
    assert step(page) == (Signal(takes_over=True), STILL)
    browser.say("", 1.0)
    assert step(page)[1] == [1.0, 0.0]


def test_silent_page_is_lost_after_a_while_and_stays_so() -> None:
    browser, page = sit_down()
    browser.say("", 1.0)
    step(page)
    browser.now_s += LOST_S + 0.01
    assert step(page) == (LOST, STILL)
    browser.say("", 1.0)
    assert page.signal().ending is Ending.LOST
    assert sum("nobody is at the page" in line for line in browser.told) == 1
    told = describe_loss(page)
    assert "page" in told.gone
    assert "page" in told.back
    assert "page" in str(told.make_error("--actor=page"))
    assert not any(
        "device" in words or "connect" in words for words in vars(told).values()
    )


def test_nobody_needs_to_be_there_while_the_package_drives() -> None:
    browser, page = sit_down()
    browser.now_s += 100 * LOST_S
    assert page.signal() == Signal()
    browser.say("success", acts=False)
    assert page.signal() == Signal(ending=Ending.SUCCESS)


def test_demonstration_in_which_nobody_acts_is_lost() -> None:
    browser, page = sit_down()
    assert step(page) == (Signal(), STILL)
    browser.now_s += LOST_S + 0.01
    assert page.signal().ending is Ending.LOST


def test_person_who_leaves_in_mid_episode_is_lost_at_once() -> None:
    browser, page = sit_down()
    browser.say("", 1.0)
    step(page)
    browser.say("gone", acts=False)
    assert step(page) == (LOST, STILL)
    browser, page = sit_down()
    browser.say("", 1.0)
    browser.say("gone", acts=False)
    assert page.signal() == LOST, "within one step"


def test_person_who_leaves_while_the_robot_rests_is_no_loss() -> None:
    browser, page = sit_down()
    browser.say()
    assert page.signal() == Signal(takes_over=True)
    page.reset("reach")
    browser.say("gone", acts=False)
    assert page.signal() == Signal()


def test_way_to_the_start_takes_its_time_and_the_person_keeps_the_robot() -> None:
    browser, page = sit_down()
    browser.say("success", 1.0)
    browser.now_s += 2 * LOST_S  # nobody listened meanwhile
    browser.say("failure", 1.0)
    page.reset("reach")
    assert step(page) == (Signal(takes_over=True), [1.0, 0.0])
    browser.now_s += HOLD_S + 0.01
    page.reset("reach")
    assert step(page) == (Signal(takes_over=True), STILL)


@pytest.mark.parametrize(
    ("words", "ending"),
    [
        (["failure", "success"], Ending.FAILURE),
        (["left_out"], Ending.LEFT_OUT),
        (["success", "stop"], Ending.STOP),
        (["stop", "success"], Ending.STOP),
    ],
)
def test_first_word_ends_the_episode_and_stop_counts_whatever_was_said(
    words: list[str], ending: Ending
) -> None:
    browser, page = sit_down()
    for word in words:
        browser.say(word)
    assert page.signal().ending is ending


def test_stop_on_the_way_to_the_start_counts_and_nothing_else_does() -> None:
    browser, page = sit_down()
    browser.say("success", acts=False)
    page.reset("reach")
    assert page.signal() == Signal()
    browser.heard.stop(browser.now_s)
    page.reset("reach")
    assert page.signal().ending is Ending.STOP


def test_next_episode_begins_by_taking_over_and_stop_ends_the_run() -> None:
    browser, page = sit_down()
    assert page.may_begin() is None
    browser.say("", 1.0)
    assert page.may_begin() is None, "a stick begins nothing"
    browser.say("take_over")
    assert page.may_begin() is True
    browser.say("take_over")
    browser.heard.stop(browser.now_s)
    assert page.may_begin() is False


def test_axes_that_the_robot_lacks_move_nothing() -> None:
    browser, page = sit_down()
    browser.say("", 0.0, 0.0, 1.0, 1.0)
    assert step(page)[1] == STILL


def test_program_that_hears_no_page_is_told_so() -> None:
    with pytest.raises(ActorUnavailableError, match="hears the operator's page"):
        Page(Stage("point", ARM, None, None, print))
