"""The real client against the bucket of `base/testing/bucket.py`."""

import gzip
import hashlib
import json
import time
import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from base.errors import (
    NotFoundError,
    OversizedError,
    PreconditionFailedError,
    StoreError,
    UnsafePathError,
)
from base.store import deadline, gcs_store
from base.store.gcs_store import GcsStore
from base.store.store import open_store
from base.testing import bucket as local_bucket
from base.testing.bucket import Bucket


@pytest.fixture
def bucket() -> Iterator[Bucket]:
    with local_bucket.serve() as bucket:
        yield bucket


@pytest.fixture
def store(bucket: Bucket) -> GcsStore:
    opened = open_store("gs://bucket/some/prefix")
    assert isinstance(opened, GcsStore)
    return opened


def test_put_writes_under_the_prefix_and_get_reads_it_back(
    bucket: Bucket, store: GcsStore
) -> None:
    generation = store.put("a/b", b"0123\r\n\x0089")
    assert store.get("a/b", 100) == b"0123\r\n\x0089"
    assert store.get_range("a/b", 2, 3) == b"23\r"
    assert store.get_range("a/b", 100, 3) == b""
    assert store.generation("a/b") == generation
    assert store.digest("a/b", 100) == hashlib.sha256(b"0123\r\n\x0089").hexdigest()
    assert list(bucket.objects) == ["some/prefix/a/b"]


def test_an_empty_object_is_empty(store: GcsStore) -> None:
    store.put("empty", b"")
    assert store.get("empty", 10) == b""


def test_an_absent_object_is_not_found_and_has_generation_zero(store: GcsStore) -> None:
    assert store.generation("nosuch") == 0
    with pytest.raises(NotFoundError):
        store.get("nosuch", 10)
    with pytest.raises(NotFoundError):
        store.digest("nosuch", 10)


def test_an_object_over_the_limit_is_refused(store: GcsStore) -> None:
    store.put("a", b"12345")
    with pytest.raises(OversizedError):
        store.get("a", 4)
    with pytest.raises(OversizedError):
        store.digest("a", 4)


def test_a_list_without_end_is_refused(
    monkeypatch: pytest.MonkeyPatch, bucket: Bucket, store: GcsStore
) -> None:
    for k in range(5):
        store.put(f"x/{k}", b"")
    bucket.page_size = 2
    assert store.list("x/") == tuple(f"x/{k}" for k in range(5))
    monkeypatch.setattr(gcs_store, "MOST_NAMES", 3)
    with pytest.raises(OversizedError, match="at most 3 names"):
        store.list("x/")


def test_a_list_that_never_ends_is_an_error_when_the_time_is_over(
    monkeypatch: pytest.MonkeyPatch, bucket: Bucket, store: GcsStore
) -> None:
    """Each page comes quickly, and there is always another one."""
    store.put("x/0", b"")
    bucket.page_size = 0
    monkeypatch.setattr(gcs_store, "_ALLOWANCE_S", 0.3)
    with pytest.raises(StoreError, match="a store that had not finished"):
        store.list("x/")


def _ask(store: GcsStore, call: str) -> object:
    calls: dict[str, Callable[[], object]] = {
        "get": lambda: store.get("a", 2000),
        "get_range": lambda: store.get_range("a", 0, 2000),
        "put": lambda: store.put("b", b"1"),
        "list": lambda: store.list(""),
        "generation": lambda: store.generation("a"),
        "digest": lambda: store.digest("a", 2000),
    }
    return calls[call]()


@pytest.mark.parametrize("encoding", ["", "gzip"])
@pytest.mark.parametrize("code", [200, 404])
@pytest.mark.parametrize("call", ["get", "put", "list", "generation"])
def test_an_answer_of_too_many_bytes_is_refused(
    monkeypatch: pytest.MonkeyPatch,
    bucket: Bucket,
    store: GcsStore,
    call: str,
    code: int,
    encoding: str,
) -> None:
    """Whether it describes an object or an error, and however small its packed form."""
    monkeypatch.setattr(gcs_store, "_ANSWER_BYTES", 100_000)
    bucket.padding = code, 10_000_000, encoding
    tracemalloc.start()
    try:
        with pytest.raises(OversizedError, match="an answer of at most 100000 bytes"):
            _ask(store, call)
        _, peak_bytes = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    bucket.padding = None
    assert peak_bytes < 40_000_000
    assert list(bucket.objects) == []


def test_an_error_instead_of_an_objects_content_is_bounded(
    monkeypatch: pytest.MonkeyPatch, bucket: Bucket, store: GcsStore
) -> None:
    store.put("a", b"1")
    monkeypatch.setattr(gcs_store, "_ANSWER_BYTES", 100_000)
    bucket.content_error_bytes = 10_000_000
    with pytest.raises(OversizedError, match="an answer of at most 100000 bytes"):
        store.get("a", 10)


def test_more_bytes_than_the_requested_range_are_refused(
    bucket: Bucket, store: GcsStore
) -> None:
    store.put("a", bytes(1 << 20))
    bucket.ignores_range = True
    with pytest.raises(OversizedError, match="expected 7 bytes of this range"):
        store.get_range("a", 0, 7)


def test_a_compressed_object_is_not_unpacked(bucket: Bucket, store: GcsStore) -> None:
    raw = gzip.compress(bytes(1 << 20))
    bucket.put("some/prefix/a", raw)
    bucket.content_encoding = "gzip"
    assert store.get("a", len(raw)) == raw


def test_put_with_a_stale_generation_changes_nothing(store: GcsStore) -> None:
    first = store.put("a", b"1", if_generation_match=0)
    with pytest.raises(PreconditionFailedError):
        store.put("a", b"2", if_generation_match=0)
    assert store.get("a", 9) == b"1"
    store.put("a", b"3", if_generation_match=first)
    assert store.get("a", 9) == b"3"


def test_list_and_compose(store: GcsStore) -> None:
    store.put("x/1", b"one ")
    store.put("x/2", b"two")
    store.compose(["x/1", "x/2"], "both")
    assert store.get("both", 100) == b"one two"
    assert store.list("x/") == ("x/1", "x/2")
    assert store.list("") == ("both", "x/1", "x/2")


def test_a_path_outside_the_store_is_refused(bucket: Bucket, store: GcsStore) -> None:
    with pytest.raises(UnsafePathError):
        store.put("../other", b"x")
    assert bucket.objects == {}


def test_a_bucket_that_does_not_exist_is_named(bucket: Bucket) -> None:
    other = open_store("gs://nosuch/prefix")
    with pytest.raises(NotFoundError) as e:
        other.put("a", b"1", if_generation_match=0)
    assert str(e.value) == (
        "gs://nosuch/prefix/a: expected an object, got The specified bucket does not "
        "exist.; check the bucket's name and the path"
    )
    with pytest.raises(NotFoundError, match=r"bucket does not exist"):
        other.get("a", 10)


def test_an_account_without_permission_is_named(
    bucket: Bucket, store: GcsStore
) -> None:
    bucket.forbidden = True
    for ask in (
        lambda: store.get("a", 10),
        lambda: store.put("a", b"1"),
        lambda: store.list(""),
    ):
        with pytest.raises(StoreError, match=r"expected permission, got robot@test"):
            ask()
    assert bucket.objects == {}


def test_an_unreachable_network_is_an_error_after_the_retries(
    monkeypatch: pytest.MonkeyPatch, store: GcsStore
) -> None:
    monkeypatch.setattr(gcs_store, "_RETRY", gcs_store._RETRY.with_timeout(0.1))
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", "http://127.0.0.1:9")
    with pytest.raises(StoreError, match=r"refused.*check the network"):
        open_store("gs://bucket").get("a", 10)


@pytest.mark.parametrize(
    "call", ["get", "get_range", "put", "list", "generation", "digest"]
)
def test_a_server_that_dribbles_is_an_error_when_the_time_is_over(
    monkeypatch: pytest.MonkeyPatch, bucket: Bucket, store: GcsStore, call: str
) -> None:
    store.put("a", bytes(2000))
    monkeypatch.setattr(gcs_store, "_ALLOWANCE_S", 0.3)
    bucket.dribble_s = 0.2  # 400 s for the object, 30 s for its headers
    begin = time.monotonic()
    with pytest.raises(StoreError, match=r"within 0 s, got a store.*check the network"):
        _ask(store, call)
    assert time.monotonic() - begin < 20


def test_the_bytes_of_a_large_object_have_their_own_time(
    monkeypatch: pytest.MonkeyPatch, bucket: Bucket, store: GcsStore
) -> None:
    store.put("a", bytes(range(100)))
    monkeypatch.setattr(gcs_store, "_ALLOWANCE_S", 1.0)
    monkeypatch.setattr(deadline, "SLOWEST_BYTES_PER_S", 100)
    bucket.dribble_s = 0.004  # a second for description and object together
    assert store.get("a", 100) == bytes(range(100))
    monkeypatch.setattr(gcs_store, "_ALLOWANCE_S", 0.7)
    monkeypatch.setattr(deadline, "SLOWEST_BYTES_PER_S", 1 << 30)
    bucket.dribble_s = 0.01
    with pytest.raises(StoreError, match="a store that had not finished"):
        store.get("a", 100)


@pytest.fixture
def no_credentials(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Sets this process up like one on a machine where nobody is logged in."""
    monkeypatch.delenv("STORAGE_EMULATOR_HOST", raising=False)
    monkeypatch.delenv("GOOGLE_APPLICATION_CREDENTIALS", raising=False)
    monkeypatch.setenv("CLOUDSDK_CONFIG", str(tmp_path / "nobody"))
    monkeypatch.setattr("google.auth.compute_engine._metadata._NO_GCE_CHECK", True)


@pytest.mark.usefixtures("no_credentials")
def test_missing_credentials_are_an_error_that_says_how_to_set_them() -> None:
    with pytest.raises(StoreError, match=r"GOOGLE_APPLICATION_CREDENTIALS, or log in"):
        open_store("gs://bucket")


@pytest.mark.usefixtures("no_credentials")
@pytest.mark.parametrize("text", [None, "no json", json.dumps({"type": "unknown"})])
def test_an_invalid_key_file_is_named(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, text: str | None
) -> None:
    monkeypatch.chdir(tmp_path)
    if text is not None:
        (tmp_path / "account.json").write_text(text)
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", "account.json")
    with pytest.raises(StoreError, match=r"credentials for Google.*account\.json"):
        open_store("gs://bucket")
