import json
from pathlib import Path

from edge.testing import tiny_learning
from tests.benchmarks import commands


def test_package_is_measured_and_stopped(tmp_path: Path) -> None:
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


def test_package_that_is_missing_is_one_line_that_names_it(tmp_path: Path) -> None:
    done = commands.run("learner.py", f"--package={tmp_path / 'none'}")
    assert done.returncode != 0
    assert str(tmp_path / "none") in done.stderr
    assert "Traceback" not in done.stderr
