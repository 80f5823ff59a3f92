import dataclasses
import pickle
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from rlds.episode import Episode
from rlds.errors import MalformedEpisodeError
from rlds.spec import EpisodeSpec
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
