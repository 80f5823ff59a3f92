"""What a package was made from: SLSA v1 provenance in an in-toto statement.

Source: SLSA specification v1.2, "Build: Provenance".
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from base import text_forms
from base.json_fields import Fields, Source
from release import evidence as evidence_kinds
from release import statement
from release.statement import Statement

PREDICATE_TYPE = "https://slsa.dev/provenance/v1"
BUILD_TYPE = "urn:continuon:build:train:v1"
BUILDER_ID = "urn:continuon:builder:cloud-train:v1"


@dataclass(frozen=True)
class Provenance:
    """How one package was made.

    Attributes:
        package_digest: digest of the package that it is about.
        dataset_manifest_digest: sha256 of the dataset's manifest.json.
        dataset_uri: URI from which the dataset was read.
        dataset_name: name of the dataset; None if the statement does not say, as those
            about packages of format 1.
        dataset_version: its version, `X.Y.Z`; None if the statement does not say.
        code_commit: commit of the training code.
        code_uri: repository of that commit.
        hardware: machine that trained the model.
        safety_version: version of the package's safety config.
        export_target: target for which the model was exported.
        training_config: every training setting, as JSON.
        run_id: the training run.
        started: time when training started.
        finished: time when the package was complete.
        evidence: what it was judged on when it was made, of `release.evidence.KINDS`.
    """

    package_digest: str
    dataset_manifest_digest: str
    dataset_uri: str
    dataset_name: str | None
    dataset_version: str | None
    code_commit: str
    code_uri: str
    hardware: str
    safety_version: str
    export_target: str
    training_config: Mapping[str, object]
    run_id: str
    started: datetime
    finished: datetime
    evidence: tuple[str, ...] = (evidence_kinds.SIMULATED,)

    def statement(self) -> bytes:
        """Returns the canonical bytes of the in-toto statement."""
        dataset: dict[str, object] = {
            "name": "dataset",
            "uri": self.dataset_uri,
            "digest": {"sha256": self.dataset_manifest_digest},
        }
        if self.dataset_name is not None:
            dataset["annotations"] = {
                "name": self.dataset_name,
                "version": self.dataset_version,
            }
        build_definition = {
            "buildType": BUILD_TYPE,
            "externalParameters": {
                "training_config": self.training_config,
                "export_target": self.export_target,
                "safety_version": self.safety_version,
                **evidence_kinds.to_fields(self.evidence),
            },
            "internalParameters": {"hardware": self.hardware},
            "resolvedDependencies": [
                dataset,
                {
                    "name": "code",
                    "uri": self.code_uri,
                    "digest": {"gitCommit": self.code_commit},
                },
            ],
        }
        run_details = {
            "builder": {"id": BUILDER_ID},
            "metadata": {
                "invocationId": self.run_id,
                "startedOn": text_forms.format_time(self.started),
                "finishedOn": text_forms.format_time(self.finished),
            },
        }
        predicate = {"buildDefinition": build_definition, "runDetails": run_details}
        return Statement(self.package_digest, predicate).encode(PREDICATE_TYPE)


def parse(raw: bytes, source: Source = "provenance") -> Provenance:
    """Reads a provenance statement without checking who wrote it.

    Raises:
        OversizedError: `raw` is longer than a statement may be.
        MalformedError: `raw` does not have the form that `Provenance.statement`
            writes.
    """
    read = statement.parse(raw, PREDICATE_TYPE, source)
    predicate = Fields(
        read.predicate, source, ("buildDefinition", "runDetails"), "predicate"
    )
    build = predicate.fields(
        "buildDefinition",
        (
            "buildType",
            "externalParameters",
            "internalParameters",
            "resolvedDependencies",
        ),
    )
    build.one_of("buildType", (BUILD_TYPE,))
    external = build.fields(
        "externalParameters",
        ("training_config", "export_target", "safety_version"),
        optional=(evidence_kinds.KEY,),
    )
    internal = build.fields("internalParameters", ("hardware",))
    dataset, code = _dependencies(build)
    named: dict[str, str | None] = {"name": None, "version": None}
    if dataset.has("annotations"):
        annotations = dataset.fields("annotations", tuple(named))
        named = {key: annotations.text(key) for key in named}
    details = predicate.fields("runDetails", ("builder", "metadata"))
    details.fields("builder", ("id",)).one_of("id", (BUILDER_ID,))
    metadata = details.fields("metadata", ("invocationId", "startedOn", "finishedOn"))
    return Provenance(
        package_digest=read.subject_digest,
        dataset_manifest_digest=dataset.fields("digest", ("sha256",)).sha256("sha256"),
        dataset_uri=dataset.text("uri"),
        dataset_name=named["name"],
        dataset_version=named["version"],
        code_commit=code.fields("digest", ("gitCommit",)).text("gitCommit"),
        code_uri=code.text("uri"),
        hardware=internal.text("hardware"),
        safety_version=external.text("safety_version"),
        export_target=external.text("export_target"),
        training_config=external.mapping("training_config"),
        run_id=metadata.text("invocationId"),
        started=text_forms.parse_time(metadata.text("startedOn"), source),
        finished=text_forms.parse_time(metadata.text("finishedOn"), source),
        evidence=evidence_kinds.read(external),
    )


def _dependencies(build: Fields) -> tuple[Fields, Fields]:
    listed = build.each(
        "resolvedDependencies", ("name", "uri", "digest"), ("annotations",)
    )
    if [one.text("name") for one in listed] != ["dataset", "code"]:
        raise build.fail("resolvedDependencies", "to be dataset and code")
    return listed[0], listed[1]
