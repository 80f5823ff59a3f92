"""Writes the files of a package that come from the model, for one target.

    functions/step.*        the control step in the target's form
    functions/*.stablehlo   what a robot learns with, see `functions`
    functions/fast_update_litert.tflite   the same for the control process
    weights.safetensors     backbone, initial surfaces, initial carry
    canary.tfrecord         a few held-out episodes

Before they are written, all functions are run from their files, on the episodes, and
compared with the model. A robot runs the function `step`; where a target has the step
in two forms, `step_f32` and `step_int8` name both, and `step` is one of them.
"""

import concurrent.futures
import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from base import durable_file
from model import errors, step_function, surfaces
from model.export import (
    agreement,
    aligned_safetensors,
    functions,
    litert_step,
    stablehlo,
)
from model.export.functions import FAST_UPDATE, FAST_UPDATE_LITERT
from model.export.targets import F32, INT8, STEP, TARGETS
from model.wavecore import WaveCore
from rlds import example_codec, tfrecord
from rlds.episode import Episode

LARGEST_ERROR = 1e-5
"""Largest accepted difference of an exported output: absolute, and relative where the
output is above one. f32 sums in another order differ by about 1e-6."""
LARGEST_LOST_GAIN = 0.1
"""Largest share of what the fast update gains that its int8 form may lose: 0.017 on the
default model. Above it the form is left out, and the robot has no fast loop."""
LARGEST_INT8_ERROR, LARGEST_INT8_MEAN = 0.25, 0.02
"""Largest accepted differences of an int8 step's action: of any number from the same
carry, and of the mean when free-running. Measured on the default model, whose actions
go from -1 to 1: 0.071 and 0.0035. Above either, the int8 step is left out of the
package; below both, closed-loop success decides (`cloud/evaluate/int8_choice.py`)."""
STATE = "state"
"""What a call of a consolidation hands to the next one."""
MAX_ERROR = "max_abs_error"
"""Name of the one number in the comparison of a learning function."""
LOST_GAIN = "lost_gain"
"""The same of the fast update for the control process."""


@dataclasses.dataclass(frozen=True)
class ExportResult:
    """What `package.json` says about the functions, and how well they agree.

    Attributes:
        functions: function name to path, inputs and outputs.
        surfaces: surface name to size and bound of a local delta's L2 norm.
        backbone_digest: sha256 of the backbone, the same after any adaptation.
        checks: path of a function to what its comparison with the model found: the
            numbers of `Agreement` for steps, `lost_gain` for the fast update of the
            control process, `max_abs_error` for the others.
        left_out: the same for a file that was not accepted: a step by its form,
            another one by its name.
        canary_action_error: mean absolute action error of `step` on the canary
            episodes.
        canary_steps: steps in the canary episodes.
        learning: what a package says about learning; see `functions.plan`.
    """

    functions: Mapping[str, Mapping[str, object]]
    surfaces: Mapping[str, Mapping[str, float]]
    backbone_digest: str
    checks: Mapping[str, Mapping[str, float | None]]
    left_out: Mapping[str, Mapping[str, float | None]]
    canary_action_error: float
    canary_steps: int
    learning: Mapping[str, object]

    @property
    def max_abs_error(self) -> float:
        """Largest difference between model and package, except of what is int8."""
        return max(
            check.get(MAX_ERROR, check.get("step_error")) or 0.0
            for path, check in self.checks.items()
            if not path.startswith(f"functions/{STEP}_{INT8}.")
        )


@dataclasses.dataclass(frozen=True)
class ExportedFile:
    """One exported function and what its comparison with the model found.

    Attributes:
        name: the function, such as `evaluate`; for a step `step` or `step_int8`.
        function: what it computes, as `package.json` describes it.
        form: `f32` or `int8` for a step; "" for the other functions.
        path: path in the package.
        content: bytes of the file.
        found: every number of the comparison.
        bounds: largest accepted value of some of these numbers.
        optional: whether the file is left out if a number is above its bound; otherwise
            the export fails.
        memory_bytes: what one call of a learning function needs; 0 for a step.
    """

    name: str
    function: functions.Function
    form: str
    path: str
    content: bytes
    found: Mapping[str, float]
    bounds: Mapping[str, float]
    optional: bool = False
    memory_bytes: int = 0

    @property
    def check(self) -> dict[str, float | None]:
        """The numbers found; None for those that are not finite, as JSON needs."""
        return {n: x if np.isfinite(x) else None for n, x in self.found.items()}


def write_functions(
    model: WaveCore,
    tasks: Sequence[str],
    folder: Path,
    canary_episodes: Sequence[Episode],
    target: str = "pi5-cpu",
    preferred: str = F32,
) -> ExportResult:
    """Exports a model into `folder`, checking every function before it is written.

    Args:
        model: the trained model.
        tasks: task names in the order of the one-hot input.
        folder: the package's folder; made when missing.
        canary_episodes: held-out episodes, at least one.
        target: one of `targets.TARGETS`.
        preferred: form of the step that robots run, if the target has several and
            this one was accepted.

    Raises:
        ExportError: the target is unknown, there is no canary episode or one of an
            unknown task, the conversion fails, or an exported function disagrees with
            the model.
        NonFiniteError: a weight is NaN or infinite.
    """
    _check(model, tasks, canary_episodes, target)
    arrays = step_function.weights(model)
    learning = functions.learning(model)
    kept: dict[str, ExportedFile] = {}
    left_out: dict[str, ExportedFile] = {}
    for file in _export_all(model, learning, tasks, canary_episodes, target):
        (kept if _accept(file) else left_out)[file.name] = file
    chosen = _step_name(preferred) if _step_name(preferred) in kept else STEP
    _write(folder, {file.path: file.content for file in kept.values()})
    _write(folder, {"weights.safetensors": aligned_safetensors.encode(arrays)})
    records = [tfrecord.frame(example_codec.encode(e)) for e in canary_episodes]
    _write(folder, {"canary.tfrecord": b"".join(records)})
    return ExportResult(
        functions=_describe(kept, chosen),
        surfaces=_surfaces(arrays),
        backbone_digest=step_function.backbone_digest(model),
        checks={file.path: file.check for file in kept.values()},
        left_out={file.form or file.name: file.check for file in left_out.values()},
        canary_action_error=kept[chosen].found["canary_action_error"],
        canary_steps=sum(len(e.steps["is_first"]) for e in canary_episodes),
        learning=_describe_learning(kept),
    )


def _check(
    model: WaveCore, tasks: Sequence[str], episodes: Sequence[Episode], target: str
) -> None:
    if target not in TARGETS:
        raise errors.ExportError(
            "target", f"one of {', '.join(TARGETS)}", f"{target!r}"
        )
    if len(tasks) != model.config.task_count:
        raise errors.ExportError(
            "tasks",
            f"{model.config.task_count} names",
            len(tasks),
            "give the tasks the model was trained on",
        )
    unknown = sorted({e.metadata.task for e in episodes} - set(tasks))
    if not episodes or unknown:
        raise errors.ExportError(
            "canary episodes",
            f"at least one, of {', '.join(tasks)}",
            f"{len(episodes)}, unknown tasks {unknown}",
            "take them from the held-out split",
        )
    for name, array in step_function.weights(model).items():
        if not np.isfinite(array).all():
            raise errors.NonFiniteError(
                name,
                "finite weights",
                "NaN or infinity",
                "train again with a lower learning rate",
            )


def _export_all(
    model: WaveCore,
    learning: Mapping[str, functions.Function],
    tasks: Sequence[str],
    episodes: Sequence[Episode],
    target: str,
) -> Iterator[ExportedFile]:
    """Exports the functions and compares each with the model.

    The step is made by a process of its own meanwhile, which takes as long as the other
    functions do.
    """
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        making = pool.submit(TARGETS[target].control, model, FAST_UPDATE in learning)
        known: dict[str, Any] = {}
        fast: tuple[agreement.Compared, dict[str, Any]] | None = None
        for name, function in learning.items():
            content = stablehlo.encode(function, TARGETS[target].platforms)
            given = agreement.arguments(model, function, tasks, episodes, known)
            compared = agreement.compare_function(function, content, given)
            known |= {n: x for n, x in compared.outputs.items() if n == STATE}
            if name == FAST_UPDATE:
                fast = compared, given
            yield ExportedFile(
                name=name,
                function=function,
                form="",
                path=_learning_path(name),
                content=content,
                found={MAX_ERROR: compared.error},
                bounds={MAX_ERROR: LARGEST_ERROR},
                memory_bytes=compared.memory_bytes,
            )
        control = making.result()
    if control.fast_update is not None and fast is not None:
        lost = agreement.measure_fast_update(
            litert_step.load(control.fast_update, FAST_UPDATE),
            fast[0].program,
            fast[1],
            [e.steps["observation/state"] for e in episodes],
        )
        yield ExportedFile(
            name=FAST_UPDATE_LITERT,
            function=functions.make_fast_update_flat(model),
            form="",
            path=f"functions/{FAST_UPDATE_LITERT}.tflite",
            content=control.fast_update,
            found={LOST_GAIN: lost},
            bounds={LOST_GAIN: LARGEST_LOST_GAIN},
            optional=True,
        )
    for form, step in control.steps.items():
        found = agreement.measure_step(model, tasks, step.load(step.content), episodes)
        yield ExportedFile(
            name=_step_name(form),
            function=functions.step(model),
            form=form,
            path=step.path,
            content=step.content,
            found=dataclasses.asdict(found),
            bounds=_step_bounds(step.exact),
            optional=not step.exact,
        )


def _accept(file: ExportedFile) -> bool:
    """Returns whether a file belongs in the package.

    Raises:
        ExportError: the file is not optional, and differs from the model.
    """
    for name, bound in file.bounds.items():
        if not file.found[name] <= bound:
            if file.optional:
                return False
            raise errors.ExportError(
                file.path,
                f"outputs within {bound} of the model",
                f"a difference of {file.found[name]:.3g}",
                "the converter and jax versions disagree",
            )
    return True


def _describe(
    kept: Mapping[str, ExportedFile], chosen: str
) -> dict[str, dict[str, object]]:
    steps = [file for file in kept.values() if file.form]
    named = {STEP: kept[chosen]}
    if len(steps) > 1:
        named |= {f"{STEP}_{file.form}": file for file in steps}
    named |= {name: file for name, file in kept.items() if not file.form}
    return {
        name: {"path": file.path, **stablehlo.signature(file.function)}
        for name, file in named.items()
    }


def _describe_learning(kept: Mapping[str, ExportedFile]) -> dict[str, object]:
    """The loops whose functions are all in the package."""
    loops = {
        name: loop
        for name, loop in functions.plan().items()
        if all(entry["function"] in kept for entry in loop)
    }
    memory = [file.memory_bytes for file in kept.values()]
    return {"loops": loops, "memory_bytes": max(1, *memory)}


def _step_bounds(exact: bool) -> dict[str, float]:
    if exact:
        return {"step_error": LARGEST_ERROR, "free_action_error": LARGEST_ERROR}
    return {
        "step_action_error": LARGEST_INT8_ERROR,
        "free_action_mean": LARGEST_INT8_MEAN,
    }


def _step_name(form: str) -> str:
    return STEP if form == F32 else f"{STEP}_{form}"


def _surfaces(arrays: Mapping[str, np.ndarray]) -> dict[str, dict[str, float]]:
    prefix = step_function.SURFACE_PREFIX
    return {
        name: {"size": arrays[prefix + name].size, "bound": surfaces.BOUNDS[name]}
        for name in surfaces.SURFACES
    }


def _learning_path(name: str) -> str:
    return f"functions/{name}.stablehlo"


def _write(folder: Path, files: Mapping[str, bytes]) -> None:
    for path, content in files.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        durable_file.write(folder / path, content)
