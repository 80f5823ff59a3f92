"""Renders a recorded Meta-World episode as an animated GIF, by replaying its actions.

MUJOCO_GL=egl python -m cloud.colab.render_episode EPISODE SEED OUTPUT.gif
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from cloud.colab import rollout_video
from rlds import reader

CAMERA = "corner3"
FRAME_MS = 66
STATE_TOLERANCE_M = 1e-3
"""Largest difference between the replayed and the recorded state, so that the animation
shows what happened."""


def main(episode: str, seed: str, output: str) -> None:
    """Replays the episode, renders some of its steps and writes the GIF."""
    recorded = reader.read_episode(Path(episode))
    env = environment(recorded.metadata.task, int(seed))
    states = np.asarray(recorded.steps["observation/state"], np.float64)
    actions = np.asarray(recorded.steps["action"], np.float32)
    shown = set(rollout_video.frames(len(states)))
    state, _ = env.reset()
    pictures = []
    for step, (expected, action) in enumerate(zip(states, actions, strict=True)):
        apart = float(np.abs(np.asarray(state) - expected).max())
        if apart > STATE_TOLERANCE_M:
            raise SystemExit(
                f"{episode}: expected step {step} within {STATE_TOLERANCE_M} of the"
                f" recorded state, got {apart:.3g}; give the seed it was recorded with"
            )
        if step in shown:
            # Meta-World's cameras are mounted upside down.
            pictures.append(Image.fromarray(np.flipud(env.render())))
        if step + 1 < len(states):
            state, *_ = env.step(action)
    pictures[0].save(
        output, save_all=True, append_images=pictures[1:], duration=FRAME_MS, loop=0
    )


def environment(task: str, seed: int) -> Any:  # noqa: ANN401 - gymnasium's own types
    """Returns Meta-World's task as the recorder makes it, seen by `CAMERA`, unreset."""
    # Imported here because importing MuJoCo chooses the GL and may end the process.
    from metaworld.env_dict import ALL_V3_ENVIRONMENTS_GOAL_OBSERVABLE

    make = ALL_V3_ENVIRONMENTS_GOAL_OBSERVABLE[f"{task}-goal-observable"]
    env = make(seed=0, render_mode="rgb_array")
    # The constructor takes no camera, and the default one does not show the arm.
    env.mujoco_renderer.camera_id = env.model.camera(CAMERA).id
    env._freeze_rand_vec = False
    env.seeded_rand_vec = True
    env.seed(seed)
    return env


if __name__ == "__main__":
    main(*sys.argv[1:])
