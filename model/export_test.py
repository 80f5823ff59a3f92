"""The exported step agrees with the model, and says so only when it does."""

import json

import numpy as np
import pytest
import safetensors.numpy
from ai_edge_litert.interpreter import Interpreter

from model import config, errors, export, step_function, surfaces, testing
from rlds import example_codec, tfrecord
from rlds.episode import Episode, EpisodeMetadata
from rlds.spec import SCHEMA_VERSION, EpisodeSpec

TASKS = ("left", "middle", "right")
SIZES = testing.SIZES


def episode(task="middle", length=9):
    steps = np.arange(length)
    return Episode(
        spec=EpisodeSpec(SIZES.state_size, SIZES.action_size),
        metadata=EpisodeMetadata(
            schema_version=SCHEMA_VERSION,
            episode_id="00000000-0000-7000-8000-000000000001",
            robot_hash="0" * 64,
            robot_model="point",
            environment_id="point:test",
            package_digest="",
            delta_digest="",
            channel="",
            software_version="0.1.0",
            start_time="2026-01-01T08:00:00Z",
            location="",
            tags=(),
            task=task,
            success=True,
            operator="expert",
        ),
        steps={
            "observation/state": testing.numbers(length, SIZES.state_size),
            "action": testing.numbers(length, SIZES.action_size, seed=2),
            "proposed_action": testing.numbers(length, SIZES.action_size, seed=3),
            "reward": np.zeros(length, np.float32),
            "discount": np.ones(length, np.float32),
            "is_first": steps == 0,
            "is_last": steps == length - 1,
            "is_terminal": np.zeros(length, bool),
            "t_monotonic_ns": steps.astype(np.int64),
            "deadline_missed": np.zeros(length, bool),
            "safety_violation": np.zeros(length, bool),
        },
    )


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    folder = tmp_path_factory.mktemp("package")
    model = testing.model()
    episodes = [episode(), episode("left")]
    return folder, model, export.write_functions(model, TASKS, folder, episodes)


def run_step(folder, **changes):
    weights = safetensors.numpy.load_file(folder / "weights.safetensors")
    inputs = {name: x for name, x in weights.items() if name.startswith("surface_")}
    inputs |= {
        "observation_state": testing.numbers(SIZES.state_size),
        "task": np.eye(SIZES.task_count, dtype=np.float32)[1],
        "carry": weights["carry"],
    }
    content = (folder / export.STEP_PATH).read_bytes()
    step = Interpreter(model_content=content).get_signature_runner("step")
    return step(**(inputs | changes))


def test_exported_step_agrees_with_the_model_on_recorded_episodes(exported):
    assert exported[2].max_abs_error <= 1e-5


def test_signature_in_the_record_is_that_of_the_file(exported):
    folder, _, result = exported
    content = (folder / export.STEP_PATH).read_bytes()
    found = Interpreter(model_content=content).get_signature_list()["step"]
    step = result.functions["step"]
    assert sorted(found["inputs"]) == sorted(x["name"] for x in step["inputs"])
    assert sorted(found["outputs"]) == sorted(x["name"] for x in step["outputs"])
    outputs = run_step(folder)
    for output in step["outputs"]:
        assert list(outputs[output["name"]].shape) == output["shape"]


@pytest.mark.parametrize("name", list(surfaces.SURFACES))
def test_surface_given_to_the_step_changes_its_action(exported, name):
    folder, _, result = exported
    size = result.surfaces[name]["size"]
    changed = run_step(folder, **{f"surface_{name}": np.full(size, 0.3, np.float32)})
    assert not np.allclose(changed["action"], run_step(folder)["action"], atol=1e-4)


def test_weights_hold_the_whole_model(exported):
    folder, model, result = exported
    arrays = safetensors.numpy.load_file(folder / "weights.safetensors")
    again = step_function.from_weights(model.config, arrays)
    assert step_function.backbone_digest(again) == result.backbone_digest
    for name, vector in step_function.initial_surfaces(model).items():
        np.testing.assert_array_equal(arrays[name], vector)


def test_canary_says_the_error_of_the_exported_step_on_its_episodes(exported):
    folder, _, result = exported
    canary = json.loads((folder / "canary.json").read_bytes())
    assert canary["action_error"] == result.canary_action_error
    assert canary["steps"] == 18
    records = list(tfrecord.read_records(folder / "canary.tfrecord", 1_000_000))
    assert [example_codec.decode(r).metadata.task for r in records] == [
        "middle",
        "left",
    ]


def test_step_of_another_model_is_refused_and_nothing_is_written(
    exported, tmp_path, monkeypatch
):
    content = (exported[0] / export.STEP_PATH).read_bytes()
    monkeypatch.setattr(export, "_convert", lambda model, weights: content)
    with pytest.raises(errors.ExportError, match="outputs within 1e-05"):
        export.write_functions(testing.model(seed=1), TASKS, tmp_path, [episode()])
    assert list(tmp_path.iterdir()) == []


def test_no_canary_unknown_task_or_wrong_count_of_tasks_are_refused(tmp_path):
    model = testing.model()
    for tasks, episodes in (
        (TASKS, []),
        (TASKS, [episode("upward")]),
        (("left",), [episode("left")]),
    ):
        with pytest.raises(errors.ExportError, match="expected"):
            export.write_functions(model, tasks, tmp_path, episodes)
    assert list(tmp_path.iterdir()) == []


def test_model_with_a_weight_that_is_not_finite_is_refused_by_name(tmp_path):
    model = testing.model()
    model.next_head[...] = model.next_head[...].at[0, 0].set(np.nan)
    with pytest.raises(errors.NonFiniteError, match="backbone/next_head"):
        export.write_functions(model, TASKS, tmp_path, [episode()])


def test_weights_of_another_configuration_are_refused():
    arrays = step_function.weights(testing.model())
    with pytest.raises(errors.ShapeMismatchError, match="same configuration"):
        step_function.from_weights(config.seed(6, 2, 3), arrays)
