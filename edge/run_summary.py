"""The results of a run of episodes: the tally, the table for people and the action log.

For machines the summary is the `RunSummary` of `release/run_summary.py`.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from edge.control.control_step import ControlStep, StepRecorder
from edge.control.loop import EpisodeResult
from edge.control.step_times import StepTimes, TimeHistogram
from edge.robots.robot import RobotSpec
from release import run_summary
from release.run_summary import ActionRange, RunSummary, Spread, TaskOutcome

_TIMES = {
    "latency": "step latency",
    "work": "whole step",
    "jitter": "jitter of steps",
}
"""What the table calls each time of `StepTimes`."""


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
        *format_times(summary.timing),
        f"missed deadlines  {summary.missed_deadlines} of {summary.steps} steps",
        f"stop rules        {format_rules(summary.stop_rules)}",
        f"pace              {rate:.0f} steps/s over {summary.seconds:.1f} s",
    ]
    return "\n".join(lines)


def _format_share(success: float | None) -> str:
    return "-" if success is None else f"{success:.1%}"


def format_times(timing: Mapping[str, Spread]) -> list[str]:
    """Returns a line for each time that was measured."""
    return [
        f"{_TIMES[name]:<16}  p50 {spread.p50_us:.0f} us, "
        f"p99 {spread.p99_us:.0f} us, worst {spread.worst_us:.0f} us"
        for name, spread in timing.items()
    ]


def format_rules(stop_rules: Mapping[str, int]) -> str:
    """Says how many episodes stop rules ended, and which rules."""
    which = ", ".join(f"{name} {count}" for name, count in stop_rules.items())
    return f"{sum(stop_rules.values())} ({which})" if stop_rules else "0"


def spread_times(times: StepTimes) -> dict[str, Spread]:
    """Returns the figures that are shown and written of each time that was measured."""
    measured: dict[str, TimeHistogram] = {name: getattr(times, name) for name in _TIMES}
    return {
        name: Spread(one.percentile_us(50.0), one.percentile_us(99.0), one.longest_us)
        for name, one in measured.items()
        if one.count
    }


@dataclass
class _Outcome:
    """Counts of one task; `successes` is None once one episode's is not known."""

    episodes: int = 0
    successes: int | None = 0
    steps: int = 0

    def add(self, result: EpisodeResult) -> None:
        self.episodes += 1
        self.steps += result.steps
        if result.success is None or self.successes is None:
            self.successes = None
        else:
            self.successes += result.success


class RunTally:
    """Adds episode results up to a `RunSummary`, in memory that does not grow."""

    def __init__(self) -> None:
        self._tasks: dict[str, _Outcome] = {}
        self._times = StepTimes()
        self._stop_rules: Counter[str] = Counter()
        self._missed_deadlines = 0
        self._safety_violations = 0
        self._clamped_steps = 0
        self._is_packages_own = True
        self._action_limits: dict[str, ActionRange] = {}
        self._examples: dict[str, dict[str, int]] = {}

    @property
    def episodes(self) -> int:
        """Number of episodes so far."""
        return sum(outcome.episodes for outcome in self._tasks.values())

    def add(
        self,
        task: str,
        result: EpisodeResult,
        *,
        demonstrated: bool = False,
        seed: int | None = None,
    ) -> None:
        """Adds one episode of `task`.

        Args:
            task: what the robot was asked to do.
            result: how it went.
            demonstrated: whether somebody drove in the place of the package.
            seed: what a simulated episode can be driven again from.
        """
        if seed is not None and (ending := _name_ending(result)) is not None:
            self._examples.setdefault(task, {}).setdefault(ending, seed)
        self._tasks.setdefault(task, _Outcome()).add(result)
        helped = demonstrated or result.interventions > 0
        self._is_packages_own = self._is_packages_own and not helped
        self._times.merge(result.times)
        if result.stop_rule is not None:
            self._stop_rules[result.stop_rule.value] += 1
        self._missed_deadlines += result.missed_deadlines
        self._safety_violations += result.safety_violations
        self._clamped_steps += result.clamped_steps

    def keep_limits(self, robot: RobotSpec) -> None:
        """Keeps what a robot that is driven accepts, for the summary."""
        limits = ActionRange(robot.action_minimum, robot.action_maximum)
        self._action_limits[robot.task] = limits

    def successes(self, task: str) -> int | None:
        """Counts the episodes of `task` that fulfilled it so far; None if not known."""
        return self._tasks.get(task, _Outcome()).successes

    def summary(self, package_digest: str | None, seconds: float) -> RunSummary:
        """Returns the summary of all episodes.

        It names the package only if nobody else acted in any of them.

        Raises:
            ValueError: no episode was added.
        """
        if not self._tasks:
            raise ValueError("expected at least one episode")
        return RunSummary(
            package_digest=package_digest if self._is_packages_own else None,
            tasks={
                task: TaskOutcome(
                    episodes=outcome.episodes,
                    successes=outcome.successes,
                    mean_steps=outcome.steps / outcome.episodes,
                )
                for task, outcome in self._tasks.items()
            },
            latency_p50_us=self._times.latency.percentile_us(50.0),
            latency_p99_us=self._times.latency.percentile_us(99.0),
            missed_deadlines=self._missed_deadlines,
            safety_violations=self._safety_violations,
            clamped_steps=self._clamped_steps,
            steps=sum(outcome.steps for outcome in self._tasks.values()),
            seconds=seconds,
            timing=spread_times(self._times),
            stop_rules=dict(self._stop_rules),
            action_limits=dict(self._action_limits),
            examples=dict(self._examples),
        )


def _name_ending(result: EpisodeResult) -> str | None:
    """How an episode ended, as `RunSummary.examples` names it; None if unknown."""
    if result.stop_rule is not None:
        return result.stop_rule.value
    if result.success is None:
        return None
    return run_summary.SUCCESS if result.success else run_summary.FAILURE


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
