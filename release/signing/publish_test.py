import functools
import json
import multiprocessing
import os
import shutil
import signal
import threading
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from base.digest import sha256_bytes
from base.errors import PreconditionFailedError, StoreError
from base.store.local_store import LocalStore
from base.store.store import open_store
from base.testing import bucket as local_bucket
from release import channel, channel_verification, dsse, package, verification
from release.channel_verification import VerifiedChannel, verify_channel
from release.errors import (
    CounterStepError,
    DigestMismatchError,
    ExpiredError,
    MissingFileError,
    NotBlessedError,
    RollbackError,
    TimeTooFarError,
    UnknownKeyError,
    WrongChannelError,
    WrongRoleError,
)
from release.signing import publish
from release.signing.publish import Published
from release.testing import tiny_release
from release.testing.tiny_release import Release
from release.verification import VerifiedPackage

NOW = tiny_release.NOW
ENVELOPE = "channels/nightly.dsse.json"
PLAIN = "channels/nightly.json"


@pytest.fixture
def release(tmp_path: Path) -> Release:
    return tiny_release.release(tmp_path)


@pytest.fixture
def folder(tmp_path: Path, release: Release) -> Path:
    return make(tmp_path / "package", release)


def make(
    folder: Path, release: Release, version: str = "0.1.0", **options: Any
) -> Path:
    tiny_release.write_package(folder, version=version, **options)
    release.sign(folder)
    return folder


def objects(store: LocalStore) -> dict[str, bytes]:
    return {path: store.get(path, 1 << 30) for path in store.list("")}


def read(release: Release, name: str = "nightly", last: int = 0) -> VerifiedChannel:
    raw = release.store.get(channel.envelope_path(name), 1 << 20)
    return channel_verification.verify_channel(raw, name, release.trusted, NOW, last)


def install(release: Release, tmp_path: Path) -> VerifiedPackage:
    """Installs a release as a robot does: channel, tar, package."""
    entry = read(release).entry("pi5-cpu")
    tar = release.store.get(entry.path, entry.size_bytes)
    assert release.store.digest(entry.path, entry.size_bytes) == entry.sha256
    into = tmp_path / "robot" / entry.digest
    shutil.rmtree(into, ignore_errors=True)
    package.unpack_tar(tar, into, entry.size_bytes)
    return verification.verify_package(
        into, release.trusted, NOW, "pi5-cpu", entry.digest
    )


def refused(
    release: Release,
    error: type[Exception],
    call: Callable[[], object],
    match: str | None = None,
) -> None:
    before = objects(release.store)
    with pytest.raises(error, match=match):
        call()
    assert objects(release.store) == before


def test_a_published_package_can_be_installed(
    tmp_path: Path, release: Release, folder: Path
) -> None:
    done = release.publish(folder)
    assert install(release, tmp_path).digest == done.digest
    assert done.release_counter == 1
    assert done.record.previous is None
    assert sorted(objects(release.store)) == [ENVELOPE, PLAIN, done.tar_path]
    assert done.channel_uri == release.store.uri + "/channels/nightly.json"


def test_the_copy_for_people_is_the_signed_payload(
    release: Release, folder: Path
) -> None:
    release.publish(folder)
    envelope = dsse.Envelope.parse(release.store.get(ENVELOPE, 1 << 20))
    assert envelope.payload == release.store.get(PLAIN, 1 << 20)
    value = json.loads(envelope.payload)
    assert (
        value["package"]["pi5-cpu"]["digest"]
        == verification.verify_integrity(folder).digest
    )
    assert value["provenance"]["run_id"] == "run-1"


def test_the_next_release_names_the_previous_one(
    tmp_path: Path, release: Release, folder: Path
) -> None:
    first = release.publish(folder)
    second = release.publish(make(tmp_path / "next", release, "0.2.0"))
    assert second.release_counter == 2
    assert second.record.previous == channel.Previous(1, first.record.sha256)
    assert read(release, last=1).entry("pi5-cpu").digest == second.digest


def test_an_old_package_can_be_published_again_under_a_new_counter(
    tmp_path: Path, release: Release, folder: Path
) -> None:
    first = release.publish(folder)
    release.publish(make(tmp_path / "next", release, "0.2.0"))
    third = release.publish(folder)
    assert (third.release_counter, third.tar_path) == (3, first.tar_path)
    assert install(release, tmp_path).digest == first.digest


def test_a_package_for_a_later_release_raises_the_counter(
    tmp_path: Path, release: Release
) -> None:
    later = make(tmp_path / "later", release, release_counter=40)
    assert release.publish(later).release_counter == 40


def test_a_package_whose_counter_robots_would_not_believe_is_not_published(
    tmp_path: Path, release: Release, folder: Path
) -> None:
    release.publish(folder)
    stolen = make(tmp_path / "stolen", release, release_counter=2**53 - 1)
    refused(release, CounterStepError, lambda: release.publish(stolen), "above 1, got")
    assert release.publish(make(tmp_path / "next", release, "0.2.0")).digest


def test_the_package_of_another_target_stays(
    tmp_path: Path, release: Release, folder: Path
) -> None:
    first = release.publish(folder)
    release.publish(make(tmp_path / "tpu", release, target="tpu"))
    verified = read(release, last=1)
    assert verified.entry("pi5-cpu").digest == first.digest
    assert verified.entry("tpu").digest != first.digest


def test_a_new_blessing_of_the_same_package_keeps_the_old_tar(
    release: Release, folder: Path
) -> None:
    first = release.publish(folder)
    old = release.store.get(first.tar_path, 1 << 30)
    release.bless(folder, reason="again")
    second = release.publish(folder)
    assert second.digest == first.digest
    assert second.tar_path != first.tar_path
    assert release.store.get(first.tar_path, 1 << 30) == old


def publish_with(release: Release, folder: Path, **changes: Any) -> Published:
    arguments = {
        "store": release.store,
        "channel_name": "nightly",
        "package_folder": folder,
        "keys": [release.keys["channel:nightly"]],
        "trusted": release.trusted,
        "now": NOW,
        "expires": tiny_release.EXPIRES,
    }
    return publish.publish(**{**arguments, **changes})


def test_a_release_that_robots_would_refuse_is_never_written(
    tmp_path: Path, release: Release, folder: Path
) -> None:
    release.publish(folder)
    stranger = tiny_release.release(tmp_path / "stranger")
    beta = [release.keys["channel:beta"]]
    cases: tuple[tuple[type[Exception], dict[str, Any]], ...] = (
        (UnknownKeyError, {"keys": [stranger.keys["channel:nightly"]]}),
        (WrongRoleError, {"keys": beta}),
        (RollbackError, {"release_counter": 1}),
        (CounterStepError, {"release_counter": 2 + channel.LARGEST_COUNTER_STEP}),
        (CounterStepError, {"release_counter": 2**53 - 1}),
        (TimeTooFarError, {"expires": NOW + timedelta(days=401)}),
        (ValueError, {"expires": NOW}),
        (UnknownKeyError, {"trusted": stranger.trusted}),
    )
    for error, changes in cases:
        call = functools.partial(publish_with, release, folder, **changes)
        refused(release, error, call)
    release.sign(folder, "refused")
    refused(release, NotBlessedError, lambda: release.publish(folder))
    (folder / package.BLESSING).unlink()
    refused(release, MissingFileError, lambda: release.publish(folder))
    (folder / "weights.safetensors").write_bytes(b"changed")
    with pytest.raises(DigestMismatchError):
        verification.verify_integrity(folder)


def test_a_release_can_follow_an_expired_one(
    tmp_path: Path, release: Release, folder: Path
) -> None:
    release.publish(folder)
    later = tiny_release.EXPIRES + timedelta(days=1)
    with pytest.raises(ExpiredError):
        channel_verification.verify_channel(
            release.store.get(ENVELOPE, 1 << 20),
            "nightly",
            release.trusted,
            later,
            0,
        )
    done = publish_with(release, folder, now=later, expires=later + timedelta(days=30))
    assert done.release_counter == 2


def test_an_untrusted_channel_is_not_replaced(
    tmp_path: Path, release: Release, folder: Path
) -> None:
    stranger = tiny_release.release(tmp_path / "stranger")
    make(tmp_path / "evil", stranger)
    publish_with(
        release,
        tmp_path / "evil",
        keys=[stranger.keys["channel:nightly"]],
        trusted=stranger.trusted,
    )
    refused(release, UnknownKeyError, lambda: release.publish(folder))


class DyingStore(LocalStore):
    """Kills its process before or after a chosen put."""

    def __init__(self, root: Path, puts: int, after: bool) -> None:
        super().__init__(root)
        self.left = puts
        self.after = after

    def put(
        self, path: str, data: bytes, if_generation_match: int | None = None
    ) -> int:
        self.left -= 1
        if self.left == 0 and not self.after:
            os.kill(os.getpid(), signal.SIGKILL)
        generation = super().put(path, data, if_generation_match)
        if self.left == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return generation


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("puts", [1, 2, 3])
def test_a_publisher_killed_at_any_put_leaves_the_channel_whole(
    tmp_path: Path, release: Release, folder: Path, puts: int, after: bool
) -> None:
    first = release.publish(folder)
    new = make(tmp_path / "next", release, "0.2.0")
    new_digest = verification.verify_integrity(new).digest
    store = DyingStore(release.store.root, puts, after)
    process = multiprocessing.get_context("fork").Process(
        target=publish_with, args=(release, new), kwargs={"store": store}
    )
    process.start()
    process.join(timeout=60)
    assert process.exitcode == -signal.SIGKILL
    moved = puts == 3 or (puts == 2 and after)
    assert install(release, tmp_path).digest == (new_digest if moved else first.digest)
    assert read(release).release_counter == (2 if moved else 1)
    again = release.publish(new)
    assert install(release, tmp_path).digest == new_digest == again.digest
    assert release.store.get(PLAIN, 1 << 20) == again.record.encode()


class RacingStore(LocalStore):
    """Lets another publisher write just before a chosen object is put."""

    def __init__(
        self, root: Path, other: Callable[[], object], before: str = ENVELOPE
    ) -> None:
        super().__init__(root)
        self.other: Callable[[], object] | None = other
        self.before = before

    def put(
        self, path: str, data: bytes, if_generation_match: int | None = None
    ) -> int:
        if path == self.before and self.other:
            other, self.other = self.other, None
            other()
        return super().put(path, data, if_generation_match)


def test_when_two_publish_at_once_the_second_fails(
    tmp_path: Path, release: Release, folder: Path
) -> None:
    other = make(tmp_path / "other", release, "0.2.0")
    store = RacingStore(release.store.root, lambda: release.publish(other))
    with pytest.raises(PreconditionFailedError):
        publish_with(release, folder, store=store)
    assert (
        read(release).entry("pi5-cpu").digest
        == verification.verify_integrity(other).digest
    )
    assert release.store.get(PLAIN, 1 << 20) == read(release).record.encode()


def test_a_late_copy_by_an_earlier_publisher_is_replaced(
    tmp_path: Path, release: Release, folder: Path
) -> None:
    first = release.publish(folder)
    new = make(tmp_path / "next", release, "0.2.0")
    late = lambda: release.store.put(PLAIN, first.record.encode())  # noqa: E731
    publish_with(release, new, store=RacingStore(release.store.root, late, PLAIN))
    assert read(release).release_counter == 2
    assert release.store.get(PLAIN, 1 << 20) == read(release).record.encode()


def test_concurrent_publishers_that_retry_leave_no_gap_in_the_counters(
    release: Release, folder: Path
) -> None:
    counters = []

    def work() -> None:
        while True:
            try:
                counters.append(release.publish(folder).release_counter)
            except PreconditionFailedError:
                continue
            return

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(counters) == [1, 2, 3, 4]
    assert release.store.get(PLAIN, 1 << 20) == read(release).record.encode()


def next_envelope(
    release: Release, folder: Path, **changes: Any
) -> tuple[bytes, bytes]:
    """Returns a channel signed elsewhere, on top of the store's current release."""
    tar = package.pack_tar(folder)
    current = read(release)
    entry = channel.PackageEntry(
        channel.tar_path(sha256_bytes(tar)),
        sha256_bytes(tar),
        len(tar),
        verification.verify_integrity(folder).digest,
    )
    fields = {
        **vars(current.record),
        "release_counter": current.release_counter + 1,
        "package": {"pi5-cpu": entry},
        "previous": channel.Previous(current.release_counter, current.sha256),
        **changes,
    }
    payload = channel.Channel(**fields).encode()
    key = release.keys["channel:nightly"]
    return dsse.sign(payload, channel.PAYLOAD_TYPE, [key]), tar


def put_envelope(
    release: Release, envelope: bytes, tars: dict[str, bytes]
) -> VerifiedChannel:
    return publish.publish_envelope(
        release.store, "nightly", envelope, tars, release.trusted, NOW
    )


def test_a_channel_signed_elsewhere_is_published(
    tmp_path: Path, release: Release, folder: Path
) -> None:
    release.publish(folder)
    new = make(tmp_path / "next", release, "0.2.0")
    envelope, tar = next_envelope(release, new)
    put_envelope(release, envelope, {"pi5-cpu": tar})
    assert install(release, tmp_path).manifest.version == "0.2.0"


def test_a_channel_signed_elsewhere_must_follow_the_release_and_name_stored_tars(
    tmp_path: Path, release: Release, folder: Path
) -> None:
    release.publish(folder)
    new = make(tmp_path / "next", release, "0.2.0")
    envelope, tar = next_envelope(release, new)
    refused(release, StoreError, lambda: put_envelope(release, envelope, {}))
    swapped = {"pi5-cpu": tar + b"x"}
    refused(release, StoreError, lambda: put_envelope(release, envelope, swapped))
    orphan, tar = next_envelope(release, new, previous=None)
    tars = {"pi5-cpu": tar}
    refused(release, WrongChannelError, lambda: put_envelope(release, orphan, tars))
    old, tar = next_envelope(release, new, release_counter=1)
    refused(release, RollbackError, lambda: put_envelope(release, old, tars))


def test_a_release_published_to_a_bucket_verifies(tmp_path: Path) -> None:
    with local_bucket.serve():
        publish_and_verify(tmp_path)


def publish_and_verify(tmp_path: Path) -> None:
    store = open_store("gs://bucket/some/prefix")
    release = tiny_release.release(tmp_path)
    tiny_release.write_package(tmp_path / "package")
    release.sign(tmp_path / "package")
    key = release.keys["channel:nightly"]
    done = publish.publish(
        store,
        "nightly",
        tmp_path / "package",
        [key],
        release.trusted,
        tiny_release.NOW,
        tiny_release.EXPIRES,
    )
    raw = store.get(done.envelope_path, 10**6)
    verified = verify_channel(raw, "nightly", release.trusted, tiny_release.NOW, 0)
    entry = verified.entry("pi5-cpu")
    assert store.digest(done.tar_path, entry.size_bytes) == entry.sha256
    assert done.channel_uri == "gs://bucket/some/prefix/channels/nightly.json"
