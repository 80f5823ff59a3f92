"""Tests of progress: a bar on a terminal, otherwise one line per interval."""

import io

from rich.console import Console

from cloud.console import WorkProgress


def test_log_gets_one_line_per_interval_and_a_last_line() -> None:
    text = io.StringIO()
    now_s = 0.0

    def clock_s() -> float:
        return now_s

    console = Console(file=text, width=40)
    with WorkProgress(console, "train", 100, "steps", 5.0, clock_s) as shown:
        for step in range(1, 101):
            now_s += 0.25  # exact in binary
            shown.show(step, f"loss {1 / step:.3f}", (100 - step) * 0.25)
    lines = text.getvalue().splitlines()
    assert lines == [
        "train: 20 of 100 steps, loss 0.050, 20 s left",
        "train: 40 of 100 steps, loss 0.025, 15 s left",
        "train: 60 of 100 steps, loss 0.017, 10 s left",
        "train: 80 of 100 steps, loss 0.013, 5 s left",
        "train: 100 of 100 steps, loss 0.010, 0 s left",
    ]


def test_terminal_gets_a_bar_with_figures_and_the_time_left() -> None:
    text = io.StringIO()
    now_s = 0.0

    def clock_s() -> float:
        return now_s

    console = Console(file=text, width=120, force_terminal=True)
    with WorkProgress(console, "train", 100, "steps", clock_s=clock_s) as shown:
        for step in range(1, 61):
            now_s += 2.0
            shown.show(step, f"loss {1 / step:.3f}, 0.5 steps/s")
    (*_, last) = [line for line in text.getvalue().splitlines() if "60/100" in line]
    for part in ("train", "loss 0.017, 0.5 steps/s", "0:02:00", "left", "0:01:20"):
        assert part in last
