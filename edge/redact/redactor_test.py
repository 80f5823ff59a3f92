import dataclasses
import datetime
import hashlib
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge.errors import RedactionError, UncoveredFieldError
from edge.redact import redactor as redactor_file
from edge.redact import transforms
from edge.redact.masker import Masked, Masker
from edge.redact.redactor import Redactor
from edge.redact.tracks import Times
from rlds import blank_picture
from rlds import spec as spec_file
from rlds.episode import Episode, EpisodeMetadata
from rlds.errors import FieldFormError
from rlds.redacted_form import check_redacted
from rlds.redaction_record import find_missing_fields
from rlds.spec import KNOWN_TAGS, EpisodeSpec
from rlds.testing import episodes
from rlds.testing.private_values import MASKS, RECORD


def keyed_hash(robot_id: str) -> str:
    return hashlib.sha256(b"a key" + robot_id.encode()).hexdigest()


METADATA = episodes.metadata(
    robot_hash="kitchen-arm",
    environment_id="kitchen",
    start_time="2026-03-04T09:41:12Z",
    location="52.516275,13.377704",
    tags=("simulated", "Ada Lovelace"),
    operator="human",
)


def make_episode(
    spec: EpisodeSpec, metadata: EpisodeMetadata = METADATA, count: int = 3
) -> Episode:
    steps: dict[str, Any] = {}
    for field in spec.step_fields():
        if field.dtype == "jpeg":
            steps[field.name] = (b"\xff\xd8face",) * count
        else:
            shape = (count, *(int(size) for size in field.shape))
            steps[field.name] = np.zeros(shape, field.dtype)
    steps["is_first"][0] = steps["is_last"][-1] = True
    steps["t_monotonic_ns"] = np.arange(count) * episodes.PERIOD_NS
    return Episode(spec, metadata, steps)


def test_every_sensitive_field_is_changed_and_listed_in_the_record() -> None:
    raw = make_episode(EpisodeSpec(2, 1))
    redacted, record = Redactor(keyed_hash).redact(raw)
    assert redacted.metadata == dataclasses.replace(
        raw.metadata,
        robot_hash=keyed_hash("kitchen-arm"),
        start_time="2026-03-04T09:00:00Z",
        location="52.5,13.4",
        tags=("simulated",),
    )
    assert find_missing_fields(record, redacted.spec) == ()
    assert record.fields_covered == (
        "environment_id",
        "location",
        "robot_hash",
        "robot_model",
        "start_time",
        "t_monotonic_ns",
        "tags",
        "task",
    )
    assert record.attested


def test_robot_id_of_each_episode_is_hashed() -> None:
    redactor = Redactor(keyed_hash)
    for name in ("kitchen-arm", "hall-arm"):
        metadata = dataclasses.replace(METADATA, robot_hash=name)
        raw = make_episode(EpisodeSpec(2, 1), metadata)
        assert redactor.redact(raw)[0].metadata.robot_hash == keyed_hash(name)


def test_redaction_leaves_the_raw_episode_and_the_steps_unchanged() -> None:
    raw = make_episode(EpisodeSpec(2, 1))
    redacted, _ = Redactor(keyed_hash).redact(raw)
    assert raw.metadata == METADATA
    for name, values in raw.steps.items():
        np.testing.assert_array_equal(redacted.steps[name], values)


class _Black(Masker):
    """Drops every picture but those of one size, which it leaves alone."""

    def mask(self, images: Sequence[bytes], times_ns: Times) -> Masked:
        del times_ns
        kept = [image == episodes.JPEG for image in images]
        found = [
            image if good else blank_picture.make(8, 8)
            for image, good in zip(images, kept, strict=True)
        ]
        masks = dataclasses.replace(MASKS, frames_dropped=kept.count(False))
        return Masked(tuple(found), kept.count(True), RECORD.detectors, masks, ())


def test_pictures_of_every_camera_are_masked_and_counted_together() -> None:
    spec = EpisodeSpec(2, 1, cameras=("front", "wrist"))
    raw = make_episode(spec)
    steps = {**raw.steps, "observation/image_wrist": (episodes.JPEG,) * 3}
    told: list[str] = []
    chosen = Redactor(keyed_hash, masker=_Black(), tell=told.append)
    redacted, record = chosen.redact(dataclasses.replace(raw, steps=steps))
    assert redacted.spec == spec
    assert blank_picture.count(redacted.steps["observation/image_front"]) == 3
    assert redacted.steps["observation/image_wrist"] == (episodes.JPEG,) * 3
    assert record.frames_masked == 3
    assert record.pictures is not None
    assert record.pictures.frames_dropped == 3
    assert {"observation/image_front", "observation/image_wrist"} < {
        *record.fields_covered
    }
    assert [line.partition(": ")[2] for line in told] == [
        "3 of 3 pictures are dropped: "
    ]


@pytest.mark.parametrize(
    ("spec", "dropped"),
    [
        (EpisodeSpec(2, 1, image=True), ("observation/image",)),
        (EpisodeSpec(2, 1, audio_size=9), ("observation/audio_mel",)),
        (
            EpisodeSpec(2, 1, image=True, audio_size=800),
            ("observation/image", "observation/audio_mel"),
        ),
        (
            EpisodeSpec(2, 1, cameras=("front", "wrist")),
            ("observation/image_front", "observation/image_wrist"),
        ),
    ],
)
def test_sense_that_nothing_masks_is_dropped_from_the_copy(
    spec: EpisodeSpec, dropped: tuple[str, ...]
) -> None:
    redacted, record = Redactor(keyed_hash).redact(make_episode(spec))
    assert redactor_file.find_dropped(spec, pictures=False) == dropped
    shared = redactor_file.shared_spec(spec, pictures=False)
    assert redacted.spec == EpisodeSpec(2, 1) == shared
    assert not set(dropped) & {*redacted.steps, *record.fields_covered}
    assert b"face" not in episodes.frame_episode(redacted)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("robot_model", "Ada's arm"),
        ("environment_id", "/home/ada/kitchen"),
        ("environment_id", "kitchen desk"),  # a name has no space
        ("task", "bring Ada her insulin"),
        ("task", "reach\x1b[2J"),
        ("task", ""),
    ],
)
def test_text_that_is_not_on_the_list_leaves_as_a_keyed_hash(
    name: str, text: str
) -> None:
    fields: dict[str, Any] = {name: text}
    raw = make_episode(EpisodeSpec(2, 1), dataclasses.replace(METADATA, **fields))
    redacted, _ = Redactor(keyed_hash).redact(raw)
    assert redactor_file.find_hidden(raw.metadata) == (name,)
    assert getattr(redacted.metadata, name) == f"unlisted-{keyed_hash(text)[:12]}"
    assert redactor_file.find_hidden(redacted.metadata) == ()
    for part in text.split():
        assert part.encode() not in episodes.frame_episode(redacted)


def test_text_in_words_of_the_robots_own_leaves_as_it_is() -> None:
    metadata = dataclasses.replace(METADATA, robot_model="frob-arm", task="see Ada")
    raw = make_episode(EpisodeSpec(2, 1), metadata)
    redacted, record = Redactor(keyed_hash, {"frob"}).redact(raw)
    assert redacted.metadata.robot_model == "frob-arm"
    assert redactor_file.find_hidden(metadata, {"frob"}) == ("task",)
    assert redacted.metadata.task.startswith("unlisted-")
    with pytest.raises(FieldFormError, match="robot_model"):
        check_redacted(redacted, record)


def test_times_of_the_copy_begin_with_its_first_step() -> None:
    raw = make_episode(EpisodeSpec(2, 1))
    times = raw.steps["t_monotonic_ns"]
    late = dataclasses.replace(
        raw, steps={**raw.steps, "t_monotonic_ns": times + 1_767_254_472_123_456_789}
    )
    redacted, _ = Redactor(keyed_hash).redact(late)
    np.testing.assert_array_equal(redacted.steps["t_monotonic_ns"], times)


def test_sound_of_the_copy_holds_the_second_before() -> None:
    raw = make_episode(EpisodeSpec(2, 1, audio_size=1), count=6)
    steps = {
        **raw.steps,
        "t_monotonic_ns": np.arange(6) * 500_000_000,
        "observation/audio_mel": np.array(
            [[1.2], [7.6], [-70], [-70], [9], [9]], np.float32
        ),
    }
    redacted, _ = Redactor(keyed_hash).redact(dataclasses.replace(raw, steps=steps))
    sound = redacted.steps["observation/audio_mel"]
    assert sound[:, 0].tolist() == [2.0, 2.0, 4.0, 4.0, -64.0, -64.0]


def test_copy_of_which_steps_were_cut_off_has_its_form_again() -> None:
    raw = make_episode(EpisodeSpec(2, 1, audio_size=1), count=9)
    times = np.arange(9) * 500_000_000
    heard = np.repeat(4 * np.arange(5, dtype=np.float32) + 0.5, 2)[:9, None]
    steps = {**raw.steps, "t_monotonic_ns": times, "observation/audio_mel": heard}
    raw = dataclasses.replace(raw, steps=steps)
    copy, record = Redactor(keyed_hash).redact(raw)
    assert redactor_file.restore_form(copy) == copy
    for first in range(1, 9):
        steps = {name: values[first:] for name, values in copy.steps.items()}
        steps["is_first"] = steps["t_monotonic_ns"] == times[first]
        restored = redactor_file.restore_form(dataclasses.replace(copy, steps=steps))
        check_redacted(restored, record)
        sound = restored.steps["observation/audio_mel"][:, 0]
        # A cut within a hold lets it last over the next one: nothing is heard early.
        assert (sound <= steps["observation/audio_mel"][:, 0]).all()


_BOUNDED = settings(max_examples=200, derandomize=True, deadline=None)


@_BOUNDED
@given(
    times=st.lists(st.integers(0, 2**62), min_size=1, max_size=30).map(sorted),
    powers=st.floats(-1e6, 1e6, width=32),
    location=st.tuples(st.floats(-90, 90), st.floats(-180, 180)),
    start=st.datetimes(),
    tags=st.lists(st.text(max_size=20), max_size=5),
    robot_id=st.text(min_size=1, max_size=40),
    names=st.tuples(st.text(max_size=30), st.text(max_size=30), st.text(max_size=30)),
)
def test_any_robot_and_sense_is_redacted_or_refused_and_never_passes_raw(
    times: list[int],
    powers: float,
    location: tuple[float, float],
    start: datetime.datetime,
    tags: list[str],
    robot_id: str,
    names: tuple[str, str, str],
) -> None:
    raw = make_episode(EpisodeSpec(2, 1, image=True, audio_size=3), count=len(times))
    fields: dict[str, Any] = {
        "robot_hash": robot_id,
        "location": f"{location[0]},{location[1]}",
        "start_time": f"{start.isoformat()}Z",
        "tags": ("simulated", *tags),
        **dict(zip(("robot_model", "environment_id", "task"), names, strict=True)),
    }
    sound = np.random.default_rng(len(times)).normal(size=(len(times), 3)) * powers
    steps = {
        **raw.steps,
        "t_monotonic_ns": np.array(times, np.int64),
        "observation/audio_mel": sound.astype(np.float32),
    }
    raw = Episode(raw.spec, dataclasses.replace(raw.metadata, **fields), steps)
    try:
        redacted, record = Redactor(keyed_hash).redact(raw)
    except FieldFormError as e:  # a robot's clock that stood still, or ran for days
        assert e.field == "t_monotonic_ns"
        return
    check_redacted(redacted, record)
    own = redacted.metadata
    assert own.robot_hash == keyed_hash(robot_id)
    assert own.start_time == f"{start.isoformat()[:13]}:00:00Z"
    assert not {*own.tags} - KNOWN_TAGS
    assert len(own.location) <= len("-90.0,-180.0")


def test_sensitive_field_without_a_transform_is_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    fields = tuple(
        dataclasses.replace(field, sensitive=True, transform="forget")
        if field.name == "software_version"
        else field
        for field in spec_file.FIELDS
    )
    monkeypatch.setattr(spec_file, "FIELDS", fields)
    with pytest.raises(UncoveredFieldError) as caught:
        Redactor(keyed_hash).redact(make_episode(EpisodeSpec(2, 1)))
    assert caught.value.fields == ("software_version",)
    assert "\n" not in str(caught.value)


def test_value_that_cannot_be_redacted_is_refused() -> None:
    metadata = dataclasses.replace(METADATA, location="1 Main Street")
    raw = make_episode(EpisodeSpec(2, 1), metadata)
    with pytest.raises(RedactionError):
        Redactor(keyed_hash).redact(raw)


def test_redactor_has_every_transform_of_the_spec() -> None:
    wanted = {field.transform for field in spec_file.FIELDS} - {None}
    assert wanted == set(redactor_file.Redactor(keyed_hash).transform_names)


@pytest.mark.parametrize(
    ("raw", "coarse"),
    [
        ("2026-01-01T08:59:59Z", "2026-01-01T08:00:00Z"),
        ("2026-01-01T08:00:00Z", "2026-01-01T08:00:00Z"),
        ("2026-01-01T00:30:00.5+01:00", "2025-12-31T23:00:00Z"),
    ],
)
def test_time_is_cut_down_to_its_hour_in_utc(raw: str, coarse: str) -> None:
    assert transforms.coarsen_time(raw) == coarse


@pytest.mark.parametrize("raw", ["", "noon", "2026-01-01T08:00:00"])
def test_time_that_cannot_be_read_is_refused(raw: str) -> None:
    with pytest.raises(RedactionError, match="start_time: expected"):
        transforms.coarsen_time(raw)


@pytest.mark.parametrize(
    ("raw", "coarse"),
    [
        ("52.516275,13.377704", "52.5,13.4"),
        ("-0.04, -179.96", "0.0,-180.0"),
        ("", ""),
    ],
)
def test_location_is_rounded_to_a_tenth_of_a_degree(raw: str, coarse: str) -> None:
    assert transforms.coarsen_location(raw) == coarse


@pytest.mark.parametrize(
    "raw", ["1 Main Street", "48.1", "91,0", "0,181", "nan,0", "1,2,3", "inf,1"]
)
def test_location_that_is_no_pair_of_degrees_is_refused_without_repeating_it(
    raw: str,
) -> None:
    with pytest.raises(RedactionError) as caught:
        transforms.coarsen_location(raw)
    assert raw not in str(caught.value)


def test_location_out_of_range_is_told_apart_from_other_text() -> None:
    with pytest.raises(RedactionError, match=r"--location: .* got a number outside"):
        transforms.coarsen_location("152.5,13.4")
    with pytest.raises(RedactionError, match=r"--location: .* got other text"):
        transforms.coarsen_location("here")


def test_tags_outside_the_allow_list_are_dropped() -> None:
    tags = ("simulated", "operator: Ada Lovelace", "recovered")
    assert transforms.allow_tags(tags) == ("simulated", "recovered")
