"""Imports other people's data as a version of a dataset, ready to train on.

    ./bazelw run //cloud:import -- --source=FOLDER --output=DIR/NAME/v1.0.0
    ./bazelw run //cloud:train -- --dataset=DIR/NAME/v1.0.0 --environment=none

Reads RLDS datasets as TFDS keeps them (Open X-Embodiment's form) and LeRobot datasets
of version 3 and 2. State and action become 32-bit numbers, the pictures of all cameras
JPEG; what is not carried over is printed, and stands in import.json in the version.
Success that the source does not state stays unknown. An episode that cannot be carried
over is one line with its name and field, and the others are imported. The version
appears whole or not at all; the same source and flags give the same bytes, also after a
kill.
"""

import base.interrupt  # noqa: F401 - Ctrl-C ends it from here on

import pathlib

from absl import app, flags

from base import command_line, path_flags, text_forms
from cloud import locations
from cloud.console import open_console
from cloud.exchange import importing
from cloud.exchange.importing import Request
from cloud.exchange.recorded import Choice
from cloud.figure_table import FigureTable
from rlds import manifest as manifest_format
from rlds.manifest import Manifest

_NO_CAMERA = "none"

_SOURCE = flags.DEFINE_string(
    "source", None, "folder of the data: of TFDS or of LeRobot", required=True
)
_OUTPUT = flags.DEFINE_string(
    "output",
    None,
    "URI or folder of the new version, …/<dataset>/vX.Y.Z",
    required=True,
)
_STATE = flags.DEFINE_list(
    "state",
    [],
    "features that make the state, in this order; default: observation/state, "
    "observation/proprio or observation.state, else all numbers that are observed",
)
_ACTION = flags.DEFINE_list(
    "action", [], "features that make the action, in this order; default: action"
)
_CAMERA = flags.DEFINE_list(
    "camera",
    [],
    f"cameras whose pictures are kept, by name, or {_NO_CAMERA}; default: all",
)
_IMAGE_SIZE = flags.DEFINE_integer(
    "image_size",
    256,
    "longest side of a picture in pixels, larger ones are scaled; 0 keeps their size",
    lower_bound=0,
)
_CONTROL_HZ = flags.DEFINE_float(
    "control_hz",
    None,
    "control steps per second, which RLDS does not say; default: what the data say",
    lower_bound=1e-3,
)
_ROBOT_MODEL = flags.DEFINE_string(
    "robot_model",
    None,
    "make of the robot, which the package then fits; default: what the data say, else "
    "the name of the dataset",
)
_ENVIRONMENT_ID = flags.DEFINE_string(
    "environment_id", None, "what the robot acted in; default: the name of the dataset"
)
_TASK = flags.DEFINE_string(
    "task", None, "the task of all episodes; default: the one that each states"
)
_ACTOR = flags.DEFINE_enum(
    "actor", None, ["expert", "human"], "who acted; default: nobody knows"
)
_SIMULATED = flags.DEFINE_bool(
    "simulated", False, "whether the robot is known to be simulated"
)
_HELD_OUT = flags.DEFINE_integer(
    "held_out",
    0,
    "episodes of each task to hold out; default, 0: those of a split val or test "
    "of the data, else a tenth, but 8 of tasks with 32 to 80 episodes",
    lower_bound=0,
)
_CREATED_AT = flags.DEFINE_string(
    "created_at",
    "2026-01-01T00:00:00Z",
    "UTC time for the manifest; one that is always the same gives the same bytes",
)
_CODE_COMMIT = flags.DEFINE_string(
    "code_commit",
    None,
    "commit of the code that imports, for the manifest; default: that of the version "
    "already at --output, else the checkout's",
)
path_flags.folders("source", "output")


def main(argv: list[str]) -> int:
    """Imports what the flags name and prints what became of it."""
    if len(argv) > 1:
        raise app.UsageError(f"expected flags only, got {argv[1:]}")
    text_forms.parse_time(_CREATED_AT.value, "--created_at")
    console = open_console()
    output_uri = locations.to_uri(_OUTPUT.value)
    request = Request(
        source=pathlib.Path(_SOURCE.value).absolute(),
        output_uri=output_uri,
        choice=Choice(
            state=tuple(_STATE.value),
            action=tuple(_ACTION.value),
            cameras=None if _CAMERA.value == [_NO_CAMERA] else tuple(_CAMERA.value),
            control_hz=_CONTROL_HZ.value,
            image_size=_IMAGE_SIZE.value,
            reads_task=_TASK.value is None,
        ),
        robot_model=_ROBOT_MODEL.value or "",
        environment=_ENVIRONMENT_ID.value or "",
        task=_TASK.value,
        actor=_ACTOR.value or "",
        simulated=_SIMULATED.value,
        held_out=_HELD_OUT.value,
        created_at=_CREATED_AT.value,
        code_commit=_CODE_COMMIT.value,
    )
    manifest, report = importing.import_dataset(request, console)
    for line in importing.describe(manifest, report):
        console.print(line)
    console.print(_table(manifest))
    console.print(f"dataset {manifest_format.digest(manifest)} at {output_uri}")
    console.print(f"next: {importing.suggest_training(manifest, report, output_uri)}")
    return 0


def _table(manifest: Manifest) -> FigureTable:
    columns = ("split", "shards", "episodes", "tasks", "steps", "bytes")
    table = FigureTable(*columns, names=("split",))
    for split, shards in sorted(manifest.splits.items()):
        table.add_row(
            split,
            str(len(shards)),
            str(sum(shard.num_episodes for shard in shards)),
            str(len(manifest.tasks.get(split, {}))),
            str(sum(shard.num_steps for shard in shards)),
            str(sum(shard.size_bytes for shard in shards)),
        )
    return table


if __name__ == "__main__":
    command_line.run(main)
