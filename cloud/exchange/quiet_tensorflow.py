"""Loads TensorFlow and TFDS without what they write about kernels and drivers."""

import contextlib
import functools
import logging
import os
from collections.abc import Iterator
from typing import Any

from absl import logging as absl_logging


@functools.cache
def load_tfds() -> Any:  # noqa: ANN401 - it has no types
    """Returns the module `tensorflow_datasets`, which loads no TensorFlow by itself."""
    with _silence():
        import tensorflow_datasets as tfds
    absl_logging.set_verbosity(absl_logging.ERROR)
    return tfds


@functools.cache
def load() -> tuple[Any, Any]:
    """Returns the modules `tensorflow` and `tensorflow_datasets`; takes seconds."""
    with _silence():
        import tensorflow as tf
        import tensorflow_datasets as tfds

        # Records are parsed on the processor; a device belongs to whoever trains.
        tf.config.set_visible_devices([], "GPU")
        tf.constant(0)
    # Both warn of their own code, in lines that no user can do anything about.
    logging.getLogger("tensorflow").setLevel(logging.ERROR)
    absl_logging.set_verbosity(absl_logging.ERROR)
    return tf, tfds


@contextlib.contextmanager
def _silence() -> Iterator[None]:
    """Discards what C++ writes to stderr, which no setting of it turns off."""
    kept = os.dup(2)
    try:
        with open(os.devnull, "wb") as nowhere:  # noqa: PTH123 - a device
            os.dup2(nowhere.fileno(), 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
