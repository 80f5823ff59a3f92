"""Runs the whole notebook through papermill: a manifest and a store in a bucket."""

from pathlib import Path

import nbformat
import pytest

from base.store.store import open_store
from base.testing import bucket as local_bucket
from cloud.colab.notebook_run import execute, said
from cloud.job import checkpoint_store

# The bucket's client says so where gRPC is installed beside it; it uses none here.
pytestmark = pytest.mark.filterwarnings("ignore:Please install grpcio-status")

DEMO = Path("cloud/demo/dataset").absolute()
STORE = "gs://bucket/store"


def shown(notebook: nbformat.NotebookNode, cell_id: str) -> set[str]:
    """The kinds of picture that a cell showed."""
    outputs = next(cell for cell in notebook.cells if cell.id == cell_id).outputs
    return {kind for output in outputs for kind in output.get("data", {})}


def test_manifest_in_a_bucket_becomes_a_verified_package_in_a_bucket(
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
