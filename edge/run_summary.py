"""What a run of episodes came to: success, latency, deadlines, and its actions."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from edge.control.loop import ControlStep, EpisodeResult, StepRecorder


@dataclass(frozen=True)
class TaskOutcome:
    """The episodes of one task, added up.

    Attributes:
        episodes: how many there are.
        successes: how many of them fulfilled the task; None where the robot cannot
            tell, as with a replayed episode.
        steps: executed actions.
    """

    episodes: int
    successes: int | None
    steps: int

    @property
    def success(self) -> float | None:
        """Share of episodes that fulfilled the task, 0 to 1; None where not known."""
        return None if self.successes is None else self.successes / self.episodes

    @property
    def mean_steps(self) -> float:
        """Mean length of an episode."""
        return self.steps / self.episodes


@dataclass(frozen=True)
class RunSummary:
    """Every episode of one run of the robot's program.

    Attributes:
        package_digest: the package that drove; None for the scripted expert.
        tasks: outcome per task, in the order in which they ran.
        latency_p50_us: median time from observation to proposed action.
        latency_p99_us: 99th percentile of the same.
        missed_deadlines: steps whose action came too late; 0 in simulated pace.
        safety_violations: steps at which a stop rule fired.
        clamped_steps: steps at which the limits changed the wanted action.
        steps: executed actions.
        seconds: wall time of the episodes.
    """

    package_digest: str | None
    tasks: Mapping[str, TaskOutcome]
    latency_p50_us: float
    latency_p99_us: float
    missed_deadlines: int
    safety_violations: int
    clamped_steps: int
    steps: int
    seconds: float

    def as_json(self) -> dict[str, object]:
        """Returns the content of `--summary_json`."""
        return {
            "schema_version": 1,
            "package_digest": self.package_digest,
            "tasks": {
                task: {
                    "episodes": outcome.episodes,
                    "successes": outcome.successes,
                    "success": (
                        None if outcome.success is None else round(outcome.success, 6)
                    ),
                    "mean_steps": round(outcome.mean_steps, 3),
                }
                for task, outcome in self.tasks.items()
            },
            "step_latency_us": {
                "p50": round(self.latency_p50_us, 2),
                "p99": round(self.latency_p99_us, 2),
            },
            "missed_deadlines": self.missed_deadlines,
            "safety_violations": self.safety_violations,
            "clamped_steps": self.clamped_steps,
            "steps": self.steps,
            "seconds": round(self.seconds, 3),
        }

    def table(self) -> str:
        """Returns the lines shown at the end of a run."""
        width = max(4, *(len(task) for task in self.tasks))
        lines = [f"{'task':<{width}}  episodes  success  mean steps"]
        lines += [
            f"{task:<{width}}  {outcome.episodes:>8}  "
            f"{_share_text(outcome.success):>7}  {outcome.mean_steps:>10.1f}"
            for task, outcome in self.tasks.items()
        ]
        rate = self.steps / self.seconds if self.seconds else 0.0
        lines += [
            "",
            f"step latency      p50 {self.latency_p50_us:.0f} us, "
            f"p99 {self.latency_p99_us:.0f} us",
            f"missed deadlines  {self.missed_deadlines} of {self.steps} steps",
            f"stop rules        {self.safety_violations}",
            f"pace              {rate:.0f} steps/s over {self.seconds:.1f} s",
        ]
        return "\n".join(lines)


def _share_text(success: float | None) -> str:
    return "-" if success is None else f"{success:.1%}"


def _successes(results: Sequence[EpisodeResult]) -> int | None:
    """How many succeeded; None unless every one of them is known."""
    known = [one.success for one in results if one.success is not None]
    return sum(known) if len(known) == len(results) else None


class RunTally:
    """Collects episode results into a `RunSummary`."""

    def __init__(self) -> None:
        self._results: dict[str, list[EpisodeResult]] = {}

    def add(self, task: str, result: EpisodeResult) -> None:
        """Adds one episode of `task`."""
        self._results.setdefault(task, []).append(result)

    def successes(self, task: str) -> int | None:
        """Returns how many episodes of `task` fulfilled it so far; None: not known."""
        return _successes(self._results.get(task, []))

    def summary(self, package_digest: str | None, seconds: float) -> RunSummary:
        """Returns what was added up.

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
                    successes=_successes(results),
                    steps=sum(one.steps for one in results),
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
