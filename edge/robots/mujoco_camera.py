"""Pictures of a scene in MuJoCo, by casting a ray through each pixel; JPEG.

Nothing draws but MuJoCo itself: no screen, no graphics card and no OpenGL is needed, so
that a picture is the same wherever a model is trained, judged or run. A small picture
is also faster so: OpenGL on a processor computes every triangle for each light, and a
ray only what it meets (docs/benchmarks.md).

What a ray meets is lit by a lamp, if nothing is between, by the sky and from where the
camera is. Its normal is that of the plane through the points that the rays beside it
meet. Where another shape is beside a pixel, its colour is that of four rays.

`simplify` makes parts small that were drawn for a printer.
"""

import io
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from edge.robots import simulator

Pixels = npt.NDArray[np.uint8]
"""[height width 3], red, green and blue."""
Mujoco = Any
"""An object of MuJoCo, which has no types where it is not installed."""
Floats = npt.NDArray[np.float64]
Shapes = npt.NDArray[np.int32]

QUALITY: Final = 95
"""Of a JPEG. A thing of four pixels keeps its colour: they are not halved either."""
_PARTS: Final = 2  # rays of a pixel at an edge, in each direction
_LAMP_M: Final = (0.3, -0.6, 1.5)
_LAMP, _SKY, _FRONT = 0.7, 0.4, 0.3  # shares of the light
_FARTHEST_M: Final = 10.0
_SKY_COLOUR: Final = (0.17, 0.23, 0.32)
_SQUARE_M: Final = 0.5
_SQUARES: Final = ((0.14, 0.26, 0.40), (0.24, 0.38, 0.54))
_MISS_M: Final = 0.003
"""A ray from the lamp that ends this far before a point is stopped by something."""
_SHADOWS: Final = 1.0
"""Reach of shadows, in extents of the scene as its file says them."""
SEEN: Final = (0, 1, 2)
"""Groups of shapes that are seen, as MuJoCo draws them; others are for collisions."""


class MujocoCamera:
    """One camera of a model, which draws any state of it."""

    def __init__(self, model: Mujoco, camera: str, height: int, width: int) -> None:
        """Prepares the rays.

        Args:
            model: the `mujoco.MjModel` to draw.
            camera: name of one of its cameras.
            height: of a picture, in pixels.
            width: of a picture, in pixels.
        """
        self._mujoco: Mujoco = simulator.load("mujoco", "with a camera", "mujoco")
        self._model = model
        self._camera = int(model.camera(camera).id)
        half = np.tan(np.deg2rad(model.cam_fovy[self._camera]) / 2)
        groups = np.arange(self._mujoco.mjNGROUP)
        self._groups = np.isin(groups, SEEN).astype(np.uint8)
        self._rays = _make_rays(half, height, width)
        fine = _make_rays(half, _PARTS * height, _PARTS * width)
        fine = fine.reshape(height, _PARTS, width, _PARTS, 3).swapaxes(1, 2)
        self._parts = fine.reshape(height, width, _PARTS**2, 3)
        has_material = (model.geom_matid >= 0)[:, None]
        materials = model.mat_rgba[model.geom_matid] if model.nmat else model.geom_rgba
        shapes = np.where(has_material, materials, model.geom_rgba)[:, :3]
        self._colours: Floats = np.concatenate([shapes, _SQUARES, [_SKY_COLOUR]])
        self._is_floor = model.geom_type == self._mujoco.mjtGeom.mjGEOM_PLANE

    def draw(self, data: Mujoco) -> Pixels:
        """Draws a state, a `mujoco.MjData` of the model whose places are computed."""
        origin = data.cam_xpos[self._camera]
        turn = data.cam_xmat[self._camera].reshape(3, 3).T
        rays = self._rays @ turn
        shapes, points = self._cast(data, origin, rays)
        colours = self._colours[self._kinds(shapes, points)]
        edges = _edges(shapes)
        parts = self._kinds(*self._cast(data, origin, self._parts[edges] @ turn))
        colours[edges] = self._colours[parts].mean(axis=1)
        met = shapes >= 0
        normals = _normals(points, shapes, rays)[met]
        colours[met] *= self._light(data, points[met], normals, rays[met])[:, None]
        pixels: Pixels = np.rint(255.0 * np.minimum(colours, 1.0)).astype(np.uint8)
        return pixels

    def _cast(
        self, data: Mujoco, origin: Floats, rays: Floats
    ) -> tuple[Shapes, Floats]:
        """The shape that each ray meets, -1 for none, and where, in m."""
        count = rays.size // 3
        shapes, far_m = np.full(count, -1, np.int32), np.zeros(count)
        self._mujoco.mj_multiRay(
            self._model,
            data,
            origin,
            np.ascontiguousarray(rays).ravel(),
            self._groups,
            1,
            -1,
            shapes,
            far_m,
            count,
            _FARTHEST_M,
        )
        points = origin + rays * far_m.reshape(*rays.shape[:-1], 1)
        return shapes.reshape(rays.shape[:-1]), points

    def _kinds(self, shapes: Shapes, points: Floats) -> Shapes:
        """Which of `_colours` each point has."""
        count = len(self._is_floor)
        kinds = np.where(shapes < 0, count + 2, shapes)
        floor = (shapes >= 0) & self._is_floor[shapes]
        square = np.floor(points[floor][:, :2] / _SQUARE_M).astype(np.int32).sum(axis=1)
        kinds[floor] = count + square % 2
        return kinds

    def _light(
        self, data: Mujoco, points: Floats, normals: Floats, rays: Floats
    ) -> Floats:
        """How bright points are that were met, [n]."""
        lamp = np.array(_LAMP_M)
        way = points - lamp
        way_m = np.linalg.norm(way, axis=1)
        way /= way_m[:, None]
        lit = np.maximum(0.0, -(way * normals).sum(axis=1))
        # Nothing stands between the lamp and what is far from the middle of the scene.
        middle = self._model.stat.center - points
        near = (middle**2).sum(axis=1) < (_SHADOWS * self._model.stat.extent) ** 2
        _, met = self._cast(data, lamp, way[near])
        free_m = np.linalg.norm(met - lamp, axis=1)
        lit[near] *= (free_m == 0.0) | (free_m > way_m[near] - _MISS_M)
        front = np.maximum(0.0, -(rays * normals).sum(axis=1))
        sky = 0.5 + 0.5 * normals[:, 2]
        brightness: Floats = _LAMP * lit + _SKY * sky + _FRONT * front
        return brightness


def _make_rays(half: float, height: int, width: int) -> Floats:
    """Unit vectors through the middles of pixels, [height width 3].

    Args:
        half: tangent of half the vertical field of view.
        height: in pixels.
        width: in pixels.
    """
    rays = np.empty((height, width, 3))
    rays[..., 0] = (2.0 * np.arange(width) + 1.0 - width) / height * half
    rays[..., 1] = ((height - 1.0 - 2.0 * np.arange(height)) / height * half)[:, None]
    rays[..., 2] = -1.0
    unit: Floats = rays / np.linalg.norm(rays, axis=2, keepdims=True)
    return unit


def _edges(shapes: Shapes) -> npt.NDArray[np.bool_]:
    """The pixels beside which there is another shape."""
    edges = np.zeros(shapes.shape, np.bool_)
    across, down = (np.diff(shapes, axis=axis) != 0 for axis in (1, 0))
    edges[:, 1:] |= across
    edges[:, :-1] |= across
    edges[1:] |= down
    edges[:-1] |= down
    return edges


def _normals(points: Floats, shapes: Shapes, rays: Floats) -> Floats:
    """Unit normals towards the camera, [height width 3].

    Of the two neighbours in a direction, the nearer one of the same shape counts.
    """
    along = [_difference(points, shapes, axis) for axis in (0, 1)]
    normals = np.cross(along[0], along[1])
    length = np.linalg.norm(normals, axis=2, keepdims=True)
    # A point without neighbours faces the camera.
    normals = np.where(length > 0, normals / np.maximum(length, 1e-300), -rays)
    away = (normals * rays).sum(axis=2, keepdims=True) > 0
    found: Floats = np.where(away, -normals, normals)
    return found


def _difference(points: Floats, shapes: Shapes, axis: int) -> Floats:
    """The step to a neighbour along an axis; zeros where none is of the same shape."""
    forward = np.diff(points, axis=axis)
    same = np.diff(shapes, axis=axis) == 0
    size = np.where(same, (forward**2).sum(axis=2), np.inf)
    before, after = [[(0, 0)] * 3 for _ in range(2)]
    before[axis], after[axis] = (1, 0), (0, 1)
    sizes = [np.pad(size, p[:2], constant_values=np.inf) for p in (before, after)]
    steps = [np.pad(forward, p) for p in (before, after)]
    chosen = np.where((sizes[0] < sizes[1])[..., None], steps[0], steps[1])
    found: Floats = np.where(np.isfinite(np.minimum(*sizes))[..., None], chosen, 0.0)
    return found


def encode(pixels: Pixels) -> bytes:
    """Returns a picture as a JPEG."""
    image: Any = simulator.load("PIL.Image", "with a camera", "pillow")
    buffer = io.BytesIO()
    image.fromarray(pixels).save(buffer, "JPEG", quality=QUALITY, subsampling=0)
    return buffer.getvalue()


def simplify(
    vertices: npt.NDArray[Any], faces: npt.NDArray[Any], cell_m: float
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.int32]]:
    """Joins the vertices of a mesh that are in one cell of a grid.

    Shapes: vertices [v 3], in metres, and faces [f 3] to fewer of both.

    The new vertex is the mean of those it stands for, and so no point of the surface
    moves by more than the diagonal of a cell. A face that becomes a line is dropped.

    Source: Rossignac and Borrel 1993, "Multi-resolution 3D approximations for rendering
    complex scenes", with a mean in the place of a weight.

    Args:
        vertices: of the mesh.
        faces: indices of three vertices each.
        cell_m: length of the side of a cell.
    """
    cells = np.floor(vertices / cell_m).astype(np.int64)
    cells -= cells.min(axis=0)
    _, height, depth = cells.max(axis=0) + 1
    keys = (cells[:, 0] * height + cells[:, 1]) * depth + cells[:, 2]
    _, joined = np.unique(keys, return_inverse=True)
    count = np.bincount(joined)
    means = [np.bincount(joined, vertices[:, axis]) / count for axis in range(3)]
    new = joined[faces]
    is_face = (np.diff(np.sort(new, axis=1), axis=1) != 0).all(axis=1)
    new = new[is_face]
    _, first = np.unique(np.sort(new, axis=1), axis=0, return_index=True)
    return np.stack(means, 1).astype(np.float32), new[np.sort(first)].astype(np.int32)
