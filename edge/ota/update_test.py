"""Every attack and mishap leaves the active package active and nothing half-written."""

import json
import resource
import shutil
import signal
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from base.errors import (
    ContinuonError,
    MalformedError,
    NotFoundError,
    OversizedError,
    UnsafePathError,
)
from edge.errors import EdgeError
from edge.ota import active_package, errors, update
from edge.ota.decide import Move, RobotRuntime
from edge.ota.state_folder import StateFolder
from edge.testing import tampering, tiny_package, tiny_step
from edge.testing.tiny_package import NOW, ROBOTS, Publisher
from edge.testing.updated_robot import UpdatedRobot, snapshot
from release import channel, package
from release.channel import Rollout
from release.errors import (
    CounterStepError,
    DevelopmentKeyError,
    DigestMismatchError,
    ExpiredError,
    LinkError,
    MissingFileError,
    NotBlessedError,
    RollbackError,
    UnknownFileError,
    UnknownKeyError,
    UnsignedError,
    WrongTargetError,
)
from release.testing.tiny_release import PrivateKey
from release.trusted_keys import TrustedKeys


@pytest.fixture
def robot(tmp_path: Path) -> UpdatedRobot:
    return UpdatedRobot(tmp_path)


def test_first_update_installs_the_package_and_the_second_keeps_it(
    robot: UpdatedRobot,
) -> None:
    again = robot.update()
    assert (again.move, again.notes) == (Move.KEEP, ())
    assert again.package.digest == robot.first
    assert again.installed.release_counter == 1


def test_new_release_becomes_active_and_the_old_package_is_kept(
    robot: UpdatedRobot,
) -> None:
    second = robot.publisher.release(1)
    active = robot.update()
    assert (active.move, active.package.digest) == (Move.INSTALL, second)
    assert active.installed.previous == robot.first
    kept = {p.name for p in (robot.state.root / "packages").iterdir()}
    assert kept == {robot.first, second}


def test_update_after_the_third_release_removes_the_first_package(
    robot: UpdatedRobot,
) -> None:
    """Until then somebody who read the pointer before may be about to open it."""
    second = robot.publisher.release(1)
    robot.update()
    third = robot.publisher.release(2)
    robot.update()
    packages = robot.state.root / "packages"
    assert {p.name for p in packages.iterdir()} == {robot.first, second, third}
    robot.update()
    assert {p.name for p in packages.iterdir()} == {second, third}


def test_same_package_with_a_higher_counter_only_moves_the_counter(
    robot: UpdatedRobot,
) -> None:
    robot.publisher.release(0)
    active = robot.update()
    assert active.move is Move.ADOPT_COUNTER
    assert (active.package.digest, active.installed.release_counter) == (robot.first, 2)


def test_damaged_active_package_is_installed_again(robot: UpdatedRobot) -> None:
    folder = robot.state.package_folder(robot.first)
    (folder / "safety.json").write_text("{}")
    with pytest.raises(ContinuonError):
        robot.open()
    assert robot.update().move is Move.INSTALL
    assert robot.update().move is Move.KEEP


def test_active_package_opens_without_a_channel(robot: UpdatedRobot) -> None:
    shutil.rmtree(robot.publisher.root)
    active = robot.open()
    assert active.package.digest == robot.first


def test_empty_state_folder_has_no_active_package(tmp_path: Path) -> None:
    keys = TrustedKeys.from_keys(allow_development=False)
    with pytest.raises(errors.NoPackageError, match="run once with --channel"):
        active_package.open_active_package(StateFolder(tmp_path), keys, ROBOTS)


def test_older_counter_is_refused(robot: UpdatedRobot) -> None:
    old = robot.envelope().read_bytes()
    robot.publisher.release(1)
    robot.update()
    robot.first = robot.read_installed().digest
    robot.envelope().write_bytes(old)
    robot.refuse(RollbackError, "above 2")


def test_other_package_with_the_accepted_counter_is_refused(
    robot: UpdatedRobot,
) -> None:
    robot.publisher.release(1)
    robot.replace_record(release_counter=1)
    robot.refuse(RollbackError, "above 1")


def test_expired_channel_is_refused(robot: UpdatedRobot) -> None:
    robot.publisher.release(1)
    robot.refuse(ExpiredError, "expiry", now=NOW + timedelta(days=8))


def test_missing_channel_is_refused(robot: UpdatedRobot) -> None:
    robot.envelope().unlink()
    robot.refuse(NotFoundError, r"nightly\.dsse\.json")


def test_unsigned_channel_is_refused(robot: UpdatedRobot) -> None:
    robot.publisher.release(1)
    tampering.remove_signatures(robot.publisher)
    robot.refuse(UnsignedError, "signature")


def test_channel_signed_by_an_unknown_key_is_refused(robot: UpdatedRobot) -> None:
    robot.publisher.release(1)
    robot.replace_record(key=PrivateKey.generate())
    robot.refuse(UnknownKeyError, "key")


def test_channel_changed_after_signing_is_refused(robot: UpdatedRobot) -> None:
    robot.publisher.release(1)
    signed = json.loads(robot.envelope().read_bytes())
    robot.replace_record(release_counter=9)
    changed = json.loads(robot.envelope().read_bytes())
    changed["signatures"] = signed["signatures"]
    robot.envelope().write_text(json.dumps(changed, separators=(",", ":")))
    robot.refuse(ContinuonError, "signature")


def test_development_key_is_refused_without_the_flag(tmp_path: Path) -> None:
    robot = UpdatedRobot.__new__(UpdatedRobot)
    key = PrivateKey.generate(development=True)
    robot.publisher = Publisher(tmp_path, key)
    robot.state = StateFolder(tmp_path / "state")
    robot.publisher.release(0)
    strict = TrustedKeys.from_keys(key.trusted, allow_development=False)
    with pytest.raises(DevelopmentKeyError, match="allow_development_keys"):
        robot.update(keys=strict)
    assert robot.state.read_installed() is None
    assert list((robot.state.root / "packages").iterdir()) == []
    assert robot.update().move is Move.INSTALL


def test_package_of_another_target_is_refused(
    robot: UpdatedRobot, tmp_path: Path
) -> None:
    folder = tmp_path / "jetson"
    digest = tiny_package.write_package(folder, 1, target="jetson-cuda")
    tiny_package.sign_package(folder, digest, robot.publisher.key)
    robot.publisher.release(1)
    robot.replace_tar(package.pack_tar(folder), digest)
    robot.refuse(WrongTargetError, "pi5-cpu", noted=True)


def test_channel_without_this_target_is_refused(robot: UpdatedRobot) -> None:
    entry = robot.record().package["pi5-cpu"]
    robot.replace_record(release_counter=2, package={"tpu": entry})
    robot.refuse(WrongTargetError, "pi5-cpu")


def test_package_without_a_blessed_verdict_is_refused(
    robot: UpdatedRobot, tmp_path: Path
) -> None:
    folder = tmp_path / "refused"
    digest = tiny_package.write_package(folder, 3)
    tiny_package.sign_package(folder, digest, robot.publisher.key, verdict="refused")
    robot.publisher.release(1)
    robot.replace_tar(package.pack_tar(folder), digest)
    robot.refuse(NotBlessedError, "refused", noted=True)


def test_tar_with_a_flipped_bit_is_refused(robot: UpdatedRobot) -> None:
    robot.publisher.release(1)
    path = robot.publisher.root / robot.record().package["pi5-cpu"].path
    raw = bytearray(path.read_bytes())
    raw[len(raw) // 2] ^= 1
    path.write_bytes(raw)
    robot.refuse(DigestMismatchError, "sha256")


def test_truncated_tar_is_refused(robot: UpdatedRobot) -> None:
    robot.publisher.release(1)
    path = robot.publisher.root / robot.record().package["pi5-cpu"].path
    path.write_bytes(path.read_bytes()[:-700])
    robot.refuse(MissingFileError, "bytes")


def test_tar_is_read_up_to_the_signed_size_only(robot: UpdatedRobot) -> None:
    digest = robot.publisher.release(1)
    path = robot.publisher.root / robot.record().package["pi5-cpu"].path
    with path.open("ab") as tar:
        tar.truncate(1 << 40)  # sparse: reading it all would never end
    assert robot.update().package.digest == digest


@pytest.mark.parametrize(
    ("entry", "error"),
    [
        (tampering.tar_entry("../../escaped"), UnsafePathError),
        (tampering.tar_entry("/tmp/escaped"), UnsafePathError),
        (tampering.tar_entry("functions/../../escaped"), UnsafePathError),
        (tampering.tar_entry("link", b"2"), LinkError),
        (tampering.tar_entry("link", b"1"), LinkError),
        (b"not a tar".ljust(512, b"\0"), MalformedError),
    ],
)
def test_hostile_tar_with_a_good_signature_is_refused(
    robot: UpdatedRobot, entry: bytes, error: type[Exception]
) -> None:
    robot.publisher.release(1)
    robot.replace_tar(entry + bytes(1024))
    robot.refuse(error, "expected", noted=True)
    assert not list(robot.publisher.folder.rglob("escaped"))


def test_tar_with_bytes_after_its_end_is_refused(robot: UpdatedRobot) -> None:
    robot.publisher.release(1)
    raw = package.pack_tar(robot.publisher.folder / "package-1")
    robot.replace_tar(raw + b"more")
    robot.refuse(OversizedError, "closing blocks", noted=True)


def test_package_with_an_extra_file_is_refused(robot: UpdatedRobot) -> None:
    robot.publisher.release(1)
    folder = robot.publisher.folder / "package-1"
    (folder / "extra.bin").write_bytes(b"x")
    robot.replace_tar(package.pack_tar(folder))
    robot.refuse(UnknownFileError, r"extra\.bin", noted=True)


def test_package_with_a_changed_file_is_refused(robot: UpdatedRobot) -> None:
    robot.publisher.release(1)
    folder = robot.publisher.folder / "package-1"
    raw = (folder / "canary.json").read_bytes()
    (folder / "canary.json").write_bytes(raw.replace(b"1", b"2", 1))
    robot.replace_tar(package.pack_tar(folder))
    robot.refuse(DigestMismatchError, r"canary\.json", noted=True)


def test_package_that_fails_its_canary_is_not_activated(robot: UpdatedRobot) -> None:
    robot.publisher.release(1, action_error=9.0)
    robot.refuse(errors.CanaryError, "canary action error of 9", noted=True)


def test_package_whose_step_does_not_load_is_not_activated(robot: UpdatedRobot) -> None:
    robot.publisher.release(1, step_bytes=b"no model")
    robot.refuse(EdgeError, r"step\.tflite", noted=True)


MISFITS: dict[str, tuple[dict[str, Any], str]] = {
    "state size": ({"state_size": 38}, r"state and action shapes \(\(38,\), "),
    "action size": ({"action_size": 3}, r"state and action shapes \(\(39,\), \(3,\)"),
    "control rate": ({"control_hz": 50.0}, "controlled at 50 Hz, got 80 Hz"),
    "model of the robot": ({"robot_model": "panda"}, "model 'panda', got 'sawyer'"),
    "task": ({"tasks": ["open-v3", "push-v3"]}, "one of the tasks"),
    "actions wider than the robot's": (
        {"action_limit": 2.0},
        r"a robot whose actions reach from -2 to 2, got -1 to 1",
    ),
    "safety limits wider than the robot's": (
        {"safety": tiny_package.safety_config(action_maximum=[1.1] * 4)},
        "limits within those of",
    ),
    "no safety config": ({"safety": b'{"version":"1"}'}, "the keys"),
    "safety config with another key": (
        {"safety": tiny_package.safety_config(speed=1)},
        "the keys",
    ),
    "limits of another robot": (
        {"safety": tiny_package.safety_config(action_minimum=[-1], action_maximum=[1])},
        "limits of 4 action components, got 1",
    ),
    "limits that nothing is within": (
        {"safety": tiny_package.safety_config(action_minimum=[1] * 4)},
        "minimum below maximum",
    ),
}


@pytest.mark.parametrize("misfit", MISFITS)
def test_package_that_cannot_drive_this_robot_is_not_activated(
    robot: UpdatedRobot, misfit: str
) -> None:
    options, match = MISFITS[misfit]
    robot.publisher.release(1, **options)
    robot.refuse(EdgeError, match, noted=True)


def test_package_that_accepts_any_error_of_its_canary_is_not_activated(
    robot: UpdatedRobot, tmp_path: Path
) -> None:
    """The publisher's own check is left out, as an attacker would."""
    folder = tmp_path / "tolerant"
    digest = tiny_package.write_package(folder, 3, action_error=9.0, tolerance=1e9)
    tiny_package.sign_package(folder, digest, robot.publisher.key)
    robot.publisher.release(1)
    robot.replace_tar(package.pack_tar(folder), digest)
    robot.refuse(
        MalformedError, "a tolerance of at most 0.001, for a step in f32", noted=True
    )


def test_package_below_its_own_counter_is_refused(robot: UpdatedRobot) -> None:
    robot.publisher.release(1, release_counter=7)
    robot.replace_record(release_counter=6)
    robot.refuse(RollbackError, "release counter of at least 7", noted=True)


@pytest.mark.parametrize("stolen", [2**53 - 1, 2 + channel.LARGEST_COUNTER_STEP])
def test_counter_that_would_end_all_releases_is_refused(
    robot: UpdatedRobot, stolen: int
) -> None:
    robot.publisher.release(1)
    robot.replace_record(release_counter=stolen)
    robot.refuse(CounterStepError, "at most 1,000,000 above 1, got")


def test_step_with_a_tensor_name_that_is_not_utf_8_is_refused(
    robot: UpdatedRobot,
) -> None:
    step = tiny_step.build(tiny_step.TinyStep(39, 4, 2, seed=1))
    assert step.count(b"surface_head") >= 1
    robot.publisher.release(1, step_bytes=step.replace(b"surface_head", b"\xff" * 12))
    robot.refuse(EdgeError, r"step\.tflite", noted=True)


def test_release_whose_rollout_excludes_this_robot_changes_nothing(
    robot: UpdatedRobot,
) -> None:
    robot.publisher.release(1, rollout=Rollout(0, "salt"))
    active = robot.update()
    assert (active.move, active.package.digest) == (Move.KEEP, robot.first)
    assert active.notes == (
        "release 2 is out for 0 % of robots, and sim-00 is not yet among them",
    )
    assert robot.read_installed().release_counter == 1


def test_release_for_a_newer_runtime_is_refused(robot: UpdatedRobot) -> None:
    robot.publisher.release(1, minimum_runtime="9.0.0")
    robot.refuse(errors.RuntimeTooOldError, "newer bundle")


@pytest.mark.parametrize("limit_bytes", [1, 700, 4096, 9000])
def test_full_disk_leaves_the_old_package_active(
    robot: UpdatedRobot, limit_bytes: int
) -> None:
    """The process may not write a file longer than the limit, so its writes fail."""
    robot.publisher.release(1)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    before = snapshot(robot.state.root)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit_bytes, hard))
    try:
        with pytest.raises(errors.DiskFullError, match="free space and run again"):
            robot.update()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, handler)
    assert snapshot(robot.state.root) == before
    assert robot.update().move is Move.INSTALL


def test_unknown_error_of_an_update_does_not_stop_a_robot(robot: UpdatedRobot) -> None:
    """A name that is not UTF-8 cannot be hashed for the rollout."""
    robot.publisher.release(1)
    before = snapshot(robot.state.root)
    arguments = (
        *(robot.state, robot.publisher.channel_uri, robot.publisher.trusted),
        *(RobotRuntime("\udcff", "0.1.0"), ROBOTS, NOW),
    )
    active = update.update_or_stay(*arguments, stay=True)
    assert active.package.digest == robot.first
    assert "an update, got UnicodeEncodeError: " in active.notes[0]
    assert active.notes[1] == "the update failed; running what is installed"
    with pytest.raises(errors.UpdateFailedError, match="--offline instead of"):
        update.update_or_stay(*arguments, stay=False)
    assert snapshot(robot.state.root) == before
    robot.install_next()
