"""Measures //rlds:show: how long a page of a long episode takes, and how large it is.

    ./bazelw run //tests/benchmarks:show

Makes one episode with curves and pictures, reads it and renders its page several times,
as //rlds:show does. Prints one JSON line. `whole_s` is the program in a process of its
own, with its start and its writing; the others are parts of it, medians.
"""

import base.interrupt  # noqa: F401 - Ctrl-C ends it from here on

import io
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from absl import flags
from PIL import Image

from base import command_line
from rlds import example_codec, tfrecord
from rlds.show import found, page
from rlds.show.channel_names import ChannelNames
from rlds.spec import EpisodeSpec
from tests.benchmarks import commands

_STEPS = flags.DEFINE_integer("steps", 10_000, "steps of the episode", lower_bound=2)
_STATE_SIZE = flags.DEFINE_integer("state_size", 39, "numbers in a state")
_ACTION_SIZE = flags.DEFINE_integer("action_size", 4, "numbers in an action")
_RUNS = flags.DEFINE_integer("runs", 5, "runs of which the median counts")
_PERIOD_NS = 50_000_000
_PICTURE_SIZE = 64  # pixels
_PICTURES = 50  # different ones, which come again and again


def main(argv: list[str]) -> None:
    """Makes the episode, renders it, and prints the figures."""
    del argv
    with tempfile.TemporaryDirectory() as folder:
        path, output = Path(folder, "episode.tfrecord"), Path(folder, "page.html")
        path.write_bytes(_make_episode())
        read_s, render_s, whole_s = [], [], []
        for _ in range(_RUNS.value):
            begin_s = time.perf_counter()
            (one,) = found.open_file(path)
            read_s.append(time.perf_counter() - begin_s)
            begin_s = time.perf_counter()
            page.render(one, ChannelNames())
            render_s.append(time.perf_counter() - begin_s)
            begin_s = time.perf_counter()
            command = [sys.executable, "-m", "rlds.show.show", str(path)]
            subprocess.run(
                [*command, f"--output={output}"],
                check=True,
                stdout=subprocess.DEVNULL,
                env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
            )
            whole_s.append(time.perf_counter() - begin_s)
        figures = {
            "read_s": round(statistics.median(read_s), 3),
            "render_s": round(statistics.median(render_s), 3),
            "whole_s": round(statistics.median(whole_s), 3),
            "episode_mb": round(path.stat().st_size / 1e6, 1),
            "page_mb": round(output.stat().st_size / 1e6, 1),
            "steps": _STEPS.value,
            "state_size": _STATE_SIZE.value,
        }
    command_line.say(json.dumps(figures))


def _make_episode() -> bytes:
    count = _STEPS.value
    spec = EpisodeSpec(_STATE_SIZE.value, _ACTION_SIZE.value, image=True)
    random = np.random.default_rng(0)
    action = random.standard_normal((count, spec.action_size), np.float32)
    pictures = [_draw_picture(number) for number in range(_PICTURES)]
    index = np.arange(count)
    steps = {
        "observation/state": random.standard_normal(
            (count, spec.state_size), np.float32
        ),
        "observation/image": [pictures[number % _PICTURES] for number in range(count)],
        "action": np.clip(action, -1.0, 1.0),
        "proposed_action": action,
        "reward": random.random(count, np.float32),
        "discount": np.ones(count, np.float32),
        "is_first": index == 0,
        "is_last": index == count - 1,
        "is_terminal": np.zeros(count, np.bool_),
        "t_monotonic_ns": index * _PERIOD_NS,
        "deadline_missed": random.random(count) < 0.01,
        "safety_violation": np.zeros(count, np.bool_),
    }
    raw = example_codec.encode_parts(spec, commands.make_metadata(0), steps)
    return tfrecord.frame(raw)


def _draw_picture(number: int) -> bytes:
    """A JPEG of noise over a gradient, as large as one of a camera."""
    random = np.random.default_rng(number)
    size = _PICTURE_SIZE
    pixels = random.integers(0, 40, (size, size, 3)) + np.arange(size)[:, None, None]
    raw = io.BytesIO()
    Image.fromarray(pixels.astype(np.uint8)).save(raw, "JPEG", quality=85)
    return raw.getvalue()


if __name__ == "__main__":
    command_line.run(main)
