"""A delta is read whole, for its own package and in its bounds, or not at all."""

import dataclasses
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from base.digest import sha256_bytes
from edge.control import local_delta
from edge.control.local_delta import DeltaRecord, Evaluation
from edge.errors import DeltaError
from release.package import PackageManifest, SurfaceSpec
from release.testing import tiny_release
from release.verification import verify_integrity

Write = Callable[..., Path]


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> PackageManifest:
    """A package with one surface, calibration, of size 2 and bound 0.5."""
    folder = tmp_path_factory.mktemp("package")
    tiny_release.write_package(folder)
    return verify_integrity(folder).manifest


def write(
    root: Path, base: str, vectors: dict[str, np.ndarray], **different: Any
) -> Path:
    """Writes a delta of these vectors; returns its folder."""
    content = local_delta.encode_vectors(vectors)
    record = DeltaRecord(
        base_package=base,
        parent=None,
        loop="slow",
        consolidations=3,
        created_at="2026-03-04T09:41:12Z",
        tensors_sha256=sha256_bytes(content),
        episodes=("0" * 64,),
        evaluation=Evaluation(4, 0.25, 0.125, 0.97),
        wall_s=12.5,
        processor_s=20.0,
    )
    raw = dataclasses.replace(record, **different).encode()
    folder = root / sha256_bytes(raw)
    folder.mkdir()
    (folder / local_delta.RECORD).write_bytes(raw)
    (folder / local_delta.TENSORS).write_bytes(content)
    return folder


GOOD = {"calibration": np.array([0.1, -0.2], np.float32)}


def test_delta_is_read_as_it_was_written(
    tmp_path: Path, package: PackageManifest
) -> None:
    folder = write(tmp_path, package.digest, GOOD)
    delta = local_delta.read(folder, package)
    assert delta.digest == folder.name
    assert delta.record.evaluation.confidence == 0.97
    assert delta.record.parent is None
    np.testing.assert_array_equal(delta.vectors["calibration"], GOOD["calibration"])


def test_delta_of_another_package_is_refused(
    tmp_path: Path, package: PackageManifest
) -> None:
    folder = write(tmp_path, "a" * 64, GOOD)
    with pytest.raises(DeltaError, match="a delta of package"):
        local_delta.read(folder, package)


def test_record_says_which_surfaces_changed_in_how_many_steps_and_what_was_found(
    tmp_path: Path, package: PackageManifest
) -> None:
    more = {"surfaces": ("calibration",), "steps": 920, "found": {"gain_0": 0.82}}
    folder = write(tmp_path, package.digest, GOOD, **more)
    record = local_delta.read(folder, package).record
    assert {name: getattr(record, name) for name in more} == more
    assert json.loads((folder / local_delta.RECORD).read_bytes())["steps"] == 920


def test_delta_of_an_older_runtime_that_does_not_say_them_still_loads(
    tmp_path: Path, package: PackageManifest
) -> None:
    folder = write(tmp_path, package.digest, GOOD)
    written = json.loads((folder / local_delta.RECORD).read_bytes())
    assert not {"surfaces", "steps", "found"} & written.keys()
    record = local_delta.read(folder, package).record
    assert (record.surfaces, record.steps, record.found) == (None, None, {})


@pytest.mark.parametrize("surfaces", [(), ("calibration", "head")])
def test_delta_that_changes_other_surfaces_than_it_says_is_refused(
    tmp_path: Path, package: PackageManifest, surfaces: tuple[str, ...]
) -> None:
    folder = write(tmp_path, package.digest, GOOD, surfaces=surfaces)
    with pytest.raises(DeltaError, match="as its record says"):
        local_delta.read(folder, package)


@pytest.mark.parametrize(
    ("vector", "message"),
    [
        ([0.5, 0.1], "within its bound of 0.5"),
        ([np.nan, 0.0], "within its bound"),
        ([np.inf, 0.0], "within its bound"),
        ([3e38, 3e38], "within its bound"),
        ([0.1], r"float32\[2\]"),
        ([0.1, 0.1, 0.1], r"float32\[2\]"),
    ],
)
def test_vector_that_is_too_long_or_of_another_size_is_refused(
    tmp_path: Path, package: PackageManifest, vector: list[float], message: str
) -> None:
    wrong = {"calibration": np.array(vector, np.float32)}
    folder = write(tmp_path, package.digest, wrong)
    with pytest.raises(DeltaError, match=message):
        local_delta.read(folder, package)


@pytest.mark.parametrize("wrong", [{}, GOOD | {"head": GOOD["calibration"]}])
def test_missing_or_unknown_surface_is_refused(
    tmp_path: Path, package: PackageManifest, wrong: dict[str, np.ndarray]
) -> None:
    folder = write(tmp_path, package.digest, wrong)
    with pytest.raises(DeltaError, match="the surfaces"):
        local_delta.read(folder, package)


def test_vectors_of_another_type_are_refused(
    tmp_path: Path, package: PackageManifest
) -> None:
    wrong = {"calibration": np.array([0.1, 0.1], np.float64)}
    with pytest.raises(DeltaError, match="float64"):
        local_delta.read(write(tmp_path, package.digest, wrong), package)


def test_vector_on_its_bound_is_accepted(
    tmp_path: Path, package: PackageManifest
) -> None:
    edge = {"calibration": np.array([0.3, 0.4], np.float32)}
    local_delta.read(write(tmp_path, package.digest, edge), package)


def test_long_vector_is_checked_by_the_thread_that_asks_alone() -> None:
    """A real-time thread that waits for one of ordinary priority may wait a second."""
    vectors = {"adapters": np.full(100_000, 1e-3, np.float32)}
    surfaces = {"adapters": SurfaceSpec(size=100_000, bound=1.0)}
    before_s = time.process_time() - time.thread_time()
    begin_s = time.thread_time()
    while time.thread_time() - begin_s < 0.2:
        local_delta.check_bounds(vectors, surfaces, "a test")
    others_s = time.process_time() - time.thread_time() - before_s
    assert others_s < 0.1  # as much as this thread's, if BLAS computed the length


@pytest.mark.parametrize("name", [local_delta.RECORD, local_delta.TENSORS])
def test_torn_or_absent_file_is_refused(
    tmp_path: Path, package: PackageManifest, name: str
) -> None:
    folder = write(tmp_path, package.digest, GOOD)
    whole = (folder / name).read_bytes()
    for length in range(len(whole)):
        (folder / name).write_bytes(whole[:length])
        with pytest.raises(DeltaError):
            local_delta.read(folder, package)
    (folder / name).unlink()
    with pytest.raises(DeltaError, match="a whole delta"):
        local_delta.read(folder, package)


@settings(max_examples=200, deadline=None)
@given(data=st.data())
def test_any_changed_byte_is_noticed(
    tmp_path_factory: pytest.TempPathFactory,
    package: PackageManifest,
    data: st.DataObject,
) -> None:
    folder = write(tmp_path_factory.mktemp("deltas"), package.digest, GOOD)
    name = data.draw(st.sampled_from([local_delta.RECORD, local_delta.TENSORS]))
    content = bytearray((folder / name).read_bytes())
    content[data.draw(st.integers(0, len(content) - 1))] ^= data.draw(
        st.integers(1, 255)
    )
    (folder / name).write_bytes(content)
    with pytest.raises(DeltaError):
        local_delta.read(folder, package)
