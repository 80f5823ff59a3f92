"""The project's programs on a machine without Bazel, started from a checkout.

Bazel lays programs out beside the one that it starts. In a hosted notebook there is a
checkout only; a launcher for each program then stands where `cloud.programs` looks.
"""

from __future__ import annotations

import os
import shlex
import sys
from pathlib import Path

from cloud import programs

PROGRAMS = {
    "cloud/curate/curate": "cloud.curate.curate",
    "cloud/demo/build_dataset": "cloud.demo.build_dataset",
    "cloud/index/index": "cloud.index.index",
    "cloud/ingest/ingest": "cloud.ingest.ingest",
    "edge/record": "edge.record",
    "edge/run": "edge.run",
    "edge/episodes/upload": "edge.episodes.upload",
}


def ensure(folder: Path) -> bool:
    """Writes launchers below `folder` and points `RUNFILES_DIR` there, if needed.

    Returns:
        Whether launchers were needed; False where Bazel laid the programs out.
    """
    if (programs.root() / "edge/run").exists():
        return False
    checkout = Path(programs.__file__).absolute().parent.parent
    path = os.pathsep.join([str(checkout), *(p for p in sys.path if p)])
    for program, module in PROGRAMS.items():
        launcher = folder / programs.WORKSPACE / program
        launcher.parent.mkdir(parents=True, exist_ok=True)
        launcher.write_text(
            f"#!/bin/sh\nexport PYTHONPATH={shlex.quote(path)} JAX_PLATFORMS=cpu\n"
            f'exec {shlex.quote(sys.executable)} -m {module} "$@"\n'
        )
        launcher.chmod(0o755)
    os.environ["RUNFILES_DIR"] = str(folder.absolute())
    return True
