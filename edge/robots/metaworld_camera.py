"""Meta-World tasks for an arm that sees object and goal by a camera alone.

    metaworld-camera:reach-v3

The arm moves as that of `metaworld:TASK`. Its state [8] is what it feels of itself, now
and one step before:

     0  place of the hand, m
     3  opening of the gripper, 0 (closed) to 1
     4  the same, one step before

The camera takes ten pictures of 64x64 a second, of which the newest stays for eight
steps. The picture is that of a second model of the scene, which is drawn and never
simulated: so nothing here can change how the arm moves. A green ball stands where the
object or the hand belongs, in each task whose scene marks that place: who sees by the
camera alone would not know.
"""

import importlib.metadata
from typing import Final

import numpy as np

from edge.robots import metaworld_robot, mujoco_camera, simulator
from edge.robots.clock import Clock, SimulatedClock
from edge.robots.metaworld_robot import MetaworldRobot
from edge.robots.mujoco_camera import Mujoco, MujocoCamera, Pixels
from edge.robots.robot import (
    Camera,
    Observation,
    Picture,
    RobotSpec,
    Transition,
    Vector,
)
from edge.robots.scene_view import WatchedObservation

FELT: Final = (0, 1, 2, 3, 18, 19, 20, 21)
"""Which numbers of Meta-World's state the arm feels."""
PICTURE_PIXELS: Final = 64
"""Height and width of a picture."""
STEPS_PER_PICTURE: Final = 8
_FRONT: Final = Camera(
    "front",
    PICTURE_PIXELS,
    PICTURE_PIXELS,
    metaworld_robot.CONTROL_HZ / STEPS_PER_PICTURE,
)
_VIEW: Final = "corner4"
"""The camera of Meta-World's scenes in which objects are largest; it hangs upside
down."""
_GOAL: Final = "goal"
_GOAL_RADIUS_M: Final = 0.03
_GREEN: Final = (0.1, 0.9, 0.2, 1.0)
_MOVED: Final = ("body_pos", "body_quat", "geom_pos")
"""Arrays of a scene's model by which a task places its objects."""


class MetaworldCameraRobot:
    """A simulated Sawyer arm with a camera, in one Meta-World task; see `Robot`."""

    def __init__(self, task: str, clock: SimulatedClock) -> None:
        """Builds the environment of one task, and the scene that is drawn.

        Args:
            task: one of `metaworld_robot.task_names()`.
            clock: advanced by one control period per action.

        Raises:
            RobotUnavailableError: Meta-World is not installed here.
        """
        self._robot = MetaworldRobot(task, clock)
        spec = self._robot.spec
        self._spec = RobotSpec(
            state_size=len(FELT),
            action_size=spec.action_size,
            control_hz=spec.control_hz,
            robot_model=spec.robot_model,
            environment_id=f"metaworld-camera-{importlib.metadata.version('metaworld')}",
            task=task,
            action_minimum=spec.action_minimum,
            action_maximum=spec.action_maximum,
            simulated=True,
            cameras=(_FRONT,),
        )
        self._scene = _DrawnScene(self._robot.environment)
        self._steps = 0
        self._picture: Picture | None = None

    @property
    def spec(self) -> RobotSpec:
        """See `Robot.spec`."""
        return self._spec

    @property
    def clock(self) -> Clock:
        """See `Robot.clock`; always a `SimulatedClock`."""
        return self._robot.clock

    def reset(self, seed: int) -> Observation:
        """Positions hand, objects and goal by `seed`; see `Robot.reset`."""
        self._steps = 0
        return self._look(self._robot.reset(seed))

    def act(self, action: Vector) -> Transition:
        """See `Robot.act`."""
        done = self._robot.act(action)
        self._steps += 1
        return Transition(
            observation=self._look(done.observation),
            reward=done.reward,
            success=done.success,
            terminal=done.terminal,
        )

    def hold(self) -> None:
        """See `Robot.hold`; it moves in `act` only."""

    def close(self) -> None:
        """See `Robot.close`."""
        self._robot.close()

    def _look(self, seen: Observation) -> Observation:
        if self._picture is None or self._steps % STEPS_PER_PICTURE == 0:
            pixels = self._scene.draw()
            jpeg = mujoco_camera.encode(pixels)
            self._picture = Picture(jpeg, seen.t_monotonic_ns)
        return WatchedObservation(
            seen.state[list(FELT)],
            seen.t_monotonic_ns,
            seen.state,
            pictures={_FRONT.name: self._picture},
        )


class _DrawnScene:
    """The scene of a task as the camera sees it."""

    def __init__(self, environment: Mujoco) -> None:
        self._mujoco: Mujoco = simulator.load("mujoco", "with a camera", "mujoco")
        self._env = environment
        sites = [environment.model.site(i).name for i in range(environment.model.nsite)]
        self._has_goal = _GOAL in sites
        self._model = self._add_goal()
        self._data = self._mujoco.MjData(self._model)
        self._camera = MujocoCamera(self._model, _VIEW, PICTURE_PIXELS, PICTURE_PIXELS)

    def draw(self) -> Pixels:
        """Draws the state in which the environment is."""
        simulated, data = self._env.model, self._data
        for name in _MOVED:
            placed = getattr(simulated, name)
            getattr(self._model, name)[: len(placed)] = placed
        data.qpos[:] = self._env.data.qpos
        data.mocap_pos[: simulated.nmocap] = self._env.data.mocap_pos
        data.mocap_quat[: simulated.nmocap] = self._env.data.mocap_quat
        if self._has_goal:
            data.mocap_pos[simulated.nmocap] = simulated.site(_GOAL).pos
        self._mujoco.mj_kinematics(self._model, data)
        self._mujoco.mj_camlight(self._model, data)
        return np.ascontiguousarray(self._camera.draw(data)[::-1, ::-1])

    def _add_goal(self) -> Mujoco:
        spec = self._mujoco.MjSpec.from_file(str(self._env.model_name))
        if self._has_goal:
            spec.worldbody.add_body(name="goal ball", mocap=True).add_geom(
                type=self._mujoco.mjtGeom.mjGEOM_SPHERE,
                size=[_GOAL_RADIUS_M, 0, 0],
                rgba=_GREEN,
            )
        return spec.compile()
