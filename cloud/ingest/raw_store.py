"""Where a raw episode lies below the raw root, and what lies there.

    rlds_v0/robot_hash=<64 hex>/date=YYYY-MM-DD/episode_id=<uuid7>/
        episode.tfrecord  sidecar.json  admission.json

One episode has exactly one such place, so a copy elsewhere is seen at once.
"""

import dataclasses
import re
from collections.abc import Iterable

from base.store.store import Store
from cloud.errors import RawRootError

PREFIX = "rlds_v0"
EPISODE_FILE = "episode.tfrecord"
SIDECAR_FILE = "sidecar.json"
ADMISSION_FILE = "admission.json"

_UUID7 = r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}"
_PATH = re.compile(
    rf"{PREFIX}/robot_hash=(?P<robot_hash>[0-9a-f]{{64}})"
    r"/date=(?P<date>\d{4}-\d{2}-\d{2})"
    rf"/episode_id=(?P<episode_id>{_UUID7})/(?P<file>[^/]+)"
)
_FILES = frozenset({EPISODE_FILE, SIDECAR_FILE, ADMISSION_FILE})


@dataclasses.dataclass(frozen=True, order=True)
class RawFolder:
    """One episode's folder below the raw root."""

    robot_hash: str
    date: str
    episode_id: str

    @property
    def path(self) -> str:
        """The folder."""
        return (
            f"{PREFIX}/robot_hash={self.robot_hash}/date={self.date}"
            f"/episode_id={self.episode_id}"
        )

    @property
    def episode(self) -> str:
        """The episode's file."""
        return f"{self.path}/{EPISODE_FILE}"

    @property
    def sidecar(self) -> str:
        """The sidecar's file."""
        return f"{self.path}/{SIDECAR_FILE}"

    @property
    def admission(self) -> str:
        """The file of ingest's verdict."""
        return f"{self.path}/{ADMISSION_FILE}"


@dataclasses.dataclass(frozen=True)
class RawListing:
    """What lies below the raw root.

    Attributes:
        folders: episode folders with the names of their files, sorted.
        strangers: objects whose path is none of the layout's, sorted.
    """

    folders: tuple[tuple[RawFolder, frozenset[str]], ...]
    strangers: tuple[str, ...]


def read(store: Store) -> RawListing:
    """Lists a raw root.

    A mistyped address lists as nothing, in a folder as in a bucket. Taken for a raw
    root without episodes, it would empty the index.

    Raises:
        RawRootError: there is not one object below `rlds_v0/`.
    """
    paths = store.list(f"{PREFIX}/")
    if not paths:
        raise RawRootError(
            store.uri,
            f"raw episodes below {PREFIX}/",
            "no such place or an empty one",
            "name the store that //edge:upload wrote to in --raw",
        )
    return sort_out(paths)


def sort_out(paths: Iterable[str]) -> RawListing:
    """Groups object paths by episode folder and sets strangers apart."""
    folders: dict[RawFolder, set[str]] = {}
    strangers = []
    for path in paths:
        match = _PATH.fullmatch(path)
        if match is None or match["file"] not in _FILES:
            strangers.append(path)
            continue
        folder = RawFolder(match["robot_hash"], match["date"], match["episode_id"])
        folders.setdefault(folder, set()).add(match["file"])
    ordered = sorted(folders.items(), key=lambda item: item[0])
    return RawListing(
        tuple((folder, frozenset(files)) for folder, files in ordered),
        tuple(sorted(strangers)),
    )


def claim(episode_id: str) -> str:
    """Returns the object whose content is the one folder that has this id."""
    return f"admitted/episode_id={episode_id}"
