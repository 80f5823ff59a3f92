"""A camera takes pictures in its own thread, and nobody waits for it."""

import threading
import time
from collections.abc import Callable, Iterator

import pytest

from edge.robots.camera import CameraThread
from edge.robots.clock import SimulatedClock
from edge.robots.robot import Camera, Picture

FRONT = Camera("front", 32, 24, 20.0)
LIMIT_S = 20.0


class Source:
    """A camera that does what a test says, picture after picture."""

    def __init__(self) -> None:
        self.opened = self.closed = 0
        self.next: list[bytes | Exception] = []
        self.more = threading.Semaphore(0)
        self.missing = False

    def send(self, *found: bytes | Exception) -> None:
        self.next += found
        for _ in found:
            self.more.release()

    def open(self) -> None:
        self.opened += 1
        if self.missing:
            raise OSError("no such device")

    def take(self) -> tuple[bytes, int]:
        self.more.acquire()
        found = self.next.pop(0)
        if isinstance(found, Exception):
            raise found
        return found, 5

    def close(self) -> None:
        self.closed += 1


def wait_for(holds: Callable[[], object]) -> None:
    until_s = time.monotonic() + LIMIT_S
    while not holds():
        assert time.monotonic() < until_s
        time.sleep(0.001)


@pytest.fixture
def source() -> Iterator[Source]:
    made = Source()
    yield made
    made.send(OSError("the test is over"))


def start(source: Source, told: list[str]) -> CameraThread:
    clock = SimulatedClock(0)
    clock.advance(1000)
    return CameraThread(FRONT, source, clock, told.append, retry_s=0.01)


def test_newest_picture_stays_until_the_next_one_comes(source: Source) -> None:
    told: list[str] = []
    camera = start(source, told)
    assert camera.newest is None
    assert not camera.wait(0.01)
    source.send(b"one")
    assert camera.wait(LIMIT_S)
    assert camera.newest == Picture(b"one", 995)
    source.send(b"two", b"three")
    wait_for(lambda: camera.newest == Picture(b"three", 995))
    assert (told, camera.trouble) == ([], "")
    source.send(OSError("end"))
    camera.close()


def test_camera_that_fails_is_told_of_once_and_opened_again(source: Source) -> None:
    told: list[str] = []
    camera = start(source, told)
    source.send(b"one", OSError("it was\nunplugged"))
    wait_for(lambda: camera.trouble)
    source.missing = True
    wait_for(lambda: source.opened > 5)
    assert camera.newest == Picture(b"one", 995)
    source.missing = False
    source.send(b"two")
    wait_for(lambda: camera.newest == Picture(b"two", 995))
    assert camera.trouble == ""
    assert [line.partition(";")[0] for line in told] == [
        "camera front: it was unplugged",
        "camera front: no such device",
    ]
    assert source.closed >= 5
    source.send(OSError("end"))
    camera.close()


def test_camera_whose_driver_hangs_does_not_keep_the_robot_from_closing(
    source: Source,
) -> None:
    camera = start(source, [])
    begin_s = time.monotonic()
    camera.close()
    assert time.monotonic() - begin_s < LIMIT_S
