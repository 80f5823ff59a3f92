from pathlib import Path

import pytest

from base import durable_file, plain_file
from base.errors import OversizedError
from base.testing import special_files


def test_a_plain_file_and_a_link_to_one_are_read(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"content")
    (tmp_path / "link").symlink_to("file")
    assert plain_file.read(tmp_path / "file", 7) == b"content"
    assert plain_file.read(tmp_path / "link", 7) == b"content"
    with pytest.raises(OSError, match="symbolic links"):
        plain_file.read(tmp_path / "link", 7, follow_links=False)


def test_a_file_above_the_limit_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"content")
    with pytest.raises(OversizedError, match="at most 6 bytes"):
        plain_file.read(tmp_path / "file", 6)


@pytest.mark.parametrize("kind", special_files.KINDS)
def test_what_is_no_plain_file_is_an_error_at_once(tmp_path: Path, kind: str) -> None:
    special_files.make(tmp_path / "it", kind)
    with special_files.at_once(), pytest.raises(OSError) as e:
        plain_file.read(tmp_path / "it", 10)
    text = str(durable_file.disk_error(tmp_path / "it", "to read", e.value))
    blamed = kind in ("socket", "file of a failing disk")
    assert "disk" not in text or blamed, "the disk is not to blame"
    assert e.value.filename == str(tmp_path / "it")


def test_an_absent_file_is_not_found(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        plain_file.read(tmp_path / "none", 10)
