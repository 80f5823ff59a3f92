"""Tests of the verdict: each gate from both sides, and what is never blessed."""

from typing import Any

import pytest

from cloud.evaluate.report import EvaluationReport, TaskResult
from cloud.evaluate.success_rate import SuccessRate
from cloud.evaluate.verdict import Baseline, Decision, Gates, Verdict, decide
from cloud.testing import records

TASKS = ("drawer-close-v3", "push-v3", "reach-v3")


def report(
    successes: int = 49, episodes: int = 50, **changes: object
) -> EvaluationReport:
    """A report that passes every default gate, unless changed."""
    result = TaskResult(SuccessRate(successes, episodes), 60.0)
    tasks = dict.fromkeys(TASKS, result)
    return records.evaluation_report(
        **{"tasks": tasks, "episodes_per_task": episodes} | changes
    )


def with_task(task: str, successes: int, episodes: int = 50) -> EvaluationReport:
    tasks = dict(report().tasks)
    tasks[task] = TaskResult(SuccessRate(successes, episodes), 60.0)
    return report(tasks=tasks)


def failed_gates(decision: Decision) -> list[str]:
    return [f.gate for f in decision.findings if f.verdict is not Verdict.BLESSED]


def test_first_package_of_a_channel_needs_no_baseline() -> None:
    decision = decide(report(), Gates(), None)
    assert decision.verdict is Verdict.BLESSED
    assert any("no package yet" in reason for reason in decision.reasons)


def test_verdict_names_package_and_report() -> None:
    judged = report()
    decision = decide(judged, Gates(), None)
    assert decision.package_digest == judged.package_digest
    assert decision.report_digest == judged.digest


def test_low_success_is_refused_with_the_numbers() -> None:
    decision = decide(report(successes=20), Gates(), None)
    assert decision.verdict is Verdict.REFUSED
    assert "60 of 150 episodes" in decision.reasons[0]
    assert "required 0.900" in decision.reasons[0]


def test_one_poor_task_refuses_a_good_mean() -> None:
    decision = decide(with_task("push-v3", 25), Gates(minimum_success=0.5), None)
    assert decision.verdict is Verdict.REFUSED
    assert failed_gates(decision) == ["success on push-v3"]


def test_two_episodes_are_too_few_to_bless() -> None:
    decision = decide(report(successes=2, episodes=2), Gates(), None)
    assert decision.verdict is Verdict.UNDECIDED
    assert "too few evaluation episodes" in decision.reasons[0]
    assert "--evaluation_episodes" in decision.reasons[0]


def test_no_episodes_are_undecided() -> None:
    assert decide(report(0, 0), Gates(), None).verdict is Verdict.UNDECIDED
    assert decide(report(tasks={}), Gates(), None).verdict is Verdict.UNDECIDED


@pytest.mark.parametrize(
    "metric", ["held_out_loss", "step_latency_p50_us", "safety_violations"]
)
def test_missing_metric_is_never_blessed(metric: str) -> None:
    missing: dict[str, Any] = {metric: None}
    decision = decide(report(**missing), Gates(), None)
    assert decision.verdict is Verdict.UNDECIDED
    assert "was not measured" in decision.reasons[0]
    held_out = "held-out episodes in the dataset" in decision.reasons[0]
    assert held_out == (metric == "held_out_loss")


def test_loss_latency_and_violations_over_their_gates_are_refused() -> None:
    inexact = report(held_out_loss=0.06)
    assert decide(inexact, Gates(), None).verdict is Verdict.REFUSED
    lenient = Gates(maximum_held_out_loss=0.1)
    assert decide(inexact, lenient, None).verdict is Verdict.BLESSED
    slow = report(step_latency_p50_us=20_000.0)
    assert decide(slow, Gates(), None).verdict is Verdict.REFUSED
    unsafe = report(safety_violations=1)
    assert decide(unsafe, Gates(), None).verdict is Verdict.REFUSED


def test_package_as_good_as_the_channels_is_blessed() -> None:
    many = {task: TaskResult(SuccessRate(98, 100), 60.0) for task in TASKS}
    judged = report(tasks=many, episodes_per_task=100)
    decision = decide(judged, Gates(), Baseline("b" * 64, judged))
    assert decision.verdict is Verdict.BLESSED


def test_clearly_worse_than_the_channel_is_refused() -> None:
    before = report(successes=50)
    gates = Gates(minimum_success=0.5, minimum_task_success=0.5)
    decision = decide(report(successes=38), gates, Baseline("b" * 64, before))
    assert decision.verdict is Verdict.REFUSED
    assert "against the channel" in failed_gates(decision)


def test_one_much_worse_task_is_refused_although_the_mean_is_allowed() -> None:
    before = report(successes=50)
    gates = Gates(
        minimum_success=0.5, minimum_task_success=0.3, non_inferiority_margin=1.0
    )
    decision = decide(with_task("push-v3", 30), gates, Baseline("b" * 64, before))
    assert decision.verdict is Verdict.REFUSED
    assert failed_gates(decision) == ["against the channel on push-v3"]


def test_too_few_episodes_to_compare_are_undecided() -> None:
    gates = Gates(minimum_success=0.1, minimum_task_success=0.1)
    judged = report(2, 2)
    decision = decide(judged, gates, Baseline("b" * 64, judged))
    assert decision.verdict is Verdict.UNDECIDED
    assert failed_gates(decision) == ["against the channel"]


def test_baseline_that_could_not_run_is_undecided() -> None:
    decision = decide(report(), Gates(), Baseline("b" * 64, None, "no such tar"))
    assert decision.verdict is Verdict.UNDECIDED
    assert "no such tar" in decision.reasons[0]


def test_baseline_of_other_seeds_is_undecided() -> None:
    other = report(first_seed=0)
    decision = decide(report(), Gates(), Baseline("b" * 64, other))
    assert decision.verdict is Verdict.UNDECIDED
    assert "other tasks, seeds or data" in decision.reasons[0]


def test_a_failed_gate_outweighs_an_undecided_one() -> None:
    judged = report(successes=10, held_out_loss=None)
    assert decide(judged, Gates(), None).verdict is Verdict.REFUSED


def test_gates_out_of_range_are_refused() -> None:
    with pytest.raises(ValueError, match="minimum_success"):
        Gates(minimum_success=1.5)
    with pytest.raises(ValueError, match="non_inferiority_margin"):
        Gates(non_inferiority_margin=-0.1)
