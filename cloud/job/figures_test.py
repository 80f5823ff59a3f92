"""Tests of the file of losses, which a resumed run continues, and of event files."""

import subprocess
import sys
from pathlib import Path

from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from cloud.job import figures
from cloud.job.figures import LossHistory, LossPoint


def test_second_process_reads_what_the_first_wrote(tmp_path: Path) -> None:
    path = tmp_path / "losses.jsonl"
    first = LossHistory(path)
    first.add(LossPoint(50, 0.5))
    first.add(LossPoint(100, 0.25, 0.3))
    assert LossHistory(path).points == first.points


def test_updates_made_twice_keep_the_later_report(tmp_path: Path) -> None:
    path = tmp_path / "losses.jsonl"
    for loss in (0.5, 0.4):
        LossHistory(path).add(LossPoint(50, loss))
    LossHistory(path).add(LossPoint(10, 0.9))
    assert LossHistory(path).points == (LossPoint(10, 0.9), LossPoint(50, 0.4))


def test_line_cut_by_a_kill_is_ignored_and_the_others_are_kept(tmp_path: Path) -> None:
    path = tmp_path / "losses.jsonl"
    LossHistory(path).add(LossPoint(50, 0.5))
    path.write_text(path.read_text() + '\n{"update": 100, "train_lo')
    resumed = LossHistory(path)
    assert resumed.points == (LossPoint(50, 0.5),)
    resumed.add(LossPoint(100, 0.25))
    assert LossHistory(path).points == (LossPoint(50, 0.5), LossPoint(100, 0.25))


def read(folder: Path) -> dict[str, list[tuple[int, float]]]:
    accumulator = EventAccumulator(str(folder))
    accumulator.Reload()
    return {
        tag: [(e.step, e.value) for e in accumulator.Scalars(tag)]
        for tag in accumulator.Tags()["scalars"]
    }


def test_figures_are_read_by_tag_and_update_while_the_file_is_open(
    tmp_path: Path,
) -> None:
    with figures.EventFile(tmp_path / "run") as events:
        events.add(50, {"loss/total": 0.5, "gradient_norm": 2.0})
        events.add(100, {"loss/total": 0.25})
        assert read(tmp_path / "run") == {
            "loss/total": [(50, 0.5), (100, 0.25)],
            "gradient_norm": [(50, 2.0)],
        }


def test_resumed_run_replaces_the_updates_that_it_repeats(tmp_path: Path) -> None:
    with figures.EventFile(tmp_path) as events:
        for update in (1, 2, 3):
            events.add(update, {"loss/total": 1.0})
    with figures.EventFile(tmp_path, resumes=True) as events:
        events.add(2, {"loss/total": 0.5})
        events.add(3, {"loss/total": 0.25})
    assert read(tmp_path) == {"loss/total": [(1, 1.0), (2, 0.5), (3, 0.25)]}


def test_writing_does_not_import_tensorflow(tmp_path: Path) -> None:
    script = (
        "import sys; from pathlib import Path; from cloud.job import figures;"
        "figures.EventFile(Path(sys.argv[1])).add(1, {'loss': 1.0});"
        "sys.exit('tensorflow' in sys.modules)"
    )
    code = [sys.executable, "-c", f"import sys; sys.path[:0] = {sys.path!r}; {script}"]
    subprocess.run([*code, str(tmp_path)], check=True, timeout=60)
