"""A person drives a living robot from the operator's page: all its programs, real.

What moved the robot is read from the episodes that it recorded.
"""

import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

import numpy as np
import pytest

from edge.actors.told_moves import HOLD_S, LOST_S
from edge.processes.mailbox import Outbox
from edge.testing import robot_home
from edge.testing.browser import Browser
from edge.testing.desk import Desk
from rlds import reader
from rlds.episode import Episode
from rlds.spec import LEFT_OUT_TAG, StopRule

HZ: Final = 80
STEPS: Final = 4000
"""Of an episode that nobody ends: 50 s."""
BEAT_S: Final = 0.05


class Driven(Desk):
    """A robot that hears its page, and what it recorded."""

    def wait_for_doing(self, browser: Browser, text: str) -> None:
        self.wait_for(lambda: text in browser.look()["doing"])

    def drive(
        self, browser: Browser, *axes: float, until: Callable[[], object]
    ) -> None:
        """Holds a stick until something is so, as a browser does."""

        def look() -> object:
            answer = browser.drive(*axes)
            assert answer.status == 200 or "slow" in answer.text, answer
            time.sleep(BEAT_S)
            return until()

        self.wait_for(look)

    def drive_for(self, browser: Browser, seconds: float, *axes: float) -> None:
        until_s = time.monotonic() + seconds
        self.drive(browser, *axes, until=lambda: time.monotonic() > until_s)

    def read_next(self, known: list[str]) -> Episode:
        """The next episode that was shared; its name is then known too."""

        def find() -> list[Path]:
            shared = sorted(self.made.home.shared.glob("*.tfrecord"))
            return [path for path in shared if path.stem not in known]

        self.wait_for(find)
        path = find()[0]
        known.append(path.stem)
        return reader.read_episode(path)


def steps_of(episode: Episode, name: str) -> np.ndarray[Any, Any]:
    return np.asarray(episode.steps[name])


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Driven]:
    started = Driven(robot_home.make(tmp_path, STEPS), "--actor=page")
    yield started
    started.close()


def test_person_takes_over_hands_back_and_says_how_it_went(desk: Driven) -> None:
    browser, known = desk.pair(), list[str]()
    desk.wait_for_doing(browser, "drives")
    assert browser.look()["seat"] == "free"
    assert browser.take_over().told["seat"] == "yours"
    desk.drive(browser, until=lambda: "human has taken over" in browser.look()["doing"])
    desk.drive_for(browser, 0.5, 1.0, -0.5)
    assert browser.drive(says="hand_back").told["seat"] == "free"
    desk.wait_for(lambda: "human" not in browser.look()["doing"])
    assert browser.say("success").status == 200
    episode = desk.read_next(known)
    assert episode.metadata.success is True
    assert episode.metadata.operator.startswith("policy:")
    acted = steps_of(episode, "intervention").astype(bool)
    assert 0 < acted.sum() < len(acted)
    assert not acted[-1], "it was handed back"
    # A replayed robot has no limits, so a stick leads to those of the package.
    actions = steps_of(episode, "action")[acted]
    assert {tuple(one) for one in actions[:, :2].tolist()} == {(0.0, 0.0), (1.0, -1.0)}
    proposed = steps_of(episode, "proposed_action")[acted]
    assert np.abs(proposed - actions).max() > 0, "the package went on proposing"
    desk.wait_for_doing(browser, "drives")
    assert browser.say("left_out").status == 200
    assert LEFT_OUT_TAG in desk.read_next(known).metadata.tags


def test_robot_that_hears_nothing_new_holds_still_and_then_ends_its_episode(
    desk: Driven,
) -> None:
    browser, known = desk.pair(), list[str]()
    desk.wait_for_doing(browser, "drives")
    browser.take_over()
    desk.drive_for(browser, 0.5, 1.0)
    episode = desk.read_next(known)
    assert episode.metadata.success is None
    moved = np.flatnonzero(steps_of(episode, "action")[:, 0] == 1.0)
    acted = np.flatnonzero(steps_of(episode, "intervention"))
    still = acted[-1] - moved[-1]
    wanted = (LOST_S - HOLD_S) * HZ
    assert 0.8 * wanted < still < 1.2 * wanted
    assert not steps_of(episode, "action")[acted[-1]].any()
    # Nobody moves it until somebody takes it again.
    desk.wait_for_doing(browser, "holds still: nobody is at the page any more")
    count = len(list(desk.made.home.shared.glob("*.tfrecord")))
    desk.wait_for_doing(browser, "whoever takes over on the page lets the robot go on")
    assert len(list(desk.made.home.shared.glob("*.tfrecord"))) == count
    browser.take_over()
    desk.drive(browser, until=lambda: "human has taken" in browser.look()["doing"])


def test_one_command_moves_the_robot_for_a_moment_and_never_again(
    desk: Driven,
) -> None:
    """Repeated, reordered, late, and forged at the mailbox itself."""
    browser, known = desk.pair(), list[str]()
    desk.wait_for_doing(browser, "drives")
    browser.take_over()
    desk.drive(browser, until=lambda: "human has taken" in browser.look()["doing"])
    assert browser.drive(1.0).status == 200
    moving = browser.last
    for _ in range(15):
        time.sleep(BEAT_S)
        assert browser.drive().status == 200
        time.sleep(BEAT_S)
        assert browser.send(moving).status == 409, "it comes again, and out of order"
    late = {"stamp": str(browser.stamp - 600)}
    assert "too late" in browser.drive(1.0, **late).told["refused"]
    ahead = {"stamp": str(browser.stamp + 10_000)}
    assert browser.drive(1.0, **ahead).status == 409
    stranger = Outbox(desk.made.home.root, "page")
    now_s = time.monotonic()
    for at_s in (now_s - 10.0, now_s + 10.0):
        fields = {"at_s": at_s, "acts": True, "axes": [1.0], "says": ""}
        assert stranger.send("control", "acts", fields)
    desk.drive_for(browser, 0.2)
    browser.drive(says="failure")
    episode = desk.read_next(known)
    assert episode.metadata.success is False
    acted = steps_of(episode, "intervention").astype(bool)
    moved = (steps_of(episode, "action")[:, 0] == 1.0) & acted
    assert 1 <= moved.sum() <= HOLD_S * HZ + 1
    assert np.ptp(np.flatnonzero(moved)) == moved.sum() - 1, "in one go"


def test_two_people_cannot_drive_and_either_of_them_stops_the_robot(
    desk: Driven,
) -> None:
    first, known = desk.pair(), list[str]()
    second = desk.pair_another()
    desk.wait_for_doing(first, "drives")
    first.take_over()
    desk.drive(first, until=lambda: "human has taken over" in first.look()["doing"])
    for refused in (second.take_over(), second.drive(1.0), second.say("success")):
        assert refused.status == 409
        assert refused.told["refused"] == "somebody else drives"
        assert refused.told["seat"] == "taken"
        first.drive()
    assert second.order("stopped").status == 303
    assert "over" in first.drive(1.0).told["refused"]
    episode = desk.read_next(known)
    assert StopRule.STOP_KEY.tag in episode.metadata.tags
    desk.wait_for_doing(second, "told to stay still")
    assert second.order("driving").status == 303
    desk.wait_for_doing(second, "drives")
    assert second.take_over().told["seat"] == "yours"
    desk.drive(second, until=lambda: "human has taken over" in second.look()["doing"])


def test_person_demonstrates_and_stops_while_commands_pour_in(desk: Driven) -> None:
    browser, known = desk.pair(), list[str]()
    desk.wait_for_doing(browser, "drives")
    browser.order("demonstrating")
    desk.wait_for(
        lambda: (
            browser.say("left_out").status == 200
            and "waits until the actor begins" in browser.look()["doing"]
        )
    )
    desk.wait_for(lambda: list(desk.made.home.shared.glob("*.tfrecord")))
    known += [path.stem for path in desk.made.home.shared.glob("*.tfrecord")]
    browser.take_over()
    desk.drive(browser, until=lambda: "human acts" in browser.look()["doing"])
    desk.drive_for(browser, 0.5, 0.25)
    browser.drive(says="success")
    episode = desk.read_next(known)
    assert episode.metadata.operator == "human"
    assert "demonstration" in episode.metadata.tags
    assert episode.metadata.success is True
    assert (steps_of(episode, "action")[:, 0] == 1.0).any()
    desk.drive(
        browser,
        until=lambda: "waits until the actor begins" in browser.look()["doing"],
    )
    browser.drive(says="take_over")
    desk.drive(browser, until=lambda: "human acts" in browser.look()["doing"])
    control = desk.find("control")
    assert control is not None
    os.kill(control, signal.SIGSTOP)
    statuses = {browser.drive(1.0).status for _ in range(60)}
    assert statuses <= {200, 429}
    assert browser.order("stopped").status == 303
    os.kill(control, signal.SIGCONT)
    episode = desk.read_next(known)
    assert StopRule.STOP_KEY.tag in episode.metadata.tags
    assert not steps_of(episode, "action")[-1].any()


def test_page_that_is_killed_while_somebody_drives_leaves_the_robot_still(
    desk: Driven,
) -> None:
    browser, known = desk.pair(), list[str]()
    desk.wait_for_doing(browser, "drives")
    browser.take_over()
    desk.drive_for(browser, 0.5, 1.0)
    page, control, before = desk.find("page"), desk.find("control"), desk.find_shown()
    assert page is not None
    os.kill(page, signal.SIGKILL)
    episode = desk.read_next(known)
    assert episode.metadata.success is None
    assert not steps_of(episode, "action")[-1].any()
    moved = np.flatnonzero(steps_of(episode, "action")[:, 0] == 1.0)
    assert len(steps_of(episode, "action")) - moved[-1] > 0.8 * (LOST_S - HOLD_S) * HZ
    desk.wait_for(lambda: desk.find_shown() != before)
    assert desk.find("control") == control
    again = desk.pair()
    desk.wait_for_doing(again, "whoever takes over on the page lets the robot go on")
    again.take_over()
    desk.drive(again, until=lambda: "human has taken over" in again.look()["doing"])


def test_robot_without_an_actor_at_its_page_says_so_and_is_not_driven(
    tmp_path: Path,
) -> None:
    desk = Driven(robot_home.make(tmp_path, STEPS))
    try:
        browser = desk.pair()
        desk.wait_for(lambda: '"drives' in browser.ask("GET", "/status").text)
        answer = browser.take_over()
        assert answer.status == 409
        assert "start it with --actor=page" in answer.told["refused"]
        assert answer.told["axes"] == 0
    finally:
        desk.close()
