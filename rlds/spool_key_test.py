"""Where the key comes from with which raw episodes are encrypted."""

import base64
import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from rlds import sealing, spool_key
from rlds.errors import SpoolKeyError

SECRET = bytes(range(32))
TEXT = base64.b64encode(SECRET) + b"\n"


@pytest.fixture(autouse=True)
def nothing(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """No key before and after."""
    monkeypatch.delenv("CREDENTIALS_DIRECTORY", raising=False)
    monkeypatch.delenv("CONTINUON_SPOOL_KEY", raising=False)
    yield
    sealing.use(None)


def write(path: Path, raw: bytes, mode: int = 0o600) -> Path:
    path.write_bytes(raw)
    path.chmod(mode)
    return path


def test_file_that_is_not_there_is_made_for_its_user_alone(tmp_path: Path) -> None:
    path = tmp_path / "spool.key"
    key = spool_key.load_or_create(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert spool_key.load_or_create(path) == key
    assert len(key.secret) == 32
    assert spool_key.load_or_create(tmp_path / "other.key") != key


def test_without_a_name_there_is_none_but_a_credential_of_the_service(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spool_key.use(None, creates=False)
    assert not sealing.is_used()
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    spool_key.use(None, creates=False)
    assert not sealing.is_used()
    write(tmp_path / spool_key.CREDENTIAL, TEXT, 0o400)
    spool_key.use(None, creates=False)
    assert sealing.is_used()
    sealed = sealing.seal(b"raw")
    sealing.use(sealing.DeviceKey(SECRET))
    assert sealing.unseal(sealed, "it") == b"raw"


def test_child_has_the_key_of_its_parent(tmp_path: Path) -> None:
    spool_key.use(write(tmp_path / "spool.key", TEXT), creates=True)
    sealed = sealing.seal(b"raw")
    child = os.fork()
    if child == 0:
        sealing.use(None)
        spool_key.inherit()
        os._exit(0 if sealing.unseal(sealed, "it") == b"raw" else 1)
    assert os.waitpid(child, 0)[1] == 0
    spool_key.use(None, creates=False)
    spool_key.inherit()
    assert not sealing.is_used()


@pytest.mark.parametrize("mode", [0o644, 0o660, 0o604, 0o666])
def test_key_that_others_could_read_or_change_is_refused(
    mode: int, tmp_path: Path
) -> None:
    path = write(tmp_path / "spool.key", TEXT, mode)
    with pytest.raises(SpoolKeyError, match=f"got {mode:04o}"):
        spool_key.use(path, creates=True)
    assert not sealing.is_used()
    assert path.read_bytes() == TEXT


def test_group_of_services_may_read_one_file(tmp_path: Path) -> None:
    spool_key.use(write(tmp_path / "spool.key", TEXT, 0o640), creates=True)
    assert sealing.is_used()


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"no base64!",
        base64.b64encode(SECRET[:31]),
        base64.b64encode(SECRET * 2),
        bytes([0xFF] * 44),
    ],
)
def test_file_that_is_no_key_is_refused_and_not_quoted(
    raw: bytes, tmp_path: Path
) -> None:
    path = write(tmp_path / "spool.key", raw)
    with pytest.raises(SpoolKeyError, match="expected 32 bytes in base64") as caught:
        spool_key.use(path, creates=True)
    assert raw == b"" or raw.decode("latin-1") not in str(caught.value)
    assert path.read_bytes() == raw


def test_link_and_folder_are_refused(tmp_path: Path) -> None:
    link = tmp_path / "link"
    link.symlink_to(write(tmp_path / "spool.key", TEXT))
    for path in (link, tmp_path):
        with pytest.raises(SpoolKeyError, match="a readable key"):
            spool_key.use(path, creates=True)


def test_who_only_reads_makes_none(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        spool_key.use(tmp_path / "spool.key", creates=False)
    assert list(tmp_path.iterdir()) == []
