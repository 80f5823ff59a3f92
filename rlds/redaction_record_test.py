import dataclasses
from typing import Any

import pytest

from rlds import redaction_record
from rlds.errors import RedactionRecordError
from rlds.redaction_record import (
    DrawnPictures,
    Looked,
    PictureMasks,
    RedactionRecord,
    find_missing_fields,
)
from rlds.spec import EpisodeSpec

_NUMERIC = (
    "environment_id",
    "location",
    "robot_hash",
    "robot_model",
    "start_time",
    "t_monotonic_ns",
    "tags",
    "task",
)


def _record(**changes: Any) -> RedactionRecord:
    fields = {
        "transform_version": "numeric-2",
        "detectors": {"faces": "ab" * 32},
        "fields_covered": _NUMERIC,
        "frames_masked": 3,
        "attested": True,
    }
    return RedactionRecord(**{**fields, **changes})


def test_record_survives_a_round_trip_through_json() -> None:
    assert redaction_record.from_json(_record().to_json()) == _record()


def test_record_says_how_pictures_were_masked_and_an_older_one_does_not() -> None:
    looked = {"faces": Looked("centerface", "1.5.0", 400, 250)}
    record = _record(pictures=PictureMasks("masks-1", 2, looked))
    assert redaction_record.from_json(record.to_json()) == record
    old = _record()
    assert "pictures" not in old.to_json()
    assert redaction_record.from_json(old.to_json()).pictures is None


@pytest.mark.parametrize(
    "pictures",
    [
        None,
        [],
        {},
        {"version": "", "frames_dropped": 0, "looked": {}},
        {"version": "masks-1", "frames_dropped": -1, "looked": {}},
        {"version": "masks-1", "frames_dropped": True, "looked": {}},
        {"version": "masks-1", "frames_dropped": 0, "looked": []},
        {"version": "masks-1", "frames_dropped": 0, "looked": {"faces": {}}},
        {
            "version": "masks-1",
            "frames_dropped": 0,
            "looked": {
                "faces": {
                    "name": "centerface",
                    "version": "1.5.0",
                    "sure_per_mille": 1001,
                    "weak_per_mille": 0,
                }
            },
        },
    ],
)
def test_malformed_statement_about_pictures_is_refused(pictures: object) -> None:
    with pytest.raises(RedactionRecordError):
        redaction_record.from_json(_record().to_json() | {"pictures": pictures})


def test_record_says_which_pictures_are_drawn_and_an_older_one_does_not() -> None:
    record = _record(drawn=DrawnPictures("so101-camera", ("front",), 2))
    assert redaction_record.from_json(record.to_json()) == record
    assert "drawn" not in _record().to_json()
    camera = EpisodeSpec(3, 2, cameras=("front", "wrist"))
    assert find_missing_fields(record, camera) == ("observation/image_wrist",)
    unattested = dataclasses.replace(record, attested=False)
    assert "observation/image_front" in find_missing_fields(unattested, camera)


@pytest.mark.parametrize(
    "drawn",
    [
        None,
        [],
        {},
        {"simulator": "", "cameras": ["front"], "frames_dropped": 0},
        {"simulator": "so101-camera", "cameras": "front", "frames_dropped": 0},
        {"simulator": "so101-camera", "cameras": [""], "frames_dropped": 0},
        {"simulator": "so101-camera", "cameras": [1], "frames_dropped": 0},
        {"simulator": "so101-camera", "cameras": [], "frames_dropped": -1},
        {"simulator": "so101-camera", "cameras": [], "frames_dropped": True},
        {"simulator": "a", "cameras": [], "frames_dropped": 0, "by": "Ada"},
    ],
)
def test_malformed_statement_about_drawn_pictures_is_refused(drawn: object) -> None:
    with pytest.raises(RedactionRecordError):
        redaction_record.from_json(_record().to_json() | {"drawn": drawn})


def test_record_covers_a_numeric_episode_and_not_one_with_images() -> None:
    assert find_missing_fields(_record(), EpisodeSpec(3, 2)) == ()
    rich = EpisodeSpec(3, 2, image=True, audio_size=4)
    assert find_missing_fields(_record(), rich) == (
        "observation/image",
        "observation/audio_mel",
    )


@pytest.mark.parametrize("name", _NUMERIC)
def test_uncovered_sensitive_field_is_named(name: str) -> None:
    covered = tuple(other for other in _NUMERIC if other != name)
    record = _record(fields_covered=covered)
    assert find_missing_fields(record, EpisodeSpec(3, 2)) == (name,)


def test_record_that_is_not_attested_covers_nothing() -> None:
    record = _record(attested=False)
    assert set(find_missing_fields(record, EpisodeSpec(3, 2))) == set(_NUMERIC)


@pytest.mark.parametrize(
    "value",
    [
        None,
        [],
        {},
        _record().to_json() | {"surprise": 1},
        _record().to_json() | {"attested": 1},
        _record().to_json() | {"frames_masked": -1},
        _record().to_json() | {"frames_masked": True},
        _record().to_json() | {"detectors": {"faces": "short"}},
        _record().to_json() | {"detectors": []},
        _record().to_json() | {"fields_covered": "tags"},
        _record().to_json() | {"fields_covered": [1]},
        _record().to_json() | {"transform_version": ""},
    ],
)
def test_malformed_record_is_refused(value: object) -> None:
    with pytest.raises(RedactionRecordError):
        redaction_record.from_json(value)
