"""A statement of coverage is never believed: each value is looked at."""

import dataclasses
import importlib
from typing import Any, get_args

import numpy as np
import pytest

from rlds import blank_picture, redacted_form, spec
from rlds.episode import Episode
from rlds.errors import FieldFormError, FieldNotCoveredError
from rlds.redaction_record import PictureMasks, RedactionRecord
from rlds.spec import FIELDS, SOUND_HOLD_NS, EpisodeSpec
from rlds.testing import episodes, private_values
from rlds.testing.private_values import COVERED, RECORD


def redacted(sizes: EpisodeSpec | None = None, **changes: Any) -> Episode:
    plain = {"tags": ("simulated",), **changes}
    return episodes.episode(sizes, **plain)


def with_steps(found: Episode, **changes: Any) -> Episode:
    return dataclasses.replace(found, steps={**found.steps, **changes})


def with_value(name: str, value: object) -> Episode:
    changes: dict[str, Any] = {name: value}
    return redacted(**changes)


def refuse(found: Episode, record: RedactionRecord = RECORD) -> FieldFormError:
    with pytest.raises(FieldFormError) as caught:
        redacted_form.check_redacted(found, record)
    return caught.value


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"location": ""},
        {"location": "0.0,-180.0"},
        {"location": "-90.0,0.1"},
        {"tags": ()},
        {"tags": ("recovered", "demonstration", "rollout")},
        {"task": "pick up the cube, and put it into the second box."},
        {"operator": "policy:0123456789ab"},
        {"operator": "human"},
        {"package_digest": "", "channel": ""},
        {"environment_id": "gym:ALE/Breakout-v5"},
        {"environment_id": "unlisted-0123456789ab"},
        {"task": "unlisted-0123456789ab"},
        {"start_time": "2026-12-31T23:00:00Z"},
    ],
)
def test_episode_in_its_redacted_form_passes(changes: dict[str, Any]) -> None:
    redacted_form.check_redacted(redacted(**changes), RECORD)


NOT_REDACTED: list[tuple[str, str | tuple[str, ...]]] = [
    ("robot_hash", "kitchen-arm"),
    ("robot_hash", "AB" * 32),
    ("robot_hash", ""),
    ("start_time", "2026-01-01T08:41:12Z"),
    ("start_time", "2026-01-01T08:00:00.5Z"),
    ("start_time", "2026-01-01T08:00:00+01:00"),
    ("start_time", "2026-13-01T08:00:00Z"),
    ("start_time", "2026-01-01T25:00:00Z"),
    ("start_time", ""),
    ("location", "52.516275,13.377704"),
    ("location", "52.52,13.4"),
    ("location", "-0.0,13.4"),
    ("location", "052.5,13.4"),
    ("location", "90.1,0.0"),
    ("location", "0.0,180.1"),
    ("location", "1 Main Street"),
    ("tags", ("simulated", "Ada Lovelace")),
    ("tags", ("operator: Ada",)),
    ("robot_model", ""),
    ("robot_model", "Ada Lovelace's arm"),
    ("environment_id", "/home/ada/kitchen"),
    ("environment_id", "w" * 65),
    ("task", ""),
    ("task", "pick up the cube, s'il te plaît 🤖"),
    ("task", "علی‌رضا 👩‍🔬"),
    ("task", " reach"),
    ("task", "reach\x1b[2J\x1b[31m\nv3"),
    ("task", "reach\u202ev3"),
    ("task", "t" * 257),
    ("task", "unlisted-Ada"),
    ("robot_model", "unlisted-0123456789AB"),
]

MALFORMED: list[tuple[str, str]] = [
    ("episode_id", "not-a-uuid"),
    ("episode_id", "019b7892-1c01-7000-8000-000000000000"),  # tells the millisecond
    ("episode_id", "019B7892-1C00-7000-8000-000000000000"),
    ("package_digest", "cd"),
    ("delta_digest", "latest"),
    ("channel", "night ly"),
    ("software_version", "0.1.0\n"),
    ("operator", "Ada"),
    ("operator", "policy:0123456789AB"),
]


@pytest.mark.parametrize(("name", "value"), NOT_REDACTED)
def test_sensitive_value_in_another_form_is_refused_by_name_and_not_repeated(
    name: str, value: str | tuple[str, ...]
) -> None:
    error = refuse(with_value(name, value))
    assert (error.field, error.sensitive) == (name, True)
    for text in (value,) if isinstance(value, str) else value:
        assert text in ("", " reach", "simulated") or text not in str(error)


@pytest.mark.parametrize(("name", "value"), MALFORMED)
def test_open_value_in_another_form_is_refused_by_name(name: str, value: str) -> None:
    error = refuse(with_value(name, value))
    assert (error.field, error.sensitive) == (name, False)
    metadata = with_value(name, value).metadata
    with pytest.raises(FieldFormError, match="where the robot is set up"):
        redacted_form.check_open_fields(metadata)


def test_sensitive_values_are_no_fault_before_redaction() -> None:
    raw = episodes.metadata(robot_hash="kitchen-arm", location="52.516275,13.377704")
    redacted_form.check_open_fields(raw)


@pytest.mark.parametrize("name", ["location", "robot_hash", "start_time", "tags"])
def test_field_that_the_record_leaves_out_is_named(name: str) -> None:
    covered = tuple(other for other in COVERED if other != name)
    record = dataclasses.replace(RECORD, fields_covered=covered)
    with pytest.raises(FieldNotCoveredError) as caught:
        redacted_form.check_redacted(redacted(), record)
    assert caught.value.fields == (name,)


@pytest.mark.parametrize(
    ("changes", "name"),
    [
        ({"attested": False}, "robot_hash"),
        ({"fields_covered": (*COVERED, "Ada Lovelace")}, "fields_covered"),
        ({"fields_covered": (*COVERED, "task")}, "fields_covered"),
        ({"frames_masked": 1}, "frames_masked"),
        ({"transform_version": "by Ada Lovelace"}, "transform_version"),
        ({"detectors": {"Ada's model": "ef" * 32}}, "detectors"),
    ],
)
def test_record_that_says_what_cannot_be_is_refused(
    changes: dict[str, Any], name: str
) -> None:
    with pytest.raises(FieldNotCoveredError) as caught:
        redacted_form.check_redacted(redacted(), dataclasses.replace(RECORD, **changes))
    assert name in caught.value.fields


CAMERA = EpisodeSpec(3, 2, image=True)


def test_masked_images_without_metadata_pass() -> None:
    record = dataclasses.replace(RECORD, frames_masked=5)
    redacted_form.check_redacted(redacted(CAMERA), record)


CAMERAS = EpisodeSpec(3, 2, cameras=("front", "wrist"))
COVERING = dataclasses.replace(
    RECORD,
    fields_covered=(*COVERED, "observation/image_front", "observation/image_wrist"),
)


def test_pictures_of_each_named_camera_must_be_covered() -> None:
    redacted_form.check_redacted(redacted(CAMERAS), COVERING)
    for left in CAMERAS.picture_fields:
        covered = tuple(name for name in COVERING.fields_covered if name != left)
        record = dataclasses.replace(COVERING, fields_covered=covered)
        with pytest.raises(FieldNotCoveredError, match="every sensitive field"):
            redacted_form.check_redacted(redacted(CAMERAS), record)
    with pytest.raises(FieldNotCoveredError, match="sensitive fields, once"):
        redacted_form.check_redacted(redacted(), COVERING)


@pytest.mark.parametrize("age_ns", [-2, spec.MAX_EPISODE_NS + 1])
def test_age_of_a_picture_that_none_has_is_refused(age_ns: int) -> None:
    ages = np.array([0, -1, 5, age_ns, 0], np.int64)
    found = with_steps(redacted(CAMERAS), image_age_ns_wrist=ages)
    error = refuse(found, COVERING)
    assert (error.field, error.sensitive) == ("image_age_ns_wrist", False)
    assert "at step 3" in str(error)


def test_images_without_a_named_detector_are_refused() -> None:
    record = dataclasses.replace(RECORD, detectors={})
    with pytest.raises(FieldNotCoveredError, match="detector"):
        redacted_form.check_redacted(redacted(CAMERA), record)


def test_dropped_pictures_are_counted_and_need_no_detector() -> None:
    images = [episodes.JPEG] * 3 + [blank_picture.make(4, 4)] * 2
    found = with_steps(redacted(CAMERA), **{"observation/image": images})
    masks = dataclasses.replace(private_values.MASKS, frames_dropped=2)
    record = dataclasses.replace(RECORD, pictures=masks, frames_masked=3)
    redacted_form.check_redacted(found, record)
    for wrong in (
        dataclasses.replace(record, frames_masked=4),
        dataclasses.replace(record, pictures=private_values.MASKS),
        dataclasses.replace(record, pictures=None),
        dataclasses.replace(
            record, detectors={}, pictures=dataclasses.replace(masks, looked={})
        ),
    ):
        with pytest.raises(FieldNotCoveredError):
            redacted_form.check_redacted(found, wrong)
    black = [blank_picture.make(4, 4)] * 5
    found = with_steps(found, **{"observation/image": black})
    masks = PictureMasks(masks.version, 5, {})
    record = dataclasses.replace(RECORD, detectors={}, pictures=masks)
    redacted_form.check_redacted(found, record)


def test_more_frames_masked_than_there_are_is_refused() -> None:
    record = dataclasses.replace(RECORD, frames_masked=6)
    with pytest.raises(FieldNotCoveredError, match="frames"):
        redacted_form.check_redacted(redacted(CAMERA), record)


def test_image_with_a_location_in_its_metadata_is_refused_by_step() -> None:
    gps = b"\xff\xe1\x00\x0aExif\0\0GP"
    image = episodes.JPEG[:2] + gps + episodes.JPEG[2:]
    found = redacted(CAMERA)
    images = list(found.steps["observation/image"])
    images[3] = image
    error = refuse(with_steps(found, **{"observation/image": images}))
    assert (error.field, error.sensitive) == ("observation/image", True)
    assert "at step 3" in str(error)


@pytest.mark.parametrize(
    ("name", "values", "step"),
    [
        ("discount", [1, 1, 1.5, 1, 1], 2),
        ("discount", [-0.1, 1, 1, 1, 1], 0),
        ("t_monotonic_ns", [0, 0, 0, 0, 0], 1),
        ("t_monotonic_ns", [7, 8, 9, 10, 11], 0),
        ("t_monotonic_ns", [0, 1, 2, 3, 86_400_000_000_001], 4),
        ("t_monotonic_ns", [0, 9, 9, 9, 10], 2),
    ],
)
def test_steps_that_no_robot_takes_are_refused(
    name: str, values: list[float], step: int
) -> None:
    (field,) = (one for one in FIELDS if one.name == name)
    found = with_steps(redacted(), **{name: np.array(values, field.dtype)})
    error = refuse(found)
    assert error.field == name
    assert f"at step {step}" in str(error)


@pytest.mark.parametrize("values", [[0, 0, 1, 2, 3], [0, 9, 9, 18, 27]])
def test_steps_of_which_a_few_come_at_once_pass(values: list[int]) -> None:
    found = with_steps(redacted(), t_monotonic_ns=np.array(values, np.int64))
    redacted_form.check_redacted(found, RECORD)


HEARING = EpisodeSpec(3, 2, audio_size=2)


@pytest.mark.parametrize(
    ("powers", "times", "step"),
    [
        ([0.0, 2.0, 2.0, -4.0, -4.0], [0, 1, 2, 3, 4], None),
        ([0.0, 2.0, 2.0, -4.0, -4.0], [0, 0.999, 1, 3, 4], 1),
        ([0.0, 0.0, 2.0, 4.0, -4.0], [0, 1, 2, 2.5, 4], 3),
        ([0.0, 0.0, 0.5, 0.5, 0.5], [0, 1, 2, 3, 4], 2),
        ([0.0, 0.0, 0.0, 0.0, 1e6], [0, 1, 2, 3, 4], 4),
    ],
)
def test_sound_holds_in_coarse_powers_for_a_second(
    powers: list[float], times: list[float], step: int | None
) -> None:
    sound = np.array([[power, -2.0] for power in powers], np.float32)
    ns = (np.array(times) * SOUND_HOLD_NS).astype(np.int64)
    found = with_steps(
        redacted(HEARING), t_monotonic_ns=ns, **{"observation/audio_mel": sound}
    )
    if step is None:
        redacted_form.check_redacted(found, RECORD)
    else:
        assert f"at step {step}" in str(refuse(found))


@pytest.mark.parametrize(
    "changes",
    [
        {"transform": "forget"},  # and not sensitive
        {"sensitive": True},  # and without a transform
        {"sensitive": True, "transform": ""},
        {"form": None},
        {"form": "any text"},
    ],
)
def test_field_without_a_decision_about_its_privacy_stops_the_build(
    changes: dict[str, Any],
) -> None:
    (version,) = (field for field in FIELDS if field.name == "software_version")
    with pytest.raises(ValueError, match="software_version: a"):
        dataclasses.replace(version, **changes)


@pytest.mark.parametrize(("scope", "form"), [("episode", "flag"), ("step", "hour")])
def test_form_that_nothing_looks_at_stops_the_build(
    monkeypatch: pytest.MonkeyPatch, scope: spec.Scope, form: spec.Form
) -> None:
    field = dataclasses.replace(FIELDS[0], name="new", scope=scope, form=form)
    monkeypatch.setattr(spec, "FIELDS", (*FIELDS, field))
    with pytest.raises(TypeError, match="new: no check of the form"):
        importlib.reload(redacted_form)
    monkeypatch.undo()
    importlib.reload(redacted_form)


def test_every_form_of_the_table_is_looked_at() -> None:
    """Each form refuses at least one value in the tests above."""
    looked_at = {name for name, _ in (*NOT_REDACTED, *MALFORMED)}
    looked_at |= {"observation/image", "discount", "t_monotonic_ns"}
    looked_at |= {"observation/audio_mel"}
    forms = {field.form for field in FIELDS if field.name in looked_at}
    forms.add("picture_age")  # of a field that the table has for each camera
    # An episode with another value of these cannot be made.
    forms |= {"flag", "numbers", "outcome", "schema_version"}
    assert forms == set(get_args(spec.Form))
