"""Shared by the benchmarks: the file of their figures, and how a test runs them.

A figure is one number with its name and unit; `vs` names the figure that it is compared
with, and `ratio` is the quotient of the two. Both are null without a comparison.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path

from absl import flags

from base import durable_file, text_forms
from rlds.episode import EpisodeMetadata
from rlds.spec import SCHEMA_VERSION

_JSON = flags.DEFINE_string(
    "json", None, "file for the figures, a list of name, value, unit, vs and ratio"
)

Figure = Mapping[str, object]


def figure(
    name: str,
    value: float,
    unit: str,
    vs: str | None = None,
    ratio: float | None = None,
) -> Figure:
    """One entry of the list that `--json` writes."""
    return {"name": name, "value": value, "unit": unit, "vs": vs, "ratio": ratio}


def write_figures(figures: Iterable[Figure]) -> None:
    """Writes the list to the file that `--json` names, if it names one.

    Raises:
        DiskError: the file cannot be written.
    """
    if _JSON.value:
        content = json.dumps(list(figures), indent=1) + "\n"
        durable_file.write(Path(_JSON.value), content.encode())


def make_metadata(number: int) -> EpisodeMetadata:
    """Metadata of the synthetic episode `number`; only the id differs between them."""
    return EpisodeMetadata(
        schema_version=SCHEMA_VERSION,
        episode_id=text_forms.format_uuid7(number, bytes(10)),
        robot_hash="benchmark",
        robot_model="benchmark",
        environment_id="benchmark",
        package_digest="",
        delta_digest="",
        channel="",
        software_version="0.1.0",
        start_time="2026-01-01T00:00:00Z",
        location="",
        tags=(),
        task="benchmark",
        success=None,
        operator="expert",
    )


def run(program: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Runs a program of this folder as a user does, whatever its exit code.

    Like Bazel, it keeps this folder out of the path: `model.py` would hide `model/`.
    """
    return subprocess.run(
        [sys.executable, "-P", str(Path(__file__).with_name(program)), *arguments],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        check=False,
    )
