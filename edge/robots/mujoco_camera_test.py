"""What draws is chosen and named, meshes shrink to what shows, pictures are JPEG."""

import importlib
import io
from typing import Any

import numpy as np
import pytest
from PIL import Image

from edge.errors import RobotUnavailableError
from edge.robots import mujoco_camera
from edge.robots.mujoco_camera import MujocoCamera

mujoco: Any = importlib.import_module("mujoco")

SCENE = """
<mujoco>
  <worldbody>
    <light pos="0 0 3"/>
    <camera name="above" pos="0 0 2" fovy="45"/>
    <geom type="plane" size="2 2 .1" rgba="0 0 1 1"/>
    <body name="red" mocap="true">
      <geom type="box" size=".2 .2 .2" rgba="1 0 0 1"/>
    </body>
  </worldbody>
</mujoco>
"""


def sphere(rows: int) -> tuple[np.ndarray, np.ndarray]:
    """A sphere of 10 cm radius, [v 3] and [f 3]."""
    down, around = np.meshgrid(
        np.linspace(0, np.pi, rows), np.linspace(0, 2 * np.pi, rows), indexing="ij"
    )
    flat = [np.sin(down) * np.cos(around), np.sin(down) * np.sin(around), np.cos(down)]
    corner = np.arange(rows * rows).reshape(rows, rows)
    a, b, c, d = corner[:-1, :-1], corner[:-1, 1:], corner[1:, :-1], corner[1:, 1:]
    faces = np.concatenate(
        [np.stack(x, -1).reshape(-1, 3) for x in ((a, c, b), (b, c, d))]
    )
    return 0.1 * np.stack(flat, -1).reshape(-1, 3), faces


def draw(x: float) -> tuple[np.ndarray, MujocoCamera]:
    """The scene with its red box at `x`, which the camera looks down on."""
    model = mujoco.MjModel.from_xml_string(SCENE)
    data = mujoco.MjData(model)
    data.mocap_pos[0] = (x, 0.0, 0.2)
    mujoco.mj_forward(model, data)
    camera = MujocoCamera(model, "above", 48, 64)
    return camera.draw(data), camera


def test_picture_shows_where_things_are_and_the_way_up_is_up(
    capsys: pytest.CaptureFixture[str],
) -> None:
    mujoco_camera._said.clear()
    (left, one), (right, other) = draw(-0.4), draw(0.4)
    assert left.shape == right.shape == (48, 64, 3)
    assert left.dtype == np.uint8
    columns = [np.argwhere(p[..., 0] > p[..., 2])[:, 1].mean() for p in (left, right)]
    assert columns[0] < 24 < 40 < columns[1]
    said = capsys.readouterr().out
    assert said.count("\n") == 1, "said once, for both"
    assert said.startswith("pictures are drawn by ")
    assert said.endswith("; MUJOCO_GL chooses another\n")
    for camera in (one, other):
        camera.close()
        camera.close()


def test_same_scene_gives_the_same_picture_to_the_bit() -> None:
    (first, one), (again, other) = draw(0.1), draw(0.1)
    np.testing.assert_array_equal(first, again)
    assert mujoco_camera.encode(first) == mujoco_camera.encode(again)
    one.close()
    other.close()


def test_picture_is_a_jpeg_of_its_size_that_keeps_colours_of_single_pixels() -> None:
    pixels = np.zeros((48, 64, 3), np.uint8)
    pixels[20:24, 30:34] = (160, 80, 160)
    with Image.open(io.BytesIO(mujoco_camera.encode(pixels))) as image:
        assert (image.format, image.size) == ("JPEG", (64, 48))
        seen = np.asarray(image.convert("RGB"), np.int64)
    assert np.abs(seen - pixels).max() < 40
    assert np.abs(seen - pixels).mean() < 1.0


def test_what_cannot_draw_is_named_with_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("MUJOCO_GL", "glfw")

    def refuse(name: str) -> None:
        raise ImportError(f"no library of {name}")

    monkeypatch.setattr(importlib, "import_module", refuse)
    with pytest.raises(RobotUnavailableError) as e:
        mujoco_camera._open_gl(8, 8)
    assert str(e.value) == (
        "a robot with a camera: expected OpenGL of GLFW, which draws its pictures, got"
        " no library of mujoco.glfw; install libegl1 and libgl1-mesa-dri, or"
        " libosmesa6, or name another: MUJOCO_GL=egl, osmesa or glfw"
    )


@pytest.mark.parametrize(
    ("device", "variable", "expected"),
    [
        (True, "", "egl"),
        (False, "", "osmesa"),
        (True, " OSMesa ", "osmesa"),
        (False, "egl", "egl"),
        (True, "glfw", "glfw"),
    ],
)
def test_egl_is_chosen_where_it_has_a_device_unless_another_is_named(
    monkeypatch: pytest.MonkeyPatch, device: bool, variable: str, expected: str
) -> None:
    monkeypatch.setattr(mujoco_camera, "_has_egl_device", lambda: device)
    monkeypatch.setenv("MUJOCO_GL", variable)
    assert mujoco_camera.choose() == expected


def test_simplified_mesh_has_few_faces_near_the_surface_of_the_old_one() -> None:
    vertices, faces = sphere(120)
    cell_m = 0.02
    few, new = mujoco_camera.simplify(vertices, faces, cell_m)
    assert 50 < len(new) < len(faces) / 10
    assert np.abs(np.linalg.norm(few, axis=1) - 0.1).max() < cell_m * np.sqrt(3)
    assert (new[:, 0] != new[:, 1]).all()
    assert set(new.ravel()) <= set(range(len(few)))
    corners = few[new]
    outward = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    inside = (outward * corners.mean(axis=1)).sum(axis=1) < 0
    assert inside.mean() in (0.0, 1.0) or min(inside.mean(), 1 - inside.mean()) < 0.02
