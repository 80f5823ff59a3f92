"""One machine at a time trains a run that is kept in a store of several machines.

    <family>/leases/<identity>.json

A lock of the kernel ends at the machine. In a store the holder writes a lease and
renews it for as long as it works; each renewal changes the object's generation. Whoever
wants the lease looks whether the generation still changes, by its own clock alone, so
clocks that differ do not matter. A holder that was killed does not keep the lease: on
its own machine its process is gone, which is visible at once; elsewhere nobody renews.
"""

from __future__ import annotations

import contextlib
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from base import canonical_json, json_fields
from base.errors import (
    MalformedError,
    NotFoundError,
    OversizedError,
    PreconditionFailedError,
)
from base.store.store import Store, StoreError, open_store
from cloud.errors import RunFolderError

SCHEMA_VERSION = 1
RENEWAL_S = 15.0
RENEWALS_MISSED = 5
"""A holder that renews nothing for this many periods is taken for gone."""
_LIMIT_BYTES = 64 * 1024


class Lease:
    """A lease that this process holds and renews in a thread."""

    def __init__(self, store: Store, path: str, generation: int) -> None:
        self._store, self._path = store, path
        self._generation = generation
        self._lost = False
        self._ended = threading.Event()
        self._thread: threading.Thread | None = None

    def require_held(self) -> None:
        """Checks that nobody has taken the lease over, before something is written.

        Raises:
            RunFolderError: another process has it now.
        """
        if self._lost:
            raise RunFolderError(
                f"{self._store.uri}/{self._path}",
                "this process to train the run",
                "another one, which took over when nothing was heard of this one",
                "let the other one end, or stop it and run this again",
            )

    def _renew_until_ended(self, period_s: float) -> None:
        while not self._ended.wait(period_s):
            try:
                self._put(released=False)
            except PreconditionFailedError:
                self._lost = True
                return
            except StoreError:
                continue  # the network may come back before anybody takes over

    def _put(self, *, released: bool) -> None:
        data = _encode(released)
        self._generation = self._store.put(self._path, data, self._generation)

    def _start(self, period_s: float) -> None:
        self._thread = threading.Thread(
            target=self._renew_until_ended, args=(period_s,), daemon=True
        )
        self._thread.start()

    def _end(self) -> None:
        self._ended.set()
        if self._thread is not None:
            self._thread.join()
        if not self._lost:
            # Without this, others only wait until they see that nobody renews.
            with contextlib.suppress(StoreError, PreconditionFailedError):
                self._put(released=True)


@contextlib.contextmanager
def hold(
    uri: str,
    family: str,
    identity: str,
    note: Callable[[str], None],
    renewal_s: float = RENEWAL_S,
) -> Iterator[Lease]:
    """Holds the lease on the runs of one identity while the block runs.

    Args:
        uri: the store of runs.
        family: prefix of the family's runs.
        identity: identity of the runs, see `run_folder.compute_identity`.
        note: called with one line if another holder's life has to be looked at.
        renewal_s: period in which the holder renews.

    Raises:
        RunFolderError: another process is training this run.
        StoreError: the store failed.
    """
    store, path = open_store(uri), f"{family}/leases/{identity}.json"
    lease = Lease(store, path, _take(store, path, note, renewal_s))
    lease._start(renewal_s)
    try:
        yield lease
    finally:
        lease._end()


def _take(
    store: Store, path: str, note: Callable[[str], None], renewal_s: float
) -> int:
    """Writes this process into the lease and returns its generation."""
    while True:
        generation = store.generation(path)
        if generation and not _is_free(_read(store, path)):
            _require_silent(store, path, generation, note, renewal_s)
        try:
            return store.put(path, _encode(False), generation)
        except PreconditionFailedError:
            continue  # somebody was faster


def _require_silent(
    store: Store,
    path: str,
    generation: int,
    note: Callable[[str], None],
    renewal_s: float,
) -> None:
    """Waits for a renewal; returns if there is none, so that the holder is gone."""
    patience_s = renewal_s * RENEWALS_MISSED
    host = _read(store, path).get("host", "another machine")
    note(f"waiting   {patience_s:.0f} s to see whether {host} still trains this run")
    end_s = time.monotonic() + patience_s
    while time.monotonic() < end_s:
        time.sleep(min(1.0, renewal_s / 2))
        if store.generation(path) != generation:
            if _is_free(_read(store, path)):
                return
            raise RunFolderError(
                f"{store.uri}/{path}",
                "a run that no process is training",
                f"one that {host} is training now",
                "wait for it, or train with other settings, such as another --seed",
            )


def _encode(released: bool) -> bytes:
    return canonical_json.encode(
        {
            "schema_version": SCHEMA_VERSION,
            "host": socket.gethostname(),
            "process": _process_name(str(os.getpid())),
            "released": released,
        }
    )


def _read(store: Store, path: str) -> dict[str, object]:
    """Returns the lease; empty if it does not parse, which tells of no holder."""
    try:
        return parse(store.get(path, _LIMIT_BYTES))
    except (NotFoundError, OversizedError):
        return {}


def parse(raw: bytes) -> dict[str, object]:
    """Returns the fields in the bytes of a lease; empty if they are not one."""
    try:
        found = json_fields.decode(raw, "lease", _LIMIT_BYTES)
    except (MalformedError, OversizedError):
        return {}
    return found if isinstance(found, dict) else {}


def _is_free(lease: dict[str, object]) -> bool:
    """Tells whether a lease was given back or its process has ended on this machine."""
    if lease.get("released") is True:
        return True
    process = str(lease.get("process")).split()
    if len(process) != 4 or process[:2] != _machine():
        return False
    return _process_name(process[2]) != " ".join(process)


def _machine() -> list[str]:
    """Names what numbers processes here: the boot of the kernel, and the namespace."""
    boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    return [boot, Path("/proc/self/ns/pid").readlink().name]


def _process_name(number: str) -> str:
    """Names a process for good: numbers are used again, with another start time."""
    if not (number.isascii() and number.isdecimal() and len(number) < 20):
        return "ended"
    try:
        # The name in parentheses may contain anything, so fields count from its end.
        fields = Path(f"/proc/{number}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return "ended"
    return " ".join([*_machine(), number, fields[19]])
