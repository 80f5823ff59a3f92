"""What a check says of cameras that see, and of those that do not."""

import dataclasses
from collections.abc import Callable

import numpy as np
import pytest

from edge.camera_checks import check_cameras
from edge.check_result import Result
from edge.robots.robot import Camera, Observation, Picture
from edge.robots.simulated_point import SPEC
from edge.testing.pictures import encode

MS = 1_000_000
REAL = dataclasses.replace(
    SPEC, simulated=False, cameras=(Camera("front", 32, 24, 10.0),)
)
GOOD = [encode(32, 24, shade) for shade in range(0, 250, 5)]


def look(picture: Callable[[int], Picture | None]) -> list[Observation]:
    """What is seen in 2 s at 20 Hz."""
    found = []
    for number in range(40):
        seen = picture(number)
        pictures = {} if seen is None else {"front": seen}
        at_ns = number * 50 * MS
        found.append(Observation(np.zeros(2, np.float32), at_ns, pictures=pictures))
    return found


def take(number: int, every: int) -> Picture:
    which = number - number % every
    return Picture(GOOD[which], which * 50 * MS)


@pytest.mark.parametrize(
    ("picture", "result", "text"),
    [
        (lambda n: take(n, 2), Result.PASSED, "9.7 pictures/s of 10, 32 x 24"),
        (lambda n: None, Result.FAILED, "no picture"),
        (lambda n: take(n, 20), Result.FAILED, "0.5 pictures/s of 10"),
        (lambda n: Picture(GOOD[0], n * 50 * MS), Result.FAILED, "the same picture"),
        (
            lambda n: Picture(encode(32, 32), n * 50 * MS),
            Result.FAILED,
            "expected 32 x 24 pixels, got 32 x 32",
        ),
    ],
)
def test_camera_is_judged_by_what_it_sent(
    picture: Callable[[int], Picture | None], result: Result, text: str
) -> None:
    (check,) = check_cameras(REAL, look(picture))
    assert (check.name, check.result) == ("camera front", result)
    assert text in check.found
    assert (check.remedy != "") is (result is not Result.PASSED)


def test_simulated_camera_needs_no_rate_and_no_noise() -> None:
    simulated = dataclasses.replace(REAL, simulated=True)
    seen = look(lambda n: Picture(GOOD[0], 0))
    (check,) = check_cameras(simulated, seen)
    assert check.result is Result.PASSED
