"""Reads a dataset version from a store: its manifest and the spec of its episodes.

The manifest lists each shard with its size and SHA-256; `shard_check` compares the
shards with it.
"""

from base.errors import NotFoundError
from base.store import store
from cloud.errors import DatasetError
from rlds import manifest as manifest_format
from rlds import tfds_features
from rlds.manifest import Manifest
from rlds.spec import EpisodeSpec
from rlds.tfds_directory import FEATURES_FILE

MANIFEST_FILE = "manifest.json"


def existing_manifest(uri: str) -> Manifest | None:
    """Returns the manifest of the version at `uri`, None if there is none.

    Raises:
        ManifestError: it does not parse.
    """
    try:
        raw = store.open_store(uri).get(MANIFEST_FILE, manifest_format.LIMIT_BYTES)
    except NotFoundError:
        return None
    return manifest_format.parse(raw)


def read_manifest(uri: str, split: str) -> Manifest:
    """Returns the manifest of the dataset version at `uri`.

    Raises:
        DatasetError: there is no version, or it has no split of this name.
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
    """Returns the spec that the dataset version at `uri` states for its episodes.

    No shard is read, and the manifest does not cover the file: compare the spec with
    the episodes when they are read.

    Raises:
        DatasetError: the file with the spec is missing.
        DatasetFolderError: the file does not parse.
    """
    try:
        raw = store.open_store(uri).get(FEATURES_FILE, tfds_features.LIMIT_BYTES)
    except NotFoundError as e:
        raise DatasetError(
            f"{uri}/{FEATURES_FILE}",
            "the fields of the episodes",
            "no file",
            "copy the whole folder that //cloud:curate wrote",
        ) from e
    return tfds_features.read_spec(raw, f"{uri}/{FEATURES_FILE}")
