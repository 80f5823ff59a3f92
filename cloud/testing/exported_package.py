"""A package of a tiny model, exported once for all tests that read or change one.

Bazel exports it as `//cloud/testing:package`, with this file as the program; without
Bazel, the first test that asks for it does. Its robots run the int8 step.

Usage: python -m cloud.testing.exported_package FOLDER
"""

import functools
import shutil
import sys
import tempfile
from pathlib import Path

from cloud.package import build
from cloud.package.build import BuiltPackage, PackageFacts
from cloud.testing import training_episodes
from model import config
from model.testing import small_models
from model.testing.episodes import shorten_replay
from release import verification

FACTS = PackageFacts(
    family="wavecore",
    version="0.1.1",
    release_counter=3,
    target="pi5-cpu",
    robot_model="sawyer",
    action_minimum=(-1.0, -1.0),
    action_maximum=(1.0, 1.0),
    dataset_name="metaworld_demo",
    dataset_version="0.1.0",
    manifest_digest="d" * 64,
    code_commit="unversioned",
    hardware="test machine",
    training_config={"preset": "tiny"},
    metrics={"held_out_loss": 0.1},
)
_MADE_BY_BAZEL = Path(__file__).with_name("package")


def copy(folder: Path) -> BuiltPackage:
    """Copies the package to the new folder `folder`, as files that may be changed."""
    source, size_bytes = _MADE_BY_BAZEL, 0
    if not source.exists():
        source = _export_once()
    for path in source.rglob("*"):
        if path.is_file():
            target = folder / path.relative_to(source)
            target.parent.mkdir(parents=True, exist_ok=True)
            # The content alone: what Bazel makes cannot be written to.
            shutil.copyfile(path, target)
            size_bytes += target.stat().st_size
    intact = verification.verify_integrity(folder)
    safety_version = intact.manifest.safety_version
    return BuiltPackage(folder, intact.digest, size_bytes, safety_version)


def export(folder: Path) -> BuiltPackage:
    """Exports to `folder`; the model is always the same."""
    with shorten_replay():
        return build.export_and_build(
            small_models.model(config.tiny(state_size=4, action_size=2, task_count=2)),
            training_episodes.episodes(6),
            training_episodes.episodes(4, first=100),
            training_episodes.TASKS,
            folder,
            FACTS,
            "int8",
        )


@functools.cache
def _export_once() -> Path:
    return export(Path(tempfile.mkdtemp()) / "pi5-cpu").folder


if __name__ == "__main__":
    export(Path(sys.argv[1]))
