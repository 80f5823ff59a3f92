"""The copy of a raw episode that may leave, and what its sidecar says of it."""

from dataclasses import dataclass
from pathlib import Path

from base.digest import sha256_bytes
from edge.episodes.robot_key import RobotKey
from rlds import drawn_pictures, sidecar_statements
from rlds.episode import Episode, EpisodeMetadata
from rlds.redaction_record import RedactionRecord
from rlds.sidecar import Consent, Safety, Sidecar
from rlds.spec import SCHEMA_VERSION, EpisodeSpec


@dataclass(frozen=True)
class Copy:
    """The copy of a raw episode that may leave, not yet in the shared folder.

    Attributes:
        path: the raw episode.
        name: of the episode.
        num_steps: number of its steps.
        described: its sidecar, not yet signed.
        framed: the content of its file.
        key: the key of its month, which signs it.
        words: those of the operator that may be in it.
    """

    path: Path
    name: str
    num_steps: int
    described: Sidecar
    framed: bytes
    key: RobotKey
    words: frozenset[str]


def find_drawer(
    spec: EpisodeSpec, metadata: EpisodeMetadata, drawn: frozenset[str]
) -> str:
    """Returns the simulator that draws every picture of an episode; "" if none does.

    Args:
        spec: fields of the raw episode.
        metadata: of the raw episode.
        drawn: cameras of which the robot that recorded it was found to draw each.
    """
    if set(spec.cameras) != drawn:
        return ""
    return drawn_pictures.find_simulator(spec, metadata)


def describe(
    episode: Episode, record: RedactionRecord, framed: bytes, consent: Consent
) -> Sidecar:
    """Makes the sidecar of a redacted episode, not yet signed."""
    metadata = episode.metadata
    violations = sidecar_statements.count_violations(episode)
    return Sidecar(
        schema_version=SCHEMA_VERSION,
        episode_id=metadata.episode_id,
        sha256=sha256_bytes(framed),
        size_bytes=len(framed),
        num_steps=episode.num_steps,
        robot_hash=metadata.robot_hash,
        date=metadata.start_time[:10],
        consent=consent,
        safety=Safety(violations=violations, escalated=violations > 0),
        privacy=record,
        package_digest=metadata.package_digest,
        delta_digest=metadata.delta_digest,
        software=metadata.software_version,
    )
