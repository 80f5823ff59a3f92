"""The fast update of a package: one bounded gradient step, run with LiteRT.

    deltas_<surface>, window_<name>  ->  deltas_<surface>, loss_before, loss_after,
                                         refused, repaired

All of it is float32; `model.export.functions.make_fast_update_flat` makes the file. The
surfaces that it changes are those among its outputs. What comes out is checked against
the bounds of the package, as a delta from the disk is.
"""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from edge.control import litert, local_delta
from edge.control.litert import HANG_ENDS_PROCESS, one_line
from edge.errors import StepFunctionError
from edge.robots.robot import Vector
from release.package import PackageManifest

LOOP: Final = "fast"
FORM: Final = "litert"
"""A function that control runs has the name of the other form, and this."""
_SIGNATURE: Final = "fast_update"
_DELTAS: Final = "deltas_"
_WINDOW: Final = "window_"
_NUMBERS: Final = ("loss_before", "loss_after", "refused", "repaired")
_REMEDY: Final = "export the package again"

Array = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Updated:
    """The result of one call.

    Attributes:
        deltas: [s] of each surface that the function changes, by the surface's name.
        loss_before, loss_after: error of the world model over the window, in typical
            changes of one step; the second is never above the first.
        refused: whether the data were not finite, and the deltas are as given.
    """

    deltas: Mapping[str, Vector]
    loss_before: float
    loss_after: float
    refused: bool

    @property
    def changed(self) -> bool:
        """Whether the step was taken, because the loss fell."""
        return self.loss_after < self.loss_before


def find_function(package: PackageManifest) -> str | None:
    """Name of the function that a package's fast loop calls here; None for none.

    A loop of more than one call is not one that ends between two steps.
    """
    plan = package.learning
    loop = () if plan is None else plan.loops.get(LOOP, ())
    if len(loop) != 1 or loop[0].calls != 1:
        return None
    name = f"{loop[0].function}_{FORM}"
    return name if name in package.functions else None


class FastUpdate:
    """A loaded function.

    Attributes:
        steps: t, length of its window.
        surfaces: names of the surfaces that it changes.
        took_ns: what a call took when it was loaded.
    """

    def __init__(self, content: bytes, package: PackageManifest, source: str) -> None:
        """Loads the function and calls it twice; the first call prepares its matrices.

        Args:
            content: the LiteRT flatbuffer.
            package: says which surfaces there are, of which sizes and bounds.
            source: name of the file, for errors.

        Raises:
            StepFunctionError: the file does not load, or does not take and return what
                such a function does.
            DeltaError: what it returns for zeros is no delta of the package.
        """
        self._source = source
        opened = litert.open_function(content, _SIGNATURE, source)
        self._interpreter = opened.interpreter
        self._inputs, self._outputs = opened.inputs, opened.outputs
        shapes = self._read_shapes()
        self.steps = shapes.get(f"{_WINDOW}starts", (0,))[0]
        self._require(package, shapes)
        self._shapes = {name: shapes[name] for name in self._inputs}
        self.surfaces = tuple(
            name.removeprefix(_DELTAS)
            for name in sorted(self._outputs)
            if name.startswith(_DELTAS)
        )
        self._bounds = {name: package.surfaces[name] for name in self.surfaces}
        zeros = {name: np.zeros(s, np.float32) for name, s in self._shapes.items()}
        self._call(zeros)
        begin_ns = time.perf_counter_ns()
        self._call(zeros)
        self.took_ns = time.perf_counter_ns() - begin_ns

    def __call__(
        self, deltas: Mapping[str, Vector], window: Mapping[str, Array]
    ) -> Updated:
        """Takes one gradient step.

        Args:
            deltas: present delta [s] of every surface.
            window: the last t steps, oldest first: `states` [t+1 n], `task` [t k],
                `starts` [t], `weight` [t] and `carry` [c].

        Raises:
            StepFunctionError: an array has the wrong size, or the runtime fails.
            DeltaError: a new delta is not finite or beyond its bound.
        """
        arrays = {_DELTAS + name: x for name, x in deltas.items()}
        return self._call(arrays | {_WINDOW + name: x for name, x in window.items()})

    def _call(self, arrays: Mapping[str, Array]) -> Updated:
        shapes = {name: x.shape for name, x in arrays.items()}
        if shapes != self._shapes:
            wrong = sorted(set(shapes.items()) ^ set(self._shapes.items()))[0][0]
            raise StepFunctionError(
                self._source,
                f"{wrong} of shape {self._shapes.get(wrong)}",
                shapes.get(wrong, "nothing"),
                _REMEDY,
            )
        interpreter = self._interpreter
        try:
            for name, x in arrays.items():
                interpreter.set_tensor(self._inputs[name], x)
            with HANG_ENDS_PROCESS:
                interpreter.invoke()
            found = {
                name: interpreter.get_tensor(index)
                for name, index in self._outputs.items()
            }
        except Exception as e:
            raise StepFunctionError(
                self._source, "the fast update to run", one_line(e), _REMEDY
            ) from e
        deltas = {name: found[_DELTAS + name] for name in self.surfaces}
        local_delta.check_bounds(deltas, self._bounds, self._source)
        before, after, refused, _ = (float(found[name]) for name in _NUMBERS)
        return Updated(deltas, before, after, refused != 0)

    def _read_shapes(self) -> dict[str, tuple[int, ...]]:
        """Shape of every input and output by name, all f32."""
        shapes = {}
        for tensors, listed in (
            (self._inputs, self._interpreter.get_input_details()),
            (self._outputs, self._interpreter.get_output_details()),
        ):
            details = {one["index"]: one for one in listed}
            for name, index in tensors.items():
                if index not in details or details[index]["dtype"] != np.float32:
                    raise StepFunctionError(
                        self._source,
                        f"{name} to be float32",
                        "another tensor",
                        _REMEDY,
                    )
                shapes[name] = tuple(int(size) for size in details[index]["shape"])
        return shapes

    def _require(
        self, package: PackageManifest, shapes: Mapping[str, tuple[int, ...]]
    ) -> None:
        state = package.robot.observation.get("state")
        size = 0 if state is None else state.shape[0]
        steps, tasks = self.steps, len(package.robot.tasks)
        carry = shapes.get(f"{_WINDOW}carry", ())
        inputs = {_DELTAS + n: (one.size,) for n, one in package.surfaces.items()} | {
            f"{_WINDOW}states": (steps + 1, size),
            f"{_WINDOW}task": (steps, tasks),
            f"{_WINDOW}starts": (steps,),
            f"{_WINDOW}weight": (steps,),
            f"{_WINDOW}carry": carry,
        }
        returned = [name for name in self._outputs if name.startswith(_DELTAS)]
        outputs = dict.fromkeys(_NUMBERS, ()) | {n: inputs.get(n) for n in returned}
        for kind, found, wanted in (
            ("inputs", {name: shapes[name] for name in self._inputs}, inputs),
            ("outputs", {name: shapes[name] for name in self._outputs}, outputs),
        ):
            if found != wanted or not returned or len(carry) != 1 or steps < 1:
                raise StepFunctionError(
                    self._source, f"the {kind} {wanted}", found, _REMEDY
                )
