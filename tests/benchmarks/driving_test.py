import json

import pytest

from tests.benchmarks import commands


@pytest.mark.long
def test_commands_reach_the_arm_and_stops_hold_it() -> None:
    done = commands.run("driving.py", "--commands=60", "--stops=2")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["commands"] > 50
    assert found["unheard"] < 5
    assert 0 < found["command_p50_ms"] <= found["command_p99_ms"] < 300
    assert 0 < found["stop_p50_ms"] < 300


def test_unknown_flag_is_wrong_usage() -> None:
    done = commands.run("driving.py", "--commands=1")
    assert done.returncode == 2
    assert "commands" in done.stderr
