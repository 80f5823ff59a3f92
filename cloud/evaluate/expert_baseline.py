"""How often the scripted expert succeeds on the evaluation's own trials.

A model imitates the expert's demonstrations, so the final table compares the model's
success with the expert's on the same seeds. For the default trials the expert's success
is a build product; for other trials the expert is run.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from base import canonical_json, json_fields, plain_file
from base.errors import ContinuonError
from cloud.errors import RolloutSummaryError
from cloud.evaluate.rollouts import Rollouts, Trials
from cloud.evaluate.success_rate import SuccessRate

SCHEMA_VERSION = 1
_LIMIT_BYTES = 1024 * 1024


def encode(trials: Trials, rollouts: Rollouts) -> bytes:
    """Returns the expert's success and the trials that it was measured on, as JSON."""
    return canonical_json.encode(
        {
            "schema_version": SCHEMA_VERSION,
            "trials": _trials_fields(trials),
            "tasks": {
                task: {
                    "episodes": result.success.episodes,
                    "successes": result.success.successes,
                }
                for task, result in rollouts.tasks.items()
            },
        }
    )


def read(path: Path, trials: Trials) -> Mapping[str, SuccessRate] | None:
    """Reads the expert's success per task; None if it was measured on other trials.

    Raises:
        RolloutSummaryError: the file cannot be read or is not a baseline.
    """
    try:
        raw = plain_file.read(path, _LIMIT_BYTES)
        found = json_fields.decode(raw, path, _LIMIT_BYTES)
        if not isinstance(found, dict) or found["schema_version"] != SCHEMA_VERSION:
            raise ValueError("expected an expert baseline of schema_version 1")
        wanted = _trials_fields(trials)
        del wanted["tasks"]
        measured = dict(found["trials"])
        known = set(measured.pop("tasks"))
        if not known >= {*trials.tasks} or measured != wanted:
            return None
        return {
            task: SuccessRate(
                found["tasks"][task]["successes"], found["tasks"][task]["episodes"]
            )
            for task in trials.tasks
        }
    except (OSError, ContinuonError, KeyError, TypeError, ValueError) as e:
        raise RolloutSummaryError(
            path,
            f"an expert baseline of schema_version {SCHEMA_VERSION}",
            f"{type(e).__name__}: {e}",
            "build //cloud/demo:expert_baseline again",
        ) from e


def from_rollouts(rollouts: Rollouts) -> Mapping[str, SuccessRate]:
    """Returns the expert's success per task in a run of it."""
    return {task: result.success for task, result in rollouts.tasks.items()}


def _trials_fields(trials: Trials) -> dict[str, object]:
    return {
        "environment": trials.environment,
        "tasks": sorted(trials.tasks),
        "episodes_per_task": trials.episodes_per_task,
        "first_seed": trials.first_seed,
        "max_steps": trials.max_steps,
    }
