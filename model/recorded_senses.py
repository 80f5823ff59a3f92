"""What an episode recorded for the senses of a model, as the model takes it."""

from collections.abc import Iterable

import numpy as np

from model import jpeg_frames, senses
from model.config import WaveCoreConfig
from rlds.episode import Episode


def of(
    config: WaveCoreConfig, episode: Episode, names: Iterable[str]
) -> dict[str, np.ndarray]:
    """Senses at every step of an episode, by name: `image` u8 [t h w 3], `audio_mel`
    f32 [t u]. One that was not recorded is silent: all zeros.

    Args:
        config: sizes of the model.
        episode: of the model's robot.
        names: senses of the model, of which `senses.shapes` holds all.

    Raises:
        FrameError: an image does not decode.
    """
    specs = senses.recorded_specs(config, len(episode.steps["is_first"]))
    found = {}
    for name in names:
        recorded = episode.steps.get(f"observation/{name}")
        if recorded is None:
            recorded = np.zeros(specs[name].shape)
        elif senses.fields(config)[name].dtype == "jpeg":
            source = f"episode {episode.metadata.episode_id}"
            recorded = jpeg_frames.decode(list(recorded), config, source)
        found[name] = np.asarray(recorded, specs[name].dtype)
    return found
