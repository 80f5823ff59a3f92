"""Exports the model of a finished run for another target.

    ./bazelw run //cloud:export -- --run=STORE/continuon-model-artifacts/wavecore/RUN \\
        --target=jetson-cuda --output=DIR

The weights are those of the run's package: the averaged ones of its last checkpoint.
The canary episodes, the safety config and the statements about the package's origin are
copied. Every function is checked against the model on those episodes before the package
exists. It is not signed: //release:sign does that, after an evaluation on its own
target.
"""

import base.interrupt  # noqa: F401 - Ctrl-C ends it from here on

import dataclasses
from pathlib import Path
from typing import Any

import jax
import safetensors.numpy
from absl import app, flags

from base import command_line, path_flags
from cloud.console import WorkProgress, open_console
from cloud.errors import ExportSourceError
from cloud.package import build
from cloud.package.build import BuiltPackage
from model import config, step_function
from model.wavecore import WaveCore
from release import package, verification
from release.package import PackageManifest
from release.verification import IntactPackage
from rlds import example_codec, tfrecord
from rlds.episode import Episode
from rlds.spec import EpisodeSpec

_RUN = flags.DEFINE_string("run", None, "folder of a run", required=True)
_TARGET = flags.DEFINE_enum(
    "target", None, package.TARGETS, "target to export for", required=True
)
_OUTPUT = flags.DEFINE_string(
    "output",
    None,
    "folder of the new package, which replaces an earlier one; default: "
    "export/<target> in the run",
)

SOURCE_TARGET = "pi5-cpu"
"""Target of the package that every run has."""
LARGEST_CANARY_BYTES = 256 * 1024 * 1024
_CAMERA = "image_"
_EXPORT_METRICS = "export_", "canary_"
path_flags.folders("run", "output")


def main(argv: list[str]) -> None:
    """Exports the model that the flags name and prints the new package."""
    if len(argv) > 1:
        raise app.UsageError(f"expected flags only, got {argv[1]!r}")
    run = Path(_RUN.value)
    output = _OUTPUT.value or run / "export" / _TARGET.value
    with WorkProgress(open_console(), "export"):
        built = export_again(run, _TARGET.value, Path(output))
    command_line.say(
        f"package {built.digest} for {_TARGET.value},"
        f" {built.size_bytes / 1e6:.1f} MB, at {built.folder}"
    )


def export_again(run: Path, target: str, output: Path) -> BuiltPackage:
    """Exports a run's model as a package for one target.

    Args:
        run: the run's folder.
        target: export target.
        output: the package's folder; a package that is there is replaced.

    Raises:
        ExportSourceError: the run has no package that states its preset, or something
            else is at `output`.
        ExportError, ShapeMismatchError: the model cannot be exported.
        ReleaseError: the run's package is damaged.
        RldsError: the package's canary episodes are damaged.
    """
    _require_free(output)
    source = verification.verify_integrity(_source(run), SOURCE_TARGET)
    output.absolute().parent.mkdir(parents=True, exist_ok=True)
    return build.write(
        _model(source),
        _describe(source.manifest, target),
        _canary(source),
        source.path(package.SAFETY).read_bytes(),
        output.absolute(),
    )


def _require_free(output: Path) -> None:
    if output.exists() and not (output / package.MANIFEST).is_file():
        raise ExportSourceError(
            output, "nothing or a package", "something else", "name another --output"
        )


def _source(run: Path) -> Path:
    folder = run / "export" / SOURCE_TARGET
    if not (folder / package.MANIFEST).is_file():
        raise ExportSourceError(
            run,
            f"the folder of a run with a package in export/{SOURCE_TARGET}",
            "none",
            "name a run that //cloud:train has finished",
        )
    return folder


def _model(source: IntactPackage) -> WaveCore:
    """Restores the trained model from the weights and the package's description."""
    manifest = source.manifest
    preset = manifest.metadata.training_config.get("preset")
    if preset not in config.PRESETS:
        raise ExportSourceError(
            source.folder,
            f"a training config with one of the presets {', '.join(config.PRESETS)}",
            f"{preset!r}",
            "export with the code that trained the run",
        )
    observed = {name: x.shape for name, x in manifest.robot.observation.items()}
    (state_size,), (action_size,) = observed["state"], manifest.robot.action.shape
    spec = EpisodeSpec(
        state_size,
        action_size,
        image="image" in observed,
        audio_size=sum(observed.get("audio_mel", ())),
        cameras=tuple(
            sorted(
                name.removeprefix(_CAMERA)
                for name in observed
                if name.startswith(_CAMERA)
            )
        ),
    )
    sizes = config.fit_preset(preset, spec, len(manifest.robot.tasks))
    arrays = safetensors.numpy.load_file(source.path(package.WEIGHTS))
    return step_function.from_weights(sizes, arrays)


def _canary(source: IntactPackage) -> list[Episode]:
    path = source.path(package.CANARY)
    records = tfrecord.read_records(path, LARGEST_CANARY_BYTES)
    return [example_codec.decode(record) for record in records]


def _describe(manifest: PackageManifest, target: str) -> dict[str, Any]:
    """Describes the new package: as the old one, but for another target."""
    if manifest.robot.robot_model is None:
        raise ExportSourceError(
            f"package {manifest.digest[:12]}",
            "a package that names the model of its robot, of format 2",
            "one of format 1",
            "train again",
        )
    metrics = {
        name: value
        for name, value in manifest.metadata.metrics.items()
        if not name.startswith(_EXPORT_METRICS)
    }
    robot = dataclasses.asdict(manifest.robot)
    for spec in robot["observation"].values():
        del spec["name"]
    return {
        "family": manifest.family,
        "version": manifest.version,
        "release_counter": manifest.release_counter,
        "target": target,
        "robot": robot,
        "safety_version": manifest.safety_version,
        "metadata": {
            **dataclasses.asdict(manifest.metadata),
            "metrics": metrics,
            "export_target": target,
            "jax_version": jax.__version__,
        },
    }


if __name__ == "__main__":
    command_line.run(main)
