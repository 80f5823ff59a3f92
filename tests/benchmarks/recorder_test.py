import json
import os
import subprocess
import sys
from pathlib import Path

_PROGRAM = Path(__file__).with_name("recorder.py")
_MOST_RSS_MB = 80.0
_ENVIRONMENT = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}


def test_recorder_stays_small_and_tells_median_and_best(tmp_path):
    found = _measure(tmp_path)
    assert found["peak_rss_mb"] < _MOST_RSS_MB
    for part in ("append", "whole"):
        median = found[f"{part}_steps_per_s_median"]
        assert 0 < median <= found[f"{part}_steps_per_s_best"]


def test_unknown_flag_is_wrong_usage():
    done = subprocess.run(
        [sys.executable, _PROGRAM, "--steps=none"],
        capture_output=True,
        text=True,
        check=False,
        env=_ENVIRONMENT,
    )
    assert done.returncode == 2
    assert "steps" in done.stderr


def _measure(folder: Path) -> dict[str, float]:
    done = subprocess.run(
        [sys.executable, str(_PROGRAM), "--episodes=20", f"--folder={folder}"],
        capture_output=True,
        check=True,
        env=_ENVIRONMENT,
    )
    return json.loads(done.stdout)
