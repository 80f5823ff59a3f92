"""Makes an unsigned package: a folder with its package.json, and its tar.

    ./bazelw run //release:pack -- --fields=fields.json --family=F --model_version=V \\
        --target=pi5-cpu --file=SOURCE:functions/step.tflite … --folder=OUT --tar=TAR

The same inputs give the same bytes. The rule `edge_package` runs this as a build
action, without any key.
"""

import base.interrupt  # noqa: F401 - Ctrl-C ends it from here on

import shutil
from pathlib import Path

from absl import app, flags

from base import command_line, durable_file, path_flags, plain_file
from base.json_fields import Fields, decode
from release import package, package_folder
from release.errors import DuplicateNameError
from release.limits import LIMITS
from release.package_tar import check_package_path

_FIELDS = flags.DEFINE_string(
    "fields",
    None,
    "JSON file with robot, functions, surfaces, backbone_digest, safety_version and "
    "metadata, as package.json holds them",
    required=True,
)
_FAMILY = flags.DEFINE_string(
    "family", None, "name shared by all versions", required=True
)
_VERSION = flags.DEFINE_string(
    "model_version", None, "version of the model", required=True
)
_COUNTER = flags.DEFINE_integer(
    "release_counter",
    0,
    "lowest channel counter under which it may be released",
    lower_bound=0,
)
_TARGET = flags.DEFINE_enum(
    "target", None, package.TARGETS, "export target", required=True
)
_FILES = flags.DEFINE_multi_string(
    "file", [], "SOURCE:PATH, a file and its path in the package; may be repeated"
)
_FOLDER = flags.DEFINE_string(
    "folder", None, "new or empty folder to fill", required=True
)
_PROVENANCE = flags.DEFINE_string(
    "provenance",
    None,
    "signed provenance envelope to add to the folder; default: none",
)
_BLESSING = flags.DEFINE_string(
    "blessing",
    None,
    "signed blessing envelope to add to the folder; default: none",
)
_EVALUATION = flags.DEFINE_string(
    "evaluation",
    None,
    "evaluation report that the blessing names, to add to the folder; default: none",
)
_TAR = flags.DEFINE_string("tar", None, "tar file to write; default: none")


_QUIET = flags.DEFINE_bool("quiet", False, "do not print the digest")
path_flags.folders("folder")
path_flags.files("fields", "provenance", "blessing", "evaluation", "tar")


def main(argv: list[str]) -> None:
    """Builds the package that the flags describe and prints its digest."""
    if len(argv) > 1:
        raise app.UsageError(f"unknown arguments: {argv[1:]}")
    folder = Path(_FOLDER.value)
    _copy_files(folder)
    digest = _build(folder)
    unlisted = (
        (_PROVENANCE, package.PROVENANCE),
        (_BLESSING, package.BLESSING),
        (_EVALUATION, package.EVALUATION),
    )
    for flag, name in unlisted:
        if flag.value:
            shutil.copyfile(flag.value, folder / name)
    if not _QUIET.value:
        command_line.say(digest)
    if _TAR.value:
        durable_file.write(Path(_TAR.value), package.pack_tar(folder))


def _copy_files(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    if any(folder.iterdir()):
        raise app.UsageError(f"--folder={folder}: expected an empty folder")
    for argument in _FILES.value:
        source, _, path = argument.rpartition(":")
        file = folder / check_package_path(path, "--file")
        if file.exists():
            raise DuplicateNameError("--file", "each path once", path)
        file.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, file)


def _build(folder: Path) -> str:
    path = Path(_FIELDS.value)
    keys = (
        "robot",
        "functions",
        "surfaces",
        "backbone_digest",
        "safety_version",
        "metadata",
    )
    value = decode(
        plain_file.read(path, LIMITS.manifest_bytes), path, LIMITS.manifest_bytes
    )
    fields = Fields(value, path, keys, optional=("learning",))
    return package_folder.build(
        folder,
        family=_FAMILY.value,
        version=_VERSION.value,
        release_counter=_COUNTER.value,
        target=_TARGET.value,
        robot=fields.mapping("robot"),
        functions=fields.mapping("functions"),
        surfaces=fields.mapping("surfaces"),
        backbone_digest=fields.text("backbone_digest"),
        safety_version=fields.text("safety_version"),
        metadata=fields.mapping("metadata"),
        learning=fields.mapping("learning") if fields.has("learning") else None,
    )


if __name__ == "__main__":
    command_line.run(main)
