"""The robot of an episode and what of it may leave, kept beside the journal.

    <episode_id>.terms.json   in the private folder, mode 0600

It names the robot, so it is sealed where the device has a key (`rlds/sealing.py`).

The file is durable before the first step is written and is removed with the raw
episode. An episode that a crash cut short is therefore shared under the terms of the
run that began it, whatever the flags of the run that recovers it.
"""

import dataclasses
from pathlib import Path
from typing import Final

from base import canonical_json, durable_file, plain_file
from base.errors import MalformedError, OversizedError
from base.json_fields import Fields, decode
from edge.errors import EpisodeTermsError
from edge.redact import transforms
from edge.robots.clock import rfc3339_from_unix_ns
from rlds import known_words, sealing
from rlds.errors import CorruptRecordError
from rlds.sidecar import Consent
from rlds.sidecar_statements import CONSENTING

SCHEMA_VERSION: Final = 1
SUFFIX: Final = ".terms.json"
_LIMIT_BYTES: Final = 64 * 1024
_KEYS: Final = ("schema_version", "robot_id", "keyid", "consent")
_WORDS: Final = "words"
_DRAWN: Final = "drawn"
_CONSENT_KEYS: Final = ("granted", "by", "at")


@dataclasses.dataclass(frozen=True)
class EpisodeTerms:
    """What is decided when an episode begins.

    Attributes:
        robot_id: the robot's own name, which never leaves it.
        keyid: id of the robot's key, which hashes the name and signs the sidecar.
        consent: whether the episode may be uploaded.
        words: those of the operator that may leave, beside the closed list.
        drawn: names of the cameras whose pictures the robot itself draws
            (`edge.robots.drawn_cameras`); none if one of its cameras exists.
    """

    robot_id: str
    keyid: str
    consent: Consent
    words: frozenset[str] = frozenset()
    drawn: frozenset[str] = frozenset()


def operator_consent(granted: bool, unix_ns: int) -> Consent:
    """The operator's decision about uploading, with the hour in which it was made."""
    at = transforms.coarsen_time(rfc3339_from_unix_ns(unix_ns))
    return Consent(granted=granted, by=CONSENTING, at=at)


def write(folder: Path, episode_id: str, terms: EpisodeTerms) -> None:
    """Writes the terms of an episode, durably.

    Raises:
        DiskError: the file cannot be written.
    """
    value = {"schema_version": SCHEMA_VERSION, **dataclasses.asdict(terms)}
    for name, listed in ((_WORDS, terms.words), (_DRAWN, terms.drawn)):
        del value[name]
        if listed:
            value[name] = sorted(listed)
    raw = canonical_json.encode(value)
    path = _path(folder, episode_id)
    durable_file.write_record(path, sealing.seal(raw), mode=0o600)


def read(folder: Path, episode_id: str) -> EpisodeTerms | None:
    """Reads the terms of an episode; None if the file does not exist.

    Raises:
        EpisodeTermsError: the file is malformed.
        SealedError: it is sealed, and this process has no key, or another one.
        DiskError: the file cannot be read.
    """
    path = _path(folder, episode_id)
    try:
        with plain_file.open_stream(path) as file:
            raw = file.read(_LIMIT_BYTES + sealing.OVERHEAD_BYTES + 1)
    except FileNotFoundError:
        return None
    except OSError as e:
        raise durable_file.disk_error(path, "to read the terms", e) from e
    try:
        return _parse(sealing.unseal(raw, path), path)
    except (CorruptRecordError, MalformedError, OversizedError) as e:
        raise EpisodeTermsError(
            path,
            e.expected,
            e.got,
            "the episode stays private: remove this file to share it without consent",
        ) from e


def remove(folder: Path, episode_id: str) -> None:
    """Removes the terms of an episode, if there are any.

    Raises:
        DiskError: the file cannot be removed.
    """
    path = _path(folder, episode_id)
    try:
        path.unlink(missing_ok=True)
    except OSError as e:
        raise durable_file.disk_error(path, "to remove the terms", e) from e


def list_episodes(folder: Path) -> list[str]:
    """Ids of the episodes that have a terms file, sorted."""
    return sorted(p.name.removesuffix(SUFFIX) for p in folder.glob(f"*{SUFFIX}"))


def _path(folder: Path, episode_id: str) -> Path:
    return folder / f"{episode_id}{SUFFIX}"


def _parse(raw: bytes, path: Path) -> EpisodeTerms:
    value = decode(raw, path, _LIMIT_BYTES)
    fields = Fields(value, path, _KEYS, optional=(_WORDS, _DRAWN))
    fields.version(SCHEMA_VERSION)
    consent = fields.fields("consent", _CONSENT_KEYS)
    return EpisodeTerms(
        robot_id=fields.text("robot_id"),
        keyid=fields.sha256("keyid"),
        consent=Consent(
            consent.boolean("granted"), consent.text("by"), consent.text("at")
        ),
        words=known_words.parse_own(fields.raw(_WORDS), path)
        if fields.has(_WORDS)
        else frozenset(),
        drawn=frozenset(fields.texts(_DRAWN)) if fields.has(_DRAWN) else frozenset(),
    )
