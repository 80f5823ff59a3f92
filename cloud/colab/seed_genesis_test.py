"""The notebook as a file, of which only the source is committed, and run by papermill.

It runs whole in a clone, with demo episodes and a store in a folder, and on a dataset
in a bucket, with a store in a bucket.
"""

import ast
import json
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import nbformat
import papermill
import pytest

from base.store.store import open_store
from base.testing import bucket as local_bucket
from cloud import locations
from cloud.colab.notebook_run import execute, read_printed
from cloud.job import checkpoint_store
from release.verification import verify_integrity
from rlds import manifest

PATH = Path("cloud/colab/seed_genesis.ipynb")
NOTEBOOK = nbformat.read(PATH, as_version=4)
CODE = [cell for cell in NOTEBOOK.cells if cell.cell_type == "code"]
SOURCES = ("base", "cloud", "edge", "model", "release", "rlds")
LOCKS = "third_party/python/locks"
DEMO = Path("cloud/demo/dataset").absolute()
STORE = "gs://bucket/store"


def test_notebook_is_valid_and_its_cells_have_ids() -> None:
    nbformat.validate(NOTEBOOK)
    assert (NOTEBOOK.nbformat, NOTEBOOK.nbformat_minor) == (4, 5)
    ids = [cell["id"] for cell in json.loads(PATH.read_text())["cells"]]
    assert len(set(ids)) == len(ids)


@pytest.mark.parametrize("cell", CODE, ids=lambda cell: cell.id)
def test_no_output_is_committed_and_the_code_compiles(
    cell: nbformat.NotebookNode,
) -> None:
    assert cell.outputs == []
    assert cell.execution_count is None
    compile(cell.source, f"{PATH}:{cell.id}", "exec")
    assert all(len(line) <= 88 for line in cell.source.splitlines())


def test_one_cell_describes_every_parameter() -> None:
    tagged = [cell for cell in CODE if "parameters" in cell.metadata.get("tags", [])]
    assert len(tagged) == 1
    assert all("  # " in line for line in tagged[0].source.splitlines())
    tree = ast.parse(tagged[0].source)
    assert all(isinstance(line, ast.Assign) for line in tree.body)


def test_each_code_cell_is_short() -> None:
    for cell in CODE:
        assert len(cell.source.splitlines()) <= 40, cell.id


@pytest.fixture
def start() -> Iterator[Path]:
    """An empty folder to run the notebook in, without sources in it or above it."""
    # Temporary folders of Bazel's tests are below a tree of the sources.
    with tempfile.TemporaryDirectory(prefix="notebook-", dir="/tmp") as name:
        yield Path(name)


def lay_out_sources(folder: Path) -> None:
    """Copies the sources, without any build products."""
    files = [f for name in SOURCES for f in Path(name).rglob("*.py")]
    for file in [*files, *Path(LOCKS).glob("*.txt")]:
        (folder / file).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(file, folder / file)


def test_without_a_clone_and_an_address_the_notebook_fails_at_once(
    tmp_path: Path, start: Path
) -> None:
    with pytest.raises(papermill.PapermillExecutionError) as e:
        execute(tmp_path, start)
    assert e.value.ename == "ValueError"
    assert e.value.evalue == (
        "repository_url: expected the git URL of your copy of this repository, got"
        f" none, and no clone in or above {start} or in {start}/continuonbrain; set it"
        " in the cell above and run all cells again"
    )
    assert not any(start.iterdir())
    assert not (tmp_path / "work").exists()


@pytest.mark.long
def test_in_a_clone_demo_episodes_become_a_verified_package_in_a_folder(
    tmp_path: Path, start: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # As on a hosted machine: no programs and no episodes from a build.
    monkeypatch.delenv("RUNFILES_DIR", raising=False)
    lay_out_sources(start / "continuonbrain")
    store = f"file://{tmp_path}/store"
    output = execute(
        tmp_path,
        start,
        store_uri=store,
        demo_robots=2,
        episodes_per_task=1,
    )
    done = nbformat.read(output, as_version=4)
    episodes = tmp_path / "work/episodes/dataset"
    assert read_printed(done, "data").strip() == episodes.as_uri()
    written = manifest.parse((episodes / "manifest.json").read_bytes())
    assert sorted(episode.split for episode in written.episodes) == ["train", "val"]
    assert "digests, provenance and blessing" in read_printed(done, "verify")
    kept, package = (
        line.split()[-1] for line in read_printed(done, "keep").splitlines()
    )
    name = kept.removeprefix(f"{store}/")
    checkpoint_store.fetch(open_store(store), name, tmp_path / "fetched")
    folder = locations.local_folder(package)
    assert folder is not None
    held = verify_integrity(folder, "pi5-cpu")
    assert held.digest in read_printed(done, "verify")
    channels = tmp_path / "store/continuon-model-artifacts/channels"
    assert held.digest in (channels / "nightly.json").read_text()


def picture_kinds(notebook: nbformat.NotebookNode, cell_id: str) -> set[str]:
    """Returns the kinds of picture that a cell showed."""
    outputs = next(cell for cell in notebook.cells if cell.id == cell_id).outputs
    return {kind for output in outputs for kind in output.get("data", {})}


# The bucket's client warns if gRPC is installed, which it does not use here.
@pytest.mark.filterwarnings("ignore:Please install grpcio-status")
@pytest.mark.long
def test_dataset_in_a_bucket_becomes_a_verified_package_in_a_bucket(
    tmp_path: Path,
) -> None:
    with local_bucket.serve() as bucket:
        bucket.put_tree(DEMO, "curated/demo/")
        output = execute(
            tmp_path,
            Path.cwd(),
            manifest_uri="gs://bucket/curated/demo/manifest.json",
            store_uri=STORE,
        )
        done = nbformat.read(output, as_version=4)
        kept = read_printed(done, "keep").split()[1].removeprefix(f"{STORE}/")
        checkpoint_store.fetch(open_store(STORE), kept, tmp_path / "fetched" / "20")
    assert (tmp_path / "fetched" / "20" / "_CHECKPOINT_METADATA").is_file()
    assert "to install: nothing" in read_printed(done, "install")
    assert read_printed(done, "device").startswith("CPU")
    for cell in ("loss", "success", "trajectories"):
        assert "image/svg+xml" in picture_kinds(done, cell)
    assert picture_kinds(done, "video") & {"image/gif", "image/png"}
    assert (tmp_path / "work" / "episode.gif").read_bytes().startswith(b"GIF89a")
    assert "digests, provenance and blessing" in read_printed(done, "verify")
    packages = [name for name in bucket.objects if name.endswith("/package.json")]
    assert len(packages) == 1 and packages[0].startswith("store/")
    assert any(name.endswith("/channels/nightly.json") for name in bucket.objects)
