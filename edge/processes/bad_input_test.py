"""What no robot should be given: one clear line each, and nothing is lost by it.

Each case is a state of the disk, and the program that meets it. Others are met in
`learn_test` (another robot's episodes, a torn memory), `control_test` (a damaged
pointer, a delta of the package before) and `update_test` (a store that hangs, is away
or has lost its signatures).
"""

import dataclasses
import os
import signal
import subprocess
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from base.testing import command
from edge import simulated_or_real  # noqa: F401 - heavy, and each program is a fork
from edge.control import local_delta
from edge.control.frozen_sensors import PART_S
from edge.loops.delta_store import CURRENT, DeltaStore
from edge.ota import service  # noqa: F401 - likewise
from edge.processes import process
from edge.processes.mailbox import Mailbox
from edge.testing import (
    process_tree,
    processes,
    robot_home,
    tiny_learning,
    tiny_package,
)
from edge.testing.learning_home import LearningHome
from edge.testing.robot_home import RobotHome
from edge.testing.tiny_learning import ROBOT_ID, TASKS, Plan
from edge.testing.tiny_package import Publisher
from release.testing.tiny_release import PrivateKey
from rlds import example_codec, tfrecord
from rlds.episode import Episode

DRIVEN = 2


@pytest.fixture
def made(tmp_path: Path) -> RobotHome:
    return robot_home.make(tmp_path)


def drive(made: RobotHome) -> list[str]:
    """Control drives its episodes to their end; returns the lines that it says."""
    done = command.run(
        "edge.processes.control",
        *made.flags,
        "--pace=simulated",
        f"--episodes={DRIVEN}",
    )
    assert done.code == 0, done.err
    return done.err.splitlines()


# Channels, met by the updater. A slow one is in `update_test`.


def empty(made: RobotHome) -> str:
    for path in (made.publisher.root / "channels").iterdir():
        path.write_bytes(b"")
    return made.publisher.channel_uri


def expired(made: RobotHome) -> str:
    now = datetime.now(UTC)
    made.publisher.release(
        1, now=now - timedelta(days=9), expires=now - timedelta(days=2)
    )
    return made.publisher.channel_uri


def under_another_name(made: RobotHome) -> str:
    made.publisher.release(1, now=datetime.now(UTC))
    for path in list((made.publisher.root / "channels").iterdir()):
        path.rename(path.with_name(path.name.replace("nightly", "stable")))
    return made.publisher.channel_uri.replace("nightly", "stable")


def for_another_robot(made: RobotHome) -> str:
    made.publisher.release(1, now=datetime.now(UTC), robot_model="other-arm")
    return made.publisher.channel_uri


@pytest.mark.parametrize(
    ("offer", "said"),
    [
        (empty, "expected strict JSON"),
        (expired, "expected an expiry after "),
        (under_another_name, "expected channel stable"),
        (for_another_robot, "expected a robot of the model 'other-arm', got 'sawyer'"),
    ],
)
def test_channel_that_offers_nothing_good_is_one_line_and_the_robot_drives_on(
    made: RobotHome, offer: Callable[[RobotHome], str], said: str
) -> None:
    first = made.active()
    channel = offer(made)
    for _ in range(2):
        done = command.run(
            "edge.processes.update",
            *made.flags,
            "--robot_id=sim-00",
            "--once",
            f"--channel={channel}",
        )
        assert (done.code, done.out) == (1, "")
        (line,) = done.err.splitlines()
        assert said in line
    assert made.active() == first
    drive(made)


# Deltas and packages, met by control.


def too_long(made: RobotHome) -> None:
    made.keep_delta(made.active(), 10.0)


def of_another_base(made: RobotHome) -> None:
    made.keep_delta("ab" * 32, 0.1)


def torn(made: RobotHome) -> None:
    digest = made.keep_delta(made.active(), 0.1)
    path = made.home.deltas / digest / local_delta.TENSORS
    path.write_bytes(path.read_bytes()[:40])


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (too_long, "within its bound of 1, got a length of 10"),
        (of_another_base, "expected a delta of package "),
        (torn, "expected the files that its name says, got others"),
    ],
)
def test_delta_that_is_no_good_is_one_line_and_the_package_drives_alone(
    made: RobotHome, spoil: Callable[[RobotHome], None], said: str
) -> None:
    spoil(made)
    before = processes.read_tree(made.home.deltas)
    lines = [line for line in drive(made) if "the robot drives without it" in line]
    assert len(lines) == 1
    assert said in lines[0]
    assert processes.read_tree(made.home.deltas) == before  # control writes nothing


def test_package_of_another_robot_of_the_same_sizes_is_one_line_and_nothing_moves(
    made: RobotHome, tmp_path: Path
) -> None:
    write_episode(made.episode, tiny_package.episode(seed=5), robot_model="other-arm")
    log = os.open(tmp_path / "log", os.O_RDWR | os.O_CREAT)
    control = command.start("edge.processes.control", *made.flags, out=log, err=log)
    ended: list[int] = []

    def said() -> str:
        return os.pread(log, 1 << 16, 0).decode()

    def has_ended() -> bool:
        pid, status = os.waitpid(control, os.WNOHANG)
        ended.extend([os.waitstatus_to_exitcode(status)] if pid else [])
        return bool(ended)

    try:
        process_tree.wait_until(lambda: "\n" in said(), said)
        os.kill(control, signal.SIGTERM)
        process_tree.wait_until(has_ended, said)
        (line,) = said().splitlines()
    finally:
        if not ended:
            process_tree.kill_all([control])
            os.waitpid(control, 0)
        os.close(log)
    assert "expected a robot of the model 'sawyer', got 'other-arm'" in line
    assert ended == [0]
    assert not made.home.ring.exists()  # no episode was begun


# Sensors, met by control; and what a robot learns from, met by the learner.


def write_episode(path: Path, made: Episode, **metadata: Any) -> None:
    changed = dataclasses.replace(made.metadata, **metadata)
    raw = example_codec.encode_parts(made.spec, changed, dict(made.steps))
    path.write_bytes(tfrecord.frame(raw))


def stand_still(states: np.ndarray) -> np.ndarray:
    """Sensors that stopped: the first state again and again."""
    return np.repeat(states[:1], len(states), axis=0)


def repeat(states: np.ndarray) -> np.ndarray:
    """A sensor that says each state twice."""
    return np.repeat(states, 2, axis=0)[: len(states)]


def stop_one(states: np.ndarray) -> np.ndarray:
    """One sensor stops after a third of the time; the others go on."""
    begin = len(states) // 3
    return np.where(
        (np.arange(len(states))[:, None] > begin) & (np.arange(states.shape[1]) == 1),
        states[begin],
        states,
    )


SENSORS: dict[Callable[[np.ndarray], np.ndarray], str] = {
    stand_still: "sensors stood still for 160 commanded steps",
    repeat: "sensors repeated their last reading in 159 of 320 steps",
    stop_one: "sensor 1 stood still for 320 steps, unlike others",
}
"""What control says of them."""


def spoil(made: Episode, sensor: Callable[[np.ndarray], np.ndarray]) -> Episode:
    states = np.asarray(made.steps["observation/state"])
    return dataclasses.replace(
        made, steps={**made.steps, "observation/state": sensor(states)}
    )


@pytest.mark.parametrize("sensor", SENSORS)
def test_robot_whose_sensors_stop_or_repeat_drives_and_says_if_it_is_blind(
    made: RobotHome, sensor: Callable[[np.ndarray], np.ndarray]
) -> None:
    steps = 1 + round(1.5 * PART_S * tiny_package.SPEC.control_hz)
    write_episode(
        made.episode, spoil(tiny_package.episode(seed=5, steps=steps), sensor)
    )
    with Mailbox(made.home.root, process.SUPERVISOR) as supervisor:
        lines = [line for line in drive(made) if "may be blind" in line]
        shown = supervisor.receive()[-1].fields
    # A simulated robot says it in its first episode alone.
    said = SENSORS[sensor]
    assert len(lines) == bool(said)
    assert [line for line in lines if said not in line] == []
    assert shown.get("frozen", "") == said


class Learning:
    """A robot that learns, and that can drive."""

    def __init__(self, folder: Path, plan: Plan, **options: Any) -> None:
        key = PrivateKey.generate(development=True)
        self.home = LearningHome(folder / "home")
        self.digest = self.home.install(plan, key=key, **options)
        self.publisher = Publisher(folder, key)
        self.episode = folder / "episode.tfrecord"
        write_episode(self.episode, tiny_learning.demonstrate(0))

    def flags(self) -> list[str]:
        return [
            f"--home={self.home.root}",
            f"--keyring={self.publisher.keyring()}",
            "--allow_development_keys",
        ]

    def learn(self) -> subprocess.CompletedProcess[str]:
        """One night by hand."""
        return processes.run(
            "edge.processes.learn",
            *self.flags(),
            f"--robot_id={ROBOT_ID}",
            "--once",
        )

    def drive(self) -> str:
        """Control drives its episodes; returns what it says."""
        done = command.run(
            "edge.processes.control",
            *self.flags(),
            f"--robot=replay:{self.episode}",
            "--pace=simulated",
            f"--episodes={DRIVEN}",
        )
        assert done.code == 0, done.err
        return done.err

    def count_memories(self) -> int:
        return len([*(self.home.root / "memories").glob("0*.tfrecord")])


@pytest.mark.parametrize(
    ("plan", "options", "said"),
    [
        (
            Plan(),
            {"learning": None},
            "expected a `learning` field in package.json, got none",
        ),
        (
            Plan(memory_bytes=1 << 50),
            {},
            "expected at most 400 MB of memory for learning, got ",
        ),
    ],
)
def test_package_that_cannot_learn_is_one_line_and_drives_on_with_all_memories(
    tmp_path: Path, plan: Plan, options: dict[str, Any], said: str
) -> None:
    robot = Learning(tmp_path, plan, **options)
    robot.home.show(8)
    done = robot.learn()
    assert (done.returncode, done.stdout) == (1, "")
    (line,) = done.stderr.splitlines()
    assert said in line
    assert robot.count_memories() == 8
    assert "drives with no delta" in robot.drive()


def test_package_that_takes_more_memory_than_it_says_is_stopped(
    tmp_path: Path,
) -> None:
    robot = Learning(tmp_path, Plan(hungry=True))
    robot.home.show(8)
    done = robot.learn()
    assert (done.returncode, done.stdout) == (1, "")
    (line,) = done.stderr.splitlines()
    assert "the slow loop: expected at most 400 MB of memory, got " in line
    took_mb = int(line.split(" memory, got ")[1].split(" MB")[0])
    assert 400 < took_mb < 1200
    assert robot.count_memories() == 8
    assert DeltaStore(robot.home.root / "deltas").named(CURRENT) is None
    assert "drives with no delta" in robot.drive()


@pytest.mark.parametrize("sensor", SENSORS)
def test_night_on_episodes_of_broken_sensors_keeps_them_and_the_robot_drives(
    tmp_path: Path, sensor: Callable[[np.ndarray], np.ndarray]
) -> None:
    robot = Learning(tmp_path, Plan())
    for number in range(8):
        shown = tiny_learning.demonstrate(number, TASKS[number % 2])
        tiny_learning.hand_over(robot.home.root, spoil(shown, sensor))
    done = robot.learn()
    assert done.returncode == 0, done.stderr
    (line,) = done.stdout.splitlines()
    assert line.startswith("slow: ")
    assert robot.count_memories() == 8
    delta = DeltaStore(robot.home.root / "deltas").named(CURRENT)
    wanted = "no delta" if delta is None else f"delta {delta[:12]}"
    assert f"drives with {wanted}" in robot.drive()
