"""Evaluation reports for tests, alike but for what a test changes."""

from typing import Any

from cloud.evaluate.report import EvaluationReport, TaskResult
from cloud.evaluate.success_rate import SuccessRate


def report(**changes: Any) -> EvaluationReport:
    """A report that passes every default gate, unless changed."""
    fields: dict[str, Any] = {
        "package_digest": "a" * 64,
        "dataset_manifest": "d" * 64,
        "environment": "metaworld",
        "first_seed": 10000,
        "episodes_per_task": 50,
        "max_steps": 500,
        "tasks": {"reach-v3": TaskResult(SuccessRate(49, 50), 61.0)},
        "held_out_loss": 0.02,
        "step_latency_p50_us": 80.0,
        "step_latency_p99_us": 120.0,
        "steps": 3050,
        "missed_deadlines": 0,
        "safety_violations": 0,
    }
    return EvaluationReport(**(fields | changes))
