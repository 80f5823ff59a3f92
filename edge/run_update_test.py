"""The robot's program drives with what it has, whatever an update does.

Each sabotage is met as the systemd unit starts a robot. Afterwards the pointer is the
old one, no other file was left, and the next good release is installed.
"""

import errno
import os
import resource
import shutil
import subprocess
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from base import file_lock
from base.store.local_store import LocalStore
from base.testing import special_files
from edge.ota import fetch, refusals, update
from edge.ota.decide import Move, RobotRuntime
from edge.ota.state_folder import StateFolder
from edge.testing import processes, tampering, tiny_package, tiny_step
from edge.testing.tiny_package import ROBOTS, Publisher
from rlds import example_codec, tfrecord

STEPS = 3
SMALL_DISK_BYTES = 4096


class Sabotaged:
    """A robot with one active package, and what is done to its next start."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.publisher = Publisher(folder)
        self.publisher.release(0, now=datetime.now(UTC))
        self.state = StateFolder(folder / "state")
        self.channel = self.publisher.channel_uri
        self.before: Callable[[], object] = lambda: None
        self.episode = folder / "episode.tfrecord"
        recorded = tiny_package.episode(seed=5, steps=STEPS)
        self.episode.write_bytes(tfrecord.frame(example_codec.encode(recorded)))
        self.keyring = self.publisher.keyring()
        self.first = self.update()
        self.good = tampering.envelope(self.publisher).read_bytes()

    def update(self) -> str:
        """Updates inside this process; returns the digest of the package."""
        active = update.update(
            self.state,
            self.publisher.channel_uri,
            self.publisher.trusted,
            RobotRuntime("sim-00", "0.1.0"),
            ROBOTS,
            datetime.now(UTC),
        )
        assert active.move is Move.INSTALL
        return active.package.digest

    def release(self, seed: int = 1, **options: Any) -> None:
        """Publishes a package."""
        self.publisher.release(seed, now=datetime.now(UTC), **options)

    def run(self, *flags: str) -> subprocess.CompletedProcess[str]:
        """Runs the program as the unit does, on the machine that `before` makes."""
        return processes.run_forked(
            *("edge.run", f"--keyring={self.keyring}"),
            *(f"--state_dir={self.state.root}", f"--robot=replay:{self.episode}"),
            *("--pace=simulated", *flags),
            before=self.before,
        )


def limit_files(size_bytes: int) -> None:
    """No file of this process grows beyond this size."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (size_bytes, size_bytes))


def offer_broken_step(robot: Sabotaged) -> None:
    step = tiny_step.build(tiny_step.TinyStep(39, 4, 2, seed=1))
    robot.release(step_bytes=step.replace(b"surface_head", b"\xff" * 12))


def offer_long_version(robot: Sabotaged) -> None:
    robot.release()
    version = f"0.{'1' * 5000}.0"
    tampering.replace_record(robot.publisher, minimum_runtime=version)


def make_link_loop(robot: Sabotaged) -> None:
    envelope = tampering.envelope(robot.publisher)
    envelope.unlink()
    envelope.symlink_to(envelope.name)


def replace_store_by_file(robot: Sabotaged) -> None:
    shutil.rmtree(robot.publisher.root)
    robot.publisher.root.touch()


def fill_disk(robot: Sabotaged) -> None:
    robot.release()
    robot.before = partial(limit_files, SMALL_DISK_BYTES)


def refuse_locks(robot: Sabotaged) -> None:
    """As a folder that cannot be written, which would not stop a test of root."""

    def refuse(path: Path) -> int:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS), path)

    robot.before = lambda: setattr(file_lock, "open_file", refuse)


def follow(channel: str) -> Callable[[Sabotaged], None]:
    def change(robot: Sabotaged) -> None:
        robot.channel = channel

    return change


def follow_bucket_without_credentials(robot: Sabotaged) -> None:
    robot.channel = "gs://nobodys-bucket/channels/nightly.json"
    key = {"GOOGLE_APPLICATION_CREDENTIALS": "/nonexistent/key.json"}
    robot.before = partial(os.environ.update, key)


def fail_disk_of_store(robot: Sabotaged) -> None:
    def fail() -> None:
        failing = Path(special_files.FAILING)
        pytest.MonkeyPatch().setattr(LocalStore, "object_path", lambda *_: failing)

    robot.before = fail


def lose_server_of_mount(robot: Sabotaged) -> None:
    """Whoever opens a named pipe without a writer waits in the kernel, as there."""
    pipe = robot.folder / "pipe"
    os.mkfifo(pipe)

    def lose() -> None:
        patch = pytest.MonkeyPatch()
        patch.setattr(fetch, "_ALLOWANCE_S", 0.5)
        patch.setattr(LocalStore, "object_path", lambda *_: os.open(pipe, os.O_RDONLY))

    robot.before = lose


def sign(payload: bytes) -> Callable[[Sabotaged], None]:
    def change(robot: Sabotaged) -> None:
        tampering.sign_payload(robot.publisher, payload)

    return change


def write_channel(raw: bytes) -> Callable[[Sabotaged], None]:
    def change(robot: Sabotaged) -> None:
        tampering.envelope(robot.publisher).write_bytes(raw)

    return change


SABOTAGE: dict[str, Callable[[Sabotaged], object]] = {
    "the store is gone": lambda robot: shutil.rmtree(robot.publisher.root),
    "a file in place of the store": replace_store_by_file,
    "a link loop in place of the channel": make_link_loop,
    "a name that is too long": follow(f"file:///{'x' * 300}/channels/nightly.json"),
    "a path that is too long": follow(f"{'/x' * 3000}/channels/nightly.json"),
    "a NUL in the path": follow("file:///a%00b/channels/nightly.json"),
    "an unknown scheme": follow("ftp://host/channels/nightly.json"),
    "an unknown host": follow("file://host/channels/nightly.json"),
    "a malformed URI": follow("gs://[/channels/nightly.json"),
    "no channel in the URI": follow("gs://bucket"),
    "the home of nobody": follow("~nosuchuser/channels/nightly.json"),
    "no credentials for the bucket": follow_bucket_without_credentials,
    "no JSON": write_channel(b"{"),
    "an empty channel": write_channel(b""),
    "deep JSON": write_channel(b"[" * 100_000),
    "a signed channel that is no JSON": sign(b"\xff"),
    "a signed channel of another form": sign(b'{"schema_version":1}'),
    "a version of 5,000 digits": offer_long_version,
    "a tensor name that is not UTF-8": offer_broken_step,
    "weights of another form": lambda robot: robot.release(weights=b"\xff" * 9),
    "a package for another rate": lambda robot: robot.release(control_hz=20.0),
    "a safety config that is no JSON": lambda robot: robot.release(
        safety=b'{"version":"1"}'
    ),
    "a full disk": fill_disk,
    "a folder that cannot be written": refuse_locks,
    "a disk of the store that fails": fail_disk_of_store,
    "a mount whose server is gone": lose_server_of_mount,
}


REFUSED = {
    "a tensor name that is not UTF-8",
    "weights of another form",
    "a package for another rate",
    "a safety config that is no JSON",
}
"""What the package itself is refused for, which is noted."""

SWEPT = {
    "a name that is too long",
    "a NUL in the path",
    "an unknown host",
    "a malformed URI",
    "no channel in the URI",
    "the home of nobody",
    "an empty channel",
    "deep JSON",
    "a signed channel that is no JSON",
    "a tensor name that is not UTF-8",
    "a package for another rate",
}
"""Of what fails at the same point as another one, the rest: further addresses, further
bytes of a channel, and further packages that are refused."""


@pytest.mark.parametrize(
    "sabotage",
    [
        pytest.param(name, marks=[pytest.mark.long] if name in SWEPT else [])
        for name in SABOTAGE
    ],
)
def test_robot_drives_with_what_it_has_whatever_the_update_does(
    tmp_path: Path, sabotage: str
) -> None:
    robot = Sabotaged(tmp_path)
    SABOTAGE[sabotage](robot)
    before = processes.read_tree(robot.state.root)
    done = robot.run(f"--channel={robot.channel}", "--offline_if_update_fails")
    assert done.returncode == 0, done.stderr
    why, what, package = done.stderr.splitlines()
    assert ": expected " in why
    assert "report this text" not in why
    assert what == "run: the update failed; running what is installed"
    assert package.endswith(f"{robot.first[:12]} of channel nightly, release 1: kept")
    assert "step latency" in done.stdout
    after = processes.read_tree(robot.state.root)
    assert (after.pop(refusals.FILE, None) is not None) == (sabotage in REFUSED)
    assert after == before
    assert not list((robot.state.root / "packages").glob(".tmp-*"))

    mend(robot)
    robot.publisher.release(9, now=datetime.now(UTC), channel_counter=50)
    assert robot.update() != robot.first
    installed = robot.state.read_installed()
    assert installed is not None
    assert (installed.release_counter, installed.previous) == (50, robot.first)


def mend(robot: Sabotaged) -> None:
    """Puts the store and the state folder back into order."""
    if robot.publisher.root.is_file():
        robot.publisher.root.unlink()
    envelope = tampering.envelope(robot.publisher)
    envelope.parent.mkdir(parents=True, exist_ok=True)
    envelope.unlink(missing_ok=True)
    envelope.write_bytes(robot.good)


def test_damaged_package_without_network_falls_back_to_the_one_before(
    tmp_path: Path,
) -> None:
    robot = Sabotaged(tmp_path)
    robot.release()
    second = robot.update()
    weights = robot.state.package_folder(second) / "weights.safetensors"
    os.truncate(weights, 9)
    robot.publisher.root.rename(tmp_path / "away")
    unit = (f"--channel={robot.channel}", "--offline_if_update_fails")
    done = robot.run(*unit)
    assert done.returncode == 0, done.stderr
    _, _, why, package = done.stderr.splitlines()
    assert why.startswith("run: release 2 cannot drive: ")
    assert "weights.safetensors: expected" in why
    assert package == (
        f"run: package {robot.first[:12]} of channel nightly, the one before release "
        "2, which cannot drive: fell back to it"
    )
    (tmp_path / "away").rename(robot.publisher.root)
    again = robot.run(*unit)
    assert again.returncode == 0, again.stderr
    assert again.stderr.endswith("which cannot drive: kept\n")
    robot.release(2)
    assert robot.update() not in (robot.first, second)


def test_offline_start_leaves_nothing_and_needs_no_disk(tmp_path: Path) -> None:
    robot = Sabotaged(tmp_path)
    before = processes.read_tree(robot.state.root)
    assert robot.run("--offline").returncode == 0
    assert processes.read_tree(robot.state.root) == before
    robot.before = partial(limit_files, 0)
    done = robot.run("--offline")
    assert done.returncode == 0, done.stderr
    uncounted, package = done.stderr.splitlines()
    assert uncounted.startswith("run: this start could not be counted: ")
    assert package.endswith("release 1: kept")
    assert processes.read_tree(robot.state.root) == before


def test_lost_pointer_without_network_does_not_stop_a_robot(tmp_path: Path) -> None:
    robot = Sabotaged(tmp_path)
    for name in ("current", "current.copy"):
        (robot.state.root / name).write_bytes(b"\0" * 100)
    before = processes.read_tree(robot.state.root)
    robot.publisher.root.rename(tmp_path / "away")
    unit = (f"--channel={robot.channel}", "--offline_if_update_fails")
    for flags in (unit, ("--offline",)):
        done = robot.run(*flags)
        assert done.returncode == 0, done.stderr
        lost, package = done.stderr.splitlines()[-2:]
        assert lost.startswith("run: the pointer to the active package is lost: ")
        found = f"run: package {robot.first[:12]}, found without a pointer: recovered"
        assert package == found
        assert processes.read_tree(robot.state.root) == before
    (tmp_path / "away").rename(robot.publisher.root)
    assert robot.run(*unit).returncode == 0
    again = robot.run(*unit)
    assert again.stderr.splitlines() == [
        f"run: package {robot.first[:12]} of channel nightly, release 1: kept"
    ]


def test_refused_release_is_not_downloaded_at_the_next_start(tmp_path: Path) -> None:
    robot = Sabotaged(tmp_path)
    robot.release(control_hz=20.0)
    unit = (f"--channel={robot.channel}", "--offline_if_update_fails")
    assert "controlled at 20 Hz" in robot.run(*unit).stderr
    (robot.publisher.root / "packages").rename(tmp_path / "away")
    done = robot.run(*unit)
    assert done.returncode == 0, done.stderr
    why, what, package = done.stderr.splitlines()
    assert "expected a package that this robot has not refused, got " in why
    assert "controlled at 20 Hz" in why
    assert what == "run: the update failed; running what is installed"
    assert package.endswith("release 1: kept")
