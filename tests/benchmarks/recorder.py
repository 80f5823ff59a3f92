"""Measures the recorder: steps per second into a journal, and memory of the process.

    ./bazelw run //tests/benchmarks:recorder

Records episodes of 500 steps with the robot's own recorder, as its control loop does:
one `append` per step, each passed to the kernel, then a close that makes a durable
episode. --picture=64 adds the JPEG of a camera of 64x64 to each step, another one each
time. --sealed encrypts them as a device with a key does. Prints one JSON line.
`append_*` counts only the appends; `whole_*` is the whole episode with opening, closing
and their syncs. The figure is the median over episodes; the best episode shows the
machine without other load.
"""

import base.interrupt  # noqa: F401 - Ctrl-C ends it from here on

import json
import resource
import secrets
import statistics
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from absl import flags

from base import command_line
from edge.control.control_step import ControlStep
from edge.episodes.recorder import EpisodeRecorder
from edge.robots.camera_drivers import SimulatedCamera
from edge.robots.robot import Camera, Observation, Picture, Vector
from rlds import sealing
from rlds.sealing import KEY_BYTES, DeviceKey
from rlds.spec import EpisodeSpec
from tests.benchmarks import commands

_EPISODES = flags.DEFINE_integer("episodes", 40, "episodes to record", lower_bound=1)
_STEPS = flags.DEFINE_integer("steps", 500, "steps per episode", lower_bound=1)
_STATE_SIZE = flags.DEFINE_integer("state_size", 39, "numbers in a state")
_ACTION_SIZE = flags.DEFINE_integer("action_size", 4, "numbers in an action")
_PICTURE = flags.DEFINE_integer(
    "picture", 0, "sides of the picture of each step, in pixels; 0 for none"
)
_SEALED = flags.DEFINE_bool("sealed", False, "whether the device has a spool key")
_FOLDER = flags.DEFINE_string(
    "folder", None, "folder to record into; default: a temporary one"
)

_PERIOD_NS = 12_500_000
_HZ = 1e6  # the camera's: nobody waits for it here


def main(argv: list[str]) -> None:
    """Records, then prints the figures."""
    del argv
    if _SEALED.value:
        sealing.use(DeviceKey(secrets.token_bytes(KEY_BYTES)))
    side = _PICTURE.value
    cameras = (Camera("front", side, side, _HZ),) if side else ()
    names = tuple(camera.name for camera in cameras)
    spec = EpisodeSpec(_STATE_SIZE.value, _ACTION_SIZE.value, cameras=names)
    steps = _steps(spec, _STEPS.value, cameras)
    append_s: list[float] = []
    whole_s: list[float] = []
    with tempfile.TemporaryDirectory(dir=_FOLDER.value) as folder:
        for episode in range(_EPISODES.value):
            begin_s = time.perf_counter()
            recorder = EpisodeRecorder(
                Path(folder), spec, commands.make_metadata(episode), cameras=cameras
            )
            first_s = time.perf_counter()
            for step in steps:
                recorder.append(step)
            append_s.append(time.perf_counter() - first_s)
            recorder.close(success=True)
            whole_s.append(time.perf_counter() - begin_s)
    figures = {
        "append_steps_per_s_median": round(len(steps) / statistics.median(append_s)),
        "append_steps_per_s_best": round(len(steps) / min(append_s)),
        "whole_steps_per_s_median": round(len(steps) / statistics.median(whole_s)),
        "whole_steps_per_s_best": round(len(steps) / min(whole_s)),
        "peak_rss_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        "episodes": _EPISODES.value,
        "steps_per_episode": len(steps),
        "state_size": spec.state_size,
        "picture_bytes": max(
            len(one.jpeg) for one in steps[0].observation.pictures.values()
        )
        if cameras
        else 0,
    }
    command_line.say(json.dumps(figures))


def _steps(
    spec: EpisodeSpec, count: int, cameras: Sequence[Camera]
) -> list[ControlStep]:
    sources = {camera.name: SimulatedCamera(camera) for camera in cameras}
    random = np.random.default_rng(0)

    def draw(size: int) -> Vector:
        return random.standard_normal(size, dtype=np.float32)

    return [
        ControlStep(
            observation=Observation(
                draw(spec.state_size),
                index * _PERIOD_NS,
                pictures={
                    name: Picture(source.take()[0], index * _PERIOD_NS)
                    for name, source in sources.items()
                },
            ),
            action=draw(spec.action_size),
            proposed_action=draw(spec.action_size),
            reward=0.5,
            discount=1.0,
            is_first=index == 0,
            is_last=index == count - 1,
            is_terminal=False,
            deadline_missed=False,
            safety_violation=False,
        )
        for index in range(count)
    ]


if __name__ == "__main__":
    command_line.run(main)
