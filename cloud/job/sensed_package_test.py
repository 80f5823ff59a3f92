"""From a dataset with camera and sound to a package that reads both, or none."""

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cloud.errors import BlindRobotError
from cloud.evaluate.settings import NO_ENVIRONMENT, EvaluateSettings
from cloud.job import data as job_data
from cloud.job import training
from cloud.job.settings import DatasetSettings, JobSettings, RunSettings
from cloud.package import build, export
from cloud.testing import (
    dataset_version,
    exported_package,
    train_tiny,
    training_episodes,
)
from cloud.train import mesh, trained_model
from cloud.train.update import Trainer
from model import senses
from model.testing.episodes import make_only, shorten_replay
from model.wavecore import WaveCore
from release import verification

TARGET = "hailo-onnx"
DATA = {
    "fast_update": "window",
    "consolidate_begin": "memories",
    "consolidate_step": "memories",
    "evaluate": "episodes",
}
EPISODES = [training_episodes.sensed_episode(k) for k in range(6)]

Packaged = tuple[job_data.Data, WaveCore, float | None, build.BuiltPackage]


def settings(folder: Path, **changes: Any) -> JobSettings:
    """Those of a job on a small dataset, as far as its data ask for them."""
    splits = {"train": [EPISODES[:4]], "val": [EPISODES[4:]]}
    if not (folder / "version").exists():
        dataset_version.write(folder / "version", splits)
    return JobSettings(
        dataset=DatasetSettings(location=str(folder / "version")),
        train=train_tiny.config(2, **changes).for_platform("cpu"),
        run=RunSettings(cache_dir=str(folder / "cache")),
    )


@pytest.fixture(
    scope="module",
    params=["evaluate", pytest.param("all", marks=pytest.mark.long)],
)
def packaged(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Packaged:
    """Data, the model before its first update, its held-out error, and its package."""
    learning = DATA if request.param == "all" else [request.param]
    folder = tmp_path_factory.mktemp("run")
    given = settings(folder)
    data = job_data.open_data(given)
    steps = (data.train_steps, data.held_out_steps)
    trainer = Trainer(*steps, given.train, mesh.single())
    state = trainer.initial_state()
    model = trainer.model(state)
    with make_only(*learning), shorten_replay():
        built = build.export_and_build(
            model,
            data.train,
            data.validation.one_of_each_task(),
            data.tasks,
            folder / "export" / TARGET,
            dataclasses.replace(exported_package.FACTS, target=TARGET),
        )
    return data, model, trainer.validate(state), built


def test_model_has_the_senses_of_the_dataset_and_is_validated_with_them(
    packaged: Packaged,
) -> None:
    data, model, held_out_error, _ = packaged
    assert senses.shapes(data.model) == {"image": (16, 16, 3), "audio_mel": (3,)}
    assert model.config == data.model
    assert data.held_out_steps is not None
    assert np.any(data.held_out_steps.steps.places)
    assert held_out_error is not None and np.isfinite(held_out_error)


def test_package_states_the_senses_of_its_robot_and_functions(
    packaged: Packaged,
) -> None:
    manifest = verification.verify_integrity(packaged[-1].folder, TARGET).manifest
    observed = manifest.robot.observation
    assert {n: (x.shape, x.dtype) for n, x in observed.items()} == {
        "state": ((4,), "float32"),
        "image": ((16, 16, 3), "uint8"),
        "audio_mel": ((3,), "float32"),
    }
    taken = {x.name: x.shape for x in manifest.functions["step"].inputs}
    assert taken["observation_image"] == (16 * 16 * 3,)
    assert "evaluate" in manifest.functions
    for name, data in DATA.items():
        if name not in manifest.functions:
            continue
        inputs = {x.name: x for x in manifest.functions[name].inputs}
        assert inputs[f"{data}/image"].shape[-3:] == (16, 16, 3), name
        assert inputs[f"{data}/image"].dtype == "uint8", name
        assert inputs[f"{data}/audio_mel"].shape[-1] == 3, name
    checks: Any = manifest.metadata.metrics["export_checks"]
    assert checks.keys() == {f.path for f in manifest.functions.values()}


def test_model_is_restored_from_a_package_with_senses(packaged: Packaged) -> None:
    _, model, _, built = packaged
    again = export._model(verification.verify_integrity(built.folder, TARGET))
    assert again.config == model.config


def test_senses_that_cannot_be_replayed_are_refused_before_a_shard_is_read(
    tmp_path: Path,
) -> None:
    simulated = settings(tmp_path)
    job_data.require_trainable(simulated)  # whose robot is asked for its senses
    replayed = EvaluateSettings(environment=NO_ENVIRONMENT)
    given = dataclasses.replace(simulated, evaluate=replayed)
    for shard in (tmp_path / "version").rglob("*.tfrecord"):
        shard.write_bytes(b"torn")
    match = r"with image and audio_mel.*got a replay of episodes.*--nosenses"
    with pytest.raises(BlindRobotError, match=match):
        training.follow(given)
    assert not given.run.cache_folder.exists()
    job_data.require_trainable(settings(tmp_path, senses=False))


def test_nosenses_trains_only_on_the_state(tmp_path: Path) -> None:
    given = settings(tmp_path, senses=False)
    data = job_data.open_data(given)
    make = trained_model.wavecore(given.train, data.train_steps)
    statistics = data.train_steps.statistics
    model = make(*data.train_steps.sizes, statistics, np.random.default_rng(0))
    assert model.config == data.model and senses.shapes(data.model) == {}
    assert data.train_steps.steps.places is None
