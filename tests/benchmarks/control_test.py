import json
from pathlib import Path

from edge.testing import robot_home
from tests.benchmarks import commands


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
        "--control_hz=50",
        "--seconds=1",
        f"--json={figures}",
    )
    assert done.returncode == 0, done.stderr
    assert "50, 50, 0" in done.stdout
    found = {one["name"]: one["value"] for one in json.loads(figures.read_bytes())}
    assert found["control, 50 Hz, steps not recorded"] == 0
    assert found["control, 50 Hz, stolen by the host"] >= 0.0
    assert "control, 50 Hz, record, growth of memory" in found


def test_folder_that_is_not_a_package_is_refused_in_one_line(tmp_path: Path) -> None:
    done = commands.run("control.py", f"--package={tmp_path}", "--seconds=1")
    assert done.returncode == 1
    assert "package.json" in done.stderr and done.stderr.count("\n") == 1
