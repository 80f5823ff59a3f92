"""The sizes read from a `features.json` are those from which it was written."""

import json

import pytest

from rlds import tfds_features
from rlds.errors import DatasetFolderError
from rlds.spec import EpisodeSpec

SPEC = EpisodeSpec(3, 2, image=True, audio_size=5)


@pytest.mark.parametrize(
    "spec",
    [
        SPEC,
        EpisodeSpec(39, 4),
        EpisodeSpec(1, 1, image=True),
        EpisodeSpec(1, 1, False, 2),
    ],
)
def test_read_spec_returns_the_spec_that_was_written(spec: EpisodeSpec) -> None:
    assert tfds_features.read_spec(tfds_features.features_json(spec), "here") == spec


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"\xff",
        b"[]",
        b"{}",
        b"[" * 100_000,
        tfds_features.features_json(SPEC)[:-9],
        tfds_features.features_json(SPEC).replace(b'"3"', b'"-3"'),
        tfds_features.features_json(SPEC).replace(b'"2"', b'"2", "2"'),
        json.dumps({"featuresDict": {"features": {"steps": [1]}}}).encode(),
    ],
)
def test_malformed_features_file_is_refused_by_name(raw: bytes) -> None:
    with pytest.raises(DatasetFolderError, match=r"here: expected the fields.*curate"):
        tfds_features.read_spec(raw, "here")
