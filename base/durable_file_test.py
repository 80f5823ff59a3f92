import errno
import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest

from base import durable_file
from base.errors import DiskError
from base.testing import special_files

_WRITE_OVER_LIMIT = """
import pathlib, resource, signal, sys
from base import durable_file
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (100, 100))
try:
    durable_file.write(pathlib.Path(sys.argv[1]), bytes(1000))
except durable_file.DiskError as e:
    print(e)
"""


def test_write_sets_content_and_mode(tmp_path: Path) -> None:
    path = tmp_path / "file"
    os.umask(os.umask(0o022))
    durable_file.write(path, b"one", mode=0o600)
    durable_file.write(path, b"two", mode=0o666)
    assert path.read_bytes() == b"two"
    assert path.stat().st_mode & 0o777 == 0o644
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("umask", [0o077, 0o027, 0o022, 0o002, 0o000])
def test_files_and_folders_follow_the_umask_and_private_ones_are_private(
    tmp_path: Path, umask: int
) -> None:
    before = os.umask(umask)
    try:
        durable_file.write(tmp_path / "shared", b"1")
        durable_file.create(tmp_path / "made", b"1")
        durable_file.write(tmp_path / "private", b"1", durable_file.PRIVATE)
        folder = durable_file.make_folder(tmp_path, "folder-")
    finally:
        os.umask(before)

    def mode(path: Path) -> int:
        return path.stat().st_mode & 0o777

    assert mode(tmp_path / "shared") == mode(tmp_path / "made") == 0o666 & ~umask
    assert mode(tmp_path / "private") == 0o600
    assert mode(folder) == 0o777 & ~umask


def test_a_file_that_is_there_is_not_created_again(tmp_path: Path) -> None:
    durable_file.create(tmp_path / "file", b"first")
    with pytest.raises(FileExistsError):
        durable_file.create(tmp_path / "file", b"second")
    assert (tmp_path / "file").read_bytes() == b"first"
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_a_file_is_created_where_there_are_no_hard_links(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError(errno.EPERM, os.strerror(errno.EPERM))

    monkeypatch.setattr(os, "link", refuse)
    durable_file.create(tmp_path / "file", b"first")
    with pytest.raises(FileExistsError):
        durable_file.create(tmp_path / "file", b"second")
    assert (tmp_path / "file").read_bytes() == b"first"
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_a_file_cannot_be_created_in_a_folder_that_is_absent(tmp_path: Path) -> None:
    with pytest.raises(DiskError, match="to create it with 1 bytes"):
        durable_file.create(tmp_path / "none" / "file", b"1")


def test_refused_write_leaves_the_old_content_unchanged(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"old")
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(
        [sys.executable, "-c", _WRITE_OVER_LIMIT, path],
        capture_output=True,
        text=True,
        check=True,
        env=environment,
    )
    assert done.stdout == (
        f"{path}: expected to write 1000 bytes, got File too large; "
        "free space or repair the disk\n"
    )
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]
    assert resource.getrlimit(resource.RLIMIT_FSIZE)[0] != 100


def test_folder_in_the_place_of_a_record_is_set_aside_and_no_other_file_is(
    tmp_path: Path,
) -> None:
    path = tmp_path / "record"
    (path / "in it").mkdir(parents=True)
    durable_file.write_record(path, b"first")
    durable_file.write_record(path, b"second")
    assert path.read_bytes() == b"second"
    aside = tmp_path / "record.damaged"
    assert sorted(tmp_path.iterdir()) == [path, aside]
    assert [one.name for one in aside.iterdir()] == ["in it"]
    other = tmp_path / "other"
    other.mkdir()
    path.unlink()
    path.symlink_to(other)
    durable_file.write_record(path, b"third")
    assert not path.is_symlink()
    assert sorted(tmp_path.iterdir()) == [other, path, aside]
    with pytest.raises(DiskError, match="Is a directory"):
        durable_file.write(other, b"a result that a person asked for")


def test_missing_folder_is_a_disk_error_with_a_remedy_about_the_path(
    tmp_path: Path,
) -> None:
    with pytest.raises(DiskError, match="No such file or directory; check that the pa"):
        durable_file.write(tmp_path / "none" / "file", b"")
    with pytest.raises(DiskError, match="No such file"):
        durable_file.fsync_folder(tmp_path / "none")
    assert list(tmp_path.iterdir()) == []


def test_checking_that_a_path_is_writable_changes_nothing(tmp_path: Path) -> None:
    path = tmp_path / "file"
    durable_file.check_writable(path)
    assert list(tmp_path.iterdir()) == []
    path.write_bytes(b"old")
    durable_file.check_writable(path)
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_path_that_cannot_be_written_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    for path in (tmp_path / "none" / "x", tmp_path / "file" / "x", tmp_path):
        with pytest.raises(DiskError, match="check that the path is right") as caught:
            durable_file.check_writable(path)
        assert caught.value.source == str(path)


@pytest.mark.parametrize(
    ("code", "remedy"),
    [
        (errno.EACCES, "let this user"),
        (errno.EROFS, "let this user"),
        (errno.ENOSPC, "free space"),
        (errno.EIO, "free space or repair"),
        (None, "free space"),
    ],
)
def test_remedy_matches_the_system_error(
    tmp_path: Path, code: int | None, remedy: str
) -> None:
    error = OSError(code, "reason") if code else OSError()
    typed = durable_file.disk_error(tmp_path, "to write", error)
    assert typed.remedy.startswith(remedy)


def test_leftovers_are_removed_and_other_files_stay(tmp_path: Path) -> None:
    (tmp_path / ".tmp-0123").write_bytes(b"half")
    (tmp_path / "kept").write_bytes(b"whole")
    (tmp_path / ".tmp-folder").mkdir()
    durable_file.remove_leftovers(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {"kept", ".tmp-folder"}


def test_file_in_use_by_another_writer_is_not_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole_fsync = os.fsync

    def sweep_then_fsync(descriptor: int) -> None:
        durable_file.remove_leftovers(tmp_path)
        whole_fsync(descriptor)

    monkeypatch.setattr(os, "fsync", sweep_then_fsync)
    durable_file.write(tmp_path / "file", b"whole")
    assert (tmp_path / "file").read_bytes() == b"whole"
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


_WRITE_OFTEN = """
import pathlib, sys, time
from base import durable_file
deadline_s = time.monotonic() + 1.0
while time.monotonic() < deadline_s:
    durable_file.write(pathlib.Path(sys.argv[1]), b"whole")
"""


def test_writers_and_sweepers_in_one_folder_do_not_disturb_each_other(
    tmp_path: Path,
) -> None:
    writers = [
        subprocess.Popen(
            [sys.executable, "-c", _WRITE_OFTEN, tmp_path / name],
            env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        )
        for name in ("one", "two")
    ]
    sweeps = 0
    while any(writer.poll() is None for writer in writers):
        durable_file.remove_leftovers(tmp_path)
        sweeps += 1
    assert [writer.returncode for writer in writers] == [0, 0]
    assert sweeps > 100
    assert {path.name for path in tmp_path.iterdir()} == {"one", "two"}


def test_leftovers_of_every_kind_neither_hold_nor_stop_the_sweep(
    tmp_path: Path,
) -> None:
    os.mkfifo(tmp_path / ".tmp-pipe")
    (tmp_path / ".tmp-link").symlink_to("nowhere")
    (tmp_path / ".tmp-loop").symlink_to(".tmp-loop")
    (tmp_path / ".tmp-empty").touch()
    durable_file.remove_leftovers(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == [".tmp-pipe"]


def test_what_is_set_aside_keeps_its_bytes_whatever_was_set_aside_before(
    tmp_path: Path,
) -> None:
    path = tmp_path / "file"
    for content in (b"one", b"two"):
        path.write_bytes(content)
        durable_file.set_aside(path)
    path.mkdir()
    assert durable_file.set_aside(path) == tmp_path / "file.damaged-3"
    path.symlink_to("nowhere")
    assert durable_file.set_aside(path).is_symlink()
    assert (tmp_path / "file.damaged").read_bytes() == b"one"
    assert (tmp_path / "file.damaged-2").read_bytes() == b"two"
    assert len(list(tmp_path.iterdir())) == 4
    with pytest.raises(DiskError, match="to set it aside under another name"):
        durable_file.set_aside(path)


@pytest.mark.parametrize("kind", special_files.KINDS)
def test_what_stands_in_the_place_of_a_lock_is_taken_away(
    tmp_path: Path, kind: str
) -> None:
    path = tmp_path / "lock"
    special_files.make(path, kind)
    assert durable_file.make_way(path) is None
    assert not os.path.lexists(path)
    assert durable_file.make_way(path) is None


@pytest.mark.parametrize("keeps_file", [True, False])
def test_plain_file_in_the_place_of_a_lock_stays_and_in_that_of_a_socket_goes(
    tmp_path: Path, keeps_file: bool
) -> None:
    path = tmp_path / "it"
    path.touch()
    assert durable_file.make_way(path, keeps_file=keeps_file) is None
    assert path.exists() is keeps_file


def test_full_folder_in_the_place_of_a_lock_is_set_aside_whole(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    for number in range(2):
        path.mkdir()
        (path / f"{number}").touch()
        aside = durable_file.make_way(path)
        assert aside is not None
        assert [one.name for one in aside.iterdir()] == [f"{number}"]
        assert not os.path.lexists(path)


def test_what_may_not_be_taken_away_is_an_error_that_says_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "lock"
    path.mkdir()

    def refuse(self: Path) -> None:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    monkeypatch.setattr(Path, "rmdir", refuse)
    with pytest.raises(DiskError, match=r"lock: .*Permission denied; let this user"):
        durable_file.make_way(path)
    assert path.is_dir()


@pytest.mark.parametrize("kind", ["file", "pipe"])
def test_what_is_no_folder_is_set_aside_where_one_is_made(
    tmp_path: Path, kind: str
) -> None:
    path = tmp_path / "deltas"
    if kind == "file":
        path.write_bytes(b"\n")
    else:
        os.mkfifo(path)
    aside = durable_file.make_own_folder(path)
    assert aside == tmp_path / "deltas.damaged"
    assert path.is_dir() and aside.exists() and not aside.is_dir()
    assert durable_file.make_own_folder(path) is None
    assert durable_file.make_own_folder(tmp_path / "new" / "folder", 0o700) is None


def test_link_to_a_disk_that_is_not_there_stays_where_a_folder_is_made(
    tmp_path: Path,
) -> None:
    path = tmp_path / "deltas"
    path.symlink_to(tmp_path / "disk" / "deltas")
    with pytest.raises(DiskError, match="deltas: expected to make the folder"):
        durable_file.make_own_folder(path)
    assert path.is_symlink()
    (tmp_path / "disk" / "deltas").mkdir(parents=True)
    assert durable_file.make_own_folder(path) is None
