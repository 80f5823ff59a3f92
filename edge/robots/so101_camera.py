"""What the front camera of the simulated SO-101 sees.

The picture is that of a second model of the same scene, which is drawn and never
simulated. So nothing here can change how the arm moves or what it touches. Of the
322,564 faces of its printed parts it keeps as few as a picture of this size can show
(`simplify`, by a pixel). Its camera looks at the table before the arm; in the scene's
own view a block is four pixels wide.

And it has a green disc where the block belongs, which the package does not draw: who
sees by the camera alone would not know.
"""

from typing import Final

import numpy as np

from edge.robots import mujoco_camera, simulator
from edge.robots.mujoco_camera import Mujoco, MujocoCamera, Pixels

CAMERA: Final = "front"
_TABLE_M: Final = (0.22, 0.0, 0.03)
"""Above the middle of where blocks and goals lie; the camera is turned to it."""
_VIEW_DEG: Final = 26.0
"""Height of the picture. All blocks and goals are in it, a block nine pixels wide."""
_FAR_M: Final = 0.9
"""How far from the camera the arm is at its foot, where what is drawn is right to a
pixel; at the hand to 1.6, which does not show, and a picture takes 0.7 of the time."""
_GOAL: Final = "goal"
_GOAL_RADIUS_M: Final = 0.025
_GOAL_HEIGHT_M: Final = 0.001


class So101Camera:
    """Draws the states of a simulated SO-101."""

    def __init__(self, scene: str, model: Mujoco, height: int, width: int) -> None:
        """Builds what is drawn.

        Args:
            scene: the file of the scene.
            model: the simulated model of that file.
            height: of a picture, in pixels.
            width: of a picture, in pixels.
        """
        self._mujoco: Mujoco = simulator.load("mujoco", "with a camera", "mujoco")
        self.model = self._simplified(scene, model, height, width)
        self._data = self._mujoco.MjData(self.model)
        self._camera = MujocoCamera(self.model, CAMERA, height, width)

    def draw(self, positions: np.ndarray, goal: np.ndarray) -> Pixels:
        """Draws a state.

        Shapes: positions [q] and goal [3] to [height width 3].

        Args:
            positions: `qpos` of the simulated model.
            goal: where the block belongs, in metres.
        """
        model, data = self.model, self._data
        data.qpos[:] = positions
        data.mocap_pos[0] = (goal[0], goal[1], _GOAL_HEIGHT_M)
        self._mujoco.mj_kinematics(model, data)
        self._mujoco.mj_camlight(model, data)
        return self._camera.draw(data)

    def _simplified(self, scene: str, model: Mujoco, height: int, width: int) -> Mujoco:
        mujoco = self._mujoco
        spec = mujoco.MjSpec.from_file(scene)
        _aim(mujoco, spec.camera(CAMERA))
        angle = np.deg2rad(_VIEW_DEG)
        pixel_m = 2 * _FAR_M * np.tan(angle / 2) / height
        for mesh in spec.meshes:
            name = mesh.name or mesh.file.removesuffix(".stl")
            vertices, faces = _mesh(mujoco, model, name)
            vertices, faces = mujoco_camera.simplify(vertices, faces, pixel_m)
            mesh.name, mesh.file = name, ""
            mesh.uservert, mesh.userface = vertices.ravel(), faces.ravel()
        for shape in list(spec.geoms):
            if shape.group not in mujoco_camera.SEEN:
                shape.delete()
        spec.worldbody.add_body(name=_GOAL, mocap=True).add_geom(
            type=mujoco.mjtGeom.mjGEOM_CYLINDER,
            size=[_GOAL_RADIUS_M, _GOAL_HEIGHT_M, 0],
            rgba=[0.1, 0.9, 0.2, 1.0],
        )
        return spec.compile()


def _aim(mujoco: Mujoco, camera: Mujoco) -> None:
    """Turns a camera of a scene's description to the table before the arm."""
    backward = np.asarray(camera.pos) - _TABLE_M
    backward /= np.linalg.norm(backward)
    right = np.cross([0.0, 0.0, 1.0], backward)
    right /= np.linalg.norm(right)
    up = np.cross(backward, right)
    turn = np.stack([right, up, backward], axis=1)
    mujoco.mju_mat2Quat(camera.quat, turn.ravel())
    camera.fovy = _VIEW_DEG


def _mesh(mujoco: Mujoco, model: Mujoco, name: str) -> tuple[np.ndarray, np.ndarray]:
    """Vertices [v 3] and faces [f 3] of a mesh, as its file has them.

    MuJoCo has moved them to the middle of the mesh and turned them to its main axes.
    """
    mesh = model.mesh(name).id
    first, begin = model.mesh_vertadr[mesh], model.mesh_faceadr[mesh]
    vertices = model.mesh_vert[first : first + model.mesh_vertnum[mesh]]
    faces = model.mesh_face[begin : begin + model.mesh_facenum[mesh]]
    turn = np.zeros(9)
    mujoco.mju_quat2Mat(turn, model.mesh_quat[mesh])
    return vertices @ turn.reshape(3, 3).T + model.mesh_pos[mesh], faces
