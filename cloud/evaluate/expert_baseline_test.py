"""Tests of the expert's success: it is used only for the trials it was measured on."""

import dataclasses
from pathlib import Path

import pytest

from cloud.errors import RolloutSummaryError
from cloud.evaluate import expert_baseline
from cloud.evaluate.report import TaskResult
from cloud.evaluate.rollouts import Rollouts, Trials
from cloud.evaluate.success_rate import SuccessRate

TRIALS = Trials("metaworld", ("push-v3", "reach-v3"), 50, 10000, 500)
ROLLOUTS = Rollouts(
    package_digest=None,
    tasks={
        "push-v3": TaskResult(SuccessRate(50, 50), 60.0),
        "reach-v3": TaskResult(SuccessRate(49, 50), 40.0),
    },
    step_latency_p50_us=80.0,
    step_latency_p99_us=100.0,
    steps=5000,
    missed_deadlines=0,
    safety_violations=0,
)


def write(tmp_path: Path) -> Path:
    path = tmp_path / "expert.json"
    path.write_bytes(expert_baseline.encode(TRIALS, ROLLOUTS))
    return path


def test_success_is_found_for_the_same_trials(tmp_path: Path) -> None:
    assert expert_baseline.read(write(tmp_path), TRIALS) == {
        "push-v3": SuccessRate(50, 50),
        "reach-v3": SuccessRate(49, 50),
    }


def test_success_is_found_for_some_of_the_tasks(tmp_path: Path) -> None:
    one = dataclasses.replace(TRIALS, tasks=("reach-v3",))
    found = expert_baseline.read(write(tmp_path), one)
    assert found == {"reach-v3": SuccessRate(49, 50)}


@pytest.mark.parametrize(
    "changes",
    [{"first_seed": 0}, {"episodes_per_task": 2}, {"tasks": ("pick-place-v3",)}],
)
def test_no_success_is_found_for_other_trials(
    tmp_path: Path, changes: dict[str, object]
) -> None:
    other = dataclasses.replace(TRIALS, **changes)  # type: ignore[arg-type]
    assert expert_baseline.read(write(tmp_path), other) is None


@pytest.mark.parametrize("raw", [b"", b"{}", b'{"schema_version":2}', b"[]"])
def test_malformed_baseline_raises_rollout_summary_error(
    tmp_path: Path, raw: bytes
) -> None:
    path = tmp_path / "expert.json"
    path.write_bytes(raw)
    with pytest.raises(RolloutSummaryError, match=r"expert\.json"):
        expert_baseline.read(path, TRIALS)
