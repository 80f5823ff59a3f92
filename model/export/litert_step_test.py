"""The int8 step is int8 where it can be; step and fast update agree with the model."""

import dataclasses
import math
from typing import Any

import jax
import numpy as np
import pytest
from ai_edge_litert.interpreter import Interpreter

from model import errors, surfaces
from model.config import WaveCoreConfig
from model.export import agreement, functions, litert_step
from model.learn import fast_update
from model.testing import small_models
from model.testing.episodes import TASKS, episode
from model.wavecore import WaveCore

# Matrices of fewer than 1024 numbers stay f32, so `tiny` has nothing to quantise. The
# other tests of this folder convert a recurrence that does not oscillate.
SIZES = dataclasses.replace(
    small_models.SIZES,
    width=48,
    recurrence_size=48,
    hidden_size=96,
    block_count=1,
    oscillating=True,
)

Steps = tuple[WaveCore, dict[str, bytes]]


@pytest.fixture(scope="module")
def steps() -> Steps:
    model = small_models.random_model(SIZES)
    return model, litert_step.convert(model, learns=True)


def tensors(content: bytes) -> list[dict[str, Any]]:
    interpreter = Interpreter(model_content=content)
    interpreter.allocate_tensors()
    return list(interpreter.get_tensor_details())


def test_every_matrix_of_the_blocks_is_int8_with_a_scale_per_output(
    steps: Steps,
) -> None:
    _, converted = steps
    found = [t for t in tensors(converted["int8"]) if t["dtype"] == np.int8]
    shapes = sorted(tuple(int(n) for n in t["shape"]) for t in found)
    d, f = SIZES.width, SIZES.hidden_size
    # A pair of channels that oscillates shares one gate.
    assert shapes == sorted([(d // 2, d)] + [(d, d)] * 3 + [(f, d)] * 2 + [(d, f)])
    for tensor in found:
        scales = tensor["quantization_parameters"]["scales"]
        assert len(scales) == tensor["shape"][0]
    assert not any(t["dtype"] == np.int8 for t in tensors(converted["f32"]))
    # A number of a matrix takes one byte in the place of four.
    saved = len(converted["f32"]) - len(converted["int8"])
    assert saved > 0.65 * 4 * sum(math.prod(shape) for shape in shapes)


def test_surfaces_are_inputs_of_both_and_stay_f32(steps: Steps) -> None:
    _, converted = steps
    for form in litert_step.FORMS:
        inputs = Interpreter(model_content=converted[form]).get_input_details()
        names = {x["name"].removeprefix("step_").split(":")[0] for x in inputs}
        assert {f"surface_{name}" for name in surfaces.SURFACES} <= names
        assert {x["dtype"] for x in inputs} == {np.float32}


def test_f32_step_agrees_and_int8_step_is_near(steps: Steps) -> None:
    model, converted = steps
    episodes = [episode(), episode("left")]
    exact, near = (
        agreement.measure_step(model, TASKS, litert_step.load(content), episodes)
        for content in (converted["f32"], converted["int8"])
    )
    # Evidence squares errors in units that are drawn here, some of them very small.
    assert exact.step_error <= 1e-3
    assert exact.step_action_error <= 1e-5
    assert exact.free_action_error <= 1e-5
    assert 1e-5 < near.step_action_error < 0.02
    assert near.free_action_mean <= near.free_action_error < 0.05


def check_fast_update(model: WaveCore, content: bytes) -> None:
    """Compares the file with JAX on windows that are learned from, and refused.

    What it finds is near, since its matrices are int8; whether data and deltas are
    sound is exact.
    """
    engine = litert_step.load(content, litert_step.FAST_UPDATE)
    weights, deltas, window = fast_update.inputs(model, functions.FAST_STEPS)
    function = functions.Function(
        fast_update.make(model),
        {"weights": weights, "deltas": deltas, "window": window},
    )
    run = jax.jit(function.run)
    usual = agreement.arguments(model, function, TASKS, [episode()])
    far = {n: np.full_like(x, 3.0) for n, x in usual["deltas"].items()}
    broken = usual["window"] | {"states": usual["window"]["states"] * np.nan}
    for changed, outcome in (
        ({}, None),
        ({"deltas": far}, "repaired"),
        ({"window": broken}, "refused"),
    ):
        given = usual | changed
        ours = functions.flat_names(dict(run(**given)))
        flat = functions.flat_names(
            {"deltas": given["deltas"], "window": given["window"]}
        )
        theirs = engine({n: np.asarray(x, np.float32) for n, x in flat.items()})
        assert theirs.keys() == ours.keys()
        for found in (ours, theirs):
            assert [n for n in ("repaired", "refused") if found[n]] == [outcome] * (
                outcome is not None
            )
        if outcome == "refused":
            for name, x in ours.items():
                np.testing.assert_array_equal(theirs[name], np.asarray(x, np.float32))
        else:
            assert ours["loss_after"] < ours["loss_before"]
            assert theirs["loss_after"] < theirs["loss_before"]
            for name in ("deltas_calibration", "deltas_adapters"):
                mine = np.asarray(ours[name] - given["deltas"][name[7:]]).ravel()
                other = np.asarray(theirs[name] - given["deltas"][name[7:]]).ravel()
                apart = np.linalg.norm(mine - other)
                assert np.linalg.norm(mine) > 1e-4
                assert apart <= 0.2 * np.linalg.norm(mine), name
    states = [np.asarray(episode().steps["observation/state"])]
    lost = agreement.measure_fast_update(engine, run, usual, states)
    assert abs(lost) <= 0.05


def test_fast_update_finds_what_jax_finds(steps: Steps) -> None:
    model, converted = steps
    check_fast_update(model, converted[litert_step.FAST_UPDATE])


def test_fast_update_with_a_wrong_gradient_loses_its_gain(steps: Steps) -> None:
    model, converted = steps
    engine = litert_step.load(converted[litert_step.FAST_UPDATE], "fast_update")
    function = functions.learning(model)["fast_update"]
    given = agreement.arguments(model, function, TASKS, [episode()])
    states = [np.asarray(episode().steps["observation/state"])]

    def measure(share: float) -> float:
        """What is lost where each delta is so many times as long as it should be."""

        def changed(inputs: agreement.Vectors) -> agreement.Vectors:
            found = dict(engine(inputs))
            return found | {
                n: share * x for n, x in found.items() if n.startswith("deltas")
            }

        return agreement.measure_fast_update(changed, run, given, states)

    run = jax.jit(function.run)
    assert measure(1.0) < 0.05
    assert 0.3 < measure(0.5) < 0.7
    assert measure(0.0) == pytest.approx(1.0)
    assert measure(-1.0) > 1.5
    assert measure(np.nan) == np.inf
    assert agreement.measure_fast_update(lambda _: {}, run, given, states) == np.inf


@pytest.mark.long
@pytest.mark.parametrize(
    "sizes", [small_models.SIZES, dataclasses.replace(SIZES, block_count=2)]
)
def test_fast_update_of_another_size_does_too(sizes: WaveCoreConfig) -> None:
    model = small_models.random_model(sizes)
    converted = litert_step.convert(model, learns=True)
    check_fast_update(model, converted[litert_step.FAST_UPDATE])


@pytest.mark.long
def test_f32_step_of_channels_that_share_a_gate_agrees() -> None:
    sizes = dataclasses.replace(small_models.SIZES, channels_per_gate=4)
    model = small_models.random_model(sizes)
    step = functions.step(model)
    given = {n: small_models.numbers(*x.shape) for n, x in step.inputs.items()}
    got = litert_step.load(litert_step.convert(model)["f32"])(given)
    wanted = step.run(**given)
    assert got.keys() == wanted.keys()
    for name, x in got.items():
        np.testing.assert_allclose(x, wanted[name], atol=1e-5, rtol=1e-5, err_msg=name)


def test_failed_conversion_raises_one_line_that_says_what_to_run(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(
        "model.export.litert_step.step_function.config_record", lambda config: {}
    )
    with pytest.raises(
        errors.ExportError, match=r"run python -m model\.export\.convert_step"
    ):
        litert_step.convert(small_models.model())


def test_file_that_is_not_a_model_is_refused() -> None:
    with pytest.raises(errors.ExportError, match="that LiteRT runs"):
        litert_step.load(b"no model")
