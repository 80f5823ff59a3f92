"""Decides which episodes a dataset holds and where each one goes.

Pure: the same index, selection and spec always give the same plan. Groups are sorted
by SHA-256 of salt and group, and the first `val_groups` are `val`; where each episode
is a group, each task in turn gives its first one. Within a split,
episodes are sorted by SHA-256 of salt and episode id, which shuffles them, and are cut
into shards of nearly equal length.
"""

import dataclasses
import hashlib
import pathlib
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence

from base import canonical_json
from cloud.curate.feature_statistics import Moments
from cloud.curate.spec import EPISODE, CurationSpec
from cloud.dataset import recorded_robot
from cloud.errors import CurationSpecError
from cloud.index import schema
from rlds.spec import LEFT_OUT_TAG

TRAIN = "train"
VAL = "val"
SPLITS = (TRAIN, VAL)
NOT_SELECTED = "predicate_false"
LEFT_OUT = LEFT_OUT_TAG
"""Its operator wants nobody to learn from it, whatever the spec selects."""


@dataclasses.dataclass(frozen=True)
class Placement:
    """One episode's row, and where it goes: split, shard, and position in the split."""

    row: schema.Row
    split: str
    shard: int
    position: int


@dataclasses.dataclass(frozen=True)
class Plan:
    """Where each episode goes, and why each other row of the index does not.

    Attributes:
        placements: episodes to read, in order of split and position.
        drops: reason by episode id.
    """

    placements: tuple[Placement, ...]
    drops: Mapping[str, str]


def plan(
    rows: Sequence[schema.Row], selected: Collection[str], spec: CurationSpec
) -> Plan:
    """Returns the plan for the selected episodes.

    Raises:
        CurationSpecError: nothing is selected, the episodes have different shapes, or
            there are too few groups for `val_groups`.
    """
    reasons = {
        str(row["episode_id"]): _find_reason(row, row["episode_id"] in selected)
        for row in rows
    }
    taken = [row for row in rows if not reasons[str(row["episode_id"])]]
    _check_taken(taken, len(rows), spec)
    groups = _order_groups(taken, spec)
    if spec.val_groups >= len(groups):
        raise CurationSpecError(
            f"curation spec {spec.dataset} {spec.version}",
            f"more groups by {' and '.join(spec.by)} than val_groups {spec.val_groups}",
            len(groups),
            "lower val_groups, record on more robots or days, or split by "
            f"{EPISODE} alone",
        )
    val_groups = set(groups[: spec.val_groups])
    placements = []
    for split in SPLITS:
        members = [
            row for row in taken if (_group(row, spec) in val_groups) == (split == VAL)
        ]
        placements.extend(_place(members, split, spec))
    drops = {name: reason for name, reason in reasons.items() if reason}
    return Plan(tuple(placements), drops)


def _find_reason(row: schema.Row, is_selected: bool) -> str:
    """Says why an episode is dropped; "" if it is not."""
    if not is_selected:
        return NOT_SELECTED
    tags = row["tags"]
    return LEFT_OUT if isinstance(tags, list) and LEFT_OUT_TAG in tags else ""


def describe_split(planned: Plan, spec: CurationSpec) -> list[str]:
    """Returns a line where similar episodes are in both splits."""
    if not spec.is_by_episode:
        return []
    held_out = sum(one.split == VAL for one in planned.placements)
    return [
        f"split by episode: the {held_out} held out are of the same robots and days as "
        "the others, so they say little of how a model does on another day"
    ]


def describe_mixture(planned: Plan) -> list[str]:
    """Returns a line for each thing that the chosen episodes do not have in common.

    Robots of one size may differ in every unit, and a model of both fits neither. A
    task of which nothing is held out is not judged, and one of which nothing is left
    is not learned.
    """
    lines = []
    for column in ("robot_model", "environment_id"):
        values = _values(planned, column)
        different = len(set(values.values()))
        if different > 1:
            lines.append(
                f"episodes of {different} values of {column}: "
                f"{recorded_robot.describe_values(values)}; `where` can name one"
            )
    tasks = {
        split: {p.row["task"] for p in planned.placements if p.split == split}
        for split in SPLITS
    }
    for absent, split, other in (
        (tasks[TRAIN] - tasks[VAL], "held out", TRAIN),
        (tasks[VAL] - tasks[TRAIN], "left to train on", VAL),
    ):
        if absent:
            values = _values(planned, "task")
            missing = {name: task for name, task in values.items() if task in absent}
            lines.append(
                f"no episode is {split} of {recorded_robot.describe_values(missing)}, "
                f"which all went to {other}"
            )
    return lines


def _values(planned: Plan, column: str) -> dict[str, object]:
    return {str(p.row["episode_id"]): p.row[column] for p in planned.placements}


def _check_taken(taken: list[schema.Row], total: int, spec: CurationSpec) -> None:
    name = f"curation spec {spec.dataset} {spec.version}"
    if not taken:
        raise CurationSpecError(
            name,
            "`where` to select episodes",
            f"none of {total}",
            "widen it or index more episodes",
        )
    shapes = {
        str(row["episode_id"]): tuple(row[column] for column in schema.SHAPE_COLUMNS)
        for row in taken
    }
    if len(set(shapes.values())) != 1:
        raise CurationSpecError(
            name,
            f"episodes of one shape {schema.SHAPE_COLUMNS}",
            recorded_robot.describe_values(shapes),
            "narrow `where` to one of them",
        )


def _place(
    members: list[schema.Row], split: str, spec: CurationSpec
) -> list[Placement]:
    order = _order(spec.salt)
    members = sorted(members, key=lambda row: order(str(row["episode_id"])))
    shards = min(spec.shards(split), len(members))
    return [
        Placement(row, split, position * shards // len(members), position)
        for position, row in enumerate(members)
    ]


def _order_groups(taken: Sequence[schema.Row], spec: CurationSpec) -> list[str]:
    order = _order(spec.salt)
    if not spec.is_by_episode:
        return sorted({_group(row, spec) for row in taken}, key=order)
    # A task of which nothing is held out would not be judged.
    turns: Counter[object] = Counter()
    ranked = []
    for row in sorted(taken, key=lambda row: order(_group(row, spec))):
        group = _group(row, spec)
        ranked.append((turns[row["task"]], order(group), group))
        turns[row["task"]] += 1
    return [group for *_, group in sorted(ranked)]


def _group(row: schema.Row, spec: CurationSpec) -> str:
    return canonical_json.encode([row[column] for column in spec.by]).decode()


def _order(salt: str) -> Callable[[str], str]:
    def salted_digest(text: str) -> str:
        return hashlib.sha256(canonical_json.encode([salt, text])).hexdigest()

    return salted_digest


@dataclasses.dataclass(frozen=True)
class KeptEpisode:
    """One episode of a shard, with its moments.

    Attributes:
        period_ns: median time between two steps; None of a single step.
    """

    episode_id: str
    sha256: str
    num_steps: int
    period_ns: int | None
    moments: Mapping[str, Moments]


@dataclasses.dataclass(frozen=True)
class ShardResult:
    """One written shard: its file, its episodes, and the episodes that were dropped.

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
