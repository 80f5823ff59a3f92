"""Names for episodes: UUIDv7, random for a real robot, derived for a simulated one.

A simulated episode depends on its settings and its seed alone, and so does its name:
recording it again gives the same name, which is how a recording that was interrupted
knows what it already has.

The time in a name is the hour of the begin, because a name leaves the robot: the full
time would say what redaction takes from the start time (`coarse_time`).
"""

import enum
import hashlib
import itertools
import secrets
from collections.abc import Mapping
from typing import Protocol

from base import canonical_json
from rlds import uuid7

_RANDOM_BYTES = 10
_NS_PER_HOUR = 3_600_000_000_000
_MS_PER_HOUR = 3_600_000


class Held(enum.Enum):
    """What a folder of shared episodes holds of one of them."""

    NOTHING = "nothing"
    WHOLE = "whole"
    RECOVERED = "recovered"


class Shared(Protocol):
    """A folder of shared episodes."""

    def held(self, episode_id: str) -> Held:
        """Says what the folder holds of an episode."""


def random_id(start_unix_ns: int) -> str:
    """A new name for an episode that begins at `start_unix_ns`."""
    return uuid7.uuid7(_hour_ms(start_unix_ns), secrets.token_bytes(_RANDOM_BYTES))


def derived_id(start_unix_ns: int, identity: dict[str, object]) -> str:
    """The name of the simulated episode that `identity` describes.

    Args:
        start_unix_ns: simulated wall time at the episode's begin.
        identity: everything that the episode depends on, as JSON values.
    """
    digest = hashlib.sha256(canonical_json.encode(identity)).digest()
    return uuid7.uuid7(_hour_ms(start_unix_ns), digest[:_RANDOM_BYTES])


def free_id(
    start_unix_ns: int, identity: Mapping[str, object], shared: Shared
) -> str | None:
    """Finds a name for a simulated episode; None when the folder holds it already.

    What a crash left of this episode was shared under its name, with the tag
    `recovered`; the whole episode then gets the name of the next attempt.

    Args:
        start_unix_ns: simulated wall time at the episode's begin.
        identity: everything that the episode depends on, as JSON values.
        shared: where the episode will go.
    """
    for attempt in itertools.count():
        name = derived_id(start_unix_ns, {**identity, "attempt": attempt})
        held = shared.held(name)
        if held is Held.NOTHING:
            return name
        if held is Held.WHOLE:
            return None
    raise AssertionError("itertools.count does not end")


def _hour_ms(unix_ns: int) -> int:
    return unix_ns // _NS_PER_HOUR * _MS_PER_HOUR
