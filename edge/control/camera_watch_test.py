"""A camera that does not see is noticed once, and again when it sees."""

import numpy as np
import pytest

from edge.control.camera_watch import CameraWatch
from edge.robots.robot import Camera, Observation, Picture

FRONT, WRIST = Camera("front", 32, 24, 20.0), Camera("wrist", 32, 24, 2.0)
MS = 1_000_000


def observe(at_ms: int, **pictures: tuple[int, bytes]) -> Observation:
    """An observation, and of each camera when it took its picture."""
    return Observation(
        np.zeros(1, np.float32),
        at_ms * MS,
        pictures={
            name: Picture(jpeg, taken_ms * MS)
            for name, (taken_ms, jpeg) in pictures.items()
        },
    )


def test_cameras_that_see_at_their_own_rates_are_no_news() -> None:
    watch = CameraWatch((FRONT, WRIST), has_noise=True)
    for at in range(0, 20_000, 50):
        late = at - at % 500
        seen = observe(at, front=(at, b"%d" % at), wrist=(late, b"%d" % late))
        assert watch.notice(seen) == ()
    assert not watch.has_stood
    assert watch.describe() == ""


@pytest.mark.parametrize("has_noise", [True, False])
def test_camera_that_vanishes_is_told_of_once_and_when_it_is_back(
    has_noise: bool,
) -> None:
    watch = CameraWatch((FRONT,), has_noise=has_noise)
    told: list[tuple[int, str]] = []
    for at in range(0, 6000, 50):
        taken = at if at < 1000 or at >= 4000 else 950
        lines = watch.notice(observe(at, front=(taken, b"%d" % taken)))
        told += [(at, line) for line in lines]
        if at == 3000:
            assert watch.describe() == "camera front takes no more pictures"
    assert [at for at, _ in told] == [2000, 4000]
    assert told[0][1].startswith("camera front takes no more pictures: the robot")
    assert told[1][1] == "camera front sees again"
    assert watch.has_stood
    assert watch.describe() == ""


def test_slow_camera_gets_ten_of_its_periods() -> None:
    watch = CameraWatch((WRIST,), has_noise=True)
    lines = [watch.notice(observe(at, wrist=(0, b""))) for at in range(0, 8000, 500)]
    assert [number for number, line in enumerate(lines) if line] == [11]


def test_camera_that_never_took_a_picture_is_told_of() -> None:
    watch = CameraWatch((FRONT, WRIST), has_noise=True)
    lines = [
        watch.notice(observe(at, wrist=(at, b"%d" % at))) for at in range(0, 4000, 250)
    ]
    assert [len(line) for line in lines].index(1) == 4
    assert "camera front has no picture" in lines[4][0]


def test_picture_that_stays_the_same_is_a_frozen_camera_unless_it_is_simulated() -> (
    None
):
    for has_noise in (True, False):
        watch = CameraWatch((FRONT,), has_noise=has_noise)
        told = [
            line
            for at in range(0, 5000, 50)
            for line in watch.notice(observe(at, front=(at, b"same")))
        ]
        assert len(told) == has_noise
        assert watch.has_stood is has_noise
        if has_noise:
            assert told[0].startswith("camera front takes the same picture")
