"""Measures the recorder alone: steps per second, and memory of the process.

    bazel run //edge:recorder_benchmark -- --steps=200000

The steps are those of a simulated arm: 39 state values and 4 action values. Everything
but the robot is real: journal, checksums, fsyncs, closing the episodes.
"""

import resource
import tempfile
import time
from pathlib import Path

import numpy as np
from absl import flags

from edge import robot_key
from edge.control import ControlStep
from edge.errors import EdgeError
from edge.recording import Provenance, Recording, opened
from edge.robots.robot import Observation, RobotSpec
from release import command_line
from rlds.errors import RldsError
from rlds.uuid7 import uuid7

_STEPS = flags.DEFINE_integer("steps", 200_000, "Steps to record.", lower_bound=1)
_EPISODE_STEPS = flags.DEFINE_integer(
    "episode_steps", 500, "Steps of each episode.", lower_bound=1
)
_SHARE = flags.DEFINE_boolean(
    "share", False, "Whether to redact, sign and share each episode, too."
)
_FOLDER = flags.DEFINE_string(
    "folder", None, "Where to write (default: the system's temporary folder)."
)

_SPEC = RobotSpec(
    39, 4, 80.0, "arm", "benchmark", "none", (-1.0,) * 4, (1.0,) * 4, simulated=True
)


def main(argv: list[str]) -> None:
    """Records and prints one line."""
    del argv
    steps = _steps(_EPISODE_STEPS.value)
    with tempfile.TemporaryDirectory(dir=_FOLDER.value) as folder:
        root = Path(folder)
        key = robot_key.simulated("benchmark")
        private = root / "private"
        with opened(root / "shared", private, key, "benchmark", True) as recording:
            begin_s, begin_cpu_s = time.perf_counter(), time.process_time()
            episodes = 0
            while episodes * len(steps) < _STEPS.value:
                _record(recording, episodes, steps)
                episodes += 1
            seconds = time.perf_counter() - begin_s
            cpu_s = time.process_time() - begin_cpu_s
    count = episodes * len(steps)
    memory_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    command_line.say(
        f"{count} steps in {episodes} episodes, {seconds:.2f} s:"
        f" {count / seconds:.0f} steps/s, {count / cpu_s:.0f} steps per second of"
        f" processor time, {memory_mb:.0f} MB"
    )


def _record(recording: Recording, number: int, steps: list[ControlStep]) -> None:
    name = uuid7(number, bytes(10))
    recorder = recording.begin(_SPEC, name, 0, Provenance(operator="expert"))
    for step in steps:
        recorder.append(step)
    closed = recorder.close(success=False)
    if _SHARE.value:
        recording.publish(closed)


def _steps(count: int) -> list[ControlStep]:
    generator = np.random.default_rng(0)
    states = generator.normal(size=(count, _SPEC.state_size)).astype(np.float32)
    actions = generator.uniform(-1, 1, (count, _SPEC.action_size)).astype(np.float32)
    return [
        ControlStep(
            observation=Observation(states[k], k * _SPEC.period_ns),
            action=actions[k],
            proposed_action=actions[k],
            reward=0.5,
            discount=1.0,
            is_first=k == 0,
            is_last=k == count - 1,
            is_terminal=False,
            deadline_missed=False,
            safety_violation=False,
        )
        for k in range(count)
    ]


if __name__ == "__main__":
    command_line.run(main, errors=(EdgeError, RldsError))
