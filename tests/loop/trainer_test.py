"""Trainers that are killed, continue on another machine, or refuse to start."""

import json
import os
import re
import shutil
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from base.testing import bucket as local_bucket
from base.testing.bucket import Bucket
from tests.loop import binaries

TIMEOUT_S = 120.0
UPDATES, CHECKPOINT_UPDATES = 400, 40
"""The run is killed after its first checkpoint, at a tenth of its updates."""


def flags(folder: Path, dataset: Path) -> list[str]:
    """A run with too few episodes to publish."""
    return [
        f"--dataset={dataset}",
        f"--store={(folder / 'store').as_uri()}",
        "--tasks=reach-v3",
        "--preset=tiny",
        f"--updates={UPDATES}",
        "--batch_size=4",
        "--sequence_length=16",
        f"--checkpoint_period_updates={CHECKPOINT_UPDATES}",
        f"--report_period_updates={CHECKPOINT_UPDATES}",
        "--evaluation_episodes=1",
        "--evaluation_max_steps=20",
        "--code_commit=unversioned",
        f"--summary_json={folder / 'summary.json'}",
    ]


def kill_after(folder: Path, given: list[str], saved: Callable[[], bool]) -> str:
    """Starts the job, kills it as soon as it has saved, returns what it printed."""
    process = binaries.start("cloud/job/train", *given)
    deadline_s = time.monotonic() + TIMEOUT_S
    while not saved():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline_s
        time.sleep(0.02)
    os.killpg(process.pid, signal.SIGKILL)
    printed, _ = process.communicate()
    assert process.returncode == -signal.SIGKILL
    assert not (folder / "summary.json").exists()
    return printed


def runs(folder: Path) -> list[Path]:
    """The run folders of a store."""
    family = folder / "store" / "continuon-model-artifacts" / "wavecore"
    return sorted(family.iterdir()) if family.exists() else []


@pytest.mark.long
def test_killed_trainer_ends_with_the_same_package(tmp_path: Path) -> None:
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    whole.mkdir()
    killed.mkdir()
    dataset = binaries.copy_of_dataset(tmp_path)
    assert_shows_progress(binaries.run("cloud/job/train", *flags(whole, dataset)))
    expected = json.loads((whole / "summary.json").read_bytes())
    assert expected["resumed_from"] is None

    kill_after(
        killed,
        flags(killed, dataset),
        lambda: any(
            path.name.isdigit()
            for run in runs(killed)
            for path in (run / "checkpoints").glob("*")
        ),
    )
    assert all(not (run / "finished.json").exists() for run in runs(killed))
    binaries.run("cloud/job/train", *flags(killed, dataset))
    found = json.loads((killed / "summary.json").read_bytes())
    assert 0 < found["resumed_from"] < UPDATES
    assert found["package_digest"] == expected["package_digest"]
    assert found["held_out_loss"] == expected["held_out_loss"]
    assert len(list(runs(killed))) == 1


@pytest.mark.long
def test_same_command_beside_itself_is_refused_in_one_line(tmp_path: Path) -> None:
    given = flags(tmp_path, binaries.copy_of_dataset(tmp_path))
    first = binaries.start("cloud/job/train", *given)
    try:
        deadline_s = time.monotonic() + TIMEOUT_S
        while not runs(tmp_path):
            assert first.poll() is None, first.communicate()
            assert time.monotonic() < deadline_s
            time.sleep(0.02)
        line = binaries.refuse("cloud/job/train", *given)
    finally:
        os.killpg(first.pid, signal.SIGKILL)
        first.communicate()
    (run,) = runs(tmp_path)
    assert f"{run}: expected a run that no process is training, got one in use" in line


def test_robot_that_cannot_evaluate_is_named_before_training(tmp_path: Path) -> None:
    given = flags(tmp_path, binaries.copy_of_dataset(tmp_path))
    line = binaries.refuse("cloud/job/train", *given, "--environment=nosuch")
    assert "nosuch" in line
    assert "--environment" in line
    assert runs(tmp_path) == []


def assert_shows_progress(printed: str) -> None:
    """The log has updates, loss, speed and time left, and always the last update."""
    numbers = r"loss \d+\.\d{4}, \d+\.\d updates/s, 0 s left"
    line = rf"^train: {UPDATES} of {UPDATES} updates, {numbers}$"
    assert re.search(line, printed, re.MULTILINE), printed


def test_another_machine_continues_from_the_newest_checkpoint_in_the_bucket(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A machine is a home folder here; the second one has nothing of the first.

    `cloud/job/run_backup_test.py` tests that the numbers are those of an undisturbed
    run.
    """
    given = [
        *flags(tmp_path, binaries.copy_of_dataset(tmp_path)),
        "--artifacts=gs://bucket",
    ]
    with local_bucket.serve() as bucket:
        monkeypatch.setenv("HOME", str(tmp_path / "first"))
        kill_after(tmp_path, given, lambda: bool(kept(bucket)))
        newest = max(kept(bucket))
        shutil.rmtree(tmp_path / "first")
        monkeypatch.setenv("HOME", str(tmp_path / "second"))
        printed = kill_after(tmp_path, given, lambda: UPDATES in kept(bucket))
    assert f"at update {newest} from gs://bucket" in printed
    (run,) = (tmp_path / "second" / ".cache/continuon/runs/wavecore").iterdir()
    points = [
        json.loads(x) for x in (run / "losses.jsonl").read_text().splitlines()[1:]
    ]
    every = CHECKPOINT_UPDATES
    expected = set(range(every, UPDATES + 1, every))
    assert {point["update"] for point in points} == expected
    assert f"{run} continues" in printed


def kept(bucket: Bucket) -> set[int]:
    """Steps whose checkpoints are complete in the bucket."""
    pattern = r"wavecore/[^/]+/checkpoints/(\d+)/checkpoint_manifest\.json"
    found = (re.fullmatch(pattern, name) for name in list(bucket.objects))
    return {int(match[1]) for match in found if match}


def test_changed_shard_is_refused_before_training(tmp_path: Path) -> None:
    dataset = binaries.copy_of_dataset(tmp_path)
    shard = min(dataset.rglob("shard-*"))
    raw = bytearray(shard.read_bytes())
    raw[len(raw) // 2] ^= 1
    shard.write_bytes(raw)
    line = binaries.refuse("cloud/job/train", *flags(tmp_path, dataset))
    assert shard.name in line
    assert runs(tmp_path) == []
    too_large = ["--batch_size=1000000", "--accumulation_steps=1"]
    line = binaries.refuse("cloud/job/train", *flags(tmp_path, dataset), *too_large)
    assert "GB of memory" in line, "memory is checked before shards are read"


def test_absent_dataset_is_refused_in_one_line(tmp_path: Path) -> None:
    line = binaries.refuse("cloud/job/train", *flags(tmp_path, tmp_path / "absent"))
    assert "absent" in line
    assert runs(tmp_path) == []


def test_full_disk_is_refused_before_training(tmp_path: Path) -> None:
    line = binaries.refuse(
        "cloud/job/train",
        *flags(tmp_path, tmp_path / "absent"),
        "--required_disk_mb=1000000000",
    )
    assert "free disk" in line
    assert runs(tmp_path) == []


def test_value_out_of_range_is_wrong_usage(tmp_path: Path) -> None:
    done = binaries.attempt(
        "cloud/job/train", *flags(tmp_path, tmp_path), "--minimum_success=2"
    )
    assert done.returncode == 2
    assert "minimum_success" in done.stderr
    assert runs(tmp_path) == []
