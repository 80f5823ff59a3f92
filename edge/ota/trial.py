"""The trial of a package: what is kept on the disk from its installation to its end.

    ROOT/trial    one record, absent while no package is on trial

The record is written before the pointer moves, so that a package which an updater made
active is on trial at every instant. What decides the trial is written here before
anything is done about it, so that a cut at any instant leaves enough to finish:

| The pointer | The record | What the next round does |
|---|---|---|
| has nothing to do with it | any | removes the record |
| names it | no end | judges it again |
| names it | ended `committed` | writes the receipt, removes the record |
| names it | ended `fell_back` | moves the pointer, then the same |
| says that it gave way | any | writes the receipt, removes the record |

The first row is a pointer that never moved, or one that a newer release moved on.

A record that is damaged is set aside; its package counts as committed, without receipt.
"""

import contextlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Final

from base import canonical_json, durable_file, plain_file, text_forms
from base.errors import ContinuonError
from base.json_fields import Fields, decode
from edge.ota import health
from edge.ota.decide import Installed, Origin
from edge.ota.watch import Counts
from rlds import receipt

FILE: Final = "trial"
SCHEMA_VERSION: Final = 1
_LIMIT_BYTES: Final = 64 * 1024
_KEYS: Final = (
    "schema_version",
    "digest",
    "before",
    "release_counter",
    "channel",
    "origin",
    "began",
    "counts_before",
    "figures",
    "end",
)
_END_KEYS: Final = ("outcome", "reason", "time", "counts")
_ENDS: Final = (receipt.COMMITTED, receipt.FELL_BACK)


@dataclass(frozen=True)
class End:
    """How a trial ended.

    Attributes:
        outcome: `committed` or `fell_back`.
        reason: why, in one line.
        time: when that was decided.
        counts: what had been counted of the package on trial.
    """

    outcome: str
    reason: str
    time: datetime
    counts: Counts


@dataclass(frozen=True)
class Trial:
    """One package on trial.

    Attributes:
        digest: digest of the package.
        before: digest of the package before it; None for the first.
        release_counter: the counter under which it was installed.
        channel: the channel that offered it; "" for a seed of a robot that has asked
            none yet.
        origin: where it came from.
        began: when it was installed.
        counts_before: what had been counted of the package before it.
        figures: what its canary measured, by name.
        end: how the trial ended; None while it is open.
    """

    digest: str
    before: str | None
    release_counter: int
    channel: str
    origin: Origin
    began: datetime
    counts_before: Counts = field(default_factory=Counts)
    figures: Mapping[str, float] = field(default_factory=dict)
    end: End | None = None

    def concerns(self, installed: Installed | None) -> bool:
        """Whether the pointer names the package, or says that it gave way."""
        return installed is not None and self.digest in (
            installed.digest,
            installed.fell_back_from,
        )


def read(root: Path) -> Trial | None:
    """Reads the record of a state folder; None if no package is on trial.

    Raises:
        MalformedError, OversizedError: it is damaged.
        OSError: it cannot be read.
    """
    path = root / FILE
    try:
        raw = plain_file.read(path, _LIMIT_BYTES)
    except FileNotFoundError:
        return None
    fields = Fields(decode(raw, path, _LIMIT_BYTES), path, _KEYS)
    fields.version(SCHEMA_VERSION)
    channel = fields.raw("channel")
    if not isinstance(channel, str):
        raise fields.fail("channel", "to be a string")
    return Trial(
        digest=fields.sha256("digest"),
        before=fields.sha256("before") if fields.has("before") else None,
        release_counter=fields.integer("release_counter"),
        channel=channel,
        origin=Origin(fields.one_of("origin", [one.value for one in Origin])),
        began=text_forms.parse_time(fields.text("began"), path),
        counts_before=health.parse_counts(fields, "counts_before"),
        figures=_parse_figures(fields),
        end=_parse_end(fields, path),
    )


def read_or_set_aside(root: Path) -> Trial | None:
    """Reads the record; None if it is missing, or damaged, which renames it."""
    try:
        return read(root)
    except (ContinuonError, OSError):
        with contextlib.suppress(ContinuonError):
            durable_file.set_aside(root / FILE)
        return None


def is_on_trial(root: Path, digest: str) -> bool:
    """Returns whether the package is on trial; it is not if the record is damaged."""
    try:
        trial = read(root)
    except (ContinuonError, OSError):
        return False
    return trial is not None and trial.digest == digest and trial.end is None


def write(root: Path, trial: Trial) -> None:
    """Writes the record in place of any other.

    Raises:
        DiskError: the disk refused.
    """
    end = trial.end
    value = {
        "schema_version": SCHEMA_VERSION,
        "digest": trial.digest,
        "before": trial.before,
        "release_counter": trial.release_counter,
        "channel": trial.channel,
        "origin": trial.origin.value,
        "began": text_forms.format_time(trial.began),
        "counts_before": health.encode_counts(trial.counts_before),
        "figures": dict(trial.figures),
        "end": None
        if end is None
        else {
            "outcome": end.outcome,
            "reason": end.reason,
            "time": text_forms.format_time(end.time),
            "counts": health.encode_counts(end.counts),
        },
    }
    durable_file.write_record(root / FILE, canonical_json.encode(value))


def remove(root: Path) -> None:
    """Removes the record, durably.

    Raises:
        OSError: it cannot be removed.
    """
    (root / FILE).unlink(missing_ok=True)
    durable_file.fsync_folder(root)


def _parse_figures(fields: Fields) -> dict[str, float]:
    figures = {}
    for name, value in fields.mapping("figures").items():
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise fields.fail("figures", "to hold numbers only")
        figures[name] = float(value)
    return figures


def _parse_end(fields: Fields, path: Path) -> End | None:
    if not fields.has("end"):
        return None
    end = fields.fields("end", _END_KEYS)
    return End(
        end.one_of("outcome", _ENDS),
        end.text("reason"),
        text_forms.parse_time(end.text("time"), path),
        health.parse_counts(end, "counts"),
    )
