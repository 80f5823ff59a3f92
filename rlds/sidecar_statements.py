"""Holds each statement of a sidecar against the episode that it is about.

A signature says who made a statement, not that it is true. The robot checks its own
before an episode enters the shared folder, the uploader before it sends one, and ingest
before it admits one, all with `check_statements`.
"""

import dataclasses
import datetime
from collections.abc import Callable, Mapping, Set

from rlds import example_codec, tfrecord
from rlds.episode import Episode
from rlds.errors import (
    ConsentFormError,
    DateBeforeFormatError,
    DateInFutureError,
    MalformedEpisodeError,
    SidecarMismatchError,
    SidecarViolationsError,
)
from rlds.known_words import NO_WORDS
from rlds.redacted_form import check_redacted, is_hour
from rlds.redaction_record import RedactionRecord
from rlds.sidecar import Consent, Safety, Sidecar
from rlds.spec import CLOCK_TOLERANCE, FIRST_DATE

CONSENTING = "operator"
"""The only one who gives consent: whoever is responsible for the robot."""

# Who may be named as having decided; `unknown` where a crash lost it. A person is not.
_ROLES = ("", CONSENTING, "unknown")

# Each statement of a sidecar, and what of its episode it must equal. The episode's own
# value has the form that `rlds.spec` gives it.
_OF_THE_EPISODE: Mapping[str, Callable[[Episode], object]] = {
    "schema_version": lambda episode: episode.metadata.schema_version,
    "episode_id": lambda episode: episode.metadata.episode_id,
    "robot_hash": lambda episode: episode.metadata.robot_hash,
    "package_digest": lambda episode: episode.metadata.package_digest,
    "delta_digest": lambda episode: episode.metadata.delta_digest,
    "software": lambda episode: episode.metadata.software_version,
    "date": lambda episode: episode.metadata.start_time[:10],
    "num_steps": lambda episode: episode.num_steps,
}
# The other ones, and what looks at them.
_LOOKED_AT: Mapping[str, str] = {
    "sha256": "Sidecar.check_episode",
    "size_bytes": "Sidecar.check_episode",
    "keyid": "sidecar.verify",
    "consent.granted": "may_leave",
    "consent.by": "check_consent: a role",
    "consent.at": "check_consent: an hour",
    "safety.violations": "check_statements: counted again",
    "safety.escalated": "check_statements: only with a violation",
    "privacy.transform_version": "check_redacted: the known one",
    "privacy.detectors": "check_redacted: known names; a digest by the record itself",
    "privacy.fields_covered": "check_redacted: names of sensitive fields",
    "privacy.frames_masked": "check_redacted: no more than there are",
    "privacy.attested": "check_redacted: true",
    "privacy.pictures": "check_redacted: known names; dropped ones are counted again",
    "privacy.drawn": "check_redacted: only of a simulated robot that draws all of them",
}


def check_statements(
    sidecar: Sidecar,
    episode: Episode,
    framed: bytes,
    now: datetime.datetime,
    words: Set[str] = NO_WORDS,
) -> None:
    """Checks what the sidecar says about the content of its episode.

    Size and digest are compared by `Sidecar.check_episode`, before the episode is
    decoded.

    Args:
        sidecar: the robot's statement.
        episode: what it is about.
        framed: the episode's file, from which `episode` was decoded.
        now: the present time, by the clock of whoever checks.
        words: those that the robot has of its own, beside the closed list.

    Raises:
        SidecarMismatchError: the sidecar is about another episode.
        SidecarViolationsError: the steps hold another number of safety violations, or
            none and the sidecar says that the episode is shared for one.
        MalformedEpisodeError: the file holds more than its episode.
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
    if sidecar.safety.escalated and not violations:
        raise SidecarViolationsError(
            _source(sidecar), "an escalation for a safety violation in a step", "none"
        )
    check_consent(sidecar)
    check_redacted(episode, sidecar.privacy, words)
    # What no reader sees, such as a part without content, is looked at by nobody. The
    # frame around it has one form, which the reader has checked.
    record = example_codec.encode(episode)
    size_bytes = len(record) + tfrecord.OVERHEAD_SIZE_BYTES
    whole = framed.startswith(record, tfrecord.HEADER_SIZE_BYTES)  # without a copy
    if len(framed) != size_bytes or not whole:
        raise MalformedEpisodeError(
            _source(sidecar),
            "a file as the robot's recorder writes its episode",
            "other bytes",
        )
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
    for name, find in _OF_THE_EPISODE.items():
        stated, found = getattr(sidecar, name), find(episode)
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


def list_statements() -> tuple[str, ...]:
    """Returns the name of each statement of a sidecar, such as `consent.by`."""
    parts = {"consent": Consent, "safety": Safety, "privacy": RedactionRecord}
    names: list[str] = []
    for field in dataclasses.fields(Sidecar):
        part = parts.get(field.name)
        inner = dataclasses.fields(part) if part else ()
        names += [f"{field.name}.{one.name}" for one in inner] or [field.name]
    return tuple(names)


_unchecked = set(list_statements()) ^ {*_OF_THE_EPISODE, *_LOOKED_AT}
if _unchecked:
    raise TypeError(f"statements of a sidecar that nothing looks at: {_unchecked}")
