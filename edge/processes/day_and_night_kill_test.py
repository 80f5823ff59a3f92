"""Programs of a robot that lives and learns are killed at random instants.

The real supervisor looks after control, recorder, learner and updater. They drive a
replayed episode at its rate, new packages appear on their channel, and in the nights
the robot learns from what it was shown. Time runs faster: nights, trials of packages
and questions to the channel take seconds.

After each kill the folder is whole at once, and the robot drives a whole episode.
"""

import os
import random
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import pytest

from edge.processes.home import Home
from edge.testing import (
    process_tree,
    processes,
    ring_steps,
    tiny_learning,
    tiny_package,
)
from edge.testing.at_terminal import AtTerminal
from edge.testing.process_tree import Running
from edge.testing.tiny_learning import ROBOT_ID, TASKS, Plan
from edge.testing.tiny_package import Publisher
from edge.testing.whole_home import WholeHome
from release.testing.tiny_release import PrivateKey
from rlds import example_codec, tfrecord

KILLS: Final = int(os.environ.get("KILLS", "42"))
"""Some three minutes of them; `--test_env=KILLS=300 --test_timeout=3600` makes 300."""
SEED: Final = int(os.environ.get("KILLS_SEED", "0"))
STEPS: Final = 20
_SHOWN: Final = 8  # episodes that somebody shows before a night
_BRAINS: Final = 4  # other packages have the step of one before, and other manifests
_SUPERVISOR, _LEARNER, _ROUND = "robot", "learner", "round"
_PROGRAMS: Final = ("control", "record", "learn", "update")
KINDS: Final = (_SUPERVISOR, *_PROGRAMS, _LEARNER, _ROUND)
# How likely one that does not run for long is killed at a look, fifty times a second: a
# round without a new package lasts a tenth of a second, a learner some seconds.
_SHARES: Final = {_LEARNER: 0.02, _ROUND: 0.2}
_LONGEST_HUNT_S: Final = 600.0
_LONGEST_NIGHT_S: Final = 600.0  # a learner gives way to whatever else runs
# What a person may ask of each program, which the supervisor has no flags for.
_FAST_DAYS: Final = """
from edge.processes import children
_MORE = {
    "learn": (
        "--learning_load=1000",
        "--learning_temperature_c=1000",
        "--learning_battery_percent=0",
        "--learning_nights_per_day=100000",
        "--learning_processor_s_per_day=1000000",
        "--learning_wall_s_per_night=1000000",
        "--learning_disk_mb_per_day=1000000",
    ),
    "update": ("--period_s=2", "--jitter_s=0", "--trial_episodes=2"),
}
_Program = children.Program
def _make(name, module, arguments, stop_after_s):
    return _Program(name, module, (*arguments, *_MORE.get(name, ())), stop_after_s)
children.Program = _make
"""


class Robot:
    """A robot's folder, its store, and the supervisor that runs."""

    def __init__(self, folder: Path, draw: random.Random) -> None:
        self.draw = draw
        self.home = Home(folder / "home")
        self.home.root.mkdir()
        self.publisher = Publisher(folder, PrivateKey.generate(development=True))
        self.whole = WholeHome(self.home, self.publisher.trusted, ROBOT_ID)
        self.shown = self.interruptions = 0
        self.brains: dict[str, int] = {}  # by the digest of a package
        self.kills: Counter[str] = Counter()
        self.publish()
        self.replayed = tiny_learning.demonstrate(0, steps=STEPS)
        path = folder / "episode.tfrecord"
        path.write_bytes(tfrecord.frame(example_codec.encode(self.replayed)))
        self._command = processes.command(
            "edge.processes.robot",
            f"--home={self.home.root}",
            f"--keyring={self.publisher.keyring()}",
            "--allow_development_keys",
            f"--robot=replay:{path}",
            f"--channel={self.publisher.channel_uri}",
            f"--robot_id={ROBOT_ID}",
            prelude=_FAST_DAYS,
        )
        self.said = ""
        self.terminal = AtTerminal(self._command)

    def publish(self) -> None:
        """A new package appears on the channel."""
        number, key = len(self.brains), self.publisher.key
        folder = self.publisher.folder / f"package-{number}"
        plan = Plan(seed=number % _BRAINS)
        digest = tiny_learning.write_package(folder, plan, release_counter=number + 1)
        tiny_package.sign_package(folder, digest, key)
        self.brains[digest] = plan.seed
        self.publisher.release(number, now=datetime.now(UTC))

    def show(self) -> None:
        """Somebody shows the robot its tasks, and each file appears whole.

        What is shown is near to what the package does, so that it can be learned.
        """
        seed = self.brains[self.whole.check_package().digest]
        folder = self.home.new_memories
        folder.mkdir(parents=True, exist_ok=True)
        for _ in range(_SHOWN):
            self.shown += 1
            made = tiny_learning.demonstrate(
                self.shown,
                TASKS[self.shown % len(TASKS)],
                seed=seed,
            )
            raw = tfrecord.frame(example_codec.encode(made))
            draft = self.home.root / "draft"
            draft.write_bytes(raw)
            draft.rename(folder / f"{made.metadata.episode_id}.tfrecord")

    def press(self, key: bytes) -> None:
        """Presses a key of the supervisor: the episode that runs may end by it."""
        self.interruptions += key != b"d"
        self.terminal.press(key)

    def rest(self, seconds: float) -> None:
        """Lets time pass; the terminal is read meanwhile."""
        self.terminal.listen_for(seconds)

    def wait_until(
        self,
        done: Callable[[], object],
        what: str,
        longest_s: float = process_tree.LONGEST_S,
    ) -> None:
        def look() -> bool:
            self.terminal.listen(0.0)
            assert self.terminal.process.poll() is None, self.tell(what)
            return bool(done())

        process_tree.wait_until(look, lambda: self.tell(what), longest_s)

    def tell(self, what: str) -> str:
        return f"{what}; {dict(self.kills)}; {self.terminal.said[-6000:]}"

    def drive(self) -> None:
        """Waits until an episode was driven whole that began after this."""
        self.press(b"d")
        self.whole.read_shared()
        before = set(self.whole.shared)
        self.wait_until(lambda: self._has_driven(before), "no episode was driven")

    def _has_driven(self, before: set[str]) -> bool:
        self.whole.read_shared()
        new = [one for name, one in self.whole.shared.items() if name not in before]
        # The first of them may have been on its way to the disk.
        return sum(one.num_steps == STEPS for one in new) > 1

    def sleep_a_night(self) -> None:
        """The robot learns, and nobody disturbs it."""
        self.show()
        ended = self.terminal.said.count("learn: slow: ")
        self.press(b"s")
        self.wait_until(
            lambda: self.terminal.said.count("learn: slow: ") > ended,
            "no night ended",
            _LONGEST_NIGHT_S,
        )

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
            self.publish()
        found: list[int] = []

        def is_time() -> bool:
            victim = self.find(kind)
            if victim is not None:
                found.append(victim)
                return self.draw.random() < _SHARES.get(kind, 1.0)
            if found and kind == _LEARNER:  # it has come to its end
                found.clear()
                self.show()
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
        self.terminal = AtTerminal(self._command)

    def end(self) -> str:
        """Ends the robot in good order; returns all that it has said."""
        below = process_tree.list_descendants(self.terminal.process.pid)
        self.press(b"q")
        code = self.terminal.finish()
        assert code == 0, self.tell("it ended badly")
        assert not any(process_tree.is_alive(one.pid) for one in below)
        return self.said + self.terminal.said

    def close(self) -> None:
        below = process_tree.list_descendants(self.terminal.process.pid)
        self.terminal.close()
        process_tree.kill_all(one.pid for one in below)


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
    accepted, installed = said.count("learn: slow: delta"), said.count(": install")
    driven = robot.whole.read_account()["driven"]
    print(
        f"{KILLS} kills {dict(robot.kills)}: {lost} of {driven} steps lost, "
        f"{len(robot.brains)} packages published, {installed} installed or taken by "
        f"control, {accepted} deltas accepted, seed {SEED}"
    )
    assert accepted
    assert "Traceback" not in said
