"""A store in a Google Cloud Storage bucket, through the official client.

`STORAGE_EMULATOR_HOST`, `GOOGLE_APPLICATION_CREDENTIALS` and the client's other
environment variables work as usual.
"""

import contextlib
import hashlib
import io
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import requests
from google.api_core import exceptions
from google.auth.exceptions import GoogleAuthError, TransportError
from google.cloud import storage  # type: ignore[import-untyped, unused-ignore]
from google.cloud.storage import retry  # type: ignore[import-untyped, unused-ignore]

from base.errors import (
    CredentialsError,
    NotFoundError,
    OversizedError,
    PreconditionFailedError,
    StoreError,
)
from base.store.deadline import Deadline
from base.store.local_store import MOST_NAMES
from base.text_forms import check_relative_path

_CHUNK_BYTES = 8 << 20
_COMPOSE_LIMIT = 32  # source objects in one compose call; the service's limit
_TIMEOUT_S = 60.0  # between two pieces of one answer
# A server that sends a byte now and then never reaches that timeout. So each call has a
# time in which it must be done: for its requests and their retries, besides the time
# for its bytes.
_ALLOWANCE_S = 150.0
# A page of a list has a thousand names of a kilobyte at most, and JSON may spell a
# letter with six; what describes one object is smaller.
_ANSWER_BYTES = 8 << 20
_PIECE_BYTES = 16 << 10  # a compressed piece unpacks to a thousand times that at most
_LISTED_BYTES = 1024  # of a name in a page
# After this the network counts as down. A robot does not move while it reads its
# channel.
_RETRY = retry.DEFAULT_RETRY.with_timeout(60.0)

_NO_SUCH = "check the bucket's name and the path"
_NO_CREDENTIALS = (
    "name a service account's key file in GOOGLE_APPLICATION_CREDENTIALS, or log in "
    "with `gcloud auth application-default login`"
)
_NO_PERMISSION = (
    "let this account read and list the bucket's objects, and create them where it "
    "writes (roles/storage.objectViewer, roles/storage.objectCreator)"
)
_NO_NETWORK = "check the network and run it again"


class GcsStore:
    """Objects of `bucket` whose names begin with `prefix`."""

    def __init__(
        self, bucket: str, prefix: str, client: storage.Client | None = None
    ) -> None:
        self._name = bucket
        self._prefix = f"{prefix}/" if prefix else ""
        with self._translate_errors("", None):
            # Objects are found through their bucket, so no project is needed.
            self._client = client or storage.Client(project=None)
            self._client._http.hooks["response"].append(_read_answer)
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
        blob = self._load_blob(path)
        end = min(offset + size_bytes, int(blob.size))
        if offset >= end:
            return b""
        into = _Bounded(f"{self.uri}/{path}", end - offset)
        with self._translate_errors(path, None):
            self._in_time(
                path,
                end - offset,
                lambda: blob.download_to_file(
                    into,
                    start=offset,
                    end=end - 1,
                    # The bytes as stored: a compressed object is not unpacked.
                    raw_download=True,
                    # All requests must read the same version of the object.
                    if_generation_match=blob.generation,
                    timeout=_TIMEOUT_S,
                    retry=_RETRY,
                ),
            )
        return into.getvalue()

    def put(
        self, path: str, data: bytes, if_generation_match: int | None = None
    ) -> int:
        """See `Store.put`."""
        blob = self._blob(path)
        with self._translate_errors(path, if_generation_match):
            self._in_time(
                path,
                len(data),
                lambda: blob.upload_from_string(
                    data,
                    content_type="application/octet-stream",
                    if_generation_match=if_generation_match,
                    timeout=_TIMEOUT_S,
                    retry=_RETRY,
                ),
            )
        return int(blob.generation)

    def generation(self, path: str) -> int:
        """See `Store.generation`."""
        try:
            return int(self._load_blob(path).generation)
        except NotFoundError:
            return 0

    def list(self, prefix: str) -> tuple[str, ...]:
        """See `Store.list`."""
        source = f"{self.uri}/{prefix}"
        deadline = Deadline(_ALLOWANCE_S)
        names: list[str] = []
        with self._translate_errors(prefix, None):
            pages = self._client.list_blobs(
                self._name,
                prefix=self._prefix + prefix,
                fields="items(name),nextPageToken",
                timeout=_TIMEOUT_S,
                retry=_RETRY,
            ).pages
            while page := deadline.run(source, lambda: next(pages, None)):
                listed = [str(blob.name) for blob in page]
                deadline.add_bytes(_LISTED_BYTES * len(listed))
                names += listed
                if len(names) > MOST_NAMES:
                    raise OversizedError(source, f"at most {MOST_NAMES} names", "more")
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
        blobs = [self._load_blob(source) for source in sources]
        blob = self._blob(path)
        with self._translate_errors(path, if_generation_match):
            self._in_time(
                path,
                0,
                lambda: blob.compose(
                    blobs,
                    if_generation_match=if_generation_match,
                    timeout=_TIMEOUT_S,
                    retry=_RETRY,
                ),
            )
        return int(blob.generation)

    def digest(self, path: str, limit_bytes: int) -> str:
        """See `Store.digest`."""
        size_bytes = int(self._load_blob(path).size)
        if size_bytes > limit_bytes:
            raise OversizedError(
                f"{self.uri}/{path}", f"at most {limit_bytes} bytes", size_bytes
            )
        state = hashlib.sha256()
        for offset in range(0, size_bytes, _CHUNK_BYTES):
            state.update(self.get_range(path, offset, _CHUNK_BYTES))
        return state.hexdigest()

    def _blob(self, path: str) -> Any:  # noqa: ANN401 - the client has no types
        return self._bucket.blob(self._prefix + check_relative_path(path, self.uri))

    def _load_blob(self, path: str) -> Any:  # noqa: ANN401 - the client has no types
        blob = self._blob(path)
        with self._translate_errors(path, None):
            self._in_time(
                path, 0, lambda: blob.reload(timeout=_TIMEOUT_S, retry=_RETRY)
            )
        return blob

    def _in_time[T](self, path: str, size_bytes: int, call: Callable[[], T]) -> T:
        """Returns what `call` returns, or raises when its time is over."""
        deadline = Deadline(_ALLOWANCE_S)
        deadline.add_bytes(size_bytes)
        return deadline.run(f"{self.uri}/{path}", call)

    @contextlib.contextmanager
    def _translate_errors(self, path: str, generation: int | None) -> Iterator[None]:
        """Turns the client's errors into store errors, each with its own remedy."""
        source = f"gs://{self._name}/{self._prefix}{path}"
        answer = "an answer from the store"
        try:
            yield
        except (OversizedError, StoreError):
            raise
        except exceptions.PreconditionFailed as e:
            raise PreconditionFailedError(
                source, f"generation {generation}", "another"
            ) from e
        except exceptions.NotFound as e:
            raise NotFoundError(
                source, "an object", _service_message(e), _NO_SUCH
            ) from e
        except (exceptions.Unauthorized, exceptions.Forbidden) as e:
            raise StoreError(
                source, "permission", _service_message(e), _NO_PERMISSION
            ) from e
        except exceptions.RetryError as e:
            raise StoreError(source, answer, e.cause, _NO_NETWORK) from e
        except TransportError as e:
            raise StoreError(source, answer, e, _NO_NETWORK) from e
        except GoogleAuthError as e:
            raise CredentialsError(
                source, "credentials for Google Cloud", e, _NO_CREDENTIALS
            ) from e
        except exceptions.GoogleAPICallError as e:
            raise StoreError(source, answer, _service_message(e)) from e
        except Exception as e:  # third party: whatever else the client raises
            raise StoreError(source, answer, e) from e


class _Bounded(io.BytesIO):
    """Accepts as many bytes as were requested, however many the service sends."""

    def __init__(self, source: str, size_bytes: int) -> None:
        super().__init__()
        self._source = source
        self._size_bytes = size_bytes

    def write(self, data: Any) -> int:  # noqa: ANN401 - as BytesIO takes any buffer
        """Appends, or raises OversizedError."""
        if self.tell() + len(data) > self._size_bytes:
            raise OversizedError(
                self._source, f"{self._size_bytes} bytes of this range", "more"
            )
        return super().write(data)


def _read_answer(
    answer: requests.Response, *_: object, stream: bool = False, **__: object
) -> None:
    """Reads an answer, up to a bound; the content of an object is read elsewhere.

    Raises:
        OversizedError: there are more bytes.
    """
    if stream and answer.ok and not answer.is_redirect:
        return
    content = bytearray()
    for piece in answer.iter_content(_PIECE_BYTES):
        content += piece
        if len(content) > _ANSWER_BYTES:
            answer.close()
            raise OversizedError(
                answer.url, f"an answer of at most {_ANSWER_BYTES} bytes", "more"
            )
    answer._content = bytes(content)


def _service_message(error: exceptions.GoogleAPICallError) -> str:
    """Returns the service's message alone; the client's text repeats the request."""
    try:
        return str(error.response.json()["error"]["message"])
    except (AttributeError, KeyError, TypeError, ValueError):
        return str(error.message)
