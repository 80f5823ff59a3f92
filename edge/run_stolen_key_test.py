"""Robots take their channel back from whoever stole its key, by the program.

`release/commands/README.md` says what the publisher does; here is what robots do.
"""

import dataclasses
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from edge.ota.state_folder import StateFolder
from edge.testing import processes, tampering, tiny_package
from edge.testing.tiny_package import CHANNEL, Publisher
from release import channel
from release.testing.tiny_release import PrivateKey, publish
from release.trusted_keys import TrustedKeys
from rlds import example_codec, tfrecord

ROLE = f"channel:{CHANNEL}"
OTHERS = ("blessing", "provenance")


class Fleet:
    """A store, and robots that follow it with the same keyring."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.stolen = PrivateKey.generate((ROLE, *OTHERS))
        self.new = PrivateKey.generate((ROLE,))
        self.publisher = Publisher(folder, self.stolen)
        self.ring = self.publisher.keyring()
        self.episode = folder / "episode.tfrecord"
        recorded = tiny_package.episode(seed=5, steps=3)
        self.episode.write_bytes(tfrecord.frame(example_codec.encode(recorded)))

    def run(self, robot: str, *flags: str) -> subprocess.CompletedProcess[str]:
        return processes.run_forked(
            "edge.run",
            f"--channel={self.publisher.channel_uri}",
            f"--keyring={self.ring}",
            f"--state_dir={self.folder / robot}",
            f"--robot=replay:{self.episode}",
            "--pace=simulated",
            *flags,
        )

    def active(self, robot: str) -> tuple[str, int]:
        installed = StateFolder(self.folder / robot).read_installed()
        assert installed is not None
        return installed.digest, installed.release_counter

    def revoke(self) -> None:
        """Gives the robots a keyring in which a new key signs the channel."""
        kept = dataclasses.replace(self.stolen.trusted, roles=OTHERS)
        trusted = TrustedKeys.from_keys(kept, self.new.trusted, allow_development=False)
        self.ring.write_bytes(trusted.encode())

    def release(self, seed: int, counter: int) -> None:
        """Publishes with the new key."""
        now = datetime.now(UTC)
        publish.publish(
            self.publisher.store,
            CHANNEL,
            self.folder / f"package-{seed}",
            [self.new],
            TrustedKeys.read(self.ring, allow_development=False),
            now,
            now + timedelta(days=7),
            release_counter=counter,
        )


@pytest.mark.parametrize("step", [1, channel.LARGEST_COUNTER_STEP])
def test_all_robots_reach_the_good_release_whether_or_not_they_saw_the_thief(
    tmp_path: Path, step: int
) -> None:
    fleet = Fleet(tmp_path)
    good = fleet.publisher.release(0, now=datetime.now(UTC))
    for robot in ("saw", "missed"):
        assert fleet.run(robot).returncode == 0
    envelope = tampering.envelope(fleet.publisher)
    last_good = tampering.record(fleet.publisher)
    # The thief may only sign the channel: an older package, by a counter far ahead.
    theirs = 1 + step
    other = fleet.publisher.release(7, now=datetime.now(UTC), channel_counter=theirs)
    assert fleet.run("saw").returncode == 0
    assert fleet.active("saw") == (other, theirs)

    fleet.revoke()
    for robot in ("saw", "missed"):
        done = fleet.run(robot, "--offline_if_update_fails")
        assert done.returncode == 0, done.stderr
        assert "expected a signature by" in done.stderr.splitlines()[0]
    signed = tampering.sign(fleet.new, last_good.encode())
    envelope.write_bytes(signed)
    fleet.release(0, theirs)
    assert fleet.run("missed").returncode == 0
    assert fleet.active("missed") == (good, theirs)
    done = fleet.run("saw", "--offline_if_update_fails")
    assert done.returncode == 0, done.stderr
    assert f"above {theirs}" in done.stderr.splitlines()[0]
    assert fleet.active("saw") == (other, theirs)

    fleet.release(0, theirs + 1)
    for robot in ("saw", "missed", "new"):
        done = fleet.run(robot)
        assert done.returncode == 0, done.stderr
        assert fleet.active(robot) == (good, theirs + 1)


def test_robot_follows_a_channel_that_several_key_holders_signed_elsewhere(
    tmp_path: Path,
) -> None:
    fleet = Fleet(tmp_path)
    first = fleet.publisher.release(0, now=datetime.now(UTC))
    kept = fleet.stolen.trusted
    trusted = TrustedKeys.from_keys(
        kept, fleet.new.trusted, allow_development=False, thresholds={ROLE: 2}
    )
    fleet.ring.write_bytes(trusted.encode())
    record = tampering.record(fleet.publisher).encode()
    envelope = tampering.envelope(fleet.publisher)
    done = fleet.run("robot")
    assert done.returncode == 1
    assert "expected good signatures by 2 keys, got 1" in done.stderr
    assert not (tmp_path / "robot" / "current").exists()
    envelope.write_bytes(tampering.sign(fleet.stolen, record, fleet.new))
    assert fleet.run("robot").returncode == 0
    assert fleet.active("robot") == (first, 1)
