"""A run's data are mapped, train as data in memory do, and are checked at the start."""

import dataclasses
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from base.store.store import LocalStore
from cloud.dataset import training_data
from cloud.dataset.training_data import TrainingData
from cloud.errors import (
    ActionLimitsError,
    DatasetError,
    MemoryShortError,
    UnsuitableRobotError,
)
from cloud.evaluate.evaluating_robot import EvaluatingRobot
from cloud.job import data as job_data
from cloud.job.action_limits import ActionLimits
from cloud.job.settings import (
    DatasetSettings,
    JobSettings,
    PublishSettings,
    RunSettings,
)
from cloud.package import build
from cloud.testing import dataset_version, train_tiny, training_episodes
from cloud.train import feasible
from cloud.train import fit as training
from cloud.train.config import TrainConfig
from release.run_summary import ActionRange
from rlds import tfds_features
from rlds.episode import Episode
from rlds.errors import ShardMismatchError
from rlds.spec import EpisodeSpec

UPDATES = 6
TASKS = training_episodes.TASKS
TRAIN = training_episodes.episodes(12)
HELD_OUT = training_episodes.episodes(2, first=100)

Losses = tuple[float, float | None]
"""Of training and of the held-out actions, at one report."""


@pytest.fixture
def settings(tmp_path: Path) -> JobSettings:
    """Those of a job on a small dataset, as far as its data ask for them."""
    splits = {"train": [TRAIN[:5], TRAIN[5:]], "val": [HELD_OUT]}
    dataset_version.write(tmp_path / "version", splits)
    return JobSettings(
        dataset=DatasetSettings(location=str(tmp_path / "version")),
        train=train_tiny.config(UPDATES).for_platform("cpu"),
        run=RunSettings(cache_dir=str(tmp_path / "cache")),
    )


def select_tasks(settings: JobSettings, *tasks: str, **changes: Any) -> JobSettings:
    """The same settings for these tasks alone."""
    chosen = dataclasses.replace(settings.dataset, tasks=tasks, **changes)
    return dataclasses.replace(settings, dataset=chosen)


def cached(settings: JobSettings) -> list[str]:
    return sorted(p.name for p in settings.run.cache_folder.glob("steps/*/rows"))


def fit(
    train: TrainingData,
    held_out: TrainingData | None,
    folder: Path,
    on_progress: Callable[[training.Progress], None] = lambda progress: None,
) -> training.FitResult:
    config = train_tiny.config(UPDATES)
    return training.fit(
        *(train, held_out, config, folder, on_progress),
        make_model=train_tiny.one_block,
    )


def fit_mapped(
    settings: JobSettings,
    folder: Path,
    on_progress: Callable[[training.Progress], None] = lambda progress: None,
) -> training.FitResult:
    data = job_data.open_data(settings)
    with train_tiny.share_trainers():
        return fit(data.train_steps, data.held_out_steps, folder, on_progress)


@pytest.fixture(scope="module")
def in_memory(tmp_path_factory: pytest.TempPathFactory) -> tuple[bytes, list[Losses]]:
    """Parameters and losses after training on the same episodes in memory."""
    train, held_out = (training_data.join_episodes(e, TASKS) for e in (TRAIN, HELD_OUT))
    result = fit(train, held_out, tmp_path_factory.mktemp("memory") / "saved")
    losses = [(p.loss, p.validation_action_loss) for p in result.history]
    return train_tiny.weights(result), losses


def test_mapped_steps_train_the_same_bytes_as_steps_in_memory(
    settings: JobSettings, in_memory: tuple[bytes, list[Losses]], tmp_path: Path
) -> None:
    result = fit_mapped(settings, tmp_path / "saved")
    assert train_tiny.weights(result) == in_memory[0]
    losses = [(p.loss, p.validation_action_loss) for p in result.history]
    assert losses == in_memory[1]


def refuse_to_read(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(store: LocalStore, path: str, *_: int) -> None:
        pytest.fail(f"{path} was read")

    monkeypatch.setattr(LocalStore, "get_range", refuse)


def test_resumed_run_reads_no_episode_and_ends_with_the_same_bytes(
    settings: JobSettings,
    in_memory: tuple[bytes, list[Losses]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class StopError(Exception):
        pass

    def stop(progress: training.Progress) -> None:
        if progress.update == 5:
            raise StopError

    with pytest.raises(StopError):
        fit_mapped(settings, tmp_path / "saved", stop)
    refuse_to_read(monkeypatch)
    result = fit_mapped(settings, tmp_path / "saved")
    assert result.resumed_from == 4
    assert train_tiny.weights(result) == in_memory[0]


def test_no_step_is_read_before_the_first_batch(
    settings: JobSettings,
    in_memory: tuple[bytes, list[Losses]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The rows become zeros of the same size and time, so reading them would show."""
    fit_mapped(settings, tmp_path / "saved")
    for rows in settings.run.cache_folder.glob("steps/*/rows"):
        found = rows.stat()
        rows.chmod(0o644)
        rows.write_bytes(bytes(found.st_size))
        os.utime(rows, ns=(found.st_atime_ns, found.st_mtime_ns))
    refuse_to_read(monkeypatch)
    result = fit_mapped(settings, tmp_path / "saved")
    assert result.resumed_from == UPDATES and result.history == ()
    assert train_tiny.weights(result) == in_memory[0]


def test_only_chosen_tasks_are_trained_and_held_out(settings: JobSettings) -> None:
    data = job_data.open_data(select_tasks(settings, "left"))
    assert list(data.train) == [e for e in TRAIN if e.metadata.task == "left"]
    assert list(data.validation) == HELD_OUT[:1]
    assert data.held_out_steps is not None
    assert data.train_steps.tasks == data.held_out_steps.tasks == ("left",)
    assert len(data.train_steps.steps.starts) == data.train.num_steps
    assert data.size_text == "6 train and 1 held-out episodes, 1 tasks"


def test_tasks_without_held_out_episodes_have_no_held_out_steps(
    settings: JobSettings, tmp_path: Path
) -> None:
    splits = {"train": [TRAIN], "val": [HELD_OUT[:1]]}
    dataset_version.write(tmp_path / "other", splits)
    other = select_tasks(settings, "right", location=str(tmp_path / "other"))
    data = job_data.open_data(other)
    assert data.held_out_steps is None and len(data.validation) == 0


def test_tasks_that_the_dataset_lacks_are_refused_and_existing_ones_named(
    settings: JobSettings,
) -> None:
    with pytest.raises(DatasetError) as e:
        job_data.open_data(select_tasks(settings, "nope"))
    assert str(e.value) == (
        f"{settings.dataset.location}: expected episodes of ['nope'], got episodes of "
        "['left', 'right']; name other --tasks or another --dataset"
    )
    assert cached(settings) == []


def test_task_with_a_comma_that_was_cut_in_two_is_told_to_be_quoted(
    settings: JobSettings, tmp_path: Path
) -> None:
    polite = [
        dataclasses.replace(
            e, metadata=dataclasses.replace(e.metadata, task="pick up, please")
        )
        for e in (TRAIN[0], HELD_OUT[0])
    ]
    splits = {"train": [polite[:1]], "val": [polite[1:]]}
    dataset_version.write(tmp_path / "polite", splits)
    cut = select_tasks(settings, "pick up", "please", location=str(tmp_path / "polite"))
    with pytest.raises(DatasetError, match="one with a comma in double quotes"):
        job_data.require_trainable(cut)


@pytest.fixture
def torn(settings: JobSettings) -> JobSettings:
    """The same settings, with shards that cannot be read."""
    for shard in Path(settings.dataset.location).rglob("*.tfrecord"):
        shard.write_bytes(b"torn")
    return settings


def test_preset_that_does_not_fit_is_refused_before_a_shard_is_read(
    torn: JobSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ShardMismatchError):
        job_data.open_data(torn)
    monkeypatch.setattr(
        feasible, "available_bytes", lambda device: (10**9, "available here")
    )
    large = TrainConfig(preset="vertex").for_platform("cpu")
    with pytest.raises(MemoryShortError, match=r"got 1\.00 GB available here"):
        job_data.require_trainable(dataclasses.replace(torn, train=large))
    assert cached(torn) == []


def test_preset_that_fits_is_accepted_before_a_shard_is_read(torn: JobSettings) -> None:
    job_data.require_trainable(torn)
    job_data.require_trainable(select_tasks(torn, "left", "right"))


def test_task_that_the_dataset_lacks_is_refused_before_a_shard_is_read(
    torn: JobSettings,
) -> None:
    assert job_data.known_tasks(torn) == ("left", "right")
    with pytest.raises(DatasetError, match=r"expected episodes of \['nope'\]"):
        job_data.require_trainable(select_tasks(torn, "nope"))


def test_limits_of_another_number_of_channels_are_refused_before_a_shard_is_read(
    torn: JobSettings,
) -> None:
    publish = PublishSettings(action_minimum=(-1.0, -1.0, 0.0))
    with pytest.raises(ActionLimitsError, match=r"the 2 channels of an action, got 3"):
        job_data.require_trainable(dataclasses.replace(torn, publish=publish))


ROBOT = EvaluatingRobot("metaworld", "sawyer", build.control_hz(TRAIN))


def record_otherwise(episode: Episode, **changes: Any) -> Episode:
    """The episode as another robot would have recorded it."""
    metadata = dataclasses.replace(episode.metadata, **changes)
    return dataclasses.replace(episode, metadata=metadata)


@pytest.mark.parametrize("split", ["train", "val"])
@pytest.mark.parametrize("model", ["panda", ""])
def test_one_episode_of_another_robot_among_many_is_refused_before_training(
    settings: JobSettings, tmp_path: Path, split: str, model: str
) -> None:
    """A sample of the episodes would not find it."""
    splits = {"train": training_episodes.episodes(60), "val": HELD_OUT}
    other = record_otherwise(splits[split][1], robot_model=model)
    splits[split] = [splits[split][0], other, *splits[split][2:]]
    dataset_version.write(tmp_path / "other", {s: [e] for s, e in splits.items()})
    chosen = select_tasks(settings, location=str(tmp_path / "other"))
    data = job_data.open_data(chosen)
    name = other.metadata.episode_id
    with pytest.raises(DatasetError, match=rf"sawyer \(61\), {model} ?\(1: {name}\)"):
        job_data.require_exportable(chosen, data, ROBOT)


def test_episode_of_another_control_rate_is_told_before_training(
    settings: JobSettings, tmp_path: Path
) -> None:
    times = TRAIN[3].steps["t_monotonic_ns"]
    steps = {**TRAIN[3].steps, "t_monotonic_ns": times[0] + 3 * (times - times[0])}
    slow = dataclasses.replace(TRAIN[3], steps=steps)
    splits = {"train": [[*TRAIN[:3], slow, *TRAIN[4:]]], "val": [HELD_OUT]}
    dataset_version.write(tmp_path / "other", splits)
    chosen = select_tasks(settings, location=str(tmp_path / "other"))
    (note,) = job_data.require_exportable(chosen, job_data.open_data(chosen), ROBOT)
    assert note == (
        "1 of 14 episodes have 26.7 control steps per second and not 80: "
        f"{slow.metadata.episode_id}"
    )


def test_data_that_can_become_a_package_need_no_note(settings: JobSettings) -> None:
    data = job_data.open_data(settings)
    assert job_data.require_exportable(settings, data, ROBOT) == []


def test_model_learns_actions_in_shares_of_the_largest_that_is_allowed(
    settings: JobSettings,
) -> None:
    publish = dataclasses.replace(
        settings.publish, action_minimum=(-100.0, 0.0), action_maximum=(90.0, 255.0)
    )
    wide = dataclasses.replace(settings, publish=publish)
    for chosen, reach in ((settings, [1, 1]), (wide, [100, 255])):
        found = job_data.open_data(chosen).train_steps.statistics.action_reach
        np.testing.assert_array_equal(found, np.array(reach, np.float32))


def test_limits_become_those_of_a_robot_that_accepts_less(
    settings: JobSettings,
) -> None:
    wide = dataclasses.replace(ROBOT, limits=ActionRange((-2.0, -1.0), (2.0, 1.0)))
    for robot in (None, ROBOT, wide):
        assert job_data.limit_actions(settings, robot, 2) == (settings, [])
    narrow = dataclasses.replace(ROBOT, limits=ActionRange((-1.0, 0.0), (1.0, 2.0)))
    limited, notes = job_data.limit_actions(settings, narrow, 2)
    assert limited.publish.limits(2) == ActionLimits((-1.0, 0.0), (1.0, 1.0))
    assert notes == ["action 1 is limited to 0 to 1, as metaworld accepts"]
    none = dataclasses.replace(ROBOT, limits=ActionRange((-1.0, 2.0), (1.0, 3.0)))
    with pytest.raises(
        ActionLimitsError, match=r"within 2 to 3 in channel 1, .* got -1 to 1;"
    ):
        job_data.limit_actions(settings, none, 2)


def test_rate_of_another_robot_is_refused_before_training(
    settings: JobSettings,
) -> None:
    data = job_data.open_data(settings)
    with pytest.raises(UnsuitableRobotError, match="control steps per second"):
        job_data.require_exportable(
            settings, data, dataclasses.replace(ROBOT, control_hz=1.0)
        )


def test_tasks_without_held_out_episodes_are_told_or_refused_before_training(
    settings: JobSettings, tmp_path: Path
) -> None:
    splits = {"train": [TRAIN], "val": [HELD_OUT[:1]]}
    dataset_version.write(tmp_path / "other", splits)
    location = str(tmp_path / "other")
    both = select_tasks(settings, location=location)
    notes = job_data.require_exportable(both, job_data.open_data(both), ROBOT)
    assert notes == ["no episode is held out of right"]
    other = select_tasks(settings, "right", location=location)
    with pytest.raises(DatasetError, match=r"held-out episodes of right, .* got none"):
        job_data.require_exportable(other, job_data.open_data(other), ROBOT)


def test_actions_that_are_mostly_outside_their_limits_are_refused_before_training(
    settings: JobSettings,
) -> None:
    data = job_data.open_data(settings)
    narrow = PublishSettings(action_minimum=(-1e-9,), action_maximum=(1e-9,))
    with pytest.raises(ActionLimitsError, match="of steps outside"):
        job_data.require_exportable(
            dataclasses.replace(settings, publish=narrow), data, ROBOT
        )


def test_episodes_longer_than_a_robot_drives_are_told(
    settings: JobSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(build, "SAFETY_MAX_STEPS", 3)
    data = job_data.open_data(settings)
    (note,) = job_data.require_exportable(settings, data, ROBOT)
    assert (
        note
        == "14 of 14 episodes are longer than the 3 steps after which a robot stops"
    )


def test_dataset_without_a_description_is_refused_before_a_shard_is_read(
    torn: JobSettings,
) -> None:
    features = Path(torn.dataset.location) / "features.json"
    features.unlink()
    with pytest.raises(DatasetError, match=r"features\.json.*copy the whole folder"):
        job_data.require_trainable(torn)


def test_dataset_that_differs_from_its_description_is_refused(
    settings: JobSettings,
) -> None:
    features = Path(settings.dataset.location) / "features.json"
    features.write_bytes(tfds_features.features_json(EpisodeSpec(1, 1)))
    with pytest.raises(DatasetError, match=r"as the dataset says, got EpisodeSpec"):
        job_data.open_data(settings)
    assert cached(settings) == []


@pytest.mark.parametrize("split", ["train", "val"])
def test_shard_that_changed_between_two_runs_is_refused(
    settings: JobSettings, tmp_path: Path, split: str
) -> None:
    job_data.open_data(settings)
    path = tmp_path / "version" / split / "shard-00000.tfrecord"
    raw = bytearray(path.read_bytes())
    raw[-60] ^= 1
    path.write_bytes(raw)
    with pytest.raises(ShardMismatchError, match=f"{split}/shard-00000"):
        job_data.open_data(settings)
