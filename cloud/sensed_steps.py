"""What of a stream of steps a model perceives beside the state: frames and sound.

A sense is called as `model.senses` calls it; the stream's columns are arrays of many
steps and have names of their own.
"""

from collections.abc import Mapping

import jax

from cloud.errors import DatasetError
from cloud.step_stream import StepStream
from model import senses
from model.config import WaveCoreConfig

_COLUMNS = {"image": "images", "audio_mel": "audio_mel"}


def of(steps: StepStream, config: WaveCoreConfig) -> Mapping[str, jax.Array]:
    """The columns that a model of this configuration reads, by sense.

    Shapes: as `senses.shapes` says, behind the axes that `steps.starts` has.

    Raises:
        DatasetError: the model has a sense that the steps have nothing of, or of
            another size.
    """
    shapes = senses.shapes(config)
    found = {name: getattr(steps, _COLUMNS[name]) for name in shapes}
    for name, shape in shapes.items():
        column = found[name]
        got = None if column is None else column.shape[steps.starts.ndim :]
        if got != shape:
            raise DatasetError(
                "training data",
                f"{name} of shape {list(shape)}, which the model perceives",
                "none" if got is None else list(got),
                "train on episodes that have it, or a model without this sense",
            )
    return found
