"""The flag that names the key with which raw episodes are encrypted on the disk."""

from collections.abc import Callable
from pathlib import Path

from absl import flags

from base import path_flags
from rlds import sealing, spool_key
from rlds.errors import SpoolKeyError

NAME = "spool_key"
SPOOL_KEY = flags.DEFINE_string(
    NAME,
    None,
    "file of the key with which raw episodes are encrypted on this disk, mode 0600,"
    f" made when absent (default: the credential {spool_key.CREDENTIAL} that systemd"
    " gives, or none: they are not encrypted)",
)
path_flags.files("spool_key")


def use(*, creates: bool = True) -> None:
    """Uses the key that the flag names, in this process and its children.

    Args:
        creates: whether the file is made when absent: not by who only reads.

    Raises:
        SpoolKeyError: as `spool_key.use`; or it cannot be read or made.
    """
    path = Path(SPOOL_KEY.value) if SPOOL_KEY.value else None
    try:
        spool_key.use(path, creates=creates)
    except OSError as e:
        got = e.strerror or type(e).__name__
        raise SpoolKeyError(path or "spool.key", "a device's key", got) from e


def say_if_plain(simulated: bool, say: Callable[[str], object]) -> None:
    """Says of a robot that exists that its raw episodes are not encrypted."""
    if not simulated and not sealing.is_used():
        say(f"raw episodes are not encrypted here: no --{NAME} (docs/privacy.md)")


def hand_on() -> list[str]:
    """Returns the flag for another program, if it was given."""
    return [f"--{NAME}={SPOOL_KEY.value}"] if SPOOL_KEY.value else []
