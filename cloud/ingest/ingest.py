"""Judges every uploaded episode: admitted, or quarantined with a reason.

    ./bazelw run //cloud:ingest -- --raw=URI --enrolled=ROBOT.json[,ROBOT.json]

The verdict is written beside each episode below `rlds_v0/`, as `admission.json`, and
signed: only what --ingest_key signed counts for //cloud:index and //cloud:curate.
Nothing is moved or deleted, so the next run judges an episode again that has been
repaired or completed, and a run over unchanged episodes writes nothing. The exit code
is 1 when any episode is quarantined, after every verdict is written. A fleet, where one
robot's bad upload must not stop the pipeline, sets --nofail_on_quarantine.
"""

import base.interrupt  # noqa: F401 - Ctrl-C ends it from here on

import collections
import datetime
import pathlib

import rich.console
from absl import app, flags

from base import command_line, path_flags
from base.errors import one_line
from base.store import store
from cloud import locations
from cloud.console import open_console
from cloud.errors import QuarantineError
from cloud.figure_table import FigureTable
from cloud.ingest import enrolment, ingest_key, judge, raw_store
from cloud.ingest.judge import Judge

_RAW = flags.DEFINE_string(
    "raw", None, "URI or folder of the raw episodes", required=True
)
_ENROLLED = flags.DEFINE_list(
    "enrolled",
    None,
    "files of enrolled robot keys, as //edge:record --enrol writes them",
    required=True,
)
_KEY = flags.DEFINE_string(
    "ingest_key",
    ingest_key.KEY_FILE,
    "private key file that signs verdicts, mode 0600; made if it does not exist, with "
    "its public half beside it",
)
_PUBLIC = flags.DEFINE_string(
    "ingest_public",
    None,
    "keyring of keys used before, whose claims still count",
)
_EPISODE_LIMIT = flags.DEFINE_integer(
    "episode_limit_bytes",
    256 * 1024 * 1024,
    "largest episode that is read, in bytes",
    lower_bound=1,
)
_READERS = flags.DEFINE_integer(
    "readers", 4, "episodes read at the same time, one thread each", lower_bound=1
)
_UNWRITTEN = "verdict_not_written"
_FAIL = flags.DEFINE_bool(
    "fail_on_quarantine",
    True,
    "exit with 1 if any episode is quarantined, now or by an earlier run, after all "
    "are judged; turn it off for a fleet, where one robot's bad upload must not stop "
    "the others",
)
path_flags.folders("raw")
path_flags.files("enrolled", "ingest_key", "ingest_public")


def main(argv: list[str]) -> int:
    """Judges the episodes that the flags name and prints a summary."""
    if len(argv) > 1:
        raise app.UsageError(f"expected flags only, got {argv[1:]}")
    enrolled = enrolment.read(pathlib.Path(path) for path in _ENROLLED.value)
    console = open_console()
    raw = store.open_store(locations.to_uri(_RAW.value))
    earlier = ingest_key.read_trusted(_PUBLIC.value) if _PUBLIC.value else None
    # Listed before a key is made: a mistyped address must not leave one behind.
    listing = raw_store.read(raw)
    key = ingest_key.open_key(_KEY.value)
    summary = judge.ingest(
        Judge(
            raw,
            enrolled,
            key,
            ingest_key.trust(key, earlier),
            size_limit_bytes=_EPISODE_LIMIT.value,
            judged_at=datetime.datetime.now(datetime.UTC),
        ),
        listing,
        readers=_READERS.value,
        console=console,
    )
    _report(summary, console)
    if _FAIL.value:
        _require_all_admitted(summary, raw.uri)
    return 0


def _require_all_admitted(summary: judge.Summary, uri: str) -> None:
    refused = [one for one in summary.judged if not _is_admitted(one)]
    if refused:
        first = refused[0]
        raise QuarantineError(
            f"{uri}/{first.folder.path}",
            "every episode to be admitted",
            f"{len(refused)} of {len(summary.judged)} quarantined, this one for "
            f"{_why(first)}",
            "repair or remove it and run this again",
        )


def _is_admitted(judged: judge.Judged) -> bool:
    verdict = judged.verdict
    return verdict is not None and verdict.admitted and not judged.unwritten


def _why(judged: judge.Judged) -> str:
    if judged.unwritten or judged.verdict is None:
        return f"{_UNWRITTEN} ({judged.unwritten})"
    return f"{judged.verdict.reason} ({judged.verdict.detail})"


def tabulate(summary: judge.Summary) -> FigureTable:
    """Counts the episodes of each verdict and reason, with an example of each."""
    table = FigureTable(
        "reason",
        "verdict",
        "episodes",
        "for example",
        "detail",
        names=("verdict", "detail"),
    )
    counts = collections.Counter((v.status, v.reason.value) for v in summary.verdicts)
    for (status, reason), count in sorted(counts.items()):
        example = next(
            v for v in summary.verdicts if (v.status, v.reason) == (status, reason)
        )
        table.add_row(reason, status, str(count), example.episode_id, example.detail)
    unwritten = [one for one in summary.judged if one.unwritten]
    if unwritten:
        first = unwritten[0]
        table.add_row(
            _UNWRITTEN,
            "none",
            str(len(unwritten)),
            first.folder.episode_id,
            first.unwritten,
        )
    return table


def _report(summary: judge.Summary, console: rich.console.Console) -> None:
    console.print(tabulate(summary))
    console.print(
        f"{len(summary.judged)} episodes judged, {summary.written} verdicts new or "
        "changed"
    )
    for one in (one for one in summary.judged if one.unwritten):
        console.print(f"no verdict written: {one.folder.path}: {one.unwritten}")
    for path in summary.strangers:
        console.print(f"left alone, not part of an episode: {one_line(path)}")


if __name__ == "__main__":
    command_line.run(main)
