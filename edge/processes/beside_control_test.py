"""Control and the updater as two processes of one robot: packages come and give way."""

import contextlib
import functools
import os
import signal
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from base.testing import command
from edge import simulated_or_real  # noqa: F401 - heavy, and each process is a fork
from edge.ota import service, start_count  # noqa: F401 - the first likewise
from edge.processes import process
from edge.processes.mailbox import Mailbox
from edge.testing import process_tree, robot_home
from edge.testing.tried_robot import ROBOT_ID, TriedRobot

_MOST_KILLS = 12
_MOST_RELEASES = 6


class Pair:
    """A robot whose control and updater run; nobody starts them again but the test."""

    def __init__(self, folder: Path) -> None:
        # The steps of a trial are too few to judge how many were late, which depends on
        # what else this machine does.
        self.made = robot_home.make(folder, steps=8)
        self.robot = TriedRobot(self.made.home.root, self.made.publisher)
        self.supervisor = Mailbox(self.made.home.root, process.SUPERVISOR)
        self.log = os.open(folder / "log", os.O_RDWR | os.O_CREAT | os.O_APPEND)
        self.driving = ""
        self.released = 0
        self.starts = 0  # of the package that the pointer named at the last kill
        self.pids = {"control": self.start_control()}
        self.pids["update"] = self._start(
            "edge.processes.update",
            f"--channel={self.made.publisher.channel_uri}",
            f"--robot_id={ROBOT_ID}",
            "--update_period_s=1",
            "--update_jitter_s=0",
            "--trial_episodes=20",
        )

    def start_control(self) -> int:
        return self._start("edge.processes.control", "--pace=realtime")

    def _start(self, module: str, *flags: str) -> int:
        return command.start(
            module, *self.made.flags, *flags, out=self.log, err=self.log
        )

    def look(self) -> None:
        """Reads which package control says it drives with."""
        for message in self.supervisor.receive():
            if message.sender == "control":
                self.driving = str(message.fields.get("package", ""))

    def release(self) -> str:
        """Releases packages until the robot takes one; returns its digest.

        A machine that is busy may find a step too slow and refuse its package.
        """
        for _ in range(_MOST_RELEASES):
            self.released += 1
            digest = self.made.publisher.release(self.released, now=_now())
            self.wait_until(functools.partial(self._has_answered, digest))
            if "installed" in self.outcomes(digest):
                return digest
        raise AssertionError(self.said())

    def _has_answered(self, digest: str) -> bool:
        return bool(self.outcomes(digest))

    def has_begun(self, digest: str) -> bool:
        """Whether control has begun with a package since it was killed last.

        The count on the disk says so at once, and until an episode has ended; what
        control says of itself comes twice a second.
        """
        count = start_count.read(self.made.home.packages, digest)
        self.starts = min(self.starts, count)
        return count > self.starts or self.driving == digest

    def wait_until(self, done: Callable[[], bool]) -> None:
        def look() -> bool:
            for name, pid in self.pids.items():
                assert os.waitpid(pid, os.WNOHANG) == (0, 0), (name, self.said())
            self.look()
            return done()

        process_tree.wait_until(look, self.said)

    def outcomes(self, digest: str) -> list[str]:
        return [
            one.outcome
            for one in self.robot.read_receipts()
            if one.package_digest == digest
        ]

    def said(self) -> str:
        return os.pread(self.log, 1 << 20, 0).decode()

    def kill_control(self) -> None:
        os.kill(self.pids["control"], signal.SIGKILL)
        os.waitpid(self.pids["control"], 0)
        self.driving = ""
        self.starts = start_count.read(
            self.made.home.packages, self.robot.pointer().digest
        )
        self.pids["control"] = self.start_control()

    def close(self) -> None:
        for pid in self.pids.values():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
            with contextlib.suppress(ChildProcessError):
                os.waitpid(pid, 0)
        self.supervisor.close()
        os.close(self.log)


@pytest.fixture
def pair(tmp_path: Path) -> Iterator[Pair]:
    made = Pair(tmp_path)
    yield made
    made.close()


def test_release_drives_is_committed_and_the_next_gives_way_when_its_process_dies(
    pair: Pair,
) -> None:
    first = pair.robot.active()
    pair.wait_until(lambda: pair.driving == first)
    second = pair.release()
    pair.wait_until(lambda: pair.driving == second)
    pair.wait_until(lambda: pair.outcomes(second) == ["installed", "committed"])
    third = pair.release()
    for _ in range(_MOST_KILLS):
        pair.wait_until(lambda: pair.has_begun(third) or fell(pair, third))
        if fell(pair, third):
            break
        pair.kill_control()
    # The pointer is back before the receipt says so.
    pair.wait_until(lambda: fell(pair, third) and pair.driving == second)
    assert pair.outcomes(third) == ["installed", "fell_back"]
    assert pair.robot.pointer().fell_back_from == third
    # The receipt is on the disk before the updater has read what its round says.
    pair.wait_until(lambda: "fell back: " in pair.said())


def _now() -> datetime:
    return datetime.now(UTC)


def fell(pair: Pair, digest: str) -> bool:
    return "fell_back" in pair.outcomes(digest)
