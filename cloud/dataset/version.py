"""A version of a dataset as it lies in a store: manifest, fields and checked shards.

The manifest names each shard with its size and SHA-256. Each shard is read once,
checked, and decoded from the very bytes that were checked, so no change between
check and use can slip through.
"""

import dataclasses
import pathlib

from base.digest import sha256_bytes
from base.errors import NotFoundError, OversizedError
from base.store import store
from cloud import locations
from cloud.errors import DatasetError
from rlds import example_codec, tfds_features, tfrecord
from rlds import manifest as manifest_format
from rlds.episode import Episode
from rlds.errors import MalformedEpisodeError, ShardMismatchError
from rlds.manifest import Manifest, Shard
from rlds.spec import EpisodeSpec
from rlds.tfds_directory import FEATURES_FILE

MANIFEST_FILE = "manifest.json"
# About 200 bytes an episode: room for a million of them.
_MANIFEST_LIMIT_BYTES = 256 * 1024 * 1024
_FEATURES_LIMIT_BYTES = 1024 * 1024
_RECORD_LIMIT_BYTES = 256 * 1024 * 1024


@dataclasses.dataclass(frozen=True)
class LoadedDataset:
    """One split, whose every byte agreed with the manifest.

    Attributes:
        manifest: the parsed manifest of the whole dataset.
        manifest_digest: SHA-256 of the manifest, the dataset's identity.
        split: name of the loaded split.
        episodes: the split's episodes in the order of the shards.
    """

    manifest: Manifest
    manifest_digest: str
    split: str
    episodes: list[Episode]


def load(uri_or_folder: str | pathlib.Path, split: str) -> LoadedDataset:
    """Verifies every shard of `split` and returns its episodes.

    Args:
        uri_or_folder: the dataset's version folder, `…/<dataset>/vX.Y.Z`.
        split: `train` or `val`.

    Raises:
        DatasetError: there is no manifest, no such split, or a count is wrong.
        ShardMismatchError: a shard is missing or its bytes changed.
        ManifestError: the manifest does not parse.
        MalformedEpisodeError: an episode has NaN or other shapes than `rlds.spec`
            says.
    """
    uri = locations.to_uri(uri_or_folder)
    manifest = read_manifest(uri, split)
    shards = manifest.splits[split]
    verified = [verified_shard(uri, shard) for shard in shards]
    episodes: list[Episode] = []
    for shard, raw in zip(shards, verified, strict=True):
        records = tfrecord.read_records(raw, _RECORD_LIMIT_BYTES)
        found = [_decoded(f"{uri}/{shard.path}", record) for record in records]
        if len(found) != shard.num_episodes:
            raise DatasetError(
                f"{uri}/{shard.path}",
                f"{shard.num_episodes} episodes as the manifest says",
                len(found),
                "curate the dataset again",
            )
        episodes.extend(found)
    return LoadedDataset(manifest, manifest_format.digest(manifest), split, episodes)


def existing_manifest(uri: str) -> Manifest | None:
    """Returns the manifest of the version at `uri`, None where there is no version.

    Raises:
        ManifestError: it does not parse.
    """
    try:
        raw = store.open_store(uri).get(MANIFEST_FILE, _MANIFEST_LIMIT_BYTES)
    except NotFoundError:
        return None
    return manifest_format.parse(raw)


def read_manifest(uri: str, split: str) -> Manifest:
    """Returns the manifest of the dataset version at `uri`.

    Raises:
        DatasetError: there is none, or it has no split of this name.
        ManifestError: it does not parse.
    """
    manifest = existing_manifest(uri)
    if manifest is None:
        raise DatasetError(
            f"{uri}/{MANIFEST_FILE}",
            "a dataset version",
            "no manifest",
            "name the folder that //cloud:curate wrote",
        )
    if split not in manifest.splits:
        raise DatasetError(
            f"{uri}/{MANIFEST_FILE}",
            f"a split named {split!r}",
            sorted(manifest.splits),
            "name one of these",
        )
    return manifest


def read_spec(uri: str) -> EpisodeSpec:
    """Returns what the episodes of the dataset version at `uri` are said to hold.

    No shard is read, and the manifest does not vouch for it: hold it against the
    episodes once they are.

    Raises:
        DatasetError: nothing says it.
        DatasetFolderError: what says it does not parse.
    """
    try:
        raw = store.open_store(uri).get(FEATURES_FILE, _FEATURES_LIMIT_BYTES)
    except NotFoundError as e:
        raise DatasetError(
            f"{uri}/{FEATURES_FILE}",
            "the fields of the episodes",
            "no file",
            "copy the whole folder that //cloud:curate wrote",
        ) from e
    return tfds_features.read_spec(raw, f"{uri}/{FEATURES_FILE}")


def verified_shard(uri: str, shard: Shard) -> bytes:
    """Returns the bytes of a shard after they agreed with the manifest.

    Raises:
        ShardMismatchError: the shard is missing or its bytes changed.
    """
    expected = f"{shard.size_bytes} bytes with SHA-256 {shard.sha256}"
    where = f"{shard.path} of {uri}"
    try:
        raw = store.open_store(uri).get(shard.path, shard.size_bytes)
    except NotFoundError as e:
        raise ShardMismatchError(where, expected, "no file") from e
    except OversizedError as e:
        raise ShardMismatchError(where, expected, "more bytes") from e
    if len(raw) != shard.size_bytes or sha256_bytes(raw) != shard.sha256:
        got = f"{len(raw)} bytes with {sha256_bytes(raw)}"
        raise ShardMismatchError(where, expected, got)
    return raw


def _decoded(where: str, record: bytes) -> Episode:
    try:
        return example_codec.decode(record)
    except MalformedEpisodeError as e:
        raise MalformedEpisodeError(
            f"{where}: {e.source}", e.expected, e.got, e.remedy
        ) from e
