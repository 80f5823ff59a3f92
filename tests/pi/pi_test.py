"""A trained model's own export runs on the Pi as it runs here, from a signed channel.

The model is the real one, with its initial parameters: the test compares how two
machines compute the same step, not what the step has learned.
"""

import dataclasses
import json
import shutil
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from unittest import mock

import numpy as np
import pytest

from cloud.package import build
from cloud.package.build import PackageFacts
from edge.runtime_version import EXPORT_TARGET
from edge.testing import bundles, processes, tiny_package
from model import config
from model.testing import small_models
from release.signing import publish
from release.testing.tiny_release import release
from rlds import example_codec, tfrecord
from tests.loop import binaries

STEPS = 10
TOLERANCE = 1e-5
"""Largest difference of an f32 action. An int8 step rounds what it multiplies, and sums
in another order may round the other way, so single actions differ by a hundredth; their
mean difference must be one that the canary of an update accepts."""
FACTS = PackageFacts(
    family="wavecore",
    version="0.1.0",
    release_counter=1,
    target=EXPORT_TARGET,
    robot_model="sawyer",
    action_minimum=(-1.0,) * tiny_package.ACTION_SIZE,
    action_maximum=(1.0,) * tiny_package.ACTION_SIZE,
    dataset_name="metaworld_demo",
    dataset_version="0.1.0",
    manifest_digest="d" * 64,
    code_commit="unversioned",
    hardware="test machine",
    training_config={},
    metrics={},
)


@dataclass(frozen=True)
class Offer:
    """A signed package on a channel, and an episode to replay.

    Attributes:
        digest: digest of the package.
        flags: make the runtime follow the channel and replay the episode.
    """

    digest: str
    flags: tuple[str, ...]


@pytest.fixture(scope="module", params=["f32", "int8"])
def step(request: pytest.FixtureRequest) -> str:
    """Form of the step that the package tells robots to run."""
    return str(request.param)


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bundle, unpacked; what one run compiles of its sources, others read."""
    return bundles.unpack(tmp_path_factory.mktemp("pi"))


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The model's package, which holds both forms of the step and no learning."""
    folder = tmp_path_factory.mktemp("exported") / "package"
    sizes = config.tiny(
        tiny_package.STATE_SIZE, tiny_package.ACTION_SIZE, len(tiny_package.TASKS)
    )
    # Matrices of fewer than 1024 numbers stay f32.
    sizes = dataclasses.replace(sizes, width=48, recurrence_size=48, hidden_size=96)
    recorded = [
        tiny_package.episode(seed, task=task, noise=0.1)
        for seed, task in enumerate(tiny_package.TASKS)
    ]
    # A robot runs the step alone.
    with mock.patch("model.export.export.functions.learning", lambda model: {}):
        build.export_and_build(
            small_models.random_model(sizes),
            recorded,
            recorded,
            tiny_package.TASKS,
            folder,
            FACTS,
        )
    return folder


@pytest.fixture(scope="module")
def offer(step: str, exported: Path, tmp_path_factory: pytest.TempPathFactory) -> Offer:
    """Signs and publishes the package with this form of the step."""
    folder = tmp_path_factory.mktemp("forge")
    shutil.copytree(exported, folder / "package")
    built = build.prefer_step(folder / "package", step)
    signed = release(folder)
    signed.sign(built.folder)
    now = datetime.now(UTC)
    published = publish.publish(
        signed.store,
        "nightly",
        built.folder,
        [signed.keys["channel:nightly"]],
        signed.trusted,
        now,
        now + timedelta(days=1),
    )
    keyring = folder / "keyring.json"
    keyring.write_bytes(signed.trusted.encode())
    episode = folder / "episode.tfrecord"
    replayed = tiny_package.episode(seed=5, steps=STEPS)
    episode.write_bytes(tfrecord.frame(example_codec.encode(replayed)))
    return Offer(
        built.digest,
        (
            f"--channel={published.channel_uri}",
            f"--keyring={keyring}",
            f"--robot=replay:{episode}",
            "--pace=simulated",
        ),
    )


def output_flags(folder: Path) -> tuple[str, ...]:
    """Where one of the two machines keeps its state and writes its actions."""
    return (
        f"--state_dir={folder / 'state'}",
        f"--actions_json={folder / 'actions.json'}",
    )


def active_digest(folder: Path) -> str:
    """The digest of the package that a machine has activated."""
    pointer = json.loads((folder / "state" / "current").read_bytes())
    return str(pointer["digest"])


def test_exported_model_acts_on_the_pi_as_on_this_machine(
    offer: Offer, step: str, root: Path, tmp_path: Path
) -> None:
    here, there = tmp_path / "here", tmp_path / "there"
    for folder in (here, there):
        folder.mkdir()
    binaries.run("edge/run", *offer.flags, *output_flags(here))
    on_pi = processes.run_on_pi(root, *offer.flags, *output_flags(there))
    assert on_pi.returncode == 0, on_pi.stderr
    assert f"package {offer.digest[:12]} of channel nightly" in on_pi.stderr
    assert "release 1: installed" in on_pi.stderr
    assert active_digest(there) == active_digest(here) == offer.digest

    expected = processes.read_actions(here / "actions.json")
    assert expected.shape == (STEPS, tiny_package.ACTION_SIZE)
    assert np.ptp(expected, axis=0).min() > 100 * TOLERANCE
    difference = np.abs(processes.read_actions(there / "actions.json") - expected)
    if step == "f32":
        assert difference.max() <= TOLERANCE
    assert difference.mean() <= build.CANARY_TOLERANCE
