"""Programs of a robot that lives and learns are killed at random instants.

The real supervisor looks after control, recorder, learner, updater and page
(`edge/testing/living_robot.py`). New packages appear on their channel, and in the
nights the robot learns from what it was shown.

After each kill the folder is whole at once, and the robot drives a whole episode.
"""

import os
import random
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from edge.testing import process_tree, ring_steps
from edge.testing.at_terminal import AtTerminal
from edge.testing.living_robot import STEPS, LivingRobot
from edge.testing.process_tree import Running
from edge.testing.tiny_learning import Plan

KILLS: Final = int(os.environ.get("KILLS", "42"))
"""Some three minutes of them; `--test_env=KILLS=300 --test_timeout=3600` makes 300."""
SEED: Final = int(os.environ.get("KILLS_SEED", "0"))
_BRAINS: Final = 4  # other packages have the step of one before, and other manifests
_SUPERVISOR, _LEARNER, _ROUND = "robot", "learner", "round"
_PROGRAMS: Final = ("control", "record", "learn", "update", "page")
KINDS: Final = (_SUPERVISOR, *_PROGRAMS, _LEARNER, _ROUND)
# How likely one that does not run for long is killed at a look, fifty times a second: a
# round without a new package lasts a tenth of a second, a learner some seconds.
_SHARES: Final = {_LEARNER: 0.02, _ROUND: 0.2}
_LONGEST_HUNT_S: Final = 600.0
_MISSED_S: Final = 20.0
"""A learner that was not seen for so long has learned all there is: with packages as
small as these it may begin and end between two looks."""


class Robot(LivingRobot):
    """A robot of which programs are killed."""

    def __init__(self, folder: Path, draw: random.Random) -> None:
        self.draw = draw
        self.kills: Counter[str] = Counter()
        super().__init__(folder)

    def publish_next(self) -> None:
        """A new package appears; its step is one of a few."""
        self.publish(Plan(seed=len(self.brains) % _BRAINS))

    def tell(self, what: str) -> str:
        return super().tell(f"{what}; {dict(self.kills)}")

    def find(self, kind: str) -> int | None:
        """Id of a process of this kind; None if none runs."""
        top = self.terminal.process.pid
        if kind == _SUPERVISOR:
            return top
        below = process_tree.list_descendants(top)
        found = [one.pid for one in below if _tell_kind(one, top) == kind]
        return self.draw.choice(found) if found else None

    def find_victim(self, kind: str) -> int:
        """Waits for a random instant at which a process of this kind runs."""
        if kind == _LEARNER or self.draw.random() < 0.3:
            self.show()
            self.press(b"s")
        if kind in ("update", _ROUND) and self.draw.random() < 0.5:
            self.publish_next()
        found: list[int] = []
        shown_s = time.monotonic()

        def is_time() -> bool:
            nonlocal shown_s
            victim = self.find(kind)
            if victim is not None:
                found.append(victim)
                return self.draw.random() < _SHARES.get(kind, 1.0)
            ended = found or time.monotonic() - shown_s > _MISSED_S
            if kind == _LEARNER and ended:  # it has come to its end, perhaps unseen
                found.clear()
                self.show()
                shown_s = time.monotonic()
            return False

        self.rest(self.draw.uniform(0.0, 2.5))
        self.wait_until(is_time, f"no {kind}", _LONGEST_HUNT_S)
        return found[-1]

    def kill(self, kind: str) -> None:
        """Kills one process; all that it leaves is whole, and the robot drives."""
        victim = self.find_victim(kind)
        below = process_tree.list_descendants(self.terminal.process.pid)
        process_tree.kill_all([victim])
        self.kills[kind] += 1
        self.interruptions += kind in (_SUPERVISOR, "control")
        self.whole.check()
        if kind == _SUPERVISOR:
            self.start_again(below)
        self.drive()
        self.whole.check()

    def start_again(self, below: list[Running]) -> None:
        """The programs of a killed supervisor end by themselves; another one begins."""
        self.terminal.close()
        process_tree.wait_until(
            lambda: not any(process_tree.is_alive(one.pid) for one in below),
            lambda: self.tell("a program has outlived its supervisor"),
        )
        self.whole.check()
        self.said += self.terminal.said
        self.terminal = AtTerminal(self.command)


def _tell_kind(one: Running, supervisor: int) -> str:
    for name in _PROGRAMS:
        if f"edge.processes.{name}" in one.words:
            # A round of the updater, and the trial of a package, are its forks.
            return name if one.parent == supervisor else _ROUND
    return _LEARNER if "edge.loops.learner" in one.words else ""


@pytest.fixture
def robot(tmp_path: Path) -> Iterator[Robot]:
    made = Robot(tmp_path, random.Random(SEED))
    yield made
    made.close()


def check_steps(robot: Robot) -> int:
    """Each step is there once and in its order; returns how many are lost."""
    states = robot.replayed.steps["observation/state"]
    replayed = [state.tobytes() for state in states]
    shared, counted, cut_short = robot.whole.shared, 0, 0
    later = {ring_steps.name_next(name) for name in shared}
    for name in shared.keys() - later:
        seen = [
            state.tobytes()
            for part in ring_steps.list_parts(name, shared)
            for state in part.steps["observation/state"]
        ]
        assert seen == replayed[: len(seen)], name
        counted += len(seen)
        stopped = shared[name].steps["safety_violation"].any()  # by late steps
        cut_short += len(seen) < STEPS and not stopped
    assert sum(one.num_steps for one in shared.values()) == counted
    assert cut_short <= robot.interruptions
    account = robot.whole.read_account()
    assert counted == account["driven"] - account["missing"]["no_room"]
    assert account["missing"]["refused"] == account["missing"]["unfit"] == 0
    return int(account["missing"]["no_room"])


def test_robot_whose_programs_are_killed_stays_whole_and_drives(robot: Robot) -> None:
    robot.drive()
    kinds: list[str] = []
    for number in range(KILLS):
        if not kinds:
            robot.sleep_a_night()
            kinds = robot.draw.sample(KINDS, len(KINDS))
        kind = kinds.pop()
        try:
            robot.kill(kind)
        except BaseException:
            print(f"kill {number} of seed {SEED}, {kind}: {robot.tell('')}")
            raise
        assert robot.whole.count_leftovers() <= 2 * len(KINDS)
    said = robot.end()
    robot.whole.check()
    lost = check_steps(robot)
    assert lost <= robot.kills["control"] + robot.kills[_SUPERVISOR]
    assert not [*robot.home.private.glob("*.journal")]
    assert robot.whole.count_leftovers() <= len(KINDS)
    accepted, installed = said.count("learn: slow: delta"), said.count(": installed")
    driven = robot.whole.read_account()["driven"]
    print(
        f"{KILLS} kills {dict(robot.kills)}: {lost} of {driven} steps lost, "
        f"{len(robot.brains)} packages published, {installed} installed or taken by "
        f"control, {accepted} deltas accepted, seed {SEED}"
    )
    assert accepted
    assert "Traceback" not in said
