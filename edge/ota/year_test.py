"""A robot that was off for a year gets home, and one whose clock lags waits for it."""

from datetime import timedelta
from pathlib import Path

import pytest

from edge.testing import tampering
from edge.testing.tiny_package import Publisher
from edge.testing.tried_robot import TriedRobot

YEAR = timedelta(days=365)


@pytest.fixture
def robot(tmp_path: Path) -> TriedRobot:
    """A robot with one committed package, at the time of its last round."""
    robot = TriedRobot(tmp_path / "home", Publisher(tmp_path))
    robot.install(0)
    robot.commit()
    return robot


def test_robot_that_was_off_for_a_year_takes_the_release_of_now(
    robot: TriedRobot,
) -> None:
    """What it knew has expired long ago, the store has moved on by forty releases."""
    first = robot.active()
    robot.now += YEAR
    robot.publisher.release(1, now=robot.now - YEAR / 2, channel_counter=20)
    latest = robot.publisher.release(2, now=robot.now, channel_counter=41)
    done = robot.poll()
    assert not done.failed, done.lines
    pointer = robot.pointer()
    assert (pointer.digest, pointer.release_counter) == (latest, 41)
    assert pointer.previous == first
    robot.commit()
    assert robot.outcomes()[-1] == ("committed", latest[:6])
    assert robot.read_receipts()[-1].time.startswith("2027-02-03")


def test_robot_that_was_off_for_a_year_waits_for_a_channel_that_is_fresh(
    robot: TriedRobot,
) -> None:
    first = robot.active()
    robot.publisher.release(1, now=robot.now)
    robot.now += YEAR
    done = robot.poll()
    assert done.failed
    assert "an expiry after 2027-02-03" in done.lines[-1]
    assert robot.open().package.digest == first
    latest = robot.publisher.release(1, now=robot.now)
    assert not robot.poll().failed
    assert robot.active() == latest


def test_clock_a_year_behind_what_the_robot_knows_takes_nothing_until_it_is_set(
    robot: TriedRobot,
) -> None:
    robot.now += YEAR
    robot.publisher.release(0, now=robot.now)
    robot.poll()
    first = robot.active()
    robot.publisher.release(1, now=robot.now)
    right, robot.now = robot.now, robot.now - YEAR
    done = robot.poll()
    assert not done.failed
    assert "no new release is taken until it is set" in done.lines[-2]
    assert robot.active() == first
    robot.now = right
    robot.install(1)


def test_clock_that_stood_still_for_the_year_takes_nothing_until_it_is_set(
    robot: TriedRobot,
) -> None:
    """Nothing on this robot knows better: the channel comes from its future."""
    first, stood = robot.active(), robot.now
    latest = robot.publisher.release(1, now=stood + YEAR)
    done = robot.poll()
    assert done.failed
    assert "check the clock" in done.lines[-1]
    assert robot.open().package.digest == first
    robot.now = stood + YEAR
    assert not robot.poll().failed
    assert robot.active() == latest


def test_trial_is_judged_whatever_the_clock_says(robot: TriedRobot) -> None:
    robot.drive(30)
    first, second = robot.active(), robot.install(1)
    robot.now -= 50 * YEAR
    robot.drive(3, stop_rules=1)
    robot.settle()
    assert (robot.active(), robot.pointer().fell_back_from) == (first, second)
    fell = robot.read_receipts()[-1]
    assert (fell.outcome, fell.time[:10]) == ("fell_back", "2026-02-03")


def test_expired_channel_is_refused_once_and_tampering_is_not_believed(
    robot: TriedRobot,
) -> None:
    robot.now += YEAR
    for _ in range(5):
        assert robot.poll().failed
    assert [one[0] for one in robot.outcomes()].count("refused") == 1
    tampering.replace_record(robot.publisher, expires=robot.now + 2 * YEAR)
    assert robot.poll().failed
