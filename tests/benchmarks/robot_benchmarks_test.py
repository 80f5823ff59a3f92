"""The benchmarks of what runs on a robot, run as whoever measures runs them.

They measure its control, its learner and its fast update. That of the recorder has a
test of its own: a program inherits the peak memory of the process that starts it, and
this one imports jax.
"""

import json
from pathlib import Path

import pytest

from edge.testing import robot_home, tiny_learning, tiny_package
from tests.benchmarks import commands, fast_update


def test_every_step_is_accounted_for_at_each_rate_beside_a_busy_program(
    tmp_path: Path,
) -> None:
    figures = tmp_path / "figures.json"
    done = commands.run(
        "control.py",
        "--preset=tiny",
        "--control_hz=50,200",
        "--seconds=1",
        "--busy=1",
        f"--json={figures}",
    )
    assert done.returncode == 0, done.stderr
    assert "50, 50" in done.stdout and "200, 200" in done.stdout
    assert "1, 0" in done.stdout, "one episode, which no rule stopped"
    found = {one["name"]: one["value"] for one in json.loads(figures.read_bytes())}
    for hz in ("50", "200"):
        assert found[f"control, {hz} Hz, policy, p50"] > 0.0
        assert found[f"control, {hz} Hz, whole step, p99"] > 0.0
        assert found[f"control, {hz} Hz, growth of open files"] == 0


def test_every_step_is_recorded_by_the_robots_own_programs(tmp_path: Path) -> None:
    made = robot_home.make(tmp_path, steps=4)
    figures = tmp_path / "figures.json"
    done = commands.run(
        "control.py",
        f"--channel={made.publisher.channel_uri}",
        *made.flags[1:],
        "--control_hz=200",
        "--seconds=1",
        f"--json={figures}",
    )
    assert done.returncode == 0, done.stderr
    assert "500, 500, 0" in done.stdout
    assert "packages 1, deltas 1" in done.stdout
    found = {one["name"]: one["value"] for one in json.loads(figures.read_bytes())}
    assert found["control, 200 Hz, steps not recorded"] == 0
    assert found["control, 200 Hz, stolen by the host"] >= 0.0
    assert "control, 200 Hz, record, growth of memory" in found


def test_control_of_a_folder_that_is_not_a_package_is_refused_in_one_line(
    tmp_path: Path,
) -> None:
    done = commands.run("control.py", f"--package={tmp_path}", "--seconds=1")
    assert done.returncode == 1
    assert "package.json" in done.stderr and done.stderr.count("\n") == 1


def test_learner_is_measured_and_stopped(tmp_path: Path) -> None:
    package, figures = tmp_path / "package", tmp_path / "figures.json"
    tiny_learning.write_package(package)
    done = commands.run(
        "learner.py",
        f"--package={package}",
        "--stops=2",
        "--longest_s=0.5",
        f"--json={figures}",
    )
    assert done.returncode == 0, done.stderr
    assert "longest stop" in done.stdout
    found = {
        entry["name"].split(", ", 2)[2]: entry["value"]
        for entry in json.loads(figures.read_text())
    }
    assert 0 < found["round, memory of no file"] <= found["round, peak memory"]
    assert 0 < found["round, first gradient step"] <= found["round, end"]
    assert found["round, processor"] > 0
    assert 0 < found["median stop"] <= found["longest stop"]


def test_learner_of_a_package_that_is_missing_is_one_line_that_names_it(
    tmp_path: Path,
) -> None:
    done = commands.run("learner.py", f"--package={tmp_path / 'none'}")
    assert done.returncode != 0
    assert str(tmp_path / "none") in done.stderr
    assert "Traceback" not in done.stderr


def test_each_run_of_fast_updates_is_measured_beside_the_steps_of_a_real_loop(
    tmp_path: Path,
) -> None:
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
