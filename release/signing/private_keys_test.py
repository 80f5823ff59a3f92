import multiprocessing
import stat
from multiprocessing.queues import Queue
from pathlib import Path

import pytest

from release.errors import KeyFileError
from release.signing import private_keys
from release.signing.private_keys import PrivateKey, TrustedKeys


def test_a_key_file_survives_a_round_trip_and_is_private(tmp_path: Path) -> None:
    key = PrivateKey.generate(("blessing",))
    path = tmp_path / "key.json"
    key.write_new(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    read = PrivateKey.read(path)
    assert (read.keyid, read.roles, read.development) == (
        key.keyid,
        ("blessing",),
        False,
    )
    assert read.sign(b"x") == key.sign(b"x")


def test_a_key_file_is_never_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "key.json"
    PrivateKey.generate().write_new(path)
    before = path.read_bytes()
    with pytest.raises(FileExistsError):
        PrivateKey.generate().write_new(path)
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["key.json"]


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o604, 0o660])
def test_a_key_file_that_others_may_read_is_refused(tmp_path: Path, mode: int) -> None:
    path = tmp_path / "key.json"
    PrivateKey.generate().write_new(path)
    path.chmod(mode)
    with pytest.raises(KeyFileError, match="chmod 600"):
        PrivateKey.read(path)


def test_a_link_to_a_key_file_is_refused(tmp_path: Path) -> None:
    PrivateKey.generate().write_new(tmp_path / "key.json")
    link = tmp_path / "link.json"
    link.symlink_to("key.json")
    with pytest.raises(KeyFileError):
        PrivateKey.read(link)


@pytest.mark.parametrize(
    "content", [b"", b"{}", b"[]", b'{"schema_version":1}', b"\xff", b"x" * 100_000]
)
def test_a_file_that_is_not_a_key_is_refused_without_showing_its_content(
    tmp_path: Path, content: bytes
) -> None:
    path = tmp_path / "key.json"
    path.write_bytes(content)
    path.chmod(0o600)
    with pytest.raises(KeyFileError, match="got another file"):
        PrivateKey.read(path)


def test_a_missing_key_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(KeyFileError, match="nosuch"):
        PrivateKey.read(tmp_path / "nosuch")


def test_repr_does_not_show_the_private_key() -> None:
    key = PrivateKey.generate()
    assert "private=" not in repr(key)
    assert key.private.private_bytes_raw().hex() not in repr(key)


def test_the_development_key_is_made_once_and_stays_in_its_folder(
    tmp_path: Path,
) -> None:
    folder = tmp_path / "home" / "keys"
    first = private_keys.open_development_key(folder)
    again = private_keys.open_development_key(folder)
    assert first.keyid == again.keyid
    assert first.development
    assert sorted([p.name for p in folder.iterdir()]) == [
        "development_key.json",
        "keyring.json",
    ]
    assert [p.name for p in tmp_path.iterdir()] == ["home"]
    assert stat.S_IMODE((folder / "development_key.json").stat().st_mode) == 0o600
    ring = TrustedKeys.read(folder / "keyring.json", allow_development=True)
    assert list(ring.keys) == [first.keyid]
    assert ring.keys[first.keyid].development


def test_a_development_key_cannot_sign_beta_or_stable(tmp_path: Path) -> None:
    assert set(private_keys.open_development_key(tmp_path).roles) == {
        "channel:nightly",
        "blessing",
        "provenance",
    }


def _key_id(folder: Path, queue: "Queue[str]") -> None:
    queue.put(private_keys.open_development_key(folder).keyid)


def test_processes_that_start_at_once_get_one_development_key(tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")
    queue = context.Queue()
    processes = [
        context.Process(target=_key_id, args=(tmp_path / "keys", queue))
        for _ in range(6)
    ]
    for process in processes:
        process.start()
    ids = {queue.get(timeout=60) for _ in processes}
    for process in processes:
        process.join()
    assert len(ids) == 1
    assert sorted([p.name for p in (tmp_path / "keys").iterdir()]) == [
        "development_key.json",
        "keyring.json",
    ]
