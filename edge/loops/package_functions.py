"""A package's learning functions, loaded with jax, and one round of a loop with them.

This is the only file of the robot that imports jax. Functions are StableHLO files,
which `jax.export` reads and compiles for this machine; a package brings all that a
round computes, so no model code is here. Control never imports it: jax alone is more
than all of control, and compiling would take the processor from it for seconds.
"""

import contextlib
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import jax
import jax.export
import numpy as np
import safetensors.numpy
from jax.experimental import serialize_executable

from base import durable_file
from base.errors import ContinuonError, DiskError
from edge.control import local_delta, sight
from edge.errors import LearningError
from edge.loops import compiled_functions, memory_arrays, resident_memory
from edge.loops import found as findings
from edge.loops.calls import run_calls
from edge.loops.learning_job import Job, Judged, Progress, Report
from edge.loops.memory_arrays import EPISODES, MEMORIES
from edge.loops.memory_choice import KNOWN
from edge.loops.night import EVALUATE
from release.package import WEIGHTS, TensorSpec
from release.verification import IntactPackage
from rlds import reader
from rlds.episode import Episode

ACTION_ERROR, SURPRISE = "action_error", "next_observation_error"
"""Outputs of `evaluate`, one number for each episode."""
FOUND: Final = "found"
"""What a loop may return beside its deltas (`edge.loops.found`)."""
PROGRESS_PERIOD_S: Final = 0.25

Vectors = dict[str, np.ndarray[Any, Any]]


class PackageFunctions:
    """The functions of one package that a loop calls, each loaded at its first call."""

    def __init__(
        self, package: IntactPackage, loop: str | None, cache: Path | None = None
    ) -> None:
        """Loads the functions of a loop, and what judges it.

        Args:
            package: the package, its files compared with its manifest.
            loop: the loop; None to evaluate only.
            cache: folder of what is compiled already, and is kept for the next time.

        Raises:
            LearningError: a file does not load.
        """
        self._package = package
        eyes = sight.list_eyes(package.manifest.robot.observation)
        self._cameras = [eye.camera for eye in eyes]
        plan = package.manifest.learning
        self._loop = () if loop is None or plan is None else plan.loops[loop]
        names = list(dict.fromkeys(entry.function for entry in self._loop))
        self._functions = {n: _Compiled(package, n, cache) for n in {*names, EVALUATE}}
        self._names = {
            name: {
                spec.name.split("/")[0]
                for spec in package.manifest.functions[name].inputs
            }
            for name in self._functions
        }
        self._memories = memory_arrays.find_shapes(package.manifest, names, MEMORIES)
        self._episodes = memory_arrays.find_shapes(
            package.manifest, [EVALUATE], EPISODES
        )
        self._weights = jax.device_put(_load_tensors(package.path(WEIGHTS)))

    def run(
        self,
        job: Job,
        report: Callable[[Report], None],
        should_stop: Callable[[], bool] = lambda: False,
    ) -> bool:
        """Learns what a job says, writes the new vectors and judges them.

        Returns:
            Whether it came to the end; False if it was stopped.

        Raises:
            LearningError: a function failed, or an episode does not fit.
            RldsError, DiskError: a file cannot be read or written.
        """
        start = self._read_delta(job.start)
        about: dict[str, float] = {}
        if job.loop is None:
            learned = self._read_delta(job.candidate)
        else:
            ended = self._learn(job, start, report, should_stop)
            if ended is None:
                return False
            learned = self._read_vectors(ended.get("deltas"))
            about = findings.collect(ended.get(FOUND))
        if should_stop():
            return False
        durable_file.write_record(
            job.output, local_delta.encode_vectors(learned), durable_file.PRIVATE
        )
        judges = [reader.read_episode(path) for path in job.judges]
        others = [reader.read_episode(path) for path in job.unmeasured]
        found = self._evaluate([*judges, *others], start, should_stop)
        after = self._evaluate(judges, learned, should_stop)
        if found is None or after is None:
            return False
        report(
            Judged(
                before=tuple(found[ACTION_ERROR][: len(judges)]),
                after=tuple(after[ACTION_ERROR]),
                surprise=tuple(found[SURPRISE]),
                found=about,
            )
        )
        return True

    def _learn(
        self,
        job: Job,
        start: Vectors,
        report: Callable[[Report], None],
        should_stop: Callable[[], bool],
    ) -> Mapping[str, Any] | None:
        """All that the calls of a loop returned, by name; None if it was stopped."""
        values: dict[str, Any] = {
            "weights": self._weights,
            "deltas": start,
            "last_good": self._read_delta(job.last_good),
            "consolidations": np.int32(job.consolidations),
            "seed": np.int32(job.seed),
        }
        if self._memories:
            episodes = [
                (reader.read_episode(path), kind) for path, kind in job.memories
            ]
            arrays = _fill(
                self._memories, episodes, self._tasks, self._cameras, MEMORIES
            )
            values["memories"] = jax.device_put(arrays)
        counted = _Counted(sum(entry.calls for entry in self._loop), report)
        calls = dict.fromkeys(self._functions, 0)
        for entry in self._loop:
            calls[entry.function] += entry.calls
        functions = {
            name: (counted.wrap(function, calls[name]), self._names[name])
            for name, function in self._functions.items()
        }
        return run_calls(self._loop, functions, values, should_stop)

    def _evaluate(
        self,
        episodes: Sequence[Episode],
        deltas: Vectors,
        should_stop: Callable[[], bool],
    ) -> dict[str, list[float]] | None:
        """Errors of each episode; None if it was stopped."""
        found: dict[str, list[float]] = {ACTION_ERROR: [], SURPRISE: []}
        room = memory_arrays.count_room(self._episodes)
        for first in range(0, len(episodes), room):
            if should_stop():
                return None
            some = episodes[first : first + room]
            kinds = [(episode, KNOWN) for episode in some]
            arrays = _fill(self._episodes, kinds, self._tasks, self._cameras, EPISODES)
            given = {"weights": self._weights, "deltas": deltas, "episodes": arrays}
            names = self._names[EVALUATE]
            returned = _call(
                self._functions[EVALUATE], {n: given[n] for n in names}, EVALUATE
            )
            for name in found:
                found[name] += _read_errors(returned, name, len(some))
        return found

    def _read_vectors(self, deltas: object) -> Vectors:
        """What a loop returned as its deltas: [s] f32 of every surface."""
        surfaces = self._package.manifest.surfaces
        expected = "a vector of each surface as `deltas`"
        if not isinstance(deltas, Mapping) or set(deltas) != set(surfaces):
            got = sorted(deltas) if isinstance(deltas, Mapping) else _kind(deltas)
            raise LearningError("the loop", expected, got)
        found = {}
        for name, vector in jax.device_get(dict(deltas)).items():
            if np.shape(vector) != (surfaces[name].size,) or not _is_real(vector):
                raise LearningError(name, expected, _kind(vector))
            found[name] = np.asarray(vector, np.float32)
        return found

    @property
    def _tasks(self) -> tuple[str, ...]:
        return self._package.manifest.robot.tasks

    def _read_delta(self, path: Path | None) -> Vectors:
        """Reads vectors, or makes those of no delta."""
        surfaces = self._package.manifest.surfaces
        if path is None:
            return {n: np.zeros(s.size, np.float32) for n, s in surfaces.items()}
        return _load_tensors(path)


class _Counted:
    """Counts the calls of a loop, and reports them from time to time."""

    def __init__(self, total: int, report: Callable[[Report], None]) -> None:
        self._total, self._report = total, report
        self._done, self._told_s = 0, 0.0

    def wrap(self, function: "_Compiled", calls: int) -> Callable[..., Any]:
        """The function, which returns when its results are there, counted.

        After the last of its calls it is forgotten. Most functions of a round are
        called once, and their programs take 10 to 30 MB each.
        """
        left = calls

        def call(**given: Any) -> Any:  # noqa: ANN401 - a tree of arrays, as it comes
            numbers = {
                name: np.int32(value) if isinstance(value, int) else value
                for name, value in given.items()
            }
            # Waiting lets the robot stop between two calls, not after a queue of them.
            returned = jax.block_until_ready(_call(function, numbers, function.name))
            self._done += 1
            nonlocal left
            left -= 1
            if left == 0:
                function.forget()
            now_s = time.monotonic()
            last = self._done == self._total
            if self._done == 1 or last or now_s - self._told_s >= PROGRESS_PERIOD_S:
                self._told_s = now_s
                loss = _find_loss(returned)
                self._report(Progress(self._done, self._total, loss))
            return returned

        return call


def _read_errors(returned: Mapping[str, Any], name: str, count: int) -> list[float]:
    """The errors of so many episodes, from what `evaluate` returned."""
    errors: Any = returned.get(name)  # of a tree, np.ndim is 0
    if np.ndim(errors) != 1 or len(errors) < count or not _is_real(errors):
        raise LearningError(
            EVALUATE, f"a number for each of {count} episodes as {name}", _kind(errors)
        )
    return [float(error) for error in np.asarray(errors)[:count]]


def _is_real(array: object) -> bool:
    """Whether an array is of numbers that have a size."""
    kind = np.asarray(array).dtype
    return bool(jax.numpy.issubdtype(kind, np.floating) or kind.kind in "iu")


def _kind(value: Any) -> str:  # noqa: ANN401 - whatever a package returned
    if value is None:
        return "none"
    if isinstance(value, Mapping | tuple | list):
        return f"a {type(value).__name__}"
    return f"an array {np.shape(value)} of {np.asarray(value).dtype}"


def _fill(
    shapes: Mapping[str, TensorSpec],
    episodes: Sequence[tuple[Episode, int]],
    tasks: Sequence[str],
    cameras: Sequence[str],
    name: str,
) -> memory_arrays.Arrays:
    """Fills the arrays that a package asks for; any shape can stand in a package."""
    try:
        return memory_arrays.fill(shapes, episodes, tasks, cameras)
    except (ValueError, TypeError, IndexError, MemoryError) as e:
        raise LearningError(name, "arrays that episodes fill", _one_line(e)) from e


def _find_loss(returned: Mapping[str, Any]) -> float | None:
    state = returned.get("state")
    loss = state.get("loss") if isinstance(state, Mapping) else None
    if loss is None or np.ndim(loss) or not _is_real(loss):
        return None
    value = float(loss)
    return value if np.isfinite(value) else None


def compile_function(package: IntactPackage, name: str, folder: Path) -> None:
    """Compiles one function, and keeps it.

    Raises:
        LearningError: it does not compile, or is too large.
        DiskError: the disk refused.
    """
    exported = _load(package, name)
    try:
        program = _compile(exported)
        content = serialize_executable.serialize(program)[0]
    except Exception as e:  # whatever a program from outside makes jax raise
        raise LearningError(name, "a function that compiles", _one_line(e)) from e
    compiled_functions.write(folder, name, content)


class _Compiled:
    """A function that is read or compiled when it is first called.

    Compiling takes memory that malloc would keep, so it is given back: the learner of
    the default model would stay at 540 MB, and takes 250 MB at most. One that finds
    everything compiled needs neither jax's compiler nor the text of the program.
    """

    def __init__(self, package: IntactPackage, name: str, folder: Path | None) -> None:
        self._exported = _load(package, name)
        self.name, self._folder = name, folder
        self._program: Callable[..., Any] | None = None

    def __call__(self, **given: Any) -> Any:  # noqa: ANN401 - a tree of arrays
        if self._program is not None:
            return self._program(**given)
        returned = self._try_read(given)
        if returned is None:
            self._program = self._make()
            resident_memory.give_back()
            returned = jax.block_until_ready(self._program(**given))
        resident_memory.give_back()
        return returned

    def forget(self) -> None:
        """Lets go of a program that is kept on the disk, and can be read again."""
        if self._folder is not None:
            self._program = None
            resident_memory.give_back()

    def _try_read(self, given: Mapping[str, Any]) -> Any:  # noqa: ANN401
        """What a compiled program that was kept returns; None if it is no good.

        XLA finds out at the first call whether a program that it has loaded is whole.
        One that was kept by a process with jax's own cache may have no code.
        """
        program = self._read()
        if program is None:
            return None
        resident_memory.give_back()
        try:
            returned = jax.block_until_ready(program(**given))
        except Exception:  # jax raises many types for what XLA does not find in it
            return None
        self._program = program
        return returned

    def _read(self) -> jax.stages.Compiled | None:
        if self._folder is None:
            return None
        content = compiled_functions.read(self._folder, self.name)
        if content is None:
            return None
        try:
            program = serialize_executable.deserialize_and_load(
                content, self._exported.in_tree, self._exported.out_tree
            )
        except (
            Exception
        ):  # jax raises a dozen types for another version's; it is made anew
            return None
        return program

    def _make(self) -> jax.stages.Compiled:
        program = _compile(self._exported)
        if self._folder is not None:
            content = serialize_executable.serialize(program)[0]
            # A night goes on without it, and the next one compiles it again.
            with contextlib.suppress(ContinuonError, OSError):
                compiled_functions.write(self._folder, self.name, content)
        return program


def _load(package: IntactPackage, name: str) -> jax.export.Exported:
    path = package.manifest.functions[name].path
    content = package.path(path).read_bytes()
    try:
        return jax.export.deserialize(bytearray(content))
    except Exception as e:  # jax raises a dozen types for bytes that are no program
        raise LearningError(path, "a StableHLO function", _one_line(e)) from e


def _compile(exported: jax.export.Exported) -> jax.stages.Compiled:
    """Compiles for the shapes that the package says, whoever calls it."""
    shapes = [jax.ShapeDtypeStruct(one.shape, one.dtype) for one in exported.in_avals]
    arguments, named = jax.tree.unflatten(exported.in_tree, shapes)
    lowered: jax.stages.Lowered = jax.jit(exported.call).lower(*arguments, **named)
    resident_memory.give_back()  # what only loading jax has touched
    with resident_memory.kept_small():
        return lowered.compile()


def _call(
    function: Callable[..., Any], given: Mapping[str, Any], name: str
) -> Mapping[str, Any]:
    try:
        returned: object = function(**given)
    except Exception as e:  # whatever a program from outside makes jax raise
        raise LearningError(name, "a result", _one_line(e)) from e
    if not isinstance(returned, Mapping) or not all(map(_is_name, returned)):
        raise LearningError(name, "results by their names", _kind(returned))
    return returned


def _is_name(key: object) -> bool:
    return isinstance(key, str)


def _load_tensors(path: Path) -> Vectors:
    try:
        return dict(safetensors.numpy.load_file(path))
    except FileNotFoundError as e:
        raise DiskError(path, "to read the vectors", "no such file") from e
    except Exception as e:  # whatever the library raises for bytes that are no tensors
        raise LearningError(path, "safetensors", _one_line(e)) from e


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:300] or type(error).__name__
