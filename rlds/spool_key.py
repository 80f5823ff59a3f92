"""The key of the device with which raw episodes are encrypted on its disk.

It is a file of 32 random bytes in base64: a credential that systemd decrypts for one
service (systemd-creds(1)), or one that only this user, or its group, may read. A file
that is named and not there is made, as the robot's own key is. A device with neither
keeps raw episodes as they are; `rlds/sealing.py` says what the key does.
"""

import base64
import contextlib
import os
import secrets
import stat
from pathlib import Path
from typing import Final

from base import durable_file, plain_file
from base.errors import MalformedError
from base.text_forms import parse_base64
from rlds import sealing
from rlds.errors import SpoolKeyError
from rlds.sealing import KEY_BYTES, DeviceKey

CREDENTIAL: Final = "spool.key"
"""Name of the credential of systemd."""
_VARIABLE: Final = "CONTINUON_SPOOL_KEY"
"""Environment variable by which a program tells its children where the key is."""
_LIMIT_BYTES: Final = 4096
_CLOSED: Final = 0o037  # to others, and to the changes of its group


def use(path: Path | None, *, creates: bool) -> None:
    """Lets this process and its children seal and open raw episodes.

    Args:
        path: the file; None for the credential of this service, if it has one.
        creates: whether the file is made when absent.

    Raises:
        SpoolKeyError: the file is no such key, or others can read it.
        OSError, DiskError: it cannot be read or made.
    """
    path = path or _find_credential()
    if path is None:
        sealing.use(None)
        os.environ.pop(_VARIABLE, None)
        return
    sealing.use(load_or_create(path) if creates else load(path))
    os.environ[_VARIABLE] = str(path.absolute())


def inherit() -> None:
    """Uses the key that the parent of this process uses; errors as `use`."""
    if path := os.environ.get(_VARIABLE):
        sealing.use(load(Path(path)))


def load_or_create(path: Path) -> DeviceKey:
    """Reads a key, or makes one if there is no such file.

    Raises:
        SpoolKeyError: it is something else, is a link, or can be read by others.
        OSError, DiskError: it cannot be read or made.
    """
    if not os.path.lexists(path):
        raw = base64.b64encode(secrets.token_bytes(KEY_BYTES)) + b"\n"
        with contextlib.suppress(FileExistsError):  # another program has just made it
            durable_file.create(path, raw, mode=durable_file.PRIVATE)
    return load(path)


def load(path: Path) -> DeviceKey:
    """Reads a key.

    Raises:
        FileNotFoundError: there is no such file.
        SpoolKeyError: it is something else, is a link, or can be read by others.
        OSError: it cannot be read.
    """
    raw = _read(path)
    wrong = SpoolKeyError(path, "32 bytes in base64", "something else")
    try:
        secret = parse_base64(raw.decode("ascii").strip(), path, "a key")
    except (MalformedError, UnicodeDecodeError):
        raise wrong from None  # the cause could quote the key
    if len(secret) != KEY_BYTES:
        raise wrong
    return DeviceKey(secret)


def _find_credential() -> Path | None:
    """The file of this service's credential; None if it has none."""
    if folder := os.environ.get("CREDENTIALS_DIRECTORY"):
        path = Path(folder) / CREDENTIAL
        with contextlib.suppress(OSError):
            if path.is_file():
                return path
    return None


def _read(path: Path) -> bytes:
    try:
        descriptor = plain_file.open_descriptor(path, follow_links=False)
    except FileNotFoundError:
        raise
    except OSError as e:
        raise SpoolKeyError(path, "a readable key", e.strerror) from e
    with os.fdopen(descriptor, "rb") as stream:
        mode = stat.S_IMODE(os.fstat(descriptor).st_mode)
        if mode & _CLOSED:
            raise SpoolKeyError(
                path,
                "mode 0600, or 0640 for a group",
                f"{mode:04o}",
                "others could have read this key: chmod 600 if you are sure that "
                "nobody did",
            )
        return stream.read(_LIMIT_BYTES)
