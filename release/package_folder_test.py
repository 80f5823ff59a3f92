import os
from pathlib import Path

import pytest

from base.errors import UnsafePathError
from release import package
from release.errors import LinkError, MissingFileError, UnknownFileError
from release.testing import tiny_release


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "package"
    tiny_release.write_package(folder)
    return folder


def test_build_twice_gives_the_same_bytes(folder: Path, tmp_path: Path) -> None:
    tiny_release.write_package(tmp_path / "again")
    assert package.pack_tar(folder) == package.pack_tar(tmp_path / "again")


STATED = ("provenance.intoto.jsonl", "blessing.intoto.jsonl", "evaluation.json")


@pytest.mark.parametrize("name", STATED)
def test_what_is_stated_does_not_change_the_digest_and_is_kept_by_a_rebuild(
    folder: Path, name: str
) -> None:
    digest = tiny_release.write_package(folder)
    (folder / name).write_bytes(b"stated")
    assert tiny_release.write_package(folder) == digest
    assert (folder / name).exists()


@pytest.mark.parametrize("name", STATED)
def test_what_is_stated_about_earlier_content_is_removed(
    folder: Path, name: str
) -> None:
    (folder / name).write_bytes(b"stated")
    tiny_release.write_package(folder, version="0.2.0")
    assert not (folder / name).exists()


@pytest.mark.parametrize("name", sorted(tiny_release.FILES))
def test_build_without_a_required_file_leaves_the_old_manifest(
    folder: Path, name: str
) -> None:
    before = (folder / "package.json").read_bytes()
    files = {key: data for key, data in tiny_release.FILES.items() if key != name}
    (folder / name).unlink()
    if name.startswith("functions"):
        (folder / "functions").rmdir()
    with pytest.raises(MissingFileError, match=name):
        tiny_release.write_package(folder, files)
    assert (folder / "package.json").read_bytes() == before


def test_build_refuses_links(folder: Path) -> None:
    (folder / "link").symlink_to("safety.json")
    with pytest.raises(LinkError, match="symbolic"):
        tiny_release.write_package(folder)
    (folder / "link").unlink()
    os.link(folder / "safety.json", folder / "hard")
    with pytest.raises(LinkError, match="hard"):
        tiny_release.write_package(folder)


def test_build_refuses_an_empty_folder_and_a_hidden_file(folder: Path) -> None:
    (folder / "nothing").mkdir()
    with pytest.raises(UnknownFileError):
        tiny_release.write_package(folder)
    (folder / "nothing").rmdir()
    (folder / ".hidden").write_bytes(b"")
    with pytest.raises(UnsafePathError):
        tiny_release.write_package(folder)
