"""What each export target runs: the forms of its step, and the platforms of the rest.

pi5-cpu            LiteRT f32 and int8, and the fast update for the control process;
                   the other functions for the CPU
jetson-cuda, tpu   StableHLO for cpu, cuda and tpu, all in one file per function.
                   Only its CPU program is checked here; the others differ from it
                   only in the form of the recurrence, and tests check that all
                   forms agree
hailo-onnx         ONNX, for Hailo's own compiler; the other functions for the CPU
                   next to the accelerator
"""

import dataclasses
from collections.abc import Callable, Mapping

from model import senses
from model.export import functions, litert_step, onnx_step, stablehlo
from model.export.agreement import Engine
from model.wavecore import WaveCore

STEP, F32, INT8 = "step", "f32", "int8"

_CPU, _EVERY_PLATFORM = ("cpu",), ("cpu", "cuda", "tpu")


@dataclasses.dataclass(frozen=True)
class StepFile:
    """The step in one form.

    Attributes:
        path: in the package.
        content: the file.
        load: loads such a file into a runtime on this machine.
        exact: whether it computes the same as the model except for f32 rounding.
    """

    path: str
    content: bytes
    load: Callable[[bytes], Engine]
    exact: bool


@dataclasses.dataclass(frozen=True)
class ControlFiles:
    """What the control process of a robot runs.

    Attributes:
        steps: the step by form, `f32` always among them.
        fast_update: the fast update in a form that needs no jax; None for none.
    """

    steps: Mapping[str, StepFile]
    fast_update: bytes | None = None


@dataclasses.dataclass(frozen=True)
class Target:
    """What one target gets.

    Attributes:
        control: makes what control runs of a model, and whether it is to learn there.
        platforms: platforms that the other functions are lowered for.
    """

    control: Callable[[WaveCore, bool], ControlFiles]
    platforms: tuple[str, ...]


def _litert(model: WaveCore, learns: bool) -> ControlFiles:
    # The fast loop of a control process learns from states alone.
    learns = learns and not senses.shapes(model.config)
    converted = litert_step.convert(model, learns=learns)
    steps = {
        form: StepFile(
            _path(form, ".tflite"), converted[form], litert_step.load, exact=form == F32
        )
        for form in litert_step.FORMS
    }
    return ControlFiles(steps, converted.get(litert_step.FAST_UPDATE))


def _stablehlo_step(model: WaveCore, learns: bool) -> ControlFiles:
    content = stablehlo.encode(functions.step(model), _EVERY_PLATFORM)

    def load(content: bytes) -> Engine:
        step = stablehlo.load(content)
        return lambda inputs: step(**inputs)

    step = StepFile(_path(F32, ".stablehlo"), content, load, exact=True)
    return ControlFiles({F32: step})


def _onnx_step(model: WaveCore, learns: bool) -> ControlFiles:
    content = onnx_step.convert(model)
    step = StepFile(_path(F32, ".onnx"), content, onnx_step.load, exact=True)
    return ControlFiles({F32: step})


def _path(form: str, suffix: str) -> str:
    return f"functions/{STEP}{'' if form == F32 else f'_{form}'}{suffix}"


TARGETS = {
    "pi5-cpu": Target(_litert, _CPU),
    "jetson-cuda": Target(_stablehlo_step, _EVERY_PLATFORM),
    "tpu": Target(_stablehlo_step, _EVERY_PLATFORM),
    "hailo-onnx": Target(_onnx_step, _CPU),
}
"""The targets by name, as `release.package` knows them."""
