"""A robot whose active package does not open drives with the one before it."""

import dataclasses
import errno
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from base import file_lock
from base.errors import ContinuonError
from edge.errors import EdgeError
from edge.ota import active_package, errors
from edge.ota.decide import Installed, Move
from edge.testing.tiny_package import SPEC
from edge.testing.updated_robot import UpdatedRobot, snapshot
from release.errors import RollbackError


@pytest.fixture
def robot(tmp_path: Path) -> UpdatedRobot:
    """A robot whose active package is the second that it installed."""
    robot = UpdatedRobot(tmp_path)
    robot.publisher.release(1)
    robot.update()
    return robot


def cut_weights(folder: Path) -> None:
    weights = folder / "weights.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1])


def empty(folder: Path) -> None:
    shutil.rmtree(folder)
    folder.mkdir()


def replace_by_a_file(folder: Path) -> None:
    shutil.rmtree(folder)
    folder.touch()


def make_a_link_loop(folder: Path) -> None:
    (folder / "package.json").unlink()
    (folder / "package.json").symlink_to("package.json")


DAMAGE: dict[str, Callable[[Path], object]] = {
    "a cut file": cut_weights,
    "a file too few": lambda folder: (folder / "safety.json").unlink(),
    "a file too many": lambda folder: (folder / "more").touch(),
    "half removed": lambda folder: shutil.rmtree(folder / "functions"),
    "empty": empty,
    "gone": shutil.rmtree,
    "a file in its place": replace_by_a_file,
    "a link loop": make_a_link_loop,
    "no statement": lambda folder: (folder / "blessing.intoto.jsonl").unlink(),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_damaged_package_falls_back_for_good_and_is_not_installed_again(
    robot: UpdatedRobot, damage: str
) -> None:
    bad = robot.read_installed()
    DAMAGE[damage](robot.state.package_folder(bad.digest))
    active = robot.open()
    assert (active.move, active.package.digest) == (Move.FALL_BACK, robot.first)
    (note,) = active.notes
    assert note.startswith("release 2 cannot drive: ")
    assert (
        "the one before release 2, which cannot drive: fell back to it"
        in active.summary
    )
    expected = Installed(robot.first, 2, "nightly", None, fell_back_from=bad.digest)
    assert robot.read_installed() == expected

    again = robot.open()
    assert (again.move, again.notes) == (Move.KEEP, ())
    polled = robot.update()
    assert (polled.move, polled.package.digest) == (Move.KEEP, robot.first)
    assert robot.read_installed() == expected
    assert {p.name for p in (robot.state.root / "packages").iterdir()} == {robot.first}
    robot.install_next()
    assert robot.read_installed().previous == robot.first
    assert robot.read_installed().fell_back_from is None


def test_package_that_does_not_fit_a_changed_robot_falls_back(tmp_path: Path) -> None:
    robot = UpdatedRobot(tmp_path)
    robot.publisher.release(1, tasks=["reach-v3", "open-v3"])
    second = robot.update()
    assert second.installed.previous == robot.first
    pushes = {"drawn:push-v3": dataclasses.replace(SPEC, task="push-v3")}
    active = active_package.open_active_package(
        robot.state, robot.publisher.trusted, pushes
    )
    assert (active.move, active.package.digest) == (Move.FALL_BACK, robot.first)
    assert "one of the tasks" in active.notes[0]
    assert robot.update().move is Move.KEEP


def test_robot_that_neither_package_fits_changes_nothing(robot: UpdatedRobot) -> None:
    other = {"drawn:fly-v3": dataclasses.replace(SPEC, task="fly-v3")}
    before = snapshot(robot.state.root)
    with pytest.raises(EdgeError, match="fly-v3"):
        active_package.open_active_package(robot.state, robot.publisher.trusted, other)
    assert snapshot(robot.state.root) == before


def test_without_a_package_before_the_error_is_about_the_active_one(
    tmp_path: Path,
) -> None:
    robot = UpdatedRobot(tmp_path)
    cut_weights(robot.state.package_folder(robot.first))
    before = snapshot(robot.state.root)
    with pytest.raises(ContinuonError, match=r"weights\.safetensors"):
        robot.open()
    assert snapshot(robot.state.root) == before
    robot.install_next()
    assert robot.read_installed().previous is None


def test_fallback_that_cannot_be_written_drives_and_says_so(
    robot: UpdatedRobot, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As in a folder without permission, which would not stop a test of root."""

    def refuse(path: Path) -> int:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS), path)

    bad = robot.read_installed()
    cut_weights(robot.state.package_folder(bad.digest))
    monkeypatch.setattr(file_lock, "open_file", refuse)
    active = robot.open()
    assert (active.move, active.package.digest) == (Move.FALL_BACK, robot.first)
    assert "falling back could not be written down" in active.notes[1]
    assert robot.read_installed() == bad


@pytest.mark.parametrize("raw", [b"", b"{", b"\xff", b'{"schema_version":1}', None])
@pytest.mark.parametrize("name", ["current", "current.copy"])
def test_pointer_that_a_power_cut_damaged_is_read_from_its_copy_and_mended(
    robot: UpdatedRobot, name: str, raw: bytes | None
) -> None:
    installed = robot.read_installed()
    whole = snapshot(robot.state.root)
    path = robot.state.root / name
    path.unlink() if raw is None else path.write_bytes(raw)
    assert robot.open().package.digest == installed.digest
    assert robot.update().move is Move.KEEP
    assert snapshot(robot.state.root) == whole


POINTER = ("current", "current.copy")
RAW = (b"", b'{"schema_version":1}', None)


def lose_pointer(robot: UpdatedRobot, raw: bytes | None = b"") -> None:
    """Damages the pointer and its copy alike, or removes both."""
    for name in POINTER:
        path = robot.state.root / name
        path.unlink() if raw is None else path.write_bytes(raw)


@pytest.mark.parametrize("raw", RAW)
def test_robot_whose_pointer_is_lost_drives_with_the_newest_package_and_writes_nothing(
    robot: UpdatedRobot, raw: bytes | None
) -> None:
    second = robot.read_installed().digest
    lose_pointer(robot, raw)
    before = snapshot(robot.state.root)
    active = robot.open()
    assert (active.move, active.package.digest) == (Move.RECOVER, second)
    assert active.installed.previous == robot.first
    (note,) = active.notes
    assert note.startswith("the pointer to the active package is lost: ")
    assert (
        active.summary == f"package {second[:12]}, found without a pointer: recovered"
    )
    assert snapshot(robot.state.root) == before


@pytest.mark.parametrize("raw", RAW)
def test_update_writes_a_lost_pointer_again_and_keeps_the_damaged_one(
    robot: UpdatedRobot, raw: bytes | None
) -> None:
    installed = robot.read_installed()
    whole = snapshot(robot.state.root)
    lose_pointer(robot, raw)
    active = robot.update()
    assert (active.move, active.installed) == (Move.RECOVER, installed)
    found = snapshot(robot.state.root)
    damaged = {f"{name}.damaged": raw for name in POINTER if raw is not None}
    assert found == {**whole, **damaged}
    assert robot.update().move is Move.KEEP
    assert robot.update().notes == ()
    robot.install_next()
    assert robot.read_installed().previous == installed.digest


def test_newest_package_by_its_own_counter_stands_in_for_a_lost_pointer(
    tmp_path: Path,
) -> None:
    """Not the one that was installed last: after going back that is the older one."""
    robot = UpdatedRobot(tmp_path)
    newer = robot.publisher.release(1, release_counter=2)
    robot.update()
    assert robot.publisher.release(0, channel_counter=3) == robot.first
    assert robot.update().package.digest == robot.first
    lose_pointer(robot)
    assert robot.open().package.digest == newer
    # The channel still says which one it is to be.
    back = robot.update()
    assert (back.move, back.package.digest) == (Move.INSTALL, robot.first)
    assert robot.read_installed() == Installed(robot.first, 3, "nightly", newer)


def test_lost_pointer_skips_packages_that_are_damaged_or_that_nobody_trusted(
    robot: UpdatedRobot,
) -> None:
    second = robot.read_installed().digest
    cut_weights(robot.state.package_folder(second))
    planted = robot.state.package_folder("c" * 64)
    shutil.copytree(robot.state.package_folder(robot.first), planted)
    lose_pointer(robot)
    active = robot.open()
    assert (active.package.digest, active.installed.previous) == (robot.first, None)
    # The channel offers the damaged one, which is then fetched again.
    assert robot.update().package.digest == second
    assert {p.name for p in (robot.state.root / "packages").iterdir()} == {
        robot.first,
        second,
    }


def test_release_that_is_older_than_the_packages_found_is_refused(
    tmp_path: Path,
) -> None:
    robot = UpdatedRobot(tmp_path)
    old = robot.envelope().read_bytes()
    robot.publisher.release(1, release_counter=2)
    robot.update()
    lose_pointer(robot)
    robot.envelope().write_bytes(old)
    before = snapshot(robot.state.root)
    with pytest.raises(RollbackError, match="above 2, or 2 with package"):
        robot.update()
    assert snapshot(robot.state.root) == before


def test_robot_with_neither_pointer_nor_package_stays_still_and_says_so(
    robot: UpdatedRobot,
) -> None:
    for digest in robot.state.list_packages():
        cut_weights(robot.state.package_folder(digest))
    lose_pointer(robot)
    before = snapshot(robot.state.root)
    for start in (robot.open, robot.update):
        with pytest.raises(errors.StateFolderError, match="move it and its copy"):
            start()
    assert snapshot(robot.state.root) == before


def test_pointer_of_the_first_format_is_read(robot: UpdatedRobot) -> None:
    found = json.loads((robot.state.root / "current").read_bytes())
    assert sorted(found) == [
        "channel",
        "digest",
        "previous",
        "release_counter",
        "schema_version",
    ]
    (robot.state.root / "current.copy").unlink()
    (robot.state.root / "newest_time").unlink()
    assert robot.open().installed == robot.read_installed()
    assert robot.update().move is Move.KEEP


def test_summary_says_what_a_package_was_judged_on_if_not_in_simulation(
    robot: UpdatedRobot,
) -> None:
    active = robot.open()
    assert "judged" not in active.summary
    for evidence, said in (
        (("held-out",), "; judged on held-out episodes, not in simulation"),
        (
            ("held-out", "trials"),
            "; judged on held-out episodes and trials on a robot, not in simulation",
        ),
        (("simulated", "trials"), ""),
    ):
        ruling = dataclasses.replace(active.package.blessing, evidence=evidence)
        package = dataclasses.replace(active.package, blessing=ruling)
        other = dataclasses.replace(active, package=package)
        assert other.summary == active.summary + said
