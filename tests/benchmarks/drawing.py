"""Measures how fast the front camera of the simulated SO-101 draws, on one core.

    ./bazelw run //tests/benchmarks:drawing

Drives the arm with its expert and draws a picture of each step, encoded as JPEG, as the
robot does; then the same pictures of the scene as its package has it, with all faces.
Prints one JSON line. Times are those of one processor.
"""

import base.interrupt  # noqa: F401 - Ctrl-C ends it from here on

import functools
import importlib
import json
import statistics
import time
from collections.abc import Callable
from typing import Any

import numpy as np
from absl import flags

from base import command_line
from edge.robots import mujoco_camera, registry, so101_camera, so101_robot
from edge.robots.mujoco_camera import MujocoCamera, Pixels
from edge.robots.so101_camera import So101Camera
from edge.robots.so101_robot import So101Robot

_PICTURES = flags.DEFINE_integer("pictures", 100, "pictures to draw", lower_bound=1)
_FULL = flags.DEFINE_integer("full", 20, "pictures of the whole scene", lower_bound=1)
_HEIGHT = flags.DEFINE_integer("height", 64, "pixels of a picture", lower_bound=16)
_WIDTH = flags.DEFINE_integer("width", 64, "pixels of a picture", lower_bound=16)
_SEED = flags.DEFINE_integer("seed", 0, "seed of the episode", lower_bound=0)


def main(argv: list[str]) -> None:
    """Drives, draws both ways, and prints the figures."""
    del argv
    name = "so101-sim:pick-place"
    robot, expert = registry.open_robot(name), registry.open_expert(name)
    if not isinstance(robot, So101Robot):
        raise TypeError(f"expected a So101Robot, got {robot}")
    env: Any = robot._env
    seen = robot.reset(_SEED.value)
    places = []
    for _ in range(max(_PICTURES.value, _FULL.value)):
        places.append((env.data.qpos.copy(), env.goal_pos))
        done = robot.act(expert.propose(seen).astype(np.float32))
        seen = robot.reset(_SEED.value) if done.terminal else done.observation
    size = (_HEIGHT.value, _WIDTH.value)
    begin_s = time.perf_counter()
    camera = So101Camera(so101_robot.scene_file(), env.model, *size)
    opened_s = time.perf_counter() - begin_s
    drawn = [
        _time(functools.partial(camera.draw, *at)) for at in places[: _PICTURES.value]
    ]
    model = camera.model
    figures = {
        "pictures_per_s": round(1.0 / statistics.median(drawn), 1),
        "picture_ms": [round(1e3 * x, 2) for x in (min(drawn), max(drawn))],
        "open_s": round(opened_s, 2),
        "faces": int(model.nmeshface),
        **_draw_whole_scene(env, places[: _FULL.value], size),
        "size": [_WIDTH.value, _HEIGHT.value],
    }
    command_line.say(json.dumps(figures))


def _draw_whole_scene(
    env: Any,  # noqa: ANN401 - it has no types
    places: list[tuple[np.ndarray, np.ndarray]],
    size: tuple[int, int],
) -> dict[str, float]:
    camera = MujocoCamera(env.model, so101_camera.CAMERA, *size)
    mujoco: Any = importlib.import_module("mujoco")
    drawn = []
    for positions, _ in places:
        env.data.qpos[:] = positions
        mujoco.mj_forward(env.model, env.data)
        drawn.append(_time(functools.partial(camera.draw, env.data)))
    return {
        "whole_scene_pictures_per_s": round(1.0 / statistics.median(drawn), 1),
        "whole_scene_faces": int(env.model.nmeshface),
    }


def _time(draw: Callable[[], Pixels]) -> float:
    """Processor time of a picture and its encoding, in seconds."""
    begin_s = time.process_time()
    mujoco_camera.encode(draw())
    return time.process_time() - begin_s


if __name__ == "__main__":
    command_line.run(main)
