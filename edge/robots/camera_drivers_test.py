"""What `--camera` says, and the drivers before libraries that are not here."""

import io
import sys
import time
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from edge.errors import CameraError
from edge.robots import camera_drivers
from edge.robots.robot import Camera
from rlds.jpeg_segments import Frame, read_frame

FRONT = Frame(32, 24, 3)


class Capture:
    """OpenCV's capture of a camera that has one size only."""

    def __init__(self, path: str, backend: int) -> None:
        self.path, self.backend = path, backend
        self.settings: dict[int, float] = {}
        self.left = 2 if path == "/dev/video0" else 0
        self.released = False

    def isOpened(self) -> bool:  # noqa: N802 - OpenCV's name
        return self.path == "/dev/video0"

    def set(self, which: int, value: float) -> bool:
        self.settings[which] = value
        return True

    def read(self) -> tuple[bool, npt.NDArray[np.uint8] | None]:
        self.left -= 1
        if self.left < 0:
            return False, None
        pixels = np.zeros((48, 64, 3), np.uint8)
        pixels[:, :, 0] = 200  # blue
        return True, pixels

    def release(self) -> None:
        self.released = True


def encode(
    suffix: str, pixels: npt.NDArray[np.uint8], how: list[int]
) -> tuple[bool, npt.NDArray[np.uint8]]:
    assert (suffix, how) == (".jpg", [1, camera_drivers.QUALITY])
    raw = camera_drivers.encode(pixels[:, :, ::-1])
    return True, np.frombuffer(raw, np.uint8)


def shrink(
    pixels: npt.NDArray[np.uint8], size: tuple[int, int], interpolation: int
) -> npt.NDArray[np.uint8]:
    del interpolation
    return np.asarray(Image.fromarray(pixels).resize(size))


@pytest.fixture
def opencv(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    module = ModuleType("cv2")
    made: Any = module
    for number, name in enumerate(
        ("FOURCC", "FRAME_WIDTH", "FRAME_HEIGHT", "FPS", "BUFFERSIZE"), 10
    ):
        setattr(made, f"CAP_PROP_{name}", number)
    made.CAP_V4L2, made.IMWRITE_JPEG_QUALITY, made.INTER_AREA = 200, 1, 3
    made.VideoWriter = SimpleNamespace(fourcc=lambda *letters: "".join(letters))
    made.captures = []

    def capture(path: str, backend: int) -> Capture:
        opened = Capture(path, backend)
        made.captures.append(opened)
        return opened

    made.VideoCapture, made.imencode, made.resize = capture, encode, shrink
    monkeypatch.setitem(sys.modules, "cv2", module)
    return module


def decode(jpeg: bytes) -> npt.NDArray[np.uint8]:
    return np.asarray(Image.open(io.BytesIO(jpeg)))


@pytest.mark.parametrize(
    ("text", "camera"),
    [
        ("front=simulated", Camera("front", 320, 240, 20.0)),
        ("left_wrist=simulated,64x48", Camera("left_wrist", 64, 48, 20.0)),
        ("top_2=simulated,7.5", Camera("top_2", 320, 240, 7.5)),
        ("top=simulated,640x480,30", Camera("top", 640, 480, 30.0)),
        ("top=simulated,30,640x480", Camera("top", 640, 480, 30.0)),
    ],
)
def test_name_source_size_and_rate_are_read(text: str, camera: Camera) -> None:
    assert camera_drivers.parse(text).camera == camera


@pytest.mark.parametrize(
    "text",
    [
        "",
        "front",
        "front=",
        "=simulated",
        "adas_room=simulated",
        "front=simulated,",
        "front=simulated,0x4",
        "front=simulated,99999x99999",
        "front=simulated,0",
        "front=simulated,-3",
        "front=simulated,1e9",
        "front=simulated,nan",
        "front=video0",
        "front=picamera2:x",
        "front=http:" + "//camera/stream",
    ],
)
def test_camera_that_is_named_wrongly_is_refused(text: str) -> None:
    with pytest.raises(CameraError, match="--camera: expected"):
        camera_drivers.parse(text)


@pytest.mark.parametrize("source", ["/dev/video0", "picamera2"])
def test_library_that_is_not_installed_is_named(
    source: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "cv2", None)
    monkeypatch.setitem(sys.modules, "picamera2", None)
    with pytest.raises(CameraError, match=r"docs/your-robot\.md"):
        camera_drivers.parse(f"front={source}")


def test_camera_of_linux_is_asked_for_its_size_and_scaled_to_it(
    opencv: ModuleType,
) -> None:
    source = camera_drivers.parse("front=/dev/video0,32x24").make()
    source.open()
    (capture,) = vars(opencv)["captures"]
    assert (capture.path, capture.backend) == ("/dev/video0", 200)
    assert capture.settings == {10: "MJPG", 11: 32, 12: 24, 13: 20.0, 14: 1}
    jpeg, age_ns = source.take()
    assert age_ns == 0
    assert read_frame(jpeg) == FRONT
    assert decode(jpeg)[5, 5].argmax() == 2
    source.take()
    with pytest.raises(CameraError, match="/dev/video0: expected a picture, got none"):
        source.take()
    source.close()
    source.close()
    assert capture.released


def test_camera_that_is_not_there_is_named(opencv: ModuleType) -> None:
    source = camera_drivers.parse("front=/dev/video7").make()
    with pytest.raises(CameraError, match="/dev/video7: expected a camera"):
        source.open()
    assert vars(opencv)["captures"][0].released
    source.close()


class PiModule(ModuleType):
    """What picamera2 offers, as far as it is used."""

    def __init__(self) -> None:
        super().__init__("picamera2")
        self.said: list[object] = []

    def Picamera2(self, number: int) -> "PiModule":  # noqa: N802 - its name
        self.said.append(number)
        return self

    def create_video_configuration(self, **wanted: object) -> dict[str, object]:
        return wanted

    def configure(self, wanted: dict[str, object]) -> None:
        self.said.append(wanted)
        if wanted["main"] == {"size": (8, 8), "format": "BGR888"}:
            raise RuntimeError("no such size")

    def start(self) -> None:
        self.said.append("start")

    def capture_request(self) -> "PiModule":
        return self

    def make_array(self, stream: str) -> npt.NDArray[np.uint8]:
        assert stream == "main"
        pixels = np.zeros((24, 32, 3), np.uint8)
        pixels[:, :, 0] = 200  # red
        return pixels

    def get_metadata(self) -> dict[str, int]:
        now_ns = time.clock_gettime_ns(time.CLOCK_BOOTTIME)
        return {"SensorTimestamp": now_ns - 30_000_000}

    def release(self) -> None:
        self.said.append("release")

    def stop(self) -> None:
        self.said.append("stop")

    def close(self) -> None:
        self.said.append("close")


def test_camera_of_a_pi_gives_pictures_and_the_age_of_their_exposure(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    library = PiModule()
    monkeypatch.setitem(sys.modules, "picamera2", library)
    source = camera_drivers.parse("front=picamera2:1,32x24,30").make()
    source.open()
    jpeg, age_ns = source.take()
    assert 30_000_000 <= age_ns < 10_000_000_000
    assert read_frame(jpeg) == FRONT
    assert decode(jpeg)[5, 5].argmax() == 0
    source.close()
    source.close()
    configured = {
        "main": {"size": (32, 24), "format": "BGR888"},
        "controls": {"FrameRate": 30.0},
        "queue": False,
    }
    assert library.said == [1, configured, "start", "release", "stop", "close"]


def test_camera_of_a_pi_that_cannot_be_configured_is_let_go(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    library = PiModule()
    monkeypatch.setitem(sys.modules, "picamera2", library)
    source = camera_drivers.parse("front=picamera2,8x8").make()
    with pytest.raises(RuntimeError, match="no such size"):
        source.open()
    assert library.said[-1] == "close"
    source.close()


def test_simulated_camera_keeps_its_rate_and_no_two_pictures_are_the_same() -> None:
    source = camera_drivers.SimulatedCamera(Camera("front", 64, 48, 100.0))
    source.open()
    begin_s = time.monotonic()
    found = [source.take()[0] for _ in range(11)]
    assert time.monotonic() - begin_s >= 0.1
    assert len(set(found)) == 11
    assert read_frame(found[0]) == Frame(64, 48, 3)
