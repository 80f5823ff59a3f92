"""Trains, evaluates, blesses, packages and publishes one model: the main job.

    ./bazelw run //cloud:train
    ./bazelw run //cloud:train -- --steps=200 --evaluation_episodes=2

Without flags it trains on a data set of simulated episodes that Bazel builds, and
keeps everything in ~/.local/share/continuon. The job ends with exit code 0 whatever
the verdict; only a blessed package is published. The same command continues a run
that was killed, with a bucket as the store (--store=gs://...) on any machine.

Several machines train together when each runs the same command with its place, and a
store that all of them see:

    ./bazelw run //cloud:train -- --store=/shared --process_count=2 \\
        --coordinator_address=first:8476 --process_index=0
"""

from __future__ import annotations

import dataclasses
import re
from datetime import UTC, datetime
from pathlib import Path

import jax
from absl import app, flags

from base import command_line, durable_file
from cloud import build_facts, locations, programs
from cloud.console import open_console
from cloud.evaluate.bless import Gates
from cloud.job import job
from cloud.job.settings import JobSettings
from cloud.train import mesh, processes, profile
from cloud.train.config import TrainConfig

DEMO_DATASET = "cloud/demo/dataset"
DEMO_DATASET_NAME = "//cloud/demo:dataset"
DEMO_EXPERT_BASELINE = "cloud/demo/expert_baseline.json"
HOME = Path("~/.local/share/continuon")
CACHE = Path("~/.cache/continuon")

FLAGS = flags.FLAGS
_DATASET = flags.DEFINE_string(
    "dataset",
    None,
    "folder or URI of a dataset version; default: the simulated episodes that Bazel "
    f"builds as {DEMO_DATASET_NAME}",
)
_STORE = flags.DEFINE_string(
    "store",
    None,
    f"folder or URI that runs, packages and channels are kept in; default: {HOME}",
)
_KEYS = flags.DEFINE_string(
    "keys_dir",
    None,
    f"folder of the development key; default: keys/ in a local store, else {HOME}/keys",
)
_CACHE = flags.DEFINE_string(
    "cache_dir",
    None,
    "folder on this machine for the indexed and mapped dataset, which may be removed "
    "between runs; default: cache/ in a local store that one process uses, else "
    f"{CACHE}",
)
_FAMILY = flags.DEFINE_string("family", "wavecore", "name of the model's family")
_CHANNEL = flags.DEFINE_enum(
    "channel", "nightly", ["nightly"], "channel to publish on with a development key"
)
_PUBLISH = flags.DEFINE_bool("publish", True, "publish the package if it is blessed")
_EXPIRES = flags.DEFINE_float(
    "expires_days", 30.0, "days until devices stop believing the channel", 0.01
)
_TASKS = flags.DEFINE_list(
    "tasks", None, "tasks to train and evaluate; default: all of the dataset"
)
_ENVIRONMENT = flags.DEFINE_string(
    "environment", "metaworld", "kind of simulated robot that evaluates"
)
_EPISODES = flags.DEFINE_integer(
    "evaluation_episodes", 50, "closed-loop episodes of each task", lower_bound=1
)
_SEED = flags.DEFINE_integer(
    "evaluation_seed",
    10000,
    "seed of each task's first evaluation episode; as many seeds behind the last one"
    " tell whether the int8 step is as good as the f32 step",
    0,
)
_MAX_STEPS = flags.DEFINE_integer(
    "evaluation_max_steps", 500, "steps after which an episode ends", lower_bound=1
)
_WORKERS = flags.DEFINE_integer(
    "workers", 2, "processes that evaluate at once", lower_bound=1
)
_ACTION_MINIMUM = flags.DEFINE_float(
    "action_minimum", -1.0, "lowest action of each channel, in the robot's unit"
)
_ACTION_MAXIMUM = flags.DEFINE_float(
    "action_maximum", 1.0, "highest action of each channel, in the robot's unit"
)
_COMMIT = flags.DEFINE_string(
    "code_commit", None, "commit of the code; default: what git says of the checkout"
)
_RESUME = flags.DEFINE_string(
    "resume",
    None,
    "id of the run to continue; default: any unfinished run with the same settings",
)
_DISK = flags.DEFINE_integer(
    "required_disk_mb", 500, "free disk that a run needs to start, in MB", 0
)
_MESH = flags.DEFINE_string(
    "mesh",
    None,
    "devices along each axis, as data=4,fsdp=2: both share the windows of a step, "
    "fsdp shares parameters and optimiser state too; default: all devices on data",
)
_COORDINATOR = flags.DEFINE_string(
    "coordinator_address",
    None,
    "host:port of the first of several processes that train together, or auto on a "
    "TPU or cluster that tells each process its place; default: one process",
)
_PROCESS_COUNT = flags.DEFINE_integer(
    "process_count", 1, "processes that train together", lower_bound=1
)
_PROCESS_INDEX = flags.DEFINE_integer(
    "process_index", 0, "place among the processes; 0 writes reports and packages", 0
)
_PROFILE = flags.DEFINE_string(
    "profile",
    None,
    "steps to trace into the run's tensorboard folder: 10 for ten steps after "
    "warm-up, or a range such as 100-110; default: none",
)
_SUMMARY = flags.DEFINE_string(
    "summary_json",
    None,
    "file to write the final table to, as JSON; default: it is only shown",
)


def _attribute_docs(record: type) -> dict[str, str]:
    """The text of each attribute in a record's docstring, as one line each."""
    text = record.__doc__ or ""
    section = text.partition("Attributes:")[2].partition("Raises:")[0]
    docs: dict[str, str] = {}
    name = ""
    for line in section.splitlines():
        start = re.match(r"\s+(\w+): (.*)", line)
        if start:
            name = start[1]
            docs[name] = start[2]
        elif name and line.strip():
            docs[name] += " " + line.strip()
    return docs


def _define(record: type, docs: dict[str, str]) -> None:
    """Defines a flag for each number or text of a record, its default the same."""
    for field in dataclasses.fields(record):
        text = docs.get(field.name, field.name.replace("_", " ")).rstrip(".")
        default = field.default
        if isinstance(default, bool):
            flags.DEFINE_bool(field.name, default, text)
        elif isinstance(default, int):
            flags.DEFINE_integer(field.name, default, text)
        elif isinstance(default, float):
            flags.DEFINE_float(field.name, default, text)
        else:
            flags.DEFINE_string(field.name, str(default), text)


# The defaults of training and of the gates stand in their own records alone.
_define(TrainConfig, _attribute_docs(TrainConfig))
_define(Gates, _attribute_docs(Gates))


def _from_flags(record: type) -> dict[str, object]:
    return {field.name: FLAGS[field.name].value for field in dataclasses.fields(record)}


def settings_from_flags() -> JobSettings:
    """Turns the flags into the job's settings.

    Raises:
        app.UsageError: a value is out of its range.
        ProgramMissingError: no dataset is named and the default is not there.
    """
    store = locations.to_uri(_STORE.value or str(HOME))
    local = locations.local_folder(store)
    home = HOME.expanduser() if local is None else local
    baseline = programs.root() / DEMO_EXPERT_BASELINE
    try:
        train = TrainConfig(**_from_flags(TrainConfig))  # type: ignore[arg-type]
        gates = Gates(**_from_flags(Gates))  # type: ignore[arg-type]
        traced = profile.parse(_PROFILE.value or "")
    except ValueError as e:
        raise app.UsageError(f"--{e}") from e
    return JobSettings(
        dataset=_DATASET.value or str(programs.locate(DEMO_DATASET)),
        dataset_name=_DATASET.value or DEMO_DATASET_NAME,
        store=store,
        keys_folder=Path(_KEYS.value or home / "keys").expanduser().absolute(),
        work_folder=CACHE.expanduser(),
        cache_folder=_cache_folder(local),
        family=_FAMILY.value,
        channel=_CHANNEL.value,
        publish=_PUBLISH.value,
        expires_days=_EXPIRES.value,
        tasks=tuple(_TASKS.value) if _TASKS.value else None,
        train=train.for_platform(jax.default_backend(), jax.device_count()),
        mesh=mesh.parse(_MESH.value or "", jax.device_count()),
        processes=jax.process_count(),
        profile=traced,
        environment=_ENVIRONMENT.value,
        evaluation_episodes=_EPISODES.value,
        evaluation_seed=_SEED.value,
        evaluation_max_steps=_MAX_STEPS.value,
        workers=_WORKERS.value,
        gates=gates,
        expert_baseline=baseline if baseline.exists() else None,
        action_minimum=_ACTION_MINIMUM.value,
        action_maximum=_ACTION_MAXIMUM.value,
        code_commit=_COMMIT.value or build_facts.code_commit(build_facts.workspace()),
        resume=_RESUME.value,
        required_disk_bytes=_DISK.value * 1_000_000,
    )


def _cache_folder(local_store: Path | None) -> Path:
    """Where the mapped dataset is; a store that several machines see is no place."""
    alone = local_store is not None and jax.process_count() == 1
    chosen = _CACHE.value or (local_store / "cache" if alone else CACHE)
    return Path(chosen).expanduser().absolute()


def main(argv: list[str]) -> None:
    """Runs the job that the flags describe and shows what it came to."""
    if len(argv) > 1:
        raise app.UsageError(f"expected flags only, got {argv[1]!r}")
    if _SUMMARY.value:
        durable_file.check_writable(Path(_SUMMARY.value))
    processes.join(_COORDINATOR.value, _PROCESS_COUNT.value, _PROCESS_INDEX.value)
    settings = settings_from_flags()
    if jax.process_index() > 0:
        job.follow(settings)
        return
    console = open_console()
    outcome = job.run(settings, console, datetime.now(UTC))
    outcome.show(console)
    if _SUMMARY.value:
        durable_file.write(Path(_SUMMARY.value), outcome.summary())


if __name__ == "__main__":
    command_line.run(main)
