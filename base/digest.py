"""SHA-256 as 64 lower-case hex characters, the one digest of this project."""

import hashlib
import re
from pathlib import Path

from base import plain_file
from base.errors import OversizedError

_CHUNK_BYTES = 1024 * 1024
_HEX = re.compile(r"[0-9a-f]{64}")


def sha256_bytes(data: bytes) -> str:
    """Returns the digest of `data`."""
    return hashlib.sha256(data).hexdigest()


def sha256_file(path: Path, limit_bytes: int | None = None) -> str:
    """Returns the digest of a file's content, read in chunks.

    Args:
        path: a plain file.
        limit_bytes: its largest size; None for a file that this program wrote.

    Raises:
        OversizedError: there are more than `limit_bytes`; reading stopped there.
        OSError: the file cannot be read, or is no plain file.
    """
    state, size_bytes = hashlib.sha256(), 0
    with plain_file.open_stream(path) as stream:
        while chunk := stream.read(_CHUNK_BYTES):
            size_bytes += len(chunk)
            if limit_bytes is not None and size_bytes > limit_bytes:
                raise OversizedError(path, f"at most {limit_bytes} bytes", "more")
            state.update(chunk)
    return state.hexdigest()


def is_sha256(text: str) -> bool:
    """Returns whether `text` has the form of a digest."""
    return _HEX.fullmatch(text) is not None
