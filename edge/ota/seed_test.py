"""A seed is verified and tried like any other package, and knows no release counter."""

import shutil
from datetime import timedelta
from pathlib import Path

import pytest

from edge.ota import trial
from edge.ota.decide import Installed, Origin
from edge.testing import tiny_package
from edge.testing.tiny_package import Publisher
from edge.testing.tried_robot import TriedRobot, has_trial
from edge.testing.updated_robot import snapshot
from release import blessing, package
from release.channel import Rollout


@pytest.fixture
def robot(tmp_path: Path) -> TriedRobot:
    """A robot without a package, whose publisher has released none."""
    return TriedRobot(tmp_path / "home", Publisher(tmp_path))


def make_seed(
    robot: TriedRobot, number: int, *, counter: int = 1, verdict: str = blessing.BLESSED
) -> tuple[Path, str]:
    """Makes a signed package beside the store; returns its folder and digest."""
    folder = robot.publisher.folder / f"seed-{number}"
    digest = tiny_package.write_package(folder, number, release_counter=counter)
    tiny_package.sign_package(folder, digest, robot.publisher.key, verdict)
    return folder, digest


@pytest.mark.parametrize("form", ["folder", "tar"])
def test_seed_makes_a_robot_drive_that_has_no_channel(
    robot: TriedRobot, form: str
) -> None:
    path, digest = make_seed(robot, 0)
    if form == "tar":
        tar = path.with_suffix(".tar")
        tar.write_bytes(package.pack_tar(path))
        path = tar
    done = robot.seed(path)
    assert done.lines == (f"package {digest[:12]}, a seed: installed",)
    assert robot.pointer() == Installed(digest, 0, "", None, origin=Origin.SEED)
    assert robot.open().package.digest == digest
    assert robot.open().summary == f"package {digest[:12]}, a seed: kept"
    installed = robot.read_receipts()[-1]
    assert (installed.outcome, installed.origin, installed.channel) == (
        "installed",
        "seed",
        "",
    )
    robot.commit()
    assert robot.outcomes()[-1] == ("committed", digest[:6])
    assert robot.seed(path).lines == (f"package {digest[:12]}, a seed: kept",)
    assert not has_trial(robot)


def test_release_of_the_channel_replaces_a_seed_which_stays_to_fall_back_to(
    robot: TriedRobot,
) -> None:
    path, seed = make_seed(robot, 9)
    robot.seed(path)
    robot.commit()
    first = robot.install(0)
    pointer = robot.pointer()
    assert (pointer.origin, pointer.channel) == (Origin.CHANNEL, "nightly")
    assert (pointer.previous, pointer.previous_origin) == (seed, Origin.SEED)
    robot.drive(3, stop_rules=1)
    robot.settle()
    fallen = robot.pointer()
    assert (fallen.digest, fallen.origin) == (seed, Origin.SEED)
    assert fallen.fell_back_from == first
    assert robot.poll().lines[-1].endswith(": kept")
    robot.install(1)


def test_seed_over_a_release_keeps_the_counter_and_that_release_does_not_come_back(
    robot: TriedRobot,
) -> None:
    first = robot.install(0)
    robot.commit()
    path, seed = make_seed(robot, 9)
    assert not robot.seed(path).failed
    expected = Installed(seed, 1, "nightly", first, origin=Origin.SEED, accepted=first)
    assert robot.pointer() == expected
    for _ in range(2):
        assert not robot.poll().failed
        assert robot.pointer() == expected
    robot.drive(4, stop_rules=1)
    robot.settle()
    back = robot.pointer()
    assert (back.digest, back.origin, back.accepted_digest) == (
        first,
        Origin.CHANNEL,
        first,
    )
    assert not robot.poll().failed
    assert robot.active() == first
    robot.install(1)


def test_release_below_the_seeds_own_counter_is_refused(robot: TriedRobot) -> None:
    path, seed = make_seed(robot, 9, counter=3)
    robot.seed(path)
    for channel_counter in (1, 2):
        robot.publisher.release(0, now=robot.now, channel_counter=channel_counter)
        assert robot.poll().failed
        assert robot.active() == seed
    robot.publisher.release(0, now=robot.now, channel_counter=3)
    assert not robot.poll().failed
    assert robot.active() != seed


def test_channel_that_offers_the_seed_itself_leaves_it_a_seed(
    robot: TriedRobot,
) -> None:
    digest = robot.publisher.release(0, now=robot.now, channel_counter=4)
    robot.seed(robot.publisher.folder / "package-0")
    assert not robot.poll().failed
    pointer = robot.pointer()
    assert (pointer.digest, pointer.origin, pointer.release_counter) == (
        digest,
        Origin.SEED,
        4,
    )
    assert not robot.poll().failed
    assert robot.pointer() == pointer


def test_seed_drives_while_a_rollout_reaches_other_robots(robot: TriedRobot) -> None:
    path, seed = make_seed(robot, 9)
    robot.seed(path)
    robot.publisher.release(0, now=robot.now, rollout=Rollout(0, "salt"))
    done = robot.poll()
    assert not done.failed
    assert "not yet among them" in done.lines[-2]
    assert robot.active() == seed


def unsign(folder: Path) -> None:
    (folder / package.BLESSING).unlink()


def change_a_byte(folder: Path) -> None:
    raw = bytearray((folder / package.WEIGHTS).read_bytes())
    raw[-1] ^= 1
    (folder / package.WEIGHTS).write_bytes(raw)


def add_a_link(folder: Path) -> None:
    (folder / "link").symlink_to("/etc/passwd")


def remove_manifest(folder: Path) -> None:
    (folder / package.MANIFEST).unlink()


@pytest.mark.parametrize(
    ("spoil", "match"),
    [
        (unsign, "blessing"),
        (change_a_byte, "sha256"),
        (add_a_link, "link"),
        (remove_manifest, "package.json"),
        (shutil.rmtree, "the folder or the tar of a package"),
    ],
)
@pytest.mark.parametrize("had_package", [False, True])
def test_seed_that_is_not_to_be_trusted_changes_nothing(
    robot: TriedRobot, spoil: object, match: str, had_package: bool
) -> None:
    if had_package:
        robot.install(0)
    path, _ = make_seed(robot, 9)
    assert callable(spoil)
    spoil(path)
    before = snapshot(robot.state.root)
    before.setdefault(".lock", b"")
    done = robot.seed(path)
    assert done.failed
    assert match in done.lines[-1]
    assert snapshot(robot.state.root) == before
    assert [one for one in robot.outcomes() if one[0] != "installed"] == [
        ("refused", "")
    ]


def test_seed_that_is_refused_by_its_verdict_or_its_canary_is_not_installed(
    robot: TriedRobot,
) -> None:
    path, _ = make_seed(robot, 8, verdict="refused")
    assert "blessed" in robot.seed(path).lines[-1]
    path = robot.publisher.folder / "seed-7"
    digest = tiny_package.write_package(path, 7, action_error=9.0)
    tiny_package.sign_package(path, digest, robot.publisher.key)
    assert "canary action error of 9" in robot.seed(path).lines[-1]
    assert robot.state.read_installed() is None
    assert robot.outcomes() == [("refused", ""), ("refused", digest[:6])]


def test_seed_whose_files_were_damaged_here_is_mended_by_itself(
    robot: TriedRobot,
) -> None:
    path, digest = make_seed(robot, 9)
    robot.seed(path)
    robot.commit()
    (robot.state.package_folder(digest) / "safety.json").unlink()
    assert not robot.seed(path).failed
    assert robot.open().package.digest == digest
    assert not has_trial(robot)


def test_factory_whose_clock_is_wrong_can_install_a_seed(robot: TriedRobot) -> None:
    path, digest = make_seed(robot, 9)
    robot.now -= timedelta(days=20_000)
    assert not robot.seed(path).failed
    found = trial.read(robot.state.root)
    assert found is not None
    assert found.began.year == 2026
    assert robot.active() == digest
