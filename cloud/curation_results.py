"""What the curation pipeline hands on: shards that are written but not yet named."""

import dataclasses
import pathlib
from collections.abc import Mapping

from cloud.feature_statistics import Moments


@dataclasses.dataclass(frozen=True)
class KeptEpisode:
    """One episode of a shard, with its share of the statistics."""

    episode_id: str
    sha256: str
    num_steps: int
    moments: Mapping[str, Moments]


@dataclasses.dataclass(frozen=True)
class ShardResult:
    """One written shard: its file, what it holds, and what had to be left out.

    Attributes:
        path: the shard's file in the work folder, absent when `kept` is empty.
        drops: reason by episode id.
    """

    split: str
    shard: int
    path: pathlib.Path
    sha256: str
    size_bytes: int
    kept: tuple[KeptEpisode, ...]
    drops: Mapping[str, str]
