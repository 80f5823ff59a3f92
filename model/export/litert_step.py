"""What a control process runs with LiteRT: the step, f32 and int8, the fast update.

The int8 step reads a quarter of the bytes, and a step spends its time on reading: 60 us
instead of 186 us for the 3.0 million numbers of the `seed` preset
(`//tests/benchmarks:model`). So does the fast update, which reads them three times, so
it is int8 too; how well it finds the way is measured on each export
(`agreement.measure_fast_update`).
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
from model.export import aligned_safetensors, functions
from model.export.agreement import Engine
from model.wavecore import WaveCore

CONVERSION_TIMEOUT_S = 600
"""The conversions take half a minute; after this time they count as hung."""
FORMS = ("f32", "int8")
FAST_UPDATE = functions.FAST_UPDATE


def convert(model: WaveCore, *, learns: bool = False) -> dict[str, bytes]:
    """Makes the LiteRT files by running `model.export.convert_step`.

    Args:
        model: the model.
        learns: whether to make the fast update too.

    Returns:
        The step by form, and the fast update by its name.

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
        names = (*FORMS, FAST_UPDATE) if learns else FORMS
        converted = {name: folder / f"{name}.tflite" for name in names}
        _run(folder / "config.json", folder / "weights.safetensors", converted)
        return {name: path.read_bytes() for name, path in converted.items()}


def load(content: bytes, name: str = "step") -> Engine:
    """Loads the function of a file into the runtime that robots use.

    Args:
        content: the file.
        name: its function.

    Raises:
        ExportError: the runtime refuses the file.
    """
    try:
        with _quiet():
            interpreter = Interpreter(model_content=content, num_threads=1)
            interpreter.allocate_tensors()
        signature = interpreter.get_signature_runner(name)
    except Exception as e:
        raise errors.ExportError(
            name,
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
    files = (config, weights, *converted.values())
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
