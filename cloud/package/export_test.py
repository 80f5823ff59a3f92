"""A run's model is exported for another target, or refused with one line."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from cloud.errors import ExportSourceError
from cloud.package import build, export
from cloud.testing import exported_package
from model.errors import ShapeMismatchError
from model.testing.episodes import make_only, shorten_replay
from release import verification

CLOSED_LOOP = "export_closed_loop"  # what int8_choice writes among the metrics


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("run")
    built = exported_package.copy(folder / "export" / "pi5-cpu")
    build.prefer_step(built.folder, "f32", {CLOSED_LOOP: {"chosen": "f32"}})
    return folder


def test_model_of_a_run_becomes_a_package_for_another_target(
    run: Path, tmp_path: Path
) -> None:
    with make_only("init", "evaluate"), shorten_replay():
        built = export.export_again(run, "hailo-onnx", tmp_path / "package")
    again = verification.verify_integrity(built.folder, "hailo-onnx").manifest
    first = verification.verify_integrity(run / "export" / "pi5-cpu").manifest
    assert again.digest == built.digest
    assert again.functions["step"].path == "functions/step.onnx"
    assert again.backbone_digest == first.backbone_digest
    assert again.robot == first.robot
    assert (again.release_counter, again.safety_version) == (3, "1")
    for name in ("weights.safetensors", "canary.tfrecord", "safety.json"):
        assert again.files[name] == first.files[name]
    metrics = again.metadata.metrics
    assert metrics["held_out_loss"] == 0.1
    assert (
        CLOSED_LOOP in first.metadata.metrics
    )  # about the steps that were driven there
    assert CLOSED_LOOP not in metrics
    checks: Any = metrics["export_checks"]
    assert set(checks) == {f.path for f in again.functions.values()}


def test_command_refuses_a_folder_that_is_not_a_run(tmp_path: Path) -> None:
    done = subprocess.run(
        [
            *(sys.executable, "-m", "cloud.package.export"),
            *(f"--run={tmp_path}", "--target=tpu", f"--output={tmp_path / 'out'}"),
        ],
        env={"PYTHONPATH": ":".join(sys.path)},
        check=False,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1
    assert "package in export/pi5-cpu, got none; name a run" in done.stderr
    assert done.stderr.count("\n") == 1, done.stderr
    assert list(tmp_path.iterdir()) == []


def test_folder_with_something_else_is_left_alone(run: Path, tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("mine")
    with pytest.raises(ExportSourceError, match="expected nothing or a package"):
        export.export_again(run, "tpu", tmp_path)
    assert [p.name for p in tmp_path.iterdir()] == ["thesis.tex"]


def test_run_with_an_unknown_or_another_preset_is_refused(
    run: Path, tmp_path: Path
) -> None:
    manifest = run / "export" / "pi5-cpu" / "package.json"
    before = manifest.read_bytes()
    try:
        for preset, error, text in (
            ("huge", ExportSourceError, "presets tiny, pi5"),
            ("pi5", ShapeMismatchError, "same configuration"),
        ):
            manifest.write_bytes(before.replace(b'"tiny"', f'"{preset}"'.encode()))
            with pytest.raises(error, match=text):
                export.export_again(run, "tpu", tmp_path / "out")
            assert not (tmp_path / "out").exists()
    finally:
        manifest.write_bytes(before)
