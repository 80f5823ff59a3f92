"""What a package sees of a robot's cameras is what it was trained with."""

import io

import numpy as np
import pytest
from PIL import Image

from edge.control.sight import Eye, Sight, list_eyes
from edge.robots import recorded
from edge.robots.robot import Observation, Picture, Vector
from release.package import TensorSpec
from rlds import frames
from rlds.coarse_sound import coarsen
from rlds.spec import EpisodeSpec
from rlds.testing import episodes


def encode(red: int, width: int = 8, height: int = 6) -> bytes:
    raw = io.BytesIO()
    Image.new("RGB", (width, height), (red, 0, 0)).save(raw, "JPEG", quality=100)
    return raw.getvalue()


def observe(**jpegs: bytes) -> Observation:
    pictures = {name: Picture(jpeg, 0) for name, jpeg in jpegs.items()}
    return Observation(np.zeros(1, np.float32), 0, pictures=pictures)


def red(found: Vector) -> list[int]:
    """Red of the first pixel of each of two frames of 4 x 4 beside each other."""
    pixels = found.reshape(4, -1, 3)
    return [round(float(pixels[0, x, 0])) for x in range(0, pixels.shape[1], 4)]


EYES = (Eye("front", 4, 4), Eye("wrist", 4, 4))


def test_cameras_of_a_package_are_listed_in_the_order_of_an_episode() -> None:
    observed = {
        name: TensorSpec(name, (4, 4, 3), "uint8")
        for name in ("image_wrist", "image_front")
    }
    observed["state"] = TensorSpec("state", (7,), "float32")
    observed["audio_mel"] = TensorSpec("audio_mel", (3,), "float32")
    assert list_eyes(observed) == EYES
    spec = EpisodeSpec(1, 1, cameras=("front", "wrist"))
    assert [f"observation/image_{eye.camera}" for eye in EYES] == [*spec.picture_fields]
    one = {"image": TensorSpec("image", (4, 6, 3), "uint8")}
    assert list_eyes(one) == (Eye("", 4, 6),)


def test_frames_stand_beside_each_other_and_the_newest_ones_are_held() -> None:
    sight = Sight(EYES)
    assert sight.size == 2 * 4 * 4 * 3
    assert not sight.look(observe()).any()
    assert red(sight.look(observe(wrist=encode(200)))) == [0, 200]
    assert red(sight.look(observe(front=encode(90), wrist=encode(200)))) == [90, 200]
    assert red(sight.look(observe())) == [90, 200]
    sight.reset()
    assert not sight.look(observe()).any()


def test_picture_that_does_not_decode_leaves_the_one_before_it() -> None:
    sight = Sight(EYES)
    sight.look(observe(front=encode(90)))
    assert red(sight.look(observe(front=encode(10)[:40]))) == [90, 0]


def test_only_camera_of_a_robot_needs_no_name() -> None:
    sight = Sight((Eye("", 4, 4),))
    assert red(sight.look(observe(front=encode(90)))) == [90]
    sight.reset()
    both = observe(front=encode(90), wrist=encode(90))
    assert red(sight.look(both)) == [0]


def test_frame_is_the_one_that_training_decodes() -> None:
    jpeg = encode(120, 320, 240)
    seen = Sight((Eye("front", 48, 64),)).look(observe(front=jpeg))
    expected = frames.decode(jpeg, 64, 48, "one")
    assert seen.dtype == np.float32
    np.testing.assert_array_equal(seen.reshape(48, 64, 3), expected)


@pytest.mark.parametrize("image", [True, False])
def test_recorded_step_is_seen_with_its_pictures_and_their_times(image: bool) -> None:
    spec = EpisodeSpec(3, 2, image=image, cameras=("front",))
    episode = episodes.episode(spec, count=4)
    ages = np.array([0, 5, -1, 0], np.int64)
    object.__setattr__(episode, "steps", {**episode.steps, "image_age_ns_front": ages})
    found = recorded.list_observations(episode)
    assert [one.t_monotonic_ns for one in found] == list(
        episode.steps["t_monotonic_ns"]
    )
    named = {"front", ""} if image else {"front"}
    assert [set(one.pictures) for one in found] == [
        named,
        named,
        named - {"front"},
        named,
    ]
    assert all(one.sound is None for one in found)
    one = found[1]
    expected = Picture(episodes.JPEG, one.t_monotonic_ns - 5)
    assert one.pictures["front"] == expected
    np.testing.assert_array_equal(one.state, episode.steps["observation/state"][1])


@pytest.mark.parametrize("is_coarse", [True, False])
def test_recorded_step_is_heard_and_known_to_be_coarse(is_coarse: bool) -> None:
    episode = episodes.episode(EpisodeSpec(3, 2, audio_size=4), count=30)
    heard = episode.steps["observation/audio_mel"]
    if is_coarse:
        heard = coarsen(heard, episode.steps["t_monotonic_ns"])
    steps = {**episode.steps, "observation/audio_mel": heard}
    object.__setattr__(episode, "steps", steps)
    for number, one in enumerate(recorded.list_observations(episode)):
        assert one.sound is not None
        assert one.sound.is_coarse is is_coarse
        assert one.sound.t_monotonic_ns == one.t_monotonic_ns
        np.testing.assert_array_equal(one.sound.powers, heard[number])
