"""Runs the notebook in tests: through papermill, with this interpreter and small."""

import json
import os
import sys
from pathlib import Path

import nbformat
import papermill
import pytest

NOTEBOOK = Path("cloud/colab/seed_genesis.ipynb").absolute()
KERNEL = "this-interpreter"
TIMEOUT_S = 600
SMALL = {
    "tasks": ["reach-v3"],
    "preset": "tiny",
    "updates": 20,
    "batch_size": 4,
    "sequence_length": 16,
    "report_period_updates": 5,
    "evaluation_episodes": 1,
    "evaluation_max_steps": 20,
    "minimum_success": 0.0,
    "minimum_task_success": 0.0,
    "maximum_held_out_loss": 1000.0,
    "maximum_step_latency_us": 1e6,
}


def execute(tmp_path: Path, start: Path, **parameters: object) -> Path:
    """Runs the notebook from the folder `start` and returns it with its outputs."""
    output = tmp_path / "executed.ipynb"
    with pytest.MonkeyPatch.context() as environment:
        _lay_out_kernel(tmp_path, environment)
        papermill.execute_notebook(
            NOTEBOOK,
            output,
            parameters=SMALL | {"work_folder": str(tmp_path / "work")} | parameters,
            kernel_name=KERNEL,
            cwd=str(start),
            progress_bar=False,
            execution_timeout=TIMEOUT_S,
        )
    return output


def read_printed(notebook: nbformat.NotebookNode, cell_id: str) -> str:
    """Returns what a cell printed."""
    outputs = next(cell for cell in notebook.cells if cell.id == cell_id).outputs
    return "".join(output.get("text", "") for output in outputs)


def _lay_out_kernel(tmp_path: Path, environment: pytest.MonkeyPatch) -> None:
    """Writes a kernel: this interpreter with its libraries but without the sources."""
    environment.setenv("HOME", str(tmp_path))
    for name in ("IPYTHONDIR", "JUPYTER_CONFIG_DIR", "JUPYTER_RUNTIME_DIR"):
        environment.setenv(name, str(tmp_path / name.lower()))
    environment.setenv("JUPYTER_PATH", str(tmp_path / "jupyter"))
    environment.setenv("JAX_PLATFORMS", "cpu")
    folder = tmp_path / "jupyter" / "kernels" / KERNEL
    folder.mkdir(parents=True)
    path = os.pathsep.join(p for p in sys.path if Path(p).name == "site-packages")
    start = [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"]
    spec = {
        "argv": start,
        "display_name": KERNEL,
        "language": "python",
        "env": {"PYTHONPATH": path},
    }
    (folder / "kernel.json").write_text(json.dumps(spec))
