"""What a sidecar says, held against the episode that it is about."""

import dataclasses
import datetime
import importlib
from typing import Any

import numpy as np
import pytest

from base.digest import sha256_bytes
from rlds import sidecar as sidecar_format
from rlds import sidecar_statements
from rlds.episode import Episode
from rlds.errors import (
    ConsentFormError,
    DateBeforeFormatError,
    DateError,
    DateInFutureError,
    FieldFormError,
    FieldNotCoveredError,
    SidecarMismatchError,
    SidecarViolationsError,
)
from rlds.redaction_record import RedactionRecord
from rlds.sidecar import Consent, Safety, Sidecar
from rlds.spec import TRANSFORM_VERSION
from rlds.testing import episodes
from rlds.testing.episodes import frame_episode
from rlds.testing.private_values import RECORD

EPISODE = episodes.episode(tags=("simulated",))
FRAMED = frame_episode(EPISODE)
VIOLATIONS = 1  # at step 2, as `rlds.testing.episodes` makes them
NO_CONSENT = Consent(False, "", "")
NOW = datetime.datetime(2026, 3, 1, 12, tzinfo=datetime.UTC)


def sidecar(**changes: Any) -> Sidecar:
    framed = episodes.frame_episode(EPISODE)
    own = EPISODE.metadata
    fields: dict[str, Any] = {
        "schema_version": own.schema_version,
        "episode_id": own.episode_id,
        "sha256": sha256_bytes(framed),
        "size_bytes": len(framed),
        "num_steps": EPISODE.num_steps,
        "robot_hash": own.robot_hash,
        "date": "2026-01-01",
        "consent": Consent(True, "operator", "2026-01-01T09:00:00Z"),
        "safety": Safety(VIOLATIONS, True),
        "privacy": RECORD,
        "package_digest": own.package_digest,
        "delta_digest": own.delta_digest,
        "software": own.software_version,
    }
    return Sidecar(**{**fields, **changes})


def test_true_statements_pass() -> None:
    sidecar_statements.check_statements(sidecar(), EPISODE, FRAMED, NOW)
    sidecar_statements.check_statements(
        sidecar(consent=NO_CONSENT), EPISODE, FRAMED, NOW
    )


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("schema_version", "0.2.0"),
        ("episode_id", episodes.metadata(1).episode_id),
        ("num_steps", 6),
        ("robot_hash", "ef" * 32),
        ("date", "2026-01-02"),
        ("package_digest", ""),
        ("delta_digest", "ef" * 32),
        ("software", "9"),
    ],
)
def test_statement_about_another_episode_is_named(name: str, value: object) -> None:
    with pytest.raises(SidecarMismatchError, match=f"with {name} "):
        sidecar_statements.check_statements(
            sidecar(**{name: value}), EPISODE, FRAMED, NOW
        )


def test_statement_that_nothing_looks_at_stops_the_build(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert "consent.by" in sidecar_statements.list_statements()

    @dataclasses.dataclass(frozen=True)
    class Told(Consent):
        remark: str = ""

    monkeypatch.setattr(sidecar_format, "Consent", Told)
    with pytest.raises(TypeError, match=r"consent\.remark"):
        importlib.reload(sidecar_statements)
    monkeypatch.undo()
    importlib.reload(sidecar_statements)


@pytest.mark.parametrize("stated", [0, 2, 5])
def test_violations_are_counted_again_in_the_steps(stated: int) -> None:
    with pytest.raises(SidecarViolationsError, match=f"expected {stated} steps"):
        sidecar_statements.check_statements(
            sidecar(safety=Safety(stated, True)), EPISODE, FRAMED, NOW
        )


@pytest.mark.parametrize(
    "consent",
    [
        Consent(True, "Ada Lovelace", "2026-01-01T09:00:00Z"),
        Consent(True, "unknown", "2026-01-01T09:00:00Z"),
        Consent(True, "", "2026-01-01T09:00:00Z"),
        Consent(True, "operator", "2026-01-01T09:41:12Z"),
        Consent(True, "operator", ""),
        Consent(False, "Ada", ""),
        Consent(False, "operator", "at noon in the kitchen"),
    ],
)
def test_consent_that_holds_more_than_a_role_and_an_hour_is_refused(
    consent: Consent,
) -> None:
    with pytest.raises(ConsentFormError) as caught:
        sidecar_statements.check_statements(
            sidecar(consent=consent), EPISODE, FRAMED, NOW
        )
    assert "Ada" not in str(caught.value)


def test_value_that_was_not_redacted_and_field_not_covered_are_told_apart() -> None:
    tagged = dataclasses.replace(
        EPISODE, metadata=dataclasses.replace(EPISODE.metadata, tags=("Ada",))
    )
    with pytest.raises(FieldFormError, match="tags"):
        sidecar_statements.check_statements(sidecar(), tagged, FRAMED, NOW)
    bare = RedactionRecord(TRANSFORM_VERSION, {}, (), 0, True)
    with pytest.raises(FieldNotCoveredError):
        sidecar_statements.check_statements(sidecar(privacy=bare), EPISODE, FRAMED, NOW)


def test_escalation_without_a_violation_in_the_steps_is_no_permission() -> None:
    calm = dataclasses.replace(
        EPISODE,
        steps={**EPISODE.steps, "safety_violation": np.zeros(5, np.bool_)},
    )
    stated = sidecar(consent=NO_CONSENT, safety=Safety(0, True))
    with pytest.raises(SidecarViolationsError, match="expected an escalation for"):
        sidecar_statements.check_statements(stated, calm, frame_episode(calm), NOW)
    assert not _may_leave(stated, calm)
    assert _may_leave(sidecar(consent=NO_CONSENT), EPISODE)
    assert not _may_leave(
        sidecar(consent=NO_CONSENT, safety=Safety(VIOLATIONS, False)), EPISODE
    )
    assert _may_leave(sidecar(safety=Safety(0, False)), calm)


@pytest.mark.parametrize(
    ("date", "error"),
    [
        ("1970-01-01", DateBeforeFormatError),
        ("2025-12-31", DateBeforeFormatError),
        ("2026-01-01", None),
        ("2026-03-01", None),
        ("2026-03-02", None),
        ("2026-03-03", DateInFutureError),
        ("2099-01-01", DateInFutureError),
    ],
)
@pytest.mark.parametrize("name", ["date", "consent.at"])
def test_date_that_only_a_wrong_clock_gives_is_refused(
    name: str, date: str, error: type[DateError] | None
) -> None:
    episode, stated = EPISODE, sidecar(consent=NO_CONSENT)
    if name == "date":
        start = f"{date}T08:00:00Z"
        metadata = dataclasses.replace(EPISODE.metadata, start_time=start)
        episode = dataclasses.replace(EPISODE, metadata=metadata)
        stated = dataclasses.replace(stated, date=date)
    else:
        stated = sidecar(consent=Consent(True, "operator", f"{date}T23:00:00Z"))
    if error is None:
        sidecar_statements.check_statements(
            stated, episode, frame_episode(episode), NOW
        )
        return
    with pytest.raises(error, match=f"{name} .*, got {date}; set the robot's clock"):
        sidecar_statements.check_statements(
            stated, episode, frame_episode(episode), NOW
        )


def _may_leave(stated: Sidecar, episode: Episode) -> bool:
    violations = sidecar_statements.count_violations(episode)
    return sidecar_statements.may_leave(stated, violations)
