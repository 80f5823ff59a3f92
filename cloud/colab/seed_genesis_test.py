"""Runs the whole notebook through papermill: real data, training, robot and stores."""

import json
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import nbformat
import papermill
import pytest

from cloud import checkpoint_store, locations
from release import gcs_testing
from release.store import open_store
from release.verify import intact_package
from rlds import manifest

# The bucket's client says so where gRPC is installed beside it; it uses none here.
pytestmark = pytest.mark.filterwarnings("ignore:Please install grpcio-status")

CHECKOUT = Path.cwd()
NOTEBOOK = CHECKOUT / "cloud/colab/seed_genesis.ipynb"
SOURCES = ("cloud", "edge", "model", "release", "rlds")
LOCKS = "third_party/python/locks"
DEMO = Path("cloud/demo/dataset").absolute()
STORE = "gs://bucket/store"
KERNEL = "this-interpreter"
TIMEOUT_S = 600
SMALL = {
    "tasks": ["reach-v3"],
    "preset": "tiny",
    "steps": 20,
    "batch_size": 4,
    "sequence_length": 16,
    "report_period_steps": 5,
    "evaluation_episodes": 1,
    "evaluation_max_steps": 20,
    "minimum_success": 0.0,
    "minimum_task_success": 0.0,
    "maximum_held_out_loss": 1000.0,
    "maximum_step_latency_us": 1e6,
}


@pytest.fixture
def kernel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A kernel that is this interpreter with its libraries and none of the sources."""
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("IPYTHONDIR", "JUPYTER_CONFIG_DIR", "JUPYTER_RUNTIME_DIR"):
        monkeypatch.setenv(name, str(tmp_path / name.lower()))
    monkeypatch.setenv("JUPYTER_PATH", str(tmp_path / "jupyter"))
    monkeypatch.setenv("JAX_PLATFORMS", "cpu")
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
    return KERNEL


@pytest.fixture
def start() -> Iterator[Path]:
    """An empty folder to run the notebook in, with no sources in or above it."""
    # Temporary folders of Bazel's tests lie below a tree of the sources.
    with tempfile.TemporaryDirectory(prefix="notebook-", dir="/tmp") as name:
        yield Path(name)


def lay_out_sources(folder: Path) -> None:
    """A clone of the sources, and nothing that a build has made."""
    files = [f for name in SOURCES for f in Path(name).rglob("*.py")]
    for file in [*files, *Path(LOCKS).glob("*.txt")]:
        (folder / file).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(file, folder / file)


def execute(tmp_path: Path, kernel: str, start: Path, **parameters: object) -> Path:
    """Runs the notebook from the folder `start` and returns it with its outputs."""
    output = tmp_path / "executed.ipynb"
    papermill.execute_notebook(
        NOTEBOOK,
        output,
        parameters=SMALL | {"work_folder": str(tmp_path / "work")} | parameters,
        kernel_name=kernel,
        cwd=str(start),
        progress_bar=False,
        execution_timeout=TIMEOUT_S,
    )
    return output


def said(notebook: nbformat.NotebookNode, cell_id: str) -> str:
    """What a cell printed."""
    outputs = next(cell for cell in notebook.cells if cell.id == cell_id).outputs
    return "".join(output.get("text", "") for output in outputs)


def shown(notebook: nbformat.NotebookNode, cell_id: str) -> set[str]:
    """The kinds of picture that a cell showed."""
    outputs = next(cell for cell in notebook.cells if cell.id == cell_id).outputs
    return {kind for output in outputs for kind in output.get("data", {})}


def test_no_clone_and_no_address_is_one_error_before_anything_else(
    tmp_path: Path, kernel: str, start: Path
) -> None:
    with pytest.raises(papermill.PapermillExecutionError) as e:
        execute(tmp_path, kernel, start)
    assert e.value.ename == "ValueError"
    assert e.value.evalue == (
        "repository_url: expected the git URL of your copy of this repository, got"
        f" none, and no clone in or above {start} or in {start}/continuonbrain; set it"
        " in the cell above and run all cells again"
    )
    assert not any(start.iterdir())
    assert not (tmp_path / "work").exists()


def test_in_a_clone_demo_episodes_become_a_verified_package_in_a_folder(
    tmp_path: Path, kernel: str, start: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # As on a hosted machine: no program and no episodes that a build laid out.
    monkeypatch.delenv("RUNFILES_DIR", raising=False)
    lay_out_sources(start / "continuonbrain")
    store = f"file://{tmp_path}/store"
    output = execute(
        tmp_path,
        kernel,
        start,
        store_uri=store,
        demo_robots=2,
        episodes_per_task=1,
    )
    done = nbformat.read(output, as_version=4)
    episodes = tmp_path / "work/episodes/dataset"
    assert said(done, "data").strip() == episodes.as_uri()
    told = manifest.parse((episodes / "manifest.json").read_bytes())
    assert sorted(episode.split for episode in told.episodes) == ["train", "val"]
    assert "digests, provenance and blessing" in said(done, "verify")
    kept, package = (line.split()[-1] for line in said(done, "keep").splitlines())
    name = kept.removeprefix(f"{store}/")
    checkpoint_store.fetch(open_store(store), name, tmp_path / "fetched")
    held = intact_package(locations.local_folder(package), "pi5-cpu")
    assert held.digest in said(done, "verify")
    channels = tmp_path / "store/continuon-model-artifacts/channels"
    assert held.digest in (channels / "nightly.json").read_text()


def test_manifest_in_a_bucket_becomes_a_verified_package_in_a_bucket(
    tmp_path: Path, kernel: str
) -> None:
    with gcs_testing.serving() as bucket:
        bucket.put_tree(DEMO, "curated/demo/")
        output = execute(
            tmp_path,
            kernel,
            CHECKOUT,
            manifest_uri="gs://bucket/curated/demo/manifest.json",
            store_uri=STORE,
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
