"""Control opens the active package while another process updates again and again.

The reader takes no lock and writes nothing; the updater holds its own lock all the
time. A package is not removed between the moment at which the pointer is read and the
moment at which the package is open, or the reader opens the one that is named now.
"""

import os
import signal
import time
from pathlib import Path

import pytest

from base import file_lock
from edge.ota import active_package
from edge.ota.decide import Move
from edge.testing.tiny_package import ROBOTS, Publisher
from edge.testing.tried_robot import TriedRobot

PACKAGES = 3
UPDATES = 8
MOST_OPENINGS = 5000


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded")
def test_reader_opens_whole_packages_while_an_updater_replaces_them(
    tmp_path: Path,
) -> None:
    robot = TriedRobot(tmp_path / "home", Publisher(tmp_path))
    digests = {robot.install(seed) for seed in range(PACKAGES)}
    updater = os.fork()
    if updater == 0:
        try:
            while True:
                for seed in range(PACKAGES):
                    robot.publisher.release(seed, now=robot.now)
                    assert not robot.poll().failed
        finally:
            os._exit(1)
    try:
        seen: list[int] = []
        while len(set(seen)) < UPDATES and len(seen) < MOST_OPENINGS:
            active = active_package.find_active_package(
                robot.state, robot.publisher.trusted, ROBOTS
            )
            assert active.move is Move.KEEP
            seen.append(active.installed.release_counter)
            active.driver.policy_for("drawn:reach-v3", ROBOTS["drawn:reach-v3"])
    finally:
        alive, _ = os.waitpid(updater, os.WNOHANG)
        if not alive:
            os.kill(updater, signal.SIGKILL)
            os.waitpid(updater, 0)
    assert not alive, "the updater failed"
    assert seen == sorted(seen)
    assert len(set(seen)) == UPDATES
    assert robot.active() in digests


def test_reader_that_is_slower_than_two_updates_opens_what_is_named_now(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two releases come, and a third update begins, while the first is being opened."""
    robot = TriedRobot(tmp_path / "home", Publisher(tmp_path))
    first = robot.install(0)
    open_now = active_package.open_package
    opened: list[str] = []

    def open_slowly(*arguments: object) -> active_package.ActivePackage:
        if not opened:
            opened.append(first)
            monkeypatch.setattr(active_package, "open_package", open_now)
            robot.commit()
            robot.install(1)
            robot.commit()
            assert robot.state.package_folder(first).exists()
            robot.install(2)
            assert not robot.poll().failed
            assert not robot.state.package_folder(first).exists()
        return open_now(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(active_package, "open_package", open_slowly)
    found = active_package.find_active_package(
        robot.state, robot.publisher.trusted, ROBOTS
    )
    assert opened == [first]
    assert found.package.digest == robot.active() != first


def test_reader_waits_for_no_lock(tmp_path: Path) -> None:
    robot = TriedRobot(tmp_path / "home", Publisher(tmp_path))
    digest = robot.install(0)
    descriptor = file_lock.open_file(robot.state.root / ".lock")
    assert file_lock.try_take(descriptor)
    begin_s = time.monotonic()
    assert robot.open().package.digest == digest
    assert time.monotonic() - begin_s < 60
    os.close(descriptor)
