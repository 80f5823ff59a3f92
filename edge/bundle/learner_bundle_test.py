"""The learner's archive, unpacked over the bundle, learns a night under an emulator."""

import json
import os
import tarfile
from pathlib import Path
from typing import Final

import pytest

from edge.bundle import archive, elf
from edge.loops.delta_store import CURRENT, DeltaStore
from edge.testing import processes, tiny_learning
from edge.testing.learning_home import LearningHome

LISTING: Final = "LEARNER.json"
EPISODES: Final = 8


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Both archives, unpacked over each other as on a Pi."""
    folder = processes.unpack_bundle(tmp_path_factory.mktemp("any where"))
    below = {path for path in folder.rglob("*") if path.is_file()}
    with tarfile.open(Path(os.environ["LEARNER"]).absolute()) as tar:
        added = {folder.parent / one.name for one in tar if one.isfile() or one.islnk()}
        assert added.isdisjoint(below)  # control is the same with it and without it
        tar.extractall(folder.parent, filter="data")
    return folder


def test_only_the_learners_archive_holds_jax_and_of_scipy_only_lapack(
    root: Path,
) -> None:
    below = json.loads((root / archive.LISTING).read_bytes())["files"]
    added = json.loads((root / LISTING).read_bytes())["files"]
    kept = {one["path"] for one in below}
    learners = {one["path"] for one in added}
    assert not [path for path in kept if path.startswith("site-packages/jax")]
    assert "site-packages/jax/__init__.py" in learners
    scipy = {path.split("/")[2] for path in learners if "-packages/scipy/" in path}
    folders = {name for name in scipy if not name.endswith((".py", ".so"))}
    assert folders == {"_external", "_lib", "linalg"}
    assert {"code/edge/processes/learn.py", "code/edge/loops/learner.py"} <= learners
    assert "systemd/continuon-learn.service" in learners
    machines = {elf.read_machine((root / path).read_bytes()) for path in learners}
    assert machines == {None, "aarch64"}


def test_night_is_learned_and_its_delta_counts(root: Path, tmp_path: Path) -> None:
    home = LearningHome(tmp_path)
    home.install()
    home.show(EPISODES)
    done = processes.run_on_pi(
        root,
        f"--home={tmp_path}",
        f"--robot_id={tiny_learning.ROBOT_ID}",
        "--once",
        environment={"CONTINUON_PROGRAM": "edge.processes.learn"},
    )
    assert done.returncode == 0, done.stderr
    digest = DeltaStore(tmp_path / "deltas").named(CURRENT)
    assert digest is not None
    assert DeltaStore(tmp_path / "deltas").folder(digest).is_dir()
