"""Measures how soon an arm does what a person on the operator's page tells it.

    ./bazelw run //tests/benchmarks:driving

//edge:robot, its page and its control process drive a stand-in for an arm at 80 Hz,
which writes down when it got which command. Like a browser this sends one request each
0.05 s, on a connection of its own, each with another velocity; a delay is the time from
before a request to the arm's first command with its velocity. Then it stops the robot
again and again, and a delay is the time until the arm stands still. Prints one JSON
line; `load` is the machine's load average.
"""

import base.interrupt  # noqa: F401 - Ctrl-C ends it from here on

import contextlib
import json
import math
import os
import statistics
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from absl import flags

from base import command_line
from edge.testing import robot_home
from edge.testing.browser import Browser
from edge.testing.desk import Desk
from edge.testing.moving_arm import read_port
from tests.benchmarks import process_usage

_COMMANDS = flags.DEFINE_integer(
    "commands", 1000, "commands that are measured", lower_bound=10
)
_STOPS = flags.DEFINE_integer("stops", 20, "stops that are measured", lower_bound=1)
_PERIOD_S: Final = 0.05
_SOON_NS: Final = 300_000_000  # in which an arm in an episode gets 24 commands
_NEXT_NS: Final = 50_000_000  # in which it gets 4
_STEP: Final = 0.001  # between two velocities, which have three decimals
_LEAST: Final = 0.1


def main(argv: list[str]) -> None:
    """Drives the arm, stops it, and prints the figures."""
    del argv
    with tempfile.TemporaryDirectory() as folder:
        port = Path(folder, "port")
        made = robot_home.make(Path(folder))
        desk = Desk(
            made,
            "--actor=page",
            f"--robot=edge.testing.moving_arm:MovingArm:{port}",
            "--robot_id=benchmark",
        )
        with contextlib.closing(desk):
            figures = _measure(desk, port)
    command_line.say(json.dumps({**figures, "load": os.getloadavg()[0]}))


def _measure(desk: Desk, port: Path) -> Mapping[str, object]:
    browser = desk.pair()
    page = desk.find("page")
    assert page is not None  # it has just answered
    browser.order("demonstrating")
    _begin(desk, browser)
    sent: list[tuple[int, float]] = []
    used_s, begin_s = process_usage.processor_s(page), time.monotonic()
    for number in range(_COMMANDS.value):
        velocity = round(_LEAST + number * _STEP % (1.0 - _LEAST), 3)
        due_s = time.monotonic() + _PERIOD_S
        at_ns = time.monotonic_ns()
        answer = browser.drive(velocity)
        if "human acts" in answer.told["doing"] and answer.status == 200:
            sent.append((at_ns, velocity))
        else:
            _begin(desk, browser)
        time.sleep(max(due_s - time.monotonic(), 0.0))
    used_s = process_usage.processor_s(page) - used_s
    share = used_s / (time.monotonic() - begin_s)
    memory_mb = process_usage.resident_kb(page) / 1000
    delays_ms = _find_delays_ms(sent, port)
    heard_ms = [one for one in delays_ms if one is not None]
    stops_ms = [_stop_ms(desk, browser, port) for _ in range(_STOPS.value)]
    return {
        "commands": len(delays_ms),
        "unheard": len(delays_ms) - len(heard_ms),
        **_describe("command", heard_ms),
        **_describe("stop", stops_ms),
        "page_processor_share": round(share, 4),
        "page_mb": round(memory_mb, 1),
    }


def _begin(desk: Desk, browser: Browser) -> None:
    """Begins an episode in which the browser demonstrates, if none runs."""

    def look() -> bool:
        told = browser.look()
        if told["seat"] == "yours" and "human acts" in told["doing"]:
            return True
        if told["seat"] == "yours":
            browser.drive(says="take_over")
        else:
            browser.take_over()
        time.sleep(_PERIOD_S)
        return False

    desk.wait_for(look)


def _find_delays_ms(
    sent: Sequence[tuple[int, float]], port: Path
) -> list[float | None]:
    """The delay of each command, in ms; None if the arm never got it.

    One that came between two episodes, in which the arm gets nothing, is left out.
    """
    got = [(one.time_ns, one.velocity[0]) for one in read_port(port)]
    found: list[float | None] = []
    for at_ns, velocity in sent:
        after = [one for one in got if at_ns < one[0] <= at_ns + _SOON_NS]
        if not after or after[0][0] - at_ns > _NEXT_NS:
            continue
        found.append(
            next(
                (
                    (time_ns - at_ns) / 1e6
                    for time_ns, value in after
                    if abs(value - velocity) < _STEP / 2
                ),
                None,
            )
        )
    return found


def _stop_ms(desk: Desk, browser: Browser, port: Path) -> float:
    """Stops the arm while it moves; how long it takes until it stands still, in ms."""
    browser.order("demonstrating")

    def moves() -> bool:
        _begin(desk, browser)
        browser.drive(1.0)
        time.sleep(_PERIOD_S)
        return not read_port(port)[-1].is_hold

    desk.wait_for(moves)
    at_ns = time.monotonic_ns()
    browser.order("stopped")

    def find() -> list[int]:
        return [one.time_ns for one in read_port(port) if one.is_hold]

    desk.wait_for(lambda: find()[-1:] > [at_ns])
    return min(one - at_ns for one in find() if one > at_ns) / 1e6


def _describe(name: str, delays_ms: Sequence[float]) -> Mapping[str, object]:
    ordered = sorted(delays_ms)
    return {
        f"{name}_p50_ms": round(statistics.median(ordered), 1),
        f"{name}_p99_ms": round(ordered[math.ceil(0.99 * len(ordered)) - 1], 1),
        f"{name}_longest_ms": round(ordered[-1], 1),
    }


if __name__ == "__main__":
    command_line.run(main)
