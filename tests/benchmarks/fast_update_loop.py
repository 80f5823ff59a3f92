"""Drives an arm that senses random numbers, and learns between its steps.

Usage: python -m tests.benchmarks.fast_update_loop PACKAGE CONTROL_HZ CALLS

The arm counts as one that exists: it has a watchdog, and real time where the system
grants that. Episodes of at most 500 steps follow each other, driven by the package's
step, and after each step control's fast loop calls the package's fast update if there
is time, until it has been called so often, or four times as many steps have been
driven. Prints one JSON line: what the system granted and refused, `steps`, `calls` and
`skipped`, the steps that were `missed`, and the middle, the 99th percentile and the
longest of the times of a call, of the processor time of a call and of a whole step
without it, in milliseconds.
"""

import json
import os
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

import numpy as np

from edge.control import fast_update, realtime
from edge.control.fast_loop import FastLoop
from edge.control.fast_update import Array, FastUpdate, Updated
from edge.control.loop import Pace, run_episode
from edge.control.package_policy import open_policy
from edge.control.safety import config_for
from edge.control.step_times import StepTimes
from edge.control.watchdog import Watchdog
from edge.robots.robot import Vector
from edge.runtime_version import EXPORT_TARGET
from release.verification import IntactPackage, verify_integrity
from tests.benchmarks.random_arm import STEPS, RandomArm

_MOST_STEPS: Final = 4  # driven for each call that is wanted


class TimedUpdate(FastUpdate):
    """A fast update that notes how long each call takes.

    Attributes:
        wall_s: by the clock, of each call.
        processor_s: of the processor, of each call.
    """

    def __init__(self, package: IntactPackage) -> None:
        """Loads that of a package, which must have one."""
        manifest = package.manifest
        name = fast_update.find_function(manifest)
        assert name is not None  # whoever starts this has looked
        path = package.path(manifest.functions[name].path)
        super().__init__(path.read_bytes(), manifest, str(path))
        self.wall_s: list[float] = []
        self.processor_s: list[float] = []

    def __call__(
        self, deltas: Mapping[str, Vector], window: Mapping[str, Array]
    ) -> Updated:
        """See `FastUpdate.__call__`."""
        begin_s, used_s = time.perf_counter(), time.thread_time()
        try:
            return super().__call__(deltas, window)
        finally:
            self.processor_s.append(time.thread_time() - used_s)
            self.wall_s.append(time.perf_counter() - begin_s)


def main(folder: str, control_hz: str, calls: str) -> None:
    """Drives, then prints the figures."""
    package = verify_integrity(Path(folder), EXPORT_TARGET)
    policy, update = open_policy(package), TimedUpdate(package)
    surfaces = package.manifest.surfaces
    zeros = {name: np.zeros(one.size, np.float32) for name, one in surfaces.items()}
    said: list[str] = []
    loop = FastLoop(policy, update, zeros, said.append)
    loop.is_allowed = True
    arm = RandomArm(f"{control_hz}:{package.folder}")
    most = _MOST_STEPS * int(calls)
    times, steps, missed, episodes = StepTimes(), 0, 0, 0
    with Watchdog(arm) as watchdog:
        grants = realtime.prepare()
        while loop.calls < int(calls) and steps < most:
            result = run_episode(
                arm,
                policy,
                config_for(arm.spec),
                None,
                episodes,
                min(STEPS, most - steps, int(calls) - loop.calls + update.steps),
                Pace.REALTIME,
                watchdog=watchdog,
                grants=grants,
                fast_loop=loop,
            )
            times.merge(result.times)
            steps, missed = steps + result.steps, missed + result.missed_deadlines
            episodes += 1
    work = times.work
    figures = {
        "granted": grants.describe(),
        "refused": list(grants.refusals),
        "said": said,
        "steps": steps,
        "calls": loop.calls,
        "skipped": loop.skipped,
        "missed": missed,
        "call_ms": _spread(update.wall_s),
        "processor_ms": _spread(update.processor_s),
        "work_ms": [
            work.percentile_us(50) / 1000,
            work.percentile_us(99) / 1000,
            work.longest_us / 1000,
        ],
    }
    sys.stdout.write(json.dumps(figures) + os.linesep)


def _spread(seconds: Sequence[float]) -> list[float]:
    """The middle, the 99th percentile and the longest, in milliseconds."""
    if not seconds:
        return [0.0, 0.0, 0.0]
    found = np.percentile(np.asarray(seconds) * 1000.0, [50, 99, 100])
    return [float(one) for one in found]


if __name__ == "__main__":
    main(*sys.argv[1:])
