"""A store in a Google Cloud Storage bucket, through the official client.

`STORAGE_EMULATOR_HOST` and the client's other environment variables work as they do
for every user of that client.
"""

import contextlib
import hashlib
from collections.abc import Iterator, Sequence
from typing import Any

from google.api_core import exceptions
from google.cloud import storage  # type: ignore[import-untyped, unused-ignore]

from release.errors import (
    NotFoundError,
    OversizedError,
    PreconditionFailedError,
    StoreError,
)
from release.paths import check_relative

_CHUNK_BYTES = 8 << 20
_COMPOSE_LIMIT = 32  # source objects in one compose call; the service's own limit
_TIMEOUT_S = 60.0  # one request without an answer; the client retries on its own


class GcsStore:
    """Objects of `bucket` whose names begin with `prefix`."""

    def __init__(
        self, bucket: str, prefix: str, client: storage.Client | None = None
    ) -> None:
        self._name = bucket
        self._prefix = f"{prefix}/" if prefix else ""
        with self._wrapped("", None):
            self._client = client or storage.Client()
            self._bucket = self._client.bucket(bucket)

    @property
    def uri(self) -> str:
        """The `gs://` URI of bucket and prefix."""
        return f"gs://{self._name}/{self._prefix}".rstrip("/")

    def get(self, path: str, limit_bytes: int) -> bytes:
        """See `Store.get`."""
        data = self.get_range(path, 0, limit_bytes + 1)
        if len(data) > limit_bytes:
            raise OversizedError(
                f"{self.uri}/{path}", f"at most {limit_bytes} bytes", "more"
            )
        return data

    def get_range(self, path: str, offset: int, size_bytes: int) -> bytes:
        """See `Store.get_range`."""
        if offset < 0 or size_bytes < 0:
            raise ValueError(f"expected a range, got {offset=} {size_bytes=}")
        blob = self._found(path)
        end = min(offset + size_bytes, int(blob.size))
        if offset >= end:
            return b""
        with self._wrapped(path, None):
            # The generation keeps the bytes of one object from mixing with another's.
            return bytes(
                blob.download_as_bytes(
                    start=offset,
                    end=end - 1,
                    if_generation_match=blob.generation,
                    timeout=_TIMEOUT_S,
                )
            )

    def put(
        self, path: str, data: bytes, if_generation_match: int | None = None
    ) -> int:
        """See `Store.put`."""
        blob = self._blob(path)
        with self._wrapped(path, if_generation_match):
            blob.upload_from_string(
                data,
                content_type="application/octet-stream",
                if_generation_match=if_generation_match,
                timeout=_TIMEOUT_S,
            )
        return int(blob.generation)

    def generation(self, path: str) -> int:
        """See `Store.generation`."""
        blob = self._look(path)
        return 0 if blob is None else int(blob.generation)

    def list(self, prefix: str) -> tuple[str, ...]:
        """See `Store.list`."""
        with self._wrapped(prefix, None):
            blobs = self._client.list_blobs(
                self._name, prefix=self._prefix + prefix, timeout=_TIMEOUT_S
            )
            names = [str(blob.name) for blob in blobs]
        return tuple(sorted(name.removeprefix(self._prefix) for name in names))

    def compose(
        self,
        sources: Sequence[str],
        path: str,
        if_generation_match: int | None = None,
    ) -> int:
        """See `Store.compose`; at most 32 sources, the service's limit."""
        if not 1 <= len(sources) <= _COMPOSE_LIMIT:
            raise ValueError(f"expected 1 to {_COMPOSE_LIMIT} sources")
        blobs = [self._found(source) for source in sources]
        blob = self._blob(path)
        with self._wrapped(path, if_generation_match):
            blob.compose(
                blobs, if_generation_match=if_generation_match, timeout=_TIMEOUT_S
            )
        return int(blob.generation)

    def digest(self, path: str) -> str:
        """See `Store.digest`."""
        size_bytes = int(self._found(path).size)
        state = hashlib.sha256()
        for offset in range(0, size_bytes, _CHUNK_BYTES):
            state.update(self.get_range(path, offset, _CHUNK_BYTES))
        return state.hexdigest()

    def _blob(self, path: str) -> Any:  # noqa: ANN401 - the client has no types
        return self._bucket.blob(self._prefix + check_relative(path, self.uri))

    def _look(self, path: str) -> Any:  # noqa: ANN401 - the client has no types
        name = self._prefix + check_relative(path, self.uri)
        with self._wrapped(path, None):
            return self._bucket.get_blob(name, timeout=_TIMEOUT_S)

    def _found(self, path: str) -> Any:  # noqa: ANN401 - the client has no types
        blob = self._look(path)
        if blob is None:
            raise NotFoundError(f"{self.uri}/{path}", "an object", "none")
        return blob

    @contextlib.contextmanager
    def _wrapped(self, path: str, generation: int | None) -> Iterator[None]:
        """Turns the client's errors into the store's."""
        source = f"gs://{self._name}/{self._prefix}{path}"
        try:
            yield
        except exceptions.PreconditionFailed as e:
            raise PreconditionFailedError(
                source, f"generation {generation}", "another"
            ) from e
        except exceptions.NotFound as e:
            raise NotFoundError(source, "an object", "none") from e
        except Exception as e:  # third party: credentials, transport, service
            raise StoreError(source, "an answer of the store", str(e)) from e
