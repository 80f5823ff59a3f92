"""Control falls back and the updater installs at the same time, and either is killed.

Both write the pointer to the active package, each under the lock of the folder
(docs/decisions/0018). One stands still before each of its changes while the other does
all that it wants, and then goes on or is killed. Whoever comes second changes nothing,
the pointer never goes back to an older release, and the next round ends the same way.
The default target tries every seventh instant of the updater, the long one all.
"""

from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from edge.ota.active_package import ActivePackage
from edge.ota.decide import Move
from edge.testing.power_cuts import copy_folder, stand_still_before_call
from edge.testing.tiny_package import Publisher
from edge.testing.tried_robot import TriedRobot

pytestmark = pytest.mark.filterwarnings("ignore:This process .* is multi-threaded")


class Race:
    """A robot whose active package is damaged, while a newer one is on its channel.

    Attributes:
        first, second, third: the package before, the damaged one, the newer one.
    """

    def __init__(self, folder: Path) -> None:
        self.template = TriedRobot(folder / "template", Publisher(folder))
        self.first = self.template.install(0)
        self.template.commit()
        self.second = self.template.install(1)
        self.template.commit()
        damaged = self.template.state.package_folder(self.second)
        (damaged / "weights.safetensors").write_bytes(b"")
        self.third = self.template.publisher.release(2, now=self.template.now)

    def copy(self, name: str) -> TriedRobot:
        robot = TriedRobot(self.template.home.with_name(name), self.template.publisher)
        robot.now = self.template.now
        copy_folder(self.template.home, robot.home)
        return robot

    def run(
        self,
        first: Callable[[TriedRobot], object],
        second: Callable[[TriedRobot], object],
        kill: bool,
        stride: int = 1,
    ) -> tuple[int, set[str]]:
        """Lets one stand still at each instant, and the other one work meanwhile.

        Returns:
            How many instants there were, and the packages that were named meanwhile.
        """
        number, stood, seen = 0, True, set[str]()
        while stood:
            robot = self.copy(f"home-{number}")
            with stand_still_before_call(
                number, robot.home, partial(first, robot), kill=kill
            ) as stood:
                second(robot)
                named = robot.pointer()
                seen.add(named.digest)
            after = robot.pointer()
            assert after.release_counter >= named.release_counter
            if named.digest == self.third:
                assert after == named
            self.check_end(robot)
            number += stride
        return number, seen

    def check_end(self, robot: TriedRobot) -> None:
        """A whole package drives now, and the newest one after the next round."""
        assert robot.open().package.digest in (self.first, self.third)
        done = robot.poll()
        assert not done.failed, done.lines
        assert (robot.active(), robot.pointer().previous) == (self.third, self.first)
        active = robot.open()
        assert (active.package.digest, active.move) == (self.third, Move.KEEP)
        outcomes = robot.outcomes()
        assert len(outcomes) == len(set(outcomes))
        assert not list(robot.state.root.glob(".tmp-*"))


@pytest.fixture
def race(tmp_path: Path) -> Race:
    return Race(tmp_path)


@pytest.mark.parametrize("kill", [False, True])
def test_updater_that_comes_while_control_falls_back_waits_or_is_not_undone(
    race: Race, kill: bool
) -> None:
    def update(robot: TriedRobot) -> None:
        done = robot.poll()
        busy = "no other update in this folder" in done.lines[-1]
        assert done.failed == busy, done.lines

    instants, seen = race.run(TriedRobot.open, update, kill)
    assert instants > 5
    # Before control has the lock the updater installs; later it finds the folder busy.
    assert seen == {race.first, race.second, race.third}


@pytest.mark.parametrize("kill", [False, True])
@pytest.mark.parametrize("stride", [7, pytest.param(1, marks=pytest.mark.long)])
def test_control_that_falls_back_while_the_updater_installs_drives_and_undoes_nothing(
    race: Race, kill: bool, stride: int
) -> None:
    def drive(robot: TriedRobot) -> None:
        active: ActivePackage = robot.open()
        assert active.package.digest in (race.first, race.third)
        if active.move is Move.FALL_BACK and robot.active() == race.second:
            assert "no other update in this folder" in active.notes[-1]

    instants, seen = race.run(TriedRobot.poll, drive, kill, stride)
    assert instants > 30
    assert {race.second, race.third} <= seen
