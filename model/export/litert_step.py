"""The control step for LiteRT, which robots with a CPU run: f32, and int8.

The int8 step reads a quarter of the bytes, and a step spends its time on reading: 60 us
instead of 186 us for the 3.0 million numbers of the `seed` preset
(`//tests/benchmarks:model`).
"""

import contextlib
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from ai_edge_litert.interpreter import Interpreter

from model import errors, step_function
from model.export import aligned_safetensors
from model.export.agreement import Engine
from model.wavecore import WaveCore

CONVERSION_TIMEOUT_S = 600
"""Two conversions take about twenty seconds; after this time they count as hung."""
FORMS = ("f32", "int8")


def convert(model: WaveCore) -> dict[str, bytes]:
    """Makes the LiteRT files by form, by running `model.export.convert_step`.

    Raises:
        ExportError: the conversion fails or hangs.
    """
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "config.json").write_text(
            json.dumps(step_function.config_record(model.config))
        )
        (folder / "weights.safetensors").write_bytes(
            aligned_safetensors.encode(step_function.weights(model))
        )
        converted = {form: folder / f"{form}.tflite" for form in FORMS}
        _run(folder / "config.json", folder / "weights.safetensors", converted)
        return {form: path.read_bytes() for form, path in converted.items()}


def load(content: bytes) -> Engine:
    """Loads the step of a file into the runtime that robots use.

    Raises:
        ExportError: the runtime refuses the file.
    """
    try:
        with _quiet():
            interpreter = Interpreter(model_content=content, num_threads=1)
            interpreter.allocate_tensors()
        signature = interpreter.get_signature_runner("step")
    except Exception as e:
        raise errors.ExportError(
            "step",
            "a file that LiteRT runs",
            " ".join(str(e).split()),
            "the converter and the runtime disagree",
        ) from e
    return lambda inputs: signature(**inputs)


def _run(config: Path, weights: Path, converted: dict[str, Path]) -> None:
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(p for p in sys.path if p),
        "JAX_PLATFORMS": "cpu",
        "CUDA_VISIBLE_DEVICES": "",
        "TF_CPP_MIN_LOG_LEVEL": "3",
    }
    files = (config, weights, *(converted[form] for form in FORMS))
    try:
        subprocess.run(
            [sys.executable, "-m", "model.export.convert_step", *map(str, files)],
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            check=True,
            timeout=CONVERSION_TIMEOUT_S,
        )
    except subprocess.CalledProcessError as e:
        lines = e.stderr.decode(errors="replace").strip().splitlines() or ["nothing"]
        raise errors.ExportError(
            "step",
            "the conversion to LiteRT to succeed",
            lines[-1][:300],
            "run python -m model.export.convert_step to see the whole message",
        ) from e
    except subprocess.TimeoutExpired as e:
        raise errors.ExportError(
            "step",
            f"the conversion to LiteRT within {CONVERSION_TIMEOUT_S} s",
            "no answer",
            "run again",
        ) from e


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Hides what LiteRT's C++ code prints to stderr on loading; errors are raised."""
    sys.stderr.flush()
    saved = os.dup(2)
    try:
        with Path(os.devnull).open("wb") as sink:
            os.dup2(sink.fileno(), 2)
        yield
    finally:
        os.dup2(saved, 2)
        os.close(saved)
