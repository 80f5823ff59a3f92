import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from base import canonical_json
from base.digest import sha256_bytes
from base.errors import MalformedError, OversizedError, UnsafePathError
from release import package
from release.errors import (
    DuplicateNameError,
    MissingFileError,
)
from release.testing import tiny_release

GOLDEN_DIGEST_OF_FORMAT_1 = (
    "5ba3185f1fec6f44af2bbd229488f2671c3a74118bb2c60041eb318c6e43ddb5"
)
GOLDEN_DIGEST = "3f7ab15c08d598f9e32af018e7b3cfcd85a6121161cad8365a5c8a50c8602b31"
GOLDEN_TAR = "552ca6af56e3d7a1ae02544ab12c2698b46babdcf3f3b1958cce3993dc596ccb"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "package"
    tiny_release.write_package(folder)
    return folder


def manifest_with(folder: Path, change: Callable[[dict[str, Any]], object]) -> bytes:
    value = json.loads((folder / "package.json").read_bytes())
    change(value)
    return canonical_json.encode(value)


def test_build_lists_every_file_and_returns_the_manifest_digest(folder: Path) -> None:
    manifest = package.parse((folder / "package.json").read_bytes())
    assert manifest.digest == tiny_release.write_package(folder)
    assert list(manifest.files) == sorted(tiny_release.FILES)
    assert manifest.files["canary.tfrecord"].size_bytes == len(b"canary")
    assert manifest.size_bytes == sum(map(len, tiny_release.FILES.values()))
    assert manifest.functions["step"].path == "functions/step.tflite"
    assert manifest.robot.action.minimum == (-1.0, -1.0)
    assert manifest.robot.observation["state"].shape == (3,)
    assert manifest.robot.tasks == ("reach-v3",)
    assert manifest.surfaces["calibration"].bound == 0.5
    assert manifest.metadata.training_config == {"steps": 10}


def to_format_one(value: dict[str, Any]) -> None:
    """Takes away what format 2 added."""
    value["schema_version"] = 1
    value["files"] = [one for one in value["files"] if one["path"] != "canary.json"]
    del value["robot"]["robot_model"]
    for key in ("dataset_name", "dataset_version"):
        del value["metadata"][key]


def test_a_package_of_format_one_is_still_read(folder: Path) -> None:
    raw = manifest_with(folder, to_format_one)
    manifest = package.parse(raw)
    assert manifest.digest == GOLDEN_DIGEST_OF_FORMAT_1
    assert manifest.robot.robot_model is None
    assert (manifest.metadata.dataset_name, manifest.metadata.dataset_version) == (
        None,
        None,
    )


@pytest.mark.parametrize(
    ("change", "match"),
    [
        (lambda v: v.update(schema_version=1), "only fields of the format"),
        (lambda v: v.update(schema_version=3), "schema_version to be 1 or 2"),
        (lambda v: v["robot"].pop("robot_model"), r"field robot\.robot_model"),
        (lambda v: v["robot"].update(robot_model=""), r"robot\.robot_model to be"),
        (lambda v: v["metadata"].pop("dataset_name"), r"metadata\.dataset_name"),
        (lambda v: v["metadata"].pop("dataset_version"), r"metadata\.dataset_version"),
    ],
)
def test_format_two_names_robot_model_and_dataset(
    folder: Path, change: Callable[[dict[str, Any]], object], match: str
) -> None:
    manifest = package.parse((folder / "package.json").read_bytes())
    assert manifest.robot.robot_model == "tiny"
    assert manifest.metadata.dataset_name == "tiny"
    assert manifest.metadata.dataset_version == "1.0.0"
    with pytest.raises(MalformedError, match=match):
        package.parse(manifest_with(folder, change))


def test_a_package_of_format_two_keeps_its_digest(folder: Path) -> None:
    assert tiny_release.write_package(folder) == GOLDEN_DIGEST
    assert sha256_bytes(package.pack_tar(folder)) == GOLDEN_TAR


@pytest.mark.parametrize(
    "path", ["/etc/passwd", "../up", "a/../b", ".hidden", "a//b", "a" * 100]
)
def test_a_listed_path_out_of_the_package_is_refused(folder: Path, path: str) -> None:
    raw = manifest_with(folder, lambda v: v["files"][0].update(path=path))
    with pytest.raises(UnsafePathError):
        package.parse(raw)


@pytest.mark.parametrize("path", ["canary.tfrecord", "CANARY.tfrecord"])
def test_a_path_listed_twice_is_refused(folder: Path, path: str) -> None:
    def repeat(value: dict[str, Any]) -> None:
        value["files"].insert(1, {**value["files"][0], "path": path})

    with pytest.raises(DuplicateNameError):
        package.parse(manifest_with(folder, repeat))


def test_a_duplicate_json_name_is_refused(folder: Path) -> None:
    raw = (folder / "package.json").read_bytes()
    raw = raw.replace(b'"family":"tiny"', b'"family":"tiny","family":"tiny"')
    with pytest.raises(MalformedError):
        package.parse(raw)


@pytest.mark.parametrize("raw", [b"", b"null", b"[]", b"{}", b"\xff", b"{" * 100_000])
def test_bytes_that_are_not_a_manifest_raise_malformed_error(raw: bytes) -> None:
    with pytest.raises(MalformedError):
        package.parse(raw)


def test_a_manifest_that_is_not_canonical_json_is_refused(folder: Path) -> None:
    raw = (folder / "package.json").read_bytes()
    with pytest.raises(MalformedError, match="canonical"):
        package.parse(raw + b"\n")


def test_an_oversized_manifest_is_not_decoded() -> None:
    with pytest.raises(OversizedError):
        package.parse(b" " * (2 << 20))


def test_more_bytes_than_a_package_may_hold_are_refused(folder: Path) -> None:
    raw = manifest_with(folder, lambda v: v["files"][0].update(size_bytes=1 << 40))
    with pytest.raises(OversizedError):
        package.parse(raw)


@pytest.mark.parametrize(
    "change",
    [
        lambda v: v.update(schema_version=3),
        lambda v: v.update(more=1),
        lambda v: v.pop("surfaces"),
        lambda v: v.update(family=""),
        lambda v: v.update(release_counter=-1),
        lambda v: v.update(release_counter=True),
        lambda v: v.update(release_counter=1.5),
        lambda v: v.update(target="pi4"),
        lambda v: v.update(backbone_digest="A" * 64),
        lambda v: v["metadata"].update(export_target="tpu"),
        lambda v: v["metadata"].update(dataset_manifest_digest=""),
        lambda v: v["metadata"].pop("hardware"),
        lambda v: v["metadata"].update(training_config=[]),
        lambda v: v["files"].reverse(),
        lambda v: v["files"][0].update(sha256="0"),
        lambda v: v["files"][0].update(size_bytes=-1),
        lambda v: v["files"][0].update(mode=0),
        lambda v: v["robot"].update(control_hz=0),
        lambda v: v["robot"].update(tasks=[]),
        lambda v: v["robot"].update(tasks=["a", "a"]),
        lambda v: v["robot"]["action"].update(minimum=[-1]),
        lambda v: v["robot"]["action"].update(minimum=[2, -1]),
        lambda v: v["robot"]["observation"]["state"].update(shape=[-3]),
        lambda v: v["surfaces"]["calibration"].update(bound=0),
        lambda v: v["surfaces"]["calibration"].update(size=0),
        lambda v: v["functions"]["step"]["inputs"].append(
            v["functions"]["step"]["inputs"][0]
        ),
    ],
)
def test_a_field_of_another_form_is_malformed(
    folder: Path, change: Callable[[dict[str, Any]], object]
) -> None:
    with pytest.raises(MalformedError):
        package.parse(manifest_with(folder, change))


@pytest.mark.parametrize(
    "change",
    [
        lambda v: v["functions"].pop("step"),
        lambda v: v["functions"]["step"].update(path="functions/other"),
        lambda v: v["files"].pop(0),
    ],
)
def test_a_manifest_without_a_required_file_or_function_is_refused(
    folder: Path, change: Callable[[dict[str, Any]], object]
) -> None:
    with pytest.raises(MissingFileError):
        package.parse(manifest_with(folder, change))


@pytest.mark.parametrize("name", package.UNLISTED)
def test_a_manifest_that_lists_itself_or_a_statement_is_refused(
    folder: Path, name: str
) -> None:
    def add(value: dict[str, Any]) -> None:
        value["files"].append({**value["files"][0], "path": name})
        value["files"].sort(key=lambda entry: entry["path"])

    with pytest.raises(MalformedError, match="entries for content files only"):
        package.parse(manifest_with(folder, add))
