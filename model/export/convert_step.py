"""Turns saved weights into the files of LiteRT; runs as a separate process.

Usage: python -m model.export.convert_step CONFIG WEIGHTS STEP_F32 STEP_INT8
       [FAST_UPDATE]

TensorFlow is imported only here in `model/`, so the process that trains stays small.
`model.export.litert_step` starts this process and reads the files it writes.
"""

import json
import sys
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any


def main(
    config_path: str,
    weights_path: str,
    f32_path: str,
    int8_path: str,
    fast_update_path: str | None = None,
) -> None:
    """Converts one step into two files, and the fast update into one if it is wanted.

    Each file has one signature, named after its function.

    In the int8 file, and in that of the fast update, the backbone's matrices are int8
    with one scale per output channel, and at each call LiteRT quantises the vectors
    that they are multiplied with, one scale per vector (dynamic range). Surfaces are
    inputs and stay f32.

    Raises:
        ModelError: the weights do not belong to the configuration.
    """
    import safetensors.numpy

    from model import config, step_function
    from model.export import functions

    sizes = config.WaveCoreConfig(**json.loads(Path(config_path).read_bytes()))
    arrays = safetensors.numpy.load_file(weights_path)
    model = step_function.from_weights(sizes, arrays)
    step = functions.step(model)
    with tempfile.TemporaryDirectory() as folder:
        _save("step", step.run, step.inputs, folder)
        Path(f32_path).write_bytes(_convert("step", folder))
        Path(int8_path).write_bytes(_convert("step", folder, quantise=True))
    if fast_update_path is not None:
        name, update = functions.FAST_UPDATE, functions.make_fast_update_flat(model)
        with tempfile.TemporaryDirectory() as folder:
            _save(name, update.run, update.inputs, folder)
            Path(fast_update_path).write_bytes(_convert(name, folder, quantise=True))


def _save(
    name: str, run: Callable[..., Any], inputs: Mapping[str, Any], folder: str
) -> None:
    """Writes a function as a SavedModel, which the converter reads."""
    import tensorflow as tf
    from jax.experimental import jax2tf

    specs = {n: tf.TensorSpec(x.shape, tf.float32, n) for n, x in inputs.items()}
    module = tf.Module()
    module.run = tf.function(jax2tf.convert(run, with_gradient=False), autograph=False)
    signature = module.run.get_concrete_function(**specs)
    tf.saved_model.save(module, folder, signatures={name: signature})


def _convert(name: str, folder: str, *, quantise: bool = False) -> bytes:
    import tensorflow as tf

    converter = tf.lite.TFLiteConverter.from_saved_model(folder, signature_keys=[name])
    if quantise:
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
    return bytes(converter.convert())


if __name__ == "__main__":
    main(*sys.argv[1:])
