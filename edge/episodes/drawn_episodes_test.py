"""Pictures leave without masks if the robot draws them all, and in no other case."""

import dataclasses
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest

from edge.episodes import amend, own_episodes, robot_key, terms
from edge.episodes.provenance import Provenance
from edge.episodes.recorder import EpisodeRecorder
from edge.episodes.sharing import Recording
from edge.redact.masker import DroppingMasker
from edge.robots import mujoco_camera
from edge.robots.robot import Camera, Picture, RobotSpec
from edge.robots.simulated_point import SPEC
from edge.testing.recordings import NAME, Folders, open_folders, read_sidecar, step
from edge.testing.simulated_episodes import ROBOT_ID, START_UNIX_NS
from rlds import blank_picture, reader
from rlds.errors import DatasetFolderError
from rlds.redaction_record import DrawnPictures
from rlds.spec import picture_field

DRAWS = dataclasses.replace(
    SPEC,
    robot_model="so101",
    environment_id="so101-camera-0.4.0",
    cameras=(Camera("front", 64, 64, 10.0),),
)
BESIDE = dataclasses.replace(
    DRAWS, cameras=(*DRAWS.cameras, Camera("wrist", 64, 64, 10.0))
)
DRAWN = frozenset({"front"})
NONE: frozenset[str] = frozenset()
SEEN = mujoco_camera.encode(np.full((64, 64, 3), 90, np.uint8))
STEPS = 3
NOW = datetime(2026, 3, 1, tzinfo=UTC)


@pytest.fixture
def folders(tmp_path: Path) -> Folders:
    return tmp_path / "out", tmp_path / "private"


def begin(
    recording: Recording,
    drawn: frozenset[str],
    robot: RobotSpec = DRAWS,
    steps: int = STEPS,
) -> EpisodeRecorder:
    recorder = recording.begin(
        robot, NAME, START_UNIX_NS, Provenance("expert"), drawn=drawn
    )
    for number in range(STEPS):
        blind = step(number, is_last=number == steps - 1)
        pictures = {one.name: Picture(SEEN, number) for one in robot.cameras}
        seen = dataclasses.replace(blind.observation, pictures=pictures)
        recorder.append(dataclasses.replace(blind, observation=seen))
    return recorder


def read_pictures(folders: Folders, camera: str = "front") -> tuple[bytes, ...]:
    found = reader.read_episode(folders[0] / f"{NAME}.tfrecord")
    return tuple(found.steps[picture_field(camera)])


def check_masked(folders: Folders, robot: RobotSpec) -> None:
    """No picture leaves as it was: what masks here drops them all."""
    for camera in robot.cameras:
        assert all(map(blank_picture.is_blank, read_pictures(folders, camera.name)))
    assert SEEN not in (folders[0] / f"{NAME}.tfrecord").read_bytes()
    privacy = read_sidecar(folders).privacy
    assert privacy.drawn is None
    assert privacy.pictures is not None
    assert privacy.pictures.frames_dropped == STEPS * len(robot.cameras)


def test_pictures_that_the_robot_draws_leave_as_they_are(folders: Folders) -> None:
    with open_folders(
        folders, robot=DRAWS, drawn=DRAWN, masker=DroppingMasker()
    ) as recording:
        assert not recording.masks
        recording.share(begin(recording, DRAWN).close(success=True)[0])
    assert read_pictures(folders) == (SEEN,) * STEPS
    privacy = read_sidecar(folders).privacy
    assert privacy.drawn == DrawnPictures("so101-camera", ("front",), 0)
    assert (privacy.pictures, privacy.detectors, privacy.frames_masked) == (None, {}, 0)
    assert picture_field("front") not in privacy.fields_covered
    assert list(folders[1].iterdir()) == []


@pytest.mark.parametrize(
    ("robot", "drawn"),
    [
        pytest.param(DRAWS, NONE, id="same names, but nobody found that it draws"),
        pytest.param(
            dataclasses.replace(DRAWS, simulated=False), DRAWN, id="it exists"
        ),
        pytest.param(
            dataclasses.replace(DRAWS, environment_id="kitchen"),
            DRAWN,
            id="another environment",
        ),
        pytest.param(BESIDE, DRAWN, id="a camera beside the drawn one"),
        pytest.param(
            BESIDE, frozenset({"front", "wrist"}), id="a camera that it cannot draw"
        ),
        pytest.param(
            dataclasses.replace(DRAWS, cameras=(Camera("wrist", 64, 64, 10.0),)),
            DRAWN,
            id="another camera in its place",
        ),
    ],
)
def test_pictures_of_any_other_robot_or_camera_are_masked(
    folders: Folders, robot: RobotSpec, drawn: frozenset[str]
) -> None:
    told: list[str] = []
    with open_folders(
        folders, robot=robot, drawn=drawn, masker=DroppingMasker(), told=told
    ) as recording:
        recording.share(begin(recording, drawn, robot).close(success=True)[0])
    check_masked(folders, robot)


def test_tag_of_an_operator_does_not_make_a_camera_a_drawn_one(
    folders: Folders,
) -> None:
    exists = dataclasses.replace(DRAWS, simulated=False)
    with open_folders(
        folders, robot=exists, drawn=DRAWN, masker=DroppingMasker(), told=[]
    ) as recording:
        recorder = recording.begin(
            exists,
            NAME,
            START_UNIX_NS,
            Provenance("human", tags=("simulated",)),
            drawn=DRAWN,
        )
        blind = step(0, is_last=True)
        seen = dataclasses.replace(
            blind.observation, pictures={"front": Picture(SEEN, 0)}
        )
        recorder.append(dataclasses.replace(blind, observation=seen))
        recording.share(recorder.close(success=None)[0])
    assert SEEN not in (folders[0] / f"{NAME}.tfrecord").read_bytes()


def test_interrupted_episode_is_shared_as_what_it_began_as(folders: Folders) -> None:
    with open_folders(folders, robot=DRAWS, drawn=DRAWN) as recording:
        begin(recording, DRAWN).leave()  # and the process ends
    kept = terms.read(folders[1], NAME)
    assert kept is not None
    assert kept.drawn == DRAWN
    with open_folders(folders, robot=DRAWS, drawn=DRAWN) as recording:
        (shared,) = recording.recover()
    assert shared.num_steps == STEPS
    assert read_pictures(folders) == (SEEN,) * STEPS


def test_interrupted_episode_of_a_camera_is_not_shared_as_drawn(
    folders: Folders,
) -> None:
    """The run that recovers it drives a robot that draws."""
    told: list[str] = []
    with open_folders(folders, robot=DRAWS, masker=DroppingMasker()) as recording:
        begin(recording, NONE).leave()
    with open_folders(folders, robot=DRAWS, drawn=DRAWN, told=told) as recording:
        assert list(recording.recover()) == []
    assert any("stays private" in line for line in told)
    assert not (folders[0] / f"{NAME}.tfrecord").exists()
    with open_folders(folders, robot=DRAWS, masker=DroppingMasker(), told=told) as own:
        (shared,) = own.recover()
    assert shared.num_steps == STEPS
    check_masked(folders, DRAWS)


def test_episode_whose_terms_are_lost_is_not_shared_as_drawn(folders: Folders) -> None:
    with open_folders(folders, robot=DRAWS, drawn=DRAWN) as recording:
        begin(recording, DRAWN).leave()
    terms.remove(folders[1], NAME)
    with open_folders(
        folders, robot=DRAWS, masker=DroppingMasker(), told=[]
    ) as recording:
        list(recording.recover())
    check_masked(folders, DRAWS)


def test_trimmed_episode_says_again_which_pictures_are_drawn(folders: Folders) -> None:
    with open_folders(folders, robot=DRAWS, drawn=DRAWN) as recording:
        recorder = begin(recording, DRAWN, steps=STEPS + 1)
        recorder.append(step(STEPS, is_last=True))  # without a picture
        recording.share(recorder.close(success=True)[0])
    privacy = read_sidecar(folders).privacy
    assert privacy.drawn == DrawnPictures("so101-camera", ("front",), 1)
    key = robot_key.derive_simulated(ROBOT_ID)
    with own_episodes.open_folders(*folders, lambda *_: key, NOW, _fail) as own:
        (copy,) = own.list_copies(_fail)
        own.prepare(copy, lambda one: amend.trim(one, one, 0, 1), None)()
    assert read_pictures(folders) == (SEEN,) * 2
    privacy = read_sidecar(folders).privacy
    assert privacy.drawn == DrawnPictures("so101-camera", ("front",), 0)


def _fail(text: str) -> None:
    raise AssertionError(text)


def test_robot_that_draws_and_one_with_a_camera_share_no_folder_without_masks(
    folders: Folders,
) -> None:
    with open_folders(folders, robot=DRAWS, drawn=DRAWN) as recording:
        with pytest.raises(DatasetFolderError):
            begin(recording, NONE)
        assert list(folders[1].iterdir()) == []
