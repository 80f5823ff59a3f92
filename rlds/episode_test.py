import dataclasses
import pickle
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from rlds.episode import Episode
from rlds.errors import MalformedEpisodeError
from rlds.spec import FIELDS, EpisodeSpec
from rlds.testing import episodes


def _changed(name: str, value: list[list[float]] | np.ndarray) -> Callable[[], Episode]:
    whole = episodes.episode()
    return lambda: Episode(whole.spec, whole.metadata, {**whole.steps, name: value})


def _marks(*positions: int) -> np.ndarray:
    marks = np.zeros(5, np.bool_)
    marks[list(positions)] = True
    return marks


@pytest.mark.parametrize(
    ("name", "value", "text"),
    [
        ("action", np.zeros((5, 3), np.float32), r"shape \(5, 2\)"),
        ("action", np.zeros((5, 2)), "float32"),
        ("action", [[0.0, 0.0]] * 5, "float32"),
        ("reward", np.array([0, 0, np.nan, 0, 0], np.float32), "finite"),
        ("is_first", _marks(), "first step"),
        ("is_first", _marks(0, 2), "first step"),
        ("is_last", _marks(3, 4), "last step"),
        ("is_last", _marks(3), "last step"),
        ("is_terminal", _marks(1), "last step or never"),
        ("t_monotonic_ns", np.array([1, 2, 3, 2, 5]), "in order"),
        ("surprise", np.zeros(5), "surprise"),
    ],
)
def test_steps_that_break_the_spec_are_refused(
    name: str, value: list[list[float]] | np.ndarray, text: str
) -> None:
    with pytest.raises(MalformedEpisodeError, match=text):
        _changed(name, value)()


def test_missing_field_and_missing_steps_are_refused() -> None:
    whole = episodes.episode()
    steps = dict(whole.steps)
    del steps["reward"]
    with pytest.raises(MalformedEpisodeError, match="reward"):
        Episode(whole.spec, whole.metadata, steps)
    none = {name: values[:0] for name, values in whole.steps.items()}
    with pytest.raises(MalformedEpisodeError, match="1 to"):
        Episode(whole.spec, whole.metadata, none)


def test_image_that_is_not_a_jpeg_is_refused() -> None:
    whole = episodes.episode(EpisodeSpec(2, 1, image=True), count=2)
    steps = {**whole.steps, "observation/image": (episodes.JPEG, b"GIF89a")}
    with pytest.raises(MalformedEpisodeError, match="JPEG"):
        Episode(whole.spec, whole.metadata, steps)


@pytest.mark.parametrize(
    "change",
    [
        {"schema_version": "9.0.0"},
        {"episode_id": "../../etc/passwd"},
        {"episode_id": ""},
        {"episode_id": "a" * 129},
        {"tags": ("a",) * 65},
        {"tags": (1,)},
        {"task": None},
        {"task": "x" * 5000},
        {"location": "\ud800"},
        {"success": 1},
    ],
)
def test_malformed_metadata_is_refused(change: dict[str, Any]) -> None:
    with pytest.raises(MalformedEpisodeError):
        episodes.metadata(**change)


def test_arrays_of_an_episode_cannot_be_changed() -> None:
    values = np.zeros((5, 2), np.float32)
    whole = _changed("action", values)()
    values[0] = 7
    assert not whole.steps["action"].any()
    with pytest.raises(ValueError, match="read-only"):
        whole.steps["action"][0] = 1
    with pytest.raises(dataclasses.FrozenInstanceError):
        whole.spec = None  # type: ignore[misc, assignment]


def test_equality_compares_every_step_and_survives_pickling() -> None:
    whole = episodes.episode()
    assert whole == episodes.episode()
    assert pickle.loads(pickle.dumps(whole)) == whole
    assert whole != episodes.episode(number=1)
    assert whole != _changed("reward", np.zeros(5, np.float32))()
    assert whole.num_steps == 5


def test_only_sensitive_fields_name_a_transform() -> None:
    assert all(field.sensitive == bool(field.transform) for field in FIELDS)
    assert {field.name for field in FIELDS if field.sensitive} == {
        "observation/image",
        "observation/audio_mel",
        "t_monotonic_ns",
        "environment_id",
        "robot_hash",
        "robot_model",
        "task",
        "start_time",
        "location",
        "tags",
    }


def test_named_camera_has_a_picture_that_is_masked_and_an_age() -> None:
    spec = EpisodeSpec(3, 2, cameras=("front", "left_wrist_2"))
    fields = {field.name: field for field in spec.step_fields()}
    plain = {field.name for field in EpisodeSpec(3, 2).step_fields()}
    assert set(fields) - plain == {
        "observation/image_front",
        "image_age_ns_front",
        "observation/image_left_wrist_2",
        "image_age_ns_left_wrist_2",
    }
    assert fields["observation/image_front"].transform == "mask_faces_and_plates"
    assert not fields["image_age_ns_front"].sensitive
    assert spec.picture_fields == (
        "observation/image_front",
        "observation/image_left_wrist_2",
    )


@pytest.mark.parametrize(
    "cameras",
    [
        ("adas_kitchen",),
        ("front_",),
        ("_front",),
        ("Front",),
        ("front_12",),
        ("2",),
        ("",),
        ("front", "front"),
        ("wrist", "front"),
        ("left_left_left_left_left",),
        tuple(f"front_{number}" for number in range(9)),
        (3,),
    ],
)
def test_cameras_outside_the_closed_list_are_refused(cameras: tuple[str, ...]) -> None:
    with pytest.raises(ValueError, match="camera"):
        EpisodeSpec(3, 2, cameras=cameras)


def test_names_are_unique() -> None:
    assert len({field.name for field in FIELDS}) == len(FIELDS)


def test_optional_fields_exist_only_if_the_spec_has_them() -> None:
    plain = {field.name for field in EpisodeSpec(39, 4).step_fields()}
    rich = {field.name: field for field in EpisodeSpec(39, 4, True, 80).step_fields()}
    assert set(rich) - plain == {"observation/image", "observation/audio_mel"}
    assert rich["observation/audio_mel"].shape == (80,)
    assert rich["observation/state"].shape == (39,)
    assert rich["proposed_action"].shape == (4,)


@pytest.mark.parametrize(
    "sizes",
    [
        {"state_size": 0, "action_size": 1},
        {"state_size": 1, "action_size": -1},
        {"state_size": 1, "action_size": True},
        {"state_size": 1, "action_size": 1, "audio_size": 1 << 20},
        {"state_size": 1, "action_size": 1, "image": 1},
    ],
)
def test_sizes_out_of_range_are_refused(
    sizes: dict[str, Any],
) -> None:
    with pytest.raises(ValueError, match="expected"):
        EpisodeSpec(**sizes)
