"""A whole robot on a desk: its processes live, die, come back and end together."""

import dataclasses
import json
import os
import re
import shutil
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

import numpy as np
import pytest

from edge.robots import registry
from edge.testing import (
    fork,
    process_tree,
    processes,
    ring_steps,
    robot_home,
    sensed_episode,
)
from edge.testing.robot_home import RobotHome
from rlds import reader
from rlds.spec import age_field, picture_field

_LONGEST_S: Final = process_tree.LONGEST_S


class Desk:
    """A running supervisor and its children."""

    def __init__(self, made: RobotHome, *flags: str) -> None:
        self.made = made
        self.log = made.home.root / "log"
        self.supervisor = fork.start(
            "edge.processes.robot", *made.flags, *flags, log=self.log
        )
        self.children: set[int] = set()

    def said(self) -> str:
        return self.log.read_text()

    def wait_for(self, wanted: Callable[[], object]) -> None:
        def look() -> object:
            assert self.supervisor.poll() is None, self.said()
            return wanted()

        process_tree.wait_until(look, self.said)

    def pid(self, name: str) -> int:
        """Waits until a child runs; returns its id."""
        found: list[int] = []

        def look() -> bool:
            pid = self.find(name)
            found.extend([] if pid is None else [pid])
            return bool(found)

        self.wait_for(look)
        self.children.add(found[0])
        return found[0]

    def find(self, name: str) -> int | None:
        """Id of a child; None if it does not run."""
        return process_tree.find_child(self.supervisor.pid, f"edge.processes.{name}")

    def kill(self, name: str) -> None:
        """Kills a child and waits for the next one."""
        killed = self.pid(name)
        os.kill(killed, signal.SIGKILL)
        self.wait_for(lambda: self.find(name) not in (None, killed))

    def shared(self) -> int:
        return len(list(self.made.home.shared.glob("*.tfrecord")))

    def wait_for_episodes(self, more: int) -> None:
        wanted = self.shared() + more
        self.wait_for(lambda: self.shared() >= wanted)

    def end(self, number: int = signal.SIGINT) -> int:
        for name in ("control", "record"):
            self.pid(name)
        self.supervisor.send_signal(number)
        return self.supervisor.wait(_LONGEST_S)

    def close(self) -> None:
        """Ends it and its children, whatever has become of them."""
        below = process_tree.list_descendants(self.supervisor.pid)
        self.supervisor.kill()
        self.supervisor.wait()
        process_tree.kill_all(one.pid for one in below)


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    started = Desk(robot_home.make(tmp_path))
    yield started
    started.close()


@pytest.mark.parametrize(
    ("flag", "said"),
    [
        (
            "--keyring={home}/absent",
            "robot: --keyring: expected a keyring, got no file",
        ),
        ("--keyring={home}/channel", "--keyring: expected a keyring, got a channel in"),
        ("--keyring={home}/text", "--keyring: expected strict JSON, got "),
        (
            "--channel=https://host/channels/nightly.json",
            "--channel: expected a folder",
        ),
        (
            "--channel=http://x/channels/n.json",  # before what is wrong with its name
            "--channel: expected a folder, a file:///… or a gs://… URI",
        ),
        (
            "--channel={home}/nightly.json",
            "--channel: expected STORE/channels/NAME.json",
        ),
        ("--robot=metaworld:reachv3", "metaworld:reachv3"),
        ("--robot=metaworld:", "one of assembly-v3, basketball-v3, "),
        ("--robot=metaworld:", ", push-v3, "),
        ("--share_words=Ada", "--share_words: expected words of 1 to 24 letters"),
    ],
)
def test_what_no_restart_would_mend_is_one_line_before_anything_is_started(
    tmp_path: Path, flag: str, said: str
) -> None:
    made = robot_home.make(tmp_path)
    root = made.home.root
    (root / "channel").write_text('{"channel":"nightly","release_counter":1}')
    (root / "text").write_text("keyring")
    done = processes.run_forked(
        "edge.processes.robot", *made.flags, flag.format(home=root)
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert said in done.stderr
    assert done.stderr.count("\n") == 1
    assert not (made.home.root / "run").exists()


def test_children_that_are_killed_come_back_and_no_step_is_lost_unseen(
    desk: Desk,
) -> None:
    desk.wait_for_episodes(1)
    os.kill(desk.pid("record"), signal.SIGKILL)
    desk.wait_for_episodes(2)
    desk.kill("control")
    desk.wait_for_episodes(2)
    assert desk.end() == 0, desk.said()
    said = desk.said()
    assert "record killed by SIGKILL; again in" in said
    assert "control killed by SIGKILL; again in" in said
    found = re.search(r"record: (\d+) of all (\d+) steps so far are recorded\n", said)
    assert found, said
    recorded, driven = map(int, found.groups())
    assert recorded == driven
    episodes = ring_steps.read_episodes(desk.made.home.shared).values()
    assert sum(one.num_steps for one in episodes) == recorded
    account = json.loads((desk.made.home.private / "account.json").read_bytes())
    assert account["missing"] == {"no_room": 0, "refused": 0, "unfit": 0}
    for child in desk.children:
        assert not process_tree.is_alive(child)


def test_words_of_the_operator_are_handed_on_to_the_recorder(tmp_path: Path) -> None:
    desk = Desk(robot_home.make(tmp_path), "--share_words=frob,arm", "--consent")
    try:
        desk.wait_for_episodes(1)
        (record,) = (desk.made.home.shared / "keys").iterdir()
        assert json.loads(record.read_bytes())["words"] == ["arm", "frob"]
        assert desk.end() == 0, desk.said()
    finally:
        desk.close()


def test_package_that_sees_and_hears_drives_a_robot_that_replays_an_episode(
    tmp_path: Path,
) -> None:
    steps = robot_home.STEPS
    episode = sensed_episode.write(tmp_path, steps)
    made = dataclasses.replace(robot_home.make(tmp_path), episode=episode)
    robots = {"replay": registry.read_spec(f"replay:{episode}")}
    made.install(1, robots, senses=sensed_episode.SENSES)
    desk = Desk(made)
    try:

        def find() -> list[Path]:
            raw = made.home.private.glob("*.tfrecord")
            return [*raw, *made.home.memories.rglob("*.tfrecord")]

        desk.wait_for(find)
        found = reader.read_episode(find()[0])
        assert desk.end() == 0, desk.said()
    finally:
        desk.close()
    before = sensed_episode.make(steps)
    assert found.spec.cameras == before.spec.cameras
    for camera in found.spec.cameras:
        for field in (picture_field(camera), age_field(camera)):
            np.testing.assert_array_equal(found.steps[field], before.steps[field])
    expected = np.clip(sensed_episode.compute_actions(steps, seed=1), -1.0, 1.0)
    np.testing.assert_allclose(found.steps["action"], expected, atol=1e-4)


def test_death_of_the_recorder_does_not_disturb_control(desk: Desk) -> None:
    desk.wait_for_episodes(1)
    control = desk.pid("control")
    for _ in range(2):
        os.kill(desk.pid("record"), signal.SIGKILL)
        desk.wait_for_episodes(1)
    assert desk.pid("control") == control
    assert "control killed" not in desk.said()
    assert desk.end(signal.SIGTERM) == 0


@pytest.mark.long
def test_control_that_nobody_can_hear_any_more_is_started_again_and_is_heard(
    desk: Desk,
) -> None:
    desk.wait_for_episodes(1)
    control, home = desk.pid("control"), desk.made.home
    (home.run / "control.sock").unlink()
    desk.wait_for(lambda: desk.find("control") not in (None, control))
    desk.wait_for_episodes(2)  # one may have been under way, and is recorded late
    control = desk.pid("control")
    home.ring.unlink()
    desk.wait_for(lambda: desk.find("control") not in (None, control))
    desk.wait_for_episodes(1)
    lost = re.findall(r"^control: .* to stay while a robot runs", desk.said(), re.M)
    assert len(lost) == 2
    assert desk.end() == 0


def test_robot_whose_run_folder_is_gone_ends_before_a_second_one_moves(
    desk: Desk,
) -> None:
    desk.wait_for_episodes(1)
    children = [desk.pid(name) for name in ("control", "record")]
    shutil.rmtree(desk.made.home.root / "run")
    assert desk.supervisor.wait(_LONGEST_S) == 1
    assert "to stay while a robot runs" in desk.said()
    for child in children:
        assert not process_tree.is_alive(child)
    again = Desk(desk.made)
    try:
        again.wait_for_episodes(1)
        assert again.end() == 0
    finally:
        again.close()


@pytest.mark.long
def test_dead_learner_and_updater_come_back_ever_later_and_control_drives_on(
    tmp_path: Path,
) -> None:
    made = robot_home.make(tmp_path)
    desk = Desk(made, f"--channel={made.publisher.channel_uri}", "--robot_id=point-1")
    try:
        desk.wait_for_episodes(1)
        others = {name: desk.pid(name) for name in ("control", "record")}
        for _ in range(2):
            for name in ("learn", "update"):
                desk.kill(name)
        desk.wait_for_episodes(1)
        assert {name: desk.find(name) for name in others} == others
        assert desk.end() == 0, desk.said()
    finally:
        desk.close()
    for name in ("learn", "update"):
        for pause_s in (0.5, 1):
            line = f"robot: {name} killed by SIGKILL; again in {pause_s} s\n"
            assert desk.said().count(line) == 1, desk.said()
    episodes = ring_steps.read_episodes(made.home.shared)
    account = json.loads((made.home.private / "account.json").read_bytes())
    assert account["missing"] == {"no_room": 0, "refused": 0, "unfit": 0}
    assert account["driven"] == sum(one.num_steps for one in episodes.values())
    cut = [one for one in episodes.values() if one.num_steps < robot_home.STEPS]
    # Ctrl-C ends one; too many late steps, on a busy machine, end others.
    assert sum(not one.steps["safety_violation"].any() for one in cut) <= 1


def test_supervisor_that_is_killed_takes_its_children_with_it(desk: Desk) -> None:
    desk.wait_for_episodes(1)
    children = [desk.pid(name) for name in ("control", "record")]
    desk.supervisor.kill()
    desk.supervisor.wait()
    process_tree.wait_until(
        lambda: not any(process_tree.is_alive(child) for child in children), desk.said
    )
    assert not list(desk.made.home.private.glob("*.journal"))


def test_robot_without_a_package_fetches_one_from_its_channel_and_drives(
    tmp_path: Path,
) -> None:
    made = robot_home.make(tmp_path)
    made.home.packages.rename(tmp_path / "away")
    desk = Desk(made, f"--channel={made.publisher.channel_uri}", "--robot_id=point-1")
    try:
        desk.wait_for_episodes(1)
        assert desk.pid("update")
        assert desk.end() == 0, desk.said()
        assert re.search(r"update: package \w+ of channel nightly", desk.said())
        assert not any(process_tree.is_alive(child) for child in desk.children)
    finally:
        desk.close()


@pytest.mark.parametrize(
    ("flags", "code", "reason"),
    [
        (["--stop_rules=RULES"], 2, "rules.json: expected a rule of action_limit"),
        (["--stop_rules=no-rules.json"], 2, "no-rules.json"),
        (["--actor=leader"], 2, "one of expert, keyboard, gamepad"),
        (["--actor=keyboard"], 2, "expected a terminal at standard input"),
        (["--actor=gamepad", "--actor_device=/dev/no-js"], 1, "/dev/no-js"),
        (["--actor=keyboard", "--pace=simulated"], 2, "expected real time"),
        (["--actor_speed=1"], 2, "with --actor only"),
        (["--learning_load=-1"], 2, "learning_load"),
        (["--trial_episodes=0"], 2, "trial_episodes"),
    ],
)
def test_what_is_wrong_from_the_start_is_one_line_and_starts_no_child(
    tmp_path: Path, flags: list[str], code: int, reason: str
) -> None:
    made = robot_home.make(tmp_path)
    rules = tmp_path / "rules.json"
    rules.write_text('{"schema_version": 1, "stop_rules": {}}')
    given = [one.replace("RULES", str(rules)) for one in flags]
    done = processes.run_forked("edge.processes.robot", *made.flags, *given)
    assert (done.returncode, done.stdout) == (code, "")
    lines = [one for one in done.stderr.splitlines() if one != "robot: stops"]
    assert len(lines) == 1, done.stderr
    assert reason in lines[0]
    assert not made.home.ring.exists()
