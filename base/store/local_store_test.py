import errno
import hashlib
import multiprocessing
import os
import resource
import signal
from pathlib import Path
from typing import Never

import pytest

from base.errors import (
    NotFoundError,
    ObjectError,
    OversizedError,
    PreconditionFailedError,
    StoreError,
    UnsafePathError,
)
from base.store import local_store
from base.store.local_store import LocalStore
from base.store.store import open_store
from base.testing import special_files


@pytest.fixture
def store(tmp_path: Path) -> LocalStore:
    return LocalStore(tmp_path)


def test_get_returns_what_put_wrote(store: LocalStore) -> None:
    store.put("a/b/c.bin", b"\x00data")
    assert store.get("a/b/c.bin", 5) == b"\x00data"
    assert store.digest("a/b/c.bin", 5) == hashlib.sha256(b"\x00data").hexdigest()


def test_a_range_ends_at_the_end_of_the_object(store: LocalStore) -> None:
    store.put("a", b"0123456789")
    assert store.get_range("a", 2, 3) == b"234"
    assert store.get_range("a", 8, 100) == b"89"
    assert store.get_range("a", 50, 1) == b""


def test_an_object_over_the_limit_is_refused(store: LocalStore) -> None:
    store.put("a", b"12345")
    with pytest.raises(OversizedError, match="at most 4 bytes"):
        store.get("a", 4)


def test_a_file_that_grows_without_end_is_read_only_up_to_the_limit(
    store: LocalStore, tmp_path: Path
) -> None:
    with (tmp_path / "endless").open("wb") as file:
        file.truncate(1 << 40)  # a hole, which takes no room on the disk
    with pytest.raises(OversizedError):
        store.get("endless", 1_000_000)
    with special_files.at_once(), pytest.raises(OversizedError):
        store.digest("endless", 1_000_000)


@pytest.mark.parametrize("kind", special_files.KINDS)
def test_an_object_that_is_no_plain_file_is_an_error_at_once(
    store: LocalStore, tmp_path: Path, kind: str
) -> None:
    special_files.make(tmp_path / "it", kind)
    for call in (
        lambda: store.get("it", 10),
        lambda: store.get_range("it", 0, 10),
        lambda: store.digest("it", 10),
        lambda: store.compose(["it"], "other"),
    ):
        with special_files.at_once(), pytest.raises((StoreError, UnsafePathError)):
            call()
    assert not (tmp_path / "other").exists()


@pytest.mark.parametrize("kind", special_files.KINDS)
def test_one_bad_name_is_told_apart_from_a_store_that_fails(
    store: LocalStore, tmp_path: Path, kind: str
) -> None:
    special_files.make(tmp_path / "it", kind)
    store.put("other", b"data")
    with pytest.raises((ObjectError, NotFoundError, UnsafePathError)):
        store.get("it", 10)
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (0, limits[1]))
    try:
        with pytest.raises(StoreError, match="Too many open files") as caught:
            store.get("other", 10)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)
    assert not isinstance(caught.value, ObjectError)
    assert store.get("other", 10) == b"data"


def test_a_failing_disk_is_an_error_of_the_store(
    store: LocalStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.put("it", b"data")
    monkeypatch.setattr(store, "object_path", lambda _: Path(special_files.FAILING))
    for call in (
        lambda: store.get("it", 10),
        lambda: store.get_range("it", 0, 10),
        lambda: store.digest("it", 10),
    ):
        with pytest.raises(StoreError, match=r"/it: .*Input/output error") as caught:
            call()
        assert not isinstance(caught.value, ObjectError)


def test_a_folder_under_an_objects_name_is_left_and_named(
    store: LocalStore, tmp_path: Path
) -> None:
    (tmp_path / "it" / "inside").mkdir(parents=True)
    with pytest.raises(ObjectError, match="/it: "):
        store.put("it", b"data")
    assert (tmp_path / "it" / "inside").is_dir()
    assert sorted(p.name for p in tmp_path.iterdir()) == [".lock", "it"]


def test_a_link_to_itself_is_replaced_by_the_object(
    store: LocalStore, tmp_path: Path
) -> None:
    (tmp_path / "it").symlink_to("it")
    with pytest.raises(PreconditionFailedError):
        store.put("it", b"data", if_generation_match=0)
    store.put("it", b"data", if_generation_match=store.generation("it"))
    assert store.get("it", 10) == b"data"


@pytest.mark.parametrize("path", ["nosuch", "folder", "a/b"])
def test_a_path_without_an_object_is_not_found(store: LocalStore, path: str) -> None:
    store.put("folder/x", b"")
    store.put("a", b"")
    with pytest.raises(NotFoundError):
        store.get(path, 10)
    with pytest.raises(NotFoundError):
        store.digest(path, 10)


def test_list_is_sorted_and_shows_objects_only(
    store: LocalStore, tmp_path: Path
) -> None:
    for path in ("b/2", "b/1", "a", "bb/3"):
        store.put(path, b"")
    (tmp_path / "b" / ".tmp-left").write_bytes(b"half")
    assert store.list("") == ("a", "b/1", "b/2", "bb/3")
    assert store.list("b/") == ("b/1", "b/2")
    assert store.list("b") == ("b/1", "b/2", "bb/3")
    assert store.list("nosuch/") == ()
    assert LocalStore(tmp_path / "a").list("") == ()


def test_a_list_of_too_many_names_is_refused(
    store: LocalStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    for path in ("a/1", "a/2", "b/1"):
        store.put(path, b"")
    monkeypatch.setattr(local_store, "MOST_NAMES", 2)
    assert store.list("a/") == ("a/1", "a/2")
    with pytest.raises(OversizedError, match="at most 2 names"):
        store.list("")


def test_listing_an_unreadable_folder_is_an_error(tmp_path: Path) -> None:
    # A name that no file system accepts; permissions would not stop a test run by root.
    with pytest.raises(StoreError, match="expected a readable folder"):
        LocalStore(tmp_path / ("x" * 300)).list("")


def test_one_folder_that_may_not_be_read_is_listed_and_hides_no_other(
    store: LocalStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    for path in ("all/a/1", "all/b/2", "all/c/3"):
        store.put(path, b"x")
    scandir = os.scandir

    def deny(path: str) -> object:
        # Permissions would not stop a test that is run by root.
        if str(path).endswith("/b"):
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", deny)
    assert store.list("all/") == ("all/a/1", "all/b", "all/c/3")
    with pytest.raises(StoreError, match="expected a readable folder"):
        store.list("all/b/")


def test_compose_concatenates(store: LocalStore) -> None:
    store.put("1", b"one ")
    store.put("2", b"two")
    store.compose(["1", "2"], "both")
    assert store.get("both", 100) == b"one two"


@pytest.mark.parametrize(
    "path", ["../x", "/etc/passwd", "a/../../x", ".lock", "a/.tmp-x", ""]
)
def test_a_path_outside_the_store_is_refused_by_every_method(
    store: LocalStore, tmp_path: Path, path: str
) -> None:
    for call in (
        lambda: store.get(path, 1),
        lambda: store.get_range(path, 0, 1),
        lambda: store.put(path, b"x"),
        lambda: store.generation(path),
        lambda: store.digest(path, 10),
        lambda: store.compose([], path),
    ):
        with pytest.raises(UnsafePathError):
            call()
    assert not (tmp_path.parent / "x").exists()


def test_a_link_out_of_the_store_is_refused(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "secret").write_bytes(b"secret")
    store = LocalStore(tmp_path / "store")
    store.put("a", b"")
    (tmp_path / "store" / "link").symlink_to(outside)
    with pytest.raises(UnsafePathError):
        store.get("link/secret", 100)
    with pytest.raises(UnsafePathError):
        store.put("link/new", b"x")
    assert [p.name for p in outside.iterdir()] == ["secret"]


@pytest.mark.parametrize(("umask", "folder"), [(0o077, 0o755), (0o002, 0o2775)])
def test_objects_follow_the_umask_and_the_lock_the_folder(
    tmp_path: Path, umask: int, folder: int
) -> None:
    root = tmp_path / "store"
    root.mkdir()
    root.chmod(folder)
    before = os.umask(umask)
    try:
        LocalStore(root).put("a/b", b"1")
    finally:
        os.umask(before)
    assert (root / "a" / "b").stat().st_mode & 0o777 == 0o666 & ~umask
    assert (root / "a").stat().st_mode & 0o777 == 0o777 & ~umask
    assert (root / ".lock").stat().st_mode & 0o777 == 0o666 & ~umask


def test_generation_is_zero_at_first_and_grows_with_each_put(store: LocalStore) -> None:
    assert store.generation("a") == 0
    seen = [store.put("a", b"same") for _ in range(50)]
    assert seen == sorted(set(seen))
    assert store.generation("a") == seen[-1]


def test_generation_grows_even_if_the_clock_went_back(
    store: LocalStore, tmp_path: Path
) -> None:
    first = store.put("a", b"1")
    future = first + 10**18
    os.utime(tmp_path / "a", ns=(future, future))
    assert store.put("a", b"2") > future


def test_put_with_a_stale_generation_changes_nothing(store: LocalStore) -> None:
    old = store.put("a", b"1")
    new = store.put("a", b"2")
    for wrong in (0, old, new + 1):
        with pytest.raises(PreconditionFailedError, match=f"generation {wrong}"):
            store.put("a", b"3", if_generation_match=wrong)
    assert (store.get("a", 9), store.generation("a")) == (b"2", new)
    store.put("a", b"4", if_generation_match=new)
    assert store.get("a", 9) == b"4"


def test_put_with_generation_zero_creates_only_once(store: LocalStore) -> None:
    store.put("a", b"1", if_generation_match=0)
    with pytest.raises(PreconditionFailedError):
        store.put("a", b"2", if_generation_match=0)
    assert store.get("a", 9) == b"1"


def _increment(root: Path, times: int) -> None:
    store = LocalStore(root)
    done = 0
    while done < times:
        generation = store.generation("counter")
        number = int(store.get("counter", 20))
        try:
            store.put("counter", b"%d" % (number + 1), generation)
        except PreconditionFailedError:
            continue
        done += 1


def test_concurrent_increments_are_never_lost(
    store: LocalStore, tmp_path: Path
) -> None:
    store.put("counter", b"0")
    context = multiprocessing.get_context("fork")
    processes = [
        context.Process(target=_increment, args=(tmp_path, 20)) for _ in range(4)
    ]
    for process in processes:
        process.start()
    for process in processes:
        process.join(timeout=120)
    assert [process.exitcode for process in processes] == [0] * 4
    assert store.get("counter", 20) == b"80"
    assert sorted(p.name for p in tmp_path.iterdir()) == [".lock", "counter"]


def _put_too_much(root: Path) -> None:
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))
    try:
        LocalStore(root).put("a", b"x" * 100_000)
    except StoreError:
        os._exit(7)
    os._exit(0)


def test_a_full_disk_leaves_only_the_old_object(
    store: LocalStore, tmp_path: Path
) -> None:
    store.put("a", b"old")
    context = multiprocessing.get_context("fork")
    process = context.Process(target=_put_too_much, args=(tmp_path,))
    process.start()
    process.join(timeout=60)
    assert process.exitcode == 7
    assert store.get("a", 9) == b"old"
    assert sorted(p.name for p in tmp_path.iterdir()) == [".lock", "a"]


def _put_for_ever(root: Path) -> Never:
    store = LocalStore(root)
    while True:
        store.put("a", b"b" * 200_000)
        store.put("a", b"c" * 200_000)


def test_killing_a_writer_at_any_moment_leaves_a_whole_object(
    store: LocalStore, tmp_path: Path
) -> None:
    store.put("a", b"b" * 200_000)
    context = multiprocessing.get_context("fork")
    for round_ in range(10):
        process = context.Process(target=_put_for_ever, args=(tmp_path,))
        process.start()
        process.join(timeout=0.02 + 0.005 * round_)
        process.kill()
        process.join()
        assert store.get("a", 10**6) in (b"b" * 200_000, b"c" * 200_000)
        store.put("a", b"b" * 200_000)
        assert sorted(p.name for p in tmp_path.iterdir()) == [".lock", "a"]


def test_a_file_uri_opens_the_folder(tmp_path: Path) -> None:
    folder = tmp_path / "with space"
    folder.mkdir()
    store = open_store(folder.as_uri())
    store.put("a", b"1")
    assert (folder / "a").read_bytes() == b"1"
    assert store.uri == folder.as_uri()


@pytest.mark.parametrize(
    "uri",
    [
        "",
        "/plain/path",
        "http://host/x",
        "file://host/x",
        "file:x",
        "gs://",
        "gs:x",
        "gs://[bucket",
        "file:///a%00b",
        "file:///a%1b[31m",
        "file:///" + "a" * 5000,
    ],
)
def test_unsupported_uri_is_refused_with_the_accepted_form(uri: str) -> None:
    with pytest.raises(StoreError, match="expected"):
        open_store(uri)


def test_uri_with_a_query_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="without"):
        open_store(tmp_path.as_uri() + "?x=1")
