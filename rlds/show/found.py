"""Finds the episodes that a path holds, and opens each with what is known beside it.

| path | episodes |
|---|---|
| a file | each record of it: one, or those of a dataset's shard |
| a folder with `episode.tfrecord` | that one, as a store of raw episodes keeps it |
| a folder with `*.tfrecord` | one for each, as a robot's folders keep them |
| any other folder | those of all folders below, in the order of their paths |

Links are not followed: a robot's folder has one for each of its episodes.
"""

import dataclasses
import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from base import durable_file, plain_file
from base.errors import ContinuonError
from rlds import example_codec, reader, sealing, sidecar, tfrecord
from rlds.episode import Episode
from rlds.errors import MalformedEpisodeError, ShowError
from rlds.raw_layout import EPISODE_FILE, SIDECAR_FILE
from rlds.sidecar import Sidecar
from rlds.tfds_directory import EPISODE_SUFFIX, SIDECAR_SUFFIX

_SHARD: Final = "shard-"
_NO_SIDECAR: Final = (
    "no sidecar beside it: a raw episode of a robot, or one whose recording was cut off"
)
_NOT_FOUND: Final = "name an episode's file, its folder, or a folder of episodes"


@dataclasses.dataclass(frozen=True)
class Found:
    """An episode that was read, and what is beside it.

    Attributes:
        path: its file.
        number: position of its record in the file; None where the file is one episode.
        episode: the episode.
        sidecar: the statement beside it; None if there is none, or a bad one.
        note: what is missing beside it; "" for nothing.
        fault: what is wrong beside it; "" for nothing.
    """

    path: Path
    number: int | None
    episode: Episode
    sidecar: Sidecar | None = None
    note: str = ""
    fault: str = ""

    @property
    def name(self) -> str:
        """Where it is from, in a few characters."""
        if self.path.name == EPISODE_FILE:
            return self.path.parent.name
        if self.number is None:
            return self.path.name
        return f"{self.path.parent.name}/{self.path.name}[{self.number}]"


def list_files(path: Path) -> list[Path]:
    """Lists the files of episodes at a path.

    Raises:
        ShowError: there is none.
        DiskError: a folder cannot be read.
    """
    if path.is_file():
        return [path]
    if not path.is_dir():
        raise ShowError(path, "an episode or a folder of them", "nothing", _NOT_FOUND)
    try:
        found = sorted(_walk(path))
    except OSError as e:
        raise durable_file.disk_error(path, "to list the folder", e) from e
    if not found:
        got = f"a folder without a file *{EPISODE_SUFFIX}"
        raise ShowError(path, "recorded episodes", got, _NOT_FOUND)
    return found


def _walk(folder: Path) -> Iterator[Path]:
    here = [
        path
        for path in folder.iterdir()
        if path.name.endswith(EPISODE_SUFFIX) and not path.is_symlink()
    ]
    if here:
        # What is below are links to these, or copies of them.
        yield from here
        return
    for path in folder.iterdir():
        if path.is_dir() and not path.is_symlink():
            yield from _walk(path)


def open_file(path: Path) -> Iterator[Found]:
    """Opens the episodes of a file, one after the other.

    Raises:
        CorruptRecordError, MalformedEpisodeError, OversizedError, DiskError: the file
            is torn, holds no episode, or cannot be read; those before it were given.
    """
    if _is_sealed(path):
        yield _look_beside(Found(path, None, reader.read_episode(path)))
        return
    records = tfrecord.read_records(path, reader.LIMIT_BYTES)
    first = list(itertools.islice(records, 2))
    if not first:
        raise MalformedEpisodeError(path, "an episode", "an empty file")
    if len(first) == 1 and not path.name.startswith(_SHARD):
        yield _look_beside(Found(path, None, _decode(first[0], path, None)))
        return
    for number, record in enumerate(itertools.chain(first, records)):
        yield Found(path, number, _decode(record, path, number))


def _is_sealed(path: Path) -> bool:
    """Whether a file is a raw episode that its robot has encrypted."""
    try:
        with plain_file.open_stream(path) as stream:
            return sealing.is_sealed(stream.read(len(sealing.MAGIC)))
    except OSError as e:
        raise durable_file.disk_error(path, "to read the file", e) from e


def _decode(record: bytes, path: Path, number: int | None) -> Episode:
    where = str(path) if number is None else f"{path}[{number}]"
    try:
        return example_codec.decode(record, limit_bytes=reader.LIMIT_BYTES)
    except ContinuonError as e:
        raise type(e)(f"{where}: {e.source}", e.expected, e.got, e.remedy) from e


def _look_beside(found: Found) -> Found:
    """Adds what the sidecar says, or what is wrong with it."""
    path = _sidecar_path(found.path)
    try:
        raw = plain_file.read(path, sidecar.LIMIT_BYTES)
    except FileNotFoundError:
        return dataclasses.replace(found, note=_NO_SIDECAR)
    except (ContinuonError, OSError) as e:
        return dataclasses.replace(found, fault=f"sidecar: {e}")
    try:
        stated = sidecar.parse(raw)
        stated.check_episode(plain_file.read(found.path, reader.LIMIT_BYTES))
    except (ContinuonError, OSError) as e:
        return dataclasses.replace(found, fault=str(e))
    return dataclasses.replace(found, sidecar=stated)


def _sidecar_path(path: Path) -> Path:
    if path.name == EPISODE_FILE:
        return path.with_name(SIDECAR_FILE)
    return path.with_name(path.name.removesuffix(EPISODE_SUFFIX) + SIDECAR_SUFFIX)
