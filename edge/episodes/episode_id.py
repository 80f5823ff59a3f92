"""Names for episodes: UUIDv7, random for a real robot, derived for a simulated one.

The name of a simulated episode depends only on its settings and its seed, as the
episode does. Recording it again gives the same name, so an interrupted recording finds
what it already has.

A name leaves the robot, so it holds only the hour in which the episode began: the full
time would reveal what redaction removes from the start time (`coarse_time`).
"""

import enum
import hashlib
import itertools
import secrets
from collections.abc import Mapping
from typing import Protocol

from base import canonical_json, text_forms

_RANDOM_BYTES = 10
_NS_PER_HOUR = 3_600_000_000_000
_MS_PER_HOUR = 3_600_000


class Held(enum.Enum):
    """What a folder of shared episodes holds of one episode."""

    NOTHING = "nothing"
    WHOLE = "whole"
    RECOVERED = "recovered"


class SharedFolder(Protocol):
    """A folder of shared episodes."""

    def look_up(self, episode_id: str) -> Held:
        """Returns what the folder holds of an episode."""


def make_random_id(start_unix_ns: int) -> str:
    """Makes a new name for an episode that begins at `start_unix_ns`."""
    return text_forms.format_uuid7(
        _hour_ms(start_unix_ns), secrets.token_bytes(_RANDOM_BYTES)
    )


def derive_id(start_unix_ns: int, identity: dict[str, object]) -> str:
    """Derives the name of the simulated episode that `identity` describes.

    Args:
        start_unix_ns: simulated wall time at which the episode begins.
        identity: everything that the episode depends on, as JSON values.
    """
    digest = hashlib.sha256(canonical_json.encode(identity)).digest()
    return text_forms.format_uuid7(_hour_ms(start_unix_ns), digest[:_RANDOM_BYTES])


def derive_next(name: str) -> str:
    """Derives the name of the episode that goes on where a recorder cut this one.

    Raises:
        ValueError: `name` is not a UUID of version 7.
    """
    digest = hashlib.sha256(f"the next part of {name}".encode()).digest()
    return text_forms.format_uuid7(
        text_forms.parse_uuid7_ms(name), digest[:_RANDOM_BYTES]
    )


def find_free_id(
    start_unix_ns: int, identity: Mapping[str, object], shared: SharedFolder
) -> str | None:
    """Finds a name for a simulated episode; None when the folder holds it already.

    If a crash cut this episode short, the part was shared under its name with the tag
    `recovered`. The whole episode then gets the name of the next attempt.

    Args:
        start_unix_ns: simulated wall time at which the episode begins.
        identity: everything that the episode depends on, as JSON values.
        shared: where the episode will go.
    """
    for attempt in itertools.count():
        name = derive_id(start_unix_ns, {**identity, "attempt": attempt})
        held = shared.look_up(name)
        if held is Held.NOTHING:
            return name
        if held is Held.WHOLE:
            return None
    raise AssertionError("itertools.count does not end")


def _hour_ms(unix_ns: int) -> int:
    return unix_ns // _NS_PER_HOUR * _MS_PER_HOUR
