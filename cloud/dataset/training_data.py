"""What training reads of a split.

That is the steps, their normalisation statistics, and a digest that identifies both.
For episodes in memory all three are computed at once. For steps mapped from a file they
were computed when the file was written (`cloud.dataset.mapped_steps`), so a resumed run
reads no steps before its first batch.
"""

import dataclasses
import hashlib
from collections.abc import Sequence

import jax
import numpy as np

from cloud.dataset import step_stream
from cloud.dataset.step_stream import StepStream
from model import normalisation
from model.config import WaveCoreConfig
from model.normalisation import Statistics
from rlds.episode import Episode


@dataclasses.dataclass(frozen=True)
class TrainingData:
    """Episodes as a stream of steps, in memory or mapped from a file.

    Attributes:
        steps: all steps, concatenated.
        tasks: the tasks that `steps.tasks` indexes.
        statistics: normalisation of the states, and of sound and places in frames if
            there are any.
        identity: digest of the steps or, for mapped steps, of what they are made from.
    """

    steps: StepStream
    tasks: tuple[str, ...]
    statistics: Statistics
    identity: str

    @property
    def sizes(self) -> tuple[int, int, int]:
        """Numbers in a state, numbers in an action, and tasks."""
        return self.steps.states.shape[1], self.steps.actions.shape[1], len(self.tasks)

    def with_reach(self, reach: np.ndarray) -> "TrainingData":
        """The same data of a robot whose largest commands are `reach` f32 [a]."""
        statistics = dataclasses.replace(self.statistics, action_reach=reach)
        return dataclasses.replace(self, statistics=statistics)


def join_episodes(
    episodes: Sequence[Episode],
    tasks: Sequence[str],
    camera: WaveCoreConfig | None = None,
) -> TrainingData:
    """Joins episodes in memory and computes statistics and identity.

    Args:
        episodes: of one robot.
        tasks: every task of the episodes, in the order of the model's one-hot input.
        camera: the model that reads the frames; None leaves them out.

    Raises:
        DatasetError, FrameError: as `step_stream.join`.
    """
    first = episodes[0].spec if episodes else None
    sizes = (first.state_size, first.action_size) if first else (1, 1)
    steps = step_stream.join(episodes, tasks, *sizes, camera=camera)
    measurement = normalisation.Measurement(len(tasks))
    begins = np.flatnonzero(steps.starts)
    borders = begins[1:]
    for begin, states in zip(begins, np.split(steps.states, borders), strict=True):
        measurement.add(states, int(steps.tasks[begin]))
    if steps.audio_mel is not None:
        for sound in np.split(steps.audio_mel, borders):
            measurement.add_sound(sound)
    if steps.places is not None and camera is not None:
        for places in np.split(steps.places, borders):
            measurement.add_places(places, camera.image_count)
    return TrainingData(
        steps, tuple(tasks), measurement.statistics(), _digest(steps, tasks)
    )


def _digest(steps: StepStream, tasks: Sequence[str]) -> str:
    digest = hashlib.sha256(repr(tuple(tasks)).encode())
    for column in jax.tree.leaves(steps):
        digest.update(np.ascontiguousarray(column).data)
    return digest.hexdigest()
