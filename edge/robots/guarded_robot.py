"""A robot of somebody else's code, each answer of which is checked.

The control loop believes a robot. One that is ours is tested; here the class of another
package gives a state that is a list, a reward that is an array or nothing at all, and
its owner reads in one line which method did what instead of what, and where.
"""

import traceback
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np

from edge.errors import (
    ActionAfterEndError,
    ActionShapeError,
    EdgeError,
    RobotFaultError,
)
from edge.robots.clock import Clock
from edge.robots.robot import (
    NO_PICTURES,
    Observation,
    Picture,
    Robot,
    RobotSpec,
    Sound,
    Transition,
    Vector,
)


class GuardedRobot:
    """Implements `Robot` with one that may be wrong."""

    def __init__(self, robot: Robot, name: str, file: str) -> None:
        """Takes over an open robot.

        Args:
            robot: its spec and clock are believed; see `outside.py`.
            name: the robot string, for errors.
            file: source of its class, whose lines errors name.
        """
        self._robot = robot
        self._source = f"robot {name}"
        self._file = file
        self._spec = robot.spec
        self._cameras = frozenset(camera.name for camera in robot.spec.cameras)
        self._clock = robot.clock
        self._runs = False

    @property
    def spec(self) -> RobotSpec:
        """See `Robot.spec`."""
        return self._spec

    @property
    def clock(self) -> Clock:
        """See `Robot.clock`."""
        return self._clock

    @property
    def observe(self) -> Callable[[], Observation] | None:
        """See `Observing.observe`; None if the robot has no such method."""
        if not hasattr(self._robot, "observe"):
            return None
        return lambda: self._check_observation("observe", self._call("observe"))

    def reset(self, seed: int) -> Observation:
        """See `Robot.reset`.

        Raises:
            RobotFaultError: it raised, or returned no observation of this robot.
        """
        seen = self._check_observation("reset", self._call("reset", seed))
        self._runs = True
        return seen

    def act(self, action: Vector) -> Transition:
        """See `Robot.act`.

        Raises:
            RobotFaultError: it raised, or returned no transition of this robot.
        """
        if action.shape != (self._spec.action_size,):
            raise ActionShapeError(
                self._source,
                f"an action of shape ({self._spec.action_size},)",
                action.shape,
            )
        if not self._runs:
            raise ActionAfterEndError(
                self._source, "a reset before this action", "none"
            )
        # Its own copy: what the robot does with it is nobody's concern.
        found = self._call("act", action.copy())
        if not isinstance(found, Transition):
            raise self._fault("act to return a Transition", found)
        if not (found.success is None or isinstance(found.success, bool | np.bool)):
            raise self._fault(
                "the success of a step, True, False or None", found.success
            )
        if not isinstance(found.terminal, bool | np.bool):
            raise self._fault("terminal to be True or False", found.terminal)
        transition = Transition(
            self._check_observation("act", found.observation),
            self._check_reward(found.reward),
            None if found.success is None else bool(found.success),
            bool(found.terminal),
        )
        self._runs = not transition.terminal
        return transition

    def hold(self) -> None:
        """See `Robot.hold`.

        Raises:
            RobotFaultError: it raised.
        """
        self._call("hold")

    def close(self) -> None:
        """See `Robot.close`.

        Raises:
            RobotFaultError: it raised.
        """
        self._runs = False
        self._call("close")

    def _call(self, method: str, *arguments: object) -> object:
        try:
            found: object = getattr(self._robot, method)(*arguments)
        except EdgeError:
            raise
        except Exception as e:
            raise self._fault(f"{method} to work", describe_fault(e, self._file)) from e
        return found

    def _fault(self, expected: str, got: object) -> RobotFaultError:
        return RobotFaultError(self._source, expected, got)

    def _check_observation(self, method: str, found: object) -> Observation:
        if not isinstance(found, Observation):
            raise self._fault(f"{method} to give an Observation", found)
        try:
            # A copy: a driver may write its next reading into the same array.
            state = np.array(found.state, np.float32)
        except (TypeError, ValueError) as e:
            raise self._fault(
                f"the state of {method} to be numbers", found.state
            ) from e
        if state.shape != (self._spec.state_size,):
            raise self._fault(
                f"a state of shape ({self._spec.state_size},) from {method}",
                f"shape {state.shape}",
            )
        if not np.isfinite(state).all():
            raise self._fault(f"finite numbers in the state of {method}", state)
        if not isinstance(found.t_monotonic_ns, int | np.integer):
            raise self._fault(
                f"the whole nanoseconds of its clock from {method}",
                found.t_monotonic_ns,
            )
        pictures = self._check_pictures(method, found.pictures)
        sound = self._check_sound(method, found.sound)
        at_ns = int(found.t_monotonic_ns)
        return Observation(state, at_ns, pictures=pictures, sound=sound)

    def _check_pictures(self, method: str, found: object) -> Mapping[str, Picture]:
        """Checks that pictures are some; the recorder looks at their bytes."""
        if not found:
            return NO_PICTURES
        if not isinstance(found, Mapping):
            raise self._fault(f"pictures by camera from {method}", type(found))
        for name, picture in found.items():
            if name not in self._cameras:
                raise self._fault(
                    f"pictures of the cameras {sorted(self._cameras)} from {method}",
                    f"one of {name!r}",
                )
            if not (
                isinstance(picture, Picture)
                and isinstance(picture.jpeg, bytes)
                and isinstance(picture.t_monotonic_ns, int)
            ):
                raise self._fault(
                    f"the picture of {name} from {method} to be a Picture of bytes and"
                    " whole nanoseconds",
                    picture if not isinstance(picture, Picture) else "other types",
                )
        # A copy: a driver may go on with the same dictionary.
        return dict(found)

    def _check_sound(self, method: str, found: object) -> Sound | None:
        """Checks that sound is some; control looks at its numbers."""
        if found is None:
            return None
        if self._spec.microphone is None:
            raise self._fault(f"no sound from {method} without a microphone", found)
        if not (isinstance(found, Sound) and isinstance(found.t_monotonic_ns, int)):
            raise self._fault(
                f"the sound from {method} to be a Sound at whole nanoseconds", found
            )
        try:
            powers = np.array(found.powers, np.float32)
        except (TypeError, ValueError) as e:
            raise self._fault(
                f"the powers of sound from {method} to be numbers", found.powers
            ) from e
        bands = self._spec.microphone.bands
        if powers.shape != (bands,):
            raise self._fault(
                f"sound of {bands} bands from {method}", f"shape {powers.shape}"
            )
        return Sound(powers, found.t_monotonic_ns, found.is_coarse)

    def _check_reward(self, found: object) -> float:
        try:
            reward = float(found)  # type: ignore[arg-type] # anything
        except (TypeError, ValueError) as e:
            raise self._fault("a number as the reward", found) from e
        if not np.isfinite(reward):
            raise self._fault("a finite number as the reward", found)
        return reward


def describe_fault(error: Exception, file: str) -> str:
    """Says in one line what was raised, and where in somebody's code.

    Args:
        error: what was raised.
        file: their source; "" for the innermost file that is one.
    """
    frames = [
        frame
        for frame in traceback.extract_tb(error.__traceback__)
        if frame.filename == file or not (file or frame.filename.startswith("<"))
    ]
    text = f"{type(error).__name__}: {error}"
    if not frames:
        return text
    return f"{text} ({Path(frames[-1].filename).name}:{frames[-1].lineno})"
