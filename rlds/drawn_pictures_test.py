"""Who may say that pictures are drawn; `private_values` tries who may not."""

import dataclasses
from typing import Any

import pytest

from rlds import blank_picture, drawn_pictures, known_words, redacted_form
from rlds.drawn_pictures import SIMULATORS
from rlds.errors import FieldNotCoveredError
from rlds.redaction_record import DrawnPictures
from rlds.spec import EpisodeSpec, picture_field
from rlds.testing import episodes, private_values
from rlds.testing.private_values import DRAWN, RECORD, SIMULATED_ARM

FRONT = EpisodeSpec(11, 4, cameras=("front",))


def find(spec: EpisodeSpec = FRONT, **named: Any) -> str:
    metadata = episodes.metadata(**{**SIMULATED_ARM, **named})
    return drawn_pictures.find_simulator(spec, metadata)


def test_simulated_arm_with_its_own_camera_draws() -> None:
    assert find() == "so101-camera"
    assert find(environment_id="so101-camera-10.0") == "so101-camera"
    assert find(tags=("demonstration", "simulated")) == "so101-camera"


@pytest.mark.parametrize(
    "named",
    [
        {"tags": ()},
        {"tags": ("demonstration",)},
        {"environment_id": "so101-camera"},
        {"environment_id": "so101-camera-"},
        {"environment_id": "so101-camera-0.4.0-kitchen"},
        {"environment_id": "kitchen-so101-camera-0.4.0"},
        {"environment_id": "so101-camera-0.4.0\n"},
        {"environment_id": "replay-so101-camera-0.4.0"},
        {"environment_id": "so101-sim-0.4.0"},
        {"environment_id": "unlisted-0123456789ab"},
        {"robot_model": "sawyer"},
    ],
)
def test_episode_of_any_other_name_is_not_drawn(named: dict[str, Any]) -> None:
    assert find(**named) == ""


@pytest.mark.parametrize(
    "spec",
    [
        EpisodeSpec(11, 4),
        EpisodeSpec(11, 4, image=True),
        EpisodeSpec(11, 4, image=True, cameras=("front",)),
        EpisodeSpec(11, 4, cameras=("front", "wrist")),
        EpisodeSpec(11, 4, cameras=("wrist",)),
    ],
)
def test_episode_with_any_other_camera_is_not_drawn(spec: EpisodeSpec) -> None:
    assert find(spec) == ""


def test_black_pictures_among_drawn_ones_are_counted() -> None:
    found = DRAWN.episode(private_values.harmless())
    images = [
        blank_picture.make(64, 64),
        private_values.make_picture(64, 64),
    ] * found.num_steps
    steps = {**found.steps, picture_field("front"): tuple(images[: found.num_steps])}
    found = dataclasses.replace(found, steps=steps)
    dropped = -(-found.num_steps // 2)
    record = dataclasses.replace(
        RECORD,
        detectors={},
        pictures=None,
        drawn=DrawnPictures("so101-camera", ("front",), dropped),
    )
    redacted_form.check_redacted(found, record)
    wrong = dataclasses.replace(
        record, drawn=DrawnPictures("so101-camera", ("front",), dropped - 1)
    )
    with pytest.raises(FieldNotCoveredError, match=f"{dropped} dropped"):
        redacted_form.check_redacted(found, wrong)


def test_names_of_simulators_leave_a_robot_in_listed_words() -> None:
    for name, simulator in SIMULATORS.items():
        assert known_words.find_unknown(f"{name}-1.0.0") is None
        assert known_words.find_unknown(simulator.robot_model) is None
