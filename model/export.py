"""Writes the files of a package that come from the model.

    functions/step.tflite   the control step for LiteRT, f32
    weights.safetensors     backbone, initial surfaces, initial carry
    canary.tfrecord         a few held-out episodes
    canary.json             the action error that the step has on them

Before it returns, the exported step has been run over the episodes with the runtime
that robots use, and agrees with the model it came from.
"""

import contextlib
import dataclasses
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import jax
import numpy as np
from ai_edge_litert.interpreter import Interpreter

from model import aligned_safetensors, errors, step_function, surfaces
from model.wavecore import WaveCore
from rlds import durable_file, example_codec, tfrecord
from rlds.episode import Episode

STEP_PATH = "functions/step.tflite"
LARGEST_ERROR = 1e-5
"""Largest accepted difference of an exported output: absolute, and relative where the
output is above one. f32 sums in another order differ by about 1e-6."""
CANARY_TOLERANCE = 1e-3
"""Accepted difference of the mean canary action error on another machine."""
CONVERSION_TIMEOUT_S = 300
"""A conversion takes about ten seconds; beyond this it hangs."""


@dataclasses.dataclass(frozen=True)
class ExportResult:
    """What `package.json` says about the functions, and how well they agree.

    Attributes:
        functions: function name to path, inputs and outputs.
        surfaces: surface name to size and bound of a local delta's L2 norm.
        backbone_digest: sha256 of the backbone, the same after any adaptation.
        max_abs_error: largest difference between exported step and model, over every
            output of every step of the canary episodes.
        canary_action_error: mean absolute action error on the canary episodes.
        canary_steps: steps in the canary episodes.
    """

    functions: Mapping[str, object]
    surfaces: Mapping[str, Mapping[str, float]]
    backbone_digest: str
    max_abs_error: float
    canary_action_error: float
    canary_steps: int


def write_functions(
    model: WaveCore,
    tasks: Sequence[str],
    folder: Path,
    canary_episodes: Sequence[Episode],
) -> ExportResult:
    """Exports a model into `folder` and checks what was written.

    Args:
        model: the trained model.
        tasks: task names in the order of the one-hot input.
        folder: the package's folder; made when missing.
        canary_episodes: held-out episodes, at least one.

    Raises:
        ExportError: no canary episode, one of an unknown task, the conversion fails,
            or the exported step disagrees with the model. Files written so far
            remain in `folder`; without `package.json` they are no package.
        NonFiniteError: a weight is NaN or infinite.
    """
    _check(model, tasks, canary_episodes)
    arrays = step_function.weights(model)
    weights = aligned_safetensors.encode(arrays)
    content = _convert(model, weights)
    largest, action_error = _compare(model, tasks, content, canary_episodes)
    count = sum(len(e.steps["is_first"]) for e in canary_episodes)
    canary = {
        "schema_version": 1,
        "action_error": action_error,
        "tolerance": CANARY_TOLERANCE,
        "steps": count,
    }
    records = (tfrecord.frame(example_codec.encode(e)) for e in canary_episodes)
    (folder / STEP_PATH).parent.mkdir(parents=True, exist_ok=True)
    durable_file.write(folder / STEP_PATH, content)
    durable_file.write(folder / "weights.safetensors", weights)
    durable_file.write(folder / "canary.tfrecord", b"".join(records))
    durable_file.write(folder / "canary.json", json.dumps(canary).encode())
    return ExportResult(
        functions={"step": _signature(model, arrays)},
        surfaces={
            name: {"size": _surface(arrays, name).size, "bound": surfaces.BOUNDS[name]}
            for name in surfaces.SURFACES
        },
        backbone_digest=step_function.backbone_digest(model),
        max_abs_error=largest,
        canary_action_error=action_error,
        canary_steps=count,
    )


def _check(model: WaveCore, tasks: Sequence[str], episodes: Sequence[Episode]) -> None:
    if len(tasks) != model.config.task_count:
        raise errors.ExportError(
            f"tasks: expected {model.config.task_count} names, got {len(tasks)}; give"
            " the tasks the model was trained on"
        )
    unknown = sorted({e.metadata.task for e in episodes} - set(tasks))
    if not episodes or unknown:
        raise errors.ExportError(
            f"canary episodes: expected at least one, of {', '.join(tasks)}; got"
            f" {len(episodes)}, unknown tasks {unknown}; take them from the held-out"
            " split"
        )
    for name, array in step_function.weights(model).items():
        if not np.isfinite(array).all():
            raise errors.NonFiniteError(
                f"{name}: expected finite weights, got NaN or infinity; train again"
                " with a lower learning rate"
            )


def _surface(arrays: Mapping[str, np.ndarray], name: str) -> np.ndarray:
    return arrays[step_function.SURFACE_PREFIX + name]


def _signature(model: WaveCore, arrays: Mapping[str, np.ndarray]) -> dict[str, object]:
    inputs = dict(step_function.input_shapes(model.config))
    for name in surfaces.SURFACES:
        inputs[step_function.SURFACE_PREFIX + name] = _surface(arrays, name).shape
    return {
        "path": STEP_PATH,
        "inputs": _specs(inputs),
        "outputs": _specs(step_function.output_shapes(model.config)),
    }


def _specs(shapes: Mapping[str, tuple[int, ...]]) -> list[dict[str, object]]:
    return [
        {"name": name, "shape": list(shape), "dtype": "float32"}
        for name, shape in shapes.items()
    ]


def _convert(model: WaveCore, weights: bytes) -> bytes:
    """Runs `model.convert_step` on one device and returns the LiteRT file."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "config.json").write_text(
            json.dumps(step_function.config_record(model.config))
        )
        (folder / "weights.safetensors").write_bytes(weights)
        command = [sys.executable, "-m", "model.convert_step"]
        files = ("config.json", "weights.safetensors", "step.tflite")
        environment = {
            **os.environ,
            "PYTHONPATH": os.pathsep.join(p for p in sys.path if p),
            "JAX_PLATFORMS": "cpu",
            "CUDA_VISIBLE_DEVICES": "",
            "TF_CPP_MIN_LOG_LEVEL": "3",
        }
        try:
            subprocess.run(
                [*command, *(str(folder / file) for file in files)],
                env=environment,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                check=True,
                timeout=CONVERSION_TIMEOUT_S,
            )
        except subprocess.CalledProcessError as e:
            lines = e.stderr.decode(errors="replace").strip().splitlines() or [
                "nothing"
            ]
            raise errors.ExportError(
                f"{STEP_PATH}: expected the conversion to LiteRT to succeed, got"
                f" {lines[-1][:300]}; run python -m model.convert_step to see all of it"
            ) from e
        except subprocess.TimeoutExpired as e:
            raise errors.ExportError(
                f"{STEP_PATH}: expected the conversion to LiteRT within"
                f" {CONVERSION_TIMEOUT_S} s, got no answer; run again"
            ) from e
        return (folder / "step.tflite").read_bytes()


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keeps what LiteRT's C++ says while it loads off stderr; errors are raised."""
    sys.stderr.flush()
    saved = os.dup(2)
    try:
        with Path(os.devnull).open("wb") as sink:
            os.dup2(sink.fileno(), 2)
        yield
    finally:
        os.dup2(saved, 2)
        os.close(saved)


def _compare(
    model: WaveCore, tasks: Sequence[str], content: bytes, episodes: Sequence[Episode]
) -> tuple[float, float]:
    """Runs model and exported step side by side, each on its own carry.

    Returns: largest absolute difference, mean absolute action error of the export.

    Raises:
        ExportError: the difference is above `LARGEST_ERROR`.
    """
    with _quiet():
        interpreter = Interpreter(model_content=content)
        interpreter.allocate_tensors()
    exported = interpreter.get_signature_runner("step")
    reference = jax.jit(step_function.make(model))
    fixed = step_function.initial_surfaces(model)
    largest, missed, count = 0.0, 0.0, 0
    for episode in episodes:
        task = np.eye(len(tasks), dtype=np.float32)[tasks.index(episode.metadata.task)]
        carries = [np.zeros(model.config.carry_size, np.float32)] * 2
        wanted = np.asarray(episode.steps["proposed_action"], np.float64)
        for state, action in zip(
            episode.steps["observation/state"], wanted, strict=True
        ):
            inputs = {"observation_state": state, "task": task, **fixed}
            ours = reference(**inputs, carry=carries[0])
            theirs = exported(**inputs, carry=carries[1])
            carries = [np.asarray(ours["next_carry"]), theirs["next_carry"]]
            for name, value in theirs.items():
                wanted_value = np.asarray(ours[name])
                size = np.maximum(np.abs(wanted_value), 1.0)
                difference = np.abs(value - wanted_value) / size
                largest = max(largest, float(difference.max()))
            missed += float(np.abs(theirs["action"] - action).sum())
            count += action.size
    if not largest <= LARGEST_ERROR:
        raise errors.ExportError(
            f"{STEP_PATH}: expected outputs within {LARGEST_ERROR} of the model, got a"
            f" difference of {largest:.3g}; the converter and jax versions disagree"
        )
    return largest, missed / max(count, 1)
