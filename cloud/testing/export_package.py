"""Exports a tiny model as a package of which robots run the int8 step.

Usage: python -m cloud.testing.export_package FOLDER
"""

import sys
from pathlib import Path

from cloud.package import build
from cloud.testing import package_facts, training_episodes
from model import config
from model.testing import small_models
from model.testing.episodes import shorten_replay


def export(folder: Path) -> build.BuiltPackage:
    """Exports into `folder`; the model is the same each time."""
    with shorten_replay():
        return build.export_and_build(
            small_models.model(config.tiny(state_size=4, action_size=2, task_count=2)),
            training_episodes.episodes(6),
            training_episodes.episodes(4, first=100),
            training_episodes.TASKS,
            folder,
            package_facts.FACTS,
            "int8",
        )


if __name__ == "__main__":
    export(Path(sys.argv[1]))
