"""The files in which the robot's program reports to the program that started it.

    //edge:run --summary_json=FILE     writes a `RunSummary` after the last episode
    //edge:run --progress_json=FILE    appends a `Progress` after each episode, one line

The evaluation judges a package by running the robot's program. It reads these two
files, and the two programs share nothing else.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from base import canonical_json, plain_file
from base.json_fields import Fields, Source, decode

SCHEMA_VERSION = 1
SUCCESS, FAILURE = "success", "failure"
"""Endings of episodes beside the names of stop rules, in `RunSummary.examples`."""
LIMIT_BYTES = 1024 * 1024  # a task takes some hundred and fifty bytes
PROGRESS_LIMIT_BYTES = 4096
_KEYS = (
    "schema_version",
    "package_digest",
    "tasks",
    "step_latency_us",
    "missed_deadlines",
    "safety_violations",
    "clamped_steps",
    "steps",
    "seconds",
)
_OPTIONAL_KEYS = ("action_limits", "examples", "stop_rules", "timing_us")
_LIMITS_KEYS = ("minimum", "maximum")
_SPREAD_KEYS = ("p50", "p99", "worst")
_TASK_KEYS = ("episodes", "successes", "success", "mean_steps")
_PROGRESS_KEYS = ("schema_version", "episodes_done", "episodes")


@dataclass(frozen=True)
class TaskOutcome:
    """The results of one task, over all its episodes.

    Attributes:
        episodes: number of episodes, at least one.
        successes: number of episodes that fulfilled the task; None if the robot does
            not know, as when it replays an episode.
        mean_steps: mean length of an episode, in executed actions.
    """

    episodes: int
    successes: int | None
    mean_steps: float

    @property
    def success(self) -> float | None:
        """Share of episodes that fulfilled the task, 0 to 1; None if unknown."""
        return None if self.successes is None else self.successes / self.episodes


@dataclass(frozen=True)
class Spread:
    """How a time spreads over the steps of a run, in microseconds.

    Attributes:
        p50_us: median.
        p99_us: 99th percentile.
        worst_us: the longest.
    """

    p50_us: float
    p99_us: float
    worst_us: float


@dataclass(frozen=True)
class ActionRange:
    """What a robot accepts as an action.

    Attributes:
        minimum: lowest value of each component, in the robot's unit.
        maximum: highest value of each.
    """

    minimum: tuple[float, ...]
    maximum: tuple[float, ...]


@dataclass(frozen=True)
class RunSummary:
    """The results of one run of the robot's program, over all its episodes.

    Attributes:
        package_digest: digest of the package that acted; None if a person or a
            scripted expert did, be it in one episode or a part of one.
        tasks: outcome by task, in the order in which the tasks ran; sorted by name
            when read from a file.
        latency_p50_us: median time from observation to proposed action.
        latency_p99_us: 99th percentile of that time.
        missed_deadlines: steps whose action came too late; 0 at simulated pace.
        safety_violations: steps at which a stop rule fired.
        clamped_steps: steps at which the limits changed the proposed action.
        steps: executed actions, at least one.
        seconds: wall time of the episodes.
        timing: `latency` as above, `work` of a whole step without its wait, and
            `jitter`, how late a step began (not at simulated pace); empty in a file
            from before these were measured.
        stop_rules: how many episodes each stop rule ended, by its name; those that
            ended none are left out.
        action_limits: what the robot of each task accepts as an action, by task; empty
            in a file from before these were written.
        examples: by task, the seed of the first episode of each ending: `success`,
            `failure` without a stop rule, or the name of the rule; empty likewise.
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
    timing: Mapping[str, Spread] = field(default_factory=dict)
    stop_rules: Mapping[str, int] = field(default_factory=dict)
    action_limits: Mapping[str, ActionRange] = field(default_factory=dict)
    examples: Mapping[str, Mapping[str, int]] = field(default_factory=dict)

    def encode(self) -> bytes:
        """Returns the canonical bytes of the summary, with rounded numbers.

        Raises:
            CanonicalJsonError: a number is NaN or infinite.
        """
        optional: dict[str, object] = {}
        if self.timing:
            optional["timing_us"] = {
                name: {
                    "p50": round(spread.p50_us, 2),
                    "p99": round(spread.p99_us, 2),
                    "worst": round(spread.worst_us, 2),
                }
                for name, spread in self.timing.items()
            }
        if self.stop_rules:
            optional["stop_rules"] = dict(self.stop_rules)
        if self.action_limits:
            optional["action_limits"] = {
                task: {"minimum": list(one.minimum), "maximum": list(one.maximum)}
                for task, one in self.action_limits.items()
            }
        if self.examples:
            optional["examples"] = {
                task: dict(seeds) for task, seeds in self.examples.items()
            }
        return canonical_json.encode(
            {
                **optional,
                "schema_version": SCHEMA_VERSION,
                "package_digest": self.package_digest,
                "tasks": {
                    task: {
                        "episodes": outcome.episodes,
                        "successes": outcome.successes,
                        "success": _share(outcome),
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
        )


@dataclass(frozen=True)
class Progress:
    """The progress of a run.

    Attributes:
        episodes_done: number of episodes that have ended.
        episodes: number of episodes in the run, over all its robots.
    """

    episodes_done: int
    episodes: int

    def encode(self) -> bytes:
        """Returns one line of canonical JSON with a newline."""
        value = {
            "schema_version": SCHEMA_VERSION,
            "episodes_done": self.episodes_done,
            "episodes": self.episodes,
        }
        return canonical_json.encode(value) + b"\n"


def read(path: Path) -> RunSummary:
    """Reads the file that `--summary_json` named.

    Raises:
        OversizedError, MalformedError: as `parse`.
        OSError: the file cannot be read.
    """
    return parse(plain_file.read(path, LIMIT_BYTES), path)


def parse(raw: bytes, source: Source) -> RunSummary:
    """Reads the bytes of a summary.

    Raises:
        OversizedError: `raw` is longer than `LIMIT_BYTES`.
        MalformedError: `raw` is not JSON, a field is missing, unknown or wrong, or the
            schema version is another one.
    """
    value = decode(raw, source, LIMIT_BYTES)
    fields = Fields(value, source, _KEYS, optional=_OPTIONAL_KEYS)
    fields.version(SCHEMA_VERSION)
    latency = fields.fields("step_latency_us", ("p50", "p99"))
    return RunSummary(
        package_digest=(
            fields.sha256("package_digest") if fields.has("package_digest") else None
        ),
        tasks={
            task: _parse_outcome(row)
            for task, row in fields.named("tasks", _TASK_KEYS).items()
        },
        latency_p50_us=latency.number("p50"),
        latency_p99_us=latency.number("p99"),
        missed_deadlines=fields.integer("missed_deadlines"),
        safety_violations=fields.integer("safety_violations"),
        clamped_steps=fields.integer("clamped_steps"),
        steps=fields.integer("steps", minimum=1),
        seconds=fields.number("seconds"),
        timing=_parse_timing(fields) if fields.has("timing_us") else {},
        stop_rules=_parse_stop_rules(fields) if fields.has("stop_rules") else {},
        action_limits=_parse_limits(fields) if fields.has("action_limits") else {},
        examples=_parse_examples(fields) if fields.has("examples") else {},
    )


def _parse_timing(fields: Fields) -> dict[str, Spread]:
    return {
        name: Spread(row.number("p50"), row.number("p99"), row.number("worst"))
        for name, row in fields.named("timing_us", _SPREAD_KEYS).items()
    }


def _parse_limits(fields: Fields) -> dict[str, ActionRange]:
    limits: dict[str, ActionRange] = {}
    for task, row in fields.named("action_limits", _LIMITS_KEYS).items():
        one = ActionRange(row.numbers("minimum"), row.numbers("maximum"))
        if len(one.minimum) != len(one.maximum):
            raise row.fail("maximum", f"to be {len(one.minimum)} numbers")
        limits[task] = one
    return limits


def _parse_examples(fields: Fields) -> dict[str, dict[str, int]]:
    tasks = fields.fields("examples", (), optional=fields.mapping("examples"))
    found = {}
    for task in fields.mapping("examples"):
        seeds = tasks.fields(task, (), optional=tasks.mapping(task))
        found[task] = {name: seeds.integer(name) for name in tasks.mapping(task)}
    return found


def _parse_stop_rules(fields: Fields) -> dict[str, int]:
    counts = fields.fields("stop_rules", (), optional=fields.mapping("stop_rules"))
    return {name: counts.integer(name, 1) for name in fields.mapping("stop_rules")}


def read_progress(path: Path) -> Progress | None:
    """Reads the newest line of the file that `--progress_json` named.

    Returns:
        The progress, or None if the file does not exist or has no complete line yet.

    Raises:
        MalformedError: the line is not a `Progress`.
        OSError: the file cannot be read.
    """
    try:
        with plain_file.open_stream(path) as file:
            end = file.seek(0, os.SEEK_END)
            file.seek(max(0, end - PROGRESS_LIMIT_BYTES))
            tail = file.read(PROGRESS_LIMIT_BYTES)
    except FileNotFoundError:
        return None
    # The bytes after the last newline are still being written.
    *lines, _ = tail.split(b"\n")
    return parse_progress(lines[-1], path) if lines else None


def parse_progress(line: bytes, source: Source) -> Progress:
    """Reads one line of progress, with or without its newline.

    Raises:
        OversizedError: `line` is longer than `PROGRESS_LIMIT_BYTES`.
        MalformedError: `line` is not JSON, a field is missing, unknown or wrong, or
            the schema version is another one.
    """
    value = decode(line, source, PROGRESS_LIMIT_BYTES)
    fields = Fields(value, source, _PROGRESS_KEYS)
    fields.version(SCHEMA_VERSION)
    progress = Progress(fields.integer("episodes_done"), fields.integer("episodes"))
    if progress.episodes_done > progress.episodes:
        raise fields.fail("episodes_done", f"to be at most {progress.episodes}")
    return progress


def _parse_outcome(fields: Fields) -> TaskOutcome:
    outcome = TaskOutcome(
        episodes=fields.integer("episodes", minimum=1),
        successes=fields.integer("successes") if fields.has("successes") else None,
        mean_steps=fields.number("mean_steps"),
    )
    if outcome.successes is not None and outcome.successes > outcome.episodes:
        raise fields.fail("successes", f"to be at most {outcome.episodes}")
    if fields.raw("success") != _share(outcome):
        raise fields.fail("success", f"to be {_share(outcome)}")
    return outcome


def _share(outcome: TaskOutcome) -> float | None:
    """Returns the share of successes as it is written to the file."""
    return None if outcome.success is None else round(outcome.success, 6)
