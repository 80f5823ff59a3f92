import json
from pathlib import Path

from tests.benchmarks import commands

_MOST_RSS_MB = 80.0


def test_recorder_stays_small_and_reports_median_and_best(tmp_path: Path) -> None:
    done = commands.run("recorder.py", "--episodes=20", f"--folder={tmp_path}")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["peak_rss_mb"] < _MOST_RSS_MB
    for part in ("append", "whole"):
        median = found[f"{part}_steps_per_s_median"]
        assert 0 < median <= found[f"{part}_steps_per_s_best"]


def test_unknown_flag_is_wrong_usage() -> None:
    done = commands.run("recorder.py", "--steps=none")
    assert done.returncode == 2
    assert "steps" in done.stderr
