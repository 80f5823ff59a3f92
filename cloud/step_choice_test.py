"""Int8 drives robots only where it succeeds as often as f32 on the same episodes."""

import dataclasses
import json
from pathlib import Path

import pytest

from cloud import package_build, step_choice
from cloud.evaluation_report import EvaluationReport, TaskResult
from cloud.package_build import BuiltPackage
from cloud.success_rate import SuccessRate
from cloud.testing import package_facts, training_episodes
from model import config, testing
from release import verify


def report(successes: int, episodes: int = 250) -> EvaluationReport:
    return EvaluationReport(
        package_digest="a" * 64,
        dataset_manifest="d" * 64,
        environment="metaworld",
        first_seed=10000,
        episodes_per_task=episodes,
        max_steps=500,
        tasks={"reach-v3": TaskResult(SuccessRate(successes, episodes), 60.0)},
    )


@pytest.mark.parametrize(
    ("f32", "int8", "chosen"),
    [
        (250, 250, "int8"),
        (250, 245, "int8"),
        (250, 244, "f32"),
        (200, 250, "int8"),
        (0, 0, "int8"),
    ],
)
def test_int8_may_lose_two_points_and_no_more(f32: int, int8: int, chosen: str) -> None:
    assert step_choice.choose(report(f32), report(int8)).chosen == chosen


def test_reports_of_other_episodes_are_not_compared() -> None:
    other = dataclasses.replace(report(250), first_seed=20000)
    with pytest.raises(ValueError, match="same tasks, seeds"):
        step_choice.choose(report(250), other)


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> BuiltPackage:
    """A package whose robots run int8, as the job makes it first."""
    return package_build.export_and_build(
        testing.model(config.tiny(state_size=4, action_size=2, task_count=2)),
        training_episodes.episodes(6),
        training_episodes.episodes(4, first=100),
        training_episodes.TASKS,
        tmp_path_factory.mktemp("job") / "pi5-cpu",
        package_facts.FACTS,
        preferred_step="int8",
    )


def step_path(built: BuiltPackage) -> str:
    return (
        verify.intact_package(built.folder, "pi5-cpu").manifest.functions["step"].path
    )


def test_package_settles_on_what_the_episodes_say(
    built: BuiltPackage, tmp_path: Path
) -> None:
    record = tmp_path / "step_choice.json"
    assert step_choice.has_both(built)
    kept, choice = step_choice.settle(built, report(249), lambda: report(250), record)
    assert (kept, choice.chosen) == (built, "int8")
    assert step_path(kept) == "functions/step_int8.tflite"
    assert "int8 249 and f32 250 of 250 episodes" in choice.text()

    changed, choice = step_choice.settle(
        built, report(240), lambda: report(250), record
    )
    assert changed.digest != built.digest
    assert step_path(changed) == "functions/step.tflite"
    assert not step_choice.has_both(changed)
    told = json.loads(record.read_bytes())
    assert told["chosen"] == choice.chosen == "f32"
    assert told["steps"]["int8"] == {"successes": 240, "episodes": 250}
