import json
from pathlib import Path

from edge.testing import tiny_learning
from tests.benchmarks import commands


def test_package_is_measured_cold_compiled_and_stopped(tmp_path: Path) -> None:
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
    for start in ("cold", "compiled before"):
        until_then = found[f"{start}, memory until then"]
        assert 0 < until_then <= found[f"{start}, peak memory"]
        first_s = found[f"{start}, first gradient step"]
        assert 0 < first_s <= found[f"{start}, end of the round"]
    assert 0 < found["median stop"] <= found["longest stop"]


def test_package_that_is_missing_is_one_line_that_names_it(tmp_path: Path) -> None:
    done = commands.run("learner.py", f"--package={tmp_path / 'none'}")
    assert done.returncode != 0
    assert str(tmp_path / "none") in done.stderr
    assert "Traceback" not in done.stderr
