"""Records for tests: default values, except those that a test sets."""

from typing import Any

from cloud.evaluate.held_out_report import EpisodeError, HeldOutReport
from cloud.evaluate.report import EvaluationReport, TaskResult
from cloud.evaluate.success_rate import SuccessRate
from cloud.index import schema
from rlds.raw_layout import RawFolder


def episode_id(number: int) -> str:
    """Returns the id of the test episode `number`."""
    return f"01900000-0000-7000-8000-{number:012x}"


def index_row(
    number: int, robot: int = 0, day: int | None = None, **values: object
) -> dict[str, object]:
    """Returns a row; `robot` and `day` choose its group."""
    day = number % 28 + 1 if day is None else day
    robot_hash = f"{robot:064x}"
    date = f"2026-01-{day:02d}"
    standard: dict[str, object] = {
        column.name: {"STRING": "", "INT64": 0, "BOOL": False}.get(column.kind)
        for column in schema.COLUMNS
    } | {
        "episode_id": episode_id(number),
        "sha256": f"{number:064x}",
        "robot_hash": robot_hash,
        "date": date,
        "tags": [],
        "state_size": 3,
        "action_size": 2,
        "path": RawFolder(robot_hash, date, episode_id(number)).path,
    }
    return standard | values


def evaluation_report(**changes: Any) -> EvaluationReport:
    """Returns a report that passes every default gate, unless changed."""
    fields: dict[str, Any] = {
        "package_digest": "a" * 64,
        "manifest_digest": "d" * 64,
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


def episode_error(
    number: int, error: float = 0.02, task: str = "pour", **changes: str
) -> EpisodeError:
    """Returns the error on one episode of one robot on one day, unless changed."""
    slices = {
        "task": task,
        "robot": "robot 1",
        "day": "day 1",
        "actor": "human",
        "outcome": "success",
    }
    return EpisodeError(f"{number:064x}", 50, error, 0.4, slices | changes)


def held_out_report(**changes: Any) -> HeldOutReport:
    """Returns a report that passes every default gate, unless changed."""
    fields: dict[str, Any] = {
        "package_digest": "a" * 64,
        "manifest_digest": "d" * 64,
        "split_by": ("robot_hash", "date"),
        "action_minimum": (-1.0, -1.0),
        "action_maximum": (1.0, 1.0),
        "episodes": tuple(episode_error(k) for k in range(12)),
        "step_latency_p50_us": 80.0,
        "step_latency_p99_us": 120.0,
        "steps": 600,
        "safety_violations": 0,
    }
    return HeldOutReport(**(fields | changes))
