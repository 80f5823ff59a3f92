"""A stream of steps as files that are mapped, for data larger than memory.

Each column lies in a file of its own, step after step, so that a window is a slice of
a map and the system's page cache is the only cache. The files are written once, in
one pass over the episodes, into a folder beside; once everything is on the disk the
folder gets its name. What decides the content (manifest, split, tasks, size of the
frames) decides the name.

`cache.json`, written last, holds the size and the time of change of each column.
Opening compares these and reads no data, so a resumed run starts at once whatever the
size; a cache of which anything differs is written anew. Bytes that a disk loses
without a trace are not found here.
"""

import contextlib
import dataclasses
import errno
import fcntl
import os
import secrets
import shutil
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import IO, Any

import numpy as np

from cloud import step_stream
from cloud.errors import DatasetError, DiskSpaceError
from cloud.step_stream import StepStream
from model import losses
from model.config import WaveCoreConfig
from release.digest import sha256_bytes
from rlds import canonical_json, durable_file
from rlds.episode import Episode
from rlds.errors import CanonicalJsonError

_FORMAT = 1
_DESCRIPTION = "cache.json"
_DERIVED = ("action_weight", "values")  # known when all episodes are
_DERIVED_AT_ONCE = 1 << 20  # steps; about 100 MB while values are computed
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


def open_stream(
    folder: Path, source: CacheSource, episodes: Iterable[Episode]
) -> StepStream:
    """Returns the mapped stream of `source`, written first if it is not there.

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
        with _locked(folder / f"{source.key}.lock"):
            if not _is_whole(place):
                _remove(folder, place)
                _build(place, source, episodes)
        return _mapped(place)
    except OSError as e:
        raise durable_file.disk_error(place, "to read and write a cache", e) from e


def _build(place: Path, source: CacheSource, episodes: Iterable[Episode]) -> None:
    """Writes beside, makes it durable, renames; or leaves nothing."""
    beside = place.with_name(f".tmp-{place.name}-{secrets.token_hex(4)}")
    beside.mkdir()
    try:
        sample = _write_columns(beside, source, episodes)
        _write_derived(beside, source)
        _seal(beside, sample)
        beside.rename(place)
    except OSError as e:
        if e.errno not in _NO_ROOM:
            raise
        free_bytes = shutil.disk_usage(place.parent).free
        raise DiskSpaceError(
            f"{place}: expected room for the steps of the dataset, got"
            f" {e.strerror} with {free_bytes / 1e6:.0f} MB free; free some, or name"
            " another folder for work"
        ) from e
    finally:
        shutil.rmtree(beside, ignore_errors=True)
    durable_file.fsync_folder(place.parent)


def _write_columns(
    beside: Path, source: CacheSource, episodes: Iterable[Episode]
) -> StepStream:
    """Writes all that an episode tells by itself; returns one step of each column."""
    sample: StepStream | None = None
    count = 0
    with contextlib.ExitStack() as stack:
        files: dict[str, IO[bytes]] = {}
        for episode in episodes:
            part = step_stream.columns(
                episode,
                source.tasks,
                source.state_size,
                source.action_size,
                source.camera,
            )
            count += len(part.starts)
            if sample is None:
                sample = StepStream(*(c if c is None else c[:1] for c in part))
                _require_space(beside, sample, source.num_steps)
                files = {
                    name: stack.enter_context(
                        (beside / name).open("wb", buffering=_WRITE_BYTES)
                    )
                    for name, _ in _present(sample)
                    if name not in _DERIVED
                }
            _check_same(episode, part, sample)
            for name, column in _present(part):
                if name in files:
                    files[name].write(np.ascontiguousarray(column).data)
    if sample is None or count != source.num_steps:
        raise DatasetError(
            f"training data: expected {source.num_steps} steps in all, got {count};"
            " curate the dataset again, or name other tasks"
        )
    return sample


def _write_derived(beside: Path, source: CacheSource) -> None:
    """Writes what follows from all episodes: weights of tasks, and values."""
    tasks, starts, reward, discount = (
        np.memmap(beside / name, dtype, "r")
        for name, dtype in (
            ("tasks", np.int32),
            ("starts", np.bool_),
            ("reward", np.float32),
            ("discount", np.float32),
        )
    )
    pieces = list(_whole_episodes(starts))
    counts = np.zeros(len(source.tasks), np.int64)
    for piece in pieces:
        counts += np.bincount(tasks[piece], minlength=len(counts))
    shares = step_stream.task_shares(counts)
    largest = max(float(np.abs(reward[piece]).max()) for piece in pieces) or 1.0
    with (beside / "action_weight").open("wb") as stream:
        for piece in pieces:
            stream.write(shares[tasks[piece]].data)
    with (beside / "values").open("wb") as stream:
        for piece in pieces:
            told = (reward[piece], discount[piece], starts[piece])
            stream.write(losses.returns(*told, largest).data)


def _whole_episodes(starts: np.ndarray) -> Iterator[slice]:
    """Cuts the stream between episodes, into pieces of bounded size."""
    begin = 0
    while begin < len(starts):
        end = min(begin + _DERIVED_AT_ONCE, len(starts))
        while end < len(starts) and not starts[end]:
            end += 1
        yield slice(begin, end)
        begin = end


def _seal(beside: Path, sample: StepStream) -> None:
    described: dict[str, dict[str, object]] = {}
    for name, column in _present(sample):
        path = beside / name
        with path.open("rb") as stream:
            os.fsync(stream.fileno())
        path.chmod(0o444)
        described[name] = {
            "dtype": column.dtype.str,
            "shape": column.shape[1:],
            **_stamp(path),
        }
    body = canonical_json.encode(described)
    durable_file.write(
        beside / _DESCRIPTION, sha256_bytes(body).encode() + b"\n" + body
    )


def _is_whole(place: Path) -> bool:
    described = _described(place)
    if described is None:
        return False
    try:
        stamps = {name: _stamp(place / name) for name in described}
    except FileNotFoundError:
        return False
    return all(described[name] | stamps[name] == described[name] for name in described)


def _described(place: Path) -> dict[str, dict[str, Any]] | None:
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


def _mapped(place: Path) -> StepStream:
    described = _described(place)
    assert described is not None, "whole while its lock was held"
    columns = {
        name: np.memmap(place / name, told["dtype"], "r").reshape(-1, *told["shape"])
        for name, told in described.items()
    }
    return StepStream(**{name: columns.get(name) for name in StepStream._fields})


def _present(stream: StepStream) -> Iterator[tuple[str, np.ndarray]]:
    for name, column in zip(StepStream._fields, stream, strict=True):
        if column is not None:
            yield name, column


def _check_same(episode: Episode, part: StepStream, sample: StepStream) -> None:
    for name, mine, first in zip(StepStream._fields, part, sample, strict=True):
        shapes = [None if x is None else x.shape[1:] for x in (first, mine)]
        if shapes[0] != shapes[1]:
            raise DatasetError(
                f"episode {episode.metadata.episode_id}: expected {name} of shape"
                f" {shapes[0]} per step as in the first episode, got {shapes[1]};"
                " train on episodes of one robot at a time"
            )


def _require_space(beside: Path, sample: StepStream, count: int) -> None:
    size_bytes = count * sum(column.nbytes for _, column in _present(sample))
    free_bytes = shutil.disk_usage(beside).free
    if free_bytes < size_bytes:
        raise DiskSpaceError(
            f"{beside.parent}: expected {size_bytes / 1e6:.0f} MB of free disk for the"
            f" steps of the dataset, got {free_bytes / 1e6:.0f} MB; free some, or name"
            " another folder for work"
        )


def _remove(folder: Path, place: Path) -> None:
    """Removes a cache that is not whole, and what dead writers of it left."""
    leftovers: Sequence[Path] = [place, *folder.glob(f".tmp-{place.name}-*")]
    for path in leftovers:
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
