"""A control step small enough to write by hand, for tests.

    corrected        = observation_state + surface_calibration
    action           = W corrected + U task + V carry + surface_head + S sound + I image
    next_observation = corrected
    carry            = DECAY * carry + corrected + surface_skill_memory

W, U, V, S and I are drawn from a seed, so that two builds give the same bytes.
`expected_step` computes the same with NumPy.
"""

import dataclasses
from typing import Final

import flatbuffers  # type: ignore[import-untyped]  # no stubs
import numpy as np
from ai_edge_litert import (
    schema_py_generated as schema,
)

DECAY: Final = 0.5
SURFACE_PREFIX: Final = "surface_"


@dataclasses.dataclass(frozen=True)
class TinyStep:
    """Sizes and seed of a tiny step; `carry` has the size of the state.

    With `sound_size` the step also has an input for sound, and with `image_size` one
    for the frames of cameras.
    """

    state_size: int
    action_size: int
    tasks: int
    seed: int = 0
    gain: float = 0.1
    sound_size: int = 0
    image_size: int = 0

    def matrices(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Returns W [A N], U [A K] and V [A N]."""
        random = np.random.default_rng(self.seed)

        def draw(columns: int) -> np.ndarray:
            shape = (self.action_size, columns)
            return (self.gain * random.standard_normal(shape)).astype(np.float32)

        return draw(self.state_size), draw(self.tasks), draw(self.state_size)

    def sound_matrix(self) -> np.ndarray:
        """Returns S [A U]."""
        random = np.random.default_rng(self.seed + 2)
        drawn = random.standard_normal((self.action_size, self.sound_size))
        return (self.gain * drawn).astype(np.float32)

    def image_matrix(self) -> np.ndarray:
        """Returns I [A P], for pixels from 0 to 255."""
        random = np.random.default_rng(self.seed + 3)
        drawn = random.standard_normal((self.action_size, self.image_size))
        return (self.gain / 255.0 * drawn).astype(np.float32)

    def surfaces(self) -> dict[str, np.ndarray]:
        """Returns the initial surfaces by input name."""
        random = np.random.default_rng(self.seed + 1)

        def draw(size: int) -> np.ndarray:
            return (self.gain * random.standard_normal(size)).astype(np.float32)

        return {
            "surface_calibration": draw(self.state_size),
            "surface_head": draw(self.action_size),
            "surface_skill_memory": draw(self.state_size),
        }


def expected_step(
    step: TinyStep,
    state: np.ndarray,
    task: np.ndarray,
    carry: np.ndarray,
    sound: np.ndarray | None = None,
    image: np.ndarray | None = None,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Computes (action, next_observation, carry) without LiteRT."""
    w, u, v = step.matrices()
    surfaces = step.surfaces()
    corrected = state + surfaces["surface_calibration"]
    action = w @ corrected + u @ task + v @ carry + surfaces["surface_head"]
    if sound is not None:
        action = action + step.sound_matrix() @ sound
    if image is not None:
        action = action + step.image_matrix() @ image
    return (
        action,
        corrected,
        DECAY * carry + corrected + surfaces["surface_skill_memory"],
    )


def build(step: TinyStep) -> bytes:
    """Returns the LiteRT flatbuffer of the step."""
    graph = Graph()
    n, a, k = step.state_size, step.action_size, step.tasks
    w, u, v = step.matrices()
    state = graph.input("observation_state", n)
    task = graph.input("task", k)
    carry = graph.input("carry", n)
    calibration = graph.input("surface_calibration", n)
    head = graph.input("surface_head", a)
    memory = graph.input("surface_skill_memory", n)
    corrected = graph.add(state, calibration, n)
    action = graph.add(
        graph.add(graph.product(w, corrected), graph.product(u, task), a),
        graph.add(graph.product(v, carry), head, a),
        a,
    )
    if step.sound_size:
        sound = graph.input("observation_audio_mel", step.sound_size)
        action = graph.add(action, graph.product(step.sound_matrix(), sound), a)
    if step.image_size:
        image = graph.input("observation_image", step.image_size)
        action = graph.add(action, graph.product(step.image_matrix(), image), a)
    kept = graph.multiply(carry, graph.constant(np.full(n, DECAY, np.float32)), n)
    next_carry = graph.add(kept, graph.add(corrected, memory, n), n)
    outputs = {
        "action": action,
        "next_observation": corrected,
        "carry": next_carry,
    }
    return graph.serialise(outputs)


class Graph:
    """The few operators that the tiny functions need."""

    def __init__(self) -> None:
        self._tensors: list[object] = []
        self._buffers: list[object] = [_buffer(None)]
        self._operators: list[object] = []
        self._codes: list[int] = []
        self._inputs: dict[str, int] = {}

    def input(self, name: str, *shape: int) -> int:
        """An input of the function."""
        self._inputs[name] = self._tensor(name, list(shape), 0)
        return self._inputs[name]

    def constant(self, value: np.ndarray) -> int:
        """An array that is part of the file."""
        self._buffers.append(_buffer(value.tobytes()))
        dtype = schema.TensorType.INT32 if value.dtype == np.int32 else None
        return self._tensor(
            f"constant_{len(self._buffers)}",
            list(value.shape),
            len(self._buffers) - 1,
            dtype,
        )

    def add(self, x: int, y: int, *shape: int) -> int:
        """Sum of two arrays of this shape."""
        options = schema.AddOptionsT()
        return self._operator(
            schema.BuiltinOperator.ADD,
            [x, y],
            list(shape),
            schema.BuiltinOptions.AddOptions,
            options,
        )

    def multiply(self, x: int, y: int, *shape: int) -> int:
        """Product of two arrays of this shape, number by number."""
        options = schema.MulOptionsT()
        return self._operator(
            schema.BuiltinOperator.MUL,
            [x, y],
            list(shape),
            schema.BuiltinOptions.MulOptions,
            options,
        )

    def product(self, matrix: np.ndarray, vector: int) -> int:
        """The vector `matrix @ vector`."""
        rows, columns = matrix.shape
        row = self._reshape(vector, [1, columns])
        options = schema.FullyConnectedOptionsT()
        column = self._operator(
            schema.BuiltinOperator.FULLY_CONNECTED,
            [row, self.constant(matrix), -1],
            [1, rows],
            schema.BuiltinOptions.FullyConnectedOptions,
            options,
        )
        return self._reshape(column, [rows])

    def matrix_product(self, row: int, matrix: int, columns: int) -> int:
        """The vector `row @ matrix` of a row [1 r] and a matrix [r columns]."""
        product = self._operator(
            schema.BuiltinOperator.BATCH_MATMUL,
            [row, matrix],
            [1, columns],
            schema.BuiltinOptions.BatchMatMulOptions,
            schema.BatchMatMulOptionsT(),
        )
        return self._reshape(product, [columns])

    def number(self, vector: int) -> int:
        """The only number of a vector, without an axis."""
        return self._reshape(vector, [])

    def serialise(self, outputs: dict[str, int], name: str = "step") -> bytes:
        """The file: its one function takes the inputs and returns `outputs`."""
        graph = schema.SubGraphT()
        graph.tensors = self._tensors
        graph.operators = self._operators
        graph.inputs = list(self._inputs.values())
        graph.outputs = list(outputs.values())
        graph.name = name.encode()
        signature = schema.SignatureDefT()
        signature.signatureKey = name.encode()
        signature.subgraphIndex = 0
        signature.inputs = [_tensor_map(n, i) for n, i in self._inputs.items()]
        signature.outputs = [_tensor_map(n, i) for n, i in outputs.items()]
        model = schema.ModelT()
        model.version = 3
        model.subgraphs = [graph]
        model.buffers = self._buffers
        model.signatureDefs = [signature]
        model.operatorCodes = [_operator_code(code) for code in self._codes]
        builder = flatbuffers.Builder(1024)
        builder.Finish(model.Pack(builder), file_identifier=b"TFL3")
        return bytes(builder.Output())

    def _reshape(self, tensor: int, shape: list[int]) -> int:
        options = schema.ReshapeOptionsT()
        options.newShape = shape
        return self._operator(
            schema.BuiltinOperator.RESHAPE,
            [tensor, self.constant(np.array(shape, np.int32))],
            shape,
            schema.BuiltinOptions.ReshapeOptions,
            options,
        )

    def _tensor(
        self, name: str, shape: list[int], buffer: int, dtype: int | None = None
    ) -> int:
        tensor = schema.TensorT()
        tensor.name = name.encode()
        tensor.shape = shape
        tensor.type = schema.TensorType.FLOAT32 if dtype is None else dtype
        tensor.buffer = buffer
        self._tensors.append(tensor)
        return len(self._tensors) - 1

    def _operator(
        self,
        code: int,
        inputs: list[int],
        shape: list[int],
        options_type: int,
        options: object,
    ) -> int:
        if code not in self._codes:
            self._codes.append(code)
        output = self._tensor(f"value_{len(self._tensors)}", shape, 0)
        operator = schema.OperatorT()
        operator.opcodeIndex = self._codes.index(code)
        operator.inputs = inputs
        operator.outputs = [output]
        operator.builtinOptionsType = options_type
        operator.builtinOptions = options
        self._operators.append(operator)
        return output


def _buffer(data: bytes | None) -> object:
    buffer = schema.BufferT()
    buffer.data = None if data is None else np.frombuffer(data, np.uint8)
    return buffer


def _tensor_map(name: str, index: int) -> object:
    entry = schema.TensorMapT()
    entry.name = name.encode()
    entry.tensorIndex = index
    return entry


def _operator_code(code: int) -> object:
    operator_code = schema.OperatorCodeT()
    operator_code.builtinCode = code
    operator_code.deprecatedBuiltinCode = code
    operator_code.version = 1
    return operator_code
