"""Two processes of the main job train together, through the real binary."""

import json
import re
import socket
import subprocess
from pathlib import Path

import pytest

from tests.loop import binaries

TIMEOUT_S = 240.0


def flags(store: str, index: int, address: str, folder: Path) -> list[str]:
    """A small run as the process `index` of two, with too few episodes to publish."""
    return [
        f"--dataset={binaries.copy_of_dataset(folder)}",
        f"--store={store}",
        "--process_count=2",
        f"--process_index={index}",
        f"--coordinator_address={address}",
        f"--cache_dir={folder / 'cache'}",
        "--tasks=reach-v3",
        "--preset=tiny",
        "--updates=4",
        "--batch_size=4",
        "--sequence_length=16",
        "--checkpoint_period_updates=2",
        "--evaluation_episodes=1",
        "--evaluation_max_steps=20",
        "--code_commit=unversioned",
        f"--summary_json={folder / 'summary.json'}",
    ]


def start(
    folder: Path, store: str, *cwd: Path
) -> tuple["subprocess.Popen[str]", "subprocess.Popen[str]"]:
    """Starts the first and the second process, each in its folder of `cwd`."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    first, second = (
        binaries.start(
            "cloud/job/train", *flags(store, index, address, folder), cwd=cwd[index]
        )
        for index in range(2)
    )
    return first, second


@pytest.mark.long
def test_second_process_ends_with_training_and_the_first_continues(
    tmp_path: Path,
) -> None:
    store = tmp_path / "store"
    first, second = start(tmp_path, store.as_uri(), tmp_path, tmp_path)
    try:
        _, error = second.communicate(timeout=TIMEOUT_S)
        evaluated = list(store.rglob("evaluation.json"))
        assert second.returncode == 0, error
        assert evaluated == [], "the second process waited for the evaluation"
        printed, error = first.communicate(timeout=TIMEOUT_S)
        assert first.returncode == 0, error
    finally:
        first.kill()
        second.kill()
    summary = json.loads((tmp_path / "summary.json").read_bytes())
    assert Path(summary["report"]).read_text().startswith("<!DOCTYPE html>")
    package = json.loads((Path(summary["package"]) / "package.json").read_bytes())
    training = package["metadata"]["training_config"]
    assert (training["mesh"], training["processes"]) == ("data=2,fsdp=1", 2)
    assert re.search("^train: 4 of 4 updates", printed, re.MULTILINE)


def test_store_that_the_processes_do_not_share_is_refused_by_both(
    tmp_path: Path,
) -> None:
    """Each process starts in its own folder, which stands for a machine's disk."""
    folders = [tmp_path / "first", tmp_path / "second"]
    for folder in folders:
        folder.mkdir()
    processes = start(tmp_path, "file:///proc/self/cwd/store", *folders)
    try:
        for process in processes:
            _, error = process.communicate(timeout=TIMEOUT_S)
            assert process.returncode == 1, error
            assert "got another in process 1; name a --store that all" in error
    finally:
        for process in processes:
            process.kill()
    assert list(tmp_path.rglob("run.json")) == []
    assert not (tmp_path / "cache").exists()
    assert not (folders[1] / "store").exists()
