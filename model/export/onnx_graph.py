"""Translates a JAX program into an ONNX graph, one or two nodes per primitive.

Only the primitives of WaveCore's step are known; any other is an error that names it,
so a change of the model cannot be exported wrongly without notice. What depends on no
input is computed here and becomes an initializer: transposed matrices, scales,
constants.

Sources: ONNX operators at opset 13, github.com/onnx/onnx/blob/main/docs/Operators.md.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import onnx
from jax.extend import core
from onnx import helper, numpy_helper

from model import errors

OPSET = 13
"""Hailo's maintainers ask for it: github.com/hailo-ai/hailo_model_zoo/issues/95."""

_ELEMENTWISE = {
    "add": "Add",
    "sub": "Sub",
    "mul": "Mul",
    "div": "Div",
    "max": "Max",
    "min": "Min",
    "gt": "Greater",
}
_UNARY = {
    "abs": "Abs",
    "cos": "Cos",
    "exp": "Exp",
    "logistic": "Sigmoid",
    "neg": "Neg",
    "sin": "Sin",
    "sqrt": "Sqrt",
    "tanh": "Tanh",
}
_INSIDE = {
    "jit": "jaxpr",
    "custom_jvp_call": "call_jaxpr",
    "custom_vjp_call": "call_jaxpr",
}
_SAME = ("copy", "stop_gradient")

Value = np.ndarray | str
"""An array that is known at export, or the name of a tensor of the graph."""


class Graph:
    """Nodes and initializers, in the order they were added.

    Attributes:
        nodes: every node so far.
        initializers: every constant so far.
    """

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.initializers: list[onnx.TensorProto] = []

    def add(self, op: str, inputs: Sequence[Value], **attributes: Any) -> str:
        """Adds a node with one output and returns the output's name."""
        return self.add_split(op, inputs, 1, **attributes)[0]

    def add_split(
        self, op: str, inputs: Sequence[Value], count: int, **attributes: Any
    ) -> list[str]:
        """Adds a node with `count` outputs and returns their names."""
        names = [self.tensor(x) for x in inputs]
        outputs = [f"{op}_{len(self.nodes)}_{i}" for i in range(count)]
        self.nodes.append(helper.make_node(op, names, outputs, **attributes))
        return outputs

    def tensor(self, value: Value) -> str:
        """The name of a value; an array becomes an initializer."""
        if isinstance(value, str):
            return value
        name = f"constant_{len(self.initializers)}"
        array = np.ascontiguousarray(value)
        self.initializers.append(numpy_helper.from_array(array, name))
        return name


def translate(
    graph: Graph, program: core.ClosedJaxpr, inputs: list[Value]
) -> list[Value]:
    """Adds a program to the graph and returns its outputs.

    Raises:
        ExportError: the program has a primitive without a translation, or uses one in
            a way that has none.
    """
    known: dict[Any, Value] = dict(
        zip(program.jaxpr.constvars, map(np.asarray, program.consts), strict=True)
    )
    known.update(zip(program.jaxpr.invars, inputs, strict=True))

    def value(atom: Any) -> Value:  # noqa: ANN401 - a variable or a literal of JAX
        return np.asarray(atom.val) if isinstance(atom, core.Literal) else known[atom]

    for equation in program.jaxpr.eqns:
        found = _equation(graph, equation, [value(x) for x in equation.invars])
        known.update(zip(equation.outvars, found, strict=True))
    return [value(x) for x in program.jaxpr.outvars]


def _equation(
    graph: Graph, equation: core.JaxprEqn, inputs: list[Value]
) -> list[Value]:
    name = equation.primitive.name
    if name in _INSIDE:
        inside = equation.params[_INSIDE[name]]
        return translate(graph, inside, inputs)
    if not any(isinstance(x, str) for x in inputs):
        found = equation.primitive.bind(*inputs, **equation.params)
        every = found if equation.primitive.multiple_results else [found]
        return [np.asarray(x) for x in every]
    if name in _SAME:
        return inputs
    if name in _ELEMENTWISE:
        return [graph.add(_ELEMENTWISE[name], inputs)]
    if name in _UNARY:
        return [graph.add(_UNARY[name], inputs)]
    if name not in _SPECIAL:
        raise errors.ExportError(
            "step",
            "primitives that have a translation into ONNX",
            name,
            "add it to model/export/onnx_graph.py",
        )
    return _SPECIAL[name](graph, equation, inputs)


def _dot_general(g: Graph, e: core.JaxprEqn, inputs: list[Value]) -> list[Value]:
    """Rows times a matrix: sums over the last axis of the left, either of the right."""
    (left, right), batch = e.params["dimension_numbers"]
    ranks = [len(x.aval.shape) for x in e.invars]
    if any(batch) or tuple(left) != (ranks[0] - 1,) or ranks[1] != 2 or not ranks[0]:
        raise errors.ExportError(
            "step",
            "products of rows and one matrix",
            f"dimensions {e.params['dimension_numbers']}",
            "add them to model/export/onnx_graph.py",
        )
    b = inputs[1] if right[0] == 0 else _transpose_value(g, inputs[1], (1, 0))
    return [g.add("MatMul", [inputs[0], b])]


def _transpose_value(g: Graph, x: Value, order: Sequence[int]) -> Value:
    if isinstance(x, np.ndarray):
        return x.transpose(order)
    return g.add("Transpose", [x], perm=[int(i) for i in order])


def _transpose(g: Graph, e: core.JaxprEqn, inputs: list[Value]) -> list[Value]:
    return [_transpose_value(g, inputs[0], e.params["permutation"])]


def _reshape(g: Graph, e: core.JaxprEqn, inputs: list[Value]) -> list[Value]:
    """Reshape and squeeze: both only need the shape of the output."""
    return [g.add("Reshape", [inputs[0], _integers(e.outvars[0].aval.shape)])]


def _broadcast(g: Graph, e: core.JaxprEqn, inputs: list[Value]) -> list[Value]:
    """Inserts axes of size one, then expands them to the shape of the output."""
    shape, axes = e.params["shape"], e.params["broadcast_dimensions"]
    sizes = [1] * len(shape)
    for size, axis in zip(e.invars[0].aval.shape, axes, strict=True):
        sizes[int(axis)] = size
    x = g.add("Reshape", [inputs[0], _integers(sizes)])
    if tuple(sizes) == tuple(shape):
        return [x]
    return [g.add("Expand", [x, _integers(shape)])]


def _reduce_sum(g: Graph, e: core.JaxprEqn, inputs: list[Value]) -> list[Value]:
    axes = _integers(e.params["axes"])
    return [g.add("ReduceSum", [inputs[0], axes], keepdims=0)]


def _reduce_max(g: Graph, e: core.JaxprEqn, inputs: list[Value]) -> list[Value]:
    axes = [int(axis) for axis in e.params["axes"]]
    return [g.add("ReduceMax", inputs, axes=axes, keepdims=0)]


def _rsqrt(g: Graph, e: core.JaxprEqn, inputs: list[Value]) -> list[Value]:
    root = g.add("Sqrt", inputs)
    return [g.add("Div", [np.ones((), e.outvars[0].aval.dtype), root])]


def _slice(g: Graph, e: core.JaxprEqn, inputs: list[Value]) -> list[Value]:
    starts, limits = e.params["start_indices"], e.params["limit_indices"]
    strides = e.params["strides"] or (1,) * len(starts)
    ends = (starts, limits, range(len(starts)), strides)
    return [g.add("Slice", [inputs[0], *map(_integers, ends)])]


def _split(g: Graph, e: core.JaxprEqn, inputs: list[Value]) -> list[Value]:
    sizes, axis = e.params["sizes"], int(e.params["axis"])
    split = g.add_split("Split", [inputs[0], _integers(sizes)], len(sizes), axis=axis)
    return list(split)


def _concatenate(g: Graph, e: core.JaxprEqn, inputs: list[Value]) -> list[Value]:
    return [g.add("Concat", inputs, axis=int(e.params["dimension"]))]


def _convert(g: Graph, e: core.JaxprEqn, inputs: list[Value]) -> list[Value]:
    before, after = e.invars[0].aval.dtype, np.dtype(e.params["new_dtype"])
    if before == after:
        return inputs
    return [g.add("Cast", inputs, to=helper.np_dtype_to_tensor_dtype(after))]


def _integers(values: Sequence[int] | range) -> np.ndarray:
    return np.array([int(x) for x in values], np.int64)


_SPECIAL: dict[str, Callable[[Graph, core.JaxprEqn, list[Value]], list[Value]]] = {
    "broadcast_in_dim": _broadcast,
    "concatenate": _concatenate,
    "convert_element_type": _convert,
    "dot_general": _dot_general,
    "reduce_max": _reduce_max,
    "reduce_sum": _reduce_sum,
    "reshape": _reshape,
    "rsqrt": _rsqrt,
    "slice": _slice,
    "split": _split,
    "squeeze": _reshape,
    "transpose": _transpose,
}
