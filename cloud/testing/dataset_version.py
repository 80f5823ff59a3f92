"""Writes a small dataset version without curation: shards and their manifest."""

import collections
import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path

from base import canonical_json
from rlds import example_codec, tfds_directory, tfrecord
from rlds import manifest as manifest_format
from rlds.episode import Episode
from rlds.manifest import EpisodeEntry, Manifest, Shard
from rlds.spec import SCHEMA_VERSION


def write(folder: Path, splits: Mapping[str, Sequence[Sequence[Episode]]]) -> Manifest:
    """Writes a version to `folder` from the episodes of each shard of each split."""
    framed = {
        split: [
            [(e, tfrecord.frame(example_codec.encode(e))) for e in shard]
            for shard in shards
        ]
        for split, shards in splits.items()
    }
    return write_framed(folder, framed)


def write_framed(
    folder: Path,
    splits: Mapping[str, Sequence[Sequence[tuple[Episode, bytes]]]],
) -> Manifest:
    """Writes a version from framed bytes, which may differ from the episode's own."""
    described: dict[str, tuple[Shard, ...]] = {}
    entries = []
    for split, shards in splits.items():
        (folder / split).mkdir(parents=True, exist_ok=True)
        described[split] = tuple(
            _shard(folder, f"{split}/shard-{k:05d}.tfrecord", shard)
            for k, shard in enumerate(shards)
        )
        entries += [
            EpisodeEntry(e.metadata.episode_id, _digest(raw), split, e.num_steps)
            for shard in shards
            for e, raw in shard
        ]
    spec = {"dataset": "small"}
    manifest = Manifest(
        dataset="small",
        version="1.0.0",
        created_at="2026-01-01T00:00:00Z",
        schema_version=SCHEMA_VERSION,
        index_snapshot_sha256="0" * 64,
        curation_spec=spec,
        curation_spec_sha256=_digest(canonical_json.encode(spec)),
        code_commit="c0ffee",
        splits=described,
        episodes=tuple(sorted(entries, key=lambda entry: entry.episode_id)),
        drops={},
        statistics={},
        tasks={
            split: collections.Counter(
                e.metadata.task for shard in shards for e, _ in shard
            )
            for split, shards in splits.items()
        },
    )
    first = next(e for shards in splits.values() for shard in shards for e, _ in shard)
    tfds_directory.write_info(folder, "small", first.spec, described)
    (folder / "manifest.json").write_bytes(manifest_format.encode(manifest))
    return manifest


def _shard(folder: Path, path: str, shard: Sequence[tuple[Episode, bytes]]) -> Shard:
    raw = b"".join(framed for _, framed in shard)
    (folder / path).write_bytes(raw)
    steps = sum(episode.num_steps for episode, _ in shard)
    return Shard(path, _digest(raw), len(raw), len(shard), steps)


def _digest(raw: bytes) -> str:
    return hashlib.sha256(raw).hexdigest()
