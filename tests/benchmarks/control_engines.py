"""The control step in each engine, each in a fresh process on one thread.

The model is a preset with its initial numbers, exported by the code that exports
packages. A step is observation in, action out: copying in, computing, copying out, and
passing on the carry. LiteRT runs in the robot's own policy on a verified package;
`start` is the time from the start of the process to its first action, including
verification and loading.
"""

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from model import step_function, surfaces
from model.export import (
    aligned_safetensors,
    functions,
    litert_step,
    onnx_step,
    stablehlo,
)
from model.wavecore import WaveCore
from release import canary, package, package_folder
from tests.benchmarks import commands, sequence_models
from tests.benchmarks.sequence_models import ACTION_SIZE, STATE_SIZE, TASK_COUNT

UNITS = {
    "p50": "us",
    "p99": "us",
    "start": "s",
    "memory": "MB",
    "growth": "KB",
}
"""Units of the figures of one engine, by name."""

Figures = Mapping[str, float]


def write(folder: Path, preset: str) -> None:
    """Writes what each engine opens: a package, and the step's two other files."""
    model = sequence_models.wavecore(preset)
    step = functions.step(model)
    (folder / "sizes.json").write_text(json.dumps({"state_size": STATE_SIZE}))
    (folder / "step.onnx").write_bytes(onnx_step.convert(model))
    (folder / "step.stablehlo").write_bytes(stablehlo.encode(step, ("cpu",)))
    _write_package(folder / "package", model)


def write_package(folder: Path, preset: str, *, learns: bool = False) -> None:
    """Writes the package alone, below `folder`; if it `learns`, with the fast loop."""
    _write_package(folder / "package", sequence_models.wavecore(preset), learns=learns)


def run(engine: str, folder: Path, steps: int) -> Figures:
    """Figures of one engine, by the names of `UNITS`."""
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(p for p in sys.path if p),
        "JAX_PLATFORMS": "cpu",
        # One thread, like the other engines; a robot needs the others for other work.
        "XLA_FLAGS": "--xla_cpu_multi_thread_eigen=false",
    }
    program = [sys.executable, "-m", "tests.benchmarks.control_process"]
    began_s = time.monotonic()
    done = subprocess.run(
        [*program, engine, str(folder), str(steps)],
        env=environment,
        check=True,
        stdout=subprocess.PIPE,
    )
    found = json.loads(done.stdout)
    return {
        "p50": found["p50_us"],
        "p99": found["p99_us"],
        "start": found["first_action_s"] - began_s,
        "memory": found["memory_mb"],
        "growth": found["growth_kb"],
    }


def _write_package(folder: Path, model: WaveCore, *, learns: bool = False) -> None:
    """Writes a package with the two LiteRT steps, not checked against the model."""
    forms = litert_step.convert(model, learns=learns)
    update = forms.pop(functions.FAST_UPDATE, None)
    files = {
        f"functions/step_{form}.tflite": content for form, content in forms.items()
    }
    arrays = step_function.weights(model)
    files |= {
        package.WEIGHTS: aligned_safetensors.encode(arrays),
        package.SAFETY: b'{"version":"0"}',
        package.CANARY: b"none",
        canary.FILE: canary.Expectation(0.0, 0.0, steps=1).encode(),
    }
    for path, content in files.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(content)
    signature = stablehlo.signature(functions.step(model))
    described: dict[str, Any] = {
        f"step_{form}": {"path": f"functions/step_{form}.tflite", **signature}
        for form in forms
    }
    if update is not None:
        described |= _write_fast_loop(folder, model, update)
    limit = [1.0] * ACTION_SIZE
    package_folder.build(
        folder,
        family="benchmark",
        version="0",
        release_counter=1,
        target="pi5-cpu",
        robot={
            "robot_model": "benchmark",
            "observation": {"state": {"shape": [STATE_SIZE], "dtype": "float32"}},
            "action": {
                "shape": [ACTION_SIZE],
                "dtype": "float32",
                "minimum": [-1.0] * ACTION_SIZE,
                "maximum": limit,
            },
            "control_hz": 80.0,
            "tasks": [f"task-{i}" for i in range(TASK_COUNT)],
        },
        functions={"step": described["step_int8"], **described},
        surfaces={
            name: {
                "size": arrays[step_function.SURFACE_PREFIX + name].size,
                "bound": surfaces.BOUNDS[name],
            }
            for name in surfaces.SURFACES
        },
        backbone_digest=step_function.backbone_digest(model),
        safety_version="0",
        metadata={
            "dataset_name": "none",
            "dataset_version": "0.0.0",
            "dataset_manifest_digest": "0" * 64,
            "code_commit": "none",
            "hardware": "none",
            "training_config": {},
            "metrics": {},
            "export_target": "pi5-cpu",
            "jax_version": "none",
        },
        learning=None
        if update is None
        else {"loops": {"fast": functions.plan()["fast"]}, "memory_bytes": 1},
    )


def _write_fast_loop(
    folder: Path, model: WaveCore, update: bytes
) -> dict[str, dict[str, object]]:
    """Writes both forms of the fast update; returns what a package says of them."""
    called = {
        functions.FAST_UPDATE: functions.learning(model)[functions.FAST_UPDATE],
        functions.FAST_UPDATE_LITERT: functions.make_fast_update_flat(model),
    }
    contents = {
        f"functions/{functions.FAST_UPDATE}.stablehlo": stablehlo.encode(
            called[functions.FAST_UPDATE], ("cpu",)
        ),
        f"functions/{functions.FAST_UPDATE_LITERT}.tflite": update,
    }
    for path, content in contents.items():
        (folder / path).write_bytes(content)
    return {
        name: {"path": path, **stablehlo.signature(function)}
        for (name, function), path in zip(called.items(), contents, strict=True)
    }


def figures(measured: Mapping[str, Figures]) -> Iterator[commands.Figure]:
    """Each figure compared with the f32 step of LiteRT, if that was measured."""
    for engine, found in measured.items():
        for name, value in found.items():
            base = measured.get("litert f32", {}).get(name)
            compared = base and engine != "litert f32" and name != "growth"
            yield commands.figure(
                f"control step, {engine}, {name}",
                value,
                UNITS[name],
                f"control step, litert f32, {name}" if compared else None,
                value / base if base and compared else None,
            )
