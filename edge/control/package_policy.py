"""The package as a policy: proposes an action for each observation.

This file does not depend on the model inside. The package states the sizes of the
observation, the task vector and the carried state, and the step function computes the
next action and the next carried state.
"""

from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType

import numpy as np
import safetensors

from edge import errors
from edge.control import hearing
from edge.control.hearing import Hearing
from edge.control.local_delta import LocalDelta
from edge.control.sight import Eye, Sight, list_eyes
from edge.control.step_function import IMAGE, SOUND, SURFACE_PREFIX, StepFunction
from edge.robots.robot import Observation, Vector
from release.package import REQUIRED_FUNCTION, WEIGHTS
from release.verification import IntactPackage


class PackagePolicy:
    """Implements `edge.control.loop.Policy` with the step of one package."""

    def __init__(
        self,
        step: StepFunction,
        tasks: tuple[str, ...],
        initial_carry: Vector,
        source: str,
        surfaces: Mapping[str, Vector] = MappingProxyType({}),
        eyes: Sequence[Eye] = (),
        bands: int = 0,
    ) -> None:
        """Holds a loaded step.

        Args:
            step: the step function with its surfaces.
            tasks: names, in the order of the one-hot task vector.
            initial_carry: carried state at the start of an episode.
            source: name of the package, for errors.
            surfaces: the package's own surfaces by input name, which `adapt` adds to.
            eyes: the cameras that it reads.
            bands: those of the sound that it reads; 0 if it hears none.

        Raises:
            StepFunctionError: tasks, carry, frames or sound do not have the step's
                sizes.
        """
        sizes = step.input_sizes
        if sizes["task"] != len(tasks) or initial_carry.shape != (sizes["carry"],):
            raise errors.StepFunctionError(
                source,
                f"{sizes['task']} tasks and a carry of {sizes['carry']}",
                f"{len(tasks)} and {initial_carry.shape}",
                "export the package again",
            )
        self._sight = Sight(eyes) if eyes else None
        self._hearing = Hearing(bands) if bands else None
        frames = 0 if self._sight is None else self._sight.size
        for sense, size, told in ((IMAGE, frames, "cameras"), (SOUND, bands, "sound")):
            if sizes.get(sense, 0) != size:
                raise errors.StepFunctionError(
                    source,
                    f"{sense} of {sizes.get(sense, 0)} numbers, as the step has",
                    f"{told} of {size} in package.json",
                    "export the package again",
                )
        self._step = step
        self._tasks = tasks
        self._initial_carry = initial_carry
        self._source = source
        self._own_surfaces = surfaces
        self._carry = self._carry_before = initial_carry
        self._task = np.zeros(len(tasks), np.float32)
        self.state_size = sizes["observation_state"]
        self.action_size = step.output_sizes["action"]

    @property
    def tasks(self) -> tuple[str, ...]:
        """Names of the tasks that the package was trained for."""
        return self._tasks

    @property
    def task(self) -> Vector:
        """The task of the episode, one-hot, [K]."""
        return self._task

    @property
    def carry_before(self) -> Vector:
        """The carried state from which the last action was proposed, [C]."""
        return self._carry_before

    def adapt(self, deltas: Mapping[str, Vector]) -> None:
        """Drives with other deltas of some surfaces, from the next proposal on.

        Args:
            deltas: by the surface's name, added to the package's own surface.

        Raises:
            StepFunctionError: the package has no such surface, or a sum does not fit.
        """
        named = {SURFACE_PREFIX + name: delta for name, delta in deltas.items()}
        unknown = sorted(named.keys() - self._own_surfaces.keys())
        if unknown:
            raise errors.StepFunctionError(
                self._source,
                f"surfaces of {sorted(self._own_surfaces)}",
                unknown,
                "export the package again",
            )
        self._step.set_surfaces(
            {name: self._own_surfaces[name] + delta for name, delta in named.items()}
        )

    def reset(self, task: str) -> None:
        """Begins an episode of `task` with the initial carried state.

        Raises:
            UnknownTaskError: the package was not trained for `task`.
        """
        if task not in self._tasks:
            raise errors.UnknownTaskError(
                self._source,
                f"one of its tasks {list(self._tasks)}",
                f"{task!r}",
                "choose another robot or another package",
            )
        self._task = np.zeros(len(self._tasks), np.float32)
        self._task[self._tasks.index(task)] = 1.0
        self._carry = self._carry_before = self._initial_carry
        if self._sight is not None:
            self._sight.reset()
        if self._hearing is not None:
            self._hearing.reset()

    def propose(self, observation: Observation) -> Vector:
        """Returns the action [A] for one observation and keeps the next carry.

        The action is not clamped; the control loop does that.

        Raises:
            StepFunctionError: the observation does not have the package's size.
        """
        before = self._carry
        senses = {}
        if self._sight is not None:
            senses[IMAGE] = self._sight.look(observation)
        if self._hearing is not None:
            senses[SOUND] = self._hearing.listen(observation)
        action, _, self._carry = self._step(
            observation.state, self._task, before, senses
        )
        self._carry_before = before
        return action


def open_policy(
    package: IntactPackage, form: str | None = None, delta: LocalDelta | None = None
) -> PackagePolicy:
    """Loads the policy of an intact package.

    Args:
        package: the package, its files compared with its manifest.
        form: form of the step, such as `f32`, if the package has several; None for the
            form that the package prefers.
        delta: what this robot has learned on top of it; None for nothing.

    Raises:
        StepFunctionError: the step or its tensors do not load or do not fit, or the
            package has no step of this form.
    """
    manifest = package.manifest
    name = REQUIRED_FUNCTION if form is None else f"{REQUIRED_FUNCTION}_{form}"
    function = manifest.functions.get(name)
    if function is None:
        raise errors.StepFunctionError(
            package.folder,
            f"a function {name!r}",
            sorted(manifest.functions),
            _describe_forms(manifest.functions),
        )
    path = package.path(function.path)
    own, carry = _read_tensors(package)
    surfaces = own
    if delta is not None:
        surfaces = {
            name: vector + delta.vectors[name.removeprefix(SURFACE_PREFIX)]
            for name, vector in own.items()
        }
    step = StepFunction(path.read_bytes(), surfaces, str(path))
    tasks, source = tuple(manifest.robot.tasks), str(package.folder)
    observed = manifest.robot.observation
    eyes, bands = list_eyes(observed), hearing.count_bands(observed)
    return PackagePolicy(step, tasks, carry, source, own, eyes, bands)


def _describe_forms(functions: Iterable[str]) -> str:
    """Says which forms of its step a package has."""
    prefix = f"{REQUIRED_FUNCTION}_"
    forms = sorted(n.removeprefix(prefix) for n in functions if n.startswith(prefix))
    if not forms:
        return "its step has one form, which runs without --step"
    return f"the forms of its step are {', '.join(forms)} (--step)"


def _read_tensors(package: IntactPackage) -> tuple[dict[str, Vector], Vector]:
    """Reads the initial surfaces and the initial carry, but no backbone tensor."""
    path = package.path(WEIGHTS)
    try:
        with safetensors.safe_open(path, framework="numpy") as tensors:
            names = list(tensors.keys())
            surfaces = {
                name: tensors.get_tensor(name)
                for name in names
                if name.startswith(SURFACE_PREFIX)
            }
            carry = tensors.get_tensor("carry") if "carry" in names else None
    except Exception as e:
        raise errors.StepFunctionError(
            path, "safetensors", " ".join(str(e).split()), "export the package again"
        ) from e
    if carry is None or carry.dtype != np.float32 or carry.ndim != 1:
        raise errors.StepFunctionError(
            path,
            "a float32 vector 'carry'",
            "none" if carry is None else f"{carry.dtype}{list(carry.shape)}",
            "export the package again",
        )
    return surfaces, carry
