"""Measures the control step in each engine, each in a fresh process on one thread.

    ./bazelw run -c opt //tests/benchmarks:control_step -- --json=control.json
    ./bazelw run -c opt //tests/benchmarks:control_step -- --steps=1000000

The model is the preset's with the numbers it is born with, exported by the code that
exports packages. A step is observation in, action out: copying in, computing, copying
out, and the carry handed on. LiteRT runs in the robot's own policy on a verified
package; `start` is from the start of the process to its first action, verifying and
loading included. A million steps show whether memory grows.

The figures are those of a machine with nothing else on it; the load that is printed
says whether it was.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
from absl import flags
from rich.console import Console
from rich.table import Table

from model import (
    aligned_safetensors,
    config,
    functions,
    litert_step,
    normalisation,
    onnx_step,
    stablehlo,
    step_function,
    surfaces,
)
from model.wavecore import WaveCore
from release import command_line, package
from tests.benchmarks.control_process import ENGINES

_STEPS = flags.DEFINE_integer("steps", 100_000, "Steps per engine.", lower_bound=100)
_PRESET = flags.DEFINE_enum(
    "preset", "seed", sorted(config.PRESETS), "Size of WaveCore."
)
_ENGINE = flags.DEFINE_multi_enum(
    "engine", ENGINES, ENGINES, "Engines to measure; may be repeated."
)
_JSON = flags.DEFINE_string(
    "json", None, "File for the figures, a list of name, value, unit, vs and ratio."
)

STATE_SIZE, ACTION_SIZE, TASK_COUNT = 39, 4, 10
"""A Meta-World robot with ten tasks."""
_UNITS = {
    "p50": "us",
    "p99": "us",
    "start": "s",
    "memory": "MB",
    "growth": "KB",
}

Figures = Mapping[str, float]


def main(argv: list[str]) -> None:
    """Exports, measures what the flags name, prints the table, writes the JSON."""
    del argv
    console = Console()
    with tempfile.TemporaryDirectory() as name:
        console.print(f"exporting the {_PRESET.value} preset")
        write(Path(name), _PRESET.value)
        measured: dict[str, Figures] = {}
        for engine in dict.fromkeys(_ENGINE.value):
            measured[engine] = run(engine, Path(name), _STEPS.value)
            load = os.getloadavg()[0]
            console.print(f"{engine}: load of the machine {load:.1f}")
    console.print(_table(measured))
    if _JSON.value:
        figures = list(_figures(measured))
        Path(_JSON.value).write_text(json.dumps(figures, indent=1) + "\n")


def write(folder: Path, preset: str) -> None:
    """Writes what each engine opens: a package, and the step's two other files."""
    sizes = config.PRESETS[preset](STATE_SIZE, ACTION_SIZE, TASK_COUNT)
    ones = np.ones(STATE_SIZE, np.float32)
    statistics = normalisation.Statistics(0 * ones, ones, ones)
    model = WaveCore(sizes, statistics, np.random.default_rng(0))
    step = functions.step(model)
    (folder / "sizes.json").write_text(json.dumps({"state_size": STATE_SIZE}))
    (folder / "step.onnx").write_bytes(onnx_step.convert(model))
    (folder / "step.stablehlo").write_bytes(stablehlo.encode(step, ("cpu",)))
    _write_package(folder / "package", model)


def run(engine: str, folder: Path, steps: int) -> Figures:
    """Figures of one engine, by the names of `_UNITS`."""
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(p for p in sys.path if p),
        "JAX_PLATFORMS": "cpu",
        # One thread, as the other engines have and a robot's other work needs.
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


def _write_package(folder: Path, model: WaveCore) -> None:
    """A package with the two LiteRT steps and nothing to learn or to check with."""
    forms = litert_step.convert(model)
    files = {
        f"functions/step_{form}.tflite": content for form, content in forms.items()
    }
    arrays = step_function.weights(model)
    files |= {
        package.WEIGHTS: aligned_safetensors.encode(arrays),
        package.SAFETY: b'{"version":"0"}',
        package.CANARY: b"none",
    }
    for path, content in files.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(content)
    signature = stablehlo.signature(functions.step(model))
    described = {
        f"step_{form}": {"path": f"functions/step_{form}.tflite", **signature}
        for form in forms
    }
    limit = [1.0] * ACTION_SIZE
    package.build(
        folder,
        family="benchmark",
        version="0",
        release_counter=1,
        target="pi5-cpu",
        robot={
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
            "dataset_manifest_digest": "0" * 64,
            "code_commit": "none",
            "hardware": "none",
            "training_config": {},
            "metrics": {},
            "export_target": "pi5-cpu",
            "jax_version": "none",
        },
    )


def _table(measured: Mapping[str, Figures]) -> Table:
    table = Table(title=f"Control step, {_PRESET.value} preset, {_STEPS.value:,} steps")
    table.add_column("engine")
    for name, unit in _UNITS.items():
        table.add_column(f"{name}, {unit}", justify="right")
    for engine, figures in measured.items():
        digits = {"start": 2}
        table.add_row(engine, *(f"{figures[n]:.{digits.get(n, 0)}f}" for n in _UNITS))
    return table


def _figures(measured: Mapping[str, Figures]) -> Iterator[dict[str, object]]:
    """Each figure beside the f32 step of LiteRT, where that was measured."""
    for engine, figures in measured.items():
        for name, value in figures.items():
            base = measured.get("litert f32", {}).get(name)
            compared = base and engine != "litert f32" and name != "growth"
            yield {
                "name": f"control step, {engine}, {name}",
                "value": value,
                "unit": _UNITS[name],
                "vs": f"control step, litert f32, {name}" if compared else None,
                "ratio": value / base if base and compared else None,
            }


if __name__ == "__main__":
    command_line.run(main)
