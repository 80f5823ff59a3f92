"""Meta-World v3 tasks as simulated robots, with the goal in the observation.

Meta-World and MuJoCo are imported inside functions, when a simulated robot is opened,
so that a process that drives a real arm never loads them. Nothing is rendered or
downloaded.

Reproducibility: Meta-World's environments keep three kinds of state from one episode to
the next: the random vector that positions the objects, the positions of bodies in the
MuJoCo model, and the simulation itself. `reset` restores all three, which takes about
20 ms; making a new environment takes about 200 ms (2 cores, x86-64).
"""

import importlib
import importlib.metadata
from types import ModuleType
from typing import Any

import numpy as np

from edge.errors import ActionAfterEndError, ActionShapeError
from edge.robots import simulator
from edge.robots.clock import Clock, SimulatedClock
from edge.robots.robot import Observation, RobotSpec, Transition, Vector

Mujoco = Any
"""An object of a simulator, which has no types where that is not installed."""

STATE_SIZE = 39  # two frames of 18 values and the goal position (3)
ACTION_SIZE = 4  # hand motion in x, y, z and gripper effort, each in [-1, 1]
CONTROL_HZ = 80.0  # Meta-World steps MuJoCo 5 times 2.5 ms per action
MAX_STEPS = 500  # Meta-World refuses further actions after this many

# The arrays of the MuJoCo model that some task's reset_model changes.
_MUTABLE_MODEL_ARRAYS = ("body_pos", "body_quat", "site_pos", "geom_pos", "eq_data")


def task_names() -> tuple[str, ...]:
    """Every Meta-World v3 task, sorted, for example `reach-v3`.

    Raises:
        RobotUnavailableError: Meta-World is not installed here.
    """
    return tuple(sorted(_import_metaworld().ALL_V3_ENVIRONMENTS))


class MetaworldRobot:
    """A simulated Sawyer arm in one Meta-World task; see `Robot`."""

    def __init__(
        self,
        task: str,
        clock: SimulatedClock,
        things_moved_m: tuple[float, float, float] = (0.0, 0.0, 0.0),
    ) -> None:
        """Builds the environment of one task.

        Args:
            task: one of `task_names()`.
            clock: advanced by one control period per action.
            things_moved_m: how much further along x, y and z objects and goal stand
                than where Meta-World puts them.

        Raises:
            RobotUnavailableError: Meta-World is not installed here.
        """
        environments = _import_metaworld().ALL_V3_ENVIRONMENTS_GOAL_OBSERVABLE
        self._env: Any = environments[f"{task}-goal-observable"](seed=0)
        self._env._freeze_rand_vec = False
        self._env.seeded_rand_vec = True
        if any(things_moved_m):
            _move_things(self._env, things_moved_m)
        model = self._env.model
        self._pristine_model = {
            name: np.copy(getattr(model, name)) for name in _MUTABLE_MODEL_ARRAYS
        }
        self._clock = clock
        self._steps_left = 0
        self._spec = RobotSpec(
            state_size=STATE_SIZE,
            action_size=ACTION_SIZE,
            control_hz=CONTROL_HZ,
            robot_model="sawyer",
            environment_id=f"metaworld-{importlib.metadata.version('metaworld')}",
            task=task,
            action_minimum=(-1.0,) * ACTION_SIZE,
            action_maximum=(1.0,) * ACTION_SIZE,
            simulated=True,
        )

    @property
    def spec(self) -> RobotSpec:
        """See `Robot.spec`."""
        return self._spec

    @property
    def environment(self) -> Mujoco:
        """Meta-World's environment, for whoever draws its scene."""
        return self._env

    @property
    def clock(self) -> Clock:
        """See `Robot.clock`; always a `SimulatedClock`."""
        return self._clock

    def reset(self, seed: int) -> Observation:
        """Positions hand, objects and goal by `seed`; see `Robot.reset`."""
        mujoco = importlib.import_module("mujoco")
        for name, pristine in self._pristine_model.items():
            getattr(self._env.model, name)[:] = pristine
        mujoco.mj_resetData(self._env.model, self._env.data)
        mujoco.mj_forward(self._env.model, self._env.data)
        self._env.seed(seed)
        state, _ = self._env.reset()
        self._steps_left = MAX_STEPS
        return self._observe(state)

    def act(self, action: Vector) -> Transition:
        """See `Robot.act`; an episode ends by itself after `MAX_STEPS` actions."""
        if self._steps_left == 0:
            raise ActionAfterEndError(
                f"robot metaworld:{self._spec.task}",
                "a reset before this action",
                "none",
                f"reset it; an episode has at most {MAX_STEPS} actions",
            )
        if action.shape != (ACTION_SIZE,):
            raise ActionShapeError(
                f"robot metaworld:{self._spec.task}",
                f"an action of shape ({ACTION_SIZE},)",
                action.shape,
            )
        state, reward, _, _, info = self._env.step(action)
        self._steps_left -= 1
        self._clock.advance(self._spec.period_ns)
        return Transition(
            observation=self._observe(state),
            reward=float(reward),
            success=bool(info["success"]),
            terminal=self._steps_left == 0,
        )

    def hold(self) -> None:
        """See `Robot.hold`; it moves in `act` only."""

    def close(self) -> None:
        """See `Robot.close`."""
        self._env.close()
        self._steps_left = 0

    def _observe(self, state: object) -> Observation:
        vector = np.asarray(state, dtype=np.float32)
        return Observation(state=vector, t_monotonic_ns=self._clock.now_ns())


def _move_things(environment: Mujoco, moved_m: tuple[float, float, float]) -> None:
    """Moves the range that objects and goal are drawn from, and that they are seen in.

    Meta-World cuts a goal in an observation off at the bounds of its own range.
    """
    for space in (environment._random_reset_space, environment.goal_space):
        moved = np.tile(moved_m, len(space.low) // len(moved_m))
        space.low += moved
        space.high += moved
    # A property that was worked out from the goals of before.
    environment.__dict__.pop("sawyer_observation_space", None)


def _import_metaworld() -> ModuleType:
    return simulator.load("metaworld.env_dict", "metaworld:*", "metaworld and mujoco")
