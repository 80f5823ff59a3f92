"""The ONNX step is what the model computes, with static shapes and known operators."""

import dataclasses
import re
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import onnx
import onnxruntime
import pytest

from model import errors
from model.export import functions, onnx_graph, onnx_step
from model.testing import small_models

SEEING = dataclasses.replace(
    small_models.SIZES, image_height=16, image_width=24, image_colours=4, audio_size=5
)
SIZES = {
    "plain": small_models.SIZES,
    "complex recurrence": dataclasses.replace(small_models.SIZES, oscillating=True),
    "shared gates": dataclasses.replace(small_models.SIZES, channels_per_gate=4),
    "camera and sound": SEEING,
}


@pytest.mark.parametrize("name", SIZES)
def test_onnx_step_agrees_with_the_model(name: str) -> None:
    model = small_models.random_model(SIZES[name])
    step = functions.step(model)
    given = {n: small_models.numbers(*x.shape) for n, x in step.inputs.items()}
    wanted, got = step.run(**given), onnx_step.load(onnx_step.convert(model))(given)
    assert wanted.keys() == got.keys()
    for output, x in got.items():
        np.testing.assert_allclose(
            x, wanted[output], atol=1e-5, rtol=1e-5, err_msg=output
        )


def test_shapes_are_static_with_a_batch_of_one_and_flat_surfaces() -> None:
    model = small_models.model()
    graph = onnx.load_from_string(onnx_step.convert(model)).graph
    shapes = {
        x.name: [d.dim_value for d in x.type.tensor_type.shape.dim] for x in graph.input
    }
    assert shapes["observation_state"] == [1, 6]
    assert shapes["carry"] == [1, model.config.step_carry_size]
    sizes = {n: list(x.shape) for n, x in functions.step(model).inputs.items()}
    assert shapes["surface_head"] == sizes["surface_head"]
    assert shapes.keys() == sizes.keys()


def test_docstring_names_every_operator_that_is_used() -> None:
    graph = onnx.load_from_string(onnx_step.convert(small_models.model())).graph
    used = {node.op_type for node in graph.node}
    assert used <= set(re.findall(r"\w+", onnx_step.__doc__))


def test_equal_models_give_equal_bytes() -> None:
    first, second = (onnx_step.convert(small_models.model()) for _ in range(2))
    assert first == second


def test_primitive_without_a_translation_is_refused_by_name() -> None:
    program = jax.make_jaxpr(jnp.cumsum)(np.ones(3, np.float32))
    with pytest.raises(errors.ExportError, match="got cumsum"):
        onnx_graph.translate(onnx_graph.Graph(), program, ["x"])


def test_file_that_is_not_a_model_is_refused() -> None:
    with pytest.raises(errors.ExportError, match="that onnxruntime runs"):
        onnx_step.load(b"no model")


def test_onnxruntime_contains_no_uploader() -> None:
    """Releases from 1.30 on contain an uploader, which is not allowed here."""
    libraries = list(Path(onnxruntime.__file__).parent.rglob("*.so*"))
    assert libraries
    for path in libraries:
        assert b"Applications6Events" not in path.read_bytes(), path
