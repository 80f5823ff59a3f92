"""Writes the files of one dataset version: shards, manifest, and those of TFDS.

They are written to a folder on this machine; `cloud/dataset` reads them.
"""

import dataclasses
import pathlib
from collections.abc import Mapping, Sequence

from base import canonical_json, durable_file
from base.digest import sha256_bytes
from cloud.curate import feature_statistics, plan
from cloud.curate.plan import Plan, ShardResult
from cloud.curate.spec import CurationSpec
from cloud.dataset.version import MANIFEST_FILE
from cloud.errors import CurationSpecError
from cloud.index import schema
from rlds import manifest as manifest_format
from rlds import tfds_directory
from rlds.manifest import EpisodeEntry, FeatureStatistics, Manifest, Shard
from rlds.spec import SCHEMA_VERSION, EpisodeSpec


@dataclasses.dataclass(frozen=True)
class Origin:
    """Where a version comes from, for its manifest."""

    spec: CurationSpec
    snapshot_digest: str
    code_commit: str
    created_at: str


def write(
    folder: pathlib.Path,
    planned: Plan,
    results: Sequence[ShardResult],
    origin: Origin,
) -> Manifest:
    """Writes a new version to `folder`, which must not exist yet.

    Args:
        folder: the new folder; the shards are moved into it.
        planned: the plan that the pipeline carried out.
        results: the shards that the pipeline wrote.
        origin: where the version comes from, for the manifest.

    Raises:
        CurationSpecError: no episode of a split could be read.
        DiskError: a file cannot be written.
    """
    folder.mkdir()
    splits = {
        split: _name_shards(folder, split, written)
        for split in plan.SPLITS
        if (written := [r for r in results if r.split == split and r.kept])
    }
    for missing in (split for split in plan.SPLITS if split not in splits):
        reasons = sorted({reason for r in results for reason in r.drops.values()})
        raise CurationSpecError(
            f"curation spec {origin.spec.dataset} {origin.spec.version}",
            f"episodes in {missing}",
            f"none that could be read: {', '.join(reasons)}",
            "run //cloud:ingest and //cloud:index again",
        )
    manifest = _manifest(planned, results, splits, origin)
    tfds_directory.write_info(
        folder, origin.spec.dataset, _spec(planned), splits, origin.spec.version
    )
    durable_file.write(folder / MANIFEST_FILE, manifest_format.encode(manifest))
    return manifest


def _name_shards(
    folder: pathlib.Path, split: str, written: Sequence[ShardResult]
) -> tuple[Shard, ...]:
    """Moves shards to their final names, numbered without gaps for empty ones."""
    (folder / split).mkdir()
    shards = []
    for index, result in enumerate(written):
        path = tfds_directory.shard_path(split, index)
        result.path.rename(folder / path)
        shards.append(
            Shard(
                path=path,
                sha256=result.sha256,
                size_bytes=result.size_bytes,
                num_episodes=len(result.kept),
                num_steps=sum(episode.num_steps for episode in result.kept),
            )
        )
    return tuple(shards)


def _manifest(
    planned: Plan,
    results: Sequence[ShardResult],
    splits: Mapping[str, tuple[Shard, ...]],
    origin: Origin,
) -> Manifest:
    entries = [
        EpisodeEntry(kept.episode_id, kept.sha256, result.split, kept.num_steps)
        for result in results
        for kept in result.kept
    ]
    drops = dict(planned.drops)
    for result in results:
        drops.update(result.drops)
    return Manifest(
        dataset=origin.spec.dataset,
        version=origin.spec.version,
        created_at=origin.created_at,
        schema_version=SCHEMA_VERSION,
        index_snapshot_sha256=origin.snapshot_digest,
        curation_spec=origin.spec.verbatim,
        curation_spec_sha256=sha256_bytes(canonical_json.encode(origin.spec.verbatim)),
        code_commit=origin.code_commit,
        splits=splits,
        episodes=tuple(sorted(entries, key=lambda entry: entry.episode_id)),
        drops=drops,
        statistics=_statistics(results),
        tasks=_count_tasks(planned, results),
    )


def _count_tasks(
    planned: Plan, results: Sequence[ShardResult]
) -> dict[str, dict[str, int]]:
    """Returns the number of episodes of each task in each split."""
    task = {str(p.row["episode_id"]): str(p.row["task"]) for p in planned.placements}
    counts: dict[str, dict[str, int]] = {}
    for result in results:
        for kept in result.kept:
            of_split = counts.setdefault(result.split, {})
            name = task[kept.episode_id]
            of_split[name] = of_split.get(name, 0) + 1
    return counts


def _statistics(results: Sequence[ShardResult]) -> dict[str, FeatureStatistics]:
    train = [
        kept for result in results if result.split == plan.TRAIN for kept in result.kept
    ]
    train.sort(key=lambda kept: kept.episode_id)
    return {
        name: feature_statistics.describe(
            feature_statistics.merge(kept.moments[name] for kept in train)
        )
        for name in feature_statistics.FEATURES
    }


def _spec(planned: Plan) -> EpisodeSpec:
    """Returns the common shape of the episodes, which `plan` checked."""
    state, action, image, cameras, audio = (
        planned.placements[0].row[name] for name in schema.SHAPE_COLUMNS
    )
    return EpisodeSpec(
        state_size=int(str(state)),
        action_size=int(str(action)),
        image=image is True,
        audio_size=int(str(audio)),
        cameras=tuple(filter(None, str(cameras).split(","))),
    )
