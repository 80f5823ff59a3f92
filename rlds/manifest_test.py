import dataclasses
import hashlib
import json
import pickle
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from base import canonical_json
from base.errors import ContinuonError
from rlds import manifest
from rlds.errors import ManifestError
from rlds.manifest import EpisodeEntry, FeatureStatistics, Manifest, Shard

_BOUNDED = settings(max_examples=200, derandomize=True, deadline=None)
_SCHEMA = json.loads(Path(__file__).with_name("manifest.schema.json").read_bytes())
_CONTENT = {"train/shard-00000.tfrecord": b"one", "val/shard-00000.tfrecord": b"two"}


def _shard(path: str, episodes: int, steps: int) -> Shard:
    content = _CONTENT[path]
    digest = hashlib.sha256(content).hexdigest()
    return Shard(path, digest, len(content), episodes, steps)


def _manifest(**changes: Any) -> Manifest:
    spec = {"dataset": "reach", "where": "success = 1"}
    fields: dict[str, Any] = {
        "dataset": "reach",
        "version": "1.0.0",
        "created_at": "2026-01-02T00:00:00Z",
        "schema_version": "0.1.0",
        "index_snapshot_sha256": "ab" * 32,
        "curation_spec": spec,
        "curation_spec_sha256": hashlib.sha256(canonical_json.encode(spec)).hexdigest(),
        "code_commit": "0123abc",
        "splits": {
            "train": (_shard("train/shard-00000.tfrecord", 2, 9),),
            "val": (_shard("val/shard-00000.tfrecord", 1, 3),),
        },
        "episodes": (
            EpisodeEntry("a", "01" * 32, "train", 4),
            EpisodeEntry("b", "02" * 32, "val", 3),
            EpisodeEntry("c", "03" * 32, "train", 5),
        ),
        "drops": {"d": "episode_missing"},
        "statistics": {
            "observation/state": FeatureStatistics(9, (0.5,), (1.0,), (-1.0,), (2.0,))
        },
        "tasks": {"train": {"push": 1, "pick up, please": 1}, "val": {"push": 1}},
    }
    return Manifest(**{**fields, **changes})


def _value() -> dict[str, object]:
    value: dict[str, object] = json.loads(manifest.encode(_manifest()))
    return value


def test_manifest_survives_a_round_trip_and_digest_is_that_of_its_bytes() -> None:
    raw = manifest.encode(_manifest())
    assert manifest.parse(raw) == _manifest()
    assert manifest.digest(_manifest()) == hashlib.sha256(raw).hexdigest()
    assert pickle.loads(pickle.dumps(_manifest())) == _manifest()


def test_manifest_of_an_earlier_version_has_no_tasks_and_keeps_its_digest() -> None:
    value = _value()
    del value["tasks"]
    raw = canonical_json.encode(value)
    found = manifest.parse(raw)
    assert found.tasks == {} and manifest.encode(found) == raw
    jsonschema.validate(value, _SCHEMA)


@pytest.mark.parametrize(
    "change",
    [
        {"surprise": 1},
        {"tasks": []},
        {"tasks": {"train": {"push": "2"}, "val": {"push": 1}}},
        {"tasks": {"train": {"push": 2}, "val": 1}},
        {"dataset": "Reach"},
        {"version": "1.0"},
        {"index_snapshot_sha256": "x"},
        {"splits": []},
        {"splits": {"train": [{}]}},
        {"episodes": {}},
        {"drops": {"d": 1}},
        {"statistics": {"x": {}}},
        {"created_at": ""},
        {"curation_spec": None},
    ],
)
def test_malformed_field_is_refused_by_code_and_schema(
    change: dict[str, object],
) -> None:
    _require_refused({**_value(), **change})


@pytest.mark.parametrize(
    "tasks",
    [
        {"train": {"push": 2}},
        {"train": {"push": 1}, "val": {"push": 1}},
        {"train": {"push": 2}, "val": {"push": 1}, "test": {}},
    ],
)
def test_tasks_that_disagree_with_the_episodes_are_refused(
    tasks: dict[str, dict[str, int]],
) -> None:
    with pytest.raises(ManifestError, match="tasks of"):
        _manifest(tasks=tasks)


@pytest.mark.parametrize("name", sorted(_value().keys() - {"tasks"}))
def test_missing_field_is_refused_by_code_and_schema(name: str) -> None:
    value = _value()
    del value[name]
    _require_refused(value)


def _require_refused(value: object) -> None:
    with pytest.raises(ManifestError):
        manifest.parse(canonical_json.encode(value))
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(value, _SCHEMA)


def test_schema_accepts_a_manifest() -> None:
    jsonschema.Draft202012Validator.check_schema(_SCHEMA)
    jsonschema.validate(_value(), _SCHEMA)
    assert set(_SCHEMA["properties"]) == {*_SCHEMA["required"], "tasks"}
    assert set(_SCHEMA["properties"]) == set(_value())


@pytest.mark.parametrize(
    "path",
    ["/etc/passwd", "../up", "a/../../up", "", ".", "a//b", "./a", "a\\b", "a\0"],
)
def test_shard_outside_the_folder_is_refused(path: str) -> None:
    with pytest.raises(ManifestError):
        Shard(path, "ab" * 32, 1, 1, 1)


def test_parts_that_disagree_are_refused() -> None:
    entries = _manifest().episodes
    with pytest.raises(ManifestError, match="order of ids"):
        _manifest(episodes=entries[::-1])
    with pytest.raises(ManifestError, match="as its shards state"):
        _manifest(episodes=entries[:2])
    with pytest.raises(ManifestError, match="kept or dropped"):
        _manifest(drops={"a": "reason"})
    with pytest.raises(ManifestError, match="curation_spec_sha256"):
        _manifest(curation_spec={"other": 1})
    moved = dataclasses.replace(entries[2], split="test")
    with pytest.raises(ManifestError):
        _manifest(episodes=(*entries[:2], moved))


def test_bytes_that_are_not_canonical_are_refused() -> None:
    raw = json.dumps(_value(), indent=1).encode()
    with pytest.raises(ManifestError, match="canonical"):
        manifest.parse(raw)


@_BOUNDED
@given(
    st.dictionaries(
        st.sampled_from(sorted(_value())),
        st.none()
        | st.integers(-2, 2)
        | st.text(max_size=3)
        | st.lists(st.integers() | st.dictionaries(st.text(), st.none()), max_size=2)
        | st.dictionaries(st.text(max_size=3), st.lists(st.none(), max_size=1)),
        max_size=3,
    )
)
def test_random_values_parse_or_are_refused(changes: dict[str, object]) -> None:
    try:
        manifest.parse(canonical_json.encode({**_value(), **changes}))
    except ContinuonError:
        return
