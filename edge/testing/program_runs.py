"""Runs //edge:run on a replayed episode and a tiny store, for its tests."""

import subprocess
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from edge import simulated_or_real  # noqa: F401 - heavy, and each run is a fork
from edge.ota import update  # noqa: F401 - likewise
from edge.testing import processes, tiny_package
from edge.testing.tiny_package import Publisher
from release.testing.tiny_release import PrivateKey
from rlds import example_codec, tfrecord

STEPS: Final = 12
"""Steps of the episode that is replayed."""


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Runs the program to its end."""
    return processes.run_forked("edge.run", *arguments)


def check_refused(code: int, match: str, *arguments: str) -> None:
    """The program ends with this code and one line, which holds `match`."""
    done = run(*arguments)
    assert done.returncode == code, done.stderr
    (line,) = done.stderr.splitlines()
    assert match in line
    assert done.stdout == ""


def write_episode(folder: Path, steps: int = STEPS, noise: float = 0.1) -> Path:
    """Writes the episode to replay and returns its file."""
    path = folder / "episode.tfrecord"
    recorded = tiny_package.episode(seed=5, steps=steps, noise=noise)
    path.write_bytes(tfrecord.frame(example_codec.encode(recorded)))
    return path


def publish_first(folder: Path) -> Publisher:
    """Publishes a first release, signed by a development key."""
    publisher = Publisher(folder, PrivateKey.generate(development=True))
    publisher.release(0, now=datetime.now(UTC))
    return publisher


def channel_flags(publisher: Publisher, episode: Path, tmp_path: Path) -> list[str]:
    """The flags with which the program follows the store and replays the episode."""
    return [
        f"--channel={publisher.channel_uri}",
        f"--keyring={publisher.keyring()}",
        f"--state_dir={tmp_path / 'state'}",
        f"--robot=replay:{episode}",
        "--pace=simulated",
    ]
