"""An arm whose motors go on by themselves, for tests of who stops it.

A command is a velocity, and the arm keeps it until the next one, whatever becomes of
the program that sent it: that is what a stopped program does to many real arms. Each
command is one line of a file, which stands for the arm's port:

    nanoseconds of the machine's clock, process, velocities

Whoever reads the file knows how the arm moved at every instant, and who told it to.
"""

import os
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from edge.robots.clock import NS_PER_S, Clock, MonotonicClock
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
    hold_after_s=0.3,  # tests share a busy machine, and are not granted real time
)
SPEED = 0.5
"""A velocity well within the limits, for policies of tests."""


@dataclass(frozen=True)
class Command:
    """One line of the port: when, by which process, and how fast."""

    time_ns: int
    process: int
    velocity: tuple[float, ...]

    @property
    def is_hold(self) -> bool:
        """Whether the arm stands still from here on."""
        return not any(self.velocity)


class MovingArm:
    """Implements `Robot`; not simulated."""

    def __init__(self, port: Path, spec: RobotSpec = SPEC) -> None:
        """Opens the port, a file that is made when absent."""
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT
        self._port = os.open(port, flags | os.O_CLOEXEC, 0o600)
        self._clock = MonotonicClock()
        self._spec = spec
        self._position = np.zeros(spec.action_size)
        self._velocity = np.zeros(spec.action_size)
        self._moved_ns = self._clock.now_ns()

    @property
    def spec(self) -> RobotSpec:
        """See `Robot.spec`."""
        return self._spec

    @property
    def clock(self) -> Clock:
        """See `Robot.clock`."""
        return self._clock

    def reset(self, seed: int) -> Observation:
        """Stands still at the start pose; the seed has no effect."""
        del seed
        self.hold()
        self._position[:] = 0.0
        return self._observe()

    def act(self, action: Vector) -> Transition:
        """Moves with this velocity from now on."""
        self._command(action)
        return Transition(self._observe(), 0.0, success=None, terminal=False)

    def hold(self) -> None:
        """See `Robot.hold`."""
        self._command(np.zeros(self._spec.action_size))

    def close(self) -> None:
        """See `Robot.close`."""
        os.close(self._port)

    def _command(self, velocity: np.ndarray) -> None:
        self._observe()
        numbers = [time.monotonic_ns(), os.getpid(), *map(float, velocity)]
        os.write(self._port, f"{' '.join(map(str, numbers))}\n".encode())
        self._velocity = np.asarray(velocity, np.float64)

    def _observe(self) -> Observation:
        now_ns = self._clock.now_ns()
        self._position += self._velocity * (now_ns - self._moved_ns) / NS_PER_S
        self._moved_ns = now_ns
        state = np.zeros(self._spec.state_size, np.float32)
        state[: self._spec.action_size] = self._position
        return Observation(state, now_ns)


def read_port(port: Path) -> list[Command]:
    """Returns all commands so far, in their order."""
    commands = []
    for line in port.read_text().splitlines():
        time_ns, process, *velocity = line.split()
        commands.append(
            Command(int(time_ns), int(process), tuple(float(v) for v in velocity))
        )
    return commands
