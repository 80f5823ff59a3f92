"""What a robot must hold to be driven, checked on the robot itself.

Without moving: what it says of itself, what it senses while it stands, and that it can
be held. With leave to move, under limits that are a share of its own: one short episode
in which each component of the action goes to and fro alone.

A check that fails says what to do. A note is what a person should look at; a check that
could not be made says why.
"""

import enum
import os
import select
import signal
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from base.errors import ContinuonError
from edge.actors.actor import scale, still
from edge.control import loop
from edge.control.control_step import ControlStep
from edge.control.loop import EpisodeResult, Pace, run_episode
from edge.control.safety import SafetyConfig, config_for
from edge.robots.clock import NS_PER_S
from edge.robots.robot import Observation, Robot, RobotSpec, Vector
from rlds import redacted_form
from rlds.errors import FieldFormError
from rlds.spec import FIELDS

REAL_SHARE: Final = 0.1
"""Share of its action's range that an arm is moved by when nobody says another."""
_LOOK_S: Final = 1.0  # how long a standing robot is looked at
_REST_S: Final = 0.5  # before the first move
_MOVE_S: Final = 0.25  # in one direction, and then still for as long
_HOLD_S: Final = 0.02  # "a few milliseconds", on a busy machine
_HANG_S: Final = 3.0  # until a hold that does not return is given up
_RAISED: Final = 1  # exit code of the process that held
_RATE_TOLERANCE: Final = 0.05
_LATE_SHARE: Final = 0.01  # of steps, on a machine without real time
_ABOVE_NOISE: Final = 3.0  # times what a channel does while the robot stands
_SEED: Final = 7


class Result(enum.Enum):
    """How a check went."""

    PASSED = "passed"
    FAILED = "failed"
    NOTE = "note"
    NOT_CHECKED = "not checked"


@dataclass(frozen=True)
class Check:
    """One line of the table.

    Attributes:
        name: what was checked.
        result: how it went.
        found: what was seen.
        remedy: what to do about it; "" if nothing.
    """

    name: str
    result: Result
    found: str
    remedy: str = ""


def check_robot(robot: Robot, move_share: float | None) -> Iterator[Check]:
    """Checks an open robot, and yields each check when it is made.

    Args:
        robot: open; nobody else drives it.
        move_share: how far it may be moved, as a share of its action's range, above 0
            and at most 1; None for not at all.
    """
    yield from _check_spec(robot)
    observe: Callable[[], Observation] | None = getattr(robot, "observe", None)
    yield from _catch("senses", lambda: _check_senses(robot, observe))
    yield from _catch("hold", lambda: _check_hold(robot))
    if move_share is None:
        yield Check(
            "moves",
            Result.NOT_CHECKED,
            "nothing was moved",
            "clear its way, and run again with --move",
        )
        return
    if robot.spec.simulated:
        yield from _catch("moves", lambda: _check_simulated_moves(robot, move_share))
    else:
        yield from _catch("moves", lambda: _check_moves(robot, move_share, observe))


def _catch(name: str, check: Callable[[], Iterator[Check]]) -> Iterator[Check]:
    """Makes an error of the robot a check that failed."""
    try:
        yield from check()
    except ContinuonError as e:
        found = f"expected {e.expected}, got {e.got}"
        yield Check(name, Result.FAILED, found, e.remedy)


def _judge(name: str, good: bool, found: str, remedy: str) -> Check:
    if good:
        return Check(name, Result.PASSED, found)
    return Check(name, Result.FAILED, found, remedy)


def _check_spec(robot: Robot) -> Iterator[Check]:
    spec = robot.spec
    kind = "simulated" if spec.simulated else "real"
    sizes = f"{kind}, {spec.state_size} numbers in, {spec.action_size} out"
    wrong = _find_wrong_names(spec)
    yield _judge(
        "names",
        not wrong,
        "; ".join(wrong) or f"{spec.robot_model}: {spec.task}; {sizes}",
        "correct them in its spec: no episode with such a name can be recorded",
    )
    try:
        loop.check_pace(robot, Pace.SIMULATED if spec.simulated else Pace.REALTIME)
        yield Check("rate and clock", Result.PASSED, f"{spec.control_hz:g} Hz")
    except ContinuonError as e:
        found = f"expected {e.expected}, got {e.got}"
        yield Check("rate and clock", Result.FAILED, found, e.remedy)
    limits = ", ".join(
        f"{low:g} to {high:g}"
        for low, high in zip(spec.action_minimum, spec.action_maximum, strict=True)
    )
    if still(spec).any():
        yield Check(
            "limits",
            Result.NOTE,
            f"{limits}: 0 is not within them",
            "an action near 0 must keep the robot still; here that is"
            f" {still(spec).tolist()}",
        )
    else:
        yield Check("limits", Result.PASSED, limits)


def _find_wrong_names(spec: RobotSpec) -> list[str]:
    """Says which names of a robot an episode cannot have."""
    wrong = []
    for field in FIELDS:
        value = getattr(spec, field.name, None)
        if field.scope == "episode" and value is not None:
            try:
                redacted_form.check_text_form(field, value)
            except FieldFormError as e:
                wrong.append(f"{field.name}: expected {e.expected}, got {value!r}")
    return wrong


def _check_senses(
    robot: Robot, observe: Callable[[], Observation] | None
) -> Iterator[Check]:
    if robot.spec.simulated:
        return  # it senses nothing before an episode begins
    if observe is None:
        yield Check(
            "senses at rest",
            Result.NOT_CHECKED,
            "the class has no `observe`",
            "give it one that reads the sensors and moves nothing, to check them"
            " before the robot moves",
        )
        return
    spec = robot.spec
    count = max(10, round(_LOOK_S * spec.control_hz))
    seen, took_s = [], []
    due_s = time.monotonic()
    for _ in range(count):
        begin_s = time.perf_counter()
        seen.append(observe())
        took_s.append(time.perf_counter() - begin_s)
        due_s += 1.0 / spec.control_hz
        time.sleep(max(0.0, due_s - time.monotonic()))
    states = np.stack([one.state for one in seen])
    yield from _check_readings(states, spec)
    times_ns = np.array([one.t_monotonic_ns for one in seen])
    yield from _check_reading_times(robot, times_ns, took_s)


def _check_readings(states: npt.NDArray[Any], spec: RobotSpec) -> Iterator[Check]:
    good = states.shape[1] == spec.state_size and bool(np.isfinite(states).all())
    yield _judge(
        "senses at rest",
        good,
        f"{len(states)} readings of {states.shape[1]} numbers"
        + (", all finite" if good else f" of {spec.state_size}, or not finite"),
        "let it sense what its spec says",
    )
    constant = [k for k in range(states.shape[1]) if np.ptp(states[:, k]) == 0.0]
    if constant:
        yield Check(
            "sensors that stand",
            Result.NOTE,
            f"the same number in each reading of channels {constant}",
            "so does an encoder at rest; a force, a current or a temperature does not",
        )


def _check_reading_times(
    robot: Robot, times_ns: npt.NDArray[Any], took_s: list[float]
) -> Iterator[Check]:
    period_ms = 1e3 / robot.spec.control_hz
    age_s = (robot.clock.now_ns() - int(times_ns[-1])) / NS_PER_S
    grows = bool((np.diff(times_ns) > 0).all())
    yield _judge(
        "times of readings",
        grows and -0.001 <= age_s < 1.0,
        f"the last is {age_s:.3f} s old" + ("" if grows else ", and some do not grow"),
        "stamp each reading when it is sensed: t_monotonic_ns=self.clock.now_ns()",
    )
    slow_ms = float(np.percentile(took_s, 99.0)) * 1e3
    yield _judge(
        "time to read",
        slow_ms < period_ms,
        f"p99 {slow_ms:.2f} ms of a period of {period_ms:.2f} ms",
        "lower control_hz, raise the speed of the port, or read in fewer messages",
    )


def _check_hold(robot: Robot) -> Iterator[Check]:
    took_s = float("inf")
    for _ in range(2):  # the faster one, since the machine may have been busy
        begin_s = time.perf_counter()
        robot.hold()
        took_s = min(took_s, time.perf_counter() - begin_s)
    yield _judge(
        "hold",
        took_s <= _HOLD_S,
        f"{took_s * 1e3:.2f} ms, and twice does no harm",
        "let hold write to the open port and return; it must not wait for the robot",
    )
    fault = _hold_in_fork(robot)
    yield _judge(
        "hold by a watchdog",
        not fault,
        f"it {fault or 'works'} in a fork of this process",
        "let hold take no lock and no thread: the watchdog calls it when this hangs",
    )


def _hold_in_fork(robot: Robot) -> str:
    """Holds where the watchdog does; "" if that works, else what it does."""
    with warnings.catch_warnings():
        # Threads of this process do not run in the child, which is the point.
        warnings.simplefilter("ignore", DeprecationWarning)
        child = os.fork()
    if child == 0:
        code = _RAISED
        try:
            robot.hold()
            code = 0
        finally:
            os._exit(code)
    ended = os.pidfd_open(child)
    try:
        if not select.select([ended], [], [], _HANG_S)[0]:
            os.kill(child, signal.SIGKILL)
    finally:
        os.close(ended)
    _, status = os.waitpid(child, 0)
    faults = {0: "", _RAISED: "raises"}
    return faults.get(os.waitstatus_to_exitcode(status), "hangs")


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


def _check_simulated_moves(robot: Robot, share: float) -> Iterator[Check]:
    spec = robot.spec
    rest = [still(spec)] * _count(spec, _REST_S)
    begin_s = time.perf_counter()
    quiet, _ = _drive(robot, rest, share)
    took_s = (time.perf_counter() - begin_s) / len(quiet.steps)
    good = quiet.states.shape[1] == spec.state_size
    yield _judge(
        "senses",
        good and bool(np.isfinite(quiet.states).all()),
        f"{len(quiet.steps)} readings of {quiet.states.shape[1]} numbers",
        f"let it sense {spec.state_size} finite numbers, as its spec says",
    )
    yield from _check_simulated_times(spec, quiet, took_s)
    _drive(robot, rest, share, seed=_SEED + 1)
    again, _ = _drive(robot, rest, share)
    yield _judge(
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
    yield _judge(
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


def _check_moves(
    robot: Robot, share: float, observe: Callable[[], Observation] | None
) -> Iterator[Check]:
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
    yield _judge(
        "moves",
        whole and result.stop_rule is None,
        f"{len(plan.steps)} of {len(actions)} steps at {share:g} of its range"
        + (f"; stop rule {result.stop_rule.value}" if result.stop_rule else ""),
        "see what ended the episode: the driver, or a step that took too long",
    )
    yield from _check_times(spec, plan, result)
    if whole:
        yield from _check_response(spec, plan.states, rest, move, starts)
    yield from _check_standing(spec, plan.states[:rest], observe)


def _check_times(
    spec: RobotSpec, plan: _Plan, result: EpisodeResult
) -> Iterator[Check]:
    hz = NS_PER_S / float(np.median(np.diff(plan.times_ns)))
    yield _judge(
        "rate of steps",
        abs(hz / spec.control_hz - 1.0) <= _RATE_TOLERANCE,
        f"{hz:.2f} Hz of {spec.control_hz:g} Hz, by the times of its readings",
        "stamp each reading when it is sensed, or state a rate that the robot keeps",
    )
    late = result.missed_deadlines
    work_ms = result.times.work.percentile_us(99.0) / 1e3
    jitter_ms = result.times.jitter.percentile_us(99.0) / 1e3
    yield _judge(
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
    yield _judge(
        "stands when held",
        not moving,
        f"channels {moving} go on changing" if moving else "nothing changes but noise",
        "let hold stop the motors; only then let a package drive it",
    )
