"""The name of a robot that was given none, derived from the machine it runs on.

Robots of a fleet need different names: a partial rollout decides by the name whether it
reaches a robot. Machines that run systemd have an id that they must not show to others;
systemd's answer is a keyed hash per application, which is computed here as
`sd_id128_get_machine_app_specific(3)` does.

Memory cards that were copied after their first start share one id. Such robots need
`--robot_id`, or a new id: empty /etc/machine-id before the card is copied.
"""

import hashlib
import hmac
import socket
import uuid
from pathlib import Path
from typing import Final

from base import plain_file
from edge.errors import RobotNameError

MACHINE_ID: Final = Path("/etc/machine-id")
_APPLICATION: Final = uuid.UUID("5d4c1f0e-6c9b-4f0a-9d57-3c1e6b8f2a71")
_PREFIX: Final = "robot-"
_ID_DIGITS: Final = 32  # and a newline; a longer file is none of systemd's


def derive_name(machine_id: Path = MACHINE_ID) -> str:
    """Derives a name that stays the same for as long as the machine keeps its id.

    A machine without an id, such as a container, gets a name from its host name.

    Raises:
        RobotNameError: the machine has neither.
    """
    found = _read_id(machine_id)
    if found is not None:
        return _PREFIX + hash_id(found)
    host = socket.gethostname()
    if host in ("", "localhost"):
        raise RobotNameError(
            "--robot_id",
            "a name, since this machine has none",
            f"no id in {machine_id} and the host name {host!r}",
            "give --robot_id, or run systemd-machine-id-setup",
        )
    return _PREFIX + _keyed_hash(host.encode())


def hash_id(machine_id: bytes) -> str:
    """Hashes a machine's id of 16 bytes for this application, as 32 hex digits."""
    return _keyed_hash(machine_id)


def _keyed_hash(secret: bytes) -> str:
    digest = hmac.new(secret, _APPLICATION.bytes, hashlib.sha256).digest()
    # systemd marks the result as a random UUID, of version 4.
    return uuid.UUID(bytes=digest[:16], version=4).hex


def _read_id(path: Path) -> bytes | None:
    try:
        with plain_file.open_stream(path) as file:
            text = file.read(_ID_DIGITS + 2).strip()
        found = bytes.fromhex(text.decode("ascii"))
    except (OSError, ValueError):  # absent, or `uninitialized` during the first start
        return None
    return found if len(found) == _ID_DIGITS // 2 and any(found) else None
