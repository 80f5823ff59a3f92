"""A stream of steps as one file that is mapped, for data larger than memory.

The file is written once, in one pass over the episodes and one over itself, in a
folder beside; once everything is on the disk the folder gets its name. What decides
the content (manifest, split, tasks, size of the frames) decides the name.

`cache.json`, written last, holds the size and the time of change of the file, and the
statistics of its steps. Opening compares size and time and reads no data, so a resumed
run starts at once whatever the size; a cache of which anything differs is written anew.
Bytes that a disk loses without a trace are not found here.
"""

import dataclasses
import errno
import os
import secrets
import shutil
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from base import canonical_json, durable_file, file_lock
from base.digest import sha256_bytes
from base.errors import CanonicalJsonError
from cloud.dataset import mapped_rows, step_stream
from cloud.dataset.step_stream import StepStream
from cloud.dataset.training_data import TrainingData
from cloud.errors import DatasetError, DiskSpaceError
from model import losses, normalisation
from model.config import WaveCoreConfig
from model.normalisation import Statistics
from rlds.episode import Episode

_FORMAT = 2
_DESCRIPTION = "cache.json"
_ROWS = "rows"
_DERIVED_AT_ONCE = 1 << 18  # steps; about 100 MB of rows and values
_WRITE_BYTES = 1 << 20
_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


@dataclasses.dataclass(frozen=True)
class CacheSource:
    """What a cache is made of.

    Attributes:
        manifest_digest: identity of the dataset.
        split: the split that is cached.
        tasks: every task that is kept; others are not among the episodes.
        state_size: n.
        action_size: a.
        num_steps: steps of all episodes.
        camera: the model that images are decoded for, None without images.
    """

    manifest_digest: str
    split: str
    tasks: tuple[str, ...]
    state_size: int
    action_size: int
    num_steps: int
    camera: WaveCoreConfig | None = None

    @property
    def key(self) -> str:
        """Digest of everything that decides the content of the cache."""
        facts = dataclasses.asdict(dataclasses.replace(self, camera=None))
        if self.camera is not None:
            facts["camera"] = [self.camera.image_height, self.camera.image_width]
        facts["format"] = _FORMAT
        facts["columns"] = StepStream._fields
        return sha256_bytes(canonical_json.encode(facts))


def open_data(
    folder: Path, source: CacheSource, episodes: Iterable[Episode]
) -> TrainingData:
    """Returns the mapped steps of `source`, written first if they are not there.

    Several processes may open one cache at once; one of them writes it.

    Args:
        folder: where caches are kept; made if it is missing.
        source: what the cache is of.
        episodes: read, once and in order, only if the cache has to be written.

    Raises:
        DatasetError: the episodes do not fit together, or have another number of
            steps than `source` says; nothing is left.
        DiskSpaceError: there is not enough room; nothing half-written is left.
        DiskError: another failure of the disk.
        ShardMismatchError: a shard changed after it was indexed.
    """
    place = folder / source.key
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with file_lock.hold(folder / f"{source.key}.lock"):
            if not _is_whole(place):
                _remove(folder, place)
                _build(place, source, episodes)
        return _mapped(place, source)
    except OSError as e:
        raise durable_file.disk_error(place, "to read and write a cache", e) from e


def _build(place: Path, source: CacheSource, episodes: Iterable[Episode]) -> None:
    """Writes beside, makes it durable, renames; or leaves nothing."""
    beside = place.with_name(f".tmp-{place.name}-{secrets.token_hex(4)}")
    beside.mkdir()
    try:
        written = _write_rows(beside / _ROWS, source, episodes)
        _derive(beside / _ROWS, written)
        _seal(beside, written)
        beside.rename(place)
    except OSError as e:
        if e.errno not in _NO_ROOM:
            raise
        free_bytes = shutil.disk_usage(place.parent).free
        raise DiskSpaceError(
            place,
            "room for the steps of the dataset",
            f"{e.strerror} with {free_bytes / 1e6:.0f} MB free",
            "free some, or name another --cache_dir",
        ) from e
    finally:
        shutil.rmtree(beside, ignore_errors=True)
    durable_file.fsync_folder(place.parent)


@dataclasses.dataclass(frozen=True)
class _Written:
    """What is known once all episodes were seen.

    Attributes:
        row: type of a row.
        lengths: steps of each episode.
        task_counts: i64 [k], steps of each task.
        largest_reward: the largest absolute reward.
        statistics: of all states and, where there is sound, of all sound.
    """

    row: np.dtype
    lengths: Sequence[int]
    task_counts: np.ndarray
    largest_reward: float
    statistics: Statistics


def _write_rows(
    path: Path, source: CacheSource, episodes: Iterable[Episode]
) -> _Written:
    """Writes all that an episode tells by itself."""
    row: np.dtype | None = None
    lengths: list[int] = []
    counts, largest = np.zeros(len(source.tasks), np.int64), 0.0
    measurement = normalisation.Measurement()
    with path.open("wb", buffering=_WRITE_BYTES) as stream:
        for episode in episodes:
            part = step_stream.columns(
                episode,
                source.tasks,
                source.state_size,
                source.action_size,
                source.camera,
            )
            if row is None:
                row = mapped_rows.row_type(part)
                _require_space(path.parent, source.num_steps * row.itemsize)
            elif mapped_rows.row_type(part) != row:
                raise _another_shape(episode, mapped_rows.row_type(part), row)
            stream.write(mapped_rows.to_rows(part).tobytes())
            lengths.append(episode.num_steps)
            counts[part.tasks[0]] += episode.num_steps
            largest = max(largest, float(np.abs(part.reward).max()))
            measurement.add(part.states)
            if part.audio_mel is not None:
                measurement.add_sound(part.audio_mel)
    if row is None or sum(lengths) != source.num_steps:
        raise DatasetError(
            "training data",
            f"{source.num_steps} steps in all",
            sum(lengths),
            "curate the dataset again, or name other tasks",
        )
    return _Written(row, lengths, counts, largest, measurement.statistics())


def _derive(path: Path, written: _Written) -> None:
    """Fills in what follows from all episodes: weights of tasks, and values."""
    shares = step_stream.task_shares(written.task_counts)
    with path.open("r+b", buffering=0) as stream:
        for begin, count in _whole_episodes(written.lengths):
            place = begin * written.row.itemsize
            stream.seek(place)
            rows = np.fromfile(stream, written.row, count)
            rows["action_weight"] = shares[rows["tasks"]]
            rows["values"] = losses.returns(
                rows["reward"],
                rows["discount"],
                rows["starts"],
                written.largest_reward or 1.0,
            )
            stream.seek(place)
            durable_file.write_all(stream.fileno(), rows.tobytes())


def _whole_episodes(lengths: Sequence[int]) -> Iterator[tuple[int, int]]:
    """First step and steps of groups of neighbouring episodes, of bounded size."""
    begin = count = 0
    for length in lengths:
        if count and count + length > _DERIVED_AT_ONCE:
            yield begin, count
            begin, count = begin + count, 0
        count += length
    yield begin, count


def _seal(beside: Path, written: _Written) -> None:
    path, row = beside / _ROWS, written.row
    with path.open("rb") as stream:
        os.fsync(stream.fileno())
    path.chmod(0o444)
    columns = [
        (name, field.base.str, field.shape)
        for name in row.names or ()
        for field in [row[name]]
    ]
    statistics = {
        name: None if value is None else value.tolist()
        for name, value in dataclasses.asdict(written.statistics).items()
    }
    body = canonical_json.encode(
        {"columns": columns, "statistics": statistics, **_stamp(path)}
    )
    durable_file.write(
        beside / _DESCRIPTION, sha256_bytes(body).encode() + b"\n" + body
    )


def _is_whole(place: Path) -> bool:
    described = _described(place)
    try:
        return described is not None and described | _stamp(place / _ROWS) == described
    except FileNotFoundError:
        return False


def _described(place: Path) -> dict[str, Any] | None:
    try:
        told, _, body = (place / _DESCRIPTION).read_bytes().partition(b"\n")
        if told.decode("ascii", "replace") != sha256_bytes(body):
            return None
        value: Any = canonical_json.decode(body)
    except (FileNotFoundError, NotADirectoryError, CanonicalJsonError):
        return None
    return value


def _stamp(path: Path) -> dict[str, object]:
    found = path.stat()
    # As text: nanoseconds are more than a number of JSON holds.
    return {"size_bytes": found.st_size, "changed_ns": str(found.st_mtime_ns)}


def _mapped(place: Path, source: CacheSource) -> TrainingData:
    described = _described(place)
    assert described is not None, "whole while its lock was held"
    columns = [(name, kind, tuple(shape)) for name, kind, shape in described["columns"]]
    steps = mapped_rows.open_rows(place / _ROWS, np.dtype(columns, align=True))
    # The shortest text of a number gives the same bits again.
    statistics = Statistics(
        **{
            name: None if value is None else np.asarray(value, np.float32)
            for name, value in described["statistics"].items()
        }
    )
    return TrainingData(steps, source.tasks, statistics, source.key)


def _another_shape(episode: Episode, row: np.dtype, first: np.dtype) -> DatasetError:
    names = {*(row.names or ()), *(first.names or ())}
    differing = sorted(
        name
        for name in names
        if (row.fields or {}).get(name, (None,))[0]
        != (first.fields or {}).get(name, (None,))[0]
    )
    return DatasetError(
        f"episode {episode.metadata.episode_id}",
        "the same columns as in the first episode",
        f"others in {', '.join(differing)}",
        "train on episodes of one robot at a time",
    )


def _require_space(beside: Path, size_bytes: int) -> None:
    free_bytes = shutil.disk_usage(beside).free
    if free_bytes < size_bytes:
        raise DiskSpaceError(
            beside.parent,
            f"{size_bytes / 1e6:.0f} MB of free disk for the steps of the dataset",
            f"{free_bytes / 1e6:.0f} MB",
            "free some, or name another --cache_dir",
        )


def _remove(folder: Path, place: Path) -> None:
    """Removes a cache that is not whole, and what dead writers of it left."""
    leftovers: Sequence[Path] = [place, *folder.glob(f".tmp-{place.name}-*")]
    for path in leftovers:
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
