"""Measures how often the scripted expert succeeds on a set of evaluation trials.

build_expert_baseline --tasks=reach-v3 --output=F

The trials are those of `//cloud:train`, whose flags and defaults it has.
"""

from __future__ import annotations

import base.interrupt  # noqa: F401 - Ctrl-C ends it from here on

import tempfile
from pathlib import Path

from absl import flags

from base import command_line, durable_file, path_flags, record_flags
from cloud.evaluate import expert_baseline
from cloud.evaluate.rollouts import roll_out
from cloud.evaluate.settings import EvaluateSettings

FLAGS = flags.FLAGS
flags.DEFINE_list("tasks", None, "names of the tasks", required=True)
flags.DEFINE_string("output", None, "file to write", required=True)
record_flags.define(EvaluateSettings)
path_flags.files("output")


def main(_: list[str]) -> None:
    """Runs the expert and writes its success rates."""
    settings = record_flags.read(EvaluateSettings)
    trials = settings.trials(sorted(FLAGS.tasks))
    with tempfile.TemporaryDirectory() as folder:
        rollouts = roll_out(trials, ["--policy=expert"], settings.workers, Path(folder))
    content = expert_baseline.encode(trials, rollouts)
    durable_file.write(Path(FLAGS.output), content)


if __name__ == "__main__":
    command_line.run(main)
