"""The control loop: one observation, one action, one record per control period.

    observation -> policy.propose -> clamp -> robot.act -> recorder.append -> wait

The loop always measures how long `propose` takes. In real time it also keeps the
control period: an action that is ready later than one period after its tick has missed
its deadline, and the loop then starts a new tick and does not catch up. In simulated
pace the loop never waits and no deadline can be missed, so that the recording depends
only on the robot and the policy. Simulated pace is for simulated robots: an arm that
exists would be driven as fast as the computer computes.
"""

import enum
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from edge.control.safety import SafetyConfig, check_fits, safe_action
from edge.errors import PaceError
from edge.robots.clock import Clock, MonotonicClock, SimulatedClock
from edge.robots.robot import (
    Disturbance,
    Observation,
    Policy,
    Robot,
    Transition,
    Vector,
)

_F32_MAX = float(np.finfo(np.float32).max)


class Pace(enum.Enum):
    """How the loop relates to real time."""

    REALTIME = "realtime"
    SIMULATED = "simulated"


@dataclass(frozen=True)
class ControlStep:
    """Everything that is recorded of one control period.

    Every step holds an observation and the action that was executed from it. The last
    step is the one whose action ended the episode: every step has an action.

    Attributes:
        observation: what the policy saw.
        action: [action_size] f32, the action that was executed.
        proposed_action: [action_size] f32, the action that the policy proposed;
            components that were not finite are recorded as 0 and the step is marked as
            a safety violation.
        reward: reward of the action, from the robot.
        discount: 0.0 when the episode ended in success, otherwise 1.0.
        is_first: whether this is the first step of the episode.
        is_last: whether no step follows.
        is_terminal: whether the task was fulfilled by this action.
        deadline_missed: whether the action was ready later than one period after its
            tick.
        safety_violation: whether a stop rule fired.
    """

    observation: Observation
    action: Vector
    proposed_action: Vector
    reward: float
    discount: float
    is_first: bool
    is_last: bool
    is_terminal: bool
    deadline_missed: bool
    safety_violation: bool


class StepRecorder(Protocol):
    """Receives the steps of an episode; see `edge.episodes.recorder`."""

    def append(self, step: ControlStep) -> None:
        """Records a step; once this returns, a crash of this process cannot lose it."""


@dataclass(frozen=True)
class EpisodeResult:
    """How an episode went.

    Attributes:
        success: whether the task was fulfilled; None if the robot cannot tell, or if
            the episode was stopped before.
        steps: number of executed actions.
        missed_deadlines: steps whose action was late; 0 in simulated pace.
        latencies_ns: [steps] i64, duration of each `propose`.
        safety_violations: steps at which a stop rule fired (0 or 1).
        clamped_steps: steps at which the limits changed the action.
        stopped: whether the caller's `should_stop` ended the episode.
    """

    success: bool | None
    steps: int
    missed_deadlines: int
    latencies_ns: npt.NDArray[np.int64]
    safety_violations: int
    clamped_steps: int
    stopped: bool = False


def check_pace(robot: Robot, pace: Pace) -> None:
    """Checks that a robot that is not simulated keeps real time, by a real clock.

    Raises:
        PaceError: it would be driven, or its steps dated, by simulated time.
    """
    if robot.spec.simulated:
        return
    name = f"robot {robot.spec.robot_model}"
    if pace is not Pace.REALTIME:
        raise PaceError(name, "real time, since it is not simulated", "simulated pace")
    if isinstance(robot.clock, SimulatedClock):
        raise PaceError(
            name,
            "the machine's clock, since it is not simulated",
            "a simulated clock",
            "let its driver use MonotonicClock",
        )


def run_episode(
    robot: Robot,
    policy: Policy,
    safety: SafetyConfig,
    recorder: StepRecorder | None,
    seed: int,
    max_steps: int,
    pace: Pace,
    *,
    disturbance: Disturbance | None = None,
    pacer: Clock | None = None,
    should_stop: Callable[[], bool] | None = None,
) -> EpisodeResult:
    """Runs one episode until success, a stop rule or the step limit ends it.

    Args:
        robot: open and idle.
        policy: its `reset` is called with the robot's task.
        safety: limits and stop rules, which must fit the robot.
        recorder: receives each step after its action has run; None records nothing.
        seed: determines a simulated robot's episode and the disturbance.
        max_steps: limit on the steps, in addition to `safety.max_steps`.
        pace: whether to keep real time; a robot that is not simulated must.
        disturbance: changes executed actions, for example with noise.
        pacer: clock that paces the loop in real time; by default the machine's.
        should_stop: asked once per step, after its action; True ends the episode with
            that step.

    Raises:
        PaceError: the robot is not simulated, and the pace or its clock is.
        SafetyConfigError: `safety` does not fit the robot.
        ActionShapeError: the policy proposed an action of another shape.
        EdgeError: the robot or the recorder failed; no further action is executed.
        ValueError: `max_steps` is not positive.
    """
    if max_steps <= 0:
        raise ValueError(f"max_steps must be positive, got {max_steps}")
    check_pace(robot, pace)
    check_fits(safety, robot.spec)
    limit = min(max_steps, safety.max_steps)
    ticker = _Ticker(robot.spec.period_ns, pace, pacer or MonotonicClock())
    tally = _Tally()
    observation = robot.reset(seed)
    policy.reset(robot.spec.task)
    if disturbance is not None:
        disturbance.reset(seed)
    previous: Vector | None = None
    ticker.start()
    while True:
        begin_ns = time.perf_counter_ns()
        proposed = policy.propose(observation)
        latency_ns = time.perf_counter_ns() - begin_ns
        wanted = proposed if disturbance is None else disturbance.disturb(proposed)
        safe = safe_action(safety, wanted, previous)
        missed = ticker.is_late()
        transition = robot.act(safe.action)
        stop = should_stop is not None and should_stop()
        step = _make_step(
            observation,
            safe.action,
            proposed,
            transition,
            is_first=not tally.latencies_ns,
            at_limit=stop or len(tally.latencies_ns) + 1 == limit,
            missed=missed,
            violation=safe.violation,
        )
        if recorder is not None:
            recorder.append(step)
        tally.count(step, transition.success, latency_ns, safe.clamped)
        if step.is_last:
            return tally.result(stopped=stop and not step.is_terminal)
        observation, previous = transition.observation, safe.action
        ticker.wait()


def _make_step(
    observation: Observation,
    action: Vector,
    proposed: npt.NDArray[Any],
    transition: Transition,
    *,
    is_first: bool,
    at_limit: bool,
    missed: bool,
    violation: bool,
) -> ControlStep:
    finite = np.nan_to_num(proposed, nan=0.0, posinf=0.0, neginf=0.0)
    finite = np.clip(finite, -_F32_MAX, _F32_MAX)
    success = bool(transition.success)
    ended = success or transition.terminal or violation or at_limit
    return ControlStep(
        observation=observation,
        action=action,
        proposed_action=finite.astype(np.float32),
        reward=transition.reward,
        discount=0.0 if success else 1.0,
        is_first=is_first,
        is_last=ended,
        is_terminal=success,
        deadline_missed=missed,
        safety_violation=violation,
    )


class _Ticker:
    """Keeps the control period in real time; does nothing in simulated pace."""

    def __init__(self, period_ns: int, pace: Pace, clock: Clock) -> None:
        self._period_ns = period_ns
        self._realtime = pace is Pace.REALTIME
        self._clock = clock
        self._tick_ns = 0

    def start(self) -> None:
        """Begins the first period now."""
        if self._realtime:
            self._tick_ns = self._clock.now_ns()

    def is_late(self) -> bool:
        """Whether more than one period has passed since the tick."""
        if not self._realtime:
            return False
        return self._clock.now_ns() - self._tick_ns > self._period_ns

    def wait(self) -> None:
        """Waits for the next tick; after a late action the next tick is now."""
        if not self._realtime:
            return
        self._tick_ns += self._period_ns
        now_ns = self._clock.now_ns()
        if now_ns > self._tick_ns:
            self._tick_ns = now_ns
        else:
            self._clock.sleep_until_ns(self._tick_ns)


class _Tally:
    """Counts what an `EpisodeResult` reports."""

    def __init__(self) -> None:
        self.latencies_ns: list[int] = []
        self._success: bool | None = None
        self._missed = 0
        self._violations = 0
        self._clamped = 0

    def count(
        self, step: ControlStep, success: bool | None, latency_ns: int, clamped: bool
    ) -> None:
        """Adds one step."""
        self.latencies_ns.append(latency_ns)
        self._success = success
        self._missed += step.deadline_missed
        self._violations += step.safety_violation
        self._clamped += clamped

    def result(self, stopped: bool) -> EpisodeResult:
        """The counts so far; a stopped episode might have succeeded later."""
        return EpisodeResult(
            success=None if stopped else self._success,
            steps=len(self.latencies_ns),
            missed_deadlines=self._missed,
            latencies_ns=np.asarray(self.latencies_ns, np.int64),
            safety_violations=self._violations,
            clamped_steps=self._clamped,
            stopped=stopped,
        )
