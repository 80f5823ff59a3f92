"""Tests of the losses that a resumed run finds again."""

from pathlib import Path

from cloud.job.figures import LossHistory, LossPoint


def test_second_process_finds_what_the_first_wrote(tmp_path: Path) -> None:
    path = tmp_path / "losses.jsonl"
    first = LossHistory(path)
    first.add(LossPoint(50, 0.5))
    first.add(LossPoint(100, 0.25, 0.3))
    assert LossHistory(path).points == first.points


def test_steps_trained_twice_keep_the_later_report(tmp_path: Path) -> None:
    path = tmp_path / "losses.jsonl"
    for loss in (0.5, 0.4):
        LossHistory(path).add(LossPoint(50, loss))
    LossHistory(path).add(LossPoint(10, 0.9))
    assert LossHistory(path).points == (LossPoint(10, 0.9), LossPoint(50, 0.4))


def test_line_cut_by_a_kill_is_dropped_and_harms_no_other(tmp_path: Path) -> None:
    path = tmp_path / "losses.jsonl"
    LossHistory(path).add(LossPoint(50, 0.5))
    path.write_text(path.read_text() + '\n{"step": 100, "train_lo')
    resumed = LossHistory(path)
    assert resumed.points == (LossPoint(50, 0.5),)
    resumed.add(LossPoint(100, 0.25))
    assert LossHistory(path).points == (LossPoint(50, 0.5), LossPoint(100, 0.25))
