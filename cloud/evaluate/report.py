"""The report of an evaluation of one package, as a record with a digest.

A verdict is about a report: the blessing names the digest of its bytes. A metric that
was not measured is None, never a number that looks good.
"""

from __future__ import annotations

import dataclasses
import hashlib
import math
from collections.abc import Mapping
from pathlib import Path

from base import canonical_json, json_fields
from base.errors import ContinuonError
from cloud.errors import EvaluationReportError
from cloud.evaluate.success_rate import SuccessRate, pool

SCHEMA_VERSION = 1
LIMIT_BYTES = 1024 * 1024
"""A task takes some hundred bytes."""


@dataclasses.dataclass(frozen=True)
class TaskResult:
    """Closed-loop outcome on one task."""

    success: SuccessRate
    mean_steps: float | None
    """Mean steps per episode; None without episodes."""


@dataclasses.dataclass(frozen=True)
class EvaluationReport:
    """Held-out loss and closed-loop success of one package."""

    package_digest: str
    manifest_digest: str
    """Digest of the dataset's manifest, 64 hex characters."""
    environment: str
    """Kind of simulated robot, such as `metaworld`."""
    first_seed: int
    episodes_per_task: int
    max_steps: int
    tasks: Mapping[str, TaskResult]
    held_out_loss: float | None = None
    step_latency_p50_us: float | None = None
    step_latency_p99_us: float | None = None
    steps: int = 0
    missed_deadlines: int | None = None
    safety_violations: int | None = None

    @property
    def success(self) -> SuccessRate:
        """Success over the episodes of every task."""
        return pool([result.success for result in self.tasks.values()])

    def same_trials(self, other: EvaluationReport) -> bool:
        """Tells whether both reports come from the same tasks, seeds and data."""
        return (
            set(self.tasks) == set(other.tasks)
            and self.environment == other.environment
            and self.first_seed == other.first_seed
            and self.episodes_per_task == other.episodes_per_task
            and self.max_steps == other.max_steps
            and self.manifest_digest == other.manifest_digest
        )

    def encode(self) -> bytes:
        """Returns the canonical bytes of the report."""
        return canonical_json.encode(
            {
                "schema_version": SCHEMA_VERSION,
                "package_digest": self.package_digest,
                "dataset_manifest": self.manifest_digest,
                "environment": self.environment,
                "first_seed": self.first_seed,
                "episodes_per_task": self.episodes_per_task,
                "max_steps": self.max_steps,
                "tasks": {
                    task: {
                        "episodes": result.success.episodes,
                        "successes": result.success.successes,
                        "mean_steps": result.mean_steps,
                    }
                    for task, result in self.tasks.items()
                },
                "held_out_loss": self.held_out_loss,
                "step_latency_us": {
                    "p50": self.step_latency_p50_us,
                    "p99": self.step_latency_p99_us,
                },
                "steps": self.steps,
                "missed_deadlines": self.missed_deadlines,
                "safety_violations": self.safety_violations,
            }
        )

    @property
    def digest(self) -> str:
        """SHA-256 of the canonical bytes, in hex."""
        return hashlib.sha256(self.encode()).hexdigest()


def finite_or_none(value: object) -> float | None:
    """Returns a finite number as float; None for anything else, including a bool."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if math.isfinite(value) else None


def parse(raw: bytes, origin: Path | str) -> EvaluationReport:
    """Parses the bytes of a report.

    Args:
        raw: the bytes.
        origin: the file, for the error message.

    Raises:
        EvaluationReportError: the bytes are not a report of this schema version.
    """
    try:
        found = json_fields.decode(raw, origin, LIMIT_BYTES)
        if not isinstance(found, dict):
            raise TypeError(f"a JSON {type(found).__name__}")
        if found["schema_version"] != SCHEMA_VERSION:
            raise ValueError(f"schema_version {found['schema_version']!r}")
        return EvaluationReport(
            package_digest=_text(found["package_digest"]),
            manifest_digest=_text(found["dataset_manifest"]),
            environment=_text(found["environment"]),
            first_seed=_count(found["first_seed"]),
            episodes_per_task=_count(found["episodes_per_task"]),
            max_steps=_count(found["max_steps"]),
            tasks={
                task: TaskResult(
                    SuccessRate(_count(row["successes"]), _count(row["episodes"])),
                    finite_or_none(row["mean_steps"]),
                )
                for task, row in found["tasks"].items()
            },
            held_out_loss=finite_or_none(found["held_out_loss"]),
            step_latency_p50_us=finite_or_none(found["step_latency_us"]["p50"]),
            step_latency_p99_us=finite_or_none(found["step_latency_us"]["p99"]),
            steps=_count(found["steps"]),
            missed_deadlines=_count_or_none(found["missed_deadlines"]),
            safety_violations=_count_or_none(found["safety_violations"]),
        )
    except (ContinuonError, AttributeError, KeyError, TypeError, ValueError) as e:
        raise EvaluationReportError(
            origin,
            f"an evaluation report of schema_version {SCHEMA_VERSION}",
            f"{type(e).__name__}: {e}",
            "evaluate again",
        ) from e


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError(f"expected text, got {value!r}")
    return value


def _count(value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise TypeError(f"expected a count, got {value!r}")
    return value


def _count_or_none(value: object) -> int | None:
    return None if value is None else _count(value)
