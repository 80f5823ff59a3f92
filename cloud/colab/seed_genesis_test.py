"""Runs the whole notebook through papermill: a manifest and a store in a bucket."""

from pathlib import Path

import nbformat
import pytest

from base.store.store import open_store
from base.testing import bucket as local_bucket
from cloud.colab.notebook_run import execute, printed
from cloud.job import checkpoint_store

# The bucket's client warns if gRPC is installed, which it does not use here.
pytestmark = pytest.mark.filterwarnings("ignore:Please install grpcio-status")

DEMO = Path("cloud/demo/dataset").absolute()
STORE = "gs://bucket/store"


def picture_kinds(notebook: nbformat.NotebookNode, cell_id: str) -> set[str]:
    """Returns the kinds of picture that a cell showed."""
    outputs = next(cell for cell in notebook.cells if cell.id == cell_id).outputs
    return {kind for output in outputs for kind in output.get("data", {})}


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
        kept = printed(done, "keep").split()[1].removeprefix(f"{STORE}/")
        checkpoint_store.fetch(open_store(STORE), kept, tmp_path / "fetched" / "20")
    assert (tmp_path / "fetched" / "20" / "_CHECKPOINT_METADATA").is_file()
    assert "to install: nothing" in printed(done, "install")
    assert printed(done, "device").startswith("CPU")
    for cell in ("loss", "success", "trajectories"):
        assert "image/svg+xml" in picture_kinds(done, cell)
    assert picture_kinds(done, "video") & {"image/gif", "image/png"}
    assert (tmp_path / "work" / "episode.gif").read_bytes().startswith(b"GIF89a")
    assert "digests, provenance and blessing" in printed(done, "verify")
    packages = [name for name in bucket.objects if name.endswith("/package.json")]
    assert len(packages) == 1 and packages[0].startswith("store/")
    assert any(name.endswith("/channels/nightly.json") for name in bucket.objects)
