"""Tests of the animation of an episode, with and without a GL.

No picture of the robot is rendered, because that needs a GL.
"""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageSequence

from cloud.colab import rollout_video
from rlds.episode import Episode
from rlds.spec import EpisodeSpec
from rlds.testing import episodes

STEPS = 12
SEED = 10_000

Start = tuple[Any, np.ndarray]
"""The environment and its first state."""


@pytest.fixture
def episode() -> Episode:
    """An episode in which the hand moves to its goal."""
    state = np.zeros((STEPS, 39), np.float32)
    state[:, :3] = np.linspace(0, 0.3, STEPS)[:, None]
    state[:, 36:39] = 0.3
    spec = EpisodeSpec(state_size=39, action_size=4)
    arrays = episodes.acted(state, np.zeros((STEPS, 4)))
    return Episode(spec=spec, metadata=episodes.metadata(), steps=arrays)


@pytest.fixture
def start(monkeypatch: pytest.MonkeyPatch) -> Start:
    # MuJoCo reads it when the first environment imports it.
    monkeypatch.setenv("MUJOCO_GL", "disabled")
    env = rollout_video.environment("reach-v3", SEED)
    state, _ = env.reset()
    return env, np.asarray(state)


def test_paths_are_drawn_as_moving_pictures(episode: Episode, tmp_path: Path) -> None:
    rollout_video.draw(episode, tmp_path / "a.gif")
    with Image.open(tmp_path / "a.gif") as gif:
        pictures = [np.array(x.convert("L")) for x in ImageSequence.Iterator(gif)]
    assert len(pictures) > 10
    assert (pictures[-1] != pictures[0]).any()


def test_frames_are_few_and_include_both_ends() -> None:
    frames = rollout_video.frames(500)
    assert len(frames) == rollout_video.FRAMES
    assert (frames[0], frames[-1]) == (0, 499)
    assert rollout_video.frames(1) == [0]


def test_without_a_working_gl_paths_are_drawn_and_the_reason_is_stated(
    episode: Episode, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rollout_video, "BACKENDS", ("no-such-gl",))
    monkeypatch.setattr(
        "cloud.colab.rollout_video.reader.read_episode", lambda path: episode
    )
    shown = rollout_video.animate(tmp_path / "absent", 0, tmp_path / "a.gif")
    assert shown.startswith("paths of hand, object and goal (no rendering: no-such-gl")
    assert (tmp_path / "a.gif").read_bytes().startswith(b"GIF89a")


def test_camera_is_the_named_one(start: Start) -> None:
    env, _ = start
    assert env.mujoco_renderer.camera_id == env.model.camera(rollout_video.CAMERA).id
    assert env.render_mode == "rgb_array"


def test_seed_decides_where_the_goal_is(start: Start) -> None:
    _, state = start
    again, _ = rollout_video.environment("reach-v3", SEED).reset()
    other, _ = rollout_video.environment("reach-v3", SEED + 1).reset()
    np.testing.assert_array_equal(again, state)
    assert np.abs(np.asarray(other)[-3:] - state[-3:]).max() > 0.01
