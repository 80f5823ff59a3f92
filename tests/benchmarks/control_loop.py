"""Drives an arm that senses random numbers, with the loop and the recorder of a robot.

Usage: python -m tests.benchmarks.control_loop PACKAGE CONTROL_HZ SECONDS

It counts as a real arm: it has a watchdog, and real time where the system grants that.
Each episode is recorded in this process, into a temporary folder, and closed durably.
Prints one JSON line: what the system granted and refused, `steps` driven, those
`recorded`, `missed` deadlines, the spread of each time of `edge/control/step_times.py`
in microseconds, the share of the processor, and resident memory and open files after
the first tenth of the time and at the end.
"""

import json
import os
import sys
import tempfile
import time
from pathlib import Path

from edge.control import realtime
from edge.control.loop import Pace, run_episode
from edge.control.package_policy import open_policy
from edge.control.safety import config_for
from edge.control.step_times import StepTimes
from edge.control.watchdog import Watchdog
from edge.episodes.recorder import EpisodeRecorder
from edge.run_summary import spread_times
from release.verification import verify_integrity
from rlds.spec import EpisodeSpec
from tests.benchmarks import commands, process_usage
from tests.benchmarks.random_arm import STEPS, RandomArm


def main(folder: str, control_hz: str, seconds: str) -> None:
    """Drives, then prints the figures."""
    policy = open_policy(verify_integrity(Path(folder), "pi5-cpu"))
    arm = RandomArm(f"{control_hz}:{folder}")
    spec = EpisodeSpec(arm.spec.state_size, arm.spec.action_size)
    total = max(1, round(float(seconds) * arm.spec.control_hz))
    times, steps, missed, episodes, stops = StepTimes(), 0, 0, 0, 0
    recorded = 0
    warm: tuple[int, int] | None = None
    with tempfile.TemporaryDirectory() as temporary, Watchdog(arm) as watchdog:
        grants = realtime.prepare()
        began_s, used_s = time.monotonic(), time.process_time()
        while steps < total:
            metadata = commands.make_metadata(episodes)
            recorder = EpisodeRecorder(Path(temporary), spec, metadata)
            result = run_episode(
                arm,
                policy,
                config_for(arm.spec),
                recorder,
                episodes,
                min(STEPS, total - steps),
                Pace.REALTIME,
                watchdog=watchdog,
                grants=grants,
            )
            for closed in recorder.close(result.success, result.tags):
                recorded += closed.num_steps
                closed.path.unlink()
            times.merge(result.times)
            steps, missed = steps + result.steps, missed + result.missed_deadlines
            episodes, stops = episodes + 1, stops + (result.stop_rule is not None)
            if warm is None and steps >= total // 10:
                warm = process_usage.read_sizes("self")
        used_s = time.process_time() - used_s
        last = process_usage.read_sizes("self")
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
            "memory_kb": [warm[0] if warm else 0, last[0]],
            "files": [warm[1] if warm else 0, last[1]],
        }
    sys.stdout.write(json.dumps(figures) + os.linesep)


if __name__ == "__main__":
    main(*sys.argv[1:])
