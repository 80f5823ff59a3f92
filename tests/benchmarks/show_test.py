import json

import pytest

from tests.benchmarks import commands


def render_s(steps: int) -> float:
    done = commands.run("show.py", f"--steps={steps}", "--runs=5", "--state_size=8")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert 0 < found["read_s"] < found["whole_s"]
    assert found["page_mb"] > 0
    return float(found["render_s"])


@pytest.mark.long
def test_page_of_ten_times_the_steps_takes_no_more_than_that_many_times_as_long() -> (
    None
):
    # Twice that for a busy machine; a part that is quadratic would take 100 times.
    assert render_s(20_000) < 20 * render_s(2000)


def test_unknown_flag_is_wrong_usage() -> None:
    done = commands.run("show.py", "--steps=none")
    assert done.returncode == 2
    assert "steps" in done.stderr
