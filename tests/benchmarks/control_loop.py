"""Drives an arm that senses random numbers, with the loop and the recorder of a robot.

Usage: python -m tests.benchmarks.control_loop PACKAGE CONTROL_HZ SECONDS [HOME]

It counts as a real arm: it has a watchdog, and real time where the system grants that.
Episodes of 500 steps follow each other. With the folder of a robot each step goes into
its ring, as the control process sends it, and the learner is told to learn all the
time. Without one each episode is recorded in this process, into a temporary folder, and
closed durably. Prints one JSON line: what the system granted and refused, `steps`
driven, those `recorded` (without a ring) or `dropped` (with one), `missed` deadlines,
the spread of each time of `edge/control/step_times.py` in microseconds, the share of
the processor, and resident memory and open files after the first tenth of the time and
at the end.
"""

import json
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import Final, Protocol

import numpy as np

from edge.actors.actor import HUMAN
from edge.control import realtime
from edge.control.control_step import StepRecorder
from edge.control.loop import EpisodeResult, Pace, run_episode
from edge.control.package_policy import open_policy
from edge.control.safety import config_for
from edge.control.step_times import StepTimes
from edge.control.watchdog import Watchdog
from edge.episodes import episode_id
from edge.episodes.provenance import Provenance
from edge.episodes.recorder import EpisodeRecorder
from edge.episodes.step_ring import StepSender
from edge.loops.mode import Mode
from edge.processes.home import Home
from edge.processes.mailbox import Mailbox
from edge.robots.clock import Clock, MonotonicClock
from edge.robots.robot import Observation, RobotSpec, Transition, Vector
from edge.run_summary import spread_times
from release.verification import IntactPackage, verify_integrity
from rlds.spec import EpisodeSpec
from tests.benchmarks import commands, process_usage

_STEPS: Final = 500
_STATES: Final = 997


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
            robot_model=fit.robot_model or "benchmark",
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


class _Records(Protocol):
    """Where the steps of episode after episode go."""

    def begin(self, number: int) -> StepRecorder:
        """An episode begins."""

    def end(self, result: EpisodeResult) -> None:
        """It has ended."""

    def describe(self) -> dict[str, int]:
        """The counts that are printed."""


class _Files:
    """Records in this process."""

    def __init__(self, folder: Path, spec: EpisodeSpec) -> None:
        self._folder = folder
        self._spec = spec
        self._recorded = 0

    def begin(self, number: int) -> StepRecorder:
        metadata = commands.make_metadata(number)
        self._open = EpisodeRecorder(self._folder, self._spec, metadata)
        return self._open

    def end(self, result: EpisodeResult) -> None:
        for closed in self._open.close(result.success, result.tags):
            self._recorded += closed.num_steps
            closed.path.unlink()

    def describe(self) -> dict[str, int]:
        return {"recorded": self._recorded}


class _Ring:
    """Sends to the recorder of a robot, and lets its learner learn."""

    def __init__(self, home: Home, robot: RobotSpec) -> None:
        self._sender = StepSender(home.ring, robot)
        self._mailbox = Mailbox(home.root, "control")

    def begin(self, number: int) -> StepRecorder:
        self._mailbox.send("learn", "mode", {"mode": Mode.ASLEEP.value})
        now_ns = time.time_ns()
        name = episode_id.make_random_id(now_ns)
        self._sender.begin(name, now_ns, Provenance(actor=HUMAN))
        return self._sender

    def end(self, result: EpisodeResult) -> None:
        # A success, so that the learner learns from it.
        self._sender.end(result.stop_rule is None, result.tags)

    def describe(self) -> dict[str, int]:
        return {"dropped": self._sender.dropped}


def main(folder: str, control_hz: str, seconds: str, home: str | None = None) -> None:
    """Drives, then prints the figures."""
    package = verify_integrity(Path(folder), "pi5-cpu")
    policy = open_policy(package)
    arm = RandomArm(package, float(control_hz))
    spec = EpisodeSpec(arm.spec.state_size, arm.spec.action_size)
    total = max(1, round(float(seconds) * arm.spec.control_hz))
    times, steps, missed, episodes, stops = StepTimes(), 0, 0, 0, 0
    warm: tuple[int, int] | None = None
    with tempfile.TemporaryDirectory() as temporary, Watchdog(arm) as watchdog:
        records: _Records = (
            _Files(Path(temporary), spec)
            if home is None
            else _Ring(Home(Path(home)), arm.spec)
        )
        grants = realtime.prepare()
        began_s, used_s = time.monotonic(), time.process_time()
        while steps < total:
            result = run_episode(
                arm,
                policy,
                config_for(arm.spec),
                records.begin(episodes),
                episodes,
                min(_STEPS, total - steps),
                Pace.REALTIME,
                watchdog=watchdog,
                grants=grants,
            )
            records.end(result)
            times.merge(result.times)
            steps, missed = steps + result.steps, missed + result.missed_deadlines
            episodes, stops = episodes + 1, stops + (result.stop_rule is not None)
            if warm is None and steps >= total // 10:
                warm = _read_sizes()
        used_s = time.process_time() - used_s
        last = _read_sizes()
        figures = {
            "granted": grants.describe(),
            "refused": list(grants.refusals),
            "episodes": episodes,
            "stops": stops,
            "steps": steps,
            **records.describe(),
            "missed": missed,
            "processor_share": used_s / (time.monotonic() - began_s),
            "times_us": {
                name: {"p50": one.p50_us, "p99": one.p99_us, "worst": one.worst_us}
                for name, one in spread_times(times).items()
            },
            "memory_kb": [warm[0] if warm else 0, last[0]],
            "files": [warm[1] if warm else 0, last[1]],
        }
    sys.stdout.write(json.dumps(figures) + os.linesep)


def _read_sizes() -> tuple[int, int]:
    return process_usage.resident_kb("self"), process_usage.count_files("self")


if __name__ == "__main__":
    main(*sys.argv[1:])
