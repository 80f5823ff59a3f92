"""Every target gets its step, and the other functions for its platforms."""

from pathlib import Path

import jax.export
import pytest

from model.export import export, targets
from model.testing import short_replay, small_models
from model.testing.episodes import TASKS, episode


@pytest.mark.parametrize(
    ("target", "step", "platforms"),
    [
        ("jetson-cuda", "functions/step.stablehlo", ("cpu", "cuda", "tpu")),
        pytest.param(
            *("hailo-onnx", "functions/step.onnx", ("cpu",)), marks=pytest.mark.long
        ),
    ],
)
def test_target_gets_its_step_and_functions_for_its_platforms(
    tmp_path: Path, target: str, step: str, platforms: tuple[str, ...]
) -> None:
    model = small_models.random_model()
    with short_replay.shortened():
        result = export.write_functions(model, TASKS, tmp_path, [episode()], target)
    assert result.functions["step"]["path"] == step
    assert result.max_abs_error <= 1e-5
    for name in ("init", "fast_update", "consolidate_update", "evaluate"):
        content = (tmp_path / result.functions[name]["path"]).read_bytes()
        exported = jax.export.deserialize(bytearray(content))
        assert exported.platforms == platforms


def test_tpu_and_jetson_get_the_same_files_so_one_test_covers_both() -> None:
    assert targets.TARGETS["tpu"] == targets.TARGETS["jetson-cuda"]
