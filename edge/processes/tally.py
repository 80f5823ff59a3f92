"""What control reports of its episodes: the sums that the view shows, and the health.

A person's stop key ends an episode by a stop rule (`rlds.spec.StopRule`), and its
episode says so. Here it is none: no package is at fault for it.
"""

from dataclasses import dataclass, field

from edge.control.loop import EpisodeResult
from edge.control.policy_source import Driver
from edge.control.step_times import StepTimes
from rlds.spec import StopRule


@dataclass
class Tally:
    """What control shows of itself since it was started.

    `unknown` are episodes of which nobody can say how they went: they are no failures.
    """

    episodes: int = 0
    successes: int = 0
    unknown: int = 0
    steps: int = 0
    missed: int = 0
    violations: int = 0
    last_rule: StopRule | None = None
    p50_us: float = 0.0
    p99_us: float = 0.0
    jitter_p99_us: float = 0.0
    times: StepTimes = field(default_factory=StepTimes)

    def add(self, result: EpisodeResult) -> None:
        """Adds an episode."""
        self.episodes += not result.stopped
        self.successes += result.success is True
        self.unknown += result.success is None and not result.stopped
        self.steps += result.steps
        self.missed += result.missed_deadlines
        if count_stop_rules(result):
            self.violations += count_stop_rules(result)
            self.last_rule = result.stop_rule
        self.times.merge(result.times)
        latency, jitter = self.times.latency, self.times.jitter
        self.p50_us = round(latency.percentile_us(50.0), 1)
        self.p99_us = round(latency.percentile_us(99.0), 1)
        self.jitter_p99_us = round(jitter.percentile_us(99.0), 1)

    def describe(self) -> dict[str, object]:
        """The fields of a status."""
        return {
            "episodes": self.episodes,
            "successes": self.successes,
            "unknown": self.unknown,
            "steps": self.steps,
            "missed": self.missed,
            "violations": self.violations,
            "last_rule": "" if self.last_rule is None else self.last_rule.value,
            "p50_us": self.p50_us,
            "p99_us": self.p99_us,
            "jitter_p99_us": self.jitter_p99_us,
        }


def count_stop_rules(result: EpisodeResult) -> int:
    """How many stop rules fired, without a person's stop key."""
    by_key = result.stop_rule is StopRule.STOP_KEY
    return 0 if by_key else result.safety_violations


def describe_health(driver: Driver, result: EpisodeResult) -> dict[str, object]:
    """The fields of a message `health`: how a package did in one episode that it drove.

    How an episode ended says nothing about the package if a person stopped it, or acted
    in it: neither a success nor a stop rule is the package's then.
    """
    by_key = result.stop_rule is StopRule.STOP_KEY
    stopped = result.stopped or by_key
    alone = not (stopped or result.interventions)
    return {
        "package": driver.package_digest,
        "delta": driver.delta_digest,
        "success": result.success if alone else None,
        "steps": result.steps,
        "missed_deadlines": result.missed_deadlines,
        "stop_rules": 0 if result.interventions else count_stop_rules(result),
        "stopped": stopped,
        "stop_key": by_key,
    }
