"""How often the scripted expert succeeds on the evaluation's own trials.

The expert is the operator whose demonstrations a model imitates, so its success
on the same seeds is what a model's success is compared with in the final table.
It is a build product for the default trials and is run live for others.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from base import canonical_json
from base.errors import ContinuonError
from cloud.errors import RolloutSummaryError
from cloud.evaluate.rollouts import Rollouts, Trials
from cloud.evaluate.success_rate import SuccessRate

SCHEMA_VERSION = 1


def encode(trials: Trials, rollouts: Rollouts) -> bytes:
    """The expert's success together with the trials it was measured on."""
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
    """The expert's success per task; None when measured on other trials.

    Raises:
        RolloutSummaryError: the file cannot be read or is no baseline.
    """
    try:
        found = canonical_json.decode(path.read_bytes())
        if not isinstance(found, dict) or found["schema_version"] != SCHEMA_VERSION:
            raise ValueError("expected an expert baseline of schema_version 1")
        wanted = _trials_fields(trials)
        measured = dict(found["trials"])
        known = set(measured.pop("tasks"))
        if not known >= set(wanted.pop("tasks")) or measured != wanted:
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


def of_rollouts(rollouts: Rollouts) -> Mapping[str, SuccessRate]:
    """The expert's success per task from a live run."""
    return {task: result.success for task, result in rollouts.tasks.items()}


def _trials_fields(trials: Trials) -> dict[str, object]:
    return {
        "environment": trials.environment,
        "tasks": sorted(trials.tasks),
        "episodes_per_task": trials.episodes_per_task,
        "first_seed": trials.first_seed,
        "max_steps": trials.max_steps,
    }
