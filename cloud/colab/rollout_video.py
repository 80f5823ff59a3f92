"""A recorded episode to look at: the rendered robot, or the paths of its parts.

MuJoCo renders if an offscreen GL works. A GL that does not work can end its process, so
rendering runs in a separate process, which is this file as a program:

MUJOCO_GL=egl python -m cloud.colab.rollout_video EPISODE SEED OUTPUT.gif

If it fails, hand, object and goal are drawn as an animated figure, which needs no GL.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from rlds import reader
from rlds.episode import Episode

# Meta-World's observation: positions x y z in metres.
HAND = slice(0, 3)
OBJECT = slice(4, 7)
GOAL = slice(36, 39)
BACKENDS = ("egl", "osmesa")
RENDER_LIMIT_S = 120
FRAMES = 60
"""Largest number of pictures in an animation."""
_FRAME_MS = 66
CAMERA = "corner3"
STATE_TOLERANCE_M = 1e-3
"""Largest difference between the replayed and the recorded state, so that the animation
shows what happened."""


def animate(episode: Path, seed: int, output: Path) -> str:
    """Writes an animated GIF of a recorded Meta-World episode.

    Args:
        episode: the episode's file.
        seed: the seed that it was recorded with.
        output: the GIF to write; its folder is created if missing.

    Returns:
        What the animation shows and, if it is not the rendered robot, why.

    Raises:
        RldsError: the episode is malformed.
    """
    output.parent.mkdir(parents=True, exist_ok=True)
    reasons = []
    for backend in BACKENDS:
        reason = _render(episode, seed, output, backend)
        if reason is None:
            return f"the robot, rendered by MuJoCo through {backend}"
        reasons.append(f"{backend}: {reason}")
    draw(reader.read_episode(episode), output)
    return f"paths of hand, object and goal (no rendering: {'; '.join(reasons)})"


def draw(episode: Episode, output: Path) -> None:
    """Draws the paths of hand and object, and the goal, from above and the side."""
    from matplotlib.animation import FuncAnimation, PillowWriter
    from matplotlib.artist import Artist
    from matplotlib.figure import Figure

    state = np.asarray(episode.steps["observation/state"], np.float64)
    # Layout and legend are fixed, because automatic ones are computed per picture.
    figure = Figure(figsize=(6.4, 3.2))
    figure.subplots_adjust(left=0.12, right=0.98, bottom=0.16, top=0.88, wspace=0.35)
    lines = []
    for column, (across, up), names in ((1, (0, 1), "xy"), (2, (1, 2), "yz")):
        axes = figure.add_subplot(1, 2, column)
        axes.set_xlabel(f"{names[0]}, m")
        axes.set_ylabel(f"{names[1]}, m")
        goal = state[-1, GOAL]
        axes.plot(goal[across], goal[up], "*", color="#c8571b", label="goal")
        for part, color, label in (
            (HAND, "#1f5fa8", "hand"),
            (OBJECT, "#4a4f57", "object"),
        ):
            path = state[:, part][:, [across, up]]
            axes.plot(*path.T, color=color, alpha=0.15)
            (line,) = axes.plot([], [], color=color, label=label)
            lines.append((line, path))
    axes.legend(frameon=False, fontsize=8, loc="upper left")
    figure.suptitle(episode.metadata.task)

    def show(step: int) -> list[Artist]:
        for line, path in lines:
            line.set_data(*path[: step + 1].T)
        return [line for line, _ in lines]

    animation = FuncAnimation(figure, show, frames=frames(len(state)), blit=False)
    animation.save(output, writer=PillowWriter(fps=1000 // _FRAME_MS))


def render(episode: str, seed: str, output: str) -> None:
    """Replays the episode, renders some of its steps and writes the GIF."""
    recorded = reader.read_episode(Path(episode))
    env = environment(recorded.metadata.task, int(seed))
    states = np.asarray(recorded.steps["observation/state"], np.float64)
    actions = np.asarray(recorded.steps["action"], np.float32)
    shown = set(frames(len(states)))
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
        output, save_all=True, append_images=pictures[1:], duration=_FRAME_MS, loop=0
    )


def environment(task: str, seed: int) -> Any:  # noqa: ANN401 - gymnasium's own types
    """Returns Meta-World's task as the recorder makes it, seen by `CAMERA`, unreset."""
    # Imported here because importing MuJoCo chooses the GL and may end the process.
    from metaworld.env_dict import ALL_V3_ENVIRONMENTS_GOAL_OBSERVABLE

    make: Any = ALL_V3_ENVIRONMENTS_GOAL_OBSERVABLE[f"{task}-goal-observable"]
    env = make(seed=0, render_mode="rgb_array")
    # The constructor takes no camera, and the default one does not show the arm.
    env.mujoco_renderer.camera_id = env.model.camera(CAMERA).id
    env._freeze_rand_vec = False
    env.seeded_rand_vec = True
    env.seed(seed)
    return env


def frames(steps: int) -> list[int]:
    """Returns the steps to draw: evenly spread, including the first and the last."""
    spread = np.linspace(0, steps - 1, FRAMES).round().astype(int)
    return [int(step) for step in np.unique(spread)]


def _render(episode: Path, seed: int, output: Path, backend: str) -> str | None:
    """Renders in a separate process; returns None, or one line why it failed."""
    command = [sys.executable, "-m", "cloud.colab.rollout_video"]
    path = os.pathsep.join(p for p in sys.path if p)
    environment = {**os.environ, "MUJOCO_GL": backend, "PYTHONPATH": path}
    try:
        done = subprocess.run(
            [*command, str(episode), str(seed), str(output)],
            env=environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=RENDER_LIMIT_S,
        )
    except subprocess.TimeoutExpired:
        return f"not done after {RENDER_LIMIT_S} s"
    if done.returncode == 0 and output.exists():
        return None
    lines = [line for line in done.stderr.splitlines() if line.strip()]
    return (lines[-1] if lines else f"exit code {done.returncode}")[:200]


if __name__ == "__main__":
    render(*sys.argv[1:])
