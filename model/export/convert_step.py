"""Turns saved weights into LiteRT steps; runs as a separate process.

Usage: python -m model.export.convert_step CONFIG WEIGHTS F32.tflite INT8.tflite

TensorFlow is imported only here in `model/`, so the process that trains stays small.
`model.export.litert_step` starts this process and reads the files it writes.
"""

import json
import sys
import tempfile
from pathlib import Path


def main(config_path: str, weights_path: str, f32_path: str, int8_path: str) -> None:
    """Converts one step into two files, each with one signature named `step`.

    In the int8 file the backbone's matrices are int8 with one scale per output
    channel, and at each call LiteRT quantises the vectors that they are multiplied
    with, one scale per vector (dynamic range). Surfaces are inputs and stay f32.

    Raises:
        ModelError: the weights do not belong to the configuration.
    """
    import safetensors.numpy

    from model import config, step_function
    from model.export import functions

    sizes = config.WaveCoreConfig(**json.loads(Path(config_path).read_bytes()))
    arrays = safetensors.numpy.load_file(weights_path)
    step = functions.step(step_function.from_weights(sizes, arrays))
    with tempfile.TemporaryDirectory() as folder:
        _save(step.run, {n: x.shape for n, x in step.inputs.items()}, folder)
        Path(f32_path).write_bytes(_convert(folder, quantise=False))
        Path(int8_path).write_bytes(_convert(folder, quantise=True))


def _save(step: object, shapes: dict[str, tuple[int, ...]], folder: str) -> None:
    """Writes the step as a SavedModel, which the converter reads."""
    import tensorflow as tf
    from jax.experimental import jax2tf

    inputs = {name: tf.TensorSpec(s, tf.float32, name) for name, s in shapes.items()}
    module = tf.Module()
    module.step = tf.function(
        jax2tf.convert(step, with_gradient=False), autograph=False
    )
    signature = module.step.get_concrete_function(**inputs)
    tf.saved_model.save(module, folder, signatures={"step": signature})


def _convert(folder: str, quantise: bool) -> bytes:
    import tensorflow as tf

    converter = tf.lite.TFLiteConverter.from_saved_model(
        folder, signature_keys=["step"]
    )
    if quantise:
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
    return bytes(converter.convert())


if __name__ == "__main__":
    main(*sys.argv[1:])
