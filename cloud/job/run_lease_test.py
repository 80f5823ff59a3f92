"""One process at a time holds the lease on a run, in a folder and in a bucket."""

import contextlib
import json
import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from base import canonical_json
from base.store.store import Store, open_store
from base.testing import bucket as local_bucket
from cloud.errors import RunFolderError
from cloud.job import run_lease

# The bucket's client warns if gRPC is installed, which it does not use here.
pytestmark = pytest.mark.filterwarnings("ignore:Please install grpcio-status")

IDENTITY = "1" * 64
PATH = f"wavecore/leases/{IDENTITY}.json"
RENEWAL_S = 0.05


@pytest.fixture(params=["folder", "bucket"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    if request.param == "folder":
        yield open_store(tmp_path.as_uri())
        return
    with local_bucket.serve():
        yield open_store("gs://bucket/robots")


def hold(
    store: Store, notes: list[str] | None = None
) -> contextlib.AbstractContextManager[run_lease.Lease]:
    kept: list[str] = [] if notes is None else notes
    return run_lease.hold(store.uri, "wavecore", IDENTITY, kept.append, RENEWAL_S)


def leave(store: Store, process: str, *, released: bool = False) -> None:
    """Leaves the lease of a process that renews nothing any more."""
    lease = {
        "schema_version": 1,
        "host": "desk",
        "process": process,
        "released": released,
    }
    store.put(PATH, canonical_json.encode(lease))


def holder(store: Store) -> dict[str, object]:
    found: dict[str, object] = json.loads(store.get(PATH, 10_000))
    return found


def test_second_holder_is_refused_in_one_line_while_the_first_works(
    store: Store,
) -> None:
    notes: list[str] = []
    with hold(store) as first:
        with (
            pytest.raises(RunFolderError, match=r"is training now; wait") as e,
            hold(store, notes),
        ):
            pass
        assert "\n" not in str(e.value)
        assert len(notes) == 1 and notes[0].startswith("waiting ")
        first.require_held()
    assert holder(store)["released"] is True


@pytest.mark.parametrize(
    "raw", [b"{", b"x" * 100_000, b"7", b'{"process":7,"released":1}']
)
def test_bytes_that_are_no_lease_are_replaced_when_nobody_renews_them(
    store: Store, raw: bytes
) -> None:
    store.put(PATH, raw)
    notes: list[str] = []
    with hold(store, notes):
        assert holder(store)["released"] is False
    assert len(notes) == 1 and notes[0].startswith("waiting ")


def test_lease_of_an_impossible_process_is_taken_at_once(store: Store) -> None:
    leave(store, " ".join([*run_lease._machine(), "1" * 5000, "7"]))
    notes: list[str] = []
    with hold(store, notes):
        assert holder(store)["released"] is False
    assert notes == []


def test_lease_that_was_given_back_is_taken_at_once(store: Store) -> None:
    for _ in range(2):
        notes: list[str] = []
        with hold(store, notes):
            assert holder(store)["released"] is False
        assert notes == []


def test_lease_of_a_killed_process_of_this_machine_is_taken_at_once(
    store: Store,
) -> None:
    child = os.fork()
    if child == 0:
        leave(open_store(store.uri), run_lease._process_name(str(os.getpid())))
        os.kill(os.getpid(), 9)
    os.waitpid(child, 0)
    notes: list[str] = []
    with hold(store, notes):
        assert holder(store)["host"] != "desk"
    assert notes == []


def test_lease_that_a_lost_machine_does_not_renew_is_taken_after_a_while(
    store: Store,
) -> None:
    leave(store, "another-boot pid:[1] 7 99")
    notes: list[str] = []
    began_s = time.monotonic()
    with hold(store, notes) as lease:
        assert time.monotonic() - began_s >= RENEWAL_S * run_lease.RENEWALS_MISSED
        lease.require_held()
    assert "desk" in notes[0]


def test_holder_whose_lease_was_taken_over_writes_nothing_more(store: Store) -> None:
    with hold(store) as lease:
        leave(store, "another-boot pid:[1] 7 99")
        deadline_s = time.monotonic() + 30
        while not lease._lost and time.monotonic() < deadline_s:
            time.sleep(RENEWAL_S)
        with pytest.raises(RunFolderError, match="another one, which took over"):
            lease.require_held()
    assert holder(store)["host"] == "desk"


def test_lease_that_does_not_parse_is_waited_for_and_replaced(store: Store) -> None:
    store.put(PATH, b"{torn")
    with hold(store):
        assert holder(store)["schema_version"] == 1
