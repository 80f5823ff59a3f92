"""What the learner knows of this robot's past, in one small file.

    memories/history.json   {"rounds": n, "outcomes": […], …}; see `History`

Losing it costs no robot anything: a delta on trial is tried for longer, and surprise is
measured again. So a damaged file is begun anew.
"""

import dataclasses
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from base import canonical_json, durable_file, plain_file
from base.errors import ContinuonError
from base.json_fields import Fields, decode_canonical
from edge.loops.memory_choice import Driver, Memory
from edge.loops.trial import Outcome

FILE: Final = "history.json"
SCHEMA_VERSION: Final = 2
"""Version 1 took an unknown end for a failure; it is begun anew."""
LIMIT_BYTES: Final = 4 << 20
MOST_OUTCOMES: Final = 256
MOST_MEASURED: Final = 8192
_OUTCOME_KEYS = ("digest", "task", "delta", "success", "stop_rules")


@dataclass(frozen=True)
class History:
    """The content of `history.json`; it is of one package.

    Attributes:
        package: digest of the package that drove and measured; "" for none yet.
        rounds: rounds that came to their end, of any package and any verdict.
        given: for each loop, the number after that of the last memory that it was
            given.
        outcomes: episodes that the package drove, the latest last.
        surprise: how badly the package foresaw a memory, by the memory's digest.
    """

    package: str = ""
    rounds: int = 0
    given: Mapping[str, int] = field(default_factory=dict)
    outcomes: tuple[Outcome, ...] = ()
    surprise: Mapping[str, float] = field(default_factory=dict)

    def of_package(self, package: str) -> "History":
        """The history as far as it says something of this package."""
        if self.package == package:
            return self
        return History(package=package, rounds=self.rounds)

    def add_outcomes(self, memories: Iterable[Memory]) -> "History":
        """Adds how episodes ended that the package drove; none is counted twice.

        What a person's stop key or a power cut ended says nothing, unless a stop rule
        fired before it.
        """
        known = {one.digest for one in self.outcomes}
        new = [
            Outcome(
                digest=one.digest,
                task=one.task,
                delta=one.delta_digest,
                success=one.success,
                stop_rules=one.stop_rules,
            )
            for one in memories
            if one.driver in (Driver.PACKAGE, Driver.PACKAGE_WITH_DELTA)
            and one.package_digest == self.package
            and one.digest not in known
            and (one.stop_rules or not one.cut_short)
        ]
        outcomes = (*self.outcomes, *new)[-MOST_OUTCOMES:]
        return dataclasses.replace(self, outcomes=outcomes)

    def add_surprise(self, measured: Mapping[str, float]) -> "History":
        """Adds what was measured of some memories."""
        surprise = {**self.surprise, **measured}
        kept = dict(list(surprise.items())[-MOST_MEASURED:])
        return dataclasses.replace(self, surprise=kept)


def read(folder: Path) -> History:
    """Reads the history; one that is lost or damaged begins anew."""
    path = folder / FILE
    try:
        raw = plain_file.read(path, LIMIT_BYTES)
        keys = ("schema_version", "package", "rounds", "given", "outcomes", "surprise")
        fields = Fields(decode_canonical(raw, path, LIMIT_BYTES), path, keys)
        fields.version(SCHEMA_VERSION)
        given, surprise = (
            Fields(fields.raw(name), path, (), name, fields.mapping(name))
            for name in ("given", "surprise")
        )
        return History(
            package=fields.text("package") if fields.raw("package") else "",
            rounds=fields.count("rounds"),
            given={n: given.count(n) for n in fields.mapping("given")},
            outcomes=tuple(
                Outcome(
                    digest=one.sha256("digest"),
                    task=one.text("task"),
                    delta=one.sha256("delta") if one.has("delta") else "",
                    success=one.boolean("success") if one.has("success") else None,
                    stop_rules=one.integer("stop_rules"),
                )
                for one in fields.each("outcomes", _OUTCOME_KEYS)
            ),
            surprise={n: surprise.number(n) for n in fields.mapping("surprise")},
        )
    except (ContinuonError, OSError):
        return History()


def write(folder: Path, history: History) -> None:
    """Writes the history, durably.

    Raises:
        DiskError: the disk refused; the file is as it was.
    """
    value = {
        "schema_version": SCHEMA_VERSION,
        "package": history.package,
        "rounds": history.rounds,
        "given": dict(history.given),
        "outcomes": [
            {**dataclasses.asdict(one), "delta": one.delta or None}
            for one in history.outcomes
        ],
        "surprise": dict(history.surprise),
    }
    raw = canonical_json.encode(value)
    durable_file.write_record(folder / FILE, raw, durable_file.PRIVATE)
