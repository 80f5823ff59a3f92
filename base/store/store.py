"""Storage of artifacts: one small protocol over a folder or a bucket.

Paths are relative and use `/`. An object has a generation, a number that grows with
each write; zero means that the object does not exist. A writer that passes the
generation it read cannot overwrite a change that it has not seen.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol
from urllib.parse import unquote, urlsplit

from base.errors import NotFoundError as NotFoundError
from base.errors import ObjectError as ObjectError
from base.errors import PreconditionFailedError as PreconditionFailedError
from base.errors import StoreError as StoreError
from base.store.local_store import LocalStore as LocalStore
from base.text_forms import LONGEST_PATH


class Store(Protocol):
    """Named objects that are replaced whole or not at all.

    Every method raises UnsafePathError if a path is not a plain relative path, and
    StoreError if the storage fails. ObjectError is a StoreError about one name alone,
    where something else lies than an object: a pipe, a link to itself, a folder.
    """

    @property
    def uri(self) -> str:
        """The store's URI, in the form that `open_store` takes."""

    def get(self, path: str, limit_bytes: int) -> bytes:
        """Returns the whole object.

        Raises:
            NotFoundError: the object does not exist.
            OversizedError: it is longer than `limit_bytes`; reading stopped there.
        """

    def get_range(self, path: str, offset: int, size_bytes: int) -> bytes:
        """Returns `size_bytes` bytes from `offset`, or fewer at the end of the object.

        Raises:
            NotFoundError: the object does not exist.
        """

    def put(
        self, path: str, data: bytes, if_generation_match: int | None = None
    ) -> int:
        """Replaces the object and returns its new generation.

        Once this returns, the data survives a power cut; after a crash the object is
        either the old one or the new one.

        Raises:
            PreconditionFailedError: its generation is not `if_generation_match`.
        """

    def generation(self, path: str) -> int:
        """Returns the object's generation, or zero if the object does not exist."""

    def list(self, prefix: str) -> tuple[str, ...]:
        """Returns the sorted paths that begin with `prefix`; "" for all.

        Raises:
            OversizedError: there are more than `local_store.MOST_NAMES`.
        """

    def compose(
        self,
        sources: Sequence[str],
        path: str,
        if_generation_match: int | None = None,
    ) -> int:
        """Writes the concatenation of `sources` to `path`; returns its generation.

        Raises:
            NotFoundError: a source does not exist.
            PreconditionFailedError: as for `put`.
        """

    def digest(self, path: str, limit_bytes: int) -> str:
        """Returns the SHA-256 of the object's content.

        Raises:
            NotFoundError: the object does not exist.
            OversizedError: it is longer than `limit_bytes`; reading stopped there.
        """


def open_store(uri: str) -> Store:
    """Opens `file:///folder` or `gs://bucket/prefix`.

    Raises:
        StoreError: the scheme is another one, the URI has parts that have no meaning
            here, or there are no credentials for a bucket.
    """
    if len(uri) > LONGEST_PATH:
        raise StoreError(
            uri, f"at most {LONGEST_PATH} characters", len(uri), "correct the URI"
        )
    try:
        parts = urlsplit(uri)
    except ValueError as e:
        raise StoreError(uri, "a URI", e, "correct the URI") from e
    if not unquote(uri).isprintable():
        raise StoreError(uri, "printable characters", uri, "correct the URI")
    if parts.query or parts.fragment:
        raise StoreError(uri, "a URI without ? and #", uri, "correct the URI")
    if parts.scheme == "file":
        if parts.netloc not in ("", "localhost") or not parts.path.startswith("/"):
            raise StoreError(uri, "file:///absolute/folder", uri, "correct the URI")
        return LocalStore(Path(unquote(parts.path)))
    if parts.scheme == "gs":
        if not parts.netloc:
            raise StoreError(uri, "gs://bucket/prefix", uri, "correct the URI")
        # Imported here so that a robot with a file:// store does not load the client.
        from base.store.gcs_store import GcsStore

        store: Store = GcsStore(parts.netloc, parts.path.strip("/"))
        return store
    raise StoreError(
        uri, "a folder, a file:///… or a gs://… URI", uri, "correct the location"
    )
