"""Attacks on channels, one per test, each named after the attack."""

import json
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from base.errors import MalformedError, OversizedError
from release import channel, channel_verification, verification
from release.channel import (
    PAYLOAD_TYPE,
    Channel,
    ChannelProvenance,
    PackageEntry,
    Rollout,
)
from release.dsse import sign
from release.errors import (
    BadSignatureError,
    CounterStepError,
    DevelopmentKeyError,
    ExpiredError,
    RollbackError,
    ThresholdNotMetError,
    TimeTooFarError,
    UnknownKeyError,
    UnsignedError,
    UntrustedError,
    WrongChannelError,
    WrongRoleError,
    WrongTargetError,
)
from release.testing import tiny_release
from release.testing.tiny_release import PrivateKey, Release
from release.trusted_keys import TrustedKeys

NOW = tiny_release.NOW
SECOND = timedelta(seconds=1)
DAY = verification.CLOCK_TOLERANCE


@pytest.fixture
def release(tmp_path: Path) -> Release:
    return tiny_release.release(tmp_path)


def record(**changes: Any) -> Channel:
    fields: dict[str, Any] = {
        "channel": "nightly",
        "release_counter": 5,
        "package": {"pi5-cpu": PackageEntry("packages/x.tar", "a" * 64, 10, "b" * 64)},
        "rollout": Rollout(100, "salt"),
        "minimum_runtime": "0.1.0",
        "previous": None,
        "provenance": ChannelProvenance("run", "d" * 64, "commit", "e" * 64),
        "expires": tiny_release.EXPIRES,
    }
    return Channel(**{**fields, **changes})


def signed(
    release: Release, *roles: str, payload_type: str = PAYLOAD_TYPE, **changes: Any
) -> bytes:
    keys = [release.keys[role] for role in roles or ("channel:nightly",)]
    return sign(record(**changes).encode(), payload_type, keys)


def channel_refused(
    release: Release,
    raw: bytes,
    error: type[Exception],
    match: str | None = None,
    name: str = "nightly",
    last: int = 0,
    now: datetime = NOW,
) -> None:
    with pytest.raises(error, match=match):
        channel_verification.verify_channel(raw, name, release.trusted, now, last)


def test_a_signed_channel_names_the_package_of_a_target(release: Release) -> None:
    raw = signed(release)
    verified = channel_verification.verify_channel(
        raw, "nightly", release.trusted, NOW, 4
    )
    assert verified.entry("pi5-cpu").digest == "b" * 64
    assert verified.sha256 == record().sha256
    with pytest.raises(WrongTargetError, match="packages for pi5-cpu"):
        verified.entry("tpu")


LIFE = channel_verification.LONGEST_CHANNEL_LIFE
STEP = channel.LARGEST_COUNTER_STEP


def test_a_counter_may_step_up_to_its_bound_and_no_further(release: Release) -> None:
    for last, bound in ((0, channel.LARGEST_FIRST_COUNTER), (41, STEP)):
        good = signed(release, release_counter=last + bound)
        channel_verification.verify_channel(good, "nightly", release.trusted, NOW, last)
        for stolen in (last + bound + 1, 2**53 - 1):
            raw = signed(release, release_counter=stolen)
            match = f"at most {bound:,} above {last}, got {stolen}"
            channel_refused(release, raw, CounterStepError, match, last=last)


def test_a_new_robot_takes_a_channel_whose_key_was_stolen_and_replaced(
    release: Release,
) -> None:
    # The thief took the largest step, and the next release is the one after it.
    raw = signed(release, release_counter=41 + STEP + 1)
    for last in (0, 41 + STEP):
        channel_verification.verify_channel(raw, "nightly", release.trusted, NOW, last)


def test_a_channel_of_the_future_is_refused(release: Release) -> None:
    good = signed(release, issued=NOW + DAY, expires=NOW + LIFE)
    channel_verification.verify_channel(good, "nightly", release.trusted, NOW, 0)
    late = signed(release, issued=NOW + DAY + SECOND)
    channel_refused(release, late, TimeTooFarError, "time of issue up to 2026-01-31")
    ageless = signed(release, expires=NOW + LIFE + SECOND)
    channel_refused(release, ageless, TimeTooFarError, "expiry within 400 days")


def test_without_a_time_signatures_and_counter_of_a_channel_are_checked(
    release: Release,
) -> None:
    old = signed(release, expires=NOW - SECOND)
    channel_refused(release, old, ExpiredError)
    channel_verification.verify_channel(old, "nightly", release.trusted, None, 4)
    with pytest.raises(RollbackError):
        channel_verification.verify_channel(old, "nightly", release.trusted, None, 6)


def test_unsigned_channel(release: Release) -> None:
    raw = json.loads(signed(release))
    raw["signatures"] = []
    channel_refused(release, json.dumps(raw).encode(), UnsignedError)


def test_the_plain_channel_file_is_not_an_envelope(release: Release) -> None:
    channel_refused(release, record().encode(), MalformedError)


def test_channel_signed_by_an_unknown_key(tmp_path: Path, release: Release) -> None:
    stranger = tiny_release.release(tmp_path / "stranger")
    channel_refused(release, signed(stranger), UnknownKeyError)


def test_expired_channel(release: Release) -> None:
    raw = signed(release)
    last_moment = tiny_release.EXPIRES - SECOND
    channel_verification.verify_channel(raw, "nightly", release.trusted, last_moment, 0)
    channel_refused(release, raw, ExpiredError, "clock", now=tiny_release.EXPIRES)


def test_rollback_to_an_older_counter(release: Release) -> None:
    channel_refused(release, signed(release), RollbackError, "above 6, got 5", last=6)


def test_the_same_counter_is_accepted_only_for_the_same_package(
    release: Release,
) -> None:
    raw = signed(release)
    arguments = (raw, "nightly", release.trusted, NOW, 5)
    channel_verification.verify_channel(*arguments, last_digest="b" * 64)
    with pytest.raises(RollbackError):
        channel_verification.verify_channel(*arguments, last_digest="c" * 64)
    with pytest.raises(RollbackError):
        channel_verification.verify_channel(*arguments)


def test_file_of_another_channel_under_this_name(release: Release) -> None:
    raw = signed(release, "channel:nightly", channel="beta")
    channel_refused(release, raw, WrongChannelError, "expected channel nightly")


def test_a_stable_file_served_as_rollback(release: Release) -> None:
    raw = signed(release, "channel:stable", channel="stable")
    channel_refused(release, raw, WrongChannelError, name="rollback")


def test_a_nightly_key_cannot_sign_stable(release: Release) -> None:
    raw = signed(release, "channel:nightly", channel="stable")
    channel_refused(release, raw, WrongRoleError, "channel:stable", name="stable")


def test_stable_needs_its_threshold_of_different_keys(release: Release) -> None:
    second = PrivateKey.generate(("channel:stable",))
    trusted = TrustedKeys(
        {**release.trusted.keys, second.keyid: second.trusted},
        allow_development=False,
        thresholds={"channel:stable": 2},
    )
    payload = record(channel="stable").encode()
    first = release.keys["channel:stable"]
    for keys in ([first], [first, first], [second]):
        raw = sign(payload, PAYLOAD_TYPE, keys)
        with pytest.raises(ThresholdNotMetError):
            channel_verification.verify_channel(raw, "stable", trusted, NOW, 0)
    raw = sign(payload, PAYLOAD_TYPE, [first, second])
    channel_verification.verify_channel(raw, "stable", trusted, NOW, 0)


def test_a_channel_signed_as_another_kind_of_payload(release: Release) -> None:
    raw = signed(release, payload_type="application/vnd.in-toto+json")
    channel_refused(release, raw, MalformedError)


def test_oversized_channel(release: Release) -> None:
    channel_refused(release, b" " * 300_000, OversizedError)


def test_a_signed_payload_that_is_not_a_channel(release: Release) -> None:
    raw = sign(b"{}", PAYLOAD_TYPE, [release.keys["channel:nightly"]])
    channel_refused(release, raw, MalformedError, "field")


def test_a_forged_payload_is_never_parsed(release: Release) -> None:
    value = json.loads(signed(release))
    value["payload"] = "AAAA"
    channel_refused(release, json.dumps(value).encode(), BadSignatureError)


def test_every_signature_error_is_an_untrusted_error() -> None:
    for kind in (
        UnsignedError,
        BadSignatureError,
        UnknownKeyError,
        WrongRoleError,
        ThresholdNotMetError,
        DevelopmentKeyError,
    ):
        assert issubclass(kind, UntrustedError)
