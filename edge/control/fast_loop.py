"""The fast loop: while an episode runs, a few bounded gradient steps between two steps.

After each step's record was handed over, and before the next step is due, the update of
the package (`fast_update.py`) may run, on the last steps that the policy saw, and again
from where it came to while there is time, as often as it was told to. What it finds is
added to the policy's surfaces from the next step on.

| when | what |
|---|---|
| an episode begins | the window is empty, the delta in use is where it starts |
| fewer steps than the window has | nothing |
| a person acts | nothing, and the window begins anew |
| nobody allowed it, or the episode's loop is off | nothing |
| less time is left than a call takes | skipped, and counted |
| the loss fell | the policy drives with the new deltas from the next step on |
| it did not | no more calls at this step: the next one would find the same |
| an error, or a delta that is not finite or beyond its bound | off for this episode |
| a call ended after the next step was due | off for this episode |
| the episode ends | what was found is dropped |

A loop that goes off drives with the delta of the episode's start again, and says so in
one line.

It is dropped because nothing judges it: the delta that stays is the one that the guard
let pass (`edge.loops.guard`), and a robot that drove badly once begins afresh.
"""

import time
from collections import deque
from collections.abc import Callable, Mapping
from typing import Final

import numpy as np

from base.errors import ContinuonError
from edge.control import fast_update
from edge.control.fast_update import FastUpdate
from edge.control.local_delta import LocalDelta
from edge.control.package_policy import PackagePolicy
from edge.robots.robot import Vector
from release.verification import IntactPackage

RESERVE_NS: Final = 1_000_000
"""Time that stays free before the next step is due: waking up on time takes less than a
millisecond (docs/benchmarks.md, control)."""
_NS_PER_MS: Final = 1_000_000
FORGETS: Final = 0.98
"""Share of the longest call that is still expected after each chance to call: one that
took twice as long as there is time is forgotten after 35 steps, half a second."""


def fits(left_ns: int | None, took_ns: float) -> bool:
    """Whether a call that takes so long ends before the next step is due.

    Args:
        left_ns: time until the step is due; None if no time passes (simulated pace).
        took_ns: what a call is expected to take.
    """
    return left_ns is None or took_ns + RESERVE_NS <= left_ns


class FastLoop:
    """The fast loop of one policy; used by one thread, from step to step.

    Attributes:
        is_allowed: whether it may run now; whoever decides sets it.
        updates: calls since it was made whose step was taken.
        calls: all calls since it was made.
        skipped: steps at which there was no time for a call.
        trouble: why it is off in this episode; "" while it is not.
        processor_s: processor time of all calls.
    """

    def __init__(
        self,
        policy: PackagePolicy,
        update: FastUpdate,
        deltas: Mapping[str, Vector],
        say: Callable[[str], None],
        calls: int = 1,
        now_ns: Callable[[], int] = time.perf_counter_ns,
    ) -> None:
        """Begins no episode yet.

        Args:
            policy: drives; its surfaces are changed.
            update: the function.
            deltas: delta in use [s] of every surface of the package.
            say: gets a line when the loop is switched off for an episode.
            calls: how often the update may be called at one step.
            now_ns: clock by which calls are timed.
        """
        self._now_ns = now_ns
        self._calls = calls
        self._policy = policy
        self._update = update
        self._say = say
        self._start = dict(deltas)
        self._deltas = dict(deltas)
        self._steps: deque[tuple[Vector, Vector]] = deque(maxlen=update.steps)
        self._seen = 0
        self._took_ns = float(update.took_ns)
        self._changed = False  # whether the last call's step was taken
        self.is_allowed = False
        self.updates = self.calls = self.skipped = 0
        self.trouble = ""
        self.processor_s = 0.0

    def begin(self) -> None:
        """An episode begins, after the policy was reset."""
        self._steps.clear()
        self._seen, self.trouble = 0, ""
        self._go_back()

    def end(self) -> None:
        """The episode has ended: what was found in it is dropped."""
        self._go_back()

    def learn(self, state: Vector, following: Vector, left_ns: int | None) -> None:
        """Notes a step, and calls the update as often as there is time.

        Args:
            state: [n] what the policy saw in this step.
            following: [n] what it will see in the next one.
            left_ns: time until that is due; None in simulated pace.
        """
        self._steps.append((state, self._policy.carry_before))
        self._seen += 1
        if self.trouble or not self.is_allowed or len(self._steps) < self._update.steps:
            return
        if not fits(left_ns, self._took_ns):
            self._took_ns *= FORGETS
            self.skipped += 1
            return
        for _ in range(self._calls):
            took_ns = self._call(following, left_ns)
            left_ns = None if left_ns is None else left_ns - took_ns
            if not self._changed or not fits(left_ns, self._took_ns):
                return

    def _call(self, following: Vector, left_ns: int | None) -> int:
        """Calls the update once; what it took, in nanoseconds."""
        begin_ns, begin_cpu_s = self._now_ns(), time.thread_time()
        self._changed = False
        try:
            self._take(following)
        except ContinuonError as e:
            self._give_up(str(e))
        self.calls += 1
        self.processor_s += time.thread_time() - begin_cpu_s
        took_ns = self._now_ns() - begin_ns
        self._took_ns = max(took_ns, FORGETS * self._took_ns)
        if left_ns is not None and took_ns > left_ns and not self.trouble:
            # Where one call is so much longer than the others, another will be.
            self._give_up(
                f"a call took {took_ns / _NS_PER_MS:.1f} ms, "
                f"{left_ns / _NS_PER_MS:.1f} ms were left"
            )
        return took_ns

    def skip(self) -> None:
        """A person acted in this step: it says nothing about what the policy foresees.

        The window begins anew, since its steps follow each other.
        """
        self._steps.clear()
        self._seen += 1

    def _take(self, following: Vector) -> None:
        found = self._update(self._deltas, self._window(following))
        if found.refused:
            self._give_up("what the robot sensed is not finite, or gives no gradient")
        elif found.changed:
            self._policy.adapt(found.deltas)
            self._deltas |= found.deltas
            self.updates += 1
            self._changed = True

    def _window(self, following: Vector) -> dict[str, Vector]:
        steps = self._update.steps
        states = [state for state, _ in self._steps]
        starts = np.zeros(steps, np.float32)
        starts[0] = self._seen == steps  # the episode's first step is in the window
        return {
            "states": np.stack([*states, following]).astype(np.float32),
            "task": np.repeat(self._policy.task[None], steps, axis=0),
            "starts": starts,
            "weight": np.ones(steps, np.float32),
            "carry": self._steps[0][1],
        }

    def _give_up(self, reason: str) -> None:
        self.trouble, self._changed = reason, False
        self._go_back()
        self._say(f"the fast loop is off until the next episode: {reason}")

    def _go_back(self) -> None:
        """Drives with the delta of the episode's start."""
        changed = {
            name: self._start[name]
            for name in self._update.surfaces
            if self._deltas[name] is not self._start[name]
        }
        self._deltas = dict(self._start)
        if changed:
            self._policy.adapt(changed)


def open_fast_loop(
    package: IntactPackage,
    policy: PackagePolicy,
    delta: LocalDelta | None,
    say: Callable[[str], None],
    calls: int = 1,
) -> FastLoop | None:
    """Opens the fast loop of a package; None if the package has none for control.

    Args:
        package: the package, its files compared with its manifest.
        policy: drives with it.
        delta: what it drives with; None for nothing.
        say: gets a line when the loop is switched off for an episode.
        calls: how often the update may be called at one step.

    Raises:
        StepFunctionError, DeltaError: the function does not load, or is not one.
    """
    manifest = package.manifest
    name = fast_update.find_function(manifest)
    if name is None:
        return None
    path = package.path(manifest.functions[name].path)
    update = FastUpdate(path.read_bytes(), manifest, str(path))
    zeros = {n: np.zeros(one.size, np.float32) for n, one in manifest.surfaces.items()}
    start = zeros if delta is None else delta.vectors
    return FastLoop(policy, update, start, say, calls)
