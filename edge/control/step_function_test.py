import dataclasses

import flatbuffers  # type: ignore[import-untyped]  # no stubs
import numpy as np
import pytest
from ai_edge_litert import (
    schema_py_generated as schema,
)

from edge import errors
from edge.control.step_function import SOUND, StepFunction
from edge.testing import tiny_step
from edge.testing.tiny_step import TinyStep

TINY = TinyStep(state_size=39, action_size=4, tasks=5)


def load(
    surfaces: dict[str, np.ndarray] | None = None, content: bytes | None = None
) -> StepFunction:
    return StepFunction(
        tiny_step.build(TINY) if content is None else content,
        TINY.surfaces() if surfaces is None else surfaces,
        "step.tflite",
    )


def test_step_computes_the_same_as_numpy_over_an_episode() -> None:
    step = load()
    random = np.random.default_rng(0)
    task = np.eye(5, dtype=np.float32)[2]
    carry = expected_carry = np.zeros(39, np.float32)
    for _ in range(20):
        state = random.standard_normal(39).astype(np.float32)
        action, seen, carry = step(state, task, carry)
        expected = tiny_step.expected_step(TINY, state, task, expected_carry)
        expected_carry = expected[2]
        for got, wanted in zip((action, seen, carry), expected, strict=True):
            np.testing.assert_allclose(got, wanted, atol=1e-5)


def test_surfaces_that_are_replaced_hold_from_the_next_call_on() -> None:
    step = load()
    inputs = np.ones(39, np.float32), np.zeros(5, np.float32), np.ones(39, np.float32)
    first = step(*inputs)[0]
    changed = TINY.surfaces()["surface_head"] + np.float32(0.5)
    step.set_surfaces({"surface_head": changed})
    for _ in range(2):
        np.testing.assert_allclose(step(*inputs)[0], first + 0.5, atol=1e-6)


@pytest.mark.parametrize(
    ("name", "value", "match"),
    [
        ("surface_wings", np.zeros(4, np.float32), "surface_wings"),
        ("surface_head", np.zeros(5, np.float32), r"float32\[4\]"),
        ("surface_head", np.zeros(4), r"float64\[4\]"),
        ("surface_head", np.full(4, np.nan, np.float32), "NaN or infinity"),
    ],
)
def test_surface_that_does_not_fit_is_refused_and_none_is_replaced(
    name: str, value: np.ndarray, match: str
) -> None:
    step = load()
    inputs = np.ones(39, np.float32), np.zeros(5, np.float32), np.ones(39, np.float32)
    before = step(*inputs)[0]
    with pytest.raises(errors.StepFunctionError, match=match):
        step.set_surfaces({"surface_calibration": np.ones(39, np.float32), name: value})
    np.testing.assert_array_equal(step(*inputs)[0], before)


def test_next_call_does_not_change_earlier_results() -> None:
    step = load()
    zeros = np.zeros(39, np.float32), np.zeros(5, np.float32), np.zeros(39, np.float32)
    first = step(*zeros)
    kept = [value.copy() for value in first]
    step(np.ones(39, np.float32), zeros[1], np.ones(39, np.float32))
    for value, copy in zip(first, kept, strict=True):
        np.testing.assert_array_equal(value, copy)


def test_sizes_are_read_from_the_file() -> None:
    step = load()
    assert step.input_sizes["observation_state"] == 39
    assert step.input_sizes["task"] == 5
    assert step.output_sizes == {"action": 4, "next_observation": 39, "carry": 39}


@pytest.mark.parametrize("content", [b"", b"x" * 100, tiny_step.build(TINY)[:500]])
def test_file_that_is_not_a_model_is_refused(content: bytes) -> None:
    with pytest.raises(errors.StepFunctionError, match="expected a LiteRT model"):
        load(content=content)


def test_missing_surface_is_refused() -> None:
    surfaces = TINY.surfaces()
    surfaces.pop("surface_head")
    with pytest.raises(errors.StepFunctionError, match="expected surfaces"):
        load(surfaces)


def test_unknown_surface_is_refused() -> None:
    surfaces = {**TINY.surfaces(), "surface_backbone": np.zeros(4, np.float32)}
    with pytest.raises(errors.StepFunctionError, match="surface_backbone"):
        load(surfaces)


@pytest.mark.parametrize(
    "head",
    [np.zeros(5, np.float32), np.zeros(4, np.float64), np.full(4, np.nan, np.float32)],
)
def test_surface_of_the_wrong_size_or_type_or_not_finite_is_refused(
    head: np.ndarray,
) -> None:
    with pytest.raises(errors.StepFunctionError, match="surface_head"):
        load({**TINY.surfaces(), "surface_head": head})


@pytest.mark.parametrize("bands", [3, 8])
def test_step_that_reads_sound_gets_it(bands: int) -> None:
    tiny = dataclasses.replace(TINY, sound_size=bands)
    step = load(content=tiny_step.build(tiny))
    assert step.input_sizes[SOUND] == bands
    state, task = np.ones(39, np.float32), np.eye(5, dtype=np.float32)[2]
    carry, sound = np.ones(39, np.float32), np.arange(bands, dtype=np.float32)
    action, _, _ = step(state, task, carry, {SOUND: sound})
    expected, _, _ = tiny_step.expected_step(tiny, state, task, carry, sound)
    np.testing.assert_allclose(action, expected, atol=1e-5)


def test_step_that_reads_what_nobody_gives_is_refused() -> None:
    content = tiny_step.build(dataclasses.replace(TINY, sound_size=3))
    smelling = content.replace(b"observation_audio_mel", b"observation_smell_mel")
    with pytest.raises(errors.StepFunctionError, match="observation_smell_mel"):
        load(content=smelling)


def test_observation_of_the_wrong_size_is_refused_with_both_sizes() -> None:
    step = load()
    with pytest.raises(errors.StepFunctionError, match=r"39.*got.*\(38,\)"):
        step(
            np.zeros(38, np.float32), np.zeros(5, np.float32), np.zeros(39, np.float32)
        )


@pytest.mark.parametrize("index", [None, 9999])
def test_signature_that_names_a_tensor_that_is_no_input_is_refused(
    index: int | None,
) -> None:
    """The runtime loads such a model; None stands for a tensor inside the graph."""
    raw = tiny_step.build(TINY)
    model = schema.ModelT.InitFromObj(schema.Model.GetRootAs(raw))
    tensors = model.signatureDefs[0].inputs
    used = {tensor.tensorIndex for tensor in tensors}
    tensors[0].tensorIndex = max(used) + 2 if index is None else index
    builder = flatbuffers.Builder(1024)
    builder.Finish(model.Pack(builder), file_identifier=b"TFL3")
    with pytest.raises(errors.StepFunctionError, match=r"step\.tflite: expected"):
        load(content=bytes(builder.Output()))
