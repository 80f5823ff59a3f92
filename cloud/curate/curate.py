"""Makes one version of a dataset from an index snapshot and a curation spec.

    ./bazelw run //cloud:curate -- --raw=URI --index=URI --spec=SPEC.json \\
        --output=URI/<dataset>/vX.Y.Z

The output holds `{train,val}/shard-*.tfrecord`, `manifest.json`, and the two files
that TFDS needs to open it. The same snapshot, spec, commit and time give the same bytes
for any number of workers. An episode is taken if a key of --ingest_public signed that
it is admitted, and its row, sidecar and bytes are the ones that were signed; the
manifest lists the others with the reason. The version appears whole or not at all and
never changes: the same command run again finds it identical and succeeds; different
content is refused.
"""

import base.interrupt  # noqa: F401 - Ctrl-C ends it from here on

import collections
import pathlib

from absl import app, flags

from base import command_line, path_flags
from cloud import locations
from cloud.console import open_console
from cloud.curate import curation
from cloud.figure_table import FigureTable
from cloud.ingest import ingest_key
from rlds import manifest as manifest_format
from rlds.manifest import Manifest

_RAW = flags.DEFINE_string(
    "raw", None, "URI or folder of the raw episodes", required=True
)
_INDEX = flags.DEFINE_string("index", None, "URI or folder of the index", required=True)
_SPEC = flags.DEFINE_string(
    "spec", None, "file of the curation spec (JSON)", required=True
)
_OUTPUT = flags.DEFINE_string(
    "output",
    None,
    "URI or folder of the new version, …/<dataset>/vX.Y.Z as in the spec",
    required=True,
)
_PUBLIC = flags.DEFINE_string(
    "ingest_public",
    ingest_key.PUBLIC_FILE,
    "keyring of the keys of ingest whose verdicts count",
)
_CODE_COMMIT = flags.DEFINE_string(
    "code_commit",
    None,
    "commit of the code that curates, for the manifest; default: that of the version "
    "already at --output, else the checkout's",
)
_CREATED_AT = flags.DEFINE_string(
    "created_at",
    None,
    "UTC time for the manifest, such as 2026-01-31T08:00:00Z; default: that of the "
    "version already at --output, else now",
)
_WORKERS = flags.DEFINE_integer(
    "workers", 1, "worker processes; 1 runs in this process", lower_bound=1
)
path_flags.folders("raw", "index", "output")
path_flags.files("spec", "ingest_public")


def main(argv: list[str]) -> int:
    """Curates what the flags name and prints a summary."""
    if len(argv) > 1:
        raise app.UsageError(f"expected flags only, got {argv[1:]}")
    console = open_console()
    output_uri = locations.to_uri(_OUTPUT.value)
    manifest = curation.curate(
        raw_uri=locations.to_uri(_RAW.value),
        index_uri=locations.to_uri(_INDEX.value),
        spec_file=pathlib.Path(_SPEC.value),
        output_uri=output_uri,
        code_commit=_CODE_COMMIT.value,
        created_at=_CREATED_AT.value,
        trusted=ingest_key.read_trusted(_PUBLIC.value),
        workers=_WORKERS.value,
        console=console,
    )
    console.print(_table(manifest))
    console.print(f"dataset {manifest_format.digest(manifest)} at {output_uri}")
    return 0


def _table(manifest: Manifest) -> FigureTable:
    columns = ("split", "shards", "episodes", "steps", "bytes")
    table = FigureTable(*columns, names=("split",))
    for split, shards in sorted(manifest.splits.items()):
        table.add_row(
            split,
            str(len(shards)),
            str(sum(shard.num_episodes for shard in shards)),
            str(sum(shard.num_steps for shard in shards)),
            str(sum(shard.size_bytes for shard in shards)),
        )
    for reason, count in sorted(collections.Counter(manifest.drops.values()).items()):
        table.add_row(f"dropped: {reason}", "", str(count), "", "")
    return table


if __name__ == "__main__":
    command_line.run(main)
