"""Robots run int8 only if it succeeds as often as f32 on the same episodes."""

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
def test_int8_may_lose_at_most_two_percentage_points(
    f32: int, int8: int, chosen: str
) -> None:
    choice = StepChoice(EVALUATION, rate(f32), rate(int8))
    assert choice.chosen == chosen
    assert choice.text().startswith(f"{chosen}: int8 {int8} and f32 {f32} of 250")


def test_comparison_and_evaluation_share_no_episode() -> None:
    compared = int8_choice.comparison_trials(EVALUATION)
    assert compared.episodes == EVALUATION.episodes
    seeds = [
        set(range(t.first_seed, t.first_seed + 125)) for t in (EVALUATION, compared)
    ]
    assert not seeds[0] & seeds[1]


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> BuiltPackage:
    """A package whose robots run int8, as the job first builds it."""
    return exported_package.copy(tmp_path_factory.mktemp("job") / "pi5-cpu")


def stand_in(successes: dict[str, SuccessRate]) -> Callable[[str], SuccessRate]:
    """Stands in for a robot: returns the given success of each step form."""
    return lambda form: successes[form]


@pytest.mark.parametrize(
    ("int8", "chosen", "path"),
    [
        (249, "int8", "functions/step_int8.tflite"),
        (240, "f32", "functions/step.tflite"),
    ],
)
def test_package_runs_the_better_step_form_and_states_the_numbers(
    built: BuiltPackage, tmp_path: Path, int8: int, chosen: str, path: str
) -> None:
    shutil.copytree(built.folder, tmp_path / "pi5-cpu")
    copy = dataclasses.replace(built, folder=tmp_path / "pi5-cpu")
    assert int8_choice.has_both_forms(copy)
    trials = int8_choice.comparison_trials(EVALUATION)
    successes = stand_in({"int8": rate(int8), "f32": rate(250)})
    changed, choice = int8_choice.choose_step(copy, trials, successes)
    assert choice.chosen == chosen
    manifest = verification.verify_integrity(changed.folder, "pi5-cpu").manifest
    assert manifest.digest == changed.digest
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


def test_step_forms_with_other_numbers_of_episodes_are_not_compared(
    built: BuiltPackage,
) -> None:
    successes = stand_in({"int8": rate(9, 10), "f32": rate(250)})
    with pytest.raises(ValueError, match="same episodes"):
        int8_choice.choose_step(built, EVALUATION, successes)
    assert verification.verify_integrity(built.folder, "pi5-cpu").digest == built.digest
