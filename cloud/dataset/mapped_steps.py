"""A stream of steps as one memory-mapped file, for data larger than memory.

The file is written once, in one pass over the episodes and one over itself, in a
temporary folder; when everything is on disk the folder is renamed. Its name is a digest
of what decides the content: manifest, split, tasks, and how frames are read.

`cache.json`, written last, holds the file's size and modification time, and the
statistics of its steps. Opening compares size and time and reads no data, so a resumed
run starts at once whatever the size; a cache that differs in anything is rewritten.
Silent corruption of the disk is not detected here.
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

_FORMAT = 4
_DESCRIPTION = "cache.json"
_ROWS = "rows"
_DERIVED_AT_ONCE = 1 << 18  # steps, about 100 MB of rows and values
_WRITE_BYTES = 1 << 20
_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


@dataclasses.dataclass(frozen=True)
class CacheSource:
    """What a cache is made from.

    Attributes:
        manifest_digest: digest of the dataset's manifest, 64 hex characters.
        split: the split that is cached.
        tasks: every task of the episodes.
        state_size: n, numbers in a state.
        action_size: a, numbers in an action.
        num_steps: steps of all episodes.
        camera: the model that reads the frames, None without a camera.
    """

    manifest_digest: str
    split: str
    tasks: tuple[str, ...]
    state_size: int
    action_size: int
    num_steps: int
    camera: WaveCoreConfig | None = None

    @property
    def identity(self) -> str:
        """Digest of everything that decides the content of the cache."""
        facts = dataclasses.asdict(dataclasses.replace(self, camera=None))
        if self.camera is not None:
            facts["camera"] = [
                self.camera.image_height,
                self.camera.image_width,
                self.camera.image_count,
                self.camera.image_colours,
            ]
        facts["format"] = _FORMAT
        facts["columns"] = StepStream._fields
        return sha256_bytes(canonical_json.encode(facts))


def open_data(
    folder: Path, source: CacheSource, episodes: Iterable[Episode]
) -> TrainingData:
    """Returns the mapped steps of `source`; writes the cache first if it is missing.

    Several processes may open one cache at the same time; one of them writes it.

    Args:
        folder: where caches are kept; created if it is missing.
        source: what the cache is made from.
        episodes: read, once and in order, only if the cache has to be written.

    Raises:
        DatasetError: the episodes do not fit together, or have another number of
            steps than `source` states; nothing is left on disk.
        DiskSpaceError: there is too little free space; nothing half-written is left.
        DiskError: the disk fails in another way.
        ShardMismatchError: a shard changed after it was verified.
    """
    cache = folder / source.identity
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with file_lock.hold(folder / f"{source.identity}.lock"):
            if not _is_whole(cache):
                _remove(folder, cache)
                _build(cache, source, episodes)
        return _map(cache, source)
    except OSError as e:
        raise durable_file.disk_error(cache, "to read and write a cache", e) from e


def _build(cache: Path, source: CacheSource, episodes: Iterable[Episode]) -> None:
    """Writes to a temporary folder, syncs and renames it; on failure leaves nothing."""
    draft = cache.with_name(f".tmp-{cache.name}-{secrets.token_hex(4)}")
    draft.mkdir()
    try:
        written = _write_rows(draft / _ROWS, source, episodes)
        _derive(draft / _ROWS, written)
        _seal(draft, written)
        draft.rename(cache)
    except OSError as e:
        if e.errno not in _NO_ROOM:
            raise
        free_bytes = shutil.disk_usage(cache.parent).free
        raise DiskSpaceError(
            cache,
            "disk space for the steps of the dataset",
            f"{e.strerror} with {free_bytes / 1e6:.0f} MB free",
            "free some space, or name another --cache_dir",
        ) from e
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    durable_file.fsync_folder(cache.parent)


@dataclasses.dataclass(frozen=True)
class _Written:
    """What is known after all episodes have been written.

    Attributes:
        row: type of a row.
        lengths: number of steps of each episode.
        task_counts: i64 [k], number of steps of each task that are to be imitated.
        largest_reward: the largest absolute reward.
        statistics: of all states, and of sound and places in frames if there are any.
    """

    row: np.dtype
    lengths: Sequence[int]
    task_counts: np.ndarray
    largest_reward: float
    statistics: Statistics


def _write_rows(
    path: Path, source: CacheSource, episodes: Iterable[Episode]
) -> _Written:
    """Writes the columns that depend on one episode alone."""
    row: np.dtype | None = None
    lengths: list[int] = []
    counts, largest = np.zeros(len(source.tasks), np.int64), 0.0
    measurement = normalisation.Measurement(len(source.tasks))
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
                raise _shape_error(episode, mapped_rows.row_type(part), row)
            stream.write(mapped_rows.to_rows(part).tobytes())
            lengths.append(episode.num_steps)
            counts[part.tasks[0]] += np.count_nonzero(part.action_weight)
            largest = max(largest, float(np.abs(part.reward).max()))
            measurement.add(part.states, int(part.tasks[0]))
            if part.audio_mel is not None:
                measurement.add_sound(part.audio_mel)
            if part.places is not None and source.camera is not None:
                measurement.add_places(part.places, source.camera.image_count)
    if row is None or sum(lengths) != source.num_steps:
        raise DatasetError(
            "training data",
            f"{source.num_steps} steps in all",
            sum(lengths),
            "curate the dataset again, or name other tasks",
        )
    return _Written(row, lengths, counts, largest, measurement.statistics())


def _derive(path: Path, written: _Written) -> None:
    """Fills in the columns that depend on all episodes: task weights and values."""
    shares = step_stream.task_shares(written.task_counts)
    with path.open("r+b", buffering=0) as stream:
        for begin, count in _whole_episodes(written.lengths):
            offset = begin * written.row.itemsize
            stream.seek(offset)
            rows = np.fromfile(stream, written.row, count)
            rows["action_weight"] *= shares[rows["tasks"]]
            rows["values"] = losses.returns(
                rows["reward"],
                rows["discount"],
                rows["starts"],
                written.largest_reward or 1.0,
            )
            stream.seek(offset)
            durable_file.write_all(stream.fileno(), rows.tobytes())


def _whole_episodes(lengths: Sequence[int]) -> Iterator[tuple[int, int]]:
    """Yields first step and number of steps of bounded runs of whole episodes."""
    begin = count = 0
    for length in lengths:
        if count and count + length > _DERIVED_AT_ONCE:
            yield begin, count
            begin, count = begin + count, 0
        count += length
    yield begin, count


def _seal(draft: Path, written: _Written) -> None:
    """Syncs the rows and writes the description that makes the cache valid."""
    path, row = draft / _ROWS, written.row
    with path.open("rb") as stream:
        os.fsync(stream.fileno())
    path.chmod(path.stat().st_mode & 0o444)
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
    durable_file.write(draft / _DESCRIPTION, sha256_bytes(body).encode() + b"\n" + body)


def _is_whole(cache: Path) -> bool:
    described = _read_description(cache)
    try:
        return described is not None and described | _stamp(cache / _ROWS) == described
    except FileNotFoundError:
        return False


def _read_description(cache: Path) -> Any:  # noqa: ANN401 - JSON of this file's own
    try:
        stated, _, body = (cache / _DESCRIPTION).read_bytes().partition(b"\n")
        if stated.decode("ascii", "replace") != sha256_bytes(body):
            return None
        return canonical_json.decode(body)
    except (FileNotFoundError, NotADirectoryError, CanonicalJsonError):
        return None


def _stamp(path: Path) -> dict[str, object]:
    found = path.stat()
    # As text, because a JSON number cannot hold nanoseconds exactly.
    return {"size_bytes": found.st_size, "changed_ns": str(found.st_mtime_ns)}


def _map(cache: Path, source: CacheSource) -> TrainingData:
    described = _read_description(cache)
    assert described is not None, "checked while its lock was held"
    columns = [(name, kind, tuple(shape)) for name, kind, shape in described["columns"]]
    steps = mapped_rows.open_rows(cache / _ROWS, np.dtype(columns, align=True))
    # JSON holds the shortest text of each number, which gives the same bits.
    numbers: dict[str, Any] = {
        name: None if value is None else np.asarray(value, np.float32)
        for name, value in described["statistics"].items()
    }
    return TrainingData(steps, source.tasks, Statistics(**numbers), source.identity)


def _column_type(row: np.dtype, name: str) -> object:
    return row.fields[name][0] if row.fields and name in row.fields else None


def _shape_error(episode: Episode, row: np.dtype, first: np.dtype) -> DatasetError:
    names = {*(row.names or ()), *(first.names or ())}
    differing = sorted(
        name for name in names if _column_type(row, name) != _column_type(first, name)
    )
    return DatasetError(
        f"episode {episode.metadata.episode_id}",
        "the same columns as in the first episode",
        f"a difference in {', '.join(differing)}",
        "train on episodes of one robot at a time",
    )


def _require_space(draft: Path, size_bytes: int) -> None:
    free_bytes = shutil.disk_usage(draft).free
    if free_bytes < size_bytes:
        raise DiskSpaceError(
            draft.parent,
            f"{size_bytes / 1e6:.0f} MB of free disk for the steps of the dataset",
            f"{free_bytes / 1e6:.0f} MB",
            "free some space, or name another --cache_dir",
        )


def _remove(folder: Path, cache: Path) -> None:
    """Removes a cache that is not whole, and what killed writers of it left."""
    leftovers: Sequence[Path] = [cache, *folder.glob(f".tmp-{cache.name}-*")]
    for path in leftovers:
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
