"""The counts of a recording, as a table for people and as JSON for machines."""

import time
from collections import Counter
from dataclasses import dataclass, field

from edge.control.loop import EpisodeResult
from edge.control.step_times import StepTimes
from edge.run_summary import format_rules, format_times, spread_times


def success_text(success: bool | None) -> str:
    """Says in words whether an episode fulfilled its task."""
    if success is None:
        return "success not known"
    return "success" if success else "no success"


@dataclass
class TaskTally:
    """Counts of one task.

    Attributes:
        episodes: episodes recorded now.
        successes: episodes that fulfilled the task; None if that is not known of one.
        steps: steps of all these episodes.
    """

    episodes: int = 0
    successes: int | None = 0
    steps: int = 0

    @property
    def success(self) -> float | None:
        """Share of episodes that fulfilled the task, 0 to 1; None if not known."""
        if self.successes is None:
            return None
        return self.successes / max(self.episodes, 1)

    def as_json(self) -> dict[str, object]:
        """The counts, the share of successes and the mean number of steps."""
        return {
            "episodes": self.episodes,
            "successes": self.successes,
            "success": self.success,
            "mean_steps": self.steps / max(self.episodes, 1),
        }


@dataclass
class RecordSummary:
    """Counts of a whole recording.

    Attributes:
        tasks: counts by task, in recording order.
        recovered: episodes made from journals that an earlier run left behind.
        skipped: episodes that the output folder held already.
        missed_deadlines: late actions; 0 in simulated pace.
        safety_violations: steps at which a stop rule fired.
        stop_rules: episodes that each stop rule ended, by its name.
        times: how long the steps took, and how late they began.
        started_s: when the recording began, monotonic.
    """

    tasks: dict[str, TaskTally] = field(default_factory=dict)
    recovered: int = 0
    skipped: int = 0
    missed_deadlines: int = 0
    safety_violations: int = 0
    stop_rules: Counter[str] = field(default_factory=Counter)
    times: StepTimes = field(default_factory=StepTimes)
    started_s: float = field(default_factory=time.monotonic)

    def count(self, task: str, result: EpisodeResult) -> None:
        """Adds one recorded episode."""
        tally = self.tasks.setdefault(task, TaskTally())
        tally.episodes += 1
        if result.success is None or tally.successes is None:
            tally.successes = None
        else:
            tally.successes += result.success
        tally.steps += result.steps
        self.missed_deadlines += result.missed_deadlines
        self.safety_violations += result.safety_violations
        self.times.merge(result.times)
        if result.stop_rule is not None:
            self.stop_rules[result.stop_rule.value] += 1

    @property
    def episodes(self) -> int:
        """Episodes recorded now."""
        return sum(tally.episodes for tally in self.tasks.values())

    @property
    def steps(self) -> int:
        """Steps recorded now."""
        return sum(tally.steps for tally in self.tasks.values())

    @property
    def seconds(self) -> float:
        """Seconds since the recording began."""
        return time.monotonic() - self.started_s

    def as_json(self) -> dict[str, object]:
        """The content of `--summary_json`."""
        return {
            "schema_version": 1,
            "episodes": self.episodes,
            "recovered": self.recovered,
            "skipped": self.skipped,
            "steps": self.steps,
            "seconds": self.seconds,
            "steps_per_s": self.steps / max(self.seconds, 1e-9),
            "missed_deadlines": self.missed_deadlines,
            "safety_violations": self.safety_violations,
            "stop_rules": dict(self.stop_rules),
            "timing_us": {
                name: {"p50": one.p50_us, "p99": one.p99_us, "worst": one.worst_us}
                for name, one in spread_times(self.times).items()
            },
            "tasks": {task: tally.as_json() for task, tally in self.tasks.items()},
        }

    def table(self) -> str:
        """A line per task in columns, one for all, and the times of a real robot."""
        rows = [("task", "episodes", "success", "steps")]
        for task, tally in self.tasks.items():
            share = "not known" if tally.success is None else f"{tally.success:.0%}"
            rows.append((task, str(tally.episodes), share, str(tally.steps)))
        widths = [max(len(row[column]) for row in rows) for column in range(4)]
        lines = [
            "  ".join(
                cell.ljust(width) if column == 0 else cell.rjust(width)
                for column, (cell, width) in enumerate(zip(row, widths, strict=True))
            )
            for row in rows
        ]
        lines.append(
            f"{self.episodes} recorded, {self.skipped} already there,"
            f" {self.recovered} recovered; {self.steps} steps in {self.seconds:.1f} s,"
            f" {self.steps / max(self.seconds, 1e-9):.0f} steps/s"
        )
        timing = spread_times(self.times)
        if "jitter" in timing:  # it kept real time
            lines += format_times(timing)
            lines.append(f"missed deadlines  {self.missed_deadlines}")
        if self.stop_rules:
            lines.append(f"stop rules        {format_rules(self.stop_rules)}")
        return "\n".join(lines)
