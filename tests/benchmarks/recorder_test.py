import json
import os
import subprocess
import sys
from pathlib import Path

_PROGRAM = Path(__file__).with_name("recorder.py")
_LEAST_STEPS_PER_S = 30_000
_MOST_RSS_MB = 80.0
# A machine that runs other tests meanwhile shows what it can do in one of these.
_ROUNDS = 10
_ENVIRONMENT = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}


def test_recorder_reaches_its_rate_and_stays_small(tmp_path):
    for _ in range(_ROUNDS):
        found = _measure(tmp_path)
        assert found["peak_rss_mb"] < _MOST_RSS_MB
        if found["steps_per_s"] >= _LEAST_STEPS_PER_S:
            return
    raise AssertionError(f"expected {_LEAST_STEPS_PER_S} steps/s, got {found}")


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
