"""What the recorder keeps of episodes: for the learner, and in the shared folder."""

import dataclasses
import os
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest

from base.testing import special_files
from edge.episodes.step_ring import StepSender
from edge.processes import record
from edge.processes.home import Home
from edge.processes.process import Process
from edge.robots.simulated_point import SPEC
from edge.testing import fork, process_tree, ring_steps
from rlds import reader


@pytest.mark.parametrize("kind", special_files.KINDS)
def test_name_that_leads_to_no_file_keeps_no_episode_from_the_learner(
    tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[str] = []
    me = cast(Process, SimpleNamespace(say=told.append))
    new = tmp_path / "new"
    new.mkdir()
    special_files.make(new / "odd", kind)
    special_files.make(new / "odd.tfrecord", kind)
    monkeypatch.setattr(record, "NEW_LIMIT_BYTES", 20)
    for number in range(3):
        raw = tmp_path / f"{number}.tfrecord"
        raw.write_bytes(bytes(10))
        os.utime(raw, ns=(number, number))
        record.hand_over(new, me, raw)
    assert told == []
    assert sorted(p.name for p in new.glob("[0-9]*")) == ["1.tfrecord", "2.tfrecord"]
    assert os.path.lexists(new / "odd")
    assert os.path.lexists(new / "odd.tfrecord")


def test_names_in_words_of_the_operator_are_shared_as_they_are(tmp_path: Path) -> None:
    home = Home(tmp_path / "home")
    home.run.mkdir(parents=True)
    named = dataclasses.replace(SPEC, robot_model="frob-arm", task="frob the cup")
    sender = StepSender(home.ring, named)
    running = fork.start(
        "edge.processes.record",
        f"--home={home.root}",
        "--robot_id=point-1",
        "--share_words=frob,wuzzle",
    )
    name = ring_steps.send_episode(sender, 20)
    process_tree.wait_until(lambda: not sender.filled)
    running.terminate()
    said, _ = running.communicate(timeout=process_tree.LONGEST_S)
    assert running.returncode == 0, said
    assert "hash" not in said
    found = reader.read_episode(home.shared / f"{name}.tfrecord").metadata
    assert (found.robot_model, found.task) == ("frob-arm", "frob the cup")
    (record,) = (home.shared / "keys").iterdir()
    assert b'"words":["frob","wuzzle"]' in record.read_bytes()


def test_recorder_keeps_the_quota_of_shared_episodes_and_says_what_went_unsent(
    tmp_path: Path,
) -> None:
    home = Home(tmp_path / "home")
    home.run.mkdir(parents=True)
    sender = StepSender(home.ring, SPEC)
    running = fork.start(
        "edge.processes.record",
        f"--home={home.root}",
        "--robot_id=point-1",
        "--shared_mb=0.05",
    )
    names = [ring_steps.send_episode(sender, 200) for _ in range(6)]
    process_tree.wait_until(lambda: not sender.filled)
    running.terminate()
    said, _ = running.communicate(timeout=process_tree.LONGEST_S)
    assert running.returncode == 0, said
    left = sorted(path.stem for path in home.shared.glob("*.tfrecord"))
    assert 0 < len(left) < 6
    assert names[-1] in left
    assert sum(p.stat().st_size for p in home.shared.glob("0*")) <= 50_000
    assert "has reached 0.05 MB: 1 episode without consent and 0 that" in said
    assert f"of the shared episodes {6 - len(left)} without consent and 0 that" in said
    assert len(list(home.new_memories.glob("*.tfrecord"))) == 6


def test_files_in_the_place_of_its_folders_are_set_aside_and_all_is_recorded(
    tmp_path: Path,
) -> None:
    home = Home(tmp_path / "home")
    home.run.mkdir(parents=True)
    folders = (home.private, home.shared, home.memories)
    for folder in folders:
        folder.write_bytes(b"\n")
    sender = StepSender(home.ring, SPEC)
    running = fork.start(
        "edge.processes.record", f"--home={home.root}", "--robot_id=point-1"
    )
    name = ring_steps.send_episode(sender, 20)
    process_tree.wait_until(lambda: not sender.filled)
    running.terminate()
    said, _ = running.communicate(timeout=process_tree.LONGEST_S)
    assert running.returncode == 0, said
    assert name in ring_steps.read_episodes(home.shared)
    assert (home.new_memories / f"{name}.tfrecord").is_file()
    for folder in folders:
        assert folder.with_name(f"{folder.name}.damaged").read_bytes() == b"\n"
        assert said.count(f"{folder} was no folder: now {folder.name}.damaged") == 1
