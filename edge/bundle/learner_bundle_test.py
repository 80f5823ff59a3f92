"""A Pi's first day and night, with the learner's archive unpacked over the bundle.

QEMU runs every program as its unit starts it. An emulated start takes some ten seconds,
so one robot goes the whole way.
"""

import dataclasses
import json
import os
import signal
import socket
import subprocess
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import numpy as np
import pytest

from edge.bundle import archive, elf
from edge.loops.delta_store import CURRENT, DeltaStore
from edge.ota.state_folder import StateFolder
from edge.processes.home import Home
from edge.testing import (
    bundles,
    process_tree,
    processes,
    ring_steps,
    tiny_learning,
    tiny_package,
)
from edge.testing.tiny_learning import ROBOT_ID, TASKS
from edge.testing.tiny_package import CHANNEL, Publisher
from release.testing.tiny_release import PrivateKey
from rlds import example_codec, tfrecord
from rlds.episode import Episode

LISTING: Final = "LEARNER.json"
SHOWN: Final = 8  # episodes that somebody shows before the night
STEPS: Final = 20
CONTROL_HZ: Final = 10.0
"""As slow as a robot may be: the updater refuses a package whose emulated steps take
longer than half a period."""
_LONGEST_S: Final = 600.0  # for an emulated program, on a busy machine


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Both archives, unpacked over each other as on a Pi."""
    folder = bundles.unpack(tmp_path_factory.mktemp("any where"))
    # Control is the same with it and without it.
    bundles.unpack_over(folder, Path(os.environ["LEARNER"]))
    return folder


def show(number: int) -> Episode:
    """Somebody shows a task, at the rate of the robot."""
    made = tiny_learning.demonstrate(number, TASKS[number % len(TASKS)], steps=STEPS)
    slower = round(tiny_learning.SPEC.control_hz / CONTROL_HZ)
    times = made.steps["t_monotonic_ns"] * slower
    return dataclasses.replace(made, steps={**made.steps, "t_monotonic_ns": times})


class Pi:
    """The programs of an emulated Pi, its robot's folder and the store it follows."""

    def __init__(self, root: Path, folder: Path) -> None:
        self.home = Home(folder / "home")
        self.publisher = Publisher(folder, PrivateKey.generate(development=True))
        self._root, self._folder = root, folder
        self._running: list[subprocess.Popen[bytes]] = []
        self._sockets: list[socket.socket] = []
        replayed = show(0)
        self._episode = folder / "episode.tfrecord"
        self._episode.write_bytes(tfrecord.frame(example_codec.encode(replayed)))

    def publish(self) -> str:
        """A package that learns appears on the channel; returns its digest."""
        folder = self.publisher.folder / "package-0"
        digest = tiny_learning.write_package(folder, control_hz=CONTROL_HZ)
        tiny_package.sign_package(folder, digest, self.publisher.key)
        self.publisher.release(0, now=datetime.now(UTC))
        return digest

    def flags(self, name: str) -> list[str]:
        """The flags of a program, as `/etc/continuon` has them."""
        keys = [f"--keyring={self.publisher.keyring()}", "--allow_development_keys"]
        robot = f"--robot=replay:{self._episode}"
        robot_id = f"--robot_id={ROBOT_ID}"
        channel = f"--channel={self.publisher.channel_uri}"
        return {
            "control": [*keys, robot, "--pace=simulated"],
            "record": [robot_id],
            "learn": [*keys, robot_id],
            "update": [
                *keys,
                robot,
                robot_id,
                channel,
                "--update_period_s=2",
                "--update_jitter_s=0",
            ],
        }[name] + [f"--home={self.home.root}"]

    def start(self, name: str, *flags: str) -> "subprocess.Popen[bytes]":
        """Starts a program and waits until it tells systemd that it is ready."""
        address = f"continuon-{os.getpid()}-{len(self._sockets)}"
        systemd = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._sockets.append(systemd)
        systemd.bind(f"\0{address}")
        systemd.setblocking(False)
        running = processes.start_on_pi(
            self._root,
            *self.flags(name),
            *flags,
            environment={
                "CONTINUON_PROGRAM": f"edge.processes.{name}",
                "NOTIFY_SOCKET": f"@{address}",
            },
            log=self._log,
        )
        self._running.append(running)

        def is_ready() -> bool:
            assert running.poll() is None, self.said()
            try:
                return systemd.recv(4096) == b"READY=1"
            except BlockingIOError:
                return False

        process_tree.wait_until(is_ready, self.said, _LONGEST_S)
        return running

    def learn_once(self) -> None:
        """Somebody starts a night by hand."""
        done = processes.run_on_pi(
            self._root,
            *self.flags("learn"),
            "--once",
            "--learning_memory_mb=1000",  # the emulator's own memory counts here
            environment={"CONTINUON_PROGRAM": "edge.processes.learn"},
        )
        assert done.returncode == 0, done.stderr

    def end(self, *running: "subprocess.Popen[bytes]") -> None:
        """Ends services in good order."""
        for one in running:
            one.send_signal(signal.SIGTERM)
        for one in running:
            assert one.wait(_LONGEST_S) == 0, self.said()

    def wait_for_episodes(self, count: int) -> dict[str, Episode]:
        """Waits until so many are recorded in all; returns them by their names."""
        process_tree.wait_until(
            lambda: len([*self.home.shared.glob("*.tfrecord")]) >= count,
            self.said,
            _LONGEST_S,
        )
        return ring_steps.read_episodes(self.home.shared)

    def said(self) -> str:
        return self._log.read_text()

    def close(self) -> None:
        """Ends whatever still runs."""
        for one in self._running:
            below = process_tree.list_descendants(one.pid)
            one.kill()
            one.wait()
            process_tree.kill_all(child.pid for child in below)
        for systemd in self._sockets:
            systemd.close()

    @property
    def _log(self) -> Path:
        return self._folder / "log"


@pytest.fixture
def pi(root: Path, tmp_path: Path) -> Iterator[Pi]:
    made = Pi(root, tmp_path)
    yield made
    made.close()


def test_only_the_learners_archive_holds_jax_and_of_scipy_only_lapack(
    root: Path,
) -> None:
    below = json.loads((root / archive.LISTING).read_bytes())["files"]
    added = json.loads((root / LISTING).read_bytes())["files"]
    kept = {one["path"] for one in below}
    learners = {one["path"] for one in added}
    assert not [path for path in kept if path.startswith("site-packages/jax")]
    assert "site-packages/jax/__init__.py" in learners
    scipy = {path.split("/")[2] for path in learners if "-packages/scipy/" in path}
    folders = {name for name in scipy if not name.endswith((".py", ".so"))}
    assert folders == {"_external", "_lib", "linalg"}
    assert {"code/edge/processes/learn.py", "code/edge/loops/learner.py"} <= learners
    assert "systemd/continuon-learn.service" in learners
    machines = {elf.read_machine((root / path).read_bytes()) for path in learners}
    assert machines == {None, "aarch64"}


def test_robot_takes_a_package_drives_learns_a_night_and_drives_with_its_delta(
    pi: Pi,
) -> None:
    package = pi.publish()
    control = pi.start("control", "--episodes=2")  # and waits for a package
    others = [pi.start(name) for name in ("record", "learn", "update")]
    assert control.wait(_LONGEST_S) == 0, pi.said()
    first = pi.wait_for_episodes(2)
    pi.end(*others)
    installed = StateFolder(pi.home.packages).read_installed()
    assert installed is not None
    assert (installed.digest, installed.channel) == (package, CHANNEL)
    assert len(first) == 2
    for one in first.values():
        assert (one.metadata.package_digest, one.num_steps) == (package, STEPS)
        assert one.metadata.delta_digest == ""

    for number in range(1, SHOWN + 1):
        tiny_learning.hand_over(pi.home.root, show(number))
    pi.learn_once()
    delta = DeltaStore(pi.home.deltas).named(CURRENT)
    assert delta is not None, pi.said()

    record = pi.start("record")
    control = pi.start("control", "--episodes=1")
    assert control.wait(_LONGEST_S) == 0, pi.said()
    after = pi.wait_for_episodes(3)
    pi.end(record)
    (learned,) = (after[name] for name in after if name not in first)
    metadata = learned.metadata
    assert metadata.package_digest == package
    assert metadata.delta_digest == delta, pi.said()
    # Both were shown the same states; everybody showed 0.3 more than the package does.
    for one in first.values():
        change = learned.steps["proposed_action"] - one.steps["proposed_action"]
        assert np.mean(change) > 0.05
