import base64
import concurrent.futures
import dataclasses
import hashlib
import json
from collections.abc import Callable
from typing import Any

import pytest

from base import canonical_json
from base.store.store import LocalStore
from cloud.ingest.admission import Reason
from cloud.testing.raw_robot import (
    RawRobot,
    ingest,
    make_raw,
    require_quarantine,
    verdict_on_disk,
)
from rlds import sidecar as sidecar_format
from rlds.raw_layout import RawFolder
from rlds.sidecar import Consent

_ROBOT = RawRobot(1)
raw = pytest.fixture(make_raw)


def _rewrite_sidecar(
    raw: LocalStore, folder: RawFolder, change: Callable[[dict[str, Any]], object]
) -> None:
    value: Any = canonical_json.decode(raw.get(folder.sidecar, 1 << 20))
    change(value)
    raw.put(folder.sidecar, canonical_json.encode(value))


def test_a_good_episode_is_admitted_with_the_fields_of_the_index(
    raw: LocalStore,
) -> None:
    recorded = _ROBOT.record(1)
    folder = _ROBOT.upload(raw, recorded)
    summary = ingest(raw, _ROBOT)
    verdict = verdict_on_disk(raw, folder)
    assert verdict == summary.verdicts[0]
    assert verdict.admitted
    assert verdict.sha256 == recorded.sidecar.sha256
    assert verdict.episode["task"] == "reach-v3"
    assert verdict.episode["success"] == 1
    assert verdict.episode["num_steps"] == 5
    written = json.loads(raw.get(folder.admission, 1 << 20))
    assert (written["status"], written["reason"]) == ("admitted", "")


def test_truncated_episode_is_quarantined(raw: LocalStore) -> None:
    recorded = _ROBOT.record(1)
    short = dataclasses.replace(recorded, episode=recorded.episode[:-100])
    folder = _ROBOT.upload(raw, short)
    require_quarantine(raw, folder, Reason.SIZE_MISMATCH)


def test_truncated_episode_that_its_robot_signed_is_quarantined(
    raw: LocalStore,
) -> None:
    recorded = _ROBOT.record(1)
    short = recorded.episode[:-100]
    changed = dataclasses.replace(recorded, episode=short)
    folder = _ROBOT.upload(raw, changed, size_bytes=len(short), sha256=_sha256(short))
    verdict = require_quarantine(raw, folder, Reason.EPISODE_MALFORMED)
    assert "at byte 0" in verdict.detail


@pytest.mark.parametrize("position", [0, 8, 300, -1])
def test_episode_with_a_flipped_bit_is_quarantined(
    raw: LocalStore, position: int
) -> None:
    recorded = _ROBOT.record(1)
    flipped = bytearray(recorded.episode)
    flipped[position] ^= 1
    folder = _ROBOT.upload(raw, dataclasses.replace(recorded, episode=bytes(flipped)))
    require_quarantine(raw, folder, Reason.DIGEST_MISMATCH)


def test_episode_longer_than_its_signed_size_is_quarantined(raw: LocalStore) -> None:
    recorded = _ROBOT.record(1)
    longer = dataclasses.replace(recorded, episode=recorded.episode + b"x")
    folder = _ROBOT.upload(raw, longer)
    require_quarantine(raw, folder, Reason.EPISODE_OVERSIZED)


def test_episode_longer_than_the_limit_is_quarantined(raw: LocalStore) -> None:
    recorded = _ROBOT.record(1)
    folder = _ROBOT.upload(raw, recorded)
    limit = len(recorded.episode) - 1
    require_quarantine(raw, folder, Reason.EPISODE_OVERSIZED, size_limit_bytes=limit)


def test_sidecar_of_another_episode_is_quarantined(raw: LocalStore) -> None:
    one, other = _ROBOT.record(1), _ROBOT.record(2)
    mixed = dataclasses.replace(one, sidecar=other.sidecar)
    folder = _ROBOT.upload(raw, mixed, folder=one.folder)
    require_quarantine(raw, folder, Reason.SIDECAR_OF_ANOTHER_EPISODE)


def test_episode_with_another_id_than_its_sidecar_is_quarantined(
    raw: LocalStore,
) -> None:
    """The sidecar names the folder's id, and the digest of another episode's bytes."""
    one, other = _ROBOT.record(1), _ROBOT.record(2)
    mixed = dataclasses.replace(other, sidecar=other.sidecar)
    folder = _ROBOT.upload(
        raw, mixed, folder=one.folder, episode_id=one.sidecar.episode_id
    )
    verdict = require_quarantine(raw, folder, Reason.SIDECAR_OF_ANOTHER_EPISODE)
    assert "episode_id" in verdict.detail


@pytest.mark.parametrize(
    "changes", [{"num_steps": 6}, {"package_digest": "a" * 64}, {"software": "9"}]
)
def test_sidecar_that_contradicts_its_episode_is_quarantined(
    raw: LocalStore, changes: dict[str, Any]
) -> None:
    folder = _ROBOT.upload(raw, _ROBOT.record(1), **changes)
    require_quarantine(raw, folder, Reason.SIDECAR_OF_ANOTHER_EPISODE)


def test_missing_redaction_record_is_quarantined(raw: LocalStore) -> None:
    folder = _ROBOT.upload(raw, _ROBOT.record(1))
    _rewrite_sidecar(raw, folder, lambda value: value.pop("privacy"))
    _sign_again(raw, folder)
    require_quarantine(raw, folder, Reason.REDACTION_MISSING)


def test_redaction_record_that_is_null_is_quarantined(raw: LocalStore) -> None:
    folder = _ROBOT.upload(raw, _ROBOT.record(1))
    _rewrite_sidecar(raw, folder, lambda value: value.update(privacy=None))
    _sign_again(raw, folder)
    require_quarantine(raw, folder, Reason.REDACTION_MISSING)


@pytest.mark.parametrize("left_out", ["robot_hash", "start_time", "location", "tags"])
def test_redaction_record_without_a_sensitive_field_is_quarantined(
    raw: LocalStore, left_out: str
) -> None:
    recorded = _ROBOT.record(1)
    privacy = recorded.sidecar.privacy
    covered = tuple(name for name in privacy.fields_covered if name != left_out)
    folder = _ROBOT.upload(
        raw, recorded, privacy=dataclasses.replace(privacy, fields_covered=covered)
    )
    verdict = require_quarantine(raw, folder, Reason.FIELDS_NOT_COVERED)
    assert left_out in verdict.detail


def test_redaction_record_that_is_not_attested_is_quarantined(raw: LocalStore) -> None:
    recorded = _ROBOT.record(1)
    privacy = dataclasses.replace(recorded.sidecar.privacy, attested=False)
    folder = _ROBOT.upload(raw, recorded, privacy=privacy)
    require_quarantine(raw, folder, Reason.FIELDS_NOT_COVERED)


def test_unsigned_sidecar_is_quarantined(raw: LocalStore) -> None:
    folder = _ROBOT.upload(raw, _ROBOT.record(1))
    _rewrite_sidecar(raw, folder, lambda value: value.pop("signature"))
    require_quarantine(raw, folder, Reason.SIGNATURE_MISSING)


def test_sidecar_changed_after_it_was_signed_is_quarantined(raw: LocalStore) -> None:
    folder = _ROBOT.upload(raw, _ROBOT.record(1))
    _rewrite_sidecar(raw, folder, lambda value: value.update(num_steps=4))
    require_quarantine(raw, folder, Reason.SIGNATURE_WRONG)


def test_signature_of_a_key_that_is_not_enrolled_is_quarantined(
    raw: LocalStore,
) -> None:
    folder = _ROBOT.upload(raw, _ROBOT.record(1), key=RawRobot(9).key)
    require_quarantine(raw, folder, Reason.SIGNATURE_UNKNOWN_KEY)


def test_signature_of_another_enrolled_robot_is_quarantined(raw: LocalStore) -> None:
    folder = _ROBOT.upload(raw, _ROBOT.record(1), key=RawRobot(2).key)
    ingest(raw, _ROBOT, RawRobot(2))
    assert verdict_on_disk(raw, folder).reason == Reason.KEY_OF_ANOTHER_ROBOT


def test_episode_without_consent_or_escalation_is_quarantined(raw: LocalStore) -> None:
    folder = _ROBOT.upload(
        raw, _ROBOT.record(1), consent=Consent(granted=False, by="", at="")
    )
    require_quarantine(raw, folder, Reason.CONSENT_MISSING)


def test_unknown_schema_version_is_quarantined(raw: LocalStore) -> None:
    folder = _ROBOT.upload(raw, _ROBOT.record(1), schema_version="9.0.0")
    verdict = require_quarantine(raw, folder, Reason.SCHEMA_UNKNOWN)
    assert "9.0.0" in verdict.detail


@pytest.mark.parametrize("garbage", [b"", b"{", b"[]", b"\xff", b'{"a": 1}', b"null"])
def test_file_that_is_not_a_sidecar_is_quarantined(
    raw: LocalStore, garbage: bytes
) -> None:
    folder = _ROBOT.upload(raw, _ROBOT.record(1))
    raw.put(folder.sidecar, garbage)
    summary = ingest(raw, _ROBOT)
    assert not summary.verdicts[0].admitted
    assert verdict_on_disk(raw, folder).reason in (
        Reason.SIDECAR_MALFORMED,
        Reason.SIGNATURE_MISSING,
    )


def test_missing_sidecar_and_missing_episode_are_quarantined(raw: LocalStore) -> None:
    one, other = _ROBOT.record(1), _ROBOT.record(2)
    raw.put(one.folder.episode, one.episode)
    raw.put(other.folder.sidecar, sidecar_format.sign(other.sidecar, _ROBOT.key))
    ingest(raw, _ROBOT)
    assert verdict_on_disk(raw, one.folder).reason == Reason.SIDECAR_MISSING
    assert verdict_on_disk(raw, other.folder).reason == Reason.EPISODE_MISSING


def test_the_same_episode_uploaded_twice_is_one_episode(raw: LocalStore) -> None:
    folder = _ROBOT.upload(raw, _ROBOT.record(1))
    first = ingest(raw, _ROBOT)
    before = raw.generation(folder.admission)
    _ROBOT.upload(raw, _ROBOT.record(1))
    second = ingest(raw, _ROBOT)
    assert (first.written, second.written) == (1, 0)
    assert first.verdicts == second.verdicts
    assert raw.generation(folder.admission) == before
    assert len(raw.list("admitted/")) == 1


def test_the_same_episode_in_two_folders_is_admitted_once(raw: LocalStore) -> None:
    recorded = _ROBOT.record(1)
    right = _ROBOT.upload(raw, recorded)
    wrong = dataclasses.replace(right, date="2026-02-01")
    _ROBOT.upload(raw, recorded, folder=wrong)
    summary = ingest(raw, _ROBOT)
    assert sorted(v.status for v in summary.verdicts) == ["admitted", "quarantined"]
    assert verdict_on_disk(raw, right).admitted
    assert verdict_on_disk(raw, wrong).reason == Reason.WRONG_PLACE


def test_of_two_recordings_with_one_id_only_the_first_is_admitted(
    raw: LocalStore,
) -> None:
    first = _ROBOT.upload(raw, _ROBOT.record(1))
    again = _ROBOT.upload(raw, _ROBOT.record(1, date="2026-02-01"))
    ingest(raw, _ROBOT)
    assert verdict_on_disk(raw, first).admitted
    verdict = verdict_on_disk(raw, again)
    assert verdict.reason == Reason.DUPLICATE
    assert first.path in verdict.detail
    ingest(raw, _ROBOT)
    assert verdict_on_disk(raw, first).admitted


def test_the_first_to_be_admitted_keeps_the_id(raw: LocalStore) -> None:
    late = _ROBOT.upload(raw, _ROBOT.record(1, date="2026-02-01"))
    ingest(raw, _ROBOT)
    early = _ROBOT.upload(raw, _ROBOT.record(1))
    ingest(raw, _ROBOT)
    assert verdict_on_disk(raw, late).admitted
    assert verdict_on_disk(raw, early).reason == Reason.DUPLICATE


def test_runs_at_the_same_time_agree(raw: LocalStore) -> None:
    for number in range(8):
        _ROBOT.upload(raw, _ROBOT.record(number))
        _ROBOT.upload(raw, _ROBOT.record(number, date="2026-02-01"))
    with concurrent.futures.ThreadPoolExecutor(3) as pool:
        runs = list(pool.map(lambda _: ingest(raw, _ROBOT), range(3)))
    assert runs[0].verdicts == runs[1].verdicts == runs[2].verdicts
    assert sum(v.admitted for v in runs[0].verdicts) == 8
    assert len(raw.list("admitted/")) == 8


def test_a_repaired_episode_is_judged_again(raw: LocalStore) -> None:
    recorded = _ROBOT.record(1)
    short = dataclasses.replace(recorded, episode=recorded.episode[:-1])
    folder = _ROBOT.upload(raw, short)
    ingest(raw, _ROBOT)
    _ROBOT.upload(raw, recorded)
    assert ingest(raw, _ROBOT).written == 1
    assert verdict_on_disk(raw, folder).admitted


def test_an_admitted_episode_whose_bytes_change_is_quarantined(raw: LocalStore) -> None:
    recorded = _ROBOT.record(1)
    folder = _ROBOT.upload(raw, recorded)
    ingest(raw, _ROBOT)
    raw.put(folder.episode, b"\0" * len(recorded.episode))
    ingest(raw, _ROBOT)
    assert verdict_on_disk(raw, folder).reason == Reason.DIGEST_MISMATCH


def test_objects_outside_of_the_layout_are_named_and_left_alone(
    raw: LocalStore,
) -> None:
    raw.put("rlds_v0/notes.txt", b"hello")
    summary = ingest(raw, _ROBOT)
    assert summary.verdicts == ()
    assert summary.strangers == ("rlds_v0/notes.txt",)
    assert raw.list("") == ("rlds_v0/notes.txt",)


def test_one_bad_episode_does_not_quarantine_the_others(raw: LocalStore) -> None:
    good = [_ROBOT.upload(raw, _ROBOT.record(number)) for number in (1, 3)]
    bad = _ROBOT.upload(raw, _ROBOT.record(2))
    raw.put(bad.episode, b"")
    ingest(raw, _ROBOT)
    assert [verdict_on_disk(raw, folder).admitted for folder in good] == [True, True]
    assert verdict_on_disk(raw, bad).reason == Reason.SIZE_MISMATCH


def _sign_again(raw: LocalStore, folder: RawFolder) -> None:
    """Signs the sidecar's present content with the robot's own key."""
    value: Any = canonical_json.decode(raw.get(folder.sidecar, 1 << 20))
    value.pop("signature")
    signature = _ROBOT.key.sign(canonical_json.encode(value))
    value["signature"] = base64.b64encode(signature).decode()
    raw.put(folder.sidecar, canonical_json.encode(value))


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
