"""Replaces an episode of the shared folder together with its sidecar.

They are two files, and a cut between them would leave a sidecar of another episode. So
both are first written to one file of the private folder, `NAME.replacing`, and put in
their places from there. Whoever opens the folder next finishes what was begun; until
then an uploader sees that the two do not belong together, and sends neither.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Final

from base import durable_file
from base.errors import OversizedError
from rlds import reader, sidecar, tfrecord
from rlds.errors import (
    CorruptRecordError,
    DatasetFolderError,
    MalformedEpisodeError,
    SidecarError,
)
from rlds.spec import EpisodeSpec
from rlds.tfds_directory import TfdsDirectory

SUFFIX: Final = ".replacing"
# What reading raises if somebody else wrote the file.
_FOREIGN: Final = (
    CorruptRecordError,
    DatasetFolderError,
    MalformedEpisodeError,
    OversizedError,
    SidecarError,
)
_LIMIT_BYTES: Final = reader.LIMIT_BYTES + tfrecord.OVERHEAD_SIZE_BYTES


def replace(
    private: Path, directory: TfdsDirectory, name: str, framed: bytes, signed: bytes
) -> None:
    """Puts an episode and its sidecar in the place of those of the same name.

    Args:
        private: the folder of raw episodes.
        directory: the folder of shared episodes.
        name: the episode's name.
        framed: content of the episode's file.
        signed: content of the sidecar's file.

    Raises:
        RldsError, DiskError: it was not replaced, or will be once `finish` was called.
    """
    path = private / f"{name}{SUFFIX}"
    both = tfrecord.frame(framed) + tfrecord.frame(signed)
    durable_file.write(path, both, durable_file.PRIVATE)
    directory.add(framed, signed)
    _forget(path)


def finish(
    private: Path,
    open_directory: Callable[[EpisodeSpec], TfdsDirectory],
    tell: Callable[[str], None],
) -> None:
    """Finishes what a cut left; what is no such file is told of and set aside.

    Args:
        private: the folder of raw episodes.
        open_directory: opens the folder of shared episodes for those of a spec.
        tell: gets a line about each file that is set aside.

    Raises:
        DiskError: it cannot be finished now; call it again.
    """
    for path in sorted(private.glob(f"*{SUFFIX}")):
        try:
            framed, signed, spec = _read(path)
            open_directory(spec).add(framed, signed)
        except _FOREIGN as e:
            tell(f"{e}; set aside as {durable_file.set_aside(path).name}")
        else:
            _forget(path)


def _forget(path: Path) -> None:
    try:
        path.unlink()
    except OSError as e:
        raise durable_file.disk_error(path, "to remove it", e) from e
    durable_file.fsync_folder(path.parent)


def _read(path: Path) -> tuple[bytes, bytes, EpisodeSpec]:
    records = list(tfrecord.read_records(path, _LIMIT_BYTES))
    if len(records) != 2:
        raise MalformedEpisodeError(path, "an episode and its sidecar", len(records))
    framed, signed = records
    sidecar.parse(signed).check_episode(framed)
    return framed, signed, reader.read_episode_bytes(framed).spec
