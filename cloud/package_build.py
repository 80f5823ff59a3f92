"""Turns a trained model into a package folder that is whole or absent.

The package is made in a folder beside its place and moved there when it is complete,
so that a run that was killed while exporting never leaves half a package.
"""

from __future__ import annotations

import dataclasses
import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

import jax
import numpy as np

from cloud.errors import DatasetError
from model import export
from model.wavecore import WaveCore
from release import package
from rlds import canonical_json, durable_file
from rlds.episode import Episode

SAFETY_VERSION = "1"
SAFETY_MAX_STEPS = 500
"""Steps after which a robot stops an episode, whatever it does."""

_NS_PER_S = 1e9


@dataclasses.dataclass(frozen=True)
class PackageFacts:
    """What a package says about itself besides its functions.

    Attributes:
        family: name shared by all versions of the model.
        version: this model's version, for people.
        release_counter: lowest channel counter it may be released under.
        target: export target.
        action_minimum: lowest action of each channel.
        action_maximum: highest action of each channel.
        dataset_manifest: digest of the dataset's manifest.
        code_commit: commit of the training code.
        hardware: machine it was trained on.
        training_config: every training setting.
        metrics: figures measured in training.
    """

    family: str
    version: str
    release_counter: int
    target: str
    action_minimum: float
    action_maximum: float
    dataset_manifest: str
    code_commit: str
    hardware: str
    training_config: Mapping[str, object]
    metrics: Mapping[str, object]


@dataclasses.dataclass(frozen=True)
class BuiltPackage:
    """A package folder that is whole, and its digest."""

    folder: Path
    digest: str
    size_bytes: int
    safety_version: str


def export_and_build(
    model: WaveCore,
    train: Sequence[Episode],
    held_out: Sequence[Episode],
    tasks: Sequence[str],
    folder: Path,
    facts: PackageFacts,
) -> BuiltPackage:
    """Exports a model and describes it as a package in `folder`.

    Args:
        model: the trained model.
        train: episodes that the control rate is taken from.
        held_out: episodes of which one per task becomes the canary.
        tasks: task names in the order of the one-hot input.
        folder: the package's place; what an earlier attempt left there is replaced.
        facts: what the package says about itself.

    Raises:
        ExportError: the model cannot be exported.
        DatasetError: the episodes do not tell one control rate.
        ReleaseError: the files do not make a package.
    """
    draft = folder.with_name(f".draft-{folder.name}")
    shutil.rmtree(draft, ignore_errors=True)
    draft.mkdir(parents=True)
    exported = export.write_functions(model, tasks, draft, canary_of(held_out, tasks))
    spec = train[0].spec
    robot = {
        "observation": {"state": {"shape": [spec.state_size], "dtype": "float32"}},
        "action": {
            "shape": [spec.action_size],
            "dtype": "float32",
            "minimum": [facts.action_minimum] * spec.action_size,
            "maximum": [facts.action_maximum] * spec.action_size,
        },
        "control_hz": control_hz(train),
        "tasks": list(tasks),
    }
    durable_file.write(draft / package.SAFETY, _safety(facts, spec.action_size))
    digest = package.build(
        draft,
        family=facts.family,
        version=facts.version,
        release_counter=facts.release_counter,
        target=facts.target,
        robot=robot,
        functions=exported.functions,
        surfaces=exported.surfaces,
        backbone_digest=exported.backbone_digest,
        safety_version=SAFETY_VERSION,
        metadata={
            "dataset_manifest_digest": facts.dataset_manifest,
            "code_commit": facts.code_commit,
            "hardware": facts.hardware,
            "training_config": facts.training_config,
            "metrics": {
                **facts.metrics,
                "canary_action_error": exported.canary_action_error,
                "export_max_abs_error": exported.max_abs_error,
            },
            "export_target": facts.target,
            "jax_version": jax.__version__,
        },
    )
    _replace(draft, folder)
    size_bytes = sum(p.stat().st_size for p in folder.rglob("*") if p.is_file())
    return BuiltPackage(folder, digest, size_bytes, SAFETY_VERSION)


def canary_of(held_out: Sequence[Episode], tasks: Sequence[str]) -> list[Episode]:
    """The first held-out episode of each task that has one."""
    found: dict[str, Episode] = {}
    for episode in held_out:
        if episode.metadata.task in tasks:
            found.setdefault(episode.metadata.task, episode)
    return [found[task] for task in sorted(found)]


def control_hz(episodes: Sequence[Episode]) -> float:
    """Steps per second, from the median time between recorded steps.

    Raises:
        DatasetError: no episode has two steps, or time does not pass between them.
    """
    gaps = [np.diff(np.asarray(e.steps["t_monotonic_ns"])) for e in episodes]
    every = np.concatenate(gaps) if gaps else np.zeros(0)
    median_ns = float(np.median(every)) if every.size else 0.0
    if median_ns <= 0.0:
        raise DatasetError(
            "t_monotonic_ns: expected time to pass between the steps of the training "
            f"episodes, got a median of {median_ns:.0f} ns; record with a clock"
        )
    return round(_NS_PER_S / median_ns, 3)


def _safety(facts: PackageFacts, action_size: int) -> bytes:
    return canonical_json.encode(
        {
            "schema_version": 1,
            "version": SAFETY_VERSION,
            "action_minimum": [facts.action_minimum] * action_size,
            "action_maximum": [facts.action_maximum] * action_size,
            "max_action_delta": None,
            "stop_rules": {
                "max_steps": SAFETY_MAX_STEPS,
                "non_finite_action": "stop",
            },
        }
    )


def _replace(draft: Path, folder: Path) -> None:
    """Moves a complete folder to its place, durably."""
    for parent, _, _ in os.walk(draft, topdown=False):
        durable_file.fsync_folder(Path(parent))
    shutil.rmtree(folder, ignore_errors=True)
    draft.rename(folder)
    durable_file.fsync_folder(folder.parent)
