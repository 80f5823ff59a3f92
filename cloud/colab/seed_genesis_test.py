"""Runs the whole notebook through papermill: real data, training, robot and bucket."""

import json
import os
import sys
from pathlib import Path

import nbformat
import papermill
import pytest

from cloud import checkpoint_store
from release import gcs_testing
from release.store import open_store

# The bucket's client says so where gRPC is installed beside it; it uses none here.
pytestmark = pytest.mark.filterwarnings("ignore:Please install grpcio-status")

NOTEBOOK = Path("cloud/colab/seed_genesis.ipynb").absolute()
DEMO = Path("cloud/demo/dataset").absolute()
STORE = "gs://bucket/store"
KERNEL = "this-interpreter"
TIMEOUT_S = 600


@pytest.fixture
def kernel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A kernel that is this interpreter, with its own search path and home."""
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("IPYTHONDIR", "JUPYTER_CONFIG_DIR", "JUPYTER_RUNTIME_DIR"):
        monkeypatch.setenv(name, str(tmp_path / name.lower()))
    monkeypatch.setenv("JUPYTER_PATH", str(tmp_path / "jupyter"))
    monkeypatch.setenv("JAX_PLATFORMS", "cpu")
    folder = tmp_path / "jupyter" / "kernels" / KERNEL
    folder.mkdir(parents=True)
    path = os.pathsep.join(p for p in sys.path if p)
    start = [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"]
    spec = {
        "argv": start,
        "display_name": KERNEL,
        "language": "python",
        "env": {"PYTHONPATH": path},
    }
    (folder / "kernel.json").write_text(json.dumps(spec))
    return KERNEL


def said(notebook: nbformat.NotebookNode, cell_id: str) -> str:
    """What a cell printed."""
    outputs = next(cell for cell in notebook.cells if cell.id == cell_id).outputs
    return "".join(output.get("text", "") for output in outputs)


def shown(notebook: nbformat.NotebookNode, cell_id: str) -> set[str]:
    """The kinds of picture that a cell showed."""
    outputs = next(cell for cell in notebook.cells if cell.id == cell_id).outputs
    return {kind for output in outputs for kind in output.get("data", {})}


def test_it_trains_drives_shows_keeps_and_verifies(tmp_path: Path, kernel: str) -> None:
    output = tmp_path / "executed.ipynb"
    with gcs_testing.serving() as bucket:
        bucket.put_tree(DEMO, "curated/demo/")
        papermill.execute_notebook(
            NOTEBOOK,
            output,
            parameters={
                "manifest_uri": "gs://bucket/curated/demo/manifest.json",
                "store_uri": STORE,
                "work_folder": str(tmp_path / "work"),
                "tasks": ["reach-v3"],
                "preset": "tiny",
                "steps": 20,
                "batch_size": 4,
                "sequence_length": 16,
                "report_period_steps": 5,
                "evaluation_episodes": 2,
                "evaluation_max_steps": 40,
                "minimum_success": 0.0,
                "minimum_task_success": 0.0,
                "maximum_held_out_loss": 1000.0,
                "maximum_step_latency_us": 1e6,
            },
            kernel_name=kernel,
            cwd=str(tmp_path),
            progress_bar=False,
            execution_timeout=TIMEOUT_S,
        )
        done = nbformat.read(output, as_version=4)
        kept = said(done, "keep").split()[1].removeprefix(f"{STORE}/")
        checkpoint_store.fetch(open_store(STORE), kept, tmp_path / "fetched" / "20")
    assert (tmp_path / "fetched" / "20" / "_CHECKPOINT_METADATA").is_file()
    assert "to install: nothing" in said(done, "install")
    assert said(done, "device").startswith("CPU")
    for cell in ("loss", "success", "trajectories"):
        assert "image/svg+xml" in shown(done, cell)
    assert shown(done, "video") & {"image/gif", "image/png"}
    assert (tmp_path / "work" / "episode.gif").read_bytes().startswith(b"GIF89a")
    assert "digests, provenance and blessing" in said(done, "verify")
    packages = [name for name in bucket.objects if name.endswith("/package.json")]
    assert len(packages) == 1 and packages[0].startswith("store/")
    assert any(name.endswith("/channels/nightly.json") for name in bucket.objects)
