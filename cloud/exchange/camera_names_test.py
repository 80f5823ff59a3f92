import pytest

from cloud.exchange.camera_names import is_renamed, name_cameras
from rlds.spec import MAX_CAMERAS, check_camera_name


@pytest.mark.parametrize(
    ("features", "names"),
    [
        (["observation/image"], [""]),
        (["observation/image", "observation/wrist_image"], ["", "wrist"]),
        (
            ["observation.images.top", "observation.images.cam_high"],
            ["top", "cam_high"],
        ),
        (["observation/image_left_wrist_2"], ["left_wrist_2"]),  # of our own
        (["observation/image_0", "observation/image_1"], ["camera_0", "camera_1"]),
        (["observation/exterior_image_1_left"], ["exterior_left_1"]),
        (["observation.images.camera1"], ["camera_1"]),
        (["observation/front/rgb", "observation/front/rgb2"], ["front", "front_2"]),
        (["observation/front_rgb", "observation/front_raw"], ["front", "front_2"]),
        (["observation.images.ada_lovelace"], [""]),  # and nobody's name
        (["observation/agentview", "observation/eye_in_hand"], ["", "eye_hand"]),
        (["observation/agentview", "observation/rgb"], ["", "camera"]),
    ],
)
def test_names_are_made_of_allowed_words(features: list[str], names: list[str]) -> None:
    found = name_cameras(features)
    assert list(found) == features
    assert list(found.values()) == names
    for name in filter(None, names):
        check_camera_name(name)


def test_cameras_beyond_the_most_that_an_episode_has_are_not_named() -> None:
    features = ["observation/image", *(f"observation/top_{k}" for k in range(10))]
    found = name_cameras(features)
    assert list(found) == features[: 1 + MAX_CAMERAS]
    assert len(set(found.values())) == 1 + MAX_CAMERAS


@pytest.mark.parametrize(
    ("feature", "name", "renamed"),
    [
        ("observation/image", "", False),
        ("observation/image_front", "front", False),
        ("observation.images.front", "front", False),
        ("observation/wrist_image", "wrist", True),
        ("observation/agentview", "", True),
    ],
)
def test_other_name_than_the_source_has_is_noticed(
    feature: str, name: str, renamed: bool
) -> None:
    assert is_renamed(feature, name) == renamed
