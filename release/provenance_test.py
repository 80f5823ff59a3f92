import json
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from base import canonical_json
from base.errors import MalformedError
from release import provenance
from release.provenance import Provenance
from release.testing import tiny_release

STATED = Provenance(
    package_digest="a" * 64,
    dataset_manifest_digest="b" * 64,
    dataset_uri="gs://datasets/reach/v1.0.0",
    dataset_name="reach",
    dataset_version="1.0.0",
    code_commit="0" * 40,
    code_uri="git+https://example.org/continuon",
    hardware="2 cores",
    safety_version="safety-1",
    export_target="pi5-cpu",
    training_config={"steps": 10, "rate": 0.5},
    run_id="run-1",
    started=tiny_release.NOW,
    finished=tiny_release.NOW + timedelta(minutes=2),
)


def changed(change: Callable[[dict[str, Any]], object]) -> bytes:
    value = json.loads(STATED.statement())
    change(value)
    return canonical_json.encode(value)


def test_the_statement_has_the_in_toto_and_slsa_form() -> None:
    value = json.loads(STATED.statement())
    assert value["_type"] == "https://in-toto.io/Statement/v1"
    assert value["predicateType"] == "https://slsa.dev/provenance/v1"
    assert value["subject"] == [
        {"name": "package.json", "digest": {"sha256": "a" * 64}}
    ]
    build = value["predicate"]["buildDefinition"]
    assert build["externalParameters"]["training_config"] == {"steps": 10, "rate": 0.5}
    assert build["externalParameters"]["safety_version"] == "safety-1"
    assert build["externalParameters"]["export_target"] == "pi5-cpu"
    assert build["internalParameters"] == {"hardware": "2 cores"}
    assert build["resolvedDependencies"] == [
        {
            "name": "dataset",
            "uri": "gs://datasets/reach/v1.0.0",
            "digest": {"sha256": "b" * 64},
            "annotations": {"name": "reach", "version": "1.0.0"},
        },
        {
            "name": "code",
            "uri": "git+https://example.org/continuon",
            "digest": {"gitCommit": "0" * 40},
        },
    ]
    details = value["predicate"]["runDetails"]
    assert details["builder"]["id"]
    assert details["metadata"]["invocationId"] == "run-1"
    assert details["metadata"]["finishedOn"] == "2026-01-31T08:02:00Z"


def test_a_statement_survives_a_round_trip() -> None:
    assert provenance.parse(STATED.statement()) == STATED


@pytest.mark.parametrize(
    "change",
    [
        lambda v: v.update(_type="https://in-toto.io/Statement/v0.1"),
        lambda v: v.update(predicateType="urn:continuon:blessing:v1"),
        lambda v: v.update(subject=[]),
        lambda v: v["subject"].append(v["subject"][0]),
        lambda v: v["subject"][0].update(name="other"),
        lambda v: v["subject"][0]["digest"].update(sha512="0"),
        lambda v: v["subject"][0]["digest"].update(sha256="0"),
        lambda v: v["predicate"].pop("runDetails"),
        lambda v: v["predicate"]["buildDefinition"].update(buildType="other"),
        lambda v: v["predicate"]["buildDefinition"]["resolvedDependencies"].reverse(),
        lambda v: v["predicate"]["buildDefinition"]["resolvedDependencies"].pop(),
        lambda v: v["predicate"]["runDetails"]["builder"].update(id="other"),
        lambda v: v["predicate"]["runDetails"]["metadata"].update(startedOn="now"),
    ],
)
def test_a_statement_of_another_form_is_malformed(
    change: Callable[[dict[str, Any]], object],
) -> None:
    with pytest.raises(MalformedError):
        provenance.parse(changed(change))
