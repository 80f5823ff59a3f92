"""Names for episodes: UUIDv7, random for a real robot, derived for a simulated one.

A simulated episode depends on its settings and its seed alone, and so does its name:
recording it again gives the same name, which is how a recording that was interrupted
knows what it already has.

The time in a name is the hour of the begin, because a name leaves the robot: the full
time would say what redaction takes from the start time (`coarse_time`).
"""

import hashlib
import secrets

from base import canonical_json
from rlds import uuid7

_RANDOM_BYTES = 10
_NS_PER_HOUR = 3_600_000_000_000
_MS_PER_HOUR = 3_600_000


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


def _hour_ms(unix_ns: int) -> int:
    return unix_ns // _NS_PER_HOUR * _MS_PER_HOUR
