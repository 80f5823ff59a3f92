from pathlib import Path

import pytest

from base import durable_file
from base.errors import DiskError
from edge.errors import ActionShapeError, RobotUnavailableError, StepFunctionError
from edge.ota import start_count
from edge.ota.decide import Installed, Move
from edge.ota.start_count import StartCount, Starts
from edge.ota.watch import MOST_CRASHES
from edge.testing.updated_robot import UpdatedRobot, snapshot
from release.errors import ExpiredError


@pytest.fixture
def robot(tmp_path: Path) -> UpdatedRobot:
    """A robot whose active package is the second that it installed."""
    robot = UpdatedRobot(tmp_path)
    robot.publisher.release(1)
    robot.update()
    return robot


def start_and_die(robot: UpdatedRobot, times: int) -> None:
    for _ in range(times):
        assert StartCount(robot.state).begin() is None


def test_package_counts_once_in_a_process_and_an_episode_clears_it(
    robot: UpdatedRobot,
) -> None:
    before = snapshot(robot.state.root)
    digest = robot.read_installed().digest
    starts = StartCount(robot.state)
    with starts.judge():
        for _ in range(3):
            assert starts.begin() is None
        assert start_count.read(robot.state.root, digest) == 1
        assert start_count.read(robot.state.root, robot.first) == 0
        starts.clear()
        starts.begin()
        assert start_count.read(robot.state.root, digest) == 0
    assert snapshot(robot.state.root) == before


def test_death_after_an_episode_is_a_crash_of_its_package_and_no_start_in_a_row(
    robot: UpdatedRobot,
) -> None:
    digest = robot.read_installed().digest
    for crashes in range(4):
        starts = StartCount(robot.state)
        starts.begin()
        starts.clear()
        found = start_count.read_starts(robot.state.root, digest)
        assert (found.in_a_row, found.crashes) == (0, crashes)
    with starts.judge():
        pass  # the last of them ends in good order
    with StartCount(robot.state).judge():
        pass  # this one never drove
    ended = start_count.read_starts(robot.state.root, digest)
    assert ended == Starts(digest, in_a_row=0, crashes=3, running=None)
    again = StartCount(robot.state)
    again.begin()
    assert start_count.read_starts(robot.state.root, digest).crashes == 3
    assert start_count.read_starts(robot.state.root, robot.first) == Starts(robot.first)
    assert robot.open().package.digest == digest


def test_power_cut_is_no_crash() -> None:
    first = Starts("0" * 64).begin("boot 1")
    assert first.begin("boot 1").crashes == 1
    assert first.begin("boot 2").crashes == 0
    unknown = Starts("0" * 64).begin("")
    assert unknown.begin("").crashes == 0
    assert unknown.begin("").in_a_row == 2


def test_count_of_an_earlier_runtime_is_read(robot: UpdatedRobot) -> None:
    digest = robot.read_installed().digest
    (robot.state.root / start_count.FILE).write_text(
        f'{{"count":3,"digest":"{digest}","schema_version":1}}'
    )
    assert start_count.read_starts(robot.state.root, digest) == Starts(digest, 3)
    StartCount(robot.state).begin()
    assert robot.open().move is Move.FALL_BACK


def test_package_keeps_driving_after_three_deaths_if_the_fourth_start_ends_an_episode(
    robot: UpdatedRobot,
) -> None:
    digest = robot.read_installed().digest
    start_and_die(robot, MOST_CRASHES)
    assert robot.open().move is Move.KEEP
    with StartCount(robot.state).judge():
        starts = StartCount(robot.state)
        starts.begin()
        starts.clear()
    assert start_count.read(robot.state.root, digest) == 0


@pytest.mark.parametrize("offline", [True, False])
def test_package_whose_starts_die_gives_way_to_the_one_before_for_good(
    robot: UpdatedRobot, offline: bool
) -> None:
    bad = robot.read_installed()
    start_and_die(robot, MOST_CRASHES + 1)
    active = robot.open() if offline else robot.update()
    assert (active.move, active.package.digest) == (Move.FALL_BACK, robot.first)
    (note,) = active.notes
    assert note.startswith("release 2 cannot drive: package ")
    assert "got 3 starts in a row that died before one did" in note
    fallen = Installed(robot.first, 2, "nightly", None, fell_back_from=bad.digest)
    assert robot.read_installed() == fallen
    assert robot.update().move is Move.KEEP
    assert robot.read_installed() == fallen
    start_and_die(robot, 1)
    assert robot.open().package.digest == robot.first
    robot.install_next()


def test_package_without_one_before_it_is_tried_again_and_again(tmp_path: Path) -> None:
    robot = UpdatedRobot(tmp_path)
    start_and_die(robot, 3 * MOST_CRASHES)
    for start in (robot.open, robot.update):
        active = start()
        assert (active.move, active.package.digest) == (Move.KEEP, robot.first)
        (note,) = active.notes
        assert "3 starts in a row that died" in note
        assert note.endswith("no package before it opens, so it is tried again")


def test_package_that_keeps_crashing_gives_way_to_a_newer_release_at_once(
    robot: UpdatedRobot,
) -> None:
    start_and_die(robot, MOST_CRASHES + 1)
    third = robot.publisher.release(2)
    active = robot.update()
    assert (active.move, active.package.digest) == (Move.INSTALL, third)
    assert robot.read_installed().previous == robot.first
    assert start_count.read(robot.state.root, third) == 0


@pytest.mark.parametrize(
    ("error", "count"),
    [
        (StepFunctionError("p", "a", "b"), 1),
        (ActionShapeError("p", "a", "b"), 1),
        (RobotUnavailableError("r", "a", "b"), 0),
        (ExpiredError("c", "a", "b"), 0),
        (OSError("the disk"), 0),
        (KeyboardInterrupt(), 0),
        (SystemExit(0), 0),
    ],
)
def test_run_that_another_fault_ends_does_not_count_against_the_package(
    robot: UpdatedRobot, error: BaseException, count: int
) -> None:
    starts = StartCount(robot.state)
    with pytest.raises(type(error)), starts.judge():
        starts.begin()
        raise error
    digest = robot.read_installed().digest
    assert start_count.read(robot.state.root, digest) == count


@pytest.mark.parametrize("raw", [b"", b"{", b"\xff", b'{"count":9}', b"9" * 9999])
def test_damaged_count_is_no_count(robot: UpdatedRobot, raw: bytes) -> None:
    (robot.state.root / start_count.FILE).write_bytes(raw)
    assert robot.open().move is Move.KEEP
    start_and_die(robot, 1)
    digest = robot.read_installed().digest
    assert start_count.read(robot.state.root, digest) == 1


def test_folder_in_the_place_of_the_count_is_set_aside(robot: UpdatedRobot) -> None:
    (robot.state.root / start_count.FILE / "in it").mkdir(parents=True)
    assert StartCount(robot.state).begin() is None
    digest = robot.read_installed().digest
    assert start_count.read(robot.state.root, digest) == 1


def test_start_that_cannot_be_counted_is_said_and_drives(
    robot: UpdatedRobot, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(path: Path, *_: object) -> None:
        raise DiskError(path, "to write", "No space left on device")

    monkeypatch.setattr(durable_file, "write_record", refuse)
    starts = StartCount(robot.state)
    note = starts.begin()
    assert note is not None
    assert note.startswith("this start could not be counted: ")
    starts.clear()
    assert robot.open().move is Move.KEEP


def test_robot_without_a_package_has_nothing_to_count(tmp_path: Path) -> None:
    robot = UpdatedRobot(tmp_path)
    empty = StartCount(type(robot.state)(tmp_path / "empty"))
    assert empty.begin() is None
    assert not (tmp_path / "empty").exists()
