"""Turns saved weights into a LiteRT step; runs as a process of its own.

Usage: python -m model.convert_step CONFIG.json WEIGHTS.safetensors STEP.tflite

TensorFlow is imported here and nowhere else in `model/`, so the process that trains
stays small. `model.export` starts this one and reads what it wrote.
"""

import json
import sys
import tempfile
from pathlib import Path


def main(config_path: str, weights_path: str, output_path: str) -> None:
    """Converts one step; f32, one signature named `step`.

    Raises:
        ModelError: the weights are not those of the configuration.
    """
    import safetensors.numpy

    from model import config, step_function

    sizes = config.WaveCoreConfig(**json.loads(Path(config_path).read_bytes()))
    arrays = safetensors.numpy.load_file(weights_path)
    model = step_function.from_weights(sizes, arrays)
    shapes = {
        **step_function.input_shapes(sizes),
        **{
            name: vector.shape
            for name, vector in step_function.initial_surfaces(model).items()
        },
    }
    Path(output_path).write_bytes(_convert(step_function.make(model), shapes))


def _convert(step: object, shapes: dict[str, tuple[int, ...]]) -> bytes:
    import tensorflow as tf
    from jax.experimental import jax2tf

    inputs = {name: tf.TensorSpec(s, tf.float32, name) for name, s in shapes.items()}
    module = tf.Module()
    module.step = tf.function(
        jax2tf.convert(step, with_gradient=False), autograph=False
    )
    signature = module.step.get_concrete_function(**inputs)
    with tempfile.TemporaryDirectory() as folder:
        tf.saved_model.save(module, folder, signatures={"step": signature})
        converter = tf.lite.TFLiteConverter.from_saved_model(
            folder, signature_keys=["step"]
        )
        return bytes(converter.convert())


if __name__ == "__main__":
    main(*sys.argv[1:])
