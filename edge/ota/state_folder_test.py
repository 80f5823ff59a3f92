import os
from datetime import UTC, datetime
from pathlib import Path

import pytest

from base.testing import special_files
from edge.ota import errors
from edge.ota.decide import Installed
from edge.ota.state_folder import StateFolder

ACTIVE = Installed("a" * 64, 3, "nightly", "b" * 64)


def test_pointer_reads_back_as_written(tmp_path: Path) -> None:
    state = StateFolder(tmp_path)
    with state.lock():
        assert state.read_installed() is None
        state.activate(ACTIVE)
    assert StateFolder(tmp_path).read_installed() == ACTIVE


@pytest.mark.parametrize("raw", [b"", b"{", b"[]", b'{"digest":"x"}', b"\xff" * 9])
def test_damaged_pointer_is_refused_and_kept_for_inspection(
    tmp_path: Path, raw: bytes
) -> None:
    (tmp_path / "current").write_bytes(raw)
    with pytest.raises(errors.StateFolderError, match="move it and its copy elsewhere"):
        StateFolder(tmp_path).read_installed()
    assert (tmp_path / "current").read_bytes() == raw


def test_pointer_on_a_failing_disk_is_read_from_its_copy_and_written_anew(
    tmp_path: Path,
) -> None:
    state = StateFolder(tmp_path)
    with state.lock():
        state.activate(ACTIVE)
        (tmp_path / "current").unlink()
        special_files.make(tmp_path / "current", "file of a failing disk")
        special_files.make(tmp_path / "newest_time", "file of a failing disk")
        assert state.read_installed() == ACTIVE
        assert state.read_newest_time() is None
        assert state.mend_pointer() == ACTIVE
        state.raise_newest_time(datetime(2026, 1, 1, tzinfo=UTC))
    assert (tmp_path / "current").read_bytes() == (
        tmp_path / "current.copy"
    ).read_bytes()
    assert state.read_newest_time() == datetime(2026, 1, 1, tzinfo=UTC)


def test_folder_in_the_place_of_the_newest_time_is_set_aside(tmp_path: Path) -> None:
    (tmp_path / "newest_time/in it").mkdir(parents=True)
    state, time = StateFolder(tmp_path), datetime(2026, 1, 1, tzinfo=UTC)
    with state.lock():
        assert state.read_newest_time() is None
        state.raise_newest_time(time)
    assert state.read_newest_time() == time
    assert (tmp_path / "newest_time.damaged/in it").is_dir()


@pytest.mark.parametrize("kind", [*special_files.KINDS, "full folder"])
def test_what_stands_in_the_place_of_the_lock_makes_way(
    tmp_path: Path, kind: str
) -> None:
    if kind == "full folder":
        (tmp_path / ".lock" / "in it").mkdir(parents=True)
    else:
        special_files.make(tmp_path / ".lock", kind)
    with (
        special_files.at_once(),
        StateFolder(tmp_path).lock(),
        pytest.raises(errors.UpdateInProgressError),
        StateFolder(tmp_path).lock(),
    ):
        pass
    assert (tmp_path / ".lock").is_file()


def test_unusable_folder_is_refused_with_the_flag_to_change(tmp_path: Path) -> None:
    # A file in the way: permissions would not stop a test that root runs.
    (tmp_path / "file").touch()
    state = StateFolder(tmp_path / "file" / "state")
    match = "file/state: expected a folder .* write there, or name another folder"
    with pytest.raises(errors.StateFolderError, match=match), state.lock():
        pass
    with pytest.raises(errors.StateFolderError, match=match):
        state.read_installed()
    assert (tmp_path / "file").read_bytes() == b""


def test_pipe_in_the_place_of_the_pointer_is_named_with_what_to_do(
    tmp_path: Path,
) -> None:
    for name in ("current", "current.copy"):
        os.mkfifo(tmp_path / name)
    with pytest.raises(errors.StateFolderError) as caught:
        StateFolder(tmp_path).read_installed()
    assert str(caught.value) == (
        f"{tmp_path}/current: expected a file that names the active package, got a "
        "named pipe, not a plain file; move it and its copy elsewhere: the next update "
        "writes them again"
    )


def test_second_update_at_the_same_time_is_refused(tmp_path: Path) -> None:
    with (
        StateFolder(tmp_path).lock(),
        pytest.raises(errors.UpdateInProgressError, match="wait for it"),
        StateFolder(tmp_path).lock(),
    ):
        pass


def test_sweep_keeps_only_what_the_pointer_names(tmp_path: Path) -> None:
    assert ACTIVE.previous is not None
    state = StateFolder(tmp_path)
    with state.lock():
        state.activate(ACTIVE)
        for name in (ACTIVE.digest, ACTIVE.previous, "c" * 64, ".tmp-old"):
            folder = tmp_path / "packages" / name
            folder.mkdir()
            (folder / "file").write_text("x")
        (tmp_path / "packages" / ".tmp-file").write_text("x")
        (tmp_path / ".tmp-pointer").write_text("x")
        state.sweep(ACTIVE)
    left = {p.name for p in (tmp_path / "packages").iterdir()}
    assert left == {ACTIVE.digest, ACTIVE.previous}
    assert not (tmp_path / ".tmp-pointer").exists()


def test_failed_staging_leaves_nothing(tmp_path: Path) -> None:
    state = StateFolder(tmp_path)
    with state.lock():
        with pytest.raises(RuntimeError), state.stage() as folder:
            (folder / "half").write_text("x")
            raise RuntimeError
        assert list((tmp_path / "packages").iterdir()) == []
