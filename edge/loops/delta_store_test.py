"""The pointers of a robot's deltas name whole deltas, whatever happens."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from base.digest import is_sha256, sha256_bytes
from base.testing import special_files
from edge.control import local_delta
from edge.control.local_delta import DeltaRecord, Evaluation
from edge.errors import DeltaError
from edge.loops import delta_store
from edge.loops.delta_store import CURRENT, LAST_GOOD, DeltaStore
from release.package import PackageManifest
from release.testing import tiny_release
from release.verification import verify_integrity


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> PackageManifest:
    """A package with one surface, calibration, of size 2 and bound 0.5."""
    folder = tmp_path_factory.mktemp("package")
    tiny_release.write_package(folder)
    return verify_integrity(folder).manifest


@pytest.fixture
def store(tmp_path: Path) -> DeltaStore:
    return DeltaStore(tmp_path / "deltas")


def keep(store: DeltaStore, package: PackageManifest, number: int) -> str:
    """Keeps a delta that has this number; returns its digest."""
    vectors = {"calibration": np.array([number / 1000, 0.0], np.float32)}
    record = DeltaRecord(
        base_package=package.digest,
        parent=None,
        loop="slow",
        consolidations=number,
        created_at="2026-03-04T09:41:12Z",
        tensors_sha256=sha256_bytes(local_delta.encode_vectors(vectors)),
        episodes=(),
        evaluation=Evaluation(4, 0.25, 0.125, 0.97),
        wall_s=12.5,
        processor_s=20.0,
    )
    return store.keep(vectors, record)


def test_new_robot_has_no_delta(store: DeltaStore, package: PackageManifest) -> None:
    assert store.read(CURRENT, package) is None
    assert store.go_back(package) is None
    store.clean()


def test_kept_delta_counts_only_when_a_pointer_names_it(
    store: DeltaStore, package: PackageManifest
) -> None:
    digest = keep(store, package, 1)
    assert store.read(CURRENT, package) is None
    store.point(CURRENT, digest)
    found = store.read(CURRENT, package)
    assert found is not None
    assert found.digest == digest
    assert store.read(LAST_GOOD, package) is None
    assert keep(store, package, 1) == digest


def test_pointer_to_what_was_not_kept_is_refused_and_stays(
    store: DeltaStore, package: PackageManifest
) -> None:
    digest = keep(store, package, 1)
    store.point(CURRENT, digest)
    with pytest.raises(DeltaError, match="keep it before"):
        store.point(CURRENT, "a" * 64)
    assert store.named(CURRENT) == digest


def test_robot_goes_back_to_the_last_good_delta(
    store: DeltaStore, package: PackageManifest
) -> None:
    good, new = keep(store, package, 1), keep(store, package, 2)
    store.point(LAST_GOOD, good)
    store.point(CURRENT, new)
    assert store.go_back(package) == good
    assert store.named(CURRENT) == good


def test_folder_in_the_place_of_a_pointer_is_set_aside_when_the_robot_goes_back(
    store: DeltaStore, package: PackageManifest
) -> None:
    good = keep(store, package, 1)
    store.point(LAST_GOOD, good)
    pointer = store.folder(CURRENT)
    (pointer / "in it").mkdir(parents=True)
    with pytest.raises(DeltaError):
        store.read(CURRENT, package)
    assert store.go_back(package) == good
    assert store.named(CURRENT) == good
    assert pointer.with_name(f"{CURRENT}.damaged").is_dir()


@pytest.mark.parametrize(
    "kind", [kind for kind in special_files.KINDS if kind != "folder"]
)
def test_names_that_lead_to_no_delta_keep_no_robot_from_learning(
    store: DeltaStore, package: PackageManifest, kind: str
) -> None:
    digests = [keep(store, package, number) for number in range(3)]
    store.point(CURRENT, digests[0])
    store.point(LAST_GOOD, digests[1])
    store.set_aside(digests[1])
    quarantine = store.folder(delta_store.QUARANTINE)
    for number in range(delta_store.KEPT + 5):
        special_files.make(store.folder(f"{number:064x}"), kind)
        special_files.make(quarantine / f"{number:064x}", kind)
    with special_files.at_once():
        store.clean()
    found = store.read(CURRENT, package)
    assert found is not None
    assert found.digest == digests[0]
    left = [p for p in store.folder("x").parent.iterdir() if is_sha256(p.name)]
    assert set(left) >= {store.folder(digest) for digest in (digests[0], digests[2])}
    assert len(left) <= delta_store.KEPT + 1
    aside = [path.name for path in quarantine.iterdir() if is_sha256(path.name)]
    assert aside == [digests[1]]
    # A delta of the same digest can be made again.
    special_files.make(store.folder(digests[1]), kind)
    assert keep(store, package, 1) == digests[1]
    store.point(CURRENT, digests[1])
    assert store.read(CURRENT, package) is not None


def test_robot_goes_back_to_none_if_the_last_good_delta_is_torn(
    store: DeltaStore, package: PackageManifest
) -> None:
    good = keep(store, package, 1)
    store.point(LAST_GOOD, good)
    (store.folder(good) / local_delta.TENSORS).write_bytes(b"torn")
    assert store.go_back(package) is None
    assert store.read(CURRENT, package) is None


def test_delta_of_another_package_is_not_driven_with(
    store: DeltaStore, package: PackageManifest
) -> None:
    store.point(CURRENT, keep(store, package, 1))
    other = dataclasses.replace(package, digest="b" * 64)
    with pytest.raises(DeltaError, match="a delta of package"):
        store.read(CURRENT, other)
    assert store.go_back(other) is None


@pytest.mark.parametrize("raw", [b"", b"{}", b"[" * 1000, b'{"digest":"x"}', b"\xff"])
def test_damaged_pointer_is_one_error_and_going_back_mends_it(
    store: DeltaStore, package: PackageManifest, raw: bytes
) -> None:
    good = keep(store, package, 1)
    store.point(LAST_GOOD, good)
    store.folder(CURRENT).write_bytes(raw)
    with pytest.raises(DeltaError, match="drives without a delta"):
        store.read(CURRENT, package)
    assert store.go_back(package) == good


def test_quarantined_delta_is_named_by_no_pointer_and_stays_to_be_looked_at(
    store: DeltaStore, package: PackageManifest
) -> None:
    digest = keep(store, package, 1)
    store.point(CURRENT, digest)
    store.point(LAST_GOOD, digest)
    store.set_aside(digest)
    assert store.named(CURRENT) is None
    assert store.named(LAST_GOOD) is None
    aside = store.folder(delta_store.QUARANTINE) / digest
    assert (aside / local_delta.TENSORS).exists()
    store.set_aside(digest)


def test_old_deltas_go_but_never_one_that_a_pointer_names(
    store: DeltaStore, package: PackageManifest
) -> None:
    first = keep(store, package, 0)
    store.point(LAST_GOOD, first)
    for number in range(1, delta_store.KEPT + 10):
        keep(store, package, number)
    store.clean()
    left = [p.name for p in store.folder(".").iterdir() if len(p.name) == 64]
    assert len(left) == delta_store.KEPT + 1
    assert first in left


def test_leftovers_of_a_cut_are_removed(
    store: DeltaStore, package: PackageManifest
) -> None:
    digest = keep(store, package, 1)
    (store.folder(".tmp-cut")).mkdir()
    (store.folder(".tmp-cut") / local_delta.TENSORS).write_bytes(b"half")
    store.clean()
    assert [p.name for p in store.folder(".").iterdir()] == [digest]
