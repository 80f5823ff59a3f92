"""Builds one version of a dataset in a temporary folder and moves it to the output."""

import datetime
import logging
import pathlib
import warnings

import rich.console

from base import project_version, text_forms
from base.store import store
from cloud.console import WorkProgress
from cloud.curate import plan, version_files, version_place
from cloud.curate import spec as curation_spec
from cloud.curate.plan import Plan, ShardResult
from cloud.curate.version_files import Origin
from cloud.dataset import recorded_robot, shard_check, version
from cloud.errors import DatasetExistsError
from cloud.index import query, snapshot
from release.trusted_keys import TrustedKeys
from rlds import manifest as manifest_format
from rlds.manifest import Manifest


def curate(
    raw_uri: str,
    index_uri: str,
    spec_file: pathlib.Path,
    output_uri: str,
    code_commit: str | None,
    created_at: str | None,
    trusted: TrustedKeys,
    workers: int,
    console: rich.console.Console,
) -> Manifest:
    """Builds the version in a temporary folder and moves it to the output.

    Without `code_commit` or `created_at` it reuses those of the version already at the
    output, so that rerunning the command gives the same bytes; a new version gets the
    checkout's commit and the current time.

    Args:
        raw_uri: the raw root.
        index_uri: where the index snapshot is.
        spec_file: the curation spec.
        output_uri: the new version, `…/<dataset>/vX.Y.Z`.
        code_commit: commit for the manifest; None: see above.
        created_at: UTC time for the manifest, RFC 3339; None: see above.
        trusted: keys of ingest whose verdicts count.
        workers: worker processes; 1 runs in this process.
        console: where progress is shown.

    Raises:
        CurationSpecError: the spec makes no dataset of this index, or is of another
            dataset or version than `output_uri` names.
        QueryError: the spec's predicate is refused.
        CurationPipelineError: the pipeline failed.
        DatasetExistsError: a version with different content is at the output.
        ShardMismatchError: this version is at the output, but a shard was changed.
    """
    spec = curation_spec.read(spec_file)
    curation_spec.require_output_folder(spec, output_uri)
    index = snapshot.read(index_uri)
    planned = plan.plan(index.rows, query.select_ids(index, spec.where), spec)
    existing = version.existing_manifest(output_uri)
    if code_commit is None:
        commit = project_version.code_commit(project_version.workspace())
        code_commit = existing.code_commit if existing else commit
    if created_at is None:
        now = text_forms.format_time(datetime.datetime.now(datetime.UTC))
        created_at = existing.created_at if existing else now
    text_forms.parse_time(created_at, "--created_at")
    origin = Origin(spec, index.digest, code_commit, created_at)
    console.print(f"curating {len(planned.placements)} of {len(index.rows)} episodes")
    for line in plan.describe_split(planned, spec) + plan.describe_mixture(planned):
        console.print(f"note: {line}", markup=False, highlight=False)
    with version_place.build_folder(output_uri) as build:
        results = _read_and_shard(
            planned, raw_uri, trusted, build / "work", workers, console
        )
        periods_ns = {
            kept.episode_id: kept.period_ns for one in results for kept in one.kept
        }
        for line in recorded_robot.describe_rates(periods_ns):
            console.print(f"note: {line}", markup=False, highlight=False)
        manifest = version_files.write(build / "dataset", planned, results, origin)
        if existing is None:
            version_place.move(build / "dataset", output_uri)
        elif manifest_format.digest(existing) != manifest_format.digest(manifest):
            raise DatasetExistsError(
                output_uri,
                f"nothing or the same dataset {manifest_format.digest(manifest)}",
                manifest_format.digest(existing),
                "a version never changes, raise `version` in the spec and name its "
                "folder",
            )
        else:
            shard_check.verify_shards(store.open_store(output_uri), existing)
            console.print("this version is already there, identical")
    return manifest


def _read_and_shard(
    planned: Plan,
    raw_uri: str,
    trusted: TrustedKeys,
    work: pathlib.Path,
    workers: int,
    console: rich.console.Console,
) -> list[ShardResult]:
    # Imported here because importing Beam takes seconds, which a wrong flag should not
    # cost, and warns about services that are not used.
    logging.disable(logging.WARNING)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from cloud.curate import pipeline
    logging.disable(logging.NOTSET)

    work.mkdir()
    total = len(planned.placements)
    with WorkProgress(console, "curate", total, "episodes") as progress:
        return pipeline.run(
            planned.placements,
            raw_uri,
            trusted,
            work,
            workers,
            # An episode is counted twice when Beam runs its worker again.
            on_progress=lambda done: progress.show(min(done, total), ""),
        )
