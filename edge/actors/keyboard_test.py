"""A person at a pseudo terminal: the bytes of keys become signals and actions."""

import contextlib
import os
import pty
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field, replace

import numpy as np
import pytest

from edge.actors import actor
from edge.actors.actor import Ending, Signal, Stage
from edge.actors.keyboard import DEFAULT_SPEED, Keyboard
from edge.actors.keys import HOLD_S
from edge.actors.terminal import Terminal
from edge.errors import ActorLostError
from edge.robots.robot import Observation
from edge.robots.simulated_point import SPEC

ARM = replace(SPEC, action_size=2, action_minimum=(-1, -4), action_maximum=(1, 2))
SEEN = Observation(np.zeros(2, np.float32), 0)


@dataclass
class Person:
    """A keyboard, the far end of its terminal, and the time there."""

    descriptor: int
    told: list[str] = field(default_factory=list)
    now_s: float = 100.0

    def press(self, keys: bytes) -> None:
        os.write(self.descriptor, keys)


@contextlib.contextmanager
def sit_down(speed: float | None = None) -> Iterator[tuple[Person, Keyboard]]:
    far, near = pty.openpty()
    person = Person(far)
    terminal = Terminal(near, "test")
    stage = Stage("point", ARM, speed, None, person.told.append, terminal)
    keyboard = Keyboard(stage, lambda: person.now_s)
    keyboard.reset("reach")
    try:
        yield person, keyboard
    finally:
        keyboard.close()
        os.close(near)
        with contextlib.suppress(OSError):
            os.close(far)


def test_keys_are_shown_at_the_start() -> None:
    with sit_down() as (person, keyboard):
        assert keyboard.name == "human"
        assert any("space: take over" in line for line in person.told)


def test_pressed_key_takes_over_and_moves_at_its_share_of_the_range() -> None:
    with sit_down() as (person, keyboard):
        assert keyboard.signal() == Signal()
        person.press(b"ds")
        assert keyboard.signal() == Signal(takes_over=True)
        action = keyboard.propose(SEEN)
        np.testing.assert_allclose(action, [DEFAULT_SPEED, -4 * DEFAULT_SPEED])
        person.now_s += 2 * HOLD_S
        assert keyboard.signal().takes_over, "until it is handed back"
        np.testing.assert_array_equal(keyboard.propose(SEEN), [0, 0])


def test_handing_back_lets_go_of_every_key() -> None:
    with sit_down() as (person, keyboard):
        person.press(b"d")
        keyboard.signal()
        person.press(b"h")
        assert keyboard.signal() == Signal()
        np.testing.assert_array_equal(keyboard.propose(SEEN), [0, 0])
        person.press(b" ")
        assert keyboard.signal() == Signal(takes_over=True)
        np.testing.assert_array_equal(keyboard.propose(SEEN), [0, 0])


@pytest.mark.parametrize(
    ("key", "ending"),
    [
        (b"y", Ending.SUCCESS),
        (b"n", Ending.FAILURE),
        (b"b", Ending.LEFT_OUT),
        (b"x", Ending.STOP),
    ],
)
def test_episode_ends_by_key_and_the_first_word_counts(
    key: bytes, ending: Ending
) -> None:
    with sit_down() as (person, keyboard):
        person.press(b"d" + key)
        assert keyboard.signal() == Signal(True, ending)
        person.press(b"h")
        assert keyboard.signal().ending is ending
        keyboard.reset("reach")
        assert keyboard.signal() == Signal()


def test_stop_key_counts_even_after_a_verdict() -> None:
    with sit_down() as (person, keyboard):
        person.press(b"yx")
        assert keyboard.signal().ending is Ending.STOP


def test_speed_changes_in_steps_and_stays_within_the_range() -> None:
    with sit_down(speed=0.2) as (person, keyboard):
        person.press(b"+d")
        keyboard.signal()
        assert keyboard.propose(SEEN)[0] == np.float32(0.35)
        person.press(b"-" * 20 + b"d")
        keyboard.signal()
        assert keyboard.propose(SEEN)[0] == np.float32(0.05)
        person.press(b"+" * 20 + b"d")
        keyboard.signal()
        assert keyboard.propose(SEEN)[0] == 1.0


def test_keys_that_were_pressed_before_an_episode_count_for_nothing() -> None:
    with sit_down() as (person, keyboard):
        person.press(b"dddy")
        keyboard.reset("reach")
        assert keyboard.signal() == Signal()
        np.testing.assert_array_equal(keyboard.propose(SEEN), [0, 0])


def test_stop_key_between_two_episodes_ends_the_next_at_once() -> None:
    with sit_down() as (person, keyboard):
        person.press(b"xd")
        keyboard.reset("reach")
        assert keyboard.signal() == Signal(ending=Ending.STOP)


@pytest.mark.parametrize(
    ("keys", "goes_on"), [(b"d?y ", True), (b"dx", False), (b" x", False)]
)
def test_next_episode_waits_for_the_person(keys: bytes, goes_on: bool) -> None:
    with sit_down() as (person, keyboard):
        later = threading.Timer(0.05, person.press, [keys])
        later.start()
        assert actor.await_start(keyboard) is goes_on
        later.join()
        assert "space: begin the next episode   x: no more episodes" in person.told


def test_lost_terminal_holds_the_robot_still_and_says_so_once() -> None:
    with sit_down() as (person, keyboard):
        person.press(b"d")
        keyboard.signal()
        os.close(person.descriptor)
        for _ in range(3):
            assert keyboard.signal() == Signal(True, Ending.LOST)
            np.testing.assert_array_equal(keyboard.propose(SEEN), [0, 0])
        keyboard.reset("reach")
        assert keyboard.signal().ending is Ending.LOST
        assert sum("terminal is gone" in line for line in person.told) == 1
        with pytest.raises(ActorLostError, match="stay open"):
            actor.await_start(keyboard)


class HandedKeys:
    """Keys that a supervisor hands on."""

    def __init__(self) -> None:
        self.raw = b""

    def read(self, wait_s: float = 0.0) -> bytes:
        del wait_s
        raw, self.raw = self.raw, b""
        return raw

    def close(self) -> None:
        pass


def test_line_names_the_key_that_leads_to_these_keys_where_a_supervisor_has_them() -> (
    None
):
    told: list[str] = []
    keyboard = Keyboard(Stage("point", ARM, None, None, told.append, HandedKeys()))
    assert keyboard.may_begin() is None
    assert told[-1] == (
        "press Tab first, then space: begin the next episode   x: no more episodes"
    )


def test_key_that_moves_nothing_here_says_so_once() -> None:
    told: list[str] = []
    keys = HandedKeys()
    keyboard = Keyboard(Stage("point", ARM, None, None, told.append, keys))
    before = len(told)
    for _ in range(3):
        keys.raw = b"tt"
        assert keyboard.signal() == Signal()
    assert told[before:] == [
        "t: moves nothing, this robot has 2 axes; press Tab first for what it means to "
        "the robot"
    ]
