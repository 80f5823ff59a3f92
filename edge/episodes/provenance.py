"""Who acted in an episode, and all that it says of itself when it begins."""

from dataclasses import dataclass

from edge.robots.clock import rfc3339_from_unix_ns
from edge.robots.robot import RobotSpec
from edge.runtime_version import RUNTIME_VERSION
from rlds.episode import EpisodeMetadata
from rlds.spec import SCHEMA_VERSION, SIMULATED_TAG


@dataclass(frozen=True)
class Provenance:
    """Who acted in an episode, and with which package.

    Attributes:
        actor: `expert`, `human` or `policy:<first 12 digits of its digest>`; episodes
            record it in the field `operator`.
        package_digest: digest of the package that acted; "" when none did.
        delta_digest: digest of the local delta; "" when there is none.
        channel: the channel that the package came from; "" when none.
        tags: notes; only allow-listed ones leave the robot. Episodes of a simulated
            robot, and no others, also get the tag `simulated`.
        location: latitude,longitude in degrees, or "".
        watched: whether a person may take over from the package; each step then says
            who acted.
    """

    actor: str
    package_digest: str = ""
    delta_digest: str = ""
    channel: str = ""
    tags: tuple[str, ...] = ()
    location: str = ""
    watched: bool = False


def begin_metadata(
    robot: RobotSpec,
    robot_id: str,
    episode_id: str,
    start_unix_ns: int,
    provenance: Provenance,
) -> EpisodeMetadata:
    """Returns the fields of an episode that begins now; its success is not known yet.

    They are raw: `robot_hash` holds the robot's name until the episode is redacted.
    """
    return EpisodeMetadata(
        schema_version=SCHEMA_VERSION,
        episode_id=episode_id,
        robot_hash=robot_id,
        robot_model=robot.robot_model,
        environment_id=robot.environment_id,
        package_digest=provenance.package_digest,
        delta_digest=provenance.delta_digest,
        channel=provenance.channel,
        software_version=RUNTIME_VERSION,
        start_time=rfc3339_from_unix_ns(start_unix_ns),
        location=provenance.location,
        tags=_add_simulated(robot, provenance.tags),
        task=robot.task,
        success=None,
        operator=provenance.actor,
    )


def _add_simulated(robot: RobotSpec, tags: tuple[str, ...]) -> tuple[str, ...]:
    """Says in the tags whether the robot is simulated, whatever they said before."""
    others = tuple(tag for tag in tags if tag != SIMULATED_TAG)
    return (SIMULATED_TAG, *others) if robot.simulated else others
