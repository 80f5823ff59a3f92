"""Trains, evaluates, blesses, packages and publishes one model: the main job.

    ./bazelw run //cloud:train
    ./bazelw run //cloud:train -- --updates=200 --evaluation_episodes=2

Without flags it trains on a dataset of simulated episodes that Bazel builds, and keeps
everything in ~/.local/share/continuon. The job ends with exit code 0 whatever the
verdict; only a blessed package is published. A run as short as the second one shows how
the job goes; its package is usually refused, and then no channel is written. The same
command continues a run that was killed; with a bucket for its results
(--artifacts=gs://...) it does so on any machine.

For a robot that no simulator has, held-out episodes of the dataset judge the package:

    ./bazelw run //cloud:train -- --dataset=VERSION --environment=none

Several machines train together if each runs the same command with its own index, and a
store that they share:

    ./bazelw run //cloud:train -- --store=/shared --process_count=2 \\
        --coordinator_address=first:8476 --process_index=0
"""

from __future__ import annotations

import base.interrupt  # noqa: F401 - Ctrl-C ends it from here on

from datetime import UTC, datetime
from pathlib import Path

import jax
from absl import app

from base import command_line, durable_file, path_flags, project_version, record_flags
from cloud.console import open_console
from cloud.evaluate.held_out_verdict import HeldOutGates
from cloud.evaluate.settings import EvaluateSettings
from cloud.evaluate.verdict import Gates
from cloud.job import job, training
from cloud.job.settings import (
    DatasetSettings,
    JobSettings,
    PublishSettings,
    RunSettings,
)
from cloud.train import processes
from cloud.train.config import TrainConfig

record_flags.define(
    *(DatasetSettings, TrainConfig, EvaluateSettings, Gates, HeldOutGates),
    *(PublishSettings, RunSettings),
)
path_flags.folders("dataset", "store", "artifacts", "keys_dir", "cache_dir")
path_flags.files("summary_json")


def settings_from_flags() -> JobSettings:
    """Returns the job's settings from the flags; uses no device.

    Raises:
        app.UsageError: a value is out of its range.
    """
    try:
        return JobSettings(
            dataset=record_flags.read(DatasetSettings),
            train=record_flags.read(TrainConfig),
            evaluate=record_flags.read(EvaluateSettings),
            gates=record_flags.read(Gates),
            held_out_gates=record_flags.read(HeldOutGates),
            publish=record_flags.read(PublishSettings),
            run=record_flags.read(RunSettings),
        )
    except ValueError as e:
        raise app.UsageError(f"--{e}") from e


def main(argv: list[str]) -> None:
    """Runs the job that the flags describe and shows its results."""
    if len(argv) > 1:
        raise app.UsageError(f"expected flags only, got {argv[1]!r}")
    settings = settings_from_flags()
    run = settings.run
    if run.summary_json:
        durable_file.check_writable(Path(run.summary_json))
    processes.join(
        run.coordinator_address or None, run.process_count, run.process_index
    )
    settings = settings.on_this_machine(project_version.workspace())
    if jax.process_index() > 0:
        training.follow(settings)
        return
    console = open_console()
    outcome = job.run(settings, console, datetime.now(UTC))
    outcome.show(console)
    if run.summary_json:
        durable_file.write(Path(run.summary_json), outcome.summary())


if __name__ == "__main__":
    command_line.run(main)
