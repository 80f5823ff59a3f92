import errno
import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest

from base import durable_file
from base.errors import DiskError

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
    assert path.stat().st_mode & 0o777 == 0o666
    assert list(tmp_path.iterdir()) == [path]


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
        "free space or repair the disk, then run the command again\n"
    )
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]
    assert resource.getrlimit(resource.RLIMIT_FSIZE)[0] != 100


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
