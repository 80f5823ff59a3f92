"""Holds each statement of a sidecar against the episode that it is about.

A signature says who made a statement, not that it is true. The robot checks its own
before an episode enters the shared folder, the uploader before it sends one, and ingest
before it admits one, all with `check_statements`.
"""

import datetime

from rlds.episode import Episode
from rlds.errors import (
    ConsentFormError,
    DateBeforeFormatError,
    DateInFutureError,
    SidecarMismatchError,
    SidecarViolationsError,
)
from rlds.redacted_form import check_redacted, is_hour
from rlds.sidecar import Consent, Sidecar
from rlds.spec import CLOCK_TOLERANCE, FIRST_DATE

CONSENTING = "operator"
"""The only one who gives consent: whoever is responsible for the robot."""

# Who may be named as having decided; `unknown` where a crash lost it. A person is not.
_ROLES = ("", CONSENTING, "unknown")


def check_statements(
    sidecar: Sidecar, episode: Episode, now: datetime.datetime
) -> None:
    """Checks what the sidecar says about the content of its episode.

    Size and digest are compared by `Sidecar.check_episode`, before the episode is
    decoded.

    Args:
        sidecar: the robot's statement.
        episode: what it is about.
        now: the present time, by the clock of whoever checks.

    Raises:
        SidecarMismatchError: the sidecar is about another episode.
        SidecarViolationsError: the steps hold another number of safety violations.
        ConsentFormError: the consent holds more than a role and an hour.
        FieldNotCoveredError, FieldFormError: as `check_redacted`.
        DateError: as `check_date`.
    """
    _check_agreement(sidecar, episode)
    violations = count_violations(episode)
    if sidecar.safety.violations != violations:
        raise SidecarViolationsError(
            _source(sidecar),
            f"{sidecar.safety.violations} steps with a safety violation",
            violations,
        )
    check_consent(sidecar)
    check_redacted(episode, sidecar.privacy)
    # `start_time` agrees with `date`; where nobody consented, no time need be stated.
    check_date(sidecar.date, now, _source(sidecar), "date")
    if sidecar.consent.at:
        check_date(sidecar.consent.at, now, _source(sidecar), "consent.at")


def check_date(time: str, now: datetime.datetime, source: str, name: str) -> None:
    """Checks that a day is one on which an episode can have been recorded.

    A day is the unit that is held out from training: what wrong clocks date would
    become one group.

    Args:
        time: begins with the day, `YYYY-MM-DD`.
        now: the present time.
        source: what holds the time, for errors.
        name: what the time is, for errors.

    Raises:
        DateBeforeFormatError: it is before there were episodes.
        DateInFutureError: it is more than a day ahead.
    """
    day = time[: len(FIRST_DATE)]
    if day < FIRST_DATE:
        raise DateBeforeFormatError(source, f"{name} from {FIRST_DATE} on", day)
    last = (now + CLOCK_TOLERANCE).date().isoformat()
    if day > last:
        raise DateInFutureError(source, f"{name} up to {last}", day)


def count_violations(episode: Episode) -> int:
    """Returns in how many steps a stop rule fired."""
    return int(episode.steps["safety_violation"].sum())


def may_leave(sidecar: Sidecar, violations: int) -> bool:
    """Whether an episode may leave its robot.

    Args:
        sidecar: the robot's statement.
        violations: safety violations counted in the steps. An escalation without any
            is none.
    """
    return sidecar.consent.granted or (sidecar.safety.escalated and violations > 0)


def _check_agreement(sidecar: Sidecar, episode: Episode) -> None:
    own = episode.metadata
    for name, stated, found in (
        ("schema_version", sidecar.schema_version, own.schema_version),
        ("episode_id", sidecar.episode_id, own.episode_id),
        ("robot_hash", sidecar.robot_hash, own.robot_hash),
        ("package_digest", sidecar.package_digest, own.package_digest),
        ("delta_digest", sidecar.delta_digest, own.delta_digest),
        ("software", sidecar.software, own.software_version),
        ("date", sidecar.date, own.start_time[:10]),
        ("num_steps", sidecar.num_steps, episode.num_steps),
    ):
        if stated != found:
            raise SidecarMismatchError(
                _source(sidecar), f"an episode with {name} {stated!r}", repr(found)
            )


def check_consent(sidecar: Sidecar) -> None:
    """Checks that the consent names a role and an hour, and nothing else.

    Raises:
        ConsentFormError: it holds more, or lacks one of them.
    """
    consent: Consent = sidecar.consent
    if consent.by not in _ROLES or (consent.granted and consent.by != CONSENTING):
        raise ConsentFormError(
            _source(sidecar),
            f"consent.by to be {CONSENTING}, or unknown where it is not granted",
            "another text",
        )
    if not (is_hour(consent.at) or (consent.at == "" and not consent.granted)):
        raise ConsentFormError(
            _source(sidecar), "consent.at to be a whole hour", "another text"
        )


def _source(sidecar: Sidecar) -> str:
    return f"sidecar of {sidecar.episode_id}"
