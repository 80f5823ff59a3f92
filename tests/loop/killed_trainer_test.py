"""A trainer that is killed and started again, through the real binary."""

import json
import re
from pathlib import Path

from tests.loop import binaries, small_run


def test_killed_trainer_ends_with_the_same_package(tmp_path: Path) -> None:
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    whole.mkdir()
    killed.mkdir()
    dataset = binaries.copy_of_dataset(tmp_path)
    assert_shows_progress(
        binaries.run("cloud/job/train", *small_run.flags(whole, dataset))
    )
    expected = json.loads((whole / "summary.json").read_bytes())
    assert expected["resumed_from"] is None

    small_run.kill_after(
        killed,
        small_run.flags(killed, dataset),
        lambda: any(
            path.name.isdigit()
            for run in small_run.runs(killed)
            for path in (run / "checkpoints").glob("*")
        ),
    )
    assert all(not (run / "finished.json").exists() for run in small_run.runs(killed))
    binaries.run("cloud/job/train", *small_run.flags(killed, dataset))
    found = json.loads((killed / "summary.json").read_bytes())
    assert 0 < found["resumed_from"] < small_run.STEPS
    assert found["package_digest"] == expected["package_digest"]
    assert found["held_out_loss"] == expected["held_out_loss"]
    assert len(list(small_run.runs(killed))) == 1


def assert_shows_progress(printed: str) -> None:
    """A log has steps, loss, speed and the time left, the last step always."""
    numbers = r"loss \d+\.\d{4}, \d+\.\d steps/s, 0 s left"
    line = rf"^train: {small_run.STEPS} of {small_run.STEPS} steps, {numbers}$"
    assert re.search(line, printed, re.MULTILINE), printed
