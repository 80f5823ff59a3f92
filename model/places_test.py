"""Places are where colours are, of each camera by itself."""

import numpy as np
import pytest

from model import places

H, W, COLOURS = 24, 32, 16


def draw(row: int, column: int, colour: tuple[int, int, int]) -> np.ndarray:
    """A dull frame u8 [h w 3] with a small bright thing in it."""
    frame = np.full((H, W, 3), 90, np.uint8)
    frame[row - 1 : row + 2, column - 1 : column + 2] = colour
    return frame


def find(frames: np.ndarray, cameras: int = 1) -> np.ndarray:
    return places.find_recorded(frames, COLOURS, cameras)


def test_colour_of_a_thing_is_found_where_the_thing_is() -> None:
    red, spread = (250, 20, 20), np.random.default_rng(0)
    rows, columns = spread.integers(2, H - 2, 40), spread.integers(2, W - 2, 40)
    seen = [draw(r, c, red) for r, c in zip(rows, columns, strict=True)]
    found = find(np.stack(seen)).reshape(40, 2, COLOURS)
    # The direction that knows most is that of red, which is the first axis.
    best = places._directions(COLOURS)[0].argmax()
    for axis, true, size in ((0, rows, H), (1, columns, W)):
        place = (found[:, axis, best] + 1) / 2 * (size - 1)
        np.testing.assert_allclose(place, true, atol=0.5)


def test_places_of_two_things_are_told_by_a_linear_map() -> None:
    random = np.random.default_rng(1)
    where = random.integers(3, H - 3, (300, 4))
    frames = np.stack([draw(r, c, (220, 40, 60)) for r, c in where[:, :2]])
    for frame, (r, c) in zip(frames, where[:, 2:], strict=True):
        frame[r : r + 2, c : c + 2] = 40, 60, 220
    found = np.c_[find(frames), np.ones(300)]
    learned, *_ = np.linalg.lstsq(found[:200], where[:200], rcond=None)
    error = np.abs(found[200:] @ learned - where[200:])
    guessed = np.abs(where[200:] - where[:200].mean(0))
    assert error.mean() < 0.15 * guessed.mean()


def test_camera_without_a_frame_has_zeros_and_changes_no_other() -> None:
    one, dark = draw(5, 9, (250, 20, 20)), np.zeros((H, W, 3), np.uint8)
    alone = find(one[None])
    for parts, other in (((one, dark), 1), ((dark, one), 0)):
        found = find(np.concatenate(parts, axis=1)[None], 2).reshape(2, -1)
        assert not found[other].any()
        np.testing.assert_array_equal(found[1 - other], alone[0])


@pytest.mark.parametrize("count", [0, 1, places.SEEN_AT_ONCE, 70])
def test_many_recorded_frames_are_as_one_at_a_time(count: int) -> None:
    frames = np.random.default_rng(2).integers(0, 256, (count, H, W, 3), np.uint8)
    found = find(frames)
    assert found.shape == (count, places.count(COLOURS, 1))
    assert np.abs(found).max(initial=0) <= 1
    for frame, place in zip(frames, found, strict=True):
        np.testing.assert_array_equal(find(frame[None])[0], place)


def test_brightest_and_darkest_frames_have_finite_places_in_the_middle() -> None:
    for value in (1, 255):
        found = find(np.full((1, H, W, 3), value, np.uint8))
        np.testing.assert_allclose(found, 0, atol=1e-5)
    floats = np.full((1, H, W, 3), 1e9, np.float32)  # are held to 255
    np.testing.assert_allclose(places.find(floats, COLOURS), 0, atol=1e-5)
