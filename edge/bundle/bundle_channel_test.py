"""The Pi bundle, under an emulator, follows a channel as a robot does.

An emulated start takes some ten seconds, so all of this is long.
"""

import shutil
import subprocess
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest

from base.testing import bucket as local_bucket
from edge.testing import bundles, processes, tiny_package
from edge.testing.tiny_package import Publisher
from rlds import example_codec, tfrecord

STEPS = 10
TOLERANCE = 1e-5


class Installed(NamedTuple):
    """A robot that has run a package from a channel.

    Attributes:
        publisher: who published it; the robot's state is in the same folder.
        digest: the package's.
        run: what came of the run.
        actions: file of the actions of the run.
    """

    publisher: Publisher
    digest: str
    run: "subprocess.CompletedProcess[str]"
    actions: Path


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bundle, unpacked in a folder other than the one where it was built."""
    return bundles.unpack(tmp_path_factory.mktemp("any where"))


def signed_flags(publisher: Publisher) -> tuple[str, ...]:
    """The flags of a run that follows a channel, without --channel."""
    episode = publisher.folder / "episode.tfrecord"
    recorded = tiny_package.episode(seed=5, steps=STEPS)
    episode.write_bytes(tfrecord.frame(example_codec.encode(recorded)))
    return (
        f"--keyring={publisher.keyring()}",
        f"--state_dir={publisher.folder / 'state'}",
        f"--robot=replay:{episode}",
        "--pace=simulated",
    )


def bucket_flags(publisher: Publisher) -> tuple[str, ...]:
    """A run that follows the channel in a bucket."""
    channel = f"gs://{local_bucket.NAME}/channels/{tiny_package.CHANNEL}.json"
    return (f"--channel={channel}", *signed_flags(publisher))


@pytest.fixture(scope="module")
def installed(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Installed:
    """A robot that has followed the channel in a bucket once."""
    publisher = Publisher(tmp_path_factory.mktemp("publisher"))
    digest = publisher.release(0, now=datetime.now(UTC))
    actions = publisher.folder / "actions.json"
    with local_bucket.serve() as bucket:
        bucket.put_tree(publisher.root)
        pi = processes.run_on_pi(
            root,
            *bucket_flags(publisher),
            f"--actions_json={actions}",
            environment=bucket.environment,
        )
    return Installed(publisher, digest, pi, actions)


def test_package_of_a_bucket_is_activated_and_acts_as_on_this_machine(
    installed: Installed,
) -> None:
    assert installed.run.returncode == 0, installed.run.stderr
    assert installed.digest[:12] in installed.run.stderr
    here = installed.publisher.folder / "here.json"
    flags = signed_flags(installed.publisher)
    done = processes.run_forked(
        "edge.run", "--offline", *flags, f"--actions_json={here}"
    )
    assert done.returncode == 0, done.stderr
    expected = processes.read_actions(here)
    assert expected.shape == (STEPS, tiny_package.ACTION_SIZE)
    assert np.abs(expected).max() > 0.1
    np.testing.assert_allclose(
        processes.read_actions(installed.actions), expected, atol=TOLERANCE, rtol=0
    )


def test_signed_package_is_verified_and_activated_and_a_changed_one_is_not(
    root: Path, installed: Installed, tmp_path: Path
) -> None:
    digest = installed.digest
    assert installed.run.returncode == 0, installed.run.stderr
    shutil.copytree(installed.publisher.folder, tmp_path / "copy")
    publisher = Publisher(tmp_path / "copy", installed.publisher.key)
    weights = publisher.folder / "state" / "packages" / digest / "weights.safetensors"
    raw = bytearray(weights.read_bytes())
    raw[-1] ^= 1
    weights.write_bytes(raw)
    shutil.rmtree(publisher.root / "packages")
    flags = (f"--channel={publisher.channel_uri}", *signed_flags(publisher))
    damaged = processes.run_on_pi(root, *flags)
    assert damaged.returncode == 1
    assert len(damaged.stderr.splitlines()) == 1


def test_bucket_without_credentials_is_refused_in_one_line(
    root: Path, installed: Installed
) -> None:
    assert installed.run.returncode == 0, installed.run.stderr
    refused = processes.run_on_pi(root, *bucket_flags(installed.publisher))
    assert refused.returncode == 1
    (line,) = refused.stderr.splitlines()
    assert "GOOGLE_APPLICATION_CREDENTIALS" in line
