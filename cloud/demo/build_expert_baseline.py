"""Measures how often the scripted expert succeeds on a set of evaluation trials.

build_expert_baseline --tasks=reach-v3 --episodes=50 --first_seed=10000 --output=F
"""

from __future__ import annotations

import tempfile
from pathlib import Path

from absl import flags

from base import command_line, durable_file
from cloud.evaluate import expert_baseline
from cloud.evaluate.rollouts import Trials, roll_out

FLAGS = flags.FLAGS
flags.DEFINE_list("tasks", None, "Meta-World task names.", required=True)
flags.DEFINE_string("output", None, "File to write.", required=True)
flags.DEFINE_integer("episodes", 50, "Episodes of each task.", lower_bound=1)
flags.DEFINE_integer("first_seed", 10000, "Seed of each task's first episode.")
flags.DEFINE_integer("max_steps", 500, "Steps after which an episode ends.")
flags.DEFINE_integer("workers", 2, "Processes at once.", lower_bound=1)


def main(_: list[str]) -> None:
    """Runs the expert and writes what was found."""
    trials = Trials(
        environment="metaworld",
        tasks=tuple(sorted(FLAGS.tasks)),
        episodes_per_task=FLAGS.episodes,
        first_seed=FLAGS.first_seed,
        max_steps=FLAGS.max_steps,
    )
    with tempfile.TemporaryDirectory() as folder:
        rollouts = roll_out(trials, ["--policy=expert"], FLAGS.workers, Path(folder))
    content = expert_baseline.encode(trials, rollouts)
    durable_file.write(Path(FLAGS.output), content)


if __name__ == "__main__":
    command_line.run(main)
