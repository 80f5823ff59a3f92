"""The real networks, on photographs: what they must find, at any size and turn."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFont

from edge.errors import DetectorError
from edge.redact import boxes, pages, text_detector, weights
from edge.redact.boxes import Boxes
from edge.redact.face_detector import FaceDetector
from edge.redact.picture import Pixels
from edge.redact.text_detector import TextDetector
from edge.testing.photographs import HEAD, find_photograph, show_head


@pytest.fixture(scope="module")
def faces() -> FaceDetector:
    return FaceDetector()


@pytest.fixture(scope="module")
def lines() -> TextDetector:
    return TextDetector()


def look(faces: FaceDetector, pixels: Pixels, turns: Sequence[int] = (0,)) -> Boxes:
    looks = [(turn, size) for turn in turns for size in (1.5, 1.0, 0.5)]
    return np.concatenate([*faces.find(pixels, looks).values()])


def surely(found: Boxes) -> Boxes:
    return found[found[:, 4] >= 0.4]


def has(found: Boxes, x: float, y: float) -> bool:
    """Whether a box that is sure holds a point."""
    return any(
        left < x < right and top < y < bottom
        for left, top, right, bottom, _ in surely(found)
    )


@pytest.mark.parametrize("subject", range(1, 41))
def test_each_face_of_forty_people_is_found(faces: FaceDetector, subject: int) -> None:
    found = look(faces, show_head(subject))
    assert has(found, HEAD[0] + 46, HEAD[1] + 60)


@pytest.mark.parametrize("turns", [0, 1, 2, 3])
def test_face_is_found_however_the_camera_is_mounted(
    faces: FaceDetector, turns: int
) -> None:
    turned = np.rot90(show_head(7), turns)
    x, y = HEAD[0] + 46, HEAD[1] + 60
    where = [(x, y), (y, 320 - x), (320 - x, 240 - y), (240 - y, x)][turns]
    assert has(look(faces, turned, [turns and 4 - turns]), *where)


@pytest.mark.parametrize("size", [(64, 48), (160, 120), (640, 480), (1600, 1200)])
def test_face_is_found_in_a_picture_of_any_size(
    faces: FaceDetector, size: tuple[int, int]
) -> None:
    scaled = np.asarray(Image.fromarray(show_head(3)).resize(size))
    factor = size[0] / 320
    found = look(faces, scaled)
    assert has(found, factor * (HEAD[0] + 46), factor * (HEAD[1] + 60))


@pytest.mark.parametrize("size", [(1, 1), (3, 900), (900, 3), (33, 31)])
def test_picture_of_an_odd_size_is_looked_at(
    faces: FaceDetector, lines: TextDetector, size: tuple[int, int]
) -> None:
    pixels = np.full((size[1], size[0], 3), 127, np.uint8)
    assert not len(surely(look(faces, pixels, range(4))))
    assert not len(surely(lines.find(pixels)))


def write(text: str, height: int, at: tuple[int, int] = (60, 60)) -> Pixels:
    canvas = Image.open(find_photograph("motorcycle_left.png"))
    image = canvas.convert("RGB").resize((320, 240))
    draw = ImageDraw.Draw(image)
    font = ImageFont.load_default(height)
    width = draw.textlength(text, font)
    plate = (*at, at[0] + width + height * 0.6, at[1] + height * 1.5)
    draw.rectangle(plate, (250, 250, 250), (0, 0, 0))
    draw.text((at[0] + height * 0.3, at[1] + height * 0.15), text, (0, 0, 0), font)
    return np.asarray(image)


@pytest.mark.parametrize("height", [8, 12, 16, 24])
def test_plate_is_found_whose_letters_are_eight_pixels_high(
    lines: TextDetector, height: int
) -> None:
    found = lines.find(write("HB AB 1234", height))
    assert has(found, 60 + 2.5 * height, 60 + 0.75 * height)


def test_photograph_without_text_has_none(lines: TextDetector) -> None:
    for name in ("coffee.png", "chelsea.png", "brick.png", "motorcycle_left.png"):
        image = Image.open(find_photograph(name)).convert("RGB")
        image.thumbnail((320, 320))
        assert not len(surely(lines.find(np.asarray(image)))), name


def test_page_is_one_box_and_a_plate_is_none(lines: TextDetector) -> None:
    image = Image.open(find_photograph("page.png")).convert("RGB")
    found = lines.find(np.asarray(image))
    (page,) = pages.find_pages(found)
    assert page[0] < 30 and page[2] > 350
    assert page[1] < 15 and page[3] > 170
    assert not len(pages.find_pages(lines.find(write("HB AB 1234", 16))))


def test_cells_of_a_map_become_lines_that_are_larger_than_they() -> None:
    middle = np.zeros((32, 64), np.float32)
    middle[8:12, 8:40] = 0.9
    middle[20:24, 48:60] = 0.5
    first, second = text_detector.find_lines(middle)
    assert first[4] == np.float32(0.9) and second[4] == np.float32(0.5)
    assert first[0] < 8 and first[1] < 8 and first[2] > 40 and first[3] > 12
    assert text_detector.find_lines(np.zeros((32, 32), np.float32)).shape == (0, 5)


@pytest.mark.parametrize("turns", range(4))
def test_box_of_a_turned_picture_is_where_it_was(turns: int) -> None:
    picture = np.zeros((40, 70), np.uint8)
    picture[5:15, 20:50] = 1
    rows, columns = np.nonzero(np.rot90(picture, turns))
    corners = (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1)
    turned = np.array([[*corners, 0.5]], np.float32)
    (back,) = boxes.turn_back(turned, turns, 70, 40)
    assert back.tolist() == [20, 5, 50, 15, 0.5]


def test_other_weights_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = tmp_path / "unknown_package"
    (package / "models").mkdir(parents=True)
    monkeypatch.syspath_prepend(str(tmp_path))
    one = weights.Weights("centerface", "1.5.0", "unknown_package", "a.onnx", "ab" * 32)
    with pytest.raises(DetectorError, match=r"its weights in .*a\.onnx"):
        weights.read(one)
    (package / "a.onnx").write_bytes(b"other weights")
    with pytest.raises(DetectorError, match="sha256 abab"):
        weights.read(one)
    absent = weights.Weights("centerface", "1", "no_such_package", "a.onnx", "ab" * 32)
    with pytest.raises(DetectorError, match="the package no_such_package"):
        weights.read(absent)
