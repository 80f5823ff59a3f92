"""Runs a package's control step with LiteRT on one thread.

The step is a pure function of flat float32 vectors with fixed names:

    observation_state, task, carry, surface_*  ->  action, next_observation, carry

and, for a package that reads cameras or sound, `observation_image` (`sight.py`) and
`observation_audio_mel` (`hearing.py`).

The surfaces stay in the interpreter's input tensors between calls. `StepFunction`
checks at load time that a call leaves them unchanged, and otherwise copies them in
before every call. They may be replaced between two calls (`set_surfaces`).
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

import numpy as np

from edge import errors
from edge.control import litert
from edge.control.litert import HANG_ENDS_PROCESS, one_line
from edge.robots.robot import Vector

SIGNATURE: Final = "step"
SURFACE_PREFIX: Final = "surface_"
IMAGE: Final = "observation_image"
SOUND: Final = "observation_audio_mel"
_INPUTS: Final = ("observation_state", "task", "carry")
_CARRY_OUTPUTS: Final = ("next_carry", "carry")


class StepFunction:
    """A loaded step and its surfaces.

    Attributes:
        input_sizes: length of each input vector by name.
        output_sizes: length of each output vector by name; the carried state is called
            `carry`, whatever the file calls it.
    """

    def __init__(
        self, content: bytes, surfaces: Mapping[str, Vector], source: str
    ) -> None:
        """Loads the step and its surfaces.

        Args:
            content: a LiteRT flatbuffer with a signature called `step`.
            surfaces: one vector for each input whose name starts with `surface_`.
            source: name of the file, for errors.

        Raises:
            StepFunctionError: the file does not load or has another signature; or a
                surface is missing, unknown, of the wrong size or not finite.
        """
        self._source = source
        opened = litert.open_function(content, SIGNATURE, source)
        self._interpreter, inputs = opened.interpreter, opened.inputs
        outputs = opened.outputs
        carry_output = next((n for n in _CARRY_OUTPUTS if n in outputs), None)
        self._require_names("inputs", inputs, _INPUTS)
        self._require_known(inputs)
        self._require_names("outputs", outputs, ("action", "next_observation"))
        if carry_output is None:
            raise errors.StepFunctionError(
                source, "an output 'carry'", sorted(outputs), "export the package again"
            )
        if carry_output != "carry":
            outputs["carry"] = outputs.pop(carry_output)
        self._state = inputs["observation_state"]
        self._task = inputs["task"]
        self._carry = inputs["carry"]
        self._senses = {name: inputs[name] for name in (IMAGE, SOUND) if name in inputs}
        self._action = outputs["action"]
        self._next_observation = outputs["next_observation"]
        self._next_carry = outputs["carry"]
        self.input_sizes = self._read_sizes(inputs)
        self.output_sizes = self._read_sizes(outputs)
        if self.input_sizes["carry"] != self.output_sizes["carry"]:
            raise errors.StepFunctionError(
                source,
                f"the carry to keep its size {self.input_sizes['carry']}",
                self.output_sizes["carry"],
                "export the package again",
            )
        self._surfaces = self._check_surfaces(inputs, surfaces)
        self._copy_surfaces()
        self._surfaces_stay = self._call_keeps_surfaces()

    def __call__(
        self,
        state: Vector,
        task: Vector,
        carry: Vector,
        senses: Mapping[str, Vector] = MappingProxyType({}),
    ) -> tuple[Vector, Vector, Vector]:
        """Runs one step.

        Shapes: state [N], task [K], carry [C] and, for each sense that is an input,
        `IMAGE` [P], the frames of all cameras, and `SOUND` [U], to (action [A],
        next_observation [N], carry [C]), all float32 and all copies.

        Raises:
            StepFunctionError: an input has the wrong size, or the runtime fails.
        """
        interpreter = self._interpreter
        try:
            interpreter.set_tensor(self._state, state)
            interpreter.set_tensor(self._task, task)
            interpreter.set_tensor(self._carry, carry)
            for name, index in self._senses.items():
                interpreter.set_tensor(index, senses[name])
            if not self._surfaces_stay:
                self._copy_surfaces()
            with HANG_ENDS_PROCESS:
                interpreter.invoke()
            return (
                interpreter.get_tensor(self._action),
                interpreter.get_tensor(self._next_observation),
                interpreter.get_tensor(self._next_carry),
            )
        except Exception as e:
            raise errors.StepFunctionError(
                self._source,
                f"inputs of {self.input_sizes} float32",
                f"observation_state {state.shape} {state.dtype}, task {task.shape}, "
                f"carry {carry.shape}: {one_line(e)}",
                "give the step inputs of these sizes",
            ) from e

    def set_surfaces(self, surfaces: Mapping[str, Vector]) -> None:
        """Replaces some surfaces from the next call on; all of them, or none.

        Raises:
            StepFunctionError: a surface is unknown, of the wrong size or not finite, or
                the runtime fails.
        """
        unknown = sorted(surfaces.keys() - self._indices.keys())
        if unknown:
            raise errors.StepFunctionError(
                self._source,
                f"surfaces of {sorted(self._indices)}",
                unknown,
                "export the package again",
            )
        found = {self._indices[n]: self._check_one(n, v) for n, v in surfaces.items()}
        self._surfaces |= found
        try:
            for index, value in found.items():
                self._interpreter.set_tensor(index, value)
        except Exception as e:
            raise errors.StepFunctionError(
                self._source,
                "the surfaces to be replaced",
                one_line(e),
                "export the package again",
            ) from e

    def _require_names(
        self, kind: str, found: Mapping[str, int], needed: tuple[str, ...]
    ) -> None:
        missing = [name for name in needed if name not in found]
        if missing:
            raise errors.StepFunctionError(
                self._source,
                f"{kind} {list(needed)}",
                sorted(found),
                "export the package again",
            )

    def _require_known(self, inputs: Mapping[str, int]) -> None:
        """Refuses whatever nobody would set."""
        known = {*_INPUTS, IMAGE, SOUND}
        unknown = sorted(n for n in inputs.keys() - known if not _is_surface(n))
        if unknown:
            raise errors.StepFunctionError(
                self._source,
                "a step that reads state, pictures and sound",
                f"inputs {unknown}",
                "choose a package without them",
            )

    def _read_sizes(self, tensors: Mapping[str, int]) -> dict[str, int]:
        try:
            details = {
                d["index"]: d
                for d in (
                    *self._interpreter.get_input_details(),
                    *self._interpreter.get_output_details(),
                )
            }
        except Exception as e:  # such as a tensor's name that is not UTF-8
            raise errors.StepFunctionError(
                self._source,
                "a model whose tensors can be listed",
                one_line(e),
                "export the package again",
            ) from e
        sizes = {}
        for name, index in tensors.items():
            if index not in details:
                raise errors.StepFunctionError(
                    self._source,
                    f"{name} to be an input or output of the model",
                    f"tensor {index}, which is neither",
                    "export the package again",
                )
            shape, dtype = details[index]["shape"], details[index]["dtype"]
            if len(shape) != 1 or dtype != np.float32:
                raise errors.StepFunctionError(
                    self._source,
                    f"{name} to be a float32 vector",
                    f"{np.dtype(dtype).name}{list(shape)}",
                    "export the package again",
                )
            sizes[name] = int(shape[0])
        return sizes

    def _check_surfaces(
        self, inputs: Mapping[str, int], surfaces: Mapping[str, Vector]
    ) -> dict[int, Vector]:
        wanted = {n for n in inputs if _is_surface(n)}
        if wanted != set(surfaces):
            raise errors.StepFunctionError(
                self._source,
                f"surfaces {sorted(wanted)}",
                sorted(surfaces),
                "export the package again",
            )
        self._indices = {name: inputs[name] for name in surfaces}
        return {inputs[n]: self._check_one(n, v) for n, v in surfaces.items()}

    def _check_one(self, name: str, value: Vector) -> Vector:
        """One surface as the runtime takes it."""
        expected = (self.input_sizes[name],)
        if value.shape != expected or value.dtype != np.float32:
            raise errors.StepFunctionError(
                self._source,
                f"{name} to be float32{list(expected)}",
                f"{value.dtype.name}{list(value.shape)}",
                "export the package again",
            )
        if not np.isfinite(value).all():
            raise errors.StepFunctionError(
                self._source,
                f"finite values in {name}",
                "NaN or infinity",
                "train again",
            )
        return np.ascontiguousarray(value)

    def _copy_surfaces(self) -> None:
        for index, value in self._surfaces.items():
            self._interpreter.set_tensor(index, value)

    def _call_keeps_surfaces(self) -> bool:
        given = {
            self._state: "observation_state",
            self._task: "task",
            self._carry: "carry",
        }
        given |= {index: name for name, index in self._senses.items()}
        for index, name in given.items():
            size = self.input_sizes[name]
            self._interpreter.set_tensor(index, np.zeros(size, np.float32))
        try:
            with HANG_ENDS_PROCESS:
                self._interpreter.invoke()
        except Exception as e:
            raise errors.StepFunctionError(
                self._source,
                "the first step to run",
                one_line(e),
                "export the package for this target",
            ) from e
        return all(
            np.array_equal(self._interpreter.get_tensor(index), value)
            for index, value in self._surfaces.items()
        )


def _is_surface(name: str) -> bool:
    return name.startswith(SURFACE_PREFIX)
