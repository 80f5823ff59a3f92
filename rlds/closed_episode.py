"""A whole episode on disk, and how a journal becomes one.

The journal is removed after its episode is durable, so that a crash at any instant
leaves the one, the other, or both.
"""

import dataclasses
import hashlib
from pathlib import Path

import numpy as np

from base import durable_file
from rlds import example_codec, journal, sealing, tfrecord
from rlds.episode import EpisodeMetadata
from rlds.journal import JournalContent

EPISODE_SUFFIX = ".tfrecord"
_RAW = 0o640  # the group may learn from it; nobody else sees it


@dataclasses.dataclass(frozen=True)
class ClosedEpisode:
    """A whole episode on disk.

    Attributes:
        path: its file.
        sha256: digest of the file's bytes.
        size_bytes: size of the file.
        num_steps: number of steps in it.
    """

    path: Path
    sha256: str
    size_bytes: int
    num_steps: int


def finish(
    path: Path, content: JournalContent, metadata: EpisodeMetadata
) -> ClosedEpisode:
    """Writes the episode next to its journal, durably; the journal stays.

    It is sealed if this process has a key (`sealing.py`).

    The last step gets `is_last`.

    Raises:
        DiskError: the episode cannot be written.
    """
    steps = dict(content.steps)
    last = np.zeros(content.num_steps, np.bool_)
    last[-1] = True
    steps["is_last"] = last
    framed = tfrecord.frame(example_codec.encode_parts(content.spec, metadata, steps))
    raw = sealing.seal(framed)
    target = episode_path(path)
    durable_file.write(target, raw, _RAW)
    digest = hashlib.sha256(raw).hexdigest()
    return ClosedEpisode(target, digest, len(raw), content.num_steps)


def remove_journal(path: Path) -> None:
    """Removes the journal of a whole episode, durably.

    Raises:
        DiskError: it cannot be removed.
    """
    try:
        path.unlink(missing_ok=True)
    except OSError as e:
        raise durable_file.disk_error(path, "to remove the journal", e) from e
    durable_file.fsync_folder(path.parent)


def episode_path(journal_path: Path) -> Path:
    """Returns the file of the episode that a journal becomes."""
    return journal_path.with_name(
        journal_path.name.removesuffix(journal.SUFFIX) + EPISODE_SUFFIX
    )
