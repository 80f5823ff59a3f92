"""Pictures show where things are and what is lit; meshes shrink; pictures are JPEG."""

import importlib
import io
from typing import Any

import numpy as np
import pytest
from PIL import Image

from edge.robots import mujoco_camera
from edge.robots.mujoco_camera import MujocoCamera

mujoco: Any = importlib.import_module("mujoco")

SCENE = """
<mujoco>
  <worldbody>
    <light pos="0 0 3"/>
    <camera name="above" pos="0 0 2" fovy="45"/>
    <camera name="ahead" pos="0 -2 .8" xyaxes="1 0 0 0 .2 1" fovy="45"/>
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


def draw(x: float, height_m: float = 0.2, camera: str = "above") -> np.ndarray:
    """The scene with its red box at `x` and a height, [48 64 3]."""
    model = mujoco.MjModel.from_xml_string(SCENE)
    data = mujoco.MjData(model)
    data.mocap_pos[0] = (x, 0.0, height_m)
    mujoco.mj_forward(model, data)
    return MujocoCamera(model, camera, 48, 64).draw(data)


def is_red(pixels: np.ndarray) -> np.ndarray:
    return np.asarray(pixels[..., 0] > pixels[..., 2])


@pytest.mark.parametrize(("x", "column"), [(-0.4, 19.5), (0.0, 31.5), (0.4, 43.5)])
def test_thing_is_where_it_was_put(x: float, column: float) -> None:
    pixels = draw(x)
    assert pixels.shape == (48, 64, 3)
    assert pixels.dtype == np.uint8
    rows, columns = np.argwhere(is_red(pixels)).mean(axis=0)
    # 24 pixels are half of the height, and 2 m below the camera that is 0.83 m; the
    # box's top is 1.6 m below it.
    assert columns == pytest.approx(31.5 + x / 1.6 * 24 / np.tan(np.pi / 8), abs=1.5)
    assert column - 3 < columns < column + 3
    assert rows == pytest.approx(23.5, abs=0.5)


def test_picture_has_its_top_at_the_top() -> None:
    pixels = draw(0.0, 0.2, "ahead")
    assert (pixels[0] == pixels[0, 0]).all(), "the sky"
    assert not np.array_equal(pixels[-1, 0], pixels[0, 0]), "the floor"
    low, high = (
        np.argwhere(is_red(draw(0.0, height_m, "ahead")))[:, 0].mean()
        for height_m in (0.2, 0.6)
    )
    assert high < low - 5


def test_thing_throws_a_shadow_that_leaves_it_when_it_rises() -> None:
    bare, low, high = draw(9.0), draw(0.0, 0.2), draw(0.0, 0.6)
    darker = [bare.sum(axis=2) > 1.3 * p.sum(axis=2) for p in (low, high)]
    shadows = [d & ~is_red(p) for d, p in zip(darker, (low, high), strict=True)]
    assert all(s.sum() > 20 for s in shadows)
    middles = [np.argwhere(s).mean(axis=0) for s in shadows]
    # The lamp stands to the right and in front: the shadow goes left and up.
    assert middles[1][0] < middles[0][0] - 1


def test_colours_mix_at_an_edge_and_nowhere_else() -> None:
    pixels = draw(0.0).astype(np.int64)
    row = pixels[24]
    inside = is_red(pixels)[24]
    mixed = (row[:, 0] > 25) & (row[:, 2] > 25) & inside
    assert mixed.sum() <= 2


def test_same_scene_gives_the_same_picture_to_the_bit() -> None:
    first, again = draw(0.1), draw(0.1)
    np.testing.assert_array_equal(first, again)
    assert mujoco_camera.encode(first) == mujoco_camera.encode(again)


def test_picture_is_a_jpeg_of_its_size_that_keeps_colours_of_single_pixels() -> None:
    pixels = np.zeros((48, 64, 3), np.uint8)
    pixels[20:24, 30:34] = (160, 80, 160)
    with Image.open(io.BytesIO(mujoco_camera.encode(pixels))) as image:
        assert (image.format, image.size) == ("JPEG", (64, 48))
        seen = np.asarray(image.convert("RGB"), np.int64)
    assert np.abs(seen - pixels).max() < 40
    assert np.abs(seen - pixels).mean() < 1.0


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
