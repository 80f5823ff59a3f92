"""An updater is killed before each change on the way from trial to its end.

After each kill one whole package drives, the pointer names the old or the new one and a
package on trial has its record; the next round ends the same way, with one receipt of
each outcome, and leaves nothing behind. Of an installation the default target tries
every third instant, the long one all.
"""

from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from edge.ota import trial
from edge.testing.power_cuts import copy_folder, kill_before_call
from edge.testing.tiny_package import Publisher
from edge.testing.tried_robot import TRIAL_EPISODES, TriedRobot, has_trial

# Downloads and unpacked files, where `power_cut_test.py` cuts.
DOWNLOADS = "/packages/packages/"
KEPT = {".lock", "current", "current.copy", "health", "newest_time", "packages"}

pytestmark = pytest.mark.filterwarnings("ignore:This process .* is multi-threaded")


@pytest.fixture
def template(tmp_path: Path) -> TriedRobot:
    """A robot with one committed package."""
    robot = TriedRobot(tmp_path / "template", Publisher(tmp_path))
    robot.install(0)
    robot.commit()
    robot.drive(30)
    return robot


def cut_everywhere(
    template: TriedRobot,
    work: Callable[[TriedRobot], object],
    check: Callable[[TriedRobot], None],
    stride: int = 1,
) -> int:
    """Does `work` on copies of a robot's home, killed at each instant, then `check`.

    Returns:
        How many instants there were.
    """
    number, died = 0, True
    while died:
        robot = TriedRobot(
            template.home.with_name(f"home-{number}"), template.publisher
        )
        robot.now = template.now
        copy_folder(template.home, robot.home)
        died = kill_before_call(
            number, robot.home, partial(work, robot), without=DOWNLOADS
        )
        active = robot.active()
        assert robot.open().package.digest == active
        found = trial.read(robot.state.root)
        pointer = robot.pointer()
        if found is not None and found.digest == active:
            assert found.before == pointer.previous
        check(robot)
        assert {p.name for p in robot.state.root.iterdir()} == KEPT | (
            {trial.FILE} if has_trial(robot) else set()
        )
        assert not list(robot.receipts.folder.glob(".tmp-*"))
        number += stride
    return number


@pytest.mark.parametrize("stride", [3, pytest.param(1, marks=pytest.mark.long)])
def test_installation_cut_at_any_instant_is_on_trial_or_did_not_happen(
    template: TriedRobot, stride: int
) -> None:
    first = template.active()
    second = template.publisher.release(1, now=template.now)
    seen = set()

    def check(robot: TriedRobot) -> None:
        seen.add(robot.active())
        if robot.active() == second:
            found = trial.read(robot.state.root)
            assert found is not None
            assert found.digest == second
        done = robot.poll()
        assert not done.failed, done.lines
        assert (robot.active(), robot.pointer().previous) == (second, first)
        assert robot.outcomes() == [
            ("installed", first[:6]),
            ("committed", first[:6]),
            ("installed", second[:6]),
        ]
        found = trial.read(robot.state.root)
        assert found is not None
        assert found.counts_before.episodes == 30 + TRIAL_EPISODES

    assert cut_everywhere(template, TriedRobot.poll, check, stride) > 20
    assert seen == {first, second}


def test_commitment_cut_at_any_instant_is_made_by_the_next_round(
    template: TriedRobot,
) -> None:
    first, second = template.active(), template.install(1)
    template.drive(TRIAL_EPISODES)

    def check(robot: TriedRobot) -> None:
        assert robot.active() == second
        assert not robot.settle().failed
        assert (robot.active(), robot.pointer().previous) == (second, first)
        assert not has_trial(robot)
        assert robot.outcomes()[2:] == [
            ("installed", second[:6]),
            ("committed", second[:6]),
        ]
        assert robot.settle().lines == ()

    assert cut_everywhere(template, TriedRobot.settle, check) > 8


def test_fall_back_cut_at_any_instant_is_made_by_the_next_round(
    template: TriedRobot,
) -> None:
    first, second = template.active(), template.install(1)
    template.drive(3, stop_rules=1)
    seen = set()

    def check(robot: TriedRobot) -> None:
        seen.add(robot.active())
        assert not robot.settle().failed
        pointer = robot.pointer()
        assert (pointer.digest, pointer.fell_back_from) == (first, second)
        assert robot.outcomes()[2:] == [
            ("installed", second[:6]),
            ("fell_back", second[:6]),
        ]
        fell = robot.read_receipts()[-1]
        assert fell.reason.startswith("3 of 3 episodes ended by a stop rule")
        assert not has_trial(robot)
        assert robot.settle().lines == ()

    assert cut_everywhere(template, TriedRobot.settle, check) > 12
    assert seen == {first, second}
