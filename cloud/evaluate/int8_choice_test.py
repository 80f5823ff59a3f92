"""Int8 drives robots only where it succeeds as often as f32 on the same episodes."""

import dataclasses
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from cloud.evaluate import int8_choice
from cloud.evaluate.int8_choice import StepChoice
from cloud.evaluate.rollouts import Trials
from cloud.evaluate.success_rate import SuccessRate
from cloud.package.build import BuiltPackage
from cloud.testing import exported_package
from release import verification

EVALUATION = Trials(
    environment="metaworld",
    tasks=("reach-v3", "push-v3"),
    episodes_per_task=125,
    first_seed=10000,
    max_steps=500,
)


def rate(successes: int, episodes: int = 250) -> SuccessRate:
    return SuccessRate(successes, episodes)


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
    choice = StepChoice(EVALUATION, rate(f32), rate(int8))
    assert choice.chosen == chosen
    assert choice.text().startswith(f"{chosen}: int8 {int8} and f32 {f32} of 250")


def test_comparison_and_evaluation_share_no_episode() -> None:
    beside = int8_choice.trials_beside(EVALUATION)
    assert beside.episodes == EVALUATION.episodes
    seeds = [set(range(t.first_seed, t.first_seed + 125)) for t in (EVALUATION, beside)]
    assert not seeds[0] & seeds[1]


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> BuiltPackage:
    """A package whose robots run int8, as the job makes it first."""
    return exported_package.copy(tmp_path_factory.mktemp("job") / "pi5-cpu")


def driven(successes: dict[str, SuccessRate]) -> Callable[[str], SuccessRate]:
    """A robot on which each form of the step succeeds so often."""
    return lambda form: successes[form]


@pytest.mark.parametrize(
    ("int8", "chosen", "path"),
    [
        (249, "int8", "functions/step_int8.tflite"),
        (240, "f32", "functions/step.tflite"),
    ],
)
def test_package_runs_what_the_episodes_favour_and_tells_the_numbers(
    built: BuiltPackage, tmp_path: Path, int8: int, chosen: str, path: str
) -> None:
    shutil.copytree(built.folder, tmp_path / "pi5-cpu")
    copy = dataclasses.replace(built, folder=tmp_path / "pi5-cpu")
    assert int8_choice.has_both(copy)
    trials = int8_choice.trials_beside(EVALUATION)
    successes = driven({"int8": rate(int8), "f32": rate(250)})
    settled, choice = int8_choice.settle(copy, trials, successes)
    assert choice.chosen == chosen
    manifest = verification.verify_integrity(settled.folder, "pi5-cpu").manifest
    assert manifest.digest == settled.digest
    assert manifest.functions["step"].path == path
    assert manifest.metadata.metrics["export_closed_loop"] == {
        "chosen": chosen,
        "largest_loss": 0.02,
        "environment": "metaworld",
        "first_seed": 10125,
        "episodes_per_task": 125,
        "max_steps": 500,
        "successes": {"f32": 250, "int8": int8},
        "episodes": {"f32": 250, "int8": 250},
    }


def test_forms_that_drove_other_episodes_are_not_compared(built: BuiltPackage) -> None:
    successes = driven({"int8": rate(9, 10), "f32": rate(250)})
    with pytest.raises(ValueError, match="same episodes"):
        int8_choice.settle(built, EVALUATION, successes)
    assert verification.verify_integrity(built.folder, "pi5-cpu").digest == built.digest
