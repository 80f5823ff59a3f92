"""A function's file needs only JAX, serves every platform, and holds no path."""

import functools
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import jax.export
import numpy as np
import pytest
import safetensors.numpy

from model import step_function
from model.export import agreement, aligned_safetensors, functions, stablehlo
from model.export.functions import Function
from model.testing import small_models
from model.testing.episodes import TASKS, episode
from model.wavecore import WaveCore

small_models.shorten_programs()

PLATFORMS = ("cpu", "cuda", "tpu")

LEARNER = """
import json, sys
import jax, numpy as np, safetensors.numpy
weights = safetensors.numpy.load_file(sys.argv[1] + "/weights.safetensors")
data = safetensors.numpy.load_file(sys.argv[1] + "/data.safetensors")
def load(name):
    with open(f"{sys.argv[1]}/{name}.stablehlo", "rb") as file:
        return jax.jit(jax.export.deserialize(bytearray(file.read())).call)
begun = load("init")()
found = load("evaluate")(weights=weights, deltas=begun["deltas"], episodes=data)
loaded = {name.partition(".")[0] for name in sys.modules}
assert loaded.isdisjoint({"model", "flax", "cloud"}), loaded
print(json.dumps({name: x.tolist() for name, x in found.items()}))
"""


@pytest.fixture(scope="module")
def model() -> WaveCore:
    return small_models.random_model()


Encode = Callable[[tuple[str, ...]], bytes]


@pytest.fixture(scope="module")
def evaluate(model: WaveCore) -> Function:
    return functions.learning(model)["evaluate"]


@pytest.fixture(scope="module")
def encode(evaluate: Function) -> Encode:
    """Returns the file of the evaluation for given platforms; makes each once."""
    return functools.cache(functools.partial(stablehlo.encode, evaluate))


def test_process_without_model_code_runs_a_file(
    model: WaveCore, encode: Encode, tmp_path: Path
) -> None:
    learning = functions.learning(model)
    init = stablehlo.encode(learning["init"], ("cpu",))
    (tmp_path / "init.stablehlo").write_bytes(init)
    (tmp_path / "evaluate.stablehlo").write_bytes(encode(("cpu",)))
    given = agreement.arguments(model, learning["evaluate"], TASKS, [episode()])
    given["deltas"] = learning["init"].run()["deltas"]
    weights = aligned_safetensors.encode(given["weights"])
    (tmp_path / "weights.safetensors").write_bytes(weights)
    data = {n: np.asarray(x) for n, x in given["episodes"].items()}
    safetensors.numpy.save_file(data, tmp_path / "data.safetensors")
    ours = Path(stablehlo.__file__).parent.parent.resolve()
    paths = [p for p in sys.path if p and Path(p).resolve() != ours]
    done = subprocess.run(
        [sys.executable, "-P", "-c", LEARNER, str(tmp_path)],
        env={"PYTHONPATH": ":".join(paths), "JAX_PLATFORMS": "cpu"},
        cwd=tmp_path,
        check=False,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    wanted = jax.jit(learning["evaluate"].run)(**given)
    for name, value in json.loads(done.stdout).items():
        np.testing.assert_allclose(value, wanted[name], rtol=1e-5)


def test_step_is_lowered_for_every_platform_and_its_cpu_program_agrees(
    model: WaveCore,
) -> None:
    step = functions.step(model)
    content = stablehlo.encode(step, PLATFORMS)
    assert jax.export.deserialize(bytearray(content)).platforms == PLATFORMS
    given = {n: small_models.numbers(*x.shape) for n, x in step.inputs.items()}
    ours, theirs = jax.jit(step.run)(**given), stablehlo.load(content)(**given)
    assert ours.keys() == theirs.keys()
    for name, x in ours.items():
        np.testing.assert_allclose(theirs[name], x, atol=1e-5, rtol=1e-5)


def program(content: bytes) -> str:
    return jax.export.deserialize(bytearray(content)).mlir_module()


def count_loops(content: bytes) -> int:
    return program(content).count("stablehlo.while")


@pytest.mark.parametrize(
    ("platform", "loops"), [("cpu", True), ("cuda", False), ("tpu", False)]
)
def test_file_holds_the_fastest_form_of_the_recurrence_for_its_platform(
    encode: Encode, platform: str, loops: bool
) -> None:
    """Only the sequential form is a loop, within that over the episodes."""
    assert (count_loops(encode((platform,))) > 1) == loops


def test_file_of_several_platforms_holds_the_form_of_each(encode: Encode) -> None:
    assert "stablehlo.case" in program(encode(PLATFORMS))
    assert count_loops(encode(PLATFORMS)) > 1
    # The same form is fastest for both, so there is nothing to choose.
    assert count_loops(encode(("cuda", "tpu"))) == 1


def test_file_of_several_platforms_agrees_with_that_of_the_cpu_alone(
    model: WaveCore, evaluate: Function, encode: Encode
) -> None:
    given = agreement.arguments(model, evaluate, TASKS, [episode()])
    alone, among = (
        stablehlo.load(encode(platforms))(**given)
        for platforms in (("cpu",), PLATFORMS)
    )
    for error, x in alone.items():
        np.testing.assert_allclose(among[error], x, rtol=1e-6)


def test_file_depends_only_on_the_model_and_not_on_the_machine(model: WaveCore) -> None:
    step = functions.step(model)
    content = stablehlo.encode(step, PLATFORMS)
    assert b".py" not in content
    assert content == stablehlo.encode(functions.step(model), PLATFORMS)
    other = functions.step(small_models.random_model(seed=1))
    assert content != stablehlo.encode(other, PLATFORMS)


def test_signature_names_every_array_by_its_path(model: WaveCore) -> None:
    function = functions.learning(model)["fast_update"]
    signature = stablehlo.signature(function)
    inputs = {x["name"]: x for x in signature["inputs"]}
    assert inputs["window/states"]["shape"] == [functions.FAST_STEPS + 1, 6]
    assert inputs["window/starts"]["dtype"] == "bool"
    names = {f"weights/{name}" for name in step_function.weights(model)}
    assert names <= inputs.keys()
    assert {"deltas/adapters", "refused"} <= {x["name"] for x in signature["outputs"]}
