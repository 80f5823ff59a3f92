"""A whole robot on a desk: its processes live, die, come back and end together."""

import json
import os
import pty
import re
import select
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

import pytest

from edge.processes import mode_keeper
from edge.testing import processes, ring_steps, robot_home
from edge.testing.robot_home import RobotHome

_LONGEST_S: Final = 40.0


class Desk:
    """A running supervisor and its children."""

    def __init__(self, made: RobotHome, *flags: str) -> None:
        self.made = made
        self.log = made.home.root / "log"
        with self.log.open("wb") as log:
            self.supervisor = subprocess.Popen(
                processes.command("edge.processes.robot", *made.flags, *flags),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=processes.environment(),
            )
        self.children: set[int] = set()

    def said(self) -> str:
        return self.log.read_text()

    def wait_for(self, wanted: Callable[[], object]) -> None:
        until_s = time.monotonic() + _LONGEST_S
        while not wanted():
            assert time.monotonic() < until_s, self.said()
            assert self.supervisor.poll() is None, self.said()
            time.sleep(0.02)

    def pid(self, name: str) -> int:
        """Waits until a child runs; returns its id."""
        self.wait_for(lambda: find_child(self.supervisor.pid, name))
        found = find_child(self.supervisor.pid, name)
        assert found is not None
        self.children.add(found)
        return found

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


def find_child(parent: int, name: str) -> int | None:
    """The id of a process of this module whose parent is `parent`; None if none is."""
    for path in Path("/proc").glob("[0-9]*"):
        try:
            stat = (path / "stat").read_text().rsplit(")", 1)[1].split()
            words = (path / "cmdline").read_bytes().decode().split("\0")
        except (OSError, IndexError):
            continue
        if int(stat[1]) == parent and f"edge.processes.{name}" in words:
            return int(path.name)
    return None


def is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    started = Desk(robot_home.make(tmp_path))
    yield started
    started.supervisor.kill()
    started.supervisor.wait()


def test_children_that_are_killed_come_back_and_no_step_is_lost_unseen(
    desk: Desk,
) -> None:
    desk.wait_for_episodes(1)
    os.kill(desk.pid("record"), signal.SIGKILL)
    desk.wait_for_episodes(2)
    control = desk.pid("control")
    os.kill(control, signal.SIGKILL)
    desk.wait_for(
        lambda: find_child(desk.supervisor.pid, "control") not in (None, control)
    )
    desk.wait_for_episodes(2)
    assert desk.end() == 0, desk.said()
    said = desk.said()
    assert "record killed by SIGKILL; again in" in said
    assert "control killed by SIGKILL; again in" in said
    found = re.search(r"record: (\d+) of (\d+) steps are recorded\n", said)
    assert found, said
    recorded, driven = map(int, found.groups())
    assert recorded == driven
    episodes = ring_steps.read_episodes(desk.made.home.shared).values()
    assert sum(one.num_steps for one in episodes) == recorded
    account = json.loads((desk.made.home.private / "account.json").read_bytes())
    assert account["missing"] == {"no_room": 0, "refused": 0, "unfit": 0}
    for child in desk.children:
        assert not is_alive(child)


def test_death_of_the_recorder_does_not_disturb_control(desk: Desk) -> None:
    desk.wait_for_episodes(1)
    control = desk.pid("control")
    for _ in range(2):
        os.kill(desk.pid("record"), signal.SIGKILL)
        desk.wait_for_episodes(1)
    assert desk.pid("control") == control
    assert "control killed" not in desk.said()
    assert desk.end(signal.SIGTERM) == 0


def test_supervisor_that_is_killed_takes_its_children_with_it(desk: Desk) -> None:
    desk.wait_for_episodes(1)
    children = [desk.pid(name) for name in ("control", "record")]
    desk.supervisor.kill()
    desk.supervisor.wait()
    until_s = time.monotonic() + _LONGEST_S
    while any(is_alive(child) for child in children):
        assert time.monotonic() < until_s
        time.sleep(0.02)
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
        assert not any(is_alive(child) for child in desk.children)
    finally:
        desk.supervisor.kill()


def test_wrong_robot_ends_it_with_the_line_of_control(tmp_path: Path) -> None:
    made = robot_home.make(tmp_path)
    done = processes.run(
        "edge.processes.robot", *made.flags[:-1], "--robot=metaworld:fly-v3"
    )
    assert done.returncode == 2
    assert "control: --robot: expected" in done.stderr


def test_keys_on_a_terminal_set_the_mode_and_quit(tmp_path: Path) -> None:
    made = robot_home.make(tmp_path)
    hour = int(mode_keeper.read_hour())
    night = f"{(hour - 2) % 24:02}:00-{(hour + 3) % 24:02}:00"
    terminal, inner = pty.openpty()
    running = subprocess.Popen(
        processes.command("edge.processes.robot", *made.flags, f"--night={night}"),
        stdin=inner,
        stdout=inner,
        stderr=inner,
        env=processes.environment(),
        start_new_session=True,
    )
    os.close(inner)
    shown = ""

    def read_until(text: str) -> None:
        nonlocal shown
        until_s = time.monotonic() + _LONGEST_S
        start = len(shown)
        while text not in shown[start:]:
            assert time.monotonic() < until_s, shown
            if select.select([terminal], [], [], 0.1)[0]:
                shown += os.read(terminal, 65536).decode()

    # It is night, wherever and whenever the test runs.
    read_until(f"asleep; night until {night[6:]}")
    for key, wanted in (
        (b"d", f"drives; told to drive until {night[:5]}"),
        (b"i", "idle; told to stay still"),
        (b"s", f"asleep; told to sleep until {night[6:]}"),
        (b"d", "drives; told to drive"),
        (b" ", "idle; told to stay still"),
    ):
        os.write(terminal, key)
        read_until(wanted)
    os.write(terminal, b"q")
    read_until("steps are recorded")
    assert running.wait(_LONGEST_S) == 0
    os.close(terminal)
    assert "d drive   i idle   s sleep   space stop   q quit" in shown
