"""Which imported episodes are held out, and in which shard each one goes; pure.

A source that has a split for it holds its own episodes out. Otherwise some of each task
are held out, chosen by a digest, so that the same source gives the same answer.
"""

import hashlib
import math
from collections import defaultdict
from collections.abc import Mapping, Sequence

from base import canonical_json
from cloud.curate.plan import TRAIN, VAL
from cloud.evaluate.bootstrap import FEWEST

HELD_OUT_SPLITS = ("val", "valid", "validation", "test", "eval")
"""Splits of sources whose episodes nobody is to learn from."""
_SHARE = 10
"""One in so many episodes of a task is held out."""
_LEAVES = 4
"""Of a small task no more than one in so many is, whatever a verdict needs."""
_SHARD_BYTES = 256 * 1024 * 1024
_SHARDS = 100


def hold_out(
    tasks: Mapping[str, str],
    splits: Mapping[str, str],
    wanted: int,
    salt: str,
) -> frozenset[str]:
    """Returns the episodes to hold out.

    Args:
        tasks: task of each episode, by its id.
        splits: split of the source that each episode is in.
        wanted: episodes of each task; 0 for the default: those of the source's own
            splits for it, else a tenth, and as many as a verdict needs if that is no
            more than a quarter.
        salt: decides the order.
    """
    given = frozenset(
        name for name, split in splits.items() if split.lower() in HELD_OUT_SPLITS
    )
    if given and not wanted and len(given) < len(tasks):
        return given
    of_task: dict[str, list[str]] = defaultdict(list)
    for name in sorted(tasks, key=lambda name: _order(salt, name)):
        of_task[tasks[name]].append(name)
    found: list[str] = []
    for names in of_task.values():
        count = wanted or max(len(names) // _SHARE, min(FEWEST, len(names) // _LEAVES))
        found += names[: min(count, len(names) - 1)]
    if not found and len(tasks) > 1:
        found = [min(tasks, key=lambda name: _order(salt, name))]
    return frozenset(found)


def fill_shards(
    sizes_bytes: Mapping[str, int], held_out: frozenset[str], salt: str
) -> list[tuple[str, int, str]]:
    """Returns (split, shard, episode) of every episode, in the order of the shards.

    Args:
        sizes_bytes: size of each episode, by its id.
        held_out: those that are held out.
        salt: decides the order.
    """
    found = []
    for split in (TRAIN, VAL):
        members = sorted(
            (name for name in sizes_bytes if (name in held_out) == (split == VAL)),
            key=lambda name: _order(salt, name),
        )
        total = sum(sizes_bytes[name] for name in members)
        shards = min(_SHARDS, len(members), math.ceil(total / _SHARD_BYTES)) or 1
        found += [
            (split, position * shards // len(members), name)
            for position, name in enumerate(members)
        ]
    return found


def group(placed: Sequence[tuple[str, int, str]]) -> dict[tuple[str, int], list[str]]:
    """Returns the episodes of each shard, in order, by split and number."""
    shards: dict[tuple[str, int], list[str]] = {}
    for split, shard, name in placed:
        shards.setdefault((split, shard), []).append(name)
    return shards


def _order(salt: str, name: str) -> str:
    return hashlib.sha256(canonical_json.encode([salt, name])).hexdigest()
