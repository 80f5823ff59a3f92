"""What a robot sensed is read from its episode, and broken pictures are named."""

import dataclasses

import numpy as np
import pytest

from edge.errors import ReplayError
from edge.robots import recorded
from edge.robots.robot import Camera, Microphone, Picture
from edge.testing import pictures, sensed_episode
from edge.testing.sensed_episode import BLIND, FRONT, PERIOD_NS, WRIST
from rlds.episode import Episode
from rlds.errors import MalformedEpisodeError
from rlds.spec import EpisodeSpec
from rlds.testing import episodes

STEPS = 12
NAME = "/robot/019b.tfrecord"


def with_steps(episode: Episode, **changes: object) -> Episode:
    """The same episode with other values of some fields; `__` stands for `/`."""
    named = {name.replace("__", "/"): value for name, value in changes.items()}
    return dataclasses.replace(episode, steps={**episode.steps, **named})


def with_picture(step: int, jpeg: bytes) -> Episode:
    """The episode with another picture of `front` in one step."""
    made = sensed_episode.make(STEPS)
    front = list(made.steps["observation/image_front"])
    front[step] = jpeg
    return with_steps(made, observation__image_front=front)


def test_step_has_the_pictures_and_the_sound_that_it_had() -> None:
    made = sensed_episode.make(STEPS)
    found = recorded.list_observations(made)
    front = made.steps["observation/image_front"]
    for number, seen in enumerate(found):
        new = number - number % 4
        taken_ns = int(made.steps["t_monotonic_ns"][new]) - sensed_episode.LATE_NS
        assert seen.pictures["front"] == Picture(front[new], taken_ns)
        assert ("wrist" in seen.pictures) is (number >= BLIND)
        assert seen.sound is not None
        assert seen.sound.is_coarse
        heard = made.steps["observation/audio_mel"][number]
        np.testing.assert_array_equal(seen.sound.powers, heard)


def test_step_of_zeros_has_no_sound() -> None:
    made = sensed_episode.make(STEPS)
    heard = np.array(made.steps["observation/audio_mel"])
    heard[:4] = 0.0
    found = recorded.list_observations(with_steps(made, observation__audio_mel=heard))
    assert [seen.sound is None for seen in found] == [True] * 4 + [False] * (STEPS - 4)


def test_cameras_have_the_size_and_the_rate_of_their_pictures() -> None:
    made = sensed_episode.make(STEPS)
    found = recorded.list_cameras(made, NAME, 80.0)
    assert found == {
        "front": Camera("front", *FRONT, 20.0),
        "wrist": Camera("wrist", *WRIST, 40.0),
    }
    assert recorded.find_microphone(made, NAME, 80.0) == Microphone(80.0)
    still = np.full(STEPS, sensed_episode.LATE_NS) + np.arange(STEPS) * PERIOD_NS
    once = with_steps(made, image_age_ns_front=still)
    assert recorded.list_cameras(once, NAME, 80.0)["front"].hz == 80.0


def test_camera_without_a_name_gets_one_that_is_free() -> None:
    for cameras, own in (((), "camera"), (("camera",), "image")):
        spec = EpisodeSpec(3, 2, image=True, cameras=cameras)
        found = recorded.list_cameras(episodes.episode(spec, count=4), NAME, 80.0)
        assert found[""] == Camera(own, 1, 1, 80.0)
        assert found.keys() == {"", *cameras}


def test_robot_without_senses_has_none() -> None:
    made = episodes.episode(EpisodeSpec(3, 2), count=4)
    assert recorded.list_cameras(made, NAME, 80.0) == {}
    assert recorded.find_microphone(made, NAME, 80.0) is None


@pytest.mark.parametrize("step", [0, 5])
def test_broken_picture_is_one_line_that_names_episode_and_step(step: int) -> None:
    whole = pictures.encode(*FRONT, 99)
    for jpeg in (whole[:-40], whole[:2], b"\xff\xd8 no picture at all \xff\xd9"):
        with pytest.raises(ReplayError) as caught:
            recorded.list_cameras(with_picture(step, jpeg), NAME, 80.0)
        assert str(caught.value) == (
            f"{NAME}: observation/image_front of step {step}: expected a whole JPEG,"
            f" got {len(jpeg)} bytes that are none; choose another episode"
        )


def test_picture_that_is_missing_is_one_line_that_names_its_step() -> None:
    with pytest.raises(
        MalformedEpisodeError, match=r"image_front: expected .* got nothing at step 7"
    ):
        with_picture(7, b"")


def test_age_that_no_picture_has_and_sound_of_too_many_bands_are_one_line() -> None:
    made = sensed_episode.make(STEPS)
    ages = np.array(made.steps["image_age_ns_wrist"])
    ages[6] = -2
    with pytest.raises(ReplayError, match=r"image_age_ns_wrist of step 6: .* got -2"):
        recorded.list_cameras(with_steps(made, image_age_ns_wrist=ages), NAME, 80.0)
    loud = episodes.episode(EpisodeSpec(3, 2, audio_size=129), count=4)
    with pytest.raises(ReplayError, match=r"audio_mel: expected at most 128 bands"):
        recorded.find_microphone(loud, NAME, 80.0)


def test_picture_that_no_camera_takes_is_one_line() -> None:
    """A header alone may say that a picture is enormous."""
    whole = bytearray(pictures.encode(*FRONT, 99))
    at = whole.index(b"\xff\xc0") + 5
    whole[at : at + 4] = b"\xff\xff\xff\xff"
    with pytest.raises(ReplayError, match=r"image_front: expected a camera, got .*655"):
        recorded.list_cameras(with_picture(0, bytes(whole)), NAME, 80.0)
