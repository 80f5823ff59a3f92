import json
from pathlib import Path

import pytest

from cloud.testing import printed_table
from tests.benchmarks import commands, input_pipeline


def test_every_source_is_compared_with_the_trainer_and_no_file_is_left(
    tmp_path: Path,
) -> None:
    path, folder = tmp_path / "figures", tmp_path / "work"
    folder.mkdir()
    done = commands.run(
        "input_pipeline.py",
        *("--episodes=24", "--steps=100", "--batches=3"),
        *(f"--folder={folder}", f"--json={path}"),
    )
    assert done.returncode == 0, done.stderr
    assert "mapped, dropped, B=16 T=128" in done.stdout
    figures = {one["name"]: one for one in json.loads(path.read_bytes())}
    assert len(figures) == 2 + 3 * 2 * 3
    assert all(one["value"] > 0 for one in figures.values())
    one = figures["memory, B=16 T=128"]
    assert one["ratio"] == pytest.approx(one["value"] / 8_900)
    assert list(folder.iterdir()) == []


def test_fewer_steps_than_a_window_are_refused_in_one_line() -> None:
    done = commands.run(
        "input_pipeline.py", "--episodes=1", "--steps=100", "--batches=2"
    )
    assert done.returncode == 1
    assert "expected at least 128 steps for a window, got 100" in done.stderr
    assert "Traceback" not in done.stderr


def test_table_shows_every_figure_on_a_terminal_and_in_a_pipe() -> None:
    name = "mapped, dropped, B=16 T=128"
    figures = [
        commands.figure(f"{name}, step 1e+12", 1_234_567_890.0, "windows/s"),
        commands.figure(name, 9_876_543_210.0, "steps/s", "training, 3.0 M", 12_345.6),
    ]
    printed_table.require_whole(
        ("1,234,567,890", "9,876,543,210", "12,345.6"), input_pipeline._table(figures)
    )
