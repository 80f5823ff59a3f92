"""A robot whose clock is wrong takes nothing new and drives with what it has."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from edge.errors import ClockError
from edge.ota.decide import Move
from edge.runtime_version import RUNTIME_DATE
from edge.testing.tiny_package import NOW
from edge.testing.updated_robot import UpdatedRobot, snapshot
from release.errors import ExpiredError, TimeTooFarError
from release.verification import CLOCK_TOLERANCE

DAY = timedelta(days=1)
EPOCH = datetime(1970, 1, 1, 0, 5, tzinfo=UTC)
LATER = NOW + 200 * DAY  # the channel of `NOW` expired long before


@pytest.fixture
def robot(tmp_path: Path) -> UpdatedRobot:
    """A robot that asked at `LATER`; what it is offered had expired by then."""
    robot = UpdatedRobot(tmp_path)
    expired = robot.envelope().read_bytes()
    robot.publisher.release(0, now=LATER)
    assert robot.update(now=LATER).move is Move.ADOPT_COUNTER
    robot.envelope().write_bytes(expired)
    robot.publisher.release(1, channel_counter=3)
    return robot


def test_clock_set_back_does_not_bring_an_expired_release_in(
    robot: UpdatedRobot,
) -> None:
    before = snapshot(robot.state.root)
    with pytest.raises(ExpiredError):
        robot.update(now=LATER)
    for now in (EPOCH, NOW, LATER - CLOCK_TOLERANCE - timedelta(seconds=1)):
        active = robot.update(now=now)
        assert (active.move, active.package.digest) == (Move.KEEP, robot.first)
        (note,) = active.notes
        assert note.startswith(f"the clock says {now:%Y-%m-%dT%H:%M:%S}Z, but 2026-08-")
        assert "no new release is taken until it is set" in note
        assert snapshot(robot.state.root) == before
    assert (
        robot.publisher.release(2, now=LATER) == robot.update(now=LATER).package.digest
    )


def test_time_that_was_lost_is_found_in_the_package_and_the_runtime(
    robot: UpdatedRobot,
) -> None:
    for raw in (b"", b"{}", b"\xff", None):
        path = robot.state.root / "newest_time"
        path.unlink() if raw is None else path.write_bytes(raw)
        active = robot.update(now=EPOCH)
        assert active.move is Move.KEEP
        assert "2026-02-03T07:30:00Z has passed" in active.notes[0]


def test_clock_in_1970_gives_a_new_robot_nothing(tmp_path: Path) -> None:
    robot = UpdatedRobot(tmp_path)
    fresh = UpdatedRobot.__new__(UpdatedRobot)
    fresh.publisher = robot.publisher
    fresh.state = type(robot.state)(tmp_path / "fresh")
    for now in (EPOCH, RUNTIME_DATE - CLOCK_TOLERANCE - timedelta(seconds=1)):
        with pytest.raises(ClockError, match="set the clock, or wait"):
            fresh.update(now=now)
        assert fresh.state.read_installed() is None
        assert list((fresh.state.root / "packages").iterdir()) == []
    assert fresh.update().move is Move.INSTALL


def test_damaged_package_is_fetched_again_whatever_the_clock_says(
    tmp_path: Path,
) -> None:
    robot = UpdatedRobot(tmp_path)
    (robot.state.package_folder(robot.first) / "safety.json").unlink()
    active = robot.update(now=EPOCH)
    assert (active.move, active.package.digest) == (Move.INSTALL, robot.first)
    assert robot.open().package.digest == robot.first


def test_clock_that_is_less_than_a_day_behind_is_believed(robot: UpdatedRobot) -> None:
    digest = robot.publisher.release(2, now=LATER)
    active = robot.update(now=LATER - CLOCK_TOLERANCE)
    assert (active.move, active.package.digest) == (Move.INSTALL, digest)


def test_channel_or_package_of_the_future_is_refused(tmp_path: Path) -> None:
    robot = UpdatedRobot(tmp_path)
    robot.publisher.release(1, now=NOW + 2 * DAY)
    robot.refuse(TimeTooFarError, "time of issue")
    robot.replace_record(expires=NOW + 401 * DAY)
    before = snapshot(robot.state.root)
    with pytest.raises(TimeTooFarError, match="expiry within 400 days"):
        robot.update()
    assert snapshot(robot.state.root) == before


def test_newest_time_is_written_once_an_hour_to_spare_the_card(tmp_path: Path) -> None:
    robot = UpdatedRobot(tmp_path)
    path = robot.state.root / "newest_time"
    first = path.stat().st_ino
    robot.update(now=NOW + timedelta(minutes=59))
    assert path.stat().st_ino == first
    robot.update(now=NOW + timedelta(minutes=60))
    assert robot.state.read_newest_time() == NOW + timedelta(hours=1)
