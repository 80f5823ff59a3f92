"""Builds the index of admitted episodes, and answers questions about it.

    ./bazelw run //cloud:index -- --raw=URI --index=URI
    ./bazelw run //cloud:index -- --index=URI \\
        --query="SELECT task, count(*) FROM episodes GROUP BY task ORDER BY task"

With --raw the whole index is rebuilt from the verdicts of //cloud:ingest:
`snapshot.jsonl`, whose SHA-256 identifies the index's content, and `episodes.duckdb`,
the same rows for other tools. A verdict counts if a key of --ingest_public signed it
and sidecar and episode are still the ones that were judged; the others are named and
left out. With --query one SELECT over the table `episodes` is
answered from the snapshot.
"""

import base.interrupt  # noqa: F401 - Ctrl-C ends it from here on

from absl import app, flags

from base import command_line, path_flags
from cloud import locations
from cloud.console import WorkProgress, open_console
from cloud.figure_table import FigureTable
from cloud.index import build, query, snapshot
from cloud.ingest import ingest_key

_RAW = flags.DEFINE_string(
    "raw", None, "URI or folder of the raw episodes; builds the index from them"
)
_INDEX = flags.DEFINE_string("index", None, "URI or folder of the index", required=True)
_PUBLIC = flags.DEFINE_string(
    "ingest_public",
    ingest_key.PUBLIC_FILE,
    "keyring of the keys whose verdicts count; with --raw only",
)
_READERS = flags.DEFINE_integer(
    "readers", 4, "episodes read at the same time, one thread each", lower_bound=1
)
_QUERY = flags.DEFINE_string(
    "query", None, "one SELECT over the table `episodes`; prints the answer"
)
path_flags.folders("raw", "index")
path_flags.files("ingest_public")


def main(argv: list[str]) -> int:
    """Builds the index, answers the query, or both."""
    if len(argv) > 1:
        raise app.UsageError(f"expected flags only, got {argv[1:]}")
    if _RAW.value is None and _QUERY.value is None:
        raise app.UsageError("expected --raw=URI, --query=SQL or both, got neither")
    index_uri = locations.to_uri(_INDEX.value)
    console = open_console()
    if _RAW.value is not None:
        trusted = ingest_key.read_trusted(_PUBLIC.value)
        raw_uri = locations.to_uri(_RAW.value)
        with WorkProgress(console, "index"):
            built = build.build(raw_uri, index_uri, trusted, _READERS.value)
        for path, why in built.refused:
            console.print(f"refused {path}: {why}")
        console.print(
            f"{len(built.index.rows)} episodes indexed; {built.quarantined} "
            f"quarantined, {built.not_judged} not judged yet, {len(built.refused)} "
            "refused"
        )
        console.print(f"snapshot {built.index.digest} at {index_uri}/{snapshot.FILE}")
    if _QUERY.value is not None:
        answer = query.run(snapshot.read(index_uri), _QUERY.value)
        console.print(_table(answer))
    return 0


def _table(answer: query.Answer) -> FigureTable:
    columns = zip(answer.columns, zip(*answer.rows, strict=True), strict=False)
    names = [name for name, cells in columns if not all(map(_is_figure, cells))]
    table = FigureTable(*answer.columns, names=names)
    for row in answer.rows:
        table.add_row(*("" if cell is None else str(cell) for cell in row))
    return table


def _is_figure(cell: object) -> bool:
    return cell is None or isinstance(cell, int | float)


if __name__ == "__main__":
    command_line.run(main)
