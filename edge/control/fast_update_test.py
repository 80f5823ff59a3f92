"""A fast update is run as the package has it, and a file that is none is refused."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from edge.control import fast_update
from edge.control.fast_update import FastUpdate
from edge.errors import DeltaError, StepFunctionError
from edge.testing import tiny_fast_update, tiny_package, tiny_step
from edge.testing.tiny_fast_update import STEPS
from edge.testing.tiny_step import TinyStep
from release.learning_plan import Calls, LearningPlan
from release.package import PackageManifest
from release.verification import verify_integrity

TINY = TinyStep(tiny_package.STATE_SIZE, tiny_package.ACTION_SIZE, 2, seed=0)
Window = dict[str, np.ndarray]


@pytest.fixture
def package(tmp_path: Path) -> PackageManifest:
    tiny_package.write_package(tmp_path / "p", fast=True)
    return verify_integrity(tmp_path / "p").manifest


def load(package: PackageManifest, content: bytes | None = None) -> FastUpdate:
    content = tiny_fast_update.build(TINY) if content is None else content
    return FastUpdate(content, package, "fast.tflite")


def deltas() -> dict[str, np.ndarray]:
    return {
        name.removeprefix("surface_"): np.zeros_like(x)
        for name, x in TINY.surfaces().items()
    }


def window(scale: float = 0.01) -> Window:
    random = np.random.default_rng(3)
    shape = (STEPS + 1, TINY.state_size)
    return {
        "states": (scale * random.standard_normal(shape)).astype(np.float32),
        "task": np.tile(np.eye(2, dtype=np.float32)[0], (STEPS, 1)),
        "starts": np.zeros(STEPS, np.float32),
        "weight": np.ones(STEPS, np.float32),
        "carry": np.zeros(TINY.state_size, np.float32),
    }


def test_update_computes_what_its_file_says(package: PackageManifest) -> None:
    update, given = load(package), window()
    assert (update.steps, update.surfaces) == (STEPS, ("calibration",))
    assert update.took_ns > 0
    present = deltas() | {"calibration": np.full(39, 0.05, np.float32)}
    found = update(present, given)
    wanted, loss = tiny_fast_update.expected_delta(
        TINY, present["calibration"], given["states"]
    )
    np.testing.assert_allclose(found.deltas["calibration"], wanted, atol=1e-6)
    assert found.loss_before == pytest.approx(loss, rel=1e-5)
    assert found.changed
    assert not found.refused


def test_delta_beyond_its_bound_is_an_error(package: PackageManifest) -> None:
    with pytest.raises(DeltaError, match="calibration within its bound of 1"):
        load(package)(deltas(), window(scale=100.0))


def test_window_that_is_not_finite_is_an_error(package: PackageManifest) -> None:
    given = window()
    given["states"][-1, 5] = np.nan
    with pytest.raises(DeltaError, match="a length of nan"):
        load(package)(deltas(), given)


def test_window_of_another_size_is_refused_by_name(package: PackageManifest) -> None:
    given = window()
    given["carry"] = given["carry"][:-1]
    with pytest.raises(StepFunctionError, match="window_carry of shape"):
        load(package)(deltas(), given)


@pytest.mark.parametrize(
    "content",
    [
        b"no model",
        tiny_step.build(TINY),
        tiny_fast_update.build(dataclasses.replace(TINY, state_size=38)),
        tiny_fast_update.build(dataclasses.replace(TINY, tasks=3)),
    ],
)
def test_file_that_is_no_fast_update_of_this_package_is_refused(
    package: PackageManifest, content: bytes
) -> None:
    with pytest.raises(StepFunctionError, match=r"fast\.tflite: expected"):
        load(package, content)


def test_only_a_loop_of_one_call_that_control_can_make_is_found(
    package: PackageManifest,
) -> None:
    one = Calls("fast_update", 1)
    for loops, found in (
        ({"fast": (one,)}, "fast_update_litert"),
        ({"fast": (one, one)}, None),
        ({"fast": (Calls("fast_update", 2),)}, None),
        ({"fast": (Calls("step", 1),)}, None),
        ({"slow": (one,)}, None),
    ):
        plan = LearningPlan(loops, 1)
        changed = dataclasses.replace(package, learning=plan)
        assert fast_update.find_function(changed) == found
    assert (
        fast_update.find_function(dataclasses.replace(package, learning=None)) is None
    )
