"""Tests of turning a trained model into a package for its robot."""

import dataclasses
import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, overload

import numpy as np
import pytest

from cloud.errors import DatasetError
from cloud.package import build as package_build
from cloud.package.build import BuiltPackage
from cloud.testing import exported_package, training_episodes
from model.export import targets
from release import canary, package, verification
from release.canary import Expectation
from rlds import example_codec, tfrecord
from rlds.episode import Episode


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> BuiltPackage:
    """A package whose robots run int8; tests that change it use a copy."""
    return exported_package.copy(tmp_path_factory.mktemp("exported") / "pi5-cpu")


@pytest.fixture
def build(
    exported: BuiltPackage, monkeypatch: pytest.MonkeyPatch
) -> Callable[[Path], BuiltPackage]:
    """Builds the package again, without conversion and learning functions."""
    paths = {"f32": "functions/step.tflite", "int8": "functions/step_int8.tflite"}
    converted = {
        form: (exported.folder / path).read_bytes() for form, path in paths.items()
    }
    monkeypatch.setattr(
        "model.export.targets.litert_step.convert", lambda model, *, learns: converted
    )
    monkeypatch.setattr("model.export.export.functions.learning", lambda model: {})
    return exported_package.export


@pytest.fixture
def built(exported: BuiltPackage, tmp_path: Path) -> BuiltPackage:
    shutil.copytree(exported.folder, tmp_path / "pi5-cpu")
    return dataclasses.replace(exported, folder=tmp_path / "pi5-cpu")


def canary_error(folder: Path) -> float:
    return canary.read(folder / canary.FILE).action_error


def test_package_is_whole_and_the_same_after_a_killed_attempt(
    build: Callable[[Path], BuiltPackage], tmp_path: Path
) -> None:
    whole = build(tmp_path / "whole" / "pi5-cpu")
    killed = tmp_path / "killed" / "pi5-cpu"
    draft = killed.with_name(".draft-pi5-cpu")
    for folder in (killed, draft):
        folder.mkdir(parents=True)
        (folder / "leftover").write_text("half")
    assert build(killed).digest == whole.digest
    assert not draft.exists()
    intact = verification.verify_integrity(killed, "pi5-cpu")
    assert intact.digest == whole.digest
    assert intact.manifest.robot.control_hz == 80.0
    assert intact.manifest.robot.tasks == training_episodes.TASKS
    assert intact.manifest.robot.robot_model == "sawyer"
    metadata = intact.manifest.metadata
    assert (metadata.dataset_name, metadata.dataset_version) == (
        "metaworld_demo",
        "0.1.0",
    )
    assert metadata.metrics["held_out_loss"] == 0.1


def test_package_states_the_results_of_the_check_of_every_file(
    exported: BuiltPackage,
) -> None:
    manifest = verification.verify_integrity(exported.folder, "pi5-cpu").manifest
    metrics: Mapping[str, Any] = manifest.metadata.metrics
    paths = {function.path for function in manifest.functions.values()}
    assert metrics["export_checks"].keys() == paths
    assert metrics["export_checks"]["functions/step.tflite"]["step_error"] <= 1e-5
    assert metrics["export_left_out"] == {}


def test_canary_states_the_error_of_the_step_on_its_episodes(
    exported: BuiltPackage,
) -> None:
    intact = verification.verify_integrity(exported.folder, "pi5-cpu")
    records = tfrecord.read_records(intact.path(package.CANARY), 1_000_000)
    steps = sum(example_codec.decode(record).num_steps for record in records)
    error: Any = intact.manifest.metadata.metrics["canary_action_error"]
    assert canary.read(intact.path(canary.FILE)) == Expectation(error, 1e-3, steps)


def test_preferred_step_can_be_changed_and_the_canary_follows(
    built: BuiltPackage, tmp_path: Path
) -> None:
    (built.folder / "provenance.intoto.jsonl").write_text("about another digest")
    functions = verification.verify_integrity(
        built.folder, "pi5-cpu"
    ).manifest.functions
    assert functions["step"] == functions["step_int8"]
    changed = package_build.prefer_step(built.folder, "f32")
    intact = verification.verify_integrity(built.folder, "pi5-cpu")
    assert intact.digest == changed.digest != built.digest
    functions = intact.manifest.functions
    assert functions["step"] == functions["step_f32"]
    metrics: Mapping[str, Any] = intact.manifest.metadata.metrics
    check = metrics["export_checks"]["functions/step.tflite"]
    assert canary_error(built.folder) == check["canary_action_error"]
    assert metrics["canary_action_error"] == check["canary_action_error"]
    assert sorted(p.name for p in tmp_path.iterdir()) == ["pi5-cpu"]
    assert not (built.folder / "provenance.intoto.jsonl").exists()


def test_step_form_that_a_package_lacks_leaves_it_unchanged(
    built: BuiltPackage,
) -> None:
    with pytest.raises(KeyError, match="step_int4"):
        package_build.prefer_step(built.folder, "int4")
    assert verification.verify_integrity(built.folder, "pi5-cpu").digest == built.digest


def test_targets_of_the_export_are_those_that_a_package_may_name() -> None:
    assert tuple(targets.TARGETS) == package.TARGETS


def test_canary_holds_one_episode_of_each_task() -> None:
    held_out = training_episodes.episodes(6)
    found = package_build.select_canary(held_out, training_episodes.TASKS)
    assert [e.metadata.task for e in found] == ["left", "right"]
    only = package_build.select_canary(held_out, ("right",))
    assert [e.metadata.task for e in only] == ["right"]


def test_control_rate_is_that_of_the_recordings() -> None:
    assert package_build.control_hz(training_episodes.episodes(3)) == 80.0


class ManyEpisodes(Sequence[Episode]):
    """Ten thousand episodes that record which of them are read."""

    def __init__(self) -> None:
        self.read: list[int] = []

    def __len__(self) -> int:
        return 10_000

    @overload
    def __getitem__(self, index: int) -> Episode: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Episode]: ...
    def __getitem__(self, index: int | slice) -> Episode | Sequence[Episode]:
        if isinstance(index, slice):
            raise TypeError("expected one episode at a time, got a slice")
        self.read.append(index)
        return training_episodes.episode(index)


def test_control_rate_is_read_from_few_evenly_spread_episodes() -> None:
    many = ManyEpisodes()
    assert package_build.control_hz(many) == 80.0
    assert len(many.read) == 32
    assert many.read[0] == 0 and many.read[-1] == 9_999
    assert np.diff(many.read).max() < 400


@pytest.mark.parametrize("length", [1, 4])
def test_recordings_in_which_no_time_passes_are_refused(length: int) -> None:
    recorded = training_episodes.episode(0, length)
    still = np.zeros(length, np.int64)
    frozen: Episode = dataclasses.replace(
        recorded, steps={**recorded.steps, "t_monotonic_ns": still}
    )
    with pytest.raises(DatasetError, match="t_monotonic_ns"):
        package_build.control_hz([frozen])
