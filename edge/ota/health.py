"""What the active package did in its episodes on this robot, as control reports it.

    ROOT/health    {"counts", "crashes_seen", "digest", "schema_version"}

Control sends one report per episode; the updater adds them up here, and whoever judges
a trial reads them. A report that is lost is an episode that was not counted. The counts
are those of about the last 200 episodes: when there are more, all are halved, so that
what a robot did a year ago says little about today.

Crashes are counted by the next start (`start_count.py`), and added here as they are
seen, to be halved with the rest.
"""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

from base import canonical_json, durable_file
from base.json_fields import Fields
from edge.ota import start_count
from edge.ota.state_folder import read_counted
from edge.ota.watch import Counts

FILE: Final = "health"
SCHEMA_VERSION: Final = 1
MOST_EPISODES: Final = 200
_OPTIONAL: Final = ("by_people", "with_delta", "successes_with_delta")
"""Left out while they are 0, as before they were counted."""
_COUNTS: Final = tuple(
    field.name
    for field in dataclasses.fields(Counts)
    if field.name not in ("starts_in_a_row", *_OPTIONAL)
)
_REPORT: Final = (
    "package",
    "delta",
    "success",
    "steps",
    "missed_deadlines",
    "stop_rules",
    "stopped",
    "stop_key",
)


@dataclass(frozen=True)
class EpisodeReport:
    """What control says of one episode.

    Attributes:
        package: digest of the package that drove.
        delta: digest of the delta that it drove with; None for none.
        success: whether the task was fulfilled; None if the robot cannot tell, or
            somebody ended the episode.
        steps: its control steps.
        missed_deadlines: steps whose action was late.
        stop_rules: how many stop rules fired.
        stopped: whether it was cut short, by a person's stop key or the end of control.
        stop_key: whether it was that key.
    """

    package: str
    delta: str | None
    success: bool | None
    steps: int
    missed_deadlines: int
    stop_rules: int
    stopped: bool = False
    stop_key: bool = False


@dataclass(frozen=True)
class Health:
    """The counts of one package.

    Attributes:
        digest: digest of the package.
        counts: its counts, without `starts_in_a_row`.
        crashes_seen: crashes of the package's starts that the counts contain.
    """

    digest: str
    counts: Counts = field(default_factory=Counts)
    crashes_seen: int = 0

    def add(self, report: EpisodeReport) -> "Health":
        """Counts one episode of this package, unless it was cut short.

        One that a person stopped is counted apart: a package that people must stop each
        time would else pass its trial unjudged.
        """
        old = self.counts
        if report.stop_key:
            counts = replace(old, by_people=old.by_people + 1)
        elif report.stopped:
            return self
        else:
            judged, succeeded = report.success is not None, report.success is True
            adapted = report.delta is not None
            counts = replace(
                old,
                episodes=old.episodes + 1,
                judged=old.judged + judged,
                successes=old.successes + succeeded,
                with_delta=old.with_delta + (judged and adapted),
                successes_with_delta=old.successes_with_delta + (succeeded and adapted),
                steps=old.steps + report.steps,
                late_steps=old.late_steps + report.missed_deadlines,
                stopped=old.stopped + (report.stop_rules > 0),
            )
        if counts.episodes + counts.by_people > MOST_EPISODES:
            names = (*_COUNTS, *_OPTIONAL)
            halves = {name: getattr(counts, name) // 2 for name in names}
            counts = replace(counts, **halves)
        return replace(self, counts=counts)

    def see(self, starts: start_count.Starts) -> "Health":
        """Adds the crashes that are new, and the starts in a row as they are now."""
        new = max(starts.crashes - self.crashes_seen, 0)
        counts = replace(
            self.counts,
            crashes=self.counts.crashes + new,
            starts_in_a_row=starts.in_a_row,
        )
        return replace(self, counts=counts, crashes_seen=starts.crashes)


def parse_report(fields: Mapping[str, object]) -> EpisodeReport:
    """Reads the fields of a `health` message.

    Raises:
        MalformedError: a field is missing, unknown or wrong.
    """
    found = Fields(fields, "a health message", _REPORT)
    steps = found.count("steps")
    missed = found.integer("missed_deadlines")
    if missed > steps:
        raise found.fail("missed_deadlines", f"to be at most {steps}")
    return EpisodeReport(
        package=found.sha256("package"),
        delta=found.sha256("delta") if found.has("delta") else None,
        success=found.boolean("success") if found.has("success") else None,
        steps=steps,
        missed_deadlines=missed,
        stop_rules=found.count("stop_rules"),
        stopped=found.boolean("stopped"),
        stop_key=found.boolean("stop_key"),
    )


def read(root: Path, digest: str) -> Health:
    """Reads what was counted of a package; nothing if the file was lost.

    Args:
        root: the state folder.
        digest: digest of the package.
    """

    def parse(fields: Fields) -> Health:
        counts = parse_counts(fields, "counts")
        return Health(digest, counts, fields.count("crashes_seen"))

    found = read_counted(
        root / FILE, digest, (SCHEMA_VERSION,), ("crashes_seen", "counts"), parse
    )
    return found or Health(digest)


def read_counts(root: Path, digest: str) -> Counts:
    """Returns all that is known of a package: its episodes and its starts."""
    return read(root, digest).see(start_count.read_starts(root, digest)).counts


def write(root: Path, health: Health) -> None:
    """Writes the counts of a package in place of those of any other.

    Raises:
        DiskError: the disk refused.
    """
    value = {
        "schema_version": SCHEMA_VERSION,
        "digest": health.digest,
        "crashes_seen": health.crashes_seen,
        "counts": encode_counts(health.counts),
    }
    durable_file.write_record(root / FILE, canonical_json.encode(value))


def encode_counts(counts: Counts) -> dict[str, int]:
    """Returns counts as JSON, without the starts in a row, which pass."""
    found = {name: getattr(counts, name) for name in (*_COUNTS, *_OPTIONAL)}
    return {name: n for name, n in found.items() if n or name not in _OPTIONAL}


def parse_counts(fields: Fields, key: str) -> Counts:
    """Reads what `encode_counts` returned, from a field.

    Raises:
        MalformedError: a count is missing or no count.
    """
    found = fields.fields(key, _COUNTS, _OPTIONAL)
    names = (*_COUNTS, *(name for name in _OPTIONAL if found.has(name)))
    return Counts(**{name: found.count(name) for name in names})
