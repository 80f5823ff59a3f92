"""Tests of a run's folder: when it is continued and when it is not."""

import os
from datetime import UTC, datetime
from pathlib import Path

import pytest

from cloud.errors import DiskSpaceError, RunFolderError
from cloud.job import run_folder

SETTINGS: dict[str, object] = {"updates": 10, "seed": 0}
OTHER: dict[str, object] = {"updates": 10, "seed": 1}
MORNING, EVENING = "20260101T080000", "20260101T200000"


def test_same_settings_continue_an_unfinished_run(tmp_path: Path) -> None:
    first = run_folder.open_run(tmp_path, SETTINGS, MORNING, None)
    first.close()
    second = run_folder.open_run(tmp_path, SETTINGS, EVENING, None)
    assert second.path == first.path
    assert (first.continued, second.continued) == (False, True)
    assert second.started == first.started == datetime(2026, 1, 1, 8, tzinfo=UTC)


def test_finished_run_is_not_continued(tmp_path: Path) -> None:
    first = run_folder.open_run(tmp_path, SETTINGS, MORNING, None)
    first.finish({"verdict": "blessed"})
    first.close()
    second = run_folder.open_run(tmp_path, SETTINGS, EVENING, None)
    assert second.path != first.path
    assert not second.continued


def test_other_settings_start_another_run(tmp_path: Path) -> None:
    run_folder.open_run(tmp_path, SETTINGS, MORNING, None).close()
    other = run_folder.open_run(tmp_path, OTHER, MORNING, None)
    assert not other.continued
    assert len(list(tmp_path.iterdir())) == 2


def test_run_in_use_is_not_continued_by_another_process(tmp_path: Path) -> None:
    first = run_folder.open_run(tmp_path, SETTINGS, MORNING, None)
    for resume in (None, first.run_id):
        with pytest.raises(RunFolderError, match="one in use; wait for it"):
            run_folder.open_run(tmp_path, SETTINGS, EVENING, resume)
    assert list(tmp_path.iterdir()) == [first.path]
    run_folder.open_run(tmp_path, OTHER, EVENING, None).close()


def save(run: run_folder.RunFolder, *updates: int) -> None:
    """Gives a run checkpoints, and closes it."""
    for number in updates:
        (run.checkpoints / str(number)).mkdir()
    (run.checkpoints / "9000.not_whole").mkdir()
    run.close()


def test_of_two_unfinished_runs_the_furthest_is_continued(tmp_path: Path) -> None:
    noon = run_folder._start(
        tmp_path, run_folder.compute_identity(SETTINGS), SETTINGS, "20260101T120000"
    )
    save(noon, 200, 1000)
    evening = run_folder._start(
        tmp_path, run_folder.compute_identity(SETTINGS), SETTINGS, EVENING
    )
    save(evening, 400)
    found = run_folder.open_run(tmp_path, SETTINGS, "20260102T080000", None)
    assert (found.path, found.updates_done) == (noon.path, 1000)


def test_no_run_is_started_beside_one_in_use_that_is_not_the_furthest(
    tmp_path: Path,
) -> None:
    identity = run_folder.compute_identity(SETTINGS)
    save(run_folder._start(tmp_path, identity, SETTINGS, MORNING), 1000)
    busy = run_folder._start(tmp_path, identity, SETTINGS, EVENING)
    with pytest.raises(RunFolderError, match=f"{busy.run_id}: .* one in use"):
        run_folder.open_run(tmp_path, SETTINGS, EVENING, None)
    busy.close()
    assert run_folder.open_run(tmp_path, SETTINGS, EVENING, None).updates_done == 1000


def test_of_commands_that_start_together_one_trains(tmp_path: Path) -> None:
    goes_on, ends = os.pipe()
    children = []
    for _ in range(4):
        child = os.fork()
        if child == 0:
            os.close(ends)
            try:
                run_folder.open_run(tmp_path, SETTINGS, MORNING, None)
            except RunFolderError:
                os._exit(1)
            os.read(goes_on, 1)  # it trains until the others have tried
            os._exit(0)
        children.append(child)
    refused = [os.wait() for _ in range(3)]
    os.close(ends)
    (winner,) = set(children) - {child for child, _ in refused}
    codes = [status for _, status in (*refused, os.waitpid(winner, 0))]
    os.close(goes_on)
    assert [os.waitstatus_to_exitcode(status) for status in codes] == [1, 1, 1, 0]
    assert len(list(tmp_path.iterdir())) == 1


def test_run_of_a_killed_process_can_be_continued(tmp_path: Path) -> None:
    child = os.fork()
    if child == 0:
        run_folder.open_run(tmp_path, SETTINGS, MORNING, None)
        os.kill(os.getpid(), 9)
    os.waitpid(child, 0)
    assert run_folder.open_run(tmp_path, SETTINGS, EVENING, None).continued


def test_resume_by_name_explains_each_refusal(tmp_path: Path) -> None:
    with pytest.raises(RunFolderError, match="got no run"):
        run_folder.open_run(tmp_path, SETTINGS, MORNING, "absent")
    run = run_folder.open_run(tmp_path, SETTINGS, MORNING, None)
    run.close()
    with pytest.raises(RunFolderError, match="flags that it was started with"):
        run_folder.open_run(tmp_path, OTHER, MORNING, run.run_id)
    continued = run_folder.open_run(tmp_path, SETTINGS, MORNING, run.run_id)
    assert continued.continued
    continued.finish({})
    continued.close()
    with pytest.raises(RunFolderError, match="has ended"):
        run_folder.open_run(tmp_path, SETTINGS, MORNING, run.run_id)


def test_folder_without_a_valid_record_is_not_a_run(tmp_path: Path) -> None:
    (tmp_path / "20260101T070000-leftover").mkdir()
    (tmp_path / "20260101T070000-leftover" / "run.json").write_text("{")
    run = run_folder.open_run(tmp_path, SETTINGS, MORNING, None)
    assert not run.continued


def test_too_little_disk_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    absent = tmp_path / "store" / "family"
    with pytest.raises(DiskSpaceError, match="free disk for the run") as caught:
        run_folder.require_space(absent, 1 << 60)
    assert "--store" in str(caught.value)
    assert not absent.parent.exists()
    run_folder.require_space(absent, 1)
