"""Reads the one episode of a TFRecord file and checks every byte of it."""

import itertools
import os
from pathlib import Path

from base import durable_file, plain_file
from base.errors import ContinuonError, OversizedError
from rlds import example_codec, sealing, tfrecord
from rlds.episode import Episode
from rlds.errors import (
    RAISE_LIMIT,
    CorruptRecordError,
    MalformedEpisodeError,
)

LIMIT_BYTES = example_codec.LIMIT_BYTES

_IN_MEMORY = "episode in memory"


def read_episode(path: Path, limit_bytes: int = LIMIT_BYTES) -> Episode:
    """Reads the one episode of a TFRecord file.

    Raises:
        DiskError: the file cannot be read.
        OversizedError: the file is larger than `limit_bytes`.
        CorruptRecordError: the file is cut short or a checksum fails.
        MalformedEpisodeError: there is not exactly one record, or it is not an episode.
        SealedError: it is encrypted with a key that this process does not have.
    """
    try:
        with plain_file.open_stream(path) as stream:
            # A file that is too large is not read into memory to find that out.
            most_bytes = limit_bytes + sealing.OVERHEAD_BYTES
            if os.fstat(stream.fileno()).st_size > most_bytes:
                raise _oversized(str(path), limit_bytes)
            raw = stream.read(most_bytes + 1)
    except OSError as e:
        raise durable_file.disk_error(path, "to read the episode", e) from e
    return _read(raw, str(path), limit_bytes)


def read_episode_bytes(raw: bytes, limit_bytes: int = LIMIT_BYTES) -> Episode:
    """Reads the one episode of a TFRecord file's content, as `read_episode` does.

    Raises:
        OversizedError, CorruptRecordError, MalformedEpisodeError, SealedError: as that.
    """
    return _read(raw, _IN_MEMORY, limit_bytes)


def _read(raw: bytes, source: str, limit_bytes: int) -> Episode:
    raw = sealing.unseal(raw, source)
    if len(raw) > limit_bytes:
        raise _oversized(source, limit_bytes)
    try:
        # No more than two: a file can hold millions of empty ones.
        found = tfrecord.read_records(raw, limit_bytes)
        records = list(itertools.islice(found, 2))
        if len(records) != 1:
            count = f"{len(records)} or more" if records else "0"
            raise MalformedEpisodeError(
                source, "one record", f"{count} records in {len(raw)} bytes"
            )
        return example_codec.decode(records[0], limit_bytes=limit_bytes)
    except CorruptRecordError as e:
        raise CorruptRecordError(
            source, e.expected, e.got, e.remedy, offset=e.offset
        ) from e
    except ContinuonError as e:
        if e.source.startswith(source):
            raise
        raise type(e)(f"{source}: {e.source}", e.expected, e.got, e.remedy) from e


def _oversized(source: str, limit_bytes: int) -> OversizedError:
    return OversizedError(source, f"at most {limit_bytes} bytes", "more", RAISE_LIMIT)
