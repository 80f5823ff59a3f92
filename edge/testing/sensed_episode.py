"""An episode of a robot that saw and heard, with real pictures, to be replayed.

The camera `front` takes a picture in every fourth step, which is held between them;
`wrist` has none in the first `BLIND` steps, and then one in every second.
"""

from pathlib import Path
from typing import Final

import numpy as np

from edge.testing import pictures, tiny_package, tiny_step
from edge.testing.tiny_step import TinyStep
from rlds import blank_picture, coarse_sound, example_codec, frames, tfrecord
from rlds.episode import Episode
from rlds.spec import NO_PICTURE_AGE, SOUND_BANDS, EpisodeSpec

FRONT: Final = (16, 12)  # width and height
WRIST: Final = (8, 8)
PERIOD_NS: Final = tiny_package.PERIOD_NS
LATE_NS: Final = 3_000_000
"""How old the pictures of `front` are when they are new."""
BLIND: Final = 3
SENSES: Final = {
    "image_front": (12, 16, 3),
    "image_wrist": (12, 16, 3),
    "audio_mel": (SOUND_BANDS,),
}
"""What a package reads that uses all of it: frames have one height."""


def make(steps: int) -> Episode:
    """Returns an episode of so many steps; the same each time."""
    numbers = np.arange(steps)
    times_ns = 1_000_000_000 + numbers * PERIOD_NS
    front = [pictures.encode(*FRONT, 40 + 4 * (n // 4)) for n in range(steps)]
    wrist = [
        blank_picture.make(*WRIST)
        if n < BLIND
        else pictures.encode(*WRIST, 200 - 4 * ((n - BLIND) // 2))
        for n in range(steps)
    ]
    age = np.where(numbers < BLIND, NO_PICTURE_AGE, (numbers - BLIND) % 2 * PERIOD_NS)
    drawn = np.random.default_rng(7).uniform(-10.0, -2.0, (steps, SOUND_BANDS))
    heard = coarse_sound.coarsen(drawn.astype(np.float32), times_ns)
    plain = tiny_package.episode(seed=5, steps=steps, noise=0.1)
    spec = EpisodeSpec(
        plain.spec.state_size,
        plain.spec.action_size,
        audio_size=SOUND_BANDS,
        cameras=("front", "wrist"),
    )
    senses = {
        "observation/image_front": front,
        "image_age_ns_front": LATE_NS + numbers % 4 * PERIOD_NS,
        "observation/image_wrist": wrist,
        "image_age_ns_wrist": age,
        "observation/audio_mel": heard,
        "t_monotonic_ns": times_ns,
    }
    return Episode(spec, plain.metadata, {**plain.steps, **senses})


def write(folder: Path, steps: int) -> Path:
    """Writes the episode to a file, and returns that."""
    path = folder / "sensed.tfrecord"
    path.write_bytes(tfrecord.frame(example_codec.encode(make(steps))))
    return path


def compute_actions(steps: int, seed: int = 0) -> np.ndarray:
    """The actions f32 [T A] that a tiny package with `SENSES` proposes in it.

    Without LiteRT, from the pictures as training decodes them.
    """
    made = make(steps)
    size = 2 * int(np.prod(SENSES["image_front"]))
    bands = made.spec.audio_size
    sizes = (made.spec.state_size, made.spec.action_size, len(tiny_package.TASKS))
    step = TinyStep(*sizes, seed, sound_size=bands, image_size=size)
    task = np.eye(len(tiny_package.TASKS), dtype=np.float32)[0]
    carry = np.zeros(made.spec.state_size, np.float32)
    height, width, _ = SENSES["image_front"]
    actions = []
    for number, state in enumerate(made.steps["observation/state"]):
        eyes = [
            np.zeros((height, width, 3), np.uint8)
            if made.steps[f"image_age_ns_{name}"][number] == NO_PICTURE_AGE
            else frames.decode(
                made.steps[f"observation/image_{name}"][number], width, height, name
            )
            for name in ("front", "wrist")
        ]
        image = np.concatenate(eyes, axis=1).astype(np.float32).ravel()
        sound = made.steps["observation/audio_mel"][number]
        action, _, carry = tiny_step.expected_step(
            step, state, task, carry, sound, image
        )
        actions.append(action)
    return np.stack(actions)
