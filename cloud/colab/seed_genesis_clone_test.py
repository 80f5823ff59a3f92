"""Runs the whole notebook in a clone: demo episodes, training, a store in a folder."""

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import nbformat
import papermill
import pytest

from base.store.store import open_store
from cloud import locations
from cloud.colab.notebook_run import execute, printed
from cloud.job import checkpoint_store
from release.verification import verify_integrity
from rlds import manifest

SOURCES = ("base", "cloud", "edge", "model", "release", "rlds")
LOCKS = "third_party/python/locks"


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
    assert printed(done, "data").strip() == episodes.as_uri()
    written = manifest.parse((episodes / "manifest.json").read_bytes())
    assert sorted(episode.split for episode in written.episodes) == ["train", "val"]
    assert "digests, provenance and blessing" in printed(done, "verify")
    kept, package = (line.split()[-1] for line in printed(done, "keep").splitlines())
    name = kept.removeprefix(f"{store}/")
    checkpoint_store.fetch(open_store(store), name, tmp_path / "fetched")
    held = verify_integrity(locations.local_folder(package), "pi5-cpu")
    assert held.digest in printed(done, "verify")
    channels = tmp_path / "store/continuon-model-artifacts/channels"
    assert held.digest in (channels / "nightly.json").read_text()
