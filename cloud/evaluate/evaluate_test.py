"""Any package is compared with the held-out episodes of a dataset, as a command."""

from collections.abc import Sequence
from pathlib import Path

import pytest

from base.testing import command
from cloud.evaluate import held_out_report
from cloud.testing import dataset_version, exported_package, training_episodes
from rlds.episode import Episode

EVALUATE = "cloud.evaluate.evaluate"


def write_dataset(folder: Path, held_out: Sequence[Episode]) -> str:
    train = training_episodes.episodes(2)
    dataset_version.write(folder, {"train": [train], "val": [held_out]})
    return f"--dataset={folder}"


def test_report_by_slice_is_shown_and_written_for_a_robot_without_a_simulator(
    tmp_path: Path,
) -> None:
    built = exported_package.copy(tmp_path / "package")
    held_out = training_episodes.episodes(16, first=100)
    output = tmp_path / "held_out.json"
    done = command.run(
        EVALUATE,
        f"--package={built.folder}",
        "--environment=none",
        write_dataset(tmp_path / "version", held_out),
        f"--output={output}",
    )
    assert (done.code, done.err) == (0, ""), done.err
    assert "Held-out episodes, replayed: nothing was driven" in done.out
    assert "task: left" in done.out and "task: right" in done.out
    assert "success" not in done.out.lower()
    found = held_out_report.parse(output.read_bytes(), output)
    assert (found.package_digest, len(found.episodes)) == (built.digest, 16)
    one = command.run(
        EVALUATE,
        f"--package={built.folder}",
        "--environment=none",
        "--task=left",
        "--held_out_episodes=3",
        f"--dataset={tmp_path / 'version'}",
        f"--output={output}",
    )
    assert one.code == 0, one.err
    found = held_out_report.parse(output.read_bytes(), output)
    assert (found.tasks, len(found.episodes)) == (("left",), 3)


@pytest.mark.parametrize("argument", ["--environment=none", "--dataset=version"])
def test_dataset_without_need_or_need_without_dataset_is_wrong_usage(
    argument: str, tmp_path: Path
) -> None:
    done = command.run(EVALUATE, f"--package={tmp_path}", argument)
    assert done.code == 2
    assert "give --dataset with --environment=none, and only then" in done.err
    assert done.err.count("\n") == 1


def test_dataset_of_other_tasks_is_one_line_and_leaves_no_report(
    tmp_path: Path,
) -> None:
    built = exported_package.copy(tmp_path / "package")
    lefts = [training_episodes.episode(k) for k in (100, 102)]
    output = tmp_path / "held_out.json"
    done = command.run(
        EVALUATE,
        f"--package={built.folder}",
        "--environment=none",
        "--task=right",
        write_dataset(tmp_path / "version", lefts),
        f"--output={output}",
    )
    assert done.code == 1
    (line,) = done.err.splitlines()
    assert "expected held-out episodes of right" in line and "episodes of left" in line
    assert not output.exists()
