"""Measures //cloud:import: steps per second, with and without pictures, in both forms.

    ./bazelw run //tests/benchmarks:import_data

Makes a dataset of TFDS and one of LeRobot, each without and with pictures, and imports
each in a process of its own. Prints one JSON line. `*_steps_per_s` counts the whole
program, with its start, which takes longest where TFDS is loaded; `*_s` is its time.
"""

import base.interrupt  # noqa: F401 - Ctrl-C ends it from here on

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from absl import flags

from base import command_line
from cloud.testing import other_data

_STEPS = flags.DEFINE_integer(
    "steps", 40_000, "steps without pictures", lower_bound=100
)
_PICTURE_STEPS = flags.DEFINE_integer(
    "picture_steps", 6000, "steps with pictures", lower_bound=100
)
_WIDTH = flags.DEFINE_integer("width", 320, "width of a picture, in pixels")
_HEIGHT = flags.DEFINE_integer("height", 240, "height of a picture, in pixels")
_LENGTH = 100  # steps of an episode


def main(argv: list[str]) -> None:
    """Makes the datasets, imports them, and prints the figures."""
    del argv
    size = (_WIDTH.value, _HEIGHT.value)
    steps, with_pictures = _STEPS.value, _PICTURE_STEPS.value
    makers: dict[str, tuple[int, Callable[[Path], Path]]] = {
        "rlds": (steps, lambda folder: _make_rlds(folder, steps, None)),
        "lerobot": (steps, lambda folder: _make_lerobot(folder, steps, None)),
        "rlds_pictures": (
            with_pictures,
            lambda folder: _make_rlds(folder, with_pictures, size),
        ),
        "lerobot_pictures": (
            with_pictures,
            lambda folder: _make_lerobot(folder, with_pictures, size),
        ),
    }
    figures: dict[str, object] = {"width": size[0], "height": size[1]}
    for name, (count, make) in makers.items():
        with tempfile.TemporaryDirectory() as work:
            source = make(Path(work, "source"))
            begin_s = time.perf_counter()
            _import(source, Path(work, "data/arms/v1.0.0"))
            whole_s = time.perf_counter() - begin_s
        figures[f"{name}_steps_per_s"] = round(count / whole_s)
        figures[f"{name}_s"] = round(whole_s, 2)
    command_line.say(json.dumps(figures))


def _import(source: Path, output: Path) -> None:
    subprocess.run(
        [
            *(sys.executable, "-m", "cloud.exchange.import_dataset"),
            *(f"--source={source}", f"--output={output}", "--control_hz=10"),
        ],
        check=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        stdout=subprocess.DEVNULL,
    )


def _make_rlds(folder: Path, steps: int, size: tuple[int, int] | None) -> Path:
    pictures = size is not None
    features = other_data.oxe_features(size or other_data.SIZE, pictures=pictures)
    episode = other_data.oxe_steps(
        _LENGTH, 0, size or other_data.SIZE, pictures=pictures
    )
    episodes = [episode] * (steps // _LENGTH)
    return other_data.write_rlds(folder, {"train": episodes}, features)


def _make_lerobot(folder: Path, steps: int, size: tuple[int, int] | None) -> Path:
    return other_data.write_lerobot(
        folder,
        [_LENGTH] * (steps // _LENGTH),
        per_file=20,
        videos=size is not None,
        size=size or other_data.SIZE,
    )


if __name__ == "__main__":
    command_line.run(main)
