"""An arm that counts as real, for tests: not simulated, and its clock the machine's.

As a program it adds the arm to the robots that a command knows, and runs the command:

python -m edge.testing.real_arm edge.record --robot=real-arm:NAME --output=DIR ...

`real-arm:` is demonstrated by a hand, `expert-arm:` by a scripted expert, and
`hasty-arm:` is wrong: its driver dates what it senses by a simulated clock.
"""

import runpy
import sys
from typing import ClassVar

import numpy as np

from edge.errors import RobotUnavailableError
from edge.robots import registry
from edge.robots.clock import Clock, MonotonicClock, SimulatedClock
from edge.robots.registry import Actor, RobotDriver
from edge.robots.robot import Observation, RobotSpec, Transition, Vector

SPEC = RobotSpec(
    state_size=39,
    action_size=4,
    control_hz=80.0,
    robot_model="sawyer",  # as the tiny package states it
    environment_id="bench",
    task="reach-v3",
    action_minimum=(-1.0,) * 4,
    action_maximum=(1.0,) * 4,
    simulated=False,
)


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

    def close(self) -> None:
        """See `Robot.close`."""
        RealArm._open = 0

    def _observe(self) -> Observation:
        state = np.zeros(SPEC.state_size, np.float32)
        state[:4] = self._position
        return Observation(state, self._clock.now_ns())


class Hand:
    """Whoever holds a leader arm; a `Policy`."""

    def reset(self, task: str) -> None:
        """See `Policy.reset`."""

    def propose(self, observation: Observation) -> Vector:
        """Moves on a little."""
        return np.full(SPEC.action_size, 0.1, np.float32)


def make_driver(actor: str, clock: Clock | None = None) -> RobotDriver:
    """Makes the driver of arms on which `actor` demonstrates."""
    return RobotDriver(lambda name: RealArm(clock), lambda name: Actor(actor, Hand()))


if __name__ == "__main__":
    registry.DRIVERS["real-arm:"] = make_driver("human")
    registry.DRIVERS["expert-arm:"] = make_driver(registry.EXPERT)
    registry.DRIVERS["hasty-arm:"] = make_driver("human", SimulatedClock(0))
    del sys.argv[0]
    runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
