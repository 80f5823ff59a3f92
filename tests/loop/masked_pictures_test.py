"""What a robot's camera sees of a person, from the robot to the store and its verdict.

The robot's own programs record, mask, sign, share and send; ingest judges. The raw
episode is looked at beside the copy that left.
"""

import io
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from edge.robots import registry
from edge.testing import processes
from rlds import blank_picture, jpeg_segments, reader, sidecar
from rlds.episode import Episode
from rlds.redaction_record import DrawnPictures
from rlds.sidecar import Sidecar

STEPS = 12
# Somebody looks into the camera of an arm and goes by; in some pictures the arm is
# before the face.
CAMERA_ARM = """
import io

import numpy as np
from PIL import Image, ImageDraw

from edge.robots.clock import SimulatedClock, unix_ns_from_rfc3339
from edge.robots.robot import Camera, Observation, Picture, RobotSpec, Transition
from edge.testing import photographs

DAMAGED = {damaged}


class CameraArm:
    spec = RobotSpec(
        2, 1, 20.0, "sawyer", "kitchen", "reach", (-1.0,), (1.0,), True,
        cameras=(Camera("front", 320, 240, 20.0),),
    )

    def __init__(self):
        self.clock = SimulatedClock(unix_ns_from_rfc3339("2026-01-01T08:00:00Z"))
        self._step = 0

    def reset(self, seed):
        self._step = 0
        return self._sense()

    def act(self, action):
        self.clock.sleep_until_ns(self.clock.now_ns() + self.spec.period_ns)
        self._step += 1
        return Transition(self._sense(), 0.0, None, False)

    def hold(self):
        pass

    def close(self):
        pass

    def expert(self):
        return np.zeros(1, np.float32)

    def _sense(self):
        image = Image.fromarray(np.roll(photographs.show_head(4), 6 * self._step, 1))
        if self._step in (5, 6):
            ImageDraw.Draw(image).rectangle((0, 90, 320, 140), (30, 30, 30))
        exif = Image.Exif()
        exif[0x010E] = "Ada Lovelace at home"
        raw = io.BytesIO()
        image.save(raw, "JPEG", exif=exif.tobytes())
        content = raw.getvalue()
        if self._step in DAMAGED:
            content = content[: len(content) // 2]
        now_ns = self.clock.now_ns()
        pictures = {{"front": Picture(content, now_ns)}}
        return Observation(np.zeros(2, np.float32), now_ns, pictures=pictures)
"""


def record(work: Path, *more: str, damaged: tuple[int, ...] = ()) -> str:
    """Records one episode of the arm; returns what was printed."""
    (work / "camera_arm.py").write_text(CAMERA_ARM.format(damaged=damaged))
    return record_robot(work, f"{work / 'camera_arm.py'}:CameraArm", *more)


def record_robot(work: Path, robot: str, *more: str) -> str:
    """Records one episode of a robot; returns what was printed."""
    done = processes.run_forked(
        "edge.record",
        f"--robot={robot}",
        f"--output={work / 'out'}",
        f"--enrol={work / 'enrol.json'}",
        f"--max_steps={STEPS}",
        "--consent",
        *more,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def read(work: Path) -> tuple[Episode, Sidecar]:
    (path,) = (work / "out").glob("*.tfrecord")
    raw = path.with_name(f"{path.stem}.sidecar.json").read_bytes()
    return reader.read_episode(path), sidecar.parse(raw)


def send(work: Path) -> bool:
    """Uploads what was recorded; whether ingest admits it."""
    (work / "store").mkdir()
    done = processes.run_forked(
        "edge.episodes.upload", f"--from={work / 'out'}", f"--to={work / 'store'}"
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "1 sent" in done.stdout
    done = processes.run_forked(
        "cloud.ingest.ingest",
        f"--raw={work / 'store'}",
        f"--enrolled={work / 'enrol.json'}",
        f"--ingest_key={work / 'ingest.key'}",
    )
    assert done.returncode == 0, done.stdout + done.stderr
    (verdict,) = (work / "store").rglob("admission.json")
    assert verdict.stat().st_size
    return re.search(r"admitted │ +1 │", done.stdout) is not None


def decode(image: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(image)).convert("RGB"))


def test_face_that_the_camera_saw_does_not_leave_in_any_picture(tmp_path: Path) -> None:
    printed = record(tmp_path)
    assert "without observation/image" not in printed
    episode, said = read(tmp_path)
    images = episode.steps["observation/image_front"]
    assert set(episode.steps["image_age_ns_front"].tolist()) == {0}
    for step, image in enumerate(images):
        assert jpeg_segments.find_fault(image) is None
        assert b"Ada" not in image
        x = 114 + 46 + 6 * step
        if x < 300:
            face = decode(image)[100:150, x - 20 : x + 20]
            assert face.max() < 40, step
    assert decode(images[0])[:20, 300:].min() > 60
    assert said.privacy.frames_masked == len(images)
    assert "observation/image_front" in said.privacy.fields_covered
    assert said.privacy.pictures is not None
    assert said.privacy.pictures.frames_dropped == 0
    assert send(tmp_path)
    assert not list((tmp_path / "out.private").glob("*.tfrecord"))


# What OpenCV has of a camera before which somebody stands.
OPENCV = """
import io
import time

from PIL import Image

from edge.testing import photographs

CAP_V4L2 = CAP_PROP_FOURCC = CAP_PROP_FRAME_WIDTH = CAP_PROP_FRAME_HEIGHT = 0
CAP_PROP_FPS = CAP_PROP_BUFFERSIZE = IMWRITE_JPEG_QUALITY = 0

PIXELS = photographs.show_head(4)
RAW = io.BytesIO()
Image.fromarray(PIXELS).save(RAW, "JPEG")


class VideoWriter:
    @staticmethod
    def fourcc(*letters):
        return 0


class VideoCapture:
    def __init__(self, path, kind):
        assert path == "/dev/video0"

    def isOpened(self):
        return True

    def set(self, name, value): ...

    def read(self):
        time.sleep(0.05)
        return True, PIXELS

    def release(self): ...


class Encoded(bytes):
    def tobytes(self):
        return bytes(self)


def imencode(suffix, pixels, options):
    return True, Encoded(RAW.getvalue())
"""
FACE = (slice(100, 150), slice(140, 180))


def test_drawn_pictures_of_a_simulated_arm_leave_as_they_are(tmp_path: Path) -> None:
    record_robot(tmp_path, "so101-camera:pick-place", "--tags=Ada Lovelace")
    episode, said = read(tmp_path)
    images = episode.steps["observation/image_front"]
    assert said.privacy.drawn == DrawnPictures("so101-camera", ("front",), 0)
    assert said.privacy.pictures is None
    assert said.privacy.detectors == {}
    # The first picture is that which the robot drew, byte for byte.
    robot = registry.open_robot("so101-camera:pick-place")
    assert images[0] == robot.reset(0).pictures["front"].jpeg
    assert not any(map(blank_picture.is_blank, images))
    assert send(tmp_path)


@pytest.mark.parametrize(
    ("robot", "camera"),
    [("so101-sim:pick-place", "front"), ("so101-camera:pick-place", "wrist")],
)
def test_camera_that_is_given_to_a_simulated_arm_is_masked_as_any_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, robot: str, camera: str
) -> None:
    (tmp_path / "opencv").mkdir()
    (tmp_path / "opencv/cv2.py").write_text(OPENCV)
    monkeypatch.syspath_prepend(str(tmp_path / "opencv"))
    record_robot(tmp_path, robot, f"--camera={camera}=/dev/video0")
    episode, said = read(tmp_path)
    images = episode.steps[f"observation/image_{camera}"]
    assert len(images) == STEPS
    masks = said.privacy.pictures
    assert said.privacy.drawn is None
    assert masks is not None
    assert {*said.privacy.detectors} == {"faces", "plates"}
    # On a machine that is too busy to look at pictures in time they are dropped.
    for image in images:
        assert blank_picture.is_blank(image) or decode(image)[FACE].max() < 40
    assert said.privacy.frames_masked + masks.frames_dropped >= STEPS
    covered = set(said.privacy.fields_covered)
    assert set(episode.spec.picture_fields) <= covered
    assert send(tmp_path)


def test_damaged_picture_is_dropped_and_the_episode_is_admitted(tmp_path: Path) -> None:
    printed = record(tmp_path, damaged=(2, 7))
    assert "observation/image_front: expected a whole JPEG, got" in printed
    assert printed.count("such pictures are dropped") == 1
    episode, said = read(tmp_path)
    images = episode.steps["observation/image_front"]
    ages = episode.steps["image_age_ns_front"]
    assert np.flatnonzero(ages == -1).tolist() == [2, 7]
    assert [blank_picture.is_blank(one) for one in images[:9]] == [
        step in (2, 7) for step in range(9)
    ]
    assert said.privacy.pictures is not None
    assert said.privacy.pictures.frames_dropped == 2
    assert send(tmp_path)


def test_robot_without_the_detectors_shares_its_steps_and_no_picture(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An empty package of their runtime's name comes before it."""
    (tmp_path / "absent").mkdir()
    (tmp_path / "absent/onnxruntime.py").write_text("raise ImportError('not here')")
    monkeypatch.syspath_prepend(str(tmp_path / "absent"))
    printed = record(tmp_path)
    assert "no picture will leave this robot" in printed
    assert "the package onnxruntime" in printed
    assert "is shared without observation/image_front: nothing here masks it" in printed
    episode, said = read(tmp_path)
    assert not episode.spec.cameras
    assert said.privacy.detectors == {}
    assert said.privacy.pictures is None
    assert send(tmp_path)
