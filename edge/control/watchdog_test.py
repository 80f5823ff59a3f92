import contextlib
import ctypes
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from edge.control import loop, watchdog
from edge.control.control_step import ControlStep
from edge.control.loop import EpisodeResult, Pace
from edge.control.safety import config_for
from edge.control.watchdog import Watchdog
from edge.errors import RobotPortError, WatchdogError
from edge.robots.clock import NS_PER_S
from edge.robots.robot import Observation, Transition, Vector
from edge.testing import process_tree
from edge.testing.moving_arm import SPEED, MovingArm, read_port
from rlds.spec import StopRule

HOLD_AFTER_S = 0.3
KILL_AFTER_S = 0.2
SLACK_S = 0.25  # a shared machine may run another program first
HUNG_STEP = 5
# Its functions keep Python's lock while they run, as native code may.
FILES = Path("/proc/self/fd")
NATIVE = ctypes.PyDLL(None)


class Steady:
    """Moves on at one velocity; `before` runs in each step, before its action."""

    def __init__(self, before: Callable[[int], object] = lambda step: None) -> None:
        self._before = before
        self._steps = 0

    def reset(self, task: str) -> None:
        self._steps = 0

    def propose(self, observation: Observation) -> Vector:
        self._steps += 1
        self._before(self._steps)
        return np.full(4, SPEED, np.float32)


class Notes:
    """Keeps the steps of an episode."""

    def __init__(self) -> None:
        self.steps: list[ControlStep] = []

    def append(self, step: ControlStep) -> None:
        self.steps.append(step)


def drive(
    arm: MovingArm,
    policy: Steady,
    guard: Watchdog,
    recorder: Notes | None = None,
    steps: int = 8,
) -> EpisodeResult:
    return loop.run_episode(
        arm,
        policy,
        config_for(arm.spec),
        recorder,
        0,
        steps,
        Pace.REALTIME,
        watchdog=guard,
    )


def drive_in_child(
    port: Path, policy: Steady, arm_class: type[MovingArm] = MovingArm
) -> int:
    """Drives an arm in a process of its own; returns that process."""
    child = os.fork()
    if child == 0:
        try:
            arm = arm_class(port)
            with Watchdog(arm, HOLD_AFTER_S, KILL_AFTER_S) as guard:
                drive(arm, policy, guard, steps=100_000)
        finally:
            os._exit(0)
    return child


def check_held(port: Path, child: int) -> float:
    """The arm was held by another process than `child`, and not moved again.

    Returns the time from the last action to the hold, in seconds.
    """
    commands = read_port(port)
    moves = [one for one in commands if not one.is_hold]
    last = commands[-1]
    assert last.is_hold
    assert last.process != child
    assert moves[-1].process == child
    return (last.time_ns - moves[-1].time_ns) / NS_PER_S


def wait_for_steps(port: Path, steps: int) -> None:
    process_tree.wait_until(
        lambda: port.exists() and len(read_port(port)) > steps,
        lambda: "the arm was not driven",
    )


def end_of(process: int) -> int:
    return os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])


def settle(port: Path) -> None:
    """Waits until the last command is a hold, so that what follows can be seen."""
    end_s = time.monotonic() + 2.0
    while not read_port(port)[-1].is_hold and time.monotonic() < end_s:
        time.sleep(0.005)


def test_arm_stands_still_while_the_policy_hangs_in_native_code_with_pythons_lock(
    tmp_path: Path,
) -> None:
    def hang(step: int) -> None:
        if step == HUNG_STEP:
            NATIVE.pause()

    port = tmp_path / "port"
    child = drive_in_child(port, Steady(hang))
    wait_for_steps(port, HUNG_STEP)
    assert end_of(child) == -signal.SIGKILL, "a process that hangs is of no use"
    settle(port)
    took_s = check_held(port, child)
    assert took_s < HOLD_AFTER_S + SLACK_S
    moves = [one for one in read_port(port) if not one.is_hold]
    assert len(moves) == HUNG_STEP - 1


def test_driver_that_hangs_in_an_action_is_killed_before_the_arm_is_held(
    tmp_path: Path,
) -> None:
    class Stuck(MovingArm):
        def act(self, action: Vector) -> Transition:
            transition = super().act(action)
            if len(read_port(port)) == HUNG_STEP:
                NATIVE.pause()
            return transition

    port = tmp_path / "port"
    child = drive_in_child(port, Steady(), Stuck)
    wait_for_steps(port, HUNG_STEP - 1)
    assert end_of(child) == -signal.SIGKILL
    settle(port)
    assert check_held(port, child) < HOLD_AFTER_S + SLACK_S


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSTOP])
def test_arm_stands_still_when_the_process_that_drives_it_is_killed_or_stopped(
    tmp_path: Path, number: signal.Signals
) -> None:
    port = tmp_path / "port"
    child = drive_in_child(port, Steady())
    wait_for_steps(port, HUNG_STEP)
    os.kill(child, number)
    assert end_of(child) == -signal.SIGKILL
    settle(port)
    assert check_held(port, child) < HOLD_AFTER_S + SLACK_S


def test_late_action_is_not_executed_and_the_episode_says_which_rule_ended_it(
    tmp_path: Path,
) -> None:
    def dawdle(step: int) -> None:
        if step == HUNG_STEP:
            NATIVE.usleep(round(2.0 * HOLD_AFTER_S * 1e6))

    port, notes = tmp_path / "port", Notes()
    with contextlib.closing(MovingArm(port)) as arm, Watchdog(arm, HOLD_AFTER_S) as dog:
        result = drive(arm, Steady(dawdle), dog, notes)
        assert check_held(port, os.getpid()) < HOLD_AFTER_S + SLACK_S
        held = len(read_port(port))
        assert (result.stop_rule, result.safety_violations) == (StopRule.WATCHDOG, 1)
        assert (result.steps, result.success) == (HUNG_STEP, False)
        last = notes.steps[-1]
        assert last.safety_violation and last.is_last and last.deadline_missed
        assert not last.action.any() and last.proposed_action.all()

        again = drive(arm, Steady(), dog)
        assert (again.steps, again.stop_rule) == (8, None)
    assert len(read_port(port)) == held + 1 + 8 + 1, "a reset, eight actions and a hold"


def test_error_of_the_policy_leaves_the_arm_still(tmp_path: Path) -> None:
    def fail(step: int) -> None:
        if step == HUNG_STEP:
            raise OSError("no policy")

    port = tmp_path / "port"
    with contextlib.closing(MovingArm(port)) as arm, Watchdog(arm, HOLD_AFTER_S) as dog:
        with pytest.raises(OSError, match="no policy"):
            drive(arm, Steady(fail), dog)
        assert read_port(port)[-1].is_hold
        assert drive(arm, Steady(), dog).steps == 8


class Unplugged(MovingArm):
    """Its port is gone at its first action, and it cannot be held then."""

    is_gone = False

    def act(self, action: Vector) -> Transition:
        """See `Robot.act`."""
        self.is_gone = True
        raise RobotPortError("arm", "to take a command", "no port")

    def hold(self) -> None:
        """See `Robot.hold`."""
        if self.is_gone:
            raise RobotPortError("arm", "to be held", "no port")
        super().hold()


def test_program_whose_robot_is_gone_is_left_to_say_so(tmp_path: Path) -> None:
    arm = Unplugged(tmp_path / "port")
    with Watchdog(arm, HOLD_AFTER_S, KILL_AFTER_S) as dog:
        with pytest.raises(RobotPortError):
            drive(arm, Steady(), dog)
        time.sleep(3 * (HOLD_AFTER_S + KILL_AFTER_S))  # else it kills this process


def test_arm_is_not_driven_on_when_its_watchdog_is_gone(tmp_path: Path) -> None:
    port = tmp_path / "port"
    with contextlib.closing(MovingArm(port)) as arm, Watchdog(arm, HOLD_AFTER_S) as dog:

        def kill(step: int) -> None:
            if step == HUNG_STEP:
                assert dog._child is not None
                os.kill(dog._child, signal.SIGKILL)
                os.waitid(os.P_PID, dog._child, os.WEXITED | os.WNOWAIT)

        with pytest.raises(WatchdogError, match="expected it to run, got it has ended"):
            drive(arm, Steady(kill), dog)
        commands = read_port(port)
        assert sum(not one.is_hold for one in commands) == HUNG_STEP - 1
        assert commands[-1].is_hold
        with pytest.raises(WatchdogError, match="never driven without a watchdog"):
            drive(arm, Steady(), dog)


def ignores_ctrl_z(process: int | None) -> bool:
    """Whether a process ignores the last of the signals that it is to ignore."""
    for line in Path(f"/proc/{process}/status").read_text().splitlines():
        if line.startswith("SigIgn:"):
            return bool(int(line.split()[1], 16) >> (signal.SIGTSTP - 1) & 1)
    return False


def test_ctrl_c_does_not_end_the_watchdog_before_the_loop(tmp_path: Path) -> None:
    port = tmp_path / "port"
    with contextlib.closing(MovingArm(port)) as arm, Watchdog(arm, HOLD_AFTER_S) as dog:
        assert dog._child is not None
        process_tree.wait_until(lambda: ignores_ctrl_z(dog._child))
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGTSTP):
            os.kill(dog._child, number)
        assert drive(arm, Steady(), dog).steps == 8


def test_watchdog_of_an_episode_in_time_does_nothing_and_ends_with_it(
    tmp_path: Path,
) -> None:
    port = tmp_path / "port"
    files = set(FILES.iterdir())
    with contextlib.closing(MovingArm(port)) as arm:
        config = config_for(arm.spec)
        result = loop.run_episode(
            arm, Steady(), config, None, 0, 8, Pace.REALTIME
        )  # the loop starts one by itself
    assert (result.steps, result.stop_rule) == (8, None)
    assert {one.process for one in read_port(port)} == {os.getpid()}
    assert set(FILES.iterdir()) == files
    with pytest.raises(ChildProcessError):
        os.waitpid(-1, os.WNOHANG)


@pytest.mark.parametrize(
    ("control_hz", "hold_after_s"), [(10.0, 0.25), (20.0, 0.2), (50.0, 0.1), (200, 0.1)]
)
def test_arm_of_any_rate_is_held_within_a_quarter_of_a_second(
    control_hz: float, hold_after_s: float
) -> None:
    assert watchdog.choose_hold_after_s(control_hz) == hold_after_s
    assert hold_after_s > 2 / control_hz, "one late step is not a hang"
