import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from base.errors import MalformedError, OversizedError
from release.dsse import Envelope, sign
from release.errors import (
    DevelopmentKeyError,
    DuplicateNameError,
    ThresholdNotMetError,
    UnknownKeyError,
    WrongRoleError,
)
from release.testing.tiny_release import PrivateKey
from release.trusted_keys import TrustedKeys, channel_role

TYPE = "application/vnd.test+json"
NIGHTLY = PrivateKey.generate(("channel:nightly",))
STABLE = PrivateKey.generate(("channel:stable",))
SECOND = PrivateKey.generate(("channel:stable",))
DEVELOPER = PrivateKey.generate(("channel:nightly",), development=True)


def keyring(
    *keys: PrivateKey,
    allow_development: bool = False,
    thresholds: dict[str, int] | None = None,
) -> TrustedKeys:
    return TrustedKeys.from_keys(
        *(key.trusted for key in keys),
        allow_development=allow_development,
        thresholds=thresholds,
    )


def signed(*keys: PrivateKey) -> Envelope:
    return Envelope.parse(sign(b"x", TYPE, keys), "channel")


def changed(change: Callable[[dict[str, Any]], object]) -> bytes:
    value = json.loads(keyring(NIGHTLY, STABLE).encode())
    change(value)
    return json.dumps(value).encode()


def test_a_keyring_survives_a_round_trip_through_its_file() -> None:
    keys = keyring(NIGHTLY, STABLE, DEVELOPER, thresholds={"channel:stable": 2})
    read = TrustedKeys.parse(keys.encode(), allow_development=False)
    assert read.encode() == keys.encode()
    assert read.threshold("channel:stable") == 2
    assert read.threshold("blessing") == 1


def test_a_key_signs_in_its_role() -> None:
    assert (
        keyring(NIGHTLY).verify_envelope(signed(NIGHTLY), "channel:nightly", TYPE)
        == b"x"
    )


def test_a_nightly_key_cannot_sign_stable() -> None:
    with pytest.raises(WrongRoleError, match="role channel:stable, got key"):
        keyring(NIGHTLY, STABLE).verify_envelope(
            signed(NIGHTLY), "channel:stable", TYPE
        )


def test_a_nightly_key_does_not_count_towards_the_stable_threshold() -> None:
    keys = keyring(NIGHTLY, STABLE, SECOND, thresholds={"channel:stable": 2})
    with pytest.raises(ThresholdNotMetError):
        keys.verify_envelope(signed(STABLE, NIGHTLY), "channel:stable", TYPE)
    assert keys.verify_envelope(signed(STABLE, SECOND), "channel:stable", TYPE) == b"x"


def test_a_development_key_is_refused_with_the_flag_that_allows_it() -> None:
    with pytest.raises(DevelopmentKeyError, match="--allow_development_keys"):
        keyring(DEVELOPER).verify_envelope(signed(DEVELOPER), "channel:nightly", TYPE)


def test_a_development_key_counts_where_it_is_allowed() -> None:
    keys = keyring(DEVELOPER, allow_development=True)
    assert keys.verify_envelope(signed(DEVELOPER), "channel:nightly", TYPE) == b"x"


def test_an_allowed_development_key_signs_only_in_its_roles() -> None:
    keys = keyring(DEVELOPER, allow_development=True)
    with pytest.raises(WrongRoleError):
        keys.verify_envelope(signed(DEVELOPER), "channel:stable", TYPE)


def test_a_development_key_id_with_a_wrong_signature_is_an_unknown_key() -> None:
    envelope = signed(STABLE)
    forged = Envelope(b"x", TYPE, {DEVELOPER.keyid: bytes(64)}, envelope.source)
    with pytest.raises(UnknownKeyError):
        keyring(DEVELOPER).verify_envelope(forged, "channel:nightly", TYPE)


def test_rollback_needs_the_stable_keys() -> None:
    assert channel_role("rollback") == "channel:stable"
    assert channel_role("beta") == "channel:beta"
    with pytest.raises(ValueError, match="nosuch"):
        channel_role("nosuch")


@pytest.mark.parametrize(
    "change",
    [
        lambda v: v.pop("keys"),
        lambda v: v.update(schema_version=2),
        lambda v: v.update(more=1),
        lambda v: v["keys"][0].update(keyid="0" * 64),
        lambda v: v["keys"][0].update(public="AAAA"),
        lambda v: v["keys"][0].update(public="?"),
        lambda v: v["keys"][0].update(roles=["root"]),
        lambda v: v["keys"][0].update(roles="blessing"),
        lambda v: v["keys"][0].update(development=0),
        lambda v: v["keys"][0].pop("development"),
        lambda v: v.update(thresholds={"channel:stable": 0}),
        lambda v: v.update(thresholds={"channel:stable": True}),
        lambda v: v.update(thresholds={"nosuch": 1}),
    ],
)
def test_a_keyring_of_another_form_is_refused(
    change: Callable[[dict[str, Any]], object],
) -> None:
    with pytest.raises(MalformedError):
        TrustedKeys.parse(changed(change), allow_development=True)


@pytest.mark.parametrize(
    ("raw", "named"),
    [
        (b'{"schema_version":1,"channel":"nightly","release_counter":1}', "a channel"),
        (b'{"schema_version":1,"private":"AAAA","roles":[]}', "a private key, which"),
        (sign(b"x", TYPE, [NIGHTLY]), "a signed file"),
        (b'{"schema_version":1}', "another file"),
    ],
)
def test_a_file_that_is_no_keyring_is_named_with_what_to_name(
    raw: bytes, named: str
) -> None:
    match = f"expected a keyring, got {named}.*; name the file of public keys"
    with pytest.raises(MalformedError, match=match) as caught:
        TrustedKeys.parse(raw, allow_development=True)
    assert "AAAA" not in str(caught.value)


def test_a_key_listed_twice_is_refused() -> None:
    raw = changed(lambda v: v["keys"].append(v["keys"][0]))
    with pytest.raises(DuplicateNameError):
        TrustedKeys.parse(raw, allow_development=True)


def test_an_oversized_keyring_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "keyring.json"
    path.write_bytes(b" " * 300_000)
    with pytest.raises(OversizedError):
        TrustedKeys.read(path, allow_development=True)
