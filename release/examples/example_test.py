"""Checks the outputs of the rules of release/defs.bzl as a robot would."""

import os
from pathlib import Path

import pytest

from base.digest import sha256_bytes
from release import channel, package, package_folder, verification
from release.errors import MissingFileError
from release.testing import tiny_release

_TAR = Path(os.environ["PACKAGE_TAR"])
_TAR_AGAIN = Path(os.environ["PACKAGE_TAR_AGAIN"])
_FOLDER = Path(os.environ["PACKAGE_FOLDER"])
_CHANNEL = Path(os.environ["CHANNEL"])


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    raw = _TAR.read_bytes()
    return package.unpack_tar(raw, tmp_path / "package", len(raw))


def test_two_actions_with_the_same_inputs_give_the_same_bytes() -> None:
    assert _TAR.read_bytes() == _TAR_AGAIN.read_bytes()


def test_folder_and_tar_hold_the_same_files(folder: Path) -> None:
    built = {
        path.relative_to(_FOLDER).as_posix(): path.read_bytes()
        for path in _FOLDER.rglob("*")
        if path.is_file()
    }
    unpacked = {
        path: (folder / path).read_bytes() for path in package_folder.list_files(folder)
    }
    assert built == unpacked


def test_the_package_is_intact_and_unsigned(tmp_path: Path, folder: Path) -> None:
    intact = verification.verify_integrity(folder, "pi5-cpu")
    assert (intact.manifest.family, intact.manifest.release_counter) == ("example", 1)
    assert sorted(intact.manifest.files) == [
        "canary.json",
        "canary.tfrecord",
        "functions/step.tflite",
        "safety.json",
        "weights.safetensors",
    ]
    trusted = tiny_release.release(tmp_path).trusted
    with pytest.raises(MissingFileError, match="provenance"):
        verification.verify_package(folder, trusted, tiny_release.NOW, "pi5-cpu", None)


def test_the_package_verifies_once_it_is_signed(tmp_path: Path, folder: Path) -> None:
    release = tiny_release.release(tmp_path)
    release.sign(folder)
    digest = verification.verify_integrity(folder).digest
    verified = verification.verify_package(
        folder, release.trusted, tiny_release.NOW, "pi5-cpu", digest
    )
    assert verified.digest == digest


def test_the_channel_names_the_tar(folder: Path) -> None:
    record = channel.parse(_CHANNEL.read_bytes())
    entry = record.package["pi5-cpu"]
    raw = _TAR.read_bytes()
    assert (entry.sha256, entry.size_bytes) == (sha256_bytes(raw), len(raw))
    assert entry.digest == verification.verify_integrity(folder).digest
    assert (record.channel, record.release_counter) == ("nightly", 1)
    assert (record.rollout.percent, record.previous) == (25, None)
