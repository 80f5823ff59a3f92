import json
from pathlib import Path

import pytest

from edge.testing import tiny_package
from tests.benchmarks import commands, fast_update


def test_each_run_is_measured_beside_the_steps_of_a_real_loop(tmp_path: Path) -> None:
    package, figures = tmp_path / "package", tmp_path / "figures.json"
    tiny_package.write_package(package, fast=True)
    done = commands.run(
        "fast_update.py",
        f"--package={package}",
        *("--runs=2", "--calls=20", "--control_hz=100"),
        f"--json={figures}",
    )
    assert done.returncode == 0, done.stderr
    assert "of 2 runs" in done.stdout
    found = {one["name"]: one["value"] for one in json.loads(figures.read_bytes())}
    for run in ("run 1", "run 2"):
        p50, p99, longest = (
            found[f"fast update, {run}, {which}"] for which in ("p50", "p99", "longest")
        )
        assert 0 < p50 <= p99 <= longest
        assert 0 <= found[f"fast update, {run}, late"] <= 80


def test_package_without_a_fast_loop_is_refused_by_its_name(tmp_path: Path) -> None:
    tiny_package.write_package(tmp_path / "plain")
    done = commands.run("fast_update.py", f"--package={tmp_path / 'plain'}")
    assert done.returncode != 0
    assert "expected a fast update for control, got none" in done.stderr
    assert str(tmp_path / "plain") in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("call_ms", "fit"), [(1.0, 9), (4.0, 2), (9.5, 1), (9.6, 0), (0.0, 0)]
)
def test_calls_fit_between_a_step_with_its_reserve_and_the_next(
    call_ms: float, fit: int
) -> None:
    assert fast_update.count_steps_that_fit(12.5, 2.0, call_ms) == fit
