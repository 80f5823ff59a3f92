"""Opens the training and validation splits; checks what could make training fail later.

The dataset's description of its episodes decides, before a shard is read, whether the
model can be trained and evaluated here. Shards that are new or were rewritten are
verified from end to end. The steps of each split are mapped from a file, which is
written first if it is missing. A resumed run finds both and reads no episode.
"""

from __future__ import annotations

import dataclasses

import jax

from cloud import programs
from cloud.dataset import recorded_robot, version
from cloud.dataset import split as dataset_split
from cloud.dataset.shard_check import Record
from cloud.dataset.stored_episodes import StoredEpisodes
from cloud.dataset.training_data import TrainingData
from cloud.errors import DatasetError
from cloud.evaluate import evaluating_robot
from cloud.evaluate.bootstrap import FEWEST
from cloud.evaluate.evaluating_robot import EvaluatingRobot
from cloud.evaluate.rollouts import RUN_PROGRAM
from cloud.job import action_limits
from cloud.job.settings import JobSettings
from cloud.package import build
from cloud.train import feasible, trained_model
from model.config import WaveCoreConfig
from rlds.manifest import Manifest
from rlds.spec import EpisodeSpec


@dataclasses.dataclass(frozen=True)
class Data:
    """The data that a run trains and validates on, and describes in its package.

    Attributes:
        manifest: the dataset's manifest.
        manifest_digest: digest of the dataset's manifest, 64 hex characters.
        tasks: the tasks that are trained.
        train: episodes to learn from, read on demand.
        validation: held-out episodes of these tasks, read on demand; may be empty.
        train_steps: all steps to learn from, mapped from a file.
        held_out_steps: all held-out steps, mapped from a file; None if there are none.
        model: sizes of the model, with the senses that the train episodes have.
    """

    manifest: Manifest
    manifest_digest: str
    tasks: tuple[str, ...]
    train: StoredEpisodes
    validation: StoredEpisodes
    train_steps: TrainingData
    held_out_steps: TrainingData | None
    model: WaveCoreConfig

    def list_records(self) -> list[tuple[str, Record]]:
        """Returns every episode's record with its id, train and held out."""
        ids = {entry.sha256: entry.episode_id for entry in self.manifest.episodes}
        return [
            (ids[record.sha256], record)
            for episodes in (self.train, self.validation)
            for _, record in episodes.records
        ]

    @property
    def size_text(self) -> str:
        """Numbers of episodes and tasks, for people."""
        return (
            f"{len(self.train)} train and {len(self.validation)} held-out episodes, "
            f"{len(self.tasks)} tasks"
        )


def require_trainable(settings: JobSettings) -> None:
    """Refuses a model that cannot be trained or evaluated here; reads no shard.

    In a dataset of an earlier version the number of tasks is unknown until the shards
    are read, so one is assumed. A task is one row of the model's first matrix, which
    needs little memory.

    Raises:
        DatasetError, ManifestError, DatasetFolderError: there is no dataset version, or
            it lacks a split or a requested task.
        ActionLimitsError: the limits of actions do not fit the dataset's actions.
        BlindRobotError: the robot that evaluates lacks a sense of the model.
        MemoryShortError: the preset needs more memory than is available.
    """
    uri = settings.dataset.uri
    for split in ("train", "val"):
        version.read_manifest(uri, split)
    spec, tasks = version.read_spec(uri), known_tasks(settings) or ("any",)
    model = trained_model.sizes(settings.train, spec, len(tasks))
    settings.publish.limits(spec.action_size)
    simulated = settings.evaluate.is_simulated
    environment = settings.evaluate.environment if simulated else "a replay of episodes"
    feasible.require_senses(model, environment, simulated=simulated)
    feasible.require_memory(
        settings.train, model, settings.run.mesh_shape, jax.local_devices()
    )


def known_tasks(settings: JobSettings) -> tuple[str, ...]:
    """Returns the tasks to train, as far as they are known before a shard is read.

    Returns:
        The tasks; none if neither the flags nor the manifest name any.

    Raises:
        DatasetError: the dataset lacks a requested task.
    """
    known = version.read_manifest(settings.dataset.uri, "train").tasks.get("train")
    if known is None:
        return tuple(sorted(settings.dataset.tasks))
    return _tasks(settings, tuple(sorted(known)))


def require_robot(
    settings: JobSettings, tasks: tuple[str, ...], spec: EpisodeSpec
) -> EvaluatingRobot | None:
    """Asks the evaluating robot's program whether it has these tasks and sizes.

    Returns:
        The robot; None if there is none, and held-out episodes judge the package.

    Raises:
        UnsuitableRobotError: it has not.
        ProgramMissingError: `//edge:run` is not among this program's files.
    """
    if not settings.evaluate.is_simulated:
        programs.locate(RUN_PROGRAM)
        return None
    trials = settings.evaluate.trials(tasks)
    name, senses = settings.dataset.name, settings.train.senses
    return evaluating_robot.require_fit(trials, name, spec, senses=senses)


def limit_actions(
    settings: JobSettings, robot: EvaluatingRobot | None, action_size: int
) -> tuple[JobSettings, list[str]]:
    """Narrows the limits of actions to what the evaluating robot accepts.

    A robot refuses a package that may propose what it does not accept.

    Args:
        settings: settings of the job.
        robot: the robot that evaluates; None if held-out episodes do.
        action_size: channels of an action.

    Returns:
        The settings, and a line about each channel that was narrowed.

    Raises:
        ActionLimitsError: the robot accepts nothing within them.
    """
    if robot is None or robot.limits is None:
        return settings, []
    given = settings.publish.limits(action_size)
    limits = given.within(robot.limits)
    if limits == given:
        return settings, []
    wide = zip(given.minimum, given.maximum, strict=True)
    narrow = zip(limits.minimum, limits.maximum, strict=True)
    notes = [
        f"action {channel} is limited to {least:g} to {most:g}, as "
        f"{robot.environment} accepts"
        for channel, (before, (least, most)) in enumerate(
            zip(wide, narrow, strict=True)
        )
        if before != (least, most)
    ]
    publish = dataclasses.replace(
        settings.publish, action_minimum=limits.minimum, action_maximum=limits.maximum
    )
    return dataclasses.replace(settings, publish=publish), notes


def require_exportable(
    settings: JobSettings, data: Data, robot: EvaluatingRobot | None
) -> list[str]:
    """Refuses data whose trained model would be refused later.

    Args:
        settings: settings of the job.
        data: its data.
        robot: the robot that evaluates; None if held-out episodes do.

    Returns:
        A line about each thing that a person should know before training.

    Raises:
        ActionLimitsError: most actions are outside the package's limits.
        UnsuitableRobotError: machine or control rate are not the evaluating robot's.
        DatasetError: no episode is held out, no time passes between steps, or robots
            of several models recorded them.
    """
    name, manifest = settings.dataset.name, data.manifest
    model, control_hz = robot_model(data, name), build.control_hz(data.train)
    if robot is not None:
        robot.require_same(name, model, control_hz)
    if not len(data.validation):
        raise DatasetError(
            name,
            f"held-out episodes of {', '.join(data.tasks)}, which judge the model",
            "none",
            "name other --tasks, or hold out other robots or days (split.val_groups)",
        )
    notes = action_limits.describe_outside(
        settings.publish.limits(data.train.spec.action_size),
        manifest.statistics,
        data.train_steps.steps.actions,
        name,
    )
    notes += recorded_robot.describe_rates(
        {id_: record.period_ns for id_, record in data.list_records()}
    )
    held_out = data.validation.tasks
    if absent := [task for task in data.tasks if task not in held_out]:
        notes.append(f"no episode is held out of {', '.join(absent)}")
    if robot is None:
        notes += _describe_open_verdict(data)
    longer = sum(e.num_steps > build.SAFETY_MAX_STEPS for e in manifest.episodes)
    if longer:
        notes.append(
            f"{longer} of {len(manifest.episodes)} episodes are longer than the "
            f"{build.SAFETY_MAX_STEPS} steps after which a robot stops"
        )
    return notes


def _describe_open_verdict(data: Data) -> list[str]:
    """Says of which tasks too few episodes are held out for any verdict on them."""
    held_out = [record.task for _, record in data.validation.records]
    few = {
        task: count for task in data.tasks if (count := held_out.count(task)) < FEWEST
    }
    if not few:
        return []
    counted = ", ".join(f"{task} ({count})" for task, count in few.items())
    return [
        f"fewer than {FEWEST} episodes are held out of {counted}: the verdict will be "
        "refused or undecided; hold out more (split.val_groups)"
    ]


def robot_model(data: Data, dataset: str) -> str:
    """Returns the model of the robot that recorded all episodes.

    Args:
        data: the episodes.
        dataset: their name, for the error.

    Raises:
        DatasetError: they are of several models or state none.
    """
    found = {id_: record.robot_model for id_, record in data.list_records()}
    models = set(found.values())
    if len(models) != 1 or "" in models:
        raise DatasetError(
            dataset,
            "episodes of one model of robot, which the package then drives",
            recorded_robot.describe_values(found),
            "curate a dataset of one model of robot",
        )
    return models.pop()


def open_data(settings: JobSettings) -> Data:
    """Opens both splits and refuses data that cannot be trained on.

    Raises:
        DatasetError: a split is missing or lacks a requested task, or the episodes
            differ from the dataset's description of them.
        ShardMismatchError, MalformedEpisodeError: a shard differs from the manifest or
            does not decode.
        DiskSpaceError, DiskError: offsets or steps cannot be written.
        FrameError: an image does not decode.
    """
    train, validation = (
        dataset_split.open_split(settings.dataset.uri, split, settings.run.cache_folder)
        for split in ("train", "val")
    )
    tasks = _tasks(settings, train.episodes.tasks)
    chosen, held_out = (s.episodes.select_tasks(tasks) for s in (train, validation))
    _require_described(settings, chosen.spec)
    model = trained_model.sizes(settings.train, chosen.spec, len(tasks))
    camera = model if model.image_height else None
    limits = settings.publish.limits(chosen.spec.action_size)
    return Data(
        manifest=train.manifest,
        manifest_digest=train.manifest_digest,
        tasks=tasks,
        train=chosen,
        validation=held_out,
        train_steps=train.steps(tasks, camera).with_reach(limits.find_reach()),
        held_out_steps=validation.steps(tasks, camera) if held_out else None,
        model=model,
    )


def _require_described(settings: JobSettings, found: EpisodeSpec) -> None:
    described = version.read_spec(settings.dataset.uri)
    if found != described:
        raise DatasetError(
            settings.dataset.name,
            f"episodes of {described} as the dataset says",
            found,
            "copy the whole folder that //cloud:curate wrote",
        )


def _tasks(settings: JobSettings, known: tuple[str, ...]) -> tuple[str, ...]:
    tasks = tuple(sorted(settings.dataset.tasks)) or known
    absent = sorted(set(tasks) - set(known))
    if absent or not tasks:
        quoted = any("," in task for task in known)
        raise DatasetError(
            settings.dataset.name,
            f"episodes of {absent or 'some task'}",
            f"episodes of {list(known)}",
            f"name other --tasks{' (one with a comma in double quotes)' * quoted} or "
            "another --dataset",
        )
    return tasks
