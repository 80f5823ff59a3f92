"""The exported step agrees with the model, and says so only when it does."""

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax.export
import numpy as np
import pytest
import safetensors.numpy
from ai_edge_litert.interpreter import Interpreter

from model import config, errors, step_function, surfaces
from model.export import aligned_safetensors, export, targets
from model.export.agreement import Agreement
from model.export.export import ExportResult
from model.testing import small_models
from model.testing.episodes import TASKS, episode, make_only, shorten_replay
from model.wavecore import WaveCore
from rlds import example_codec, tfrecord

small_models.shorten_programs()

STEP_PATH = "functions/step.tflite"
# One block has every kind of part; //cloud/testing:package has two.
SIZES = dataclasses.replace(small_models.SIZES, block_count=1)

Exported = tuple[Path, WaveCore, ExportResult]
Converted = Callable[[bytes, bytes], None]


def write(folder: Path) -> Exported:
    model = small_models.random_model(SIZES)
    episodes = [episode(), episode("left")]
    with shorten_replay():
        return folder, model, export.write_functions(model, TASKS, folder, episodes)


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Exported:
    """Both steps, and of the functions those that compile soon."""
    with make_only("init", "evaluate"):
        return write(tmp_path_factory.mktemp("package"))


def run_step(folder: Path, **changes: np.ndarray) -> dict[str, np.ndarray]:
    weights = safetensors.numpy.load_file(folder / "weights.safetensors")
    inputs = {name: x for name, x in weights.items() if name.startswith("surface_")}
    inputs |= {
        "observation_state": small_models.numbers(SIZES.state_size),
        "task": np.eye(SIZES.task_count, dtype=np.float32)[1],
        "carry": weights["carry"],
    }
    content = (folder / STEP_PATH).read_bytes()
    step = Interpreter(model_content=content).get_signature_runner("step")
    return step(**(inputs | changes))


def check_agreement(written: Exported) -> None:
    folder, _, result = written
    assert 0 < result.max_abs_error <= 1e-5
    files = {str(p.relative_to(folder)) for p in (folder / "functions").iterdir()}
    assert set(result.checks) == files
    assert {f["path"] for f in result.functions.values()} == files
    assert set(result.checks[STEP_PATH]) == set(Agreement.__annotations__)


def test_every_file_agrees_with_the_model_on_recorded_episodes(
    exported: Exported,
) -> None:
    check_agreement(exported)


@pytest.mark.long  # each package that is built for a test exports all of them too
def test_every_function_is_exported_and_agrees(tmp_path: Path) -> None:
    written = write(tmp_path)
    check_agreement(written)
    assert sorted(written[2].functions) == [
        "consolidate_begin",
        "consolidate_compare",
        "consolidate_end",
        "consolidate_identify",
        "consolidate_imagine",
        "consolidate_judge",
        "consolidate_step",
        "evaluate",
        "fast_update",
        "fast_update_litert",
        "init",
        "step",
        "step_f32",
        "step_int8",
    ]


def test_functions_name_both_steps_and_step_is_the_preferred_one(
    exported: Exported,
) -> None:
    functions = exported[2].functions
    assert functions.keys() == {"init", "evaluate", "step", "step_f32", "step_int8"}
    assert functions["step"] == functions["step_f32"]
    assert functions["step_int8"]["path"] == "functions/step_int8.tflite"


def test_recorded_signature_matches_the_file(exported: Exported) -> None:
    folder, _, result = exported
    content = (folder / STEP_PATH).read_bytes()
    found = Interpreter(model_content=content).get_signature_list()["step"]
    step: Any = result.functions["step"]
    assert sorted(found["inputs"]) == sorted(x["name"] for x in step["inputs"])
    assert sorted(found["outputs"]) == sorted(x["name"] for x in step["outputs"])
    outputs = run_step(folder)
    for output in step["outputs"]:
        assert list(outputs[output["name"]].shape) == output["shape"]


@pytest.mark.parametrize("name", list(surfaces.SURFACES))
def test_surface_given_to_the_step_changes_its_action(
    exported: Exported, name: str
) -> None:
    folder, _, result = exported
    size = int(result.surfaces[name]["size"])
    changed = run_step(folder, **{f"surface_{name}": np.full(size, 0.3, np.float32)})
    assert not np.allclose(changed["action"], run_step(folder)["action"], atol=1e-4)


def test_weights_hold_the_whole_model(exported: Exported) -> None:
    folder, model, result = exported
    arrays = safetensors.numpy.load_file(folder / "weights.safetensors")
    again = step_function.from_weights(model.config, arrays)
    assert step_function.backbone_digest(again) == result.backbone_digest
    for name, vector in step_function.initial_surfaces(model).items():
        np.testing.assert_array_equal(arrays[name], vector)


def test_canary_says_the_error_of_the_exported_step_on_its_episodes(
    exported: Exported,
) -> None:
    folder, _, result = exported
    recorded = result.checks[str(result.functions["step"]["path"])]
    assert result.canary_action_error == recorded["canary_action_error"]
    assert result.canary_steps == 18
    records = list(tfrecord.read_records(folder / "canary.tfrecord", 1_000_000))
    assert [example_codec.decode(r).metadata.task for r in records] == [
        "middle",
        "left",
    ]


@pytest.fixture
def converted(exported: Exported, monkeypatch: pytest.MonkeyPatch) -> Converted:
    """Makes the conversion return given files, as a faulty converter would."""

    def become(f32: bytes, int8: bytes) -> None:
        files = {"f32": f32, "int8": int8}
        monkeypatch.setattr(
            "model.export.targets.litert_step.convert", lambda model, *, learns: files
        )

    return become


def test_step_of_another_model_is_refused_and_nothing_is_written(
    exported: Exported, converted: Converted, tmp_path: Path
) -> None:
    content = (exported[0] / STEP_PATH).read_bytes()
    converted(content, content)
    other = small_models.random_model(SIZES, seed=1)
    with (
        make_only("init"),
        pytest.raises(errors.ExportError, match="outputs within 1e-05"),
    ):
        export.write_functions(other, TASKS, tmp_path, [episode()])
    assert list(tmp_path.iterdir()) == []


def test_int8_step_above_its_bound_is_left_out_and_its_numbers_are_reported(
    exported: Exported,
    converted: Converted,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    folder, model, _ = exported
    f32 = (folder / STEP_PATH).read_bytes()
    converted(f32, (folder / "functions/step_int8.tflite").read_bytes())
    monkeypatch.setattr(export, "LARGEST_INT8_ERROR", -1.0)
    with make_only():
        result = export.write_functions(
            model, TASKS, tmp_path, [episode()], preferred="int8"
        )
    assert result.functions["step"]["path"] == STEP_PATH
    assert "step_int8" not in result.functions
    assert not (tmp_path / "functions/step_int8.tflite").exists()
    error = result.left_out["int8"]["step_action_error"]
    assert error is not None and error >= 0


def test_no_canary_unknown_task_or_wrong_number_of_tasks_is_refused(
    tmp_path: Path,
) -> None:
    model = small_models.model()
    for tasks, episodes in (
        (TASKS, []),
        (TASKS, [episode("upward")]),
        (("left",), [episode("left")]),
    ):
        with pytest.raises(errors.ExportError, match="expected"):
            export.write_functions(model, tasks, tmp_path, episodes)
    assert list(tmp_path.iterdir()) == []


def test_unknown_target_is_refused_with_the_known_ones(tmp_path: Path) -> None:
    with pytest.raises(errors.ExportError, match="pi5-cpu, jetson-cuda, tpu"):
        export.write_functions(
            small_models.model(), TASKS, tmp_path, [episode()], "pi6"
        )
    assert list(tmp_path.iterdir()) == []


def test_model_with_a_weight_that_is_not_finite_is_refused_by_name(
    tmp_path: Path,
) -> None:
    model = small_models.model()
    model.next_head[...] = model.next_head[...].at[0, 0].set(np.nan)
    with pytest.raises(errors.NonFiniteError, match="backbone/next_head"):
        export.write_functions(model, TASKS, tmp_path, [episode()])


def test_weights_of_another_configuration_are_refused() -> None:
    arrays = step_function.weights(small_models.model())
    with pytest.raises(errors.ShapeMismatchError, match="same configuration"):
        step_function.from_weights(config.seed(6, 2, 3), arrays)


LEARNING = ("init", "fast_update", "consolidate_begin", "evaluate")
STABLEHLO = ("jetson-cuda", "functions/step.stablehlo", ("cpu", "cuda", "tpu"))
ONNX = ("hailo-onnx", "functions/step.onnx", ("cpu",))


@pytest.mark.parametrize(
    ("target", "step", "platforms", "names"),
    [
        (*STABLEHLO, ("init", "evaluate")),
        pytest.param(*STABLEHLO, LEARNING, marks=pytest.mark.long),
        pytest.param(*ONNX, LEARNING, marks=pytest.mark.long),
    ],
)
def test_target_gets_its_step_and_functions_for_its_platforms(
    tmp_path: Path,
    target: str,
    step: str,
    platforms: tuple[str, ...],
    names: tuple[str, ...],
) -> None:
    model = small_models.random_model(SIZES)
    with make_only(*names), shorten_replay():
        result = export.write_functions(model, TASKS, tmp_path, [episode()], target)
    assert result.functions["step"]["path"] == step
    assert result.max_abs_error <= 1e-5
    for name in names:
        content = (tmp_path / str(result.functions[name]["path"])).read_bytes()
        exported = jax.export.deserialize(bytearray(content))
        assert exported.platforms == platforms


def test_tpu_and_jetson_get_the_same_files_so_one_test_covers_both() -> None:
    assert targets.TARGETS["tpu"] == targets.TARGETS["jetson-cuda"]


ARRAYS = {
    "a_small": np.arange(3, dtype=np.float32),
    "b_large": np.arange(32, dtype=np.float32).reshape(2, 16),
    "c_large": np.ones(16, np.float32),
}


def test_the_safetensors_library_reads_every_array_back() -> None:
    read = safetensors.numpy.load(aligned_safetensors.encode(ARRAYS))
    assert set(read) == set(ARRAYS)
    for name, array in ARRAYS.items():
        np.testing.assert_array_equal(read[name], array)


def test_large_arrays_begin_at_multiples_of_64_bytes() -> None:
    raw = aligned_safetensors.encode(ARRAYS)
    for name in ("b_large", "c_large"):
        assert raw.index(ARRAYS[name].tobytes()) % 64 == 0


def test_order_of_the_arrays_does_not_change_the_bytes() -> None:
    backward = dict(reversed(ARRAYS.items()))
    assert aligned_safetensors.encode(backward) == aligned_safetensors.encode(ARRAYS)


def test_other_types_are_refused_by_name() -> None:
    with pytest.raises(errors.ShapeMismatchError, match=r"x.*float32.*float64"):
        aligned_safetensors.encode({"x": np.zeros(2)})


@pytest.mark.long  # converts the fast update
def test_fast_update_that_loses_its_gain_is_left_out_and_its_number_is_reported(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(export, "LARGEST_LOST_GAIN", -1.0)
    with make_only("fast_update"):
        result = write(tmp_path)[2]
    assert "fast_update_litert" not in result.functions
    assert not (tmp_path / "functions/fast_update_litert.tflite").exists()
    lost = result.left_out["fast_update_litert"]["lost_gain"]
    assert lost is not None and -1.0 < lost < 0.1
