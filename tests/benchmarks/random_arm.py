"""An arm that senses random numbers, of the sizes of a package, at any control rate.

    --robot=random_arm.py:RandomArm:HZ:PACKAGE

It counts as a real arm, so control drives it in real time, with a watchdog. An episode
of `STEPS` steps ends in success, so that a learner learns from it.
"""

from pathlib import Path
from typing import Final

import numpy as np

from edge.robots.clock import Clock, MonotonicClock
from edge.robots.robot import Observation, RobotSpec, Transition, Vector
from release.verification import verify_integrity

STEPS: Final = 500
_STATES: Final = 997


class RandomArm:
    """Senses random numbers in turn; implements `Robot`, and is not simulated."""

    def __init__(self, name: str) -> None:
        """Has the sizes and limits that a package states.

        Args:
            name: the control rate in Hz, a colon, and the folder of the package.
        """
        control_hz, _, folder = name.partition(":")
        fit = verify_integrity(Path(folder), "pi5-cpu").manifest.robot
        (state_size,) = fit.observation["state"].shape
        self._spec = RobotSpec(
            state_size=state_size,
            action_size=len(fit.action.minimum),
            control_hz=float(control_hz),
            robot_model=fit.robot_model or "benchmark",
            environment_id="benchmark",
            task=fit.tasks[0],
            action_minimum=fit.action.minimum,
            action_maximum=fit.action.maximum,
            simulated=False,
        )
        drawn = np.random.default_rng(0).standard_normal((_STATES, state_size))
        self._states = list(drawn.astype(np.float32))
        self._clock = MonotonicClock()
        self._seed = self._step = 0

    @property
    def spec(self) -> RobotSpec:
        """See `Robot.spec`."""
        return self._spec

    @property
    def clock(self) -> Clock:
        """See `Robot.clock`."""
        return self._clock

    def reset(self, seed: int) -> Observation:
        """See `Robot.reset`."""
        self._seed, self._step = seed, 0
        return self._observe()

    def act(self, action: Vector) -> Transition:
        """See `Robot.act`."""
        self._step += 1
        return Transition(
            self._observe(), 0.0, success=self._step >= STEPS, terminal=False
        )

    def hold(self) -> None:
        """See `Robot.hold`."""

    def close(self) -> None:
        """See `Robot.close`."""

    def _observe(self) -> Observation:
        state = self._states[(self._seed + self._step) % _STATES]
        return Observation(state, self._clock.now_ns())
