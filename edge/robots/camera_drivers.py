"""The cameras that `--camera` names: of a desk, of a Raspberry Pi, and a made-up one.

    /dev/video0     V4L2, through OpenCV
    picamera2       the first camera of a Raspberry Pi; picamera2:1 for the second
    simulated       a square that wanders before a wall, with noise

OpenCV and picamera2 are imported when such a camera is named, and not before. Neither
comes with this repository: the first has a lock of its own, the second is a package of
the Pi's system. Both are found where a robot of somebody else's is
(`docs/your-robot.md`).
"""

import importlib
import io
import os
import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from types import ModuleType
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from edge.errors import CameraError
from edge.robots import outside
from edge.robots.camera import PictureSource
from edge.robots.clock import NS_PER_S
from edge.robots.robot import Camera

Pixels = npt.NDArray[np.uint8]

EXAMPLE: Final = "front=/dev/video0,640x480,30"
HELP: Final = (
    "NAME=SOURCE, with SOURCE /dev/videoN (V4L2), picamera2 or simulated; behind it,"
    " if need be, ,WIDTHxHEIGHT and ,PICTURES_PER_SECOND (default: 320x240, 20), such"
    f" as {EXAMPLE}"
)
QUALITY: Final = 90
"""Of the JPEG. The masks of a picture are encoded in the same one."""
_DEFAULT: Final = (320, 240, 20.0)
_V4L2: Final = re.compile(r"/dev/\S+")
_PI: Final = re.compile(r"picamera2(?::([0-9]))?")
_SIMULATED: Final = "simulated"
_SIZE: Final = re.compile(r"([0-9]{1,5})x([0-9]{1,5})")
_RATE: Final = re.compile(r"[0-9]{1,3}(\.[0-9]{1,3})?")


@dataclass(frozen=True)
class NamedCamera:
    """A camera that somebody named.

    Attributes:
        camera: what it is.
        make: makes its source; what it imports is there.
    """

    camera: Camera
    make: Callable[[], PictureSource]


def parse(text: str) -> NamedCamera:
    """Reads what `--camera` says, and imports what the camera needs.

    Raises:
        CameraError: it has another form, or what it needs is not installed.
    """
    camera, source = read(text)
    if source == _SIMULATED:
        return NamedCamera(camera, lambda: SimulatedCamera(camera))
    if matched := _PI.fullmatch(source):
        number, library = int(matched[1] or 0), _load("picamera2", "apt's package")
        return NamedCamera(camera, lambda: PiCamera(camera, number, library))
    opencv = _load("cv2", "opencv-python-headless")
    return NamedCamera(camera, lambda: V4l2Camera(camera, source, opencv))


def read(text: str) -> tuple[Camera, str]:
    """Reads what `--camera` says: the camera, and its source. Nothing is imported.

    Raises:
        CameraError: it has another form.
    """
    name, equals, rest = text.partition("=")
    source, *more = rest.split(",")
    width, height, hz = _DEFAULT
    for part in more:
        if matched := _SIZE.fullmatch(part):
            width, height = int(matched[1]), int(matched[2])
        elif _RATE.fullmatch(part):
            hz = float(part)
        else:
            raise _wrong(HELP, f"{part!r} in {text!r}")
    if not equals or not source:
        raise _wrong(HELP, repr(text))
    try:
        camera = Camera(name, width, height, hz)
    except ValueError as e:
        raise _wrong("a camera that can be", str(e)) from e
    if source == _SIMULATED or _PI.fullmatch(source) or _V4L2.fullmatch(source):
        return camera, source
    raise _wrong(HELP, f"the source {source!r} in {text!r}")


class V4l2Camera:
    """A camera of Linux (USB, or what has a driver), read by OpenCV."""

    def __init__(self, camera: Camera, path: str, opencv: ModuleType) -> None:
        """Opens nothing yet.

        Args:
            camera: its pictures are scaled to that size if it has no such one.
            path: of its device.
            opencv: the module `cv2`.
        """
        self._camera = camera
        self._path = path
        self._opencv: Any = opencv
        self._capture: Any = None

    def open(self) -> None:
        """See `PictureSource.open`."""
        cv2, camera = self._opencv, self._camera
        capture = cv2.VideoCapture(self._path, cv2.CAP_V4L2)
        if not capture.isOpened():
            capture.release()
            raise CameraError(
                self._path,
                "a camera",
                "none that opens",
                "look at its cable, at `ls -l /dev/video*`, and who else uses it",
            )
        # Most cameras send few raw pictures through USB, and many of these.
        capture.set(cv2.CAP_PROP_FOURCC, cv2.VideoWriter.fourcc(*"MJPG"))
        capture.set(cv2.CAP_PROP_FRAME_WIDTH, camera.width)
        capture.set(cv2.CAP_PROP_FRAME_HEIGHT, camera.height)
        capture.set(cv2.CAP_PROP_FPS, camera.hz)
        capture.set(cv2.CAP_PROP_BUFFERSIZE, 1)
        self._capture = capture

    def take(self) -> tuple[bytes, int]:
        """See `PictureSource.take`."""
        cv2, camera = self._opencv, self._camera
        good, pixels = self._capture.read()
        if not good:
            raise CameraError(self._path, "a picture", "none", "look at its cable")
        if pixels.shape[:2] != (camera.height, camera.width):
            size = (camera.width, camera.height)
            pixels = cv2.resize(pixels, size, interpolation=cv2.INTER_AREA)
        good, raw = cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, QUALITY])
        if not good:
            raise CameraError(self._path, "a picture", "one that cannot be encoded")
        return raw.tobytes(), 0

    def close(self) -> None:
        """See `PictureSource.close`."""
        if self._capture is not None:
            self._capture.release()
            self._capture = None


class PiCamera:
    """A camera at the ribbon cable of a Raspberry Pi, read by picamera2."""

    def __init__(self, camera: Camera, number: int, picamera2: ModuleType) -> None:
        """Opens nothing yet.

        Args:
            camera: its sensor is scaled to that size by the Pi.
            number: which one, from 0.
            picamera2: the module.
        """
        self._camera = camera
        self._number = number
        self._library: Any = picamera2
        self._open: Any = None

    def open(self) -> None:
        """See `PictureSource.open`."""
        camera = self._camera
        opened = self._library.Picamera2(self._number)
        try:
            wanted = opened.create_video_configuration(
                # In memory this is red, green, blue.
                main={"size": (camera.width, camera.height), "format": "BGR888"},
                controls={"FrameRate": camera.hz},
                # The newest picture, not the one that waited longest.
                queue=False,
            )
            opened.configure(wanted)
            opened.start()
        except BaseException:
            opened.close()
            raise
        self._open = opened

    def take(self) -> tuple[bytes, int]:
        """See `PictureSource.take`; the age is that of its exposure."""
        request = self._open.capture_request()
        try:
            pixels = np.array(request.make_array("main"))
            taken_ns = request.get_metadata().get("SensorTimestamp")
        finally:
            request.release()
        age_ns = 0
        if taken_ns is not None:  # since the machine was started
            age_ns = max(0, time.clock_gettime_ns(time.CLOCK_BOOTTIME) - taken_ns)
        return encode(pixels), age_ns

    def close(self) -> None:
        """See `PictureSource.close`."""
        if self._open is not None:
            opened, self._open = self._open, None
            opened.stop()
            opened.close()


class SimulatedCamera:
    """A camera that does not exist, at the rate of one that does."""

    def __init__(self, camera: Camera) -> None:
        """Draws its wall; see `HELP`."""
        self._camera = camera
        size = camera.height, camera.width
        self._random = np.random.default_rng(size)
        across = np.linspace(60, 200, camera.width, dtype=np.float32)
        down = np.linspace(0, 40, camera.height, dtype=np.float32)
        self._wall = np.stack([across + 0 * down[:, None]] * 3, axis=2)
        self._wall[:, :, 1] -= down[:, None]
        self._due_ns = 0
        self._number = 0

    def open(self) -> None:
        """See `PictureSource.open`."""
        self._due_ns = time.monotonic_ns()

    def take(self) -> tuple[bytes, int]:
        """See `PictureSource.take`."""
        time.sleep(max(0, self._due_ns - time.monotonic_ns()) / NS_PER_S)
        self._due_ns += self._camera.period_ns
        pixels = self._wall + self._random.normal(0, 3, (*self._wall.shape[:2], 1))
        side = max(2, self._camera.height // 5)
        left = 3 * self._number % max(1, self._camera.width - side)
        top = 2 * self._number % max(1, self._camera.height - side)
        pixels[top : top + side, left : left + side] = (200, 40, 30)
        self._number += 1
        return encode(np.clip(pixels, 0, 255).astype(np.uint8)), 0

    def close(self) -> None:
        """See `PictureSource.close`."""


def encode(pixels: Pixels) -> bytes:
    """Returns the JPEG of pixels [h w 3], red, green and blue."""
    # What masks pictures brings it; a robot without a camera does not load it.
    from PIL import Image

    raw = io.BytesIO()
    Image.fromarray(pixels).save(raw, "JPEG", quality=QUALITY)
    return raw.getvalue()


def _load(module: str, package: str) -> ModuleType:
    outside.look_outside()
    # It warns on stderr each time when a camera is not there; that is told of here.
    os.environ.setdefault("OPENCV_LOG_LEVEL", "ERROR")
    try:
        return importlib.import_module(module)
    except ImportError as e:
        raise CameraError(
            "--camera",
            f"{module} ({package}) on PYTHONPATH",
            str(e),
            "install it as docs/your-robot.md says",
        ) from e


def _wrong(expected: str, got: str) -> CameraError:
    return CameraError("--camera", expected, got)
