"""The features of a dataset of TFDS, by their paths, such as `steps/action`."""

import dataclasses
from collections.abc import Iterator
from typing import Any

import numpy as np

from cloud.exchange import quiet_tensorflow
from cloud.exchange.features import Feature

STEPS = "steps/"
"""What the paths of all features of a step begin with."""


@dataclasses.dataclass(frozen=True)
class Leaf:
    """One feature that holds no others.

    Attributes:
        path: its name, with those of the features that it is in.
        connector: what TFDS knows of it: shape, type, encoding.
    """

    path: str
    connector: Any

    @property
    def is_of_steps(self) -> bool:
        """Whether there is a value for each step."""
        return self.path.startswith(STEPS)


def list_leaves(feature: Any, prefix: str = "") -> Iterator[Leaf]:  # noqa: ANN401
    """Yields every feature that holds no others."""
    tfds = quiet_tensorflow.load_tfds()
    if isinstance(feature, tfds.features.FeaturesDict):
        for name in feature:
            yield from list_leaves(feature[name], f"{prefix}{name}/")
    elif _holds_steps(feature):
        yield from list_leaves(feature.feature, prefix)
    else:
        yield Leaf(prefix.removesuffix("/"), feature)


def classify(feature: Any) -> Feature:  # noqa: ANN401 - TFDS has no types
    """Says what kind of values a feature has."""
    tfds = quiet_tensorflow.load_tfds()
    try:
        shape, dtype = tuple(feature.shape), feature.np_dtype
    except (AttributeError, NotImplementedError, TypeError, ValueError):  # nested
        return Feature("structure", None, type(feature).__name__)
    doc = f"{getattr(dtype, '__name__', dtype)} {list(shape)}"
    if isinstance(feature, tfds.features.Image):
        is_colour = len(shape) == 3 and shape[2] in (3, 1, 4)
        is_bytes = np.dtype(dtype) == np.uint8
        kind = "picture" if is_colour and is_bytes else "depth"
        return Feature(kind, None, doc)
    if isinstance(feature, tfds.features.Text) or np.dtype(dtype).kind in "OSU":
        return Feature("texts" if shape == (None,) else "text", None, doc)
    if isinstance(feature, tfds.features.Sequence) or type(feature).__name__ in (
        "Video",
        "Audio",
    ):
        return Feature("sequence", None, doc)
    if len(shape) == 3 and np.dtype(dtype) == np.uint8 and shape[2] == 3:
        return Feature("pixels", None, doc)
    if None not in shape:
        return Feature("number", int(np.prod(shape, dtype=np.int64)), doc)
    stored = feature.get_serialized_info()
    # TFDS reads no other numbers of a size that varies.
    is_whole = isinstance(stored, dict) or stored.shape == ()
    return Feature("number" if is_whole else "sequence", None, doc)


def _holds_steps(feature: Any) -> bool:  # noqa: ANN401 - TFDS has no types
    """Whether a feature lists structures: a dataset does, and a sequence of old."""
    tfds = quiet_tensorflow.load_tfds()
    return isinstance(feature, tfds.features.Sequence) and isinstance(
        feature.feature, tfds.features.FeaturesDict
    )
