from typing import Any

import pytest

from rlds.spec import FIELDS, EpisodeSpec


def test_only_sensitive_fields_name_a_transform() -> None:
    assert all(field.sensitive == bool(field.transform) for field in FIELDS)
    assert {field.name for field in FIELDS if field.sensitive} == {
        "observation/image",
        "observation/audio_mel",
        "robot_hash",
        "start_time",
        "location",
        "tags",
    }


def test_names_are_unique() -> None:
    assert len({field.name for field in FIELDS}) == len(FIELDS)


def test_optional_fields_exist_only_if_the_spec_has_them() -> None:
    plain = {field.name for field in EpisodeSpec(39, 4).step_fields()}
    rich = {field.name: field for field in EpisodeSpec(39, 4, True, 80).step_fields()}
    assert set(rich) - plain == {"observation/image", "observation/audio_mel"}
    assert rich["observation/audio_mel"].shape == (80,)
    assert rich["observation/state"].shape == (39,)
    assert rich["proposed_action"].shape == (4,)


@pytest.mark.parametrize(
    "sizes",
    [
        {"state_size": 0, "action_size": 1},
        {"state_size": 1, "action_size": -1},
        {"state_size": 1, "action_size": True},
        {"state_size": 1, "action_size": 1, "audio_size": 1 << 20},
        {"state_size": 1, "action_size": 1, "image": 1},
    ],
)
def test_sizes_out_of_range_are_refused(
    sizes: dict[str, Any],
) -> None:
    with pytest.raises(ValueError, match="expected"):
        EpisodeSpec(**sizes)
