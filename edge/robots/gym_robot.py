"""Any Gymnasium environment with numbers in and out as a simulated robot.

    gym:Pendulum-v1, gym:my_package:MyEnv-v0   as `gymnasium.make` names them

- Observations: what can be flattened, in the order of `gymnasium.spaces.flatten`.
- Actions: a Box of floats with finite limits, flattened; or `Discrete(n)`, as one
  number from -1 to 1, whose range has n equal parts.
- Control rate: of the environment's `dt` or `tau`, else the `render_fps` of its
  metadata, else 50 Hz.
- Success: `info["is_success"]` or `info["success"]`. Without them, where the
  registration has a `reward_threshold`, whether the rewards of the episode sum up to
  that when the environment ends it. Else it is not known.
- The end: terminated or truncated.

A flattened Discrete of n is n numbers, one of which is 1. Bounds of observations say
nothing here: a state has none. Pictures among the observations are refused.

Gymnasium is imported when such a robot is opened, not before.
"""

import importlib
import math
from collections.abc import Mapping
from types import ModuleType
from typing import Any, Final

import numpy as np

from edge.errors import (
    ActionAfterEndError,
    ActionShapeError,
    GymRobotError,
    RobotUnavailableError,
)
from edge.robots import outside
from edge.robots.clock import Clock, SimulatedClock
from edge.robots.robot import Observation, RobotSpec, Transition, Vector

DEFAULT_HZ: Final = 50.0
"""Of an environment that does not say how much time a step takes."""
LARGEST_STATE: Final = 4096
"""More numbers than this are pictures or maps, not the joints of a robot."""
_SUCCESS: Final = ("is_success", "success")


def require_known(env_id: str) -> None:
    """Checks that there is such an environment, without opening it.

    Raises:
        GymRobotError: there is none.
        RobotUnavailableError: Gymnasium is not installed here.
    """
    _find(_import_gymnasium(), env_id)


class GymRobot:
    """A Gymnasium environment; see `Robot`."""

    def __init__(self, env_id: str, clock: SimulatedClock) -> None:
        """Makes the environment.

        Args:
            env_id: its registered name, with its module before a colon if need be.
            clock: advanced by one control period per action.

        Raises:
            GymRobotError: there is no such environment, or its spaces are not those of
                a robot.
            RobotUnavailableError: Gymnasium is not installed here, or the environment
                cannot be made.
        """
        self._gym = _import_gymnasium()
        self._source = f"robot gym:{env_id}"
        registered = _find(self._gym, env_id)
        self._threshold = registered.reward_threshold
        try:
            # Its checker would warn about the environments of others on stderr.
            self._env: Any = self._gym.make(env_id, disable_env_checker=True)
        except Exception as e:
            raise RobotUnavailableError(
                self._source,
                "the environment to open",
                f"{type(e).__name__}: {e}",
                "install what it needs",
            ) from e
        self._clock = clock
        self._runs = False
        self._return = 0.0
        size = self._read_state_size(env_id)
        low, high = self._read_action_limits(env_id)
        version = importlib.import_module("importlib.metadata").version("gymnasium")
        self._spec = RobotSpec(
            state_size=size,
            action_size=len(low),
            control_hz=_find_rate(self._env),
            robot_model=env_id,
            environment_id=f"gymnasium-{version}",
            task=env_id,
            action_minimum=low,
            action_maximum=high,
            simulated=True,
        )

    @property
    def spec(self) -> RobotSpec:
        """See `Robot.spec`; machine and task both have the name of the environment."""
        return self._spec

    @property
    def clock(self) -> Clock:
        """See `Robot.clock`; always a `SimulatedClock`."""
        return self._clock

    def reset(self, seed: int) -> Observation:
        """Resets the environment with this seed; see `Robot.reset`."""
        seen, _ = self._env.reset(seed=seed)
        self._runs, self._return = True, 0.0
        return self._observe(seen)

    def act(self, action: Vector) -> Transition:
        """See `Robot.act`; the environment may end the episode, also by its time."""
        if not self._runs:
            raise ActionAfterEndError(
                self._source, "a reset before this action", "none"
            )
        if action.shape != (self._spec.action_size,):
            raise ActionShapeError(
                self._source,
                f"an action of shape ({self._spec.action_size},)",
                action.shape,
            )
        seen, reward, terminated, truncated, info = self._env.step(
            self._to_environment(action)
        )
        ended = bool(terminated or truncated)
        self._return += float(reward)
        self._runs = not ended
        self._clock.advance(self._spec.period_ns)
        return Transition(
            self._observe(seen), float(reward), self._judge(info, ended), ended
        )

    def hold(self) -> None:
        """See `Robot.hold`; it moves in `act` only."""

    def close(self) -> None:
        """See `Robot.close`."""
        self._env.close()
        self._runs = False

    def _observe(self, seen: object) -> Observation:
        flat = self._gym.spaces.flatten(self._env.observation_space, seen)
        return Observation(np.asarray(flat, np.float32), self._clock.now_ns())

    def _to_environment(self, action: Vector) -> object:
        space = self._env.action_space
        if isinstance(space, self._gym.spaces.Discrete):
            share = (float(action[0]) + 1.0) / 2.0
            return int(space.start) + min(int(share * space.n), int(space.n) - 1)
        return action.astype(space.dtype).reshape(space.shape)

    def _judge(self, info: Mapping[str, object], ended: bool) -> bool | None:
        for name in _SUCCESS:
            if name in info:
                return bool(info[name])
        if self._threshold is None:
            return None
        return ended and self._return >= self._threshold

    def _read_state_size(self, env_id: str) -> int:
        space = self._env.observation_space
        is_flat = space.is_np_flattenable
        size = int(self._gym.spaces.flatdim(space)) if is_flat else 0
        if not 0 < size <= LARGEST_STATE:
            raise GymRobotError(
                "--robot",
                f"observations of 1 to {LARGEST_STATE} numbers from gym:{env_id}",
                f"{space} of {size}" if is_flat else space,
                "choose an environment without pictures, or wrap it",
            )
        return size

    def _read_action_limits(
        self, env_id: str
    ) -> tuple[tuple[float, ...], tuple[float, ...]]:
        space, spaces = self._env.action_space, self._gym.spaces
        if isinstance(space, spaces.Discrete):
            return (-1.0,), (1.0,)
        is_box = (
            isinstance(space, spaces.Box) and space.shape and space.dtype.kind == "f"
        )
        if not is_box or not space.is_bounded():
            raise GymRobotError(
                "--robot",
                f"actions of gym:{env_id} that are a Box of floats with finite limits,"
                " or Discrete",
                space,
                "choose another environment, or wrap it (gymnasium.wrappers)",
            )
        low, high = space.low.ravel(), space.high.ravel()
        return tuple(map(float, low)), tuple(map(float, high))


def _find_rate(env: Any) -> float:  # noqa: ANN401 - of a package without types
    """Control steps per second, as far as an environment says."""
    for name in ("dt", "tau"):
        step_s = getattr(env.unwrapped, name, None)
        if isinstance(step_s, int | float) and 0 < step_s < math.inf:
            return 1.0 / float(step_s)
    rate = env.metadata.get("render_fps")
    if isinstance(rate, int | float) and 0 < rate < math.inf:
        return float(rate)
    return DEFAULT_HZ


def _find(gymnasium: ModuleType, env_id: str) -> Any:  # noqa: ANN401 - as above
    """The registration of an environment; imports the module that is named with it.

    Raises:
        GymRobotError: there is none.
    """
    module, colon, name = env_id.partition(":")
    try:
        if colon:
            outside.look_outside()
            importlib.import_module(module)
        return gymnasium.spec(name if colon else env_id)
    except Exception as e:  # its errors, and whatever a module raises
        raise GymRobotError(
            "--robot",
            f"a Gymnasium environment {env_id!r}",
            f"{type(e).__name__}: {e}",
            "correct the name, or write gym:MODULE:ENV_ID with the module that"
            " registers it",
        ) from e


def _import_gymnasium() -> ModuleType:
    try:
        return importlib.import_module("gymnasium")
    except ImportError as e:
        raise RobotUnavailableError(
            "robot gym:*",
            "the package gymnasium",
            e,
            "install it, or use a real robot",
        ) from e
