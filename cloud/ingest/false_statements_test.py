"""A signed sidecar whose statements do not hold for its episode is quarantined."""

import dataclasses
import datetime
from typing import Any

import pytest

from base.store.store import LocalStore
from cloud.ingest.admission import Reason
from cloud.testing.raw_robot import (
    SPEC,
    RawRobot,
    Recorded,
    ingest,
    make_raw,
    require_quarantine,
    verdict_on_disk,
)
from rlds import reader
from rlds.sidecar import Consent, Safety
from rlds.spec import IMAGE_DETECTORS
from rlds.testing import private_values
from rlds.testing.episodes import JPEG
from rlds.testing.private_values import DOORS, Door

_ROBOT = RawRobot(1)
raw = pytest.fixture(make_raw)


def test_safety_escalation_replaces_consent(raw: LocalStore) -> None:
    folder = _ROBOT.upload(
        raw,
        _ROBOT.record(1, violations=2),
        consent=Consent(granted=False, by="", at=""),
        safety=Safety(violations=2, escalated=True),
    )
    ingest(raw, _ROBOT)
    assert verdict_on_disk(raw, folder).admitted


NOT_REDACTED = [
    {"location": "52.516275,13.377704"},
    {"start_time": "2026-01-31T08:41:12Z"},
    {"tags": ("simulated", "Ada Lovelace")},
    {"task": ""},
    {"task": "reach\x1b[2J\x1b[31m\nv3"},
    {"robot_model": "Ada's arm"},
    {"environment_id": "/home/ada"},
]


@pytest.mark.parametrize("changes", NOT_REDACTED)
def test_value_that_was_not_redacted_is_quarantined_though_the_record_covers_it(
    raw: LocalStore, changes: dict[str, Any]
) -> None:
    folder = _ROBOT.upload(raw, _ROBOT.record(1, **changes))
    verdict = require_quarantine(raw, folder, Reason.NOT_REDACTED)
    assert next(iter(changes)) in verdict.detail
    assert "Ada" not in verdict.detail
    assert "52.516275" not in verdict.detail


@pytest.mark.parametrize(
    "changes",
    [
        {"operator": "Ada"},
        {"software_version": ""},
        {"channel": "my channel"},
    ],
)
def test_text_that_has_not_the_form_of_its_field_is_quarantined(
    raw: LocalStore, changes: dict[str, Any]
) -> None:
    folder = _ROBOT.upload(raw, _ROBOT.record(1, **changes))
    verdict = require_quarantine(raw, folder, Reason.FIELD_MALFORMED)
    assert next(iter(changes)) in verdict.detail


def test_episode_in_which_no_time_passes_is_quarantined(raw: LocalStore) -> None:
    folder = _ROBOT.upload(raw, _ROBOT.record(1, period_ns=0))
    verdict = require_quarantine(raw, folder, Reason.NOT_REDACTED)
    assert "t_monotonic_ns: expected time to pass" in verdict.detail


def test_episode_of_one_step_is_admitted(raw: LocalStore) -> None:
    folder = _ROBOT.upload(raw, _ROBOT.record(1, steps=1))
    ingest(raw, _ROBOT)
    assert verdict_on_disk(raw, folder).admitted


def test_a_task_in_words_is_admitted(raw: LocalStore) -> None:
    task = "pick up the red cube, and put it into the box"
    folder = _ROBOT.upload(raw, _ROBOT.record(1, task=task))
    ingest(raw, _ROBOT)
    assert verdict_on_disk(raw, folder).episode["task"] == task


@pytest.mark.parametrize("stated", [0, 1, 3])
def test_violations_that_the_steps_do_not_hold_are_quarantined(
    raw: LocalStore, stated: int
) -> None:
    recorded = _ROBOT.record(1, violations=2)
    folder = _ROBOT.upload(raw, recorded, safety=Safety(stated, escalated=True))
    require_quarantine(raw, folder, Reason.VIOLATIONS_DIFFER)


def test_escalation_without_a_violation_in_the_steps_is_no_consent(
    raw: LocalStore,
) -> None:
    folder = _ROBOT.upload(
        raw,
        _ROBOT.record(1),
        consent=Consent(granted=False, by="", at=""),
        safety=Safety(0, escalated=True),
    )
    require_quarantine(raw, folder, Reason.VIOLATIONS_DIFFER)


@pytest.mark.parametrize("door", DOORS, ids=lambda door: door.name)
def test_private_value_is_quarantined_through_every_door(
    raw: LocalStore, door: Door
) -> None:
    recorded = _ROBOT.record(1)
    found = reader.read_episode_bytes(recorded.episode)
    framed, said = private_values.smuggle(door, found, recorded.sidecar)
    folder = _ROBOT.upload(raw, Recorded(framed, said))
    (verdict,) = ingest(raw, _ROBOT).verdicts
    assert (verdict.status, verdict.episode) == ("quarantined", {})
    assert verdict.reason in (
        Reason.NOT_REDACTED,
        Reason.FIELDS_NOT_COVERED,
        Reason.FIELD_MALFORMED,
        Reason.EPISODE_MALFORMED,
        Reason.CONSENT_MALFORMED,
        Reason.VIOLATIONS_DIFFER,
    )
    assert raw.list("admitted/") == ()
    told = raw.get(folder.admission, 1 << 20).decode()
    in_id = verdict.episode_id.replace("-", "")
    assert not door.secret or door.secret not in told.replace(in_id, "")


@pytest.mark.parametrize(
    "door",
    [Door("none"), private_values.DRAWN, private_values.DRAWN_AND_MASKED],
    ids=lambda door: door.name,
)
def test_what_went_through_no_door_is_admitted(raw: LocalStore, door: Door) -> None:
    recorded = _ROBOT.record(1)
    found = reader.read_episode_bytes(recorded.episode)
    framed, said = private_values.smuggle(door, found, recorded.sidecar)
    folder = _ROBOT.upload(raw, Recorded(framed, said))
    ingest(raw, _ROBOT)
    assert verdict_on_disk(raw, folder).admitted


def test_a_person_who_is_named_in_the_consent_is_quarantined(raw: LocalStore) -> None:
    consent = Consent(True, "Ada Lovelace", "2026-01-31T09:00:00Z")
    folder = _ROBOT.upload(raw, _ROBOT.record(1), consent=consent)
    verdict = require_quarantine(raw, folder, Reason.CONSENT_MALFORMED)
    assert "Ada" not in verdict.detail


_NOW = datetime.datetime(2026, 3, 1, 12, tzinfo=datetime.UTC)


@pytest.mark.parametrize(
    ("date", "reason"),
    [
        ("1970-01-01", Reason.DATE_BEFORE_FORMAT),
        ("2025-12-31", Reason.DATE_BEFORE_FORMAT),
        ("2026-03-03", Reason.DATE_IN_FUTURE),
        ("2099-01-01", Reason.DATE_IN_FUTURE),
    ],
)
def test_date_of_a_wrong_clock_is_quarantined(
    raw: LocalStore, date: str, reason: Reason
) -> None:
    folder = _ROBOT.upload(raw, _ROBOT.record(1, date=date))
    verdict = require_quarantine(raw, folder, reason, judged_at=_NOW)
    assert date in verdict.detail


@pytest.mark.parametrize("date", ["2026-01-01", "2026-03-01", "2026-03-02"])
def test_first_day_of_the_format_and_tomorrow_are_admitted(
    raw: LocalStore, date: str
) -> None:
    folder = _ROBOT.upload(raw, _ROBOT.record(1, date=date))
    ingest(raw, _ROBOT, judged_at=_NOW)
    assert verdict_on_disk(raw, folder).admitted


def test_consent_of_the_future_is_quarantined(raw: LocalStore) -> None:
    consent = Consent(True, "operator", "2031-01-01T00:00:00Z")
    folder = _ROBOT.upload(raw, _ROBOT.record(1), consent=consent)
    require_quarantine(raw, folder, Reason.DATE_IN_FUTURE, judged_at=_NOW)


_CAMERA = dataclasses.replace(SPEC, image=True)


def _masked(recorded: Recorded) -> dict[str, Any]:
    privacy = recorded.sidecar.privacy
    detectors = dict.fromkeys(IMAGE_DETECTORS, "ef" * 32)
    masks = private_values.MASKS
    return {
        "privacy": dataclasses.replace(privacy, detectors=detectors, pictures=masks)
    }


def test_images_that_decode_and_hold_no_metadata_are_admitted(raw: LocalStore) -> None:
    recorded = _ROBOT.record(1, spec=_CAMERA)
    folder = _ROBOT.upload(raw, recorded, **_masked(recorded))
    ingest(raw, _ROBOT)
    assert verdict_on_disk(raw, folder).admitted


def test_images_of_which_no_detector_is_named_are_quarantined(raw: LocalStore) -> None:
    folder = _ROBOT.upload(raw, _ROBOT.record(1, spec=_CAMERA))
    require_quarantine(raw, folder, Reason.FIELDS_NOT_COVERED)


def test_image_with_a_location_in_its_metadata_is_quarantined(raw: LocalStore) -> None:
    image = JPEG[:2] + b"\xff\xe1\x00\x0aExif\0\0GP" + JPEG[2:]
    recorded = _ROBOT.record(1, spec=_CAMERA, image=image)
    folder = _ROBOT.upload(raw, recorded, **_masked(recorded))
    require_quarantine(raw, folder, Reason.NOT_REDACTED)


def test_image_that_training_could_not_decode_is_quarantined(raw: LocalStore) -> None:
    image = JPEG.replace(b"\1\x11\0\xff", b"\1\x55\0\xff")  # five samples by five
    assert image != JPEG
    recorded = _ROBOT.record(1, spec=_CAMERA, image=image)
    folder = _ROBOT.upload(raw, recorded, **_masked(recorded))
    require_quarantine(raw, folder, Reason.IMAGE_MALFORMED)
