"""The packages that this robot has refused, so that none is fetched again needlessly.

    ROOT/refused    the last few: the tar's sha256, why, and under what conditions

A refusal is kept only if the tar was the signed one, byte for byte: the same bytes
would be refused again by the same runtime, with the same keys, for the same robots. If
one of these changes, or the channel names another tar, it is tried. A store that fails
or serves other bytes, and a full disk, are no refusals. Some reasons pass with time;
those packages are tried again a day later.
"""

import contextlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final

from base import canonical_json, durable_file, plain_file, text_forms
from base.digest import sha256_bytes
from base.errors import ContinuonError, DiskError
from base.json_fields import Fields, decode
from edge.ota import errors
from edge.ota.decide import Offer
from edge.robots.robot import RobotSpec
from edge.runtime_version import EXPORT_TARGET
from release.errors import ExpiredError, RollbackError, TimeTooFarError
from release.trusted_keys import TrustedKeys

FILE: Final = "refused"
SCHEMA_VERSION: Final = 1
MOST: Final = 8
"""Refusals that are kept; a channel offers one package at a time."""
PAUSE: Final = timedelta(days=1)
"""Time after which a package is tried again that was refused for a passing reason."""
_PASSING: Final = (
    ExpiredError,
    TimeTooFarError,
    errors.TrialCutShortError,
    errors.SlowStepError,
)
_LIMIT_BYTES: Final = 64 * 1024
_KEYS: Final = ("tar", "conditions", "reason", "release_counter", "try_again")


@dataclass(frozen=True)
class Refusal:
    """One package that was refused.

    Attributes:
        tar: sha256 of its tar.
        conditions: digest of what the refusal depends on besides the tar.
        reason: what was expected of which file, and what it is.
        release_counter: the channel's counter, if it was too low for the package; None
            if the counter does not matter.
        try_again: time from which it is tried again; None for never.
    """

    tar: str
    conditions: str
    reason: str
    release_counter: int | None = None
    try_again: datetime | None = None


def _describe(error: ContinuonError, offer: Offer) -> str:
    """Says what was wrong; where the package was unpacked means nothing later."""
    found = f"expected {error.expected}, got {error.got}"
    # The digest is named already, and would take the place of the reason in one line.
    name = Path(error.source).name
    return found if name == offer.digest else f"{name}: {found}"


class Refusals:
    """The file of a state folder; every method reads the disk again."""

    def __init__(self, root: Path, conditions: str, now: datetime) -> None:
        """Binds the file to the conditions of this update.

        Args:
            root: the state folder.
            conditions: from `digest_conditions`.
            now: the time, or the newest one that is known to have passed.
        """
        self._path = root / FILE
        self._conditions = conditions
        self._now = now

    def require_new(self, tar: str, offer: Offer) -> None:
        """Checks that a package was not refused before.

        Raises:
            RefusedBeforeError: it was, and nothing that matters has changed.
        """
        for one in self._read():
            if not self._still_holds(one, tar, offer.release_counter):
                continue
            when = "when another release is published"
            if one.try_again is not None:
                when = f"after {text_forms.format_time(one.try_again)}"
            raise errors.RefusedBeforeError(
                f"package {offer.digest[:12]} of channel {offer.channel}",
                "a package that this robot has not refused",
                one.reason,
                f"the next is tried {when}; to try this one now, remove {self._path}",
            )

    @contextlib.contextmanager
    def note(self, tar: str, offer: Offer) -> Iterator[None]:
        """Keeps the refusal of a package that the block raises, and raises it.

        Raises:
            ContinuonError: the block's own.
        """
        try:
            yield
        except DiskError:
            raise
        except ContinuonError as e:
            low = isinstance(e, RollbackError)
            passes = isinstance(e, _PASSING)
            refusal = Refusal(
                tar,
                self._conditions,
                _describe(e, offer),
                offer.release_counter if low else None,
                self._now + PAUSE if passes else None,
            )
            # A robot that cannot keep it fetches the package again, no worse.
            with contextlib.suppress(ContinuonError):
                self._keep(refusal)
            raise

    def _still_holds(self, one: Refusal, tar: str, counter: int) -> bool:
        if (one.tar, one.conditions) != (tar, self._conditions):
            return False
        if one.release_counter not in (None, counter):
            return False
        # A time further ahead was written by a clock that was wrong.
        again = one.try_again
        return again is None or self._now < again <= self._now + PAUSE

    def _keep(self, refusal: Refusal) -> None:
        others = [one for one in self._read() if one.tar != refusal.tar]
        kept = [*others, refusal][-MOST:]
        value = {
            "schema_version": SCHEMA_VERSION,
            "refused": [
                {
                    "tar": one.tar,
                    "conditions": one.conditions,
                    "reason": one.reason,
                    "release_counter": one.release_counter,
                    "try_again": one.try_again
                    and text_forms.format_time(one.try_again),
                }
                for one in kept
            ],
        }
        durable_file.write_record(self._path, canonical_json.encode(value))

    def _read(self) -> tuple[Refusal, ...]:
        """Reads the file; one that is lost or damaged holds nothing."""
        try:
            raw = plain_file.read(self._path, _LIMIT_BYTES)
            value = decode(raw, self._path, _LIMIT_BYTES)
            fields = Fields(value, self._path, ("schema_version", "refused"))
            fields.version(SCHEMA_VERSION)
            listed = fields.each("refused", _KEYS)
            return tuple(_parse(one, self._path) for one in listed)
        except (ContinuonError, OSError):
            return ()


def digest_conditions(
    runtime: str, keys: TrustedKeys, robots: Mapping[str, RobotSpec]
) -> str:
    """Returns a digest of what decides about a package besides its bytes.

    Args:
        runtime: version of the runtime.
        keys: the keys that may sign packages.
        robots: what the package must fit, by robot string.
    """
    value = {
        "runtime": runtime,
        "target": EXPORT_TARGET,
        "keys": sha256_bytes(keys.encode()),
        "development_keys": keys.allow_development,
        "robots": sorted(repr(spec) for spec in robots.values()),
    }
    return sha256_bytes(canonical_json.encode(value))


def _parse(fields: Fields, source: Path) -> Refusal:
    counter, again = None, None
    if fields.has("release_counter"):
        counter = fields.integer("release_counter")
    if fields.has("try_again"):
        again = text_forms.parse_time(fields.text("try_again"), source)
    return Refusal(
        fields.sha256("tar"),
        fields.sha256("conditions"),
        fields.text("reason"),
        counter,
        again,
    )
