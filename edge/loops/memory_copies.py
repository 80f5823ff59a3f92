"""The local memories of an episode that its operator labels, trims or leaves out.

The learner alone writes among the memories: call this while none runs. A memory's name
holds the digest of its bytes, so a changed one has another name; a cut between the two
leaves both, and doing it again removes the old one.
"""

from collections.abc import Callable, Iterator
from pathlib import Path

from base import durable_file, plain_file
from base.errors import ContinuonError, one_line
from edge.loops import memories
from rlds import example_codec, reader, sealing, tfrecord
from rlds.closed_episode import EPISODE_SUFFIX
from rlds.episode import Episode


def list_copies(
    root: Path, tell: Callable[[str], None]
) -> Iterator[tuple[Path, Episode]]:
    """Yields file and episode of each memory; `tell` gets a line about bad ones.

    Args:
        root: folder of the memories.
        tell: gets the lines.
    """
    for folder in (root, root / memories.NEW):
        for path in sorted(folder.glob(f"*{EPISODE_SUFFIX}")):
            try:
                limit_bytes = memories.EPISODE_LIMIT_BYTES
                most_bytes = limit_bytes + sealing.OVERHEAD_BYTES
                raw = plain_file.read(path, most_bytes, follow_links=False)
                episode = reader.read_episode_bytes(raw, limit_bytes)
            except (ContinuonError, OSError) as e:
                tell(f"memory {one_line(path.name)} is left as it is: {e}")
                continue
            yield path, episode


def rewrite(path: Path, episode: Episode) -> None:
    """Lets a memory hold this episode; its number and its use stay.

    Raises:
        DiskError: the disk refuses; do it again.
    """
    raw = sealing.seal(tfrecord.frame(example_codec.encode(episode)))
    target = memories.rename_for(path, raw) or path
    try:
        durable_file.write(target, raw, path.stat().st_mode & 0o777)
        if target != path:
            path.unlink()
    except OSError as e:
        raise durable_file.disk_error(path, "to write the memory", e) from e
    durable_file.fsync_folder(path.parent)


def forget(path: Path) -> None:
    """Removes a memory.

    Raises:
        DiskError: the disk refuses.
    """
    try:
        path.unlink()
    except OSError as e:
        raise durable_file.disk_error(path, "to remove the memory", e) from e
    durable_file.fsync_folder(path.parent)
