"""The control step as ONNX, the documented input of Hailo's dataflow compiler.

Batch of one, static shapes, every vector [1 n] except the surfaces, which stay flat
[s]. The compiler itself is not run here: it has its own licence, and its guide lists
what it accepts per version and chip. This file follows its public notes: one static
batch, opset 13, and no computed shapes. In a product of a vector with a surface both
factors are inputs, which a chip that stores weights may refuse; in that case make the
surfaces initializers (`onnx.utils.extract_model` can also cut the graph elsewhere), and
then a robot needs the compiler to adapt.

Operators: Abs, Add, Concat, Div, Exp, Identity, MatMul, Max, Min, Mul, ReduceMax,
ReduceSum, Reshape, Sigmoid, Slice, Split, Sqrt, Sub, Tanh, Transpose; Cos and Sin for a
complex recurrence; Cast and Greater for senses.
"""

import jax
import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, checker, helper

from model import errors, step_function
from model.export import functions
from model.export.agreement import Engine, Vectors
from model.export.onnx_graph import OPSET, Graph, translate
from model.wavecore import WaveCore


def convert(model: WaveCore) -> bytes:
    """Makes the ONNX file of a model's step.

    Raises:
        ExportError: the step has an operation without a translation, or the result is
            not a valid ONNX model.
    """
    step = functions.step(model)
    batched = {n: (*_batch(n), *x.shape) for n, x in step.inputs.items()}
    axes = ({name: 0 if _batch(name) else None for name in batched},)
    shapes = {n: jax.ShapeDtypeStruct(s, np.float32) for n, s in batched.items()}
    with jax.default_matmul_precision("highest"):
        run = jax.vmap(lambda inputs: step.run(**inputs), in_axes=axes)
        program, outputs = jax.make_jaxpr(run, return_shape=True)(shapes)
    graph = Graph()
    # Both are sorted by name, as JAX sorts the keys of a dictionary.
    found = translate(graph, program, sorted(batched))
    for name, value in zip(sorted(outputs), found, strict=True):
        node = helper.make_node("Identity", [graph.tensor(value)], [name])
        graph.nodes.append(node)
    content = helper.make_model(
        helper.make_graph(
            graph.nodes,
            "step",
            [_info(name, shape) for name, shape in batched.items()],
            [_info(name, x.shape) for name, x in outputs.items()],
            graph.initializers,
        ),
        opset_imports=[helper.make_opsetid("", OPSET)],
        ir_version=7,
        producer_name="continuonbrain",
    )
    try:
        checker.check_model(content, full_check=True)
    except Exception as e:
        raise errors.ExportError(
            "step",
            "a valid ONNX model",
            " ".join(str(e).split())[:300],
            "correct model/export/onnx_graph.py",
        ) from e
    return bytes(content.SerializeToString(deterministic=True))


def load(content: bytes) -> Engine:
    """Loads the step of a file into onnxruntime, one CPU thread; vectors are [n].

    Raises:
        ExportError: the runtime refuses the file.
    """
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    try:
        session = onnxruntime.InferenceSession(
            content, options, providers=["CPUExecutionProvider"]
        )
    except Exception as e:
        raise errors.ExportError(
            "step",
            "a file that onnxruntime runs",
            " ".join(str(e).split())[:300],
            "correct model/export/onnx_graph.py",
        ) from e
    names = [output.name for output in session.get_outputs()]

    def run(inputs: Vectors) -> Vectors:
        batched = {n: x.reshape(*_batch(n), *x.shape) for n, x in inputs.items()}
        found = session.run(names, batched)
        return {name: x[0] for name, x in zip(names, found, strict=True)}

    return run


def _batch(name: str) -> tuple[int, ...]:
    return () if name.startswith(step_function.SURFACE_PREFIX) else (1,)


def _info(name: str, shape: tuple[int, ...]) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)
