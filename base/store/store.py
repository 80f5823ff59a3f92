"""Where artifacts live: one small protocol over a folder or a bucket.

Paths are relative and use `/`. An object has a generation, a number that grows with
each write; zero means that the object does not exist. A writer that passes the
generation it read cannot overwrite somebody else's change.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol
from urllib.parse import unquote, urlsplit

from base.errors import NotFoundError as NotFoundError
from base.errors import PreconditionFailedError as PreconditionFailedError
from base.errors import StoreError as StoreError
from base.store.local_store import LocalStore as LocalStore


class Store(Protocol):
    """Named objects that are replaced whole or not at all.

    Every method raises UnsafePathError for a path that is not a plain relative one,
    and StoreError when the medium fails.
    """

    @property
    def uri(self) -> str:
        """Where the store is, as `open_store` takes it."""

    def get(self, path: str, limit_bytes: int) -> bytes:
        """Returns the whole object.

        Raises:
            NotFoundError: there is none.
            OversizedError: it is longer than `limit_bytes`; no more was read.
        """

    def get_range(self, path: str, offset: int, size_bytes: int) -> bytes:
        """Returns at most `size_bytes` from `offset`; fewer only at the end.

        Raises:
            NotFoundError: there is no such object.
        """

    def put(
        self, path: str, data: bytes, if_generation_match: int | None = None
    ) -> int:
        """Replaces the object and returns its new generation.

        After a return the data survives a power cut; after a crash the object is
        either the old one or the new one.

        Raises:
            PreconditionFailedError: its generation is not `if_generation_match`.
        """

    def generation(self, path: str) -> int:
        """Returns the object's generation, zero when there is none."""

    def list(self, prefix: str) -> tuple[str, ...]:
        """Returns the sorted paths that begin with `prefix`; "" for all."""

    def compose(
        self,
        sources: Sequence[str],
        path: str,
        if_generation_match: int | None = None,
    ) -> int:
        """Puts the concatenation of `sources` at `path`; returns its generation.

        Raises:
            NotFoundError: a source does not exist.
            PreconditionFailedError: as for `put`.
        """

    def digest(self, path: str) -> str:
        """Returns the sha256 of the object's content.

        Raises:
            NotFoundError: there is no such object.
        """


def open_store(uri: str) -> Store:
    """Opens `file:///folder` or `gs://bucket/prefix`.

    Raises:
        StoreError: another scheme, a URI with parts that have no meaning here, or no
            credentials for a bucket.
    """
    parts = urlsplit(uri)
    if parts.query or parts.fragment:
        raise StoreError(uri, "a URI without ? and #", uri, "correct the URI")
    if parts.scheme == "file":
        if parts.netloc not in ("", "localhost") or not parts.path.startswith("/"):
            raise StoreError(uri, "file:///absolute/folder", uri, "correct the URI")
        return LocalStore(Path(unquote(parts.path)))
    if parts.scheme == "gs":
        if not parts.netloc:
            raise StoreError(uri, "gs://bucket/prefix", uri, "correct the URI")
        # Imported here: a robot that follows a file:// store loads none of the client.
        from base.store.gcs_store import GcsStore

        store: Store = GcsStore(parts.netloc, parts.path.strip("/"))
        return store
    raise StoreError(
        uri, "a file:///… or gs://… URI", parts.scheme or "no scheme", "correct the URI"
    )
