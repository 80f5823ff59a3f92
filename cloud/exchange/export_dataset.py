"""Writes a dataset version in a format of others: LeRobot, TFDS or MCAP.

    ./bazelw run //cloud:export_dataset -- --dataset=DIR/NAME/v1.0.0 \\
        --format=lerobot --output=FOLDER

`lerobot` is LeRobot's version 3: Parquet, MP4 (H.264) and descriptions. `tfds` is what
`tfds.builder_from_directory` opens: the version's own episodes without its manifest.
`mcap` is one file for each episode, in JSON that Foxglove shows. What a format cannot
hold is printed, and stands in export.json in the folder. The folder appears whole or
not at all; the same version gives the same bytes.
"""

import base.interrupt  # noqa: F401 - Ctrl-C ends it from here on

import pathlib

from absl import app, flags

from base import command_line, path_flags
from cloud import locations
from cloud.console import open_console
from cloud.exchange import exporting

_DATASET = flags.DEFINE_string(
    "dataset", None, "URI or folder of a dataset version", required=True
)
_FORMAT = flags.DEFINE_enum(
    "format", None, exporting.FORMATS, "what is written", required=True
)
_OUTPUT = flags.DEFINE_string(
    "output", None, "new folder on this machine", required=True
)
path_flags.folders("dataset", "output")


def main(argv: list[str]) -> int:
    """Exports what the flags name."""
    if len(argv) > 1:
        raise app.UsageError(f"expected flags only, got {argv[1:]}")
    console = open_console()
    output = pathlib.Path(_OUTPUT.value).absolute()
    done = exporting.export(
        locations.to_uri(_DATASET.value), _FORMAT.value, output, console
    )
    for name, reason in done.left_behind.items():
        console.print(f"not carried over: {name}: {reason}")
    console.print(f"{done.episodes} episodes, {done.steps} steps at {output}")
    return 0


if __name__ == "__main__":
    command_line.run(main)
