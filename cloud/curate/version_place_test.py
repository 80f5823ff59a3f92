import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from cloud.curate import version_place
from cloud.dataset import version
from cloud.errors import DatasetExistsError

_BUILDER = """
    import os, sys, signal
    sys.path[:] = {path!r}
    from cloud.curate import version_place
    with version_place.build_folder({uri!r}) as folder:
        (folder / "half-written").write_text("x")
        print(folder, flush=True)
        signal.pause()
"""


def _build(uri: str, content: str) -> None:
    with version_place.build_folder(uri) as folder:
        version = folder / "dataset"
        (version / "train").mkdir(parents=True)
        (version / "train" / "shard").write_text(content)
        (version / "manifest.json").write_text(content)
        version_place.move(version, uri)


def _start_builder(uri: str) -> tuple[subprocess.Popen[str], str]:
    code = textwrap.dedent(_BUILDER.format(path=sys.path, uri=uri))
    builder = subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, text=True
    )
    assert builder.stdout is not None
    return builder, builder.stdout.readline().strip()


def _names(folder: Path) -> list[str]:
    return sorted(os.listdir(folder))  # noqa: PTH208  (hidden names count too)


def test_a_version_appears_whole_and_leaves_nothing_beside_it(tmp_path: Path) -> None:
    destination = tmp_path / "reach" / "v1.0.0"
    _build(destination.as_uri(), "first")
    assert (destination / "train" / "shard").read_text() == "first"
    assert _names(destination) == ["manifest.json", "train"]
    assert _names(tmp_path / "reach") == ["v1.0.0"]
    assert (destination / "manifest.json").read_bytes() == b"first"


def test_an_empty_folder_is_not_a_version(tmp_path: Path) -> None:
    destination = tmp_path / "v1.0.0"
    destination.mkdir()
    assert version.existing_manifest(destination.as_uri()) is None
    _build(destination.as_uri(), "first")
    assert (destination / "manifest.json").read_bytes() == b"first"


def test_an_existing_version_is_not_replaced(tmp_path: Path) -> None:
    destination = tmp_path / "v1.0.0"
    _build(destination.as_uri(), "first")
    with pytest.raises(DatasetExistsError, match="never changes"):
        _build(destination.as_uri(), "second")
    assert (destination / "train" / "shard").read_text() == "first"
    assert _names(tmp_path) == ["v1.0.0"]


def test_a_failed_build_leaves_nothing(tmp_path: Path) -> None:
    destination = tmp_path / "v1.0.0"
    with (
        pytest.raises(KeyError),
        version_place.build_folder(destination.as_uri()) as folder,
    ):
        (folder / "half-written").write_text("x")
        raise KeyError
    assert _names(tmp_path) == []


def test_leftovers_of_a_killed_build_are_removed_by_the_next(tmp_path: Path) -> None:
    destination = tmp_path / "v1.0.0"
    builder, folder = _start_builder(destination.as_uri())
    builder.send_signal(signal.SIGKILL)
    builder.wait()
    assert _names(tmp_path) == [os.path.basename(folder)]  # noqa: PTH119
    _build(destination.as_uri(), "second try")
    assert _names(tmp_path) == ["v1.0.0"]


def test_a_build_that_is_still_running_keeps_its_folder(tmp_path: Path) -> None:
    destination = tmp_path / "v1.0.0"
    builder, folder = _start_builder(destination.as_uri())
    try:
        _build(destination.as_uri(), "faster")
        assert _names(Path(folder)) == ["half-written"]
    finally:
        builder.kill()
        builder.wait()
    assert (destination / "manifest.json").read_text() == "faster"
