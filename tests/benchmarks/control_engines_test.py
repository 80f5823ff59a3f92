"""The benchmark measures every engine through the files that robots run."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.benchmarks import control_engines
from tests.benchmarks.control_process import ENGINES


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("engines")
    control_engines.write(folder, "tiny")
    return folder


@pytest.mark.parametrize("engine", ENGINES)
def test_engine_acts_within_seconds_and_reports_its_figures(
    folder: Path, engine: str
) -> None:
    found = control_engines.run(engine, folder, 1000)
    assert 1 < found["p50"] <= found["p99"]
    assert 0.01 < found["start"] < 60
    assert 10 < found["memory"] < 2000
    assert abs(found["growth"]) < 64 * 1024


def test_control_process_loads_no_model_code(folder: Path) -> None:
    program = (
        "import sys\n"
        "from tests.benchmarks import control_process\n"
        f"control_process.main('litert int8', {str(folder)!r}, '100')\n"
        "print(' '.join(sorted(sys.modules)))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        env={"PYTHONPATH": os.pathsep.join(p for p in sys.path if p)},
        check=True,
        capture_output=True,
        text=True,
    )
    figures, loaded = done.stdout.splitlines()
    assert json.loads(figures)["p50_us"] > 0
    packages = {name.partition(".")[0] for name in loaded.split()}
    assert packages.isdisjoint({"jax", "flax", "tensorflow", "onnxruntime", "model"})


def test_figures_compare_each_engine_with_the_f32_step_of_litert() -> None:
    int8 = {"p50": 50.0, "p99": 90.0, "start": 0.2, "memory": 60.0, "growth": 0.0}
    f32 = {**int8, "p50": 200.0}
    found = list(control_engines.figures({"litert int8": int8, "litert f32": f32}))
    (p50,) = (x for x in found if x["name"] == "control step, litert int8, p50")
    assert p50 == {
        "name": "control step, litert int8, p50",
        "value": 50.0,
        "unit": "us",
        "vs": "control step, litert f32, p50",
        "ratio": 0.25,
    }
    assert len(found) == 10
    (growth,) = (x for x in found if x["name"] == "control step, litert int8, growth")
    assert growth["vs"] is None
