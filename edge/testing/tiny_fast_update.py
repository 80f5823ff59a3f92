"""A fast update small enough to write by hand, for tests.

The tiny step predicts that what it sees stays as it corrected it (`tiny_step`). With w
the mean of the changes of the state over the window:

    error       = w - surface_calibration - delta_calibration
    loss_before = |error|^2
    delta       = delta_calibration + RATE error
    loss_after  = (1 - RATE)^2 |error|^2

which is one gradient step. `refused` is not a number if the window holds none.
"""

from typing import Final

import numpy as np

from edge.testing.tiny_step import SURFACE_PREFIX, Graph, TinyStep

STEPS: Final = 4
"""Length of its window."""
RATE: Final = 0.25
NAME: Final = "fast_update"
LITERT_NAME: Final = "fast_update_litert"
LEARNING: Final = {
    "loops": {"fast": [{"calls": 1, "function": NAME}]},
    "memory_bytes": 1 << 20,
}


def signature(step: TinyStep) -> dict[str, object]:
    """What a package says of the form for jax, of which only the names matter here."""
    spec = {
        "name": "deltas/calibration",
        "shape": [step.state_size],
        "dtype": "float32",
    }
    return {"inputs": [spec], "outputs": [spec]}


def build(step: TinyStep, carry_size: int | None = None) -> bytes:
    """Returns the LiteRT flatbuffer of the update of a tiny step."""
    graph = Graph()
    n, size = step.state_size, step.state_size if carry_size is None else carry_size
    surfaces = {k.removeprefix(SURFACE_PREFIX): x for k, x in step.surfaces().items()}
    deltas = {
        name: graph.input(f"deltas_{name}", x.size) for name, x in surfaces.items()
    }
    states = graph.input("window_states", STEPS + 1, n)
    graph.input("window_task", STEPS, step.tasks)
    graph.input("window_starts", STEPS)
    graph.input("window_weight", STEPS)
    graph.input("window_carry", size)

    first_to_last = np.zeros((1, STEPS + 1), np.float32)
    first_to_last[0, 0], first_to_last[0, -1] = -1.0 / STEPS, 1.0 / STEPS
    change = graph.matrix_product(graph.constant(first_to_last), states, n)
    own = graph.add(graph.constant(surfaces["calibration"]), deltas["calibration"], n)
    minus = graph.constant(np.full(n, -1.0, np.float32))
    error = graph.add(change, graph.multiply(own, minus, n), n)
    rate = graph.constant(np.full(n, RATE, np.float32))
    moved = graph.add(deltas["calibration"], graph.multiply(error, rate, n), n)
    before = graph.number(
        graph.product(np.ones((1, n), np.float32), graph.multiply(error, error, n))
    )
    share = graph.constant(np.array((1 - RATE) ** 2, np.float32))
    nothing = graph.constant(np.array(0.0, np.float32))
    outputs = {
        "deltas_calibration": moved,
        "loss_before": before,
        "loss_after": graph.multiply(before, share),
        "refused": graph.multiply(before, nothing),
        "repaired": graph.multiply(graph.multiply(before, nothing), nothing),
    }
    return graph.serialise(outputs, "fast_update")


def expected_delta(
    step: TinyStep, delta: np.ndarray, states: np.ndarray
) -> tuple[np.ndarray, float]:
    """Computes (delta of the calibration, loss before), without LiteRT."""
    change = (states[-1] - states[0]) / STEPS
    error = change - step.surfaces()["surface_calibration"] - delta
    return delta + RATE * error, float(error @ error)
