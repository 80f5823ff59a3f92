"""TFDS opens what the robot wrote as it is, also after a kill."""

import shutil
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow_datasets as tfds

from edge.testing import processes, simulated_episodes
from rlds import reader


def read_with_tfds(folder: Path) -> dict[str, Any]:
    dataset = tfds.builder_from_directory(folder).as_dataset(split="train")
    return {
        episode["episode_id"].decode(): episode for episode in tfds.as_numpy(dataset)
    }


def test_every_value_of_every_step_is_read_back(tmp_path: Path) -> None:
    names = simulated_episodes.make(tmp_path / "out", 3)
    episodes = read_with_tfds(tmp_path / "out")
    assert sorted(episodes) == sorted(names)
    for name, episode in episodes.items():
        wrote = reader.read_episode(tmp_path / "out" / f"{name}.tfrecord")
        steps = list(episode["steps"])
        assert len(steps) == wrote.num_steps
        states = np.stack([step["observation"]["state"] for step in steps])
        np.testing.assert_array_equal(states, wrote.steps["observation/state"])
        for key in ("action", "proposed_action", "reward", "is_last", "is_terminal"):
            values = np.stack([step[key] for step in steps])
            np.testing.assert_array_equal(values, wrote.steps[key])
        assert episode["robot_hash"].decode() == wrote.metadata.robot_hash
        assert episode["task"].decode() == wrote.metadata.task


def test_folder_of_a_killed_recorder_opens_at_once_and_after_recovery(
    tmp_path: Path,
) -> None:
    out = tmp_path / "out"
    running = processes.start("edge.testing.simulated_episodes", str(out), "100000")
    assert running.stdout is not None
    said = [running.stdout.readline() for _ in range(3)]
    running.send_signal(signal.SIGKILL)
    running.wait()
    running.stdout.close()
    promised = read_with_tfds(out)
    assert {line.strip() for line in said} <= promised.keys()
    simulated_episodes.make(out, 0)
    assert promised.keys() <= read_with_tfds(out).keys()
    assert not list((tmp_path / "out.private").iterdir())


@pytest.mark.parametrize("links", [True, False])
def test_folder_that_was_copied_without_links_is_recorded_into_and_opens(
    tmp_path: Path, links: bool
) -> None:
    """As `cp -rL` copies it, or as a tool does that leaves out links."""
    names = simulated_episodes.make(tmp_path / "out", 3)
    copy = tmp_path / "copy"
    shutil.copytree(tmp_path / "out", copy)
    if not links:
        shutil.rmtree(copy / "train")
    simulated_episodes.make(copy, 4)
    assert set(names) < read_with_tfds(copy).keys()
    assert len(read_with_tfds(copy)) == 4
    assert all(shard.is_symlink() for shard in (copy / "train").iterdir())
