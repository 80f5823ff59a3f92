"""Runs one engine's control step in its own process, as on a robot.

Usage: python -m tests.benchmarks.control_process ENGINE FOLDER STEPS

LiteRT runs in the robot's own policy, from a package that is verified first; the other
engines run the same step from their own files. Prints one JSON line: `first_action_s`
on the machine's monotonic clock, `p50_us`, `p99_us`, `memory_mb`, and `growth_kb`, the
growth of the process after the first thousandth of the steps.
"""

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

Step = Callable[[np.ndarray], np.ndarray]
"""Takes a state [n] and returns an action [a]; keeps carry and surfaces inside."""

ENGINES = ("litert int8", "litert f32", "onnxruntime f32", "xla f32")
_STATES = 997
"""Number of random states, used in turn."""


def main(engine: str, folder: str, steps: str) -> None:
    """Opens the engine, runs the steps, prints the figures."""
    kind, form = engine.split()
    state_size = json.loads((Path(folder) / "sizes.json").read_bytes())["state_size"]
    drawn = np.random.default_rng(0).standard_normal((_STATES, state_size))
    states = list(drawn.astype(np.float32))
    step = {"litert": _litert, "onnxruntime": _onnxruntime, "xla": _xla}[kind](
        Path(folder), form
    )
    step(states[0])
    first_action_s = time.monotonic()
    count = int(steps)
    took_ns = np.zeros(count, np.int64)
    warm = max(1, count // 1000)
    before_kb = 0
    for i in range(count):
        if i == warm:
            before_kb = _resident_kb()
        state = states[i % _STATES]
        began = time.perf_counter_ns()
        step(state)
        took_ns[i] = time.perf_counter_ns() - began
    after_kb = _resident_kb()
    # The array of times is touched for the first time here, so it is not counted.
    own_kb = took_ns[warm:].nbytes / 1024
    figures = {
        "first_action_s": first_action_s,
        "p50_us": float(np.percentile(took_ns, 50)) / 1e3,
        "p99_us": float(np.percentile(took_ns, 99)) / 1e3,
        "memory_mb": (after_kb - own_kb) / 1024,
        "growth_kb": after_kb - before_kb - own_kb,
    }
    print(json.dumps(figures))


def _litert(folder: Path, form: str) -> Step:
    from edge.control.package_policy import open_policy
    from edge.robots.robot import Observation
    from release.verification import verify_integrity

    policy = open_policy(verify_integrity(folder / "package", "pi5-cpu"), form)
    policy.reset(policy.tasks[0])
    return lambda state: policy.propose(Observation(state, 0))


def _onnxruntime(folder: Path, form: str) -> Step:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(
        str(folder / "step.onnx"), options, providers=["CPUExecutionProvider"]
    )
    inputs = {x.name: np.zeros(x.shape, np.float32) for x in session.get_inputs()}
    names = [x.name for x in session.get_outputs()]
    action, carry = names.index("action"), names.index("next_carry")

    def step(state: np.ndarray) -> np.ndarray:
        inputs["observation_state"] = state[None]
        found = session.run(names, inputs)
        inputs["carry"] = found[carry]
        return found[action][0]

    return step


def _xla(folder: Path, form: str) -> Step:
    import jax
    import jax.export

    content = (folder / "step.stablehlo").read_bytes()
    exported = jax.export.deserialize(bytearray(content))
    run = jax.jit(exported.call)
    _, keywords = exported.in_tree.unflatten(exported.in_avals)
    inputs = {
        n: jax.device_put(np.zeros(x.shape, np.float32)) for n, x in keywords.items()
    }

    def step(state: np.ndarray) -> np.ndarray:
        inputs["observation_state"] = state
        found = run(**inputs)
        inputs["carry"] = found["next_carry"]
        return np.asarray(found["action"])

    return step


def _resident_kb() -> int:
    """Resident memory of this process now, as the kernel counts it."""
    lines = Path("/proc/self/status").read_text().splitlines()
    (line,) = (line for line in lines if line.startswith("VmRSS:"))
    return int(line.split()[1])


if __name__ == "__main__":
    main(*sys.argv[1:])
