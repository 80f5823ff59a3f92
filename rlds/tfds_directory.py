"""Folders of episodes that `tfds.builder_from_directory` opens without conversion.

A robot's folder has one file per episode. TFDS finds shards by number, so the folder
also has one numbered link per episode:

    <episode_id>.tfrecord      the episode
    <episode_id>.sidecar.json  the robot's statement about it
    train/shard-00000.tfrecord a symbolic link to the first episode, and so on
    features.json              the fields, from `rlds.spec`
    dataset_info.json          the number of shards

A curated version holds shards of many episodes: `{train,val}/shard-*.tfrecord`.
"""

import contextlib
import json
import secrets
from collections.abc import Mapping, Sequence
from pathlib import Path

from base import durable_file
from base.errors import OversizedError
from rlds import reader, tfds_features
from rlds.errors import DatasetFolderError
from rlds.manifest import Shard
from rlds.spec import EpisodeSpec

FEATURES_FILE = "features.json"
INFO_FILE = "dataset_info.json"
SIDECAR_SUFFIX = ".sidecar.json"
EPISODE_SUFFIX = ".tfrecord"

_TEMPLATE = "{SPLIT}/shard-{SHARD_INDEX}.{FILEFORMAT}"
_MAX_SHARDS = 99_999  # TFDS uses more digits for the shards of larger splits
_VERSION = "1.0.0"


class TfdsDirectory:
    """A folder of one robot's episodes that TFDS can open after each `add`."""

    def __init__(
        self, folder: Path, name: str, spec: EpisodeSpec, split: str = "train"
    ) -> None:
        """Opens the folder; in an empty folder, the first `add` writes all files.

        Args:
            folder: existing folder, empty or written by this class.
            name: name of the dataset: lower-case letters, digits and `_`.
            spec: sizes of the fields, the same for every episode of the folder.
            split: name of the only split.

        Raises:
            DatasetFolderError: the folder holds another dataset or is incomplete.
            DiskError: the folder cannot be read.
        """
        self._folder = folder
        self._name = name
        self._spec = spec
        self._split = split
        self._episodes: list[str] = []
        self._features = tfds_features.features_json(spec)
        try:
            self._open()
        except OSError as e:
            raise durable_file.disk_error(folder, "to read the folder", e) from e

    @property
    def episode_files(self) -> tuple[str, ...]:
        """Names of the episodes' files, in the order in which TFDS reads them."""
        return tuple(self._episodes)

    def add(self, episode_bytes_framed: bytes, sidecar: bytes | None = None) -> Path:
        """Adds one episode to the folder, durably, and its sidecar last.

        An interrupted call leaves a folder that TFDS can open, and can be repeated: an
        episode with the same id is replaced.

        Args:
            episode_bytes_framed: content of the episode's file.
            sidecar: content of the sidecar's file; None for no sidecar.

        Returns:
            The episode's file.

        Raises:
            DatasetFolderError: the episode has another spec.
            MalformedEpisodeError, CorruptRecordError: the bytes are not an episode.
            OversizedError: the folder is full.
            DiskError: a file cannot be written.
        """
        episode = reader.read_episode_bytes(episode_bytes_framed)
        if episode.spec != self._spec:
            raise DatasetFolderError(self._folder, str(self._spec), episode.spec)
        if len(self._episodes) == _MAX_SHARDS:
            raise OversizedError(
                self._folder,
                f"at most {_MAX_SHARDS} episodes",
                "more",
                "record into a new folder",
            )
        path = self._folder / f"{episode.metadata.episode_id}{EPISODE_SUFFIX}"
        durable_file.write(path, episode_bytes_framed)
        if path.name not in self._episodes:
            self._link(path.name, len(self._episodes))
            self._episodes.append(path.name)
        self._write_info()
        if sidecar is not None:
            name = f"{episode.metadata.episode_id}{SIDECAR_SUFFIX}"
            durable_file.write(self._folder / name, sidecar)
        return path

    def _open(self) -> None:
        info = self._folder / INFO_FILE
        if not info.exists():
            return
        features = self._folder / FEATURES_FILE
        if not features.exists() or features.read_bytes() != self._features:
            raise DatasetFolderError(
                features, f"the fields of {self._spec}", "other fields"
            )
        for index in range(_shard_count(info, self._name, self._split)):
            shard = self._shard(index)
            if not shard.is_symlink() or not shard.exists():
                raise DatasetFolderError(shard, "a link to an episode", "none")
            self._episodes.append(shard.readlink().name)

    def _shard(self, index: int) -> Path:
        return self._folder / shard_path(self._split, index)

    def _link(self, name: str, index: int) -> None:
        shard = self._shard(index)
        temporary = shard.with_name(
            f"{durable_file.LEFTOVER_PREFIX}{secrets.token_hex(8)}"
        )
        try:
            shard.parent.mkdir(exist_ok=True)
            temporary.symlink_to(Path("..", name))
            temporary.replace(shard)
        except OSError as e:
            with contextlib.suppress(OSError):
                temporary.unlink(missing_ok=True)
            raise durable_file.disk_error(shard, "to link the episode", e) from e
        durable_file.fsync_folder(shard.parent)
        durable_file.fsync_folder(self._folder)

    def _write_info(self) -> None:
        features = self._folder / FEATURES_FILE
        if not features.exists():
            durable_file.write(features, self._features)
        try:
            sizes = [(self._folder / name).stat().st_size for name in self._episodes]
        except OSError as e:
            raise durable_file.disk_error(self._folder, "to read a size", e) from e
        split = _split_info(self._split, [1] * len(sizes), sum(sizes))
        durable_file.write(self._folder / INFO_FILE, _info(self._name, [split]))


def shard_path(split: str, index: int) -> str:
    """Returns the path of a shard, relative to the dataset's folder."""
    return f"{split}/shard-{index:05d}{EPISODE_SUFFIX}"


def write_info(
    folder: Path,
    name: str,
    spec: EpisodeSpec,
    split_shards: Mapping[str, Sequence[Shard]],
    version: str = _VERSION,
) -> None:
    """Writes the files that TFDS needs next to the shards of a curated version.

    Args:
        folder: the version's folder.
        name: name of the dataset: lower-case letters, digits and `_`.
        spec: sizes of the fields.
        split_shards: shards of each split, their paths as `shard_path` makes them.
        version: `X.Y.Z` of the dataset.

    Raises:
        DatasetFolderError: a shard has another path.
        DiskError: a file cannot be written.
    """
    splits = []
    for split, shards in split_shards.items():
        for index, shard in enumerate(shards):
            if shard.path != shard_path(split, index) or index >= _MAX_SHARDS:
                raise DatasetFolderError(
                    folder, f"a shard at {shard_path(split, index)}", shard.path
                )
        lengths = [shard.num_episodes for shard in shards]
        size_bytes = sum(shard.size_bytes for shard in shards)
        splits.append(_split_info(split, lengths, size_bytes))
    durable_file.write(folder / FEATURES_FILE, tfds_features.features_json(spec))
    durable_file.write(folder / INFO_FILE, _info(name, splits, version))


def _split_info(name: str, lengths: Sequence[int], size_bytes: int) -> object:
    return {
        "name": name,
        "shardLengths": [str(length) for length in lengths],
        "numBytes": str(size_bytes),
        "filepathTemplate": _TEMPLATE,
    }


def _info(name: str, splits: Sequence[object], version: str = _VERSION) -> bytes:
    value = {
        "name": name,
        "version": version,
        "description": "Robot episodes in the RLDS form.",
        "fileFormat": "tfrecord",
        "moduleName": "rlds",
        "splits": splits,
    }
    return json.dumps(value, indent=2).encode() + b"\n"


def _shard_count(info: Path, name: str, split: str) -> int:
    try:
        value = json.loads(info.read_bytes())
        stated = (value["name"], [found["name"] for found in value["splits"]])
        lengths = value["splits"][0]["shardLengths"]
        count = len(lengths)
    except (ValueError, KeyError, IndexError, TypeError) as e:
        raise DatasetFolderError(
            info, "a file written by this program", "other bytes"
        ) from e
    if stated != (name, [split]):
        raise DatasetFolderError(info, f"dataset {name}, split {split}", stated)
    return count
