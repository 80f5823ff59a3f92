"""The manifest of a dataset version, whose digest is the dataset's identity.

It names every file and episode with its digest.
"""

import dataclasses
import hashlib
import math
import re
from collections import Counter
from collections.abc import Mapping
from pathlib import PurePosixPath
from types import MappingProxyType
from typing import Any

from base import canonical_json
from base.errors import CanonicalJsonError
from rlds.errors import ManifestError

# About 200 bytes per episode: room for a million of them.
LIMIT_BYTES = 256 * 1024 * 1024
# An episode takes about 33 bytes per value, a dropped one 60, a statistic 20.
_BYTES_PER_VALUE = 24
_FEW_VALUES = 16_384

_SOURCE = "manifest.json"
_SHA256 = re.compile("[0-9a-f]{64}")
_NAME = re.compile("[a-z][a-z0-9_]{0,63}")
_VERSION = re.compile(r"(0|[1-9]\d{0,8})(\.(0|[1-9]\d{0,8})){2}", re.ASCII)


@dataclasses.dataclass(frozen=True, slots=True)
class Shard:
    """One TFRecord file of a split.

    Attributes:
        path: relative to the manifest, with `/`, inside its folder.
        sha256: digest of the file.
        size_bytes: size of the file.
        num_episodes: number of records.
        num_steps: number of steps in all of them.
    """

    path: str
    sha256: str
    size_bytes: int
    num_episodes: int
    num_steps: int

    def __post_init__(self) -> None:
        parts = PurePosixPath(_text("path", self.path))
        if parts.is_absolute() or ".." in parts.parts or str(parts) != self.path:
            raise _malformed("a plain path below the manifest", self.path)
        if self.path == "." or "\\" in self.path or "\0" in self.path:
            raise _malformed("a plain path below the manifest", self.path)
        _form("sha256", self.sha256, _SHA256)
        for name in ("size_bytes", "num_episodes", "num_steps"):
            _count(name, getattr(self, name))


@dataclasses.dataclass(frozen=True, slots=True)
class EpisodeEntry:
    """One episode of the dataset: its id, the digest of its file, and its split."""

    episode_id: str
    sha256: str
    split: str
    num_steps: int

    def __post_init__(self) -> None:
        _text("episode_id", self.episode_id)
        _form("sha256", self.sha256, _SHA256)
        _form("split", self.split, _NAME)
        _count("num_steps", self.num_steps)


@dataclasses.dataclass(frozen=True)
class FeatureStatistics:
    """Mean, standard deviation and range per channel over `count` steps."""

    count: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    min: tuple[float, ...]
    max: tuple[float, ...]

    def __post_init__(self) -> None:
        _count("count", self.count)
        for name in ("mean", "std", "min", "max"):
            values = getattr(self, name)
            if not isinstance(values, list | tuple) or len(values) != len(self.mean):
                raise _malformed(f"{name}: one number per channel", values)
            for value in values:
                if type(value) not in (int, float) or not math.isfinite(value):
                    raise _malformed(f"{name}: finite numbers", value)
            object.__setattr__(self, name, tuple(float(value) for value in values))


@dataclasses.dataclass(frozen=True)
class Manifest:
    """Everything that defines a dataset version.

    Attributes:
        dataset: name of the dataset.
        version: `X.Y.Z`.
        created_at: RFC 3339 time.
        schema_version: schema version of the episodes.
        index_snapshot_sha256: digest of the index snapshot that was queried.
        curation_spec: the curation spec, verbatim.
        curation_spec_sha256: digest of the spec's canonical bytes.
        code_commit: commit of the code that curated.
        splits: shards of each split, in order.
        episodes: every episode, in the order of their ids.
        drops: the reason for each episode that was left out, by episode id.
        statistics: statistics of each numeric feature over the training split.
        tasks: number of episodes of each task, by split, so that a reader knows the
            tasks before it has read a shard; empty in a manifest of an earlier version.

    Raises:
        ManifestError: a value has the wrong type or form, or the parts disagree.
    """

    dataset: str
    version: str
    created_at: str
    schema_version: str
    index_snapshot_sha256: str
    curation_spec: Mapping[str, object]
    curation_spec_sha256: str
    code_commit: str
    splits: Mapping[str, tuple[Shard, ...]]
    episodes: tuple[EpisodeEntry, ...]
    drops: Mapping[str, str]
    statistics: Mapping[str, FeatureStatistics]
    tasks: Mapping[str, Mapping[str, int]] = dataclasses.field(default_factory=dict)

    def __post_init__(self) -> None:
        _form("dataset", self.dataset, _NAME)
        _form("version", self.version, _VERSION)
        for name in ("created_at", "schema_version", "code_commit"):
            _text(name, getattr(self, name))
        _form("index_snapshot_sha256", self.index_snapshot_sha256, _SHA256)
        spec_digest = hashlib.sha256(canonical_json.encode(self.curation_spec))
        if self.curation_spec_sha256 != spec_digest.hexdigest():
            raise _malformed(
                f"curation_spec_sha256 {spec_digest.hexdigest()}",
                self.curation_spec_sha256,
            )
        for episode_id, reason in self.drops.items():
            _text("drops", episode_id)
            _text("drops", reason)
        self._check_episodes()
        self._check_shards()
        self._check_tasks()
        for name in ("curation_spec", "splits", "drops", "statistics", "tasks"):
            frozen = MappingProxyType(dict(getattr(self, name)))
            object.__setattr__(self, name, frozen)

    def __reduce__(self) -> tuple[Any, ...]:
        return parse, (encode(self),)

    def _check_episodes(self) -> None:
        ids = [episode.episode_id for episode in self.episodes]
        if ids != sorted(set(ids)):
            raise _malformed("each episode once, in the order of ids", "another order")
        both = set(ids) & set(self.drops)
        if both:
            raise _malformed("an episode kept or dropped", f"both: {sorted(both)}")

    def _check_shards(self) -> None:
        paths = [shard.path for shards in self.splits.values() for shard in shards]
        if len(set(paths)) != len(paths):
            raise _malformed("each shard once", "a path twice")
        episodes: Counter[str] = Counter()
        steps: Counter[str] = Counter()
        for entry in self.episodes:
            episodes[entry.split] += 1
            steps[entry.split] += entry.num_steps
        for split, shards in self.splits.items():
            _form("splits", split, _NAME)
            stated = sum(shard.num_episodes for shard in shards)
            stated_steps = sum(shard.num_steps for shard in shards)
            if (stated, stated_steps) != (episodes[split], steps[split]):
                raise _malformed(
                    f"{split}: as many episodes and steps as its shards state",
                    f"{episodes[split]} episodes against {stated}",
                )
        unknown = set(episodes) - set(self.splits)
        if unknown:
            raise _malformed("episodes of its splits", f"of {sorted(unknown)}")

    def _check_tasks(self) -> None:
        episodes = Counter(entry.split for entry in self.episodes)
        for split, counts in self.tasks.items():
            for task, count in _mapping(counts).items():
                _text("tasks", task)
                _count("tasks", count)
            kept, stated = episodes[split], sum(counts.values())
            if stated != kept:
                raise _malformed(f"tasks of {split}: its {kept} episodes", stated)
        if self.tasks and set(self.tasks) != set(self.splits):
            raise _malformed(f"tasks of {sorted(self.splits)}", sorted(self.tasks))


_NAMES: Mapping[type[Any], frozenset[str]] = {
    kind: frozenset(field.name for field in dataclasses.fields(kind))
    for kind in (Shard, EpisodeEntry, FeatureStatistics, Manifest)
}


def encode(manifest: Manifest) -> bytes:
    """Returns the canonical bytes of `manifest.json`."""
    value: dict[str, object] = {
        field.name: getattr(manifest, field.name)
        for field in dataclasses.fields(manifest)
    }
    value["splits"] = {
        split: [_as_json(shard) for shard in shards]
        for split, shards in manifest.splits.items()
    }
    value["episodes"] = [_as_json(entry) for entry in manifest.episodes]
    value["statistics"] = {
        name: _as_json(found) for name, found in manifest.statistics.items()
    }
    if not manifest.tasks:
        del value["tasks"]  # as earlier versions wrote it
    return canonical_json.encode(value)


def digest(manifest: Manifest) -> str:
    """Returns the SHA-256 of the manifest's bytes: the dataset's identity."""
    return hashlib.sha256(encode(manifest)).hexdigest()


def parse(raw: bytes) -> Manifest:
    """Turns the bytes of a `manifest.json` into a manifest.

    Raises:
        ManifestError: the bytes are too many or not canonical JSON, a field is
            missing, unknown or of the wrong form, or the parts disagree.
    """
    if len(raw) > LIMIT_BYTES:
        raise _malformed(f"at most {LIMIT_BYTES} bytes", len(raw))
    try:
        value = canonical_json.decode_canonical(
            raw, max(_FEW_VALUES, len(raw) // _BYTES_PER_VALUE)
        )
    except CanonicalJsonError as e:
        raise _malformed(e.expected, e.got) from e
    if isinstance(value, dict) and "tasks" not in value:
        value["tasks"] = {}
    fields = _object(value, Manifest)
    fields["splits"] = {
        split: tuple(Shard(**_object(shard, Shard)) for shard in _list(shards))
        for split, shards in _mapping(fields["splits"]).items()
    }
    fields["episodes"] = tuple(
        EpisodeEntry(**_object(entry, EpisodeEntry))
        for entry in _list(fields["episodes"])
    )
    fields["statistics"] = {
        name: FeatureStatistics(**_object(found, FeatureStatistics))
        for name, found in _mapping(fields["statistics"]).items()
    }
    _mapping(fields["drops"])
    _mapping(fields["tasks"])
    _mapping(fields["curation_spec"])
    return Manifest(**fields)


def _as_json(part: Shard | EpisodeEntry | FeatureStatistics) -> dict[str, object]:
    """Returns the fields; `dataclasses.asdict` copies each, for a million episodes."""
    return {name: getattr(part, name) for name in _NAMES[type(part)]}


def _object(value: object, kind: type[Any]) -> dict[str, Any]:
    names = _NAMES[kind]
    fields = _mapping(value)
    if fields.keys() != names:
        difference = sorted(set(fields) ^ names)
        raise _malformed(f"the keys of {kind.__name__}", f"a difference: {difference}")
    return fields


def _mapping(value: object) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise _malformed("an object", type(value).__name__)
    return value


def _list(value: object) -> list[object]:
    if not isinstance(value, list):
        raise _malformed("a list", type(value).__name__)
    return value


def _text(name: str, value: object) -> str:
    if not isinstance(value, str) or not value:
        raise _malformed(f"{name}: a non-empty string", repr(value))
    return value


def _form(name: str, value: object, form: re.Pattern[str]) -> None:
    if not isinstance(value, str) or not form.fullmatch(value):
        raise _malformed(f"{name}: {form.pattern}", repr(value))


def _count(name: str, value: object) -> None:
    if type(value) is not int or not 0 <= value <= canonical_json.MAX_INTEGER:
        raise _malformed(f"{name}: a count", repr(value))


def _malformed(expected: str, got: object) -> ManifestError:
    return ManifestError(_SOURCE, expected, got)
