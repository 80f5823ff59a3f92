"""Folders of episodes that `tfds.builder_from_directory` opens without conversion.

A robot's folder has one file per episode. TFDS finds shards by number, so the folder
also has one numbered link per episode:

    <episode_id>.tfrecord      the episode
    <episode_id>.sidecar.json  the robot's statement about it
    train/shard-00000.tfrecord a symbolic link to the first episode, and so on
    features.json              the fields, from `rlds.spec`
    dataset_info.json          the number of shards

Whether a person acted (`intervention`) is a field that an episode may lack.
`features.json` lists it as long as every episode of the folder has it; TFDS skips what
is not listed, so that all of them open whoever drove.

Only the first two are data. The others are made anew when they are lost or damaged: a
folder may be copied by tools and through file systems that know no links. Where the
folder itself cannot hold a link, a copy of the episode takes its position.

A curated version holds shards of many episodes: `{train,val}/shard-*.tfrecord`.
"""

import contextlib
import errno
import filecmp
import json
import os
import secrets
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from base import canonical_json, durable_file, plain_file
from base.errors import CanonicalJsonError, ContinuonError, OversizedError
from rlds import reader, tfds_features
from rlds.episode import Episode
from rlds.errors import DatasetFolderError
from rlds.manifest import Shard
from rlds.spec import EpisodeSpec

FEATURES_FILE = "features.json"
INFO_FILE = "dataset_info.json"
SIDECAR_SUFFIX = ".sidecar.json"
EPISODE_SUFFIX = ".tfrecord"
MAX_SHARDS = 99_999
"""Episodes of a folder: TFDS uses more digits for the shards of larger splits."""

_TEMPLATE = "{SPLIT}/shard-{SHARD_INDEX}.{FILEFORMAT}"
# Of dataset_info.json: a line of some twenty bytes per shard, with room.
_INFO_LIMIT_BYTES = 4 * 1024 * 1024
_INFO_VALUES = MAX_SHARDS + 1024
_VERSION = "1.0.0"
# What a file system without symbolic links answers.
_NO_LINKS = (errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL)


class TfdsDirectory:
    """A folder of one robot's episodes that TFDS can open after each `add`."""

    def __init__(
        self, folder: Path, name: str, spec: EpisodeSpec, split: str = "train"
    ) -> None:
        """Opens the folder, and makes its links and records anew if they are not whole.

        In an empty folder, the first `add` writes all files.

        Args:
            folder: existing folder, empty or written by this class.
            name: name of the dataset: lower-case letters, digits and `_`.
            spec: sizes of the fields, the same for every episode of the folder but for
                `interventions`.
            split: name of the only split.

        Raises:
            DatasetFolderError: the folder holds another dataset.
            DiskError: the folder cannot be read, or not be made whole.
        """
        self._folder = folder
        self._name = name
        self._list_fields(spec)
        self._split = split
        self._set_aside: list[Path] = []
        self.read_again()

    def read_again(self) -> None:
        """Reads the folder, in which files may have been renamed or removed.

        Raises:
            DatasetFolderError, DiskError: as when it is opened.
        """
        self._episodes: list[str] = []
        try:
            self._open()
        except OSError as e:
            raise durable_file.disk_error(self._folder, "to read it", e) from e

    @property
    def episode_files(self) -> tuple[str, ...]:
        """Names of the episodes' files, in the order in which TFDS reads them."""
        return tuple(self._episodes)

    @property
    def set_aside(self) -> tuple[Path, ...]:
        """Files that were among the links, were no episodes, and were renamed."""
        return tuple(self._set_aside)

    def check_spec(self, spec: EpisodeSpec) -> None:
        """Checks that an episode of this spec may be added.

        Raises:
            DatasetFolderError: the folder's episodes have another.
        """
        if not self._fits(spec):
            raise DatasetFolderError(self._folder, f"episodes of {self._spec}", spec)

    def add(
        self,
        episode_bytes_framed: bytes,
        sidecar: bytes | None = None,
        group: int | None = None,
    ) -> Path:
        """Adds one episode to the folder, durably, and its sidecar last.

        An interrupted call leaves a folder that TFDS can open, and can be repeated: an
        episode with the same id is replaced.

        Args:
            episode_bytes_framed: content of the episode's file.
            sidecar: content of the sidecar's file; None for no sidecar.
            group: id of the group of both files; None for that of the episode which is
                replaced, or the one that the folder gives.

        Returns:
            The episode's file.

        Raises:
            DatasetFolderError: the episode has another spec.
            MalformedEpisodeError, CorruptRecordError: the bytes are not an episode.
            OversizedError: the folder is full.
            DiskError: a file cannot be written.
        """
        episode = reader.read_episode_bytes(episode_bytes_framed)
        self.check_spec(episode.spec)
        if len(self._episodes) == MAX_SHARDS:
            raise OversizedError(
                self._folder,
                f"at most {MAX_SHARDS} episodes",
                "more",
                "record into a new folder",
            )
        self._list_for(episode.spec)
        path = self._folder / f"{episode.metadata.episode_id}{EPISODE_SUFFIX}"
        if group is None:
            with contextlib.suppress(OSError):
                group = path.lstat().st_gid
        _write(path, episode_bytes_framed, group)
        if path.name not in self._episodes:
            self._link(path.name, len(self._episodes))
            self._episodes.append(path.name)
        self._write_info()
        if sidecar is not None:
            name = f"{episode.metadata.episode_id}{SIDECAR_SUFFIX}"
            _write(self._folder / name, sidecar, group)
        return path

    def remove(self, names: Collection[str]) -> None:
        """Removes episodes and their sidecars, durably; what is not here is gone.

        The sidecar goes first: an interrupted call leaves no sidecar without its
        episode, and can be repeated. The files go before links and record are written,
        for which a full disk has no room before; links to what is gone are made anew
        when the folder is next read. The last episodes take the positions of those that
        are gone, so that it does not matter how many stay.

        Args:
            names: files of episodes, as in `episode_files`.

        Raises:
            DiskError: the system refused; call `read_again` before anything else.
        """
        try:
            for name in names:
                sidecar = f"{name.removesuffix(EPISODE_SUFFIX)}{SIDECAR_SUFFIX}"
                (self._folder / sidecar).unlink(missing_ok=True)
            durable_file.fsync_folder(self._folder)
            for name in names:
                (self._folder / name).unlink(missing_ok=True)
            durable_file.fsync_folder(self._folder)
            self._close_gaps(set(names))
        except OSError as e:
            raise durable_file.disk_error(
                self._folder, f"to remove {len(names)} episodes", e
            ) from e

    def _close_gaps(self, gone: set[str]) -> None:
        """Gives the positions of episodes that are gone to the last of the others."""
        before = len(self._episodes)
        count = sum(name not in gone for name in self._episodes)
        if count == before:
            return
        last = [name for name in self._episodes[count:] if name not in gone]
        for index, name in enumerate(self._episodes[:count]):
            if name in gone:
                self._episodes[index] = last.pop()
                self._link(self._episodes[index], index, sync=False)
        del self._episodes[count:]
        for index in range(count, before):
            self._shard(index).unlink(missing_ok=True)
        self._sync_links()
        self._write_info()

    def _open(self) -> None:
        info = self._folder / INFO_FILE
        count = _shard_count(info, self._name, self._split)
        whole = self._has_features() and count is not None
        for index in range(count or 0):
            name = self._read_link(index)
            if name is not None and name not in self._episodes:
                self._episodes.append(name)
        missing = self._find_with_sidecar() - set(self._episodes)
        if not whole or missing or len(self._episodes) != count:
            self._repair(missing, count)

    def _fits(self, spec: EpisodeSpec) -> bool:
        """Whether a spec is that of the folder, whoever may have acted."""
        return replace(spec, interventions=False) == replace(
            self._spec, interventions=False
        )

    def _list_fields(self, spec: EpisodeSpec) -> None:
        self._spec = spec
        self._features = tfds_features.features_json(spec)

    def _list_for(self, spec: EpisodeSpec) -> None:
        """Lists what the episodes here and one more have in common, before it is here.

        Raises:
            DiskError: the list cannot be written.
        """
        if not self._episodes and not (self._folder / FEATURES_FILE).exists():
            self._list_fields(spec)
        elif self._spec.interventions and not spec.interventions:
            self._list_fields(spec)
            _write(self._folder / FEATURES_FILE, self._features)

    def _has_features(self) -> bool:
        """Whether the file of the fields is whole.

        Raises:
            DatasetFolderError: it is, and has other fields.
        """
        path = self._folder / FEATURES_FILE
        if not path.is_file():
            return False
        try:
            raw = plain_file.read(path, tfds_features.LIMIT_BYTES)
            if raw == self._features:
                return True
            found = tfds_features.read_spec(raw, str(path))
        except (DatasetFolderError, OversizedError):
            return False  # cut or overwritten
        if self._fits(found) and raw == tfds_features.features_json(found):
            self._list_fields(found)
            return True
        got = "other fields" if found == self._spec else found
        raise DatasetFolderError(path, f"the fields of {self._spec}", got)

    def _read_link(self, index: int) -> str | None:
        """Returns the name of the episode that a link stands for, if it is here."""
        shard = self._shard(index)
        if not shard.is_symlink():
            return None
        target = shard.readlink()
        if target != Path("..", target.name) or not _is_file(
            self._folder / target.name
        ):
            return None
        return target.name

    def _find_with_sidecar(self) -> set[str]:
        """Names of the episodes that have a sidecar: all that were added whole."""
        names = {
            path.name.removesuffix(SIDECAR_SUFFIX) + EPISODE_SUFFIX
            for path in self._folder.glob(f"*{SIDECAR_SUFFIX}")
        }
        return {name for name in names if _is_file(self._folder / name)}

    def _repair(self, missing: set[str], count: int | None) -> None:
        """Makes links, fields and record anew from the episodes that are here.

        The order of the links that are whole stays, and what has none follows in the
        order of its name. Every file among the links is kept: one that is not a copy of
        an episode becomes one again, or is set aside.

        Args:
            missing: files of episodes that have a sidecar and no link.
            count: number of shards in the record; None if that is absent or damaged.

        Raises:
            DatasetFolderError: the record is damaged, and nothing here is an episode.
        """
        shards = sorted(self._shard(0).parent.glob(f"shard-*{EPISODE_SUFFIX}"))
        for shard in shards:
            if _is_file(shard):
                name = self._adopt(shard)
                if name is not None and name not in self._episodes:
                    self._episodes.append(name)
        for name in sorted(missing - set(self._episodes)):
            if self._read(self._folder / name) is not None:
                self._episodes.append(name)
        info = self._folder / INFO_FILE
        if not self._episodes and count is None:
            if not os.path.lexists(info):
                return  # nothing was ever added whole
            raise _not_ours(info)
        for index, name in enumerate(self._episodes):
            if self._read_link(index) != name:
                self._link(name, index, sync=False)  # a folder may need thousands
        if self._episodes:
            self._sync_links()
        for shard in shards[len(self._episodes) :]:
            shard.unlink(missing_ok=True)
        self._write_info()

    def _adopt(self, shard: Path) -> str | None:
        """Finds the episode that a file among the links is a copy of, or was moved to.

        Returns:
            The episode's file, which is in the folder now; None if the file is no
            episode of it, or differs from its episode, and was set aside.
        """
        episode = self._read(shard)
        if episode is not None:
            path = self._folder / f"{episode.metadata.episode_id}{EPISODE_SUFFIX}"
            if not os.path.lexists(path):
                shard.rename(path)
                durable_file.fsync_folder(self._folder)
            if _is_file(path) and (not shard.exists() or _are_equal(path, shard)):
                return path.name
        self._set_aside.append(durable_file.set_aside(shard))
        return None

    def _read(self, path: Path) -> Episode | None:
        """Reads a file if it is an episode of this folder's fields."""
        try:
            episode = reader.read_episode(path)
        except ContinuonError:
            return None
        if not self._fits(episode.spec):
            return None
        self._list_for(episode.spec)
        return episode

    def _shard(self, index: int) -> Path:
        return self._folder / shard_path(self._split, index)

    def _link(self, name: str, index: int, *, sync: bool = True) -> None:
        shard = self._shard(index)
        temporary = shard.with_name(
            f"{durable_file.LEFTOVER_PREFIX}{secrets.token_hex(8)}"
        )
        try:
            shard.parent.mkdir(0o755, exist_ok=True)
            temporary.symlink_to(Path("..", name))
            temporary.replace(shard)
        except OSError as e:
            with contextlib.suppress(OSError):
                temporary.unlink(missing_ok=True)
            if e.errno not in _NO_LINKS:
                raise durable_file.disk_error(shard, "to link the episode", e) from e
            self._copy(name, shard)
        if sync:
            self._sync_links()

    def _sync_links(self) -> None:
        durable_file.fsync_folder(self._shard(0).parent)
        durable_file.fsync_folder(self._folder)

    def _copy(self, name: str, shard: Path) -> None:
        """Puts a copy of an episode where the file system takes no link to it."""
        try:
            if _is_file(shard) and _are_equal(self._folder / name, shard):
                return
            raw = plain_file.read(self._folder / name, reader.LIMIT_BYTES)
        except OSError as e:
            raise durable_file.disk_error(shard, "to copy the episode", e) from e
        _write(shard, raw)

    def _write_info(self) -> None:
        features = self._folder / FEATURES_FILE
        try:
            if not self._has_features():
                _write(features, self._features)
            sizes = [(self._folder / name).stat().st_size for name in self._episodes]
        except OSError as e:
            raise durable_file.disk_error(self._folder, "to read it", e) from e
        split = _split_info(self._split, [1] * len(sizes), sum(sizes))
        _write(self._folder / INFO_FILE, _info(self._name, [split]))


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
            if shard.path != shard_path(split, index) or index >= MAX_SHARDS:
                raise DatasetFolderError(
                    folder, f"a shard at {shard_path(split, index)}", shard.path
                )
        lengths = [shard.num_episodes for shard in shards]
        size_bytes = sum(shard.size_bytes for shard in shards)
        splits.append(_split_info(split, lengths, size_bytes))
    _write(folder / FEATURES_FILE, tfds_features.features_json(spec))
    _write(folder / INFO_FILE, _info(name, splits, version))


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


def _shard_count(info: Path, name: str, split: str) -> int | None:
    """Reads the number of shards; None if the file is absent or no such JSON any more.

    Raises:
        DatasetFolderError: it is about another dataset.
    """
    if not info.is_file():
        return None
    try:
        raw = plain_file.read(info, _INFO_LIMIT_BYTES)
        value: Any = canonical_json.decode(raw, _INFO_VALUES)
    except (CanonicalJsonError, OversizedError):
        return None
    try:
        stated = (value["name"], [found["name"] for found in value["splits"]])
        count = len(value["splits"][0]["shardLengths"])
    except (KeyError, IndexError, TypeError) as e:
        raise _not_ours(info) from e
    if stated != (name, [split]):
        raise DatasetFolderError(info, f"dataset {name}, split {split}", stated)
    return count


def _not_ours(info: Path) -> DatasetFolderError:
    return DatasetFolderError(info, "a file written by this program", "other bytes")


def _are_equal(path: Path, other: Path) -> bool:
    """Compares two files, piece by piece, whatever their size."""
    return filecmp.cmp(path, other, shallow=False)


def _is_file(path: Path) -> bool:
    """Whether there is a plain file, and no link to one."""
    return path.is_file() and not path.is_symlink()


def _write(path: Path, data: bytes, group: int | None = None) -> None:
    """Writes a file of the folder, which its readers do not change in place."""
    durable_file.write(path, data, durable_file.READABLE, group)
