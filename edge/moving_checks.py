"""What can be checked of a robot that may move, within a share of its range.

It is driven by the control loop, as any policy drives it: with its limits, in its pace,
and with a watchdog if it exists.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Final

import numpy as np
import numpy.typing as npt

from edge.actors.actor import scale, still
from edge.camera_checks import check_cameras
from edge.check_result import Check, Result, judge
from edge.control.control_step import ControlStep
from edge.control.loop import EpisodeResult, Pace, run_episode
from edge.control.safety import SafetyConfig, config_for
from edge.microphone_checks import check_microphone
from edge.robots.clock import NS_PER_S
from edge.robots.robot import Observation, Robot, RobotSpec, Vector

_REST_S: Final = 0.5  # before the first move
_MOVE_S: Final = 0.25  # in one direction, and then still for as long
_RATE_TOLERANCE: Final = 0.05
_LATE_SHARE: Final = 0.01  # of steps, on a machine without real time
_ABOVE_NOISE: Final = 3.0  # times what a channel does while the robot stands
_SEED: Final = 7


class _Plan:
    """Actions, one after the other; a `Policy`, and what records the steps."""

    def __init__(self, actions: Sequence[Vector]) -> None:
        self._actions = actions
        self.steps: list[ControlStep] = []

    def reset(self, task: str) -> None:
        """See `Policy.reset`."""
        del task
        self.steps.clear()

    def propose(self, observation: Observation) -> Vector:
        """See `Policy.propose`."""
        del observation
        return self._actions[len(self.steps)]

    def append(self, step: ControlStep) -> None:
        """See `StepRecorder.append`."""
        self.steps.append(step)

    @property
    def observations(self) -> list[Observation]:
        """What was seen before each action."""
        return [step.observation for step in self.steps]

    @property
    def states(self) -> npt.NDArray[np.float32]:
        """[T, N] f32, what was seen before each action."""
        return np.stack([step.observation.state for step in self.steps])

    @property
    def times_ns(self) -> npt.NDArray[np.int64]:
        """[T] int64, when that was."""
        return np.array([step.observation.t_monotonic_ns for step in self.steps])


def _limit(spec: RobotSpec, share: float) -> SafetyConfig:
    """Limits that are a share of the robot's own, on both sides of keeping still."""
    reach = np.full(spec.action_size, share, np.float32)
    # f32 may round a limit up.
    low = np.maximum(scale(spec, -reach).astype(float), spec.action_minimum)
    high = np.minimum(scale(spec, reach).astype(float), spec.action_maximum)
    return replace(
        config_for(spec),
        version="check",
        action_minimum=tuple(low.tolist()),
        action_maximum=tuple(high.tolist()),
    )


def _drive(
    robot: Robot, actions: Sequence[Vector], share: float, seed: int = _SEED
) -> tuple[_Plan, EpisodeResult]:
    """Drives one episode of these actions, as any other is driven."""
    plan = _Plan(actions)
    pace = Pace.SIMULATED if robot.spec.simulated else Pace.REALTIME
    safety = _limit(robot.spec, share)
    steps = len(actions)
    result = run_episode(robot, plan, safety, plan, seed, steps, pace)
    return plan, result


def _push(spec: RobotSpec, component: int, share: float) -> Vector:
    axes = np.zeros(spec.action_size, np.float32)
    axes[component] = share
    return scale(spec, axes)


def _count(spec: RobotSpec, seconds: float) -> int:
    return max(2, round(seconds * spec.control_hz))


# A simulated robot does the same again, so that two episodes can be compared.


def check_simulated_moves(robot: Robot, share: float) -> Iterator[Check]:
    """Compares episodes of a simulated robot that differ in one action."""
    spec = robot.spec
    rest = [still(spec)] * _count(spec, _REST_S)
    begin_s = time.perf_counter()
    quiet, _ = _drive(robot, rest, share)
    took_s = (time.perf_counter() - begin_s) / len(quiet.steps)
    good = quiet.states.shape[1] == spec.state_size
    yield judge(
        "senses",
        good and bool(np.isfinite(quiet.states).all()),
        f"{len(quiet.steps)} readings of {quiet.states.shape[1]} numbers",
        f"let it sense {spec.state_size} finite numbers, as its spec says",
    )
    yield from check_cameras(spec, quiet.observations)
    yield from check_microphone(spec, quiet.observations)
    yield from _check_simulated_times(spec, quiet, took_s)
    _drive(robot, rest, share, seed=_SEED + 1)
    again, _ = _drive(robot, rest, share)
    yield judge(
        "same seed, same episode",
        again.states.tobytes() == quiet.states.tobytes(),
        f"{len(quiet.steps)} steps, and again after another episode",
        "let reset(seed) set all that an episode depends on",
    )
    silent, late = [], []
    for component in range(spec.action_size):
        delays = []
        for sign in (-share, share):
            pushed = [_push(spec, component, sign)] * len(rest)
            moved, _ = _drive(robot, pushed, share)
            both = min(len(moved.steps), len(quiet.steps))
            differs = (moved.states[:both] != quiet.states[:both]).any(axis=1)
            if differs.any():
                delays.append(int(differs.argmax()))
        if delays:
            late.append(min(delays))
        else:
            silent.append(component)
    yield _judge_response(silent, late, spec)


def _check_simulated_times(
    spec: RobotSpec, quiet: _Plan, took_s: float
) -> Iterator[Check]:
    apart_ns = np.diff(quiet.times_ns)
    yield judge(
        "time of a step",
        bool((apart_ns == spec.period_ns).all()),
        f"{spec.period_ns / 1e6:g} ms on its clock in each step"
        if (apart_ns == spec.period_ns).all()
        else f"{sorted(set((apart_ns / 1e6).tolist()))[:3]} ms on its clock",
        "advance the clock by spec.period_ns once in each act, and stamp with now_ns()",
    )
    fast = 1.0 / (took_s * spec.control_hz)
    yield Check(
        "speed",
        Result.PASSED if fast > 1.0 else Result.NOTE,
        f"{fast:.1f} times real time, loop included",
        "" if fast > 1.0 else "nobody can act on it by hand",
    )


# A real robot moves a little, once.


def check_moves(
    robot: Robot, share: float, observe: Callable[[], Observation] | None
) -> Iterator[Check]:
    """Moves each component to and fro alone, and looks at what follows."""
    spec = robot.spec
    rest, move = _count(spec, _REST_S), _count(spec, _MOVE_S)
    actions = [still(spec)] * rest
    starts = []
    for component in range(spec.action_size):
        starts.append(len(actions))
        for sign in (share, -share):
            actions += [_push(spec, component, sign)] * move + [still(spec)] * move
    plan, result = _drive(robot, actions, share)
    whole = len(plan.steps) == len(actions)
    yield judge(
        "moves",
        whole and result.stop_rule is None,
        f"{len(plan.steps)} of {len(actions)} steps at {share:g} of its range"
        + (f"; stop rule {result.stop_rule.value}" if result.stop_rule else ""),
        "see what ended the episode: the driver, or a step that took too long",
    )
    if observe is None:  # else they were looked at while it stood
        yield from check_cameras(spec, plan.observations)
        yield from check_microphone(spec, plan.observations)
    yield from _check_times(spec, plan, result)
    if whole:
        yield from _check_response(spec, plan.states, rest, move, starts)
    yield from _check_standing(spec, plan.states[:rest], observe)


def _check_times(
    spec: RobotSpec, plan: _Plan, result: EpisodeResult
) -> Iterator[Check]:
    hz = NS_PER_S / float(np.median(np.diff(plan.times_ns)))
    yield judge(
        "rate of steps",
        abs(hz / spec.control_hz - 1.0) <= _RATE_TOLERANCE,
        f"{hz:.2f} Hz of {spec.control_hz:g} Hz, by the times of its readings",
        "stamp each reading when it is sensed, or state a rate that the robot keeps",
    )
    late = result.missed_deadlines
    work_ms = result.times.work.percentile_us(99.0) / 1e3
    jitter_ms = result.times.jitter.percentile_us(99.0) / 1e3
    yield judge(
        "deadlines",
        late <= _LATE_SHARE * result.steps,
        f"{late} late of {result.steps}; p99 of a step {work_ms:.2f} ms, of its begin"
        f" {jitter_ms:.2f} ms, of a period {1e3 / spec.control_hz:.2f} ms",
        "let act return sooner, lower control_hz, or grant real time (docs/install.md)",
    )


def _check_response(
    spec: RobotSpec,
    states: npt.NDArray[np.float32],
    rest: int,
    move: int,
    starts: Sequence[int],
) -> Iterator[Check]:
    noise = np.ptp(states[:rest], axis=0)
    silent, late, where = [], [], []
    for component, start in enumerate(starts):
        window = states[start : start + 4 * move]
        away = np.abs(window - window[0])
        responds = away > _ABOVE_NOISE * noise
        steps = responds.any(axis=1)
        if not steps.any():
            silent.append(component)
            continue
        late.append(int(steps.argmax()))
        where.append(f"{component} in {np.flatnonzero(responds.any(axis=0)).tolist()}")
    yield _judge_response(silent, late, spec)
    if where:
        yield Check(
            "which moves what",
            Result.NOTE,
            f"action {'; '.join(where)} of the state",
            "compare with the robot: the right joint, the right way",
        )


def _judge_response(
    silent: Sequence[int], late: Sequence[int], spec: RobotSpec
) -> Check:
    if silent:
        return Check(
            "response",
            Result.FAILED,
            f"nothing that it senses follows action {list(silent)}",
            "see whether its motors have power, its sensors are read anew in each step,"
            " and the action reaches them",
        )
    longest = max(late)
    return Check(
        "response",
        Result.PASSED,
        f"every action is seen, after {longest} steps at most"
        f" ({1e3 * longest / spec.control_hz:.0f} ms)",
    )


def _check_standing(
    spec: RobotSpec,
    before: npt.NDArray[np.float32],
    observe: Callable[[], Observation] | None,
) -> Iterator[Check]:
    """Looks whether the robot stands now that it is held."""
    if observe is None:
        yield Check(
            "stands when held",
            Result.NOT_CHECKED,
            "the class has no `observe`",
            "look at it",
        )
        return
    time.sleep(_MOVE_S)  # a robot may swing out
    seen = []
    for _ in range(len(before)):
        seen.append(observe().state)
        time.sleep(1.0 / spec.control_hz)
    noise, now = np.ptp(before, axis=0), np.ptp(np.stack(seen), axis=0)
    moving = np.flatnonzero(now > _ABOVE_NOISE * noise).tolist()
    yield judge(
        "stands when held",
        not moving,
        f"channels {moving} go on changing" if moving else "nothing changes but noise",
        "let hold stop the motors; only then let a package drive it",
    )
