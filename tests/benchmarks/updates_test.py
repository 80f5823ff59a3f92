import json
from pathlib import Path

import pytest

from cloud.testing import printed_table
from tests.benchmarks import commands, updates


def test_both_updates_are_measured_through_their_exports(tmp_path: Path) -> None:
    path = tmp_path / "updates.json"
    done = commands.run(
        "updates.py",
        *("--preset=tiny", "--calls=20", "--replays=3"),
        f"--json={path}",
    )
    assert done.returncode == 0, done.stderr
    assert "tiny fast_update" in done.stdout
    figures = {one["name"]: one for one in json.loads(path.read_bytes())}
    for update in ("fast_update", "consolidate_step"):
        p50, p99 = (figures[f"tiny {update} p{n}"]["value"] for n in (50, 99))
        assert 0 < p50 <= p99
    speed, p50 = figures["tiny fast_update speed"], figures["tiny fast_update p50"]
    assert speed["value"] == pytest.approx(8 / (p50["value"] / 1000))


def test_unknown_preset_names_the_known_ones() -> None:
    done = commands.run("updates.py", "--preset=huge")
    assert done.returncode == 2
    assert "seed" in done.stderr


def test_table_shows_every_figure_on_a_terminal_and_in_a_pipe() -> None:
    measured = [
        updates.Measured(
            *(f"{preset} consolidate_step", 123_456.78 + n, 234_567.89 + n),
            *(12_345_678.0 + n, 345_678.9 + n),
        )
        for n, preset in enumerate(("seed", "pi5"))
    ]
    printed_table.require_whole(
        (
            *("123456.78 ms", "123457.78 ms", "234567.89 ms", "234568.89 ms"),
            *("12,345,678", "12,345,679", "345678.90 ms", "345679.90 ms"),
        ),
        updates._table(measured),
    )
