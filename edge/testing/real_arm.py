"""An arm that counts as real, for tests: not simulated, and its clock the machine's.

As a program it adds the arm to the robots that a command knows, and runs the command:

python -m edge.testing.real_arm edge.record --robot=real-arm:NAME --output=DIR ...

`real-arm:` is demonstrated by a hand, `expert-arm:` by a scripted expert, and
`hasty-arm:` is wrong: its driver dates what it senses by a simulated clock.
`moving-arm:PORT` is the arm of `moving_arm.py`, and so is `hung-arm:PORT`, whose hand
hangs in native code that keeps Python's lock.
"""

import ctypes
import runpy
import sys
from pathlib import Path
from typing import ClassVar

import numpy as np

from edge.actors import registry as actors
from edge.actors.actor import HUMAN, Signal, Stage
from edge.errors import RobotUnavailableError
from edge.robots import registry
from edge.robots.clock import Clock, MonotonicClock, SimulatedClock
from edge.robots.registry import RobotDriver
from edge.robots.robot import Observation, RobotSpec, Transition, Vector
from edge.testing import moving_arm
from edge.testing.moving_arm import MovingArm

SPEC = moving_arm.SPEC
_HUNG_STEP = 10


class RealArm:
    """An arm that goes where it is told and cannot tell whether it succeeded.

    Like an arm at a serial port, it can be opened once at a time.

    Attributes:
        moves: how often it was told to move, its start pose included.
    """

    _open: ClassVar[int] = 0

    def __init__(self, clock: Clock | None = None) -> None:
        """Uses the machine's clock, as the driver of a real arm does.

        Raises:
            RobotUnavailableError: one is open.
        """
        if RealArm._open:
            raise RobotUnavailableError(
                "bench arm", "its port to be free", "it is open"
            )
        RealArm._open = 1
        self._clock = clock or MonotonicClock()
        self._position = np.zeros(4, np.float32)
        self.moves = 0

    @property
    def spec(self) -> RobotSpec:
        """See `Robot.spec`."""
        return SPEC

    @property
    def clock(self) -> Clock:
        """See `Robot.clock`."""
        return self._clock

    def reset(self, seed: int) -> Observation:
        """Moves to the start pose; the seed has no effect."""
        del seed
        self.moves += 1
        self._position[:] = 0.0
        return self._observe()

    def act(self, action: Vector) -> Transition:
        """See `Robot.act`."""
        self.moves += 1
        self._position += 0.01 * action
        return Transition(self._observe(), 0.0, success=None, terminal=False)

    def hold(self) -> None:
        """See `Robot.hold`; it moves in `act` only."""

    def close(self) -> None:
        """See `Robot.close`."""
        RealArm._open = 0

    def _observe(self) -> Observation:
        state = np.zeros(SPEC.state_size, np.float32)
        state[:4] = self._position
        return Observation(state, self._clock.now_ns())


class Hand:
    """Whoever holds a leader arm; an `Actor`."""

    name = HUMAN

    def __init__(self, stage: Stage | None = None) -> None:
        """Takes hold of the arm."""

    def may_begin(self, wait_s: float = 0.0) -> bool | None:
        """Is always ready."""
        del wait_s
        return True

    def signal(self) -> Signal:
        """Wants nothing."""
        return Signal()

    def close(self) -> None:
        """Lets go."""

    def reset(self, task: str) -> None:
        """See `Policy.reset`."""

    def propose(self, observation: Observation) -> Vector:
        """Moves on a little."""
        return np.full(SPEC.action_size, 0.1, np.float32)


class HangingHand(Hand):
    """Hangs in its tenth step, where neither a thread nor a signal handler runs."""

    def __init__(self, stage: Stage | None = None) -> None:
        """Has made no step yet."""
        super().__init__(stage)
        self._steps = 0

    def propose(self, observation: Observation) -> Vector:
        """See `Hand`."""
        self._steps += 1
        if self._steps == _HUNG_STEP:
            ctypes.PyDLL(None).pause()
        return super().propose(observation)


def make_driver(actor: str, clock: Clock | None = None) -> RobotDriver:
    """Makes the driver of arms on which `actor` demonstrates, unless told otherwise."""
    return RobotDriver(lambda name: RealArm(clock), "NAME", actor)


def make_moving_driver(actor: str) -> RobotDriver:
    """Makes the driver of the arms of `moving_arm.py`, by the paths of their ports."""
    return RobotDriver(lambda port: MovingArm(Path(port)), "PORT", actor)


if __name__ == "__main__":
    actors.ACTORS.update({"hand": Hand, "hanging-hand": HangingHand})
    registry.DRIVERS["real-arm:"] = make_driver("hand")
    registry.DRIVERS["expert-arm:"] = make_driver(registry.EXPERT)
    registry.DRIVERS["moving-arm:"] = make_moving_driver("hand")
    registry.DRIVERS["hung-arm:"] = make_moving_driver("hanging-hand")
    registry.DRIVERS["hasty-arm:"] = make_driver("hand", SimulatedClock(0))
    del sys.argv[0]
    runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
