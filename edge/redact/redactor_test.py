import dataclasses
import hashlib
from typing import Any

import numpy as np
import pytest

from edge.errors import RedactionError, UncoveredFieldError
from edge.redact import redactor as redactor_file
from edge.redact.redactor import Redactor
from rlds import spec as spec_file
from rlds.episode import Episode, EpisodeMetadata
from rlds.redaction_record import find_missing_fields
from rlds.spec import SCHEMA_VERSION, EpisodeSpec


def keyed_hash(robot_id: str) -> str:
    return hashlib.sha256(b"a key" + robot_id.encode()).hexdigest()


METADATA = EpisodeMetadata(
    schema_version=SCHEMA_VERSION,
    episode_id="019b7892-1c00-7d15-8162-71f76a1f35ef",
    robot_hash="kitchen-arm",
    robot_model="arm",
    environment_id="kitchen",
    package_digest="",
    delta_digest="",
    channel="",
    software_version="0.1.0",
    start_time="2026-03-04T09:41:12Z",
    location="52.516275,13.377704",
    tags=("simulated", "Ada Lovelace"),
    task="reach",
    success=True,
    operator="human",
)


def make_episode(spec: EpisodeSpec, metadata: EpisodeMetadata = METADATA) -> Episode:
    count = 3
    steps: dict[str, Any] = {}
    for field in spec.step_fields():
        if field.dtype == "jpeg":
            steps[field.name] = (b"\xff\xd8face",) * count
        else:
            shape = (count, *(int(size) for size in field.shape))
            steps[field.name] = np.zeros(shape, field.dtype)
    steps["is_first"][0] = steps["is_last"][-1] = True
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
    assert record.fields_covered == ("location", "robot_hash", "start_time", "tags")
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


@pytest.mark.parametrize(
    ("spec", "field"),
    [
        (EpisodeSpec(2, 1, image=True), "observation/image"),
        (EpisodeSpec(2, 1, audio_size=4), "observation/audio_mel"),
    ],
)
def test_episode_with_images_or_sound_is_refused(spec: EpisodeSpec, field: str) -> None:
    with pytest.raises(UncoveredFieldError, match="stays private") as caught:
        Redactor(keyed_hash).redact(make_episode(spec))
    assert caught.value.fields == (field,)


def test_sensitive_field_without_a_transform_is_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    fields = tuple(
        dataclasses.replace(field, sensitive=True, transform="forget")
        if field.name == "environment_id"
        else field
        for field in spec_file.FIELDS
    )
    monkeypatch.setattr(spec_file, "FIELDS", fields)
    with pytest.raises(UncoveredFieldError) as caught:
        Redactor(keyed_hash).redact(make_episode(EpisodeSpec(2, 1)))
    assert caught.value.fields == ("environment_id",)
    assert "\n" not in str(caught.value)


def test_value_that_cannot_be_redacted_is_refused() -> None:
    metadata = dataclasses.replace(METADATA, location="1 Main Street")
    raw = make_episode(EpisodeSpec(2, 1), metadata)
    with pytest.raises(RedactionError):
        Redactor(keyed_hash).redact(raw)


def test_redactor_has_every_episode_transform_of_the_spec() -> None:
    wanted = {f.transform for f in spec_file.FIELDS if f.scope == "episode"} - {None}
    assert wanted == set(redactor_file.Redactor(keyed_hash).transform_names)
