"""Exports a tiny model as a package whose robots run the int8 step.

Usage: python -m cloud.testing.export_package FOLDER
"""

import sys
from pathlib import Path

from cloud.package import build
from cloud.package.build import PackageFacts
from cloud.testing import training_episodes
from model import config
from model.testing import small_models
from model.testing.episodes import shorten_replay

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


def export(folder: Path) -> build.BuiltPackage:
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


if __name__ == "__main__":
    export(Path(sys.argv[1]))
