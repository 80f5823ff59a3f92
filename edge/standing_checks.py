"""What can be checked of a robot that must not move: what it says, senses and holds."""

import os
import select
import signal
import time
import warnings
from collections.abc import Callable, Iterator
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from base.errors import ContinuonError
from edge.actors.actor import still
from edge.camera_checks import check_cameras
from edge.check_result import Check, Result, judge
from edge.control import loop
from edge.control.loop import Pace
from edge.microphone_checks import check_microphone
from edge.robots.clock import NS_PER_S
from edge.robots.robot import Observation, Robot, RobotSpec
from rlds import redacted_form
from rlds.errors import FieldFormError
from rlds.spec import FIELDS

_LOOK_S: Final = 1.0  # how long a standing robot is looked at
_HOLD_S: Final = 0.02  # "a few milliseconds", on a busy machine
_HANG_S: Final = 3.0  # until a hold that does not return is given up
_RAISED: Final = 1  # exit code of the process that held


def check_spec(robot: Robot) -> Iterator[Check]:
    """Checks what a robot says of itself."""
    spec = robot.spec
    kind = "simulated" if spec.simulated else "real"
    sizes = f"{kind}, {spec.state_size} numbers in, {spec.action_size} out"
    hidden = _find_hidden_names(spec)
    if hidden:
        yield Check(
            "names",
            Result.NOTE,
            f"{', '.join(hidden)}: shared as a hash; {sizes}",
            "a package that is trained on a hash fits no robot: say it in words of"
            " rlds/known_words.py, or record with --share_words=WORD,WORD",
        )
    else:
        found = f"{spec.robot_model}: {spec.task}; {sizes}"
        yield Check("names", Result.PASSED, found)
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


def _find_hidden_names(spec: RobotSpec) -> list[str]:
    """Says which names of a robot do not leave it as they are."""
    hidden = []
    for field in FIELDS:
        value = getattr(spec, field.name, None)
        if field.scope == "episode" and value is not None:
            try:
                redacted_form.check_text_form(field, value)
            except FieldFormError:
                hidden.append(f"{field.name} {value!r}")
    return hidden


def check_senses(
    robot: Robot, observe: Callable[[], Observation] | None
) -> Iterator[Check]:
    """Looks for a second at what a robot that exists senses while it stands."""
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
    yield from check_cameras(spec, seen)
    yield from check_microphone(spec, seen)
    times_ns = np.array([one.t_monotonic_ns for one in seen])
    yield from _check_reading_times(robot, times_ns, took_s)


def _check_readings(states: npt.NDArray[Any], spec: RobotSpec) -> Iterator[Check]:
    good = states.shape[1] == spec.state_size and bool(np.isfinite(states).all())
    yield judge(
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
    yield judge(
        "times of readings",
        grows and -0.001 <= age_s < 1.0,
        f"the last is {age_s:.3f} s old" + ("" if grows else ", and some do not grow"),
        "stamp each reading when it is sensed: t_monotonic_ns=self.clock.now_ns()",
    )
    slow_ms = float(np.percentile(took_s, 99.0)) * 1e3
    yield judge(
        "time to read",
        slow_ms < period_ms,
        f"p99 {slow_ms:.2f} ms of a period of {period_ms:.2f} ms",
        "lower control_hz, raise the speed of the port, or read in fewer messages",
    )


def check_hold(robot: Robot) -> Iterator[Check]:
    """Checks that it can be held, by this process and by a watchdog."""
    took_s = float("inf")
    for _ in range(2):  # the faster one, since the machine may have been busy
        begin_s = time.perf_counter()
        robot.hold()
        took_s = min(took_s, time.perf_counter() - begin_s)
    yield judge(
        "hold",
        took_s <= _HOLD_S,
        f"{took_s * 1e3:.2f} ms, and twice does no harm",
        "let hold write to the open port and return; it must not wait for the robot",
    )
    fault = _hold_in_fork(robot)
    yield judge(
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
