"""Turns a trained model into a package folder that is whole or absent.

The package is made in a folder beside its destination and moved there when it is
complete, so a run that is killed while exporting never leaves half a package.
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
from release import package, package_folder
from release.canary import Expectation
from rlds.episode import Episode
from rlds.spec import EpisodeSpec

SAFETY_VERSION = "1"
SAFETY_MAX_STEPS = 500
"""Steps after which a robot stops any episode."""

CANARY_TOLERANCE = 1e-3
"""Accepted difference of the mean canary action error on another machine, in half
ranges of the action. `release/canary.py` says what was measured."""

_NS_PER_S = 1e9

_OBSERVED = "observation/"
_SAMPLED_EPISODES = 32
"""Enough to find the control rate: the median over thousands of steps, from all parts
of the dataset, is not affected by recordings with delays."""


@dataclasses.dataclass(frozen=True)
class PackageFacts:
    """What a package states about itself besides its functions.

    Attributes:
        family: name shared by all versions of the model.
        version: this model's version, for people.
        release_counter: lowest channel counter that it may be released under.
        target: export target.
        robot_model: the kind of robot that it drives.
        action_minimum: lowest action, one number per channel, in the robot's unit.
        action_maximum: highest action, one number per channel, in the robot's unit.
        dataset_name: name of the dataset.
        dataset_version: its version, `X.Y.Z`.
        manifest_digest: digest of the dataset's manifest.
        code_commit: commit of the training code.
        hardware: machine it was trained on.
        training_config: every training setting.
        metrics: metrics measured in training.
    """

    family: str
    version: str
    release_counter: int
    target: str
    robot_model: str
    action_minimum: tuple[float, ...]
    action_maximum: tuple[float, ...]
    dataset_name: str
    dataset_version: str
    manifest_digest: str
    code_commit: str
    hardware: str
    training_config: Mapping[str, object]
    metrics: Mapping[str, object]


@dataclasses.dataclass(frozen=True)
class BuiltPackage:
    """A whole package folder and its digest."""

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
        train: training episodes; a few of them give the control rate.
        held_out: held-out episodes; one per task becomes the canary.
        tasks: task names in the order of the model's one-hot input.
        folder: the package's folder; what an earlier attempt left there is replaced.
        facts: what the package states about itself.
        preferred_step: step form that robots run, if the target has it.

    Raises:
        ExportError: the model cannot be exported.
        DatasetError: no time passes between the steps of the episodes.
        ReleaseError: the files do not form a package.
    """
    spec = train[0].spec
    robot = {
        "robot_model": facts.robot_model,
        "observation": _observation(model, spec),
        "action": {
            "shape": [spec.action_size],
            "dtype": "float32",
            "minimum": list(facts.action_minimum),
            "maximum": list(facts.action_maximum),
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
            "dataset_name": facts.dataset_name,
            "dataset_version": facts.dataset_version,
            "dataset_manifest_digest": facts.manifest_digest,
            "code_commit": facts.code_commit,
            "hardware": facts.hardware,
            "training_config": facts.training_config,
            "metrics": facts.metrics,
            "export_target": facts.target,
            "jax_version": jax.__version__,
        },
    }
    canary = select_canary(held_out, tasks)
    safety = _safety(facts)
    return write(model, described, canary, safety, folder, preferred_step)


def _observation(model: WaveCore, spec: EpisodeSpec) -> dict[str, dict[str, object]]:
    """Describes state and senses: shape and dtype as the robot gives each step.

    Each camera has its own name there; the model reads their frames beside each other.
    """
    config = model.config
    described: dict[str, dict[str, object]] = {
        "state": {"shape": [config.state_size], "dtype": "float32"}
    }
    for name, x in senses.recorded_specs(config).items():
        own: tuple[str, ...] = (name,)
        shape = list(x.shape)
        if len(shape) > 1:
            own = tuple(f.removeprefix(_OBSERVED) for f in spec.picture_fields)
            shape[1] = config.image_width
        dtype = np.dtype(x.dtype).name
        described |= {one: {"shape": shape, "dtype": dtype} for one in own}
    return described


def write(
    model: WaveCore,
    described: Mapping[str, Any],
    canary: Sequence[Episode],
    safety: bytes,
    folder: Path,
    preferred_step: str = F32,
) -> BuiltPackage:
    """Exports a model as the package that `described` describes.

    Args:
        model: the trained model.
        described: fields of `package.json`, except those that depend on the files.
        canary: episodes that every export is checked on.
        safety: content of the safety config.
        folder: the package's folder; what an earlier attempt left there is replaced.
        preferred_step: step form that robots run, if the target has it.

    Raises:
        ExportError: the model cannot be exported.
        ReleaseError: the files do not form a package.
    """
    draft = _draft(folder)
    draft.mkdir(parents=True)
    target, robot = described["target"], described["robot"]
    exported = export.write_functions(
        model, robot["tasks"], draft, canary, target, preferred_step
    )
    limits = robot["action"]["minimum"], robot["action"]["maximum"]
    promise = Expectation(
        exported.canary_action_error,
        CANARY_TOLERANCE * canary_format.half_range(*limits),
        exported.canary_steps,
    )
    durable_file.write(draft / canary_format.FILE, promise.encode())
    durable_file.write(draft / package.SAFETY, safety)
    metadata = described["metadata"]
    metrics = {**metadata["metrics"], **_export_metrics(exported)}
    digest = package_folder.build(
        draft,
        functions=exported.functions,
        surfaces=exported.surfaces,
        learning=exported.learning,
        backbone_digest=exported.backbone_digest,
        **{**described, "metadata": {**metadata, "metrics": metrics}},
    )
    return _finish(draft, folder, digest, described["safety_version"])


def prefer_step(
    folder: Path, form: str, found: Mapping[str, object] | None = None
) -> BuiltPackage:
    """Sets which step form of a package robots run.

    The statements are removed, because they were about another digest.

    Args:
        folder: the package's folder.
        form: the step form, such as `int8`.
        found: metrics to add to `package.json`, such as the reason for this form.

    Raises:
        KeyError: the package has no step of this form.
        ReleaseError: the files do not form a package.
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
    digest = package_folder.build(draft, **described)
    return _finish(draft, folder, digest, described["safety_version"])


def _export_metrics(exported: export.ExportResult) -> dict[str, object]:
    """Returns the results of the checks, overall and by file, as metrics."""
    return {
        "canary_action_error": exported.canary_action_error,
        "export_max_abs_error": exported.max_abs_error,
        "export_checks": exported.checks,
        "export_left_out": exported.left_out,
    }


def _draft(folder: Path) -> Path:
    """Returns a free path beside the package; removes what an earlier attempt left."""
    draft = folder.with_name(f".draft-{folder.name}")
    shutil.rmtree(draft, ignore_errors=True)
    return draft


def _finish(
    draft: Path, folder: Path, digest: str, safety_version: str
) -> BuiltPackage:
    _replace(draft, folder)
    size_bytes = sum(p.stat().st_size for p in folder.rglob("*") if p.is_file())
    return BuiltPackage(folder, digest, size_bytes, safety_version)


def select_canary(held_out: Sequence[Episode], tasks: Sequence[str]) -> list[Episode]:
    """Returns the first held-out episode of each task that has one."""
    found: dict[str, Episode] = {}
    for episode in held_out:
        if episode.metadata.task in tasks:
            found.setdefault(episode.metadata.task, episode)
    return [found[task] for task in sorted(found)]


def control_hz(episodes: Sequence[Episode]) -> float:
    """Returns control steps per second, from the median time between recorded steps.

    At most 32 episodes are read, spread evenly.

    Raises:
        DatasetError: none of these episodes has two steps, or no time passes between
            them.
    """
    sampled = _sample(episodes)
    gaps = [np.diff(np.asarray(e.steps["t_monotonic_ns"])) for e in sampled]
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


def _sample(episodes: Sequence[Episode]) -> list[Episode]:
    count = min(len(episodes), _SAMPLED_EPISODES)
    chosen = np.linspace(0, len(episodes) - 1, count).round().astype(int).tolist()
    return [episodes[k] for k in chosen]


def _safety(facts: PackageFacts) -> bytes:
    return canonical_json.encode(
        {
            "schema_version": 1,
            "version": SAFETY_VERSION,
            "action_minimum": list(facts.action_minimum),
            "action_maximum": list(facts.action_maximum),
            "max_action_delta": None,
            "stop_rules": {
                "max_steps": SAFETY_MAX_STEPS,
                "non_finite_action": "stop",
            },
        }
    )


def _replace(draft: Path, folder: Path) -> None:
    """Moves a complete folder to its destination, durably."""
    for parent, _, _ in os.walk(draft, topdown=False):
        durable_file.fsync_folder(Path(parent))
    shutil.rmtree(folder, ignore_errors=True)
    draft.rename(folder)
    durable_file.fsync_folder(folder.parent)
