"""Where an episode goes in the store of raw episodes, and what says that it is there.

rlds_v0/robot_hash=<64 hex>/date=YYYY-MM-DD/episode_id=<uuid7>/
    episode.tfrecord  sidecar.json
"""

from base import canonical_json
from rlds.sidecar import Sidecar

EPISODE_FILE = "episode.tfrecord"
SIDECAR_FILE = "sidecar.json"
RECEIPT_SUFFIX = ".sent.json"
_PREFIX = "rlds_v0"
_RECEIPT_SCHEMA_VERSION = 1


def folder(sidecar: Sidecar) -> str:
    """The folder of one episode, as a path in the store."""
    return (
        f"{_PREFIX}/robot_hash={sidecar.robot_hash}/date={sidecar.date}"
        f"/episode_id={sidecar.episode_id}"
    )


def receipt(sidecar: Sidecar, store_uri: str, sidecar_sha256: str) -> bytes:
    """Says that `store_uri` holds the episode, by the digests that the store gave.

    Equal facts give equal bytes: an episode is sent when its receipt is the one that
    would be written for it now.
    """
    return canonical_json.encode(
        {
            "schema_version": _RECEIPT_SCHEMA_VERSION,
            "episode_id": sidecar.episode_id,
            "store": store_uri,
            "folder": folder(sidecar),
            "sha256": sidecar.sha256,
            "size_bytes": sidecar.size_bytes,
            "sidecar_sha256": sidecar_sha256,
        }
    )
