from collections import Counter

import pytest

from edge.ota.poll_times import wait_in_need_s, wait_s

PERIOD_S, JITTER_S = 600.0, 60.0


def wait(robot_id: str, number: int, *, has_package: bool = True) -> float:
    return wait_s(robot_id, number, PERIOD_S, JITTER_S, has_package=has_package)


def test_robots_that_start_together_never_ask_together() -> None:
    """10,000 in 600 s are 16.7 a second; chance alone makes 40 of one in 10,000."""
    times = [0.0] * 10_000
    for number in range(3):
        times = [time + wait(f"robot-{k}", number) for k, time in enumerate(times)]
        asked = Counter(int(time) for time in times)
        assert max(asked.values()) <= 45
    assert len(Counter(int(time) for time in times)) > 550


def test_robot_asks_at_the_same_times_again_after_each_start() -> None:
    for number in range(4):
        assert wait("robot-1", number) == wait("robot-1", number)
    assert wait("robot-1", 0) != wait("robot-2", 0)
    assert wait("robot-1", 1) != wait("robot-1", 2)


def test_wait_keeps_within_the_jitter() -> None:
    waits = [wait(f"robot-{k}", 1 + k % 5) for k in range(2000)]
    assert min(waits) >= PERIOD_S - JITTER_S
    assert max(waits) <= PERIOD_S + JITTER_S
    assert sum(waits) / len(waits) == pytest.approx(PERIOD_S, rel=0.01)
    assert wait_s("robot-1", 1, 0.1, 60.0, has_package=True) >= 0.0


def test_new_robot_asks_at_once() -> None:
    assert wait("robot-1", 0, has_package=False) == 0.0
    assert wait("robot-1", 1, has_package=False) >= PERIOD_S - JITTER_S


def test_robot_that_nothing_can_drive_asks_at_once_and_then_less_and_less_often() -> (
    None
):
    waits = [wait_in_need_s("robot-1", number, PERIOD_S) for number in range(9)]
    assert waits[0] == 0.0
    for number, pause_s in enumerate((30, 60, 120, 240, 480, 600, 600, 600), start=1):
        assert pause_s / 2 <= waits[number] <= pause_s
    assert wait_in_need_s("robot-1", 10**6, PERIOD_S) <= PERIOD_S
    assert len({wait_in_need_s(f"robot-{k}", 1, PERIOD_S) for k in range(99)}) == 99
