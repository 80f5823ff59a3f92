"""Tests of what is rendered. No picture is drawn, because that needs a GL."""

from typing import Any

import numpy as np
import pytest

from cloud.colab import render_episode

SEED = 10_000

Start = tuple[Any, np.ndarray]
"""The environment and its first state."""


@pytest.fixture
def start(monkeypatch: pytest.MonkeyPatch) -> Start:
    # MuJoCo reads it when the first environment imports it.
    monkeypatch.setenv("MUJOCO_GL", "disabled")
    env = render_episode.environment("reach-v3", SEED)
    state, _ = env.reset()
    return env, np.asarray(state)


def test_camera_is_the_named_one(start: Start) -> None:
    env, _ = start
    assert env.mujoco_renderer.camera_id == env.model.camera(render_episode.CAMERA).id
    assert env.render_mode == "rgb_array"


def test_seed_decides_where_the_goal_is(start: Start) -> None:
    _, state = start
    again, _ = render_episode.environment("reach-v3", SEED).reset()
    other, _ = render_episode.environment("reach-v3", SEED + 1).reset()
    np.testing.assert_array_equal(again, state)
    assert np.abs(np.asarray(other)[-3:] - state[-3:]).max() > 0.01
