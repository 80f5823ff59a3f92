"""Drives an arm that senses random numbers, with the loop and the recorder of a robot.

Usage: python -m tests.benchmarks.control_loop PACKAGE CONTROL_HZ SECONDS

It counts as a real arm: it has a watchdog, and real time where the system grants that.
Episodes of 500 steps follow each other, each recorded by the robot's own recorder into
a temporary folder and closed durably. Prints one JSON line: what the system granted and
refused, `steps` driven and `recorded`, `missed` deadlines, the spread of each time of
`edge/control/step_times.py` in microseconds, the share of the processor, and resident
memory and open files after the first tenth of the time and at the end.
"""

import json
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import Final

import numpy as np

from edge.control import realtime
from edge.control.loop import Pace, run_episode
from edge.control.package_policy import open_policy
from edge.control.safety import config_for
from edge.control.step_times import StepTimes
from edge.control.watchdog import Watchdog
from edge.episodes.recorder import EpisodeRecorder
from edge.robots.clock import Clock, MonotonicClock
from edge.robots.robot import Observation, RobotSpec, Transition, Vector
from edge.run_summary import spread_times
from release.verification import IntactPackage, verify_integrity
from rlds.spec import EpisodeSpec
from tests.benchmarks import commands

_STEPS: Final = 500
_STATES: Final = 997
_FILES: Final = Path("/proc/self/fd")
_STATUS: Final = Path("/proc/self/status")


class RandomArm:
    """Senses random numbers in turn; implements `Robot`, and is not simulated."""

    def __init__(self, package: IntactPackage, control_hz: float) -> None:
        """Has the sizes and limits that the package states."""
        fit = package.manifest.robot
        (state_size,) = fit.observation["state"].shape
        self._spec = RobotSpec(
            state_size=state_size,
            action_size=len(fit.action.minimum),
            control_hz=control_hz,
            robot_model="benchmark",
            environment_id="benchmark",
            task=fit.tasks[0],
            action_minimum=fit.action.minimum,
            action_maximum=fit.action.maximum,
            simulated=False,
        )
        drawn = np.random.default_rng(0).standard_normal((_STATES, state_size))
        self._states = list(drawn.astype(np.float32))
        self._clock = MonotonicClock()
        self._step = 0

    @property
    def spec(self) -> RobotSpec:
        """See `Robot.spec`."""
        return self._spec

    @property
    def clock(self) -> Clock:
        """See `Robot.clock`."""
        return self._clock

    def reset(self, seed: int) -> Observation:
        """See `Robot.reset`."""
        self._step = seed
        return self._observe()

    def act(self, action: Vector) -> Transition:
        """See `Robot.act`."""
        self._step += 1
        return Transition(self._observe(), 0.0, success=None, terminal=False)

    def hold(self) -> None:
        """See `Robot.hold`."""

    def close(self) -> None:
        """See `Robot.close`."""

    def _observe(self) -> Observation:
        return Observation(self._states[self._step % _STATES], self._clock.now_ns())


def main(folder: str, control_hz: str, seconds: str) -> None:
    """Drives, then prints the figures."""
    package = verify_integrity(Path(folder), "pi5-cpu")
    policy = open_policy(package)
    arm = RandomArm(package, float(control_hz))
    spec = EpisodeSpec(arm.spec.state_size, arm.spec.action_size)
    total = max(1, round(float(seconds) * arm.spec.control_hz))
    times, steps, recorded, missed, episodes, stops = StepTimes(), 0, 0, 0, 0, 0
    warm: tuple[int, int] | None = None
    with tempfile.TemporaryDirectory() as temporary, Watchdog(arm) as watchdog:
        grants = realtime.prepare()
        began_s, used_s = time.monotonic(), time.process_time()
        while steps < total:
            recorder = EpisodeRecorder(
                Path(temporary), spec, commands.make_metadata(episodes)
            )
            result = run_episode(
                arm,
                policy,
                config_for(arm.spec),
                recorder,
                episodes,
                min(_STEPS, total - steps),
                Pace.REALTIME,
                watchdog=watchdog,
                grants=grants,
            )
            for closed in recorder.close(result.success, result.stop_rule):
                recorded += closed.num_steps
                closed.path.unlink()
            times.merge(result.times)
            steps, missed = steps + result.steps, missed + result.missed_deadlines
            episodes, stops = episodes + 1, stops + (result.stop_rule is not None)
            if warm is None and steps >= total // 10:
                warm = _resident_kb(), len(list(_FILES.iterdir()))
        used_s = time.process_time() - used_s
        figures = {
            "granted": grants.describe(),
            "refused": list(grants.refusals),
            "episodes": episodes,
            "stops": stops,
            "steps": steps,
            "recorded": recorded,
            "missed": missed,
            "processor_share": used_s / (time.monotonic() - began_s),
            "times_us": {
                name: {"p50": one.p50_us, "p99": one.p99_us, "worst": one.worst_us}
                for name, one in spread_times(times).items()
            },
            "memory_kb": [warm[0] if warm else 0, _resident_kb()],
            "files": [warm[1] if warm else 0, len(list(_FILES.iterdir()))],
        }
    sys.stdout.write(json.dumps(figures) + os.linesep)


def _resident_kb() -> int:
    """Resident memory of this process now, as the kernel counts it."""
    lines = _STATUS.read_text().splitlines()
    (line,) = (line for line in lines if line.startswith("VmRSS:"))
    return int(line.split()[1])


if __name__ == "__main__":
    main(*sys.argv[1:])
