"""Turns the bytes of a channel into a verified type, or raises an error.

As in `verification.py`: size, signatures, parsing, content, in this order; nothing
returns a boolean, and only these functions make a `VerifiedChannel`.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from base import text_forms
from base.digest import sha256_bytes
from base.errors import NotFoundError
from base.store.store import Store
from release import channel
from release.channel import Channel, PackageEntry
from release.dsse import Envelope
from release.errors import (
    ExpiredError,
    RollbackError,
    TimeTooFarError,
    WrongChannelError,
    WrongTargetError,
)
from release.limits import LIMITS
from release.trusted_keys import TrustedKeys, channel_role
from release.verification import check_issued

LONGEST_CHANNEL_LIFE: Final = timedelta(days=400)
"""How far ahead a channel may expire: keys that are kept offline sign once a year, with
a month to spare. A channel that never expired could be served to robots for ever."""


@dataclass(frozen=True)
class VerifiedChannel:
    """A channel signed by enough keys of its role. Only this module makes one.

    Attributes:
        record: the content of the channel file.
        sha256: digest of the signed channel file.
    """

    record: Channel
    sha256: str

    @property
    def release_counter(self) -> int:
        """The channel's release counter."""
        return self.record.release_counter

    def entry(self, target: str) -> PackageEntry:
        """Returns the package of `target`.

        Raises:
            WrongTargetError: the channel has no package for it.
        """
        if target not in self.record.package:
            raise WrongTargetError(
                f"channel {self.record.channel}",
                f"a package for {target}",
                "packages for " + ", ".join(sorted(self.record.package)),
            )
        return self.record.package[target]


def verify_channel(
    raw: bytes,
    channel_name: str,
    keys: TrustedKeys,
    now: datetime | None,
    last_counter: int,
    last_digest: str | None = None,
) -> VerifiedChannel:
    """Checks a channel envelope against the release that a robot accepted last.

    Args:
        raw: bytes of `channels/<name>.dsse.json`.
        channel_name: the channel that was requested.
        keys: the keys that may sign it.
        now: the time, with a time zone; None if the caller does not know it: whether
            the channel has expired is then unknown, so nothing new may be taken from
            it.
        last_counter: highest release counter accepted so far; 0 for none.
        last_digest: package digest accepted with `last_counter`. A channel with that
            same counter is accepted only if it names this package: checking the same
            file again is fine, but a different file under one counter is an error.

    Raises:
        OversizedError: `raw` is longer than a channel may be.
        MalformedError: `raw` is not an envelope, or its payload is not a channel.
        UntrustedError: one of its subclasses, for the signatures.
        WrongChannelError: it is the signed file of another channel.
        ExpiredError: `now` is at or past the signed expiry.
        TimeTooFarError: it was issued later than now by more than a day, or expires
            more than `LONGEST_CHANNEL_LIFE` ahead.
        RollbackError: the counter is lower, or the same with another package.
        CounterStepError: the counter is too far above `last_counter`.
        ValueError: `now` has no time zone, or the channel does not exist.
    """
    verified = verify_channel_signatures(raw, channel_name, keys)
    record = verified.record
    source = f"channel {channel_name}"
    if now is not None:
        _check_channel_times(source, record, text_forms.require_aware(now))
    digests = {entry.digest for entry in record.package.values()}
    repeated = record.release_counter == last_counter and last_digest in digests
    if record.release_counter <= last_counter and not repeated:
        raise RollbackError(
            source,
            f"a release counter above {last_counter}",
            f"{record.release_counter}",
        )
    channel.check_counter(record.release_counter, last_counter, source)
    return verified


def verify_channel_signatures(
    raw: bytes, channel_name: str, keys: TrustedKeys
) -> VerifiedChannel:
    """Checks the signatures and the name of a channel, whatever its age.

    For the publisher, whose next release follows the current one even if that has
    expired. A robot calls `verify_channel` instead.

    Raises:
        What `verify_channel` raises, except ExpiredError and RollbackError.
    """
    source = f"channel {channel_name}"
    role = channel_role(channel_name)
    envelope = Envelope.parse(raw, source, LIMITS.channel_bytes)
    payload = keys.verify_envelope(envelope, role, channel.PAYLOAD_TYPE)
    record = channel.parse(payload, source)
    if record.channel != channel_name:
        raise WrongChannelError(source, f"channel {channel_name}", record.channel)
    return VerifiedChannel(record, sha256_bytes(payload))


def read_current_channel(
    store: Store, channel_name: str, trusted: TrustedKeys
) -> VerifiedChannel | None:
    """Returns the store's current release of a channel, or None before the first.

    Raises:
        What `verify_channel_signatures` raises. An untrusted channel is an error; it
            does not count as absent.
    """
    try:
        raw = store.get(channel.envelope_path(channel_name), LIMITS.channel_bytes)
    except NotFoundError:
        return None
    return verify_channel_signatures(raw, channel_name, trusted)


def _check_channel_times(source: str, record: Channel, now: datetime) -> None:
    if now >= record.expires:
        raise ExpiredError(
            source,
            f"an expiry after {text_forms.format_time(now)}",
            text_forms.format_time(record.expires),
        )
    if record.expires - now > LONGEST_CHANNEL_LIFE:
        raise TimeTooFarError(
            source,
            f"an expiry within {LONGEST_CHANNEL_LIFE.days} days from "
            f"{text_forms.format_time(now)}",
            text_forms.format_time(record.expires),
            "publish it again with an earlier expiry; if that is right, check the "
            "clock",
        )
    if record.issued is not None:
        check_issued(source, record.issued, now)
