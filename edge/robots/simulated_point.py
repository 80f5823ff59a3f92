"""A point that moves along a line: the smallest robot that implements the protocol.

Tests and examples use it when MuJoCo would be too slow or too large.
"""

import numpy as np

from edge.errors import ActionAfterEndError, ActionShapeError
from edge.robots.clock import Clock, SimulatedClock
from edge.robots.robot import Observation, RobotSpec, Transition, Vector

SPEC = RobotSpec(
    state_size=2,
    action_size=1,
    control_hz=100.0,
    robot_model="point",
    environment_id="line",
    task="reach-goal",
    action_minimum=(-1.0,),
    action_maximum=(1.0,),
    simulated=True,
)
_TOLERANCE = 0.05
_SPEED = 0.1  # distance per unit of action


class SimulatedPoint:
    """State is [position, goal]; success is a distance below 0.05 from the goal."""

    def __init__(self, clock: SimulatedClock) -> None:
        """Uses `clock` for observation times and advances it with each action."""
        self._clock = clock
        self._position = 0.0
        self._goal = 0.0
        self._running = False

    @property
    def spec(self) -> RobotSpec:
        """See `Robot.spec`."""
        return SPEC

    @property
    def clock(self) -> Clock:
        """See `Robot.clock`."""
        return self._clock

    def reset(self, seed: int) -> Observation:
        """Puts the point at 0 and the goal between 0.5 and 1.5."""
        self._position = 0.0
        self._goal = float(np.random.default_rng(seed).uniform(0.5, 1.5))
        self._running = True
        return self._observation()

    def act(self, action: Vector) -> Transition:
        """Moves by a tenth of the action."""
        if not self._running:
            raise ActionAfterEndError("robot point", "a reset before an action", "none")
        if action.shape != (1,):
            raise ActionShapeError(
                "robot point", "an action of shape (1,)", action.shape
            )
        self._position += _SPEED * float(action[0])
        self._clock.advance(SPEC.period_ns)
        distance = abs(self._goal - self._position)
        success = distance < _TOLERANCE
        self._running = not success
        return Transition(self._observation(), -distance, success, terminal=False)

    def hold(self) -> None:
        """See `Robot.hold`; it moves in `act` only."""

    def close(self) -> None:
        """See `Robot.close`."""
        self._running = False

    def _observation(self) -> Observation:
        state = np.array([self._position, self._goal], np.float32)
        return Observation(state, self._clock.now_ns())


class PointExpert:
    """Moves straight to the goal; a `Policy`."""

    def reset(self, task: str) -> None:
        """Does nothing: this expert keeps no state."""
        del task

    def propose(self, observation: Observation) -> Vector:
        """Proposes the whole distance to the goal, which may exceed the limits."""
        position, goal = observation.state
        return np.array([(goal - position) / _SPEED], np.float32)
