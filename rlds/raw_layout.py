"""The folder of a raw episode below the raw root, and the files in it.

    rlds_v0/robot_hash=<64 hex>/date=YYYY-MM-DD/episode_id=<uuid7>/
        episode.tfrecord  sidecar.json  admission.json  consent-<counter>.json
    admitted/episode_id=<uuid7>

The robot uploads the episode and then its sidecar; ingest writes the verdict next to
them and claims the id. Each record of what the operator decided about the episode
(`consent_record.py`) lies beside them under its counter, since a robot's account may
create objects and replace none. An episode has exactly one such folder, so ingest
notices a copy in any other folder.
"""

import dataclasses
import re

from rlds.sidecar import Sidecar

PREFIX = "rlds_v0"
EPISODE_FILE = "episode.tfrecord"
SIDECAR_FILE = "sidecar.json"
ADMISSION_FILE = "admission.json"

_FILES = (EPISODE_FILE, SIDECAR_FILE, ADMISSION_FILE)
_CONSENT = "consent-"
_CONSENT_FORM = rf"{_CONSENT}[1-9][0-9]{{0,8}}\.json"
_UUID7 = r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}"
_PATH = re.compile(
    rf"{PREFIX}/robot_hash=(?P<robot_hash>[0-9a-f]{{64}})"
    r"/date=(?P<date>[0-9]{4}-[0-9]{2}-[0-9]{2})"
    rf"/episode_id=(?P<episode_id>{_UUID7})"
    rf"/(?P<file>{'|'.join(map(re.escape, _FILES))}|{_CONSENT_FORM})"
)


@dataclasses.dataclass(frozen=True, order=True)
class RawFolder:
    """One episode's folder below the raw root.

    Attributes:
        robot_hash: keyed hash of the robot's id, 64 hex characters.
        date: day of the episode, `YYYY-MM-DD`.
        episode_id: a lower-case UUID of version 7.
    """

    robot_hash: str
    date: str
    episode_id: str

    @property
    def path(self) -> str:
        """Path of the folder."""
        return (
            f"{PREFIX}/robot_hash={self.robot_hash}/date={self.date}"
            f"/episode_id={self.episode_id}"
        )

    @property
    def episode(self) -> str:
        """Path of the episode's file."""
        return f"{self.path}/{EPISODE_FILE}"

    @property
    def sidecar(self) -> str:
        """Path of the sidecar's file."""
        return f"{self.path}/{SIDECAR_FILE}"

    @property
    def admission(self) -> str:
        """Path of the file with ingest's verdict."""
        return f"{self.path}/{ADMISSION_FILE}"

    def consent(self, counter: int) -> str:
        """Path of the consent record with this counter, from 1."""
        return f"{self.path}/{_CONSENT}{counter}.json"


def locate(sidecar: Sidecar) -> RawFolder:
    """Returns the one valid folder for the episode of a sidecar."""
    return RawFolder(sidecar.robot_hash, sidecar.date, sidecar.episode_id)


def parse(path: str) -> tuple[RawFolder, str] | None:
    """Reads the path of an object below the raw root.

    Returns:
        The episode's folder and the name of the file in it; None if the path is not
        part of the layout.
    """
    match = _PATH.fullmatch(path)
    if match is None:
        return None
    folder = RawFolder(match["robot_hash"], match["date"], match["episode_id"])
    return folder, match["file"]


def claim_path(episode_id: str) -> str:
    """Returns the path of the object that claims an id; it holds the folder's path."""
    return f"admitted/episode_id={episode_id}"
