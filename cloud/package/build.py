"""Turns a trained model into a package folder that is whole or absent.

The package is made in a folder beside its place and moved there when it is complete,
so that a run that was killed while exporting never leaves half a package.
"""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np

from base import canonical_json, durable_file
from cloud.errors import DatasetError
from model import senses
from model.export import export
from model.export.targets import F32
from model.wavecore import WaveCore
from release import canary as canary_format
from release import package
from release.canary import Expectation
from rlds.episode import Episode

SAFETY_VERSION = "1"
SAFETY_MAX_STEPS = 500
"""Steps after which a robot stops an episode, whatever it does."""

CANARY_TOLERANCE = 1e-3
"""Accepted difference of the mean canary action error on another machine."""

_NS_PER_S = 1e9

_TIMED_EPISODES = 32
"""Enough to tell the control rate. It is a setting of the one robot kind that a dataset
is of, not a quantity that varies from episode to episode; the median over thousands of
steps, taken from all parts of the dataset, outvotes recordings that stumbled."""


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
    preferred_step: str = F32,
) -> BuiltPackage:
    """Exports a model and describes it as a package in `folder`.

    Args:
        model: the trained model.
        train: episodes; a few of them tell the control rate.
        held_out: episodes of which one per task becomes the canary.
        tasks: task names in the order of the one-hot input.
        folder: the package's place; what an earlier attempt left there is replaced.
        facts: what the package says about itself.
        preferred_step: form of the step that robots run, where the target has it.

    Raises:
        ExportError: the model cannot be exported.
        DatasetError: the episodes do not tell one control rate.
        ReleaseError: the files do not make a package.
    """
    spec = train[0].spec
    robot = {
        "observation": _observation(model),
        "action": {
            "shape": [spec.action_size],
            "dtype": "float32",
            "minimum": [facts.action_minimum] * spec.action_size,
            "maximum": [facts.action_maximum] * spec.action_size,
        },
        "control_hz": control_hz(train),
        "tasks": list(tasks),
    }
    described = {
        "family": facts.family,
        "version": facts.version,
        "release_counter": facts.release_counter,
        "target": facts.target,
        "robot": robot,
        "safety_version": SAFETY_VERSION,
        "metadata": {
            "dataset_manifest_digest": facts.dataset_manifest,
            "code_commit": facts.code_commit,
            "hardware": facts.hardware,
            "training_config": facts.training_config,
            "metrics": facts.metrics,
            "export_target": facts.target,
            "jax_version": jax.__version__,
        },
    }
    canary = canary_of(held_out, tasks)
    safety = _safety(facts, spec.action_size)
    return write(model, described, canary, safety, folder, preferred_step)


def _observation(model: WaveCore) -> dict[str, dict[str, object]]:
    """The state and each sense: shape and type of one step, as the robot gives it."""
    sensed = senses.recorded_specs(model.config)
    return {
        "state": {"shape": [model.config.state_size], "dtype": "float32"},
        **{
            name: {"shape": list(x.shape), "dtype": np.dtype(x.dtype).name}
            for name, x in sensed.items()
        },
    }


def write(
    model: WaveCore,
    described: Mapping[str, Any],
    canary: Sequence[Episode],
    safety: bytes,
    folder: Path,
    preferred_step: str = F32,
) -> BuiltPackage:
    """Exports a model as the package that `described` speaks of.

    Args:
        model: the trained model.
        described: fields of `package.json`, but for those that follow from the files.
        canary: episodes that every export is checked on.
        safety: content of the safety config.
        folder: the package's place; what an earlier attempt left there is replaced.
        preferred_step: form of the step that robots run, where the target has it.

    Raises:
        ExportError: the model cannot be exported.
        ReleaseError: the files do not make a package.
    """
    draft = _draft(folder)
    draft.mkdir(parents=True)
    target, tasks = described["target"], described["robot"]["tasks"]
    exported = export.write_functions(
        model, tasks, draft, canary, target, preferred_step
    )
    promise = Expectation(
        exported.canary_action_error, CANARY_TOLERANCE, exported.canary_steps
    )
    durable_file.write(draft / canary_format.FILE, promise.encode())
    durable_file.write(draft / package.SAFETY, safety)
    metadata = described["metadata"]
    metrics = {**metadata["metrics"], **_export_metrics(exported)}
    digest = package.build(
        draft,
        functions=exported.functions,
        surfaces=exported.surfaces,
        backbone_digest=exported.backbone_digest,
        **{**described, "metadata": {**metadata, "metrics": metrics}},
    )
    return _finished(draft, folder, digest, described["safety_version"])


def prefer_step(
    folder: Path, form: str, found: Mapping[str, object] | None = None
) -> BuiltPackage:
    """Makes robots run one form of the step that a package holds.

    The statements go, because they were about another digest.

    Args:
        folder: the package's.
        form: the step's, such as `int8`.
        found: further metrics for the package to tell, such as why this form.

    Raises:
        KeyError: the package holds no step of this form.
    """
    draft = _draft(folder)
    shutil.copytree(folder, draft)
    described = json.loads((draft / package.MANIFEST).read_bytes())
    functions = described["functions"]
    functions["step"] = functions[f"step_{form}"]
    metrics = described["metadata"]["metrics"]
    check = metrics["export_checks"][functions["step"]["path"]]
    metrics.update(found or {}, canary_action_error=check["canary_action_error"])
    promise = dataclasses.replace(
        canary_format.read(draft / canary_format.FILE),
        action_error=check["canary_action_error"],
    )
    durable_file.write(draft / canary_format.FILE, promise.encode())
    for field in ("schema_version", "files"):
        del described[field]
    digest = package.build(draft, **described)
    return _finished(draft, folder, digest, described["safety_version"])


def _export_metrics(exported: export.ExportResult) -> dict[str, object]:
    """What the checks found, in all and by file."""
    return {
        "canary_action_error": exported.canary_action_error,
        "export_max_abs_error": exported.max_abs_error,
        "export_checks": exported.checks,
        "export_left_out": exported.left_out,
    }


def _draft(folder: Path) -> Path:
    """A free place beside the package; what an earlier attempt left is removed."""
    draft = folder.with_name(f".draft-{folder.name}")
    shutil.rmtree(draft, ignore_errors=True)
    return draft


def _finished(
    draft: Path, folder: Path, digest: str, safety_version: str
) -> BuiltPackage:
    _replace(draft, folder)
    size_bytes = sum(p.stat().st_size for p in folder.rglob("*") if p.is_file())
    return BuiltPackage(folder, digest, size_bytes, safety_version)


def canary_of(held_out: Sequence[Episode], tasks: Sequence[str]) -> list[Episode]:
    """The first held-out episode of each task that has one."""
    found: dict[str, Episode] = {}
    for episode in held_out:
        if episode.metadata.task in tasks:
            found.setdefault(episode.metadata.task, episode)
    return [found[task] for task in sorted(found)]


def control_hz(episodes: Sequence[Episode]) -> float:
    """Steps per second, from the median time between recorded steps.

    Of many episodes only some are read, spread evenly.

    Raises:
        DatasetError: no such episode has two steps, or time does not pass between
            them.
    """
    count = min(len(episodes), _TIMED_EPISODES)
    places = np.linspace(0, len(episodes) - 1, count).round().astype(int).tolist()
    timed = [episodes[place] for place in places]
    gaps = [np.diff(np.asarray(e.steps["t_monotonic_ns"])) for e in timed]
    every = np.concatenate(gaps) if gaps else np.zeros(0)
    median_ns = float(np.median(every)) if every.size else 0.0
    if median_ns <= 0.0:
        raise DatasetError(
            "t_monotonic_ns",
            "time to pass between the steps of the training episodes",
            f"a median of {median_ns:.0f} ns",
            "record with a clock",
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
