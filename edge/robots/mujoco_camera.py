"""Pictures of a scene in MuJoCo, drawn without a screen; encoded as JPEG.

OpenGL comes from EGL where there is a device for it, which may be a graphics card or a
processor, else from OSMesa. `MUJOCO_GL` (egl, osmesa, glfw) names another; MuJoCo reads
it too. One process draws with one of them. Which one it is, is said once, in one line.

A processor draws every triangle, so that a picture of 64x64 of parts that were made for
a printer takes as long as one of a screen. `simplify` makes such parts small.
"""

import contextlib
import ctypes
import importlib
import io
import os
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from base import command_line
from edge.errors import RobotUnavailableError
from edge.robots import simulator

Pixels = npt.NDArray[np.uint8]
"""[height width 3], red, green and blue."""
Mujoco = Any
"""An object of MuJoCo or OpenGL, which have no types where they are not installed."""

QUALITY: Final = 95
"""Of a JPEG. A thing of four pixels keeps its colour: they are not halved either."""
_EGL, _OSMESA, _GLFW = "egl", "osmesa", "glfw"
_CHOICE: Final = "MUJOCO_GL"
_MOST_SHAPES: Final = 1000
_SMOOTHING: Final = 2
"""A pixel is the mean of as many in each direction. On a processor that takes two
thirds of the time in which OpenGL takes four samples of a pixel."""
_said: set[str] = set()


class MujocoCamera:
    """One camera of a model, which draws any state of it."""

    def __init__(self, model: Mujoco, camera: str, height: int, width: int) -> None:
        """Opens what draws.

        Args:
            model: the `mujoco.MjModel` to draw.
            camera: name of one of its cameras.
            height: of a picture, in pixels.
            width: of a picture, in pixels.

        Raises:
            RobotUnavailableError: nothing here draws.
        """
        self._mujoco: Mujoco = simulator.load("mujoco", "with a camera", "mujoco")
        self._model = model
        drawn = (_SMOOTHING * height, _SMOOTHING * width)
        model.vis.global_.offheight, model.vis.global_.offwidth = drawn
        model.vis.quality.offsamples = 0
        self._gl = _open_gl(*drawn)
        self._gl.make_current()
        mujoco = self._mujoco
        self._context = mujoco.MjrContext(model, mujoco.mjtFontScale.mjFONTSCALE_100)
        mujoco.mjr_setBuffer(mujoco.mjtFramebuffer.mjFB_OFFSCREEN, self._context)
        self._scene = mujoco.MjvScene(model, maxgeom=_MOST_SHAPES)
        self._options = mujoco.MjvOption()
        self._camera = mujoco.MjvCamera()
        self._camera.type = mujoco.mjtCamera.mjCAMERA_FIXED
        self._camera.fixedcamid = model.camera(camera).id
        self._place = mujoco.MjrRect(0, 0, drawn[1], drawn[0])
        self._drawn: Pixels = np.zeros((*drawn, 3), np.uint8)

    def draw(self, data: Mujoco) -> Pixels:
        """Draws a state, a `mujoco.MjData` of the model whose places are computed."""
        mujoco = self._mujoco
        self._gl.make_current()
        mujoco.mjv_updateScene(
            self._model,
            data,
            self._options,
            None,
            self._camera,
            mujoco.mjtCatBit.mjCAT_ALL,
            self._scene,
        )
        mujoco.mjr_render(self._place, self._scene, self._context)
        mujoco.mjr_readPixels(self._drawn, None, self._place, self._context)
        upright = self._drawn[::-1]  # OpenGL begins at the bottom
        height, width, colours = upright.shape
        parts = (height // _SMOOTHING, _SMOOTHING, width // _SMOOTHING, _SMOOTHING)
        smooth: Pixels = np.rint(
            upright.reshape(*parts, colours).mean(axis=(1, 3), dtype=np.float32)
        ).astype(np.uint8)
        return smooth

    def close(self) -> None:
        """Frees what draws; twice does no harm."""
        if self._gl is not None:
            self._gl.make_current()
            self._context.free()
            self._gl.free()
            self._gl = None


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


def choose() -> str:
    """Names the OpenGL that draws here: egl, osmesa or glfw."""
    wanted = os.environ.get(_CHOICE, "").strip().lower()
    if wanted in (_EGL, _OSMESA, _GLFW):
        return wanted
    return _EGL if _has_egl_device() else _OSMESA


def _open_gl(height: int, width: int) -> Mujoco:
    wanted = choose()
    try:
        context = importlib.import_module(f"mujoco.{wanted}").GLContext(width, height)
    # It raises what the library below raises: of a dozen types.
    except Exception as e:
        raise RobotUnavailableError(
            "a robot with a camera",
            f"OpenGL of {wanted.upper()}, which draws its pictures",
            " ".join(str(e).split())[:200] or type(e).__name__,
            "install libegl1 and libgl1-mesa-dri, or libosmesa6, or name another:"
            f" {_CHOICE}=egl, osmesa or glfw",
        ) from e
    _say_which(context, wanted)
    return context


def _has_egl_device() -> bool:
    """Whether EGL is installed and has anything that draws."""
    try:
        egl = ctypes.CDLL("libEGL.so.1")
        egl.eglGetProcAddress.restype = ctypes.c_void_p
        address = egl.eglGetProcAddress(b"eglQueryDevicesEXT")
    except (OSError, AttributeError):
        return False
    if not address:
        return False
    query = ctypes.CFUNCTYPE(
        ctypes.c_uint, ctypes.c_int, ctypes.c_void_p, ctypes.POINTER(ctypes.c_int)
    )(address)
    count = ctypes.c_int(0)
    return bool(query(0, None, ctypes.byref(count))) and count.value > 0


def _say_which(context: Mujoco, kind: str) -> None:
    context.make_current()
    device = ""
    with contextlib.suppress(Exception):  # a name is worth no picture
        gl = importlib.import_module("OpenGL.GL")
        device = f" ({gl.glGetString(gl.GL_RENDERER).decode()})"
    text = f"pictures are drawn by {kind.upper()}{device}; {_CHOICE} chooses another"
    if text not in _said:
        _said.add(text)
        command_line.say(text)
