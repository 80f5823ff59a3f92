"""The results of a run of episodes: the tally, the table for people and the action log.

For machines the summary is the `RunSummary` of `release/run_summary.py`.
"""

from collections.abc import Sequence

import numpy as np

from edge.control.loop import ControlStep, EpisodeResult, StepRecorder
from release.run_summary import RunSummary, TaskOutcome


def format_table(summary: RunSummary) -> str:
    """Returns the lines shown at the end of a run."""
    width = max(4, *(len(task) for task in summary.tasks))
    lines = [f"{'task':<{width}}  episodes  success  mean steps"]
    lines += [
        f"{task:<{width}}  {outcome.episodes:>8}  "
        f"{_format_share(outcome.success):>7}  {outcome.mean_steps:>10.1f}"
        for task, outcome in summary.tasks.items()
    ]
    rate = summary.steps / summary.seconds if summary.seconds else 0.0
    lines += [
        "",
        f"step latency      p50 {summary.latency_p50_us:.0f} us, "
        f"p99 {summary.latency_p99_us:.0f} us",
        f"missed deadlines  {summary.missed_deadlines} of {summary.steps} steps",
        f"stop rules        {summary.safety_violations}",
        f"pace              {rate:.0f} steps/s over {summary.seconds:.1f} s",
    ]
    return "\n".join(lines)


def _format_share(success: float | None) -> str:
    return "-" if success is None else f"{success:.1%}"


def _count_successes(results: Sequence[EpisodeResult]) -> int | None:
    """Counts the successes; None if the success of any episode is not known."""
    known = [one.success for one in results if one.success is not None]
    return sum(known) if len(known) == len(results) else None


class RunTally:
    """Collects episode results into a `RunSummary`."""

    def __init__(self) -> None:
        self._results: dict[str, list[EpisodeResult]] = {}

    @property
    def episodes(self) -> int:
        """Number of episodes so far."""
        return sum(len(results) for results in self._results.values())

    def add(self, task: str, result: EpisodeResult) -> None:
        """Adds one episode of `task`."""
        self._results.setdefault(task, []).append(result)

    def successes(self, task: str) -> int | None:
        """Counts the episodes of `task` that fulfilled it so far; None if not known."""
        return _count_successes(self._results.get(task, []))

    def summary(self, package_digest: str | None, seconds: float) -> RunSummary:
        """Returns the summary of all episodes.

        Raises:
            ValueError: no episode was added.
        """
        every = [result for results in self._results.values() for result in results]
        if not every:
            raise ValueError("expected at least one episode")
        latencies_us = np.concatenate([one.latencies_ns for one in every]) / 1000.0
        p50_us, p99_us = np.percentile(latencies_us, (50, 99))
        return RunSummary(
            package_digest=package_digest,
            tasks={
                task: TaskOutcome(
                    episodes=len(results),
                    successes=_count_successes(results),
                    mean_steps=sum(one.steps for one in results) / len(results),
                )
                for task, results in self._results.items()
            },
            latency_p50_us=float(p50_us),
            latency_p99_us=float(p99_us),
            missed_deadlines=sum(one.missed_deadlines for one in every),
            safety_violations=sum(one.safety_violations for one in every),
            clamped_steps=sum(one.clamped_steps for one in every),
            steps=sum(one.steps for one in every),
            seconds=seconds,
        )


class ActionLog:
    """Keeps the proposed actions of a run, so that two machines can be compared.

    Implements `StepRecorder` and passes each step on to the next recorder.
    """

    def __init__(self) -> None:
        self._episodes: list[dict[str, object]] = []
        self._actions: list[list[float]] = []
        self._next: StepRecorder | None = None

    def begin(self, task: str, seed: int, next_recorder: StepRecorder | None) -> None:
        """Starts an episode whose steps also go to `next_recorder`."""
        self._actions = []
        self._next = next_recorder
        self._episodes.append({"task": task, "seed": seed, "actions": self._actions})

    def append(self, step: ControlStep) -> None:
        """See `StepRecorder.append`."""
        self._actions.append([float(value) for value in step.proposed_action])
        if self._next is not None:
            self._next.append(step)

    def as_json(self) -> dict[str, object]:
        """Returns the content of `--actions_json`."""
        return {"schema_version": 1, "episodes": self._episodes}
