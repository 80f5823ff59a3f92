import collections
import json
from typing import Any

import pytest

from base.errors import MalformedError
from cloud.curate import plan as curation_plan
from cloud.curate import spec as curation_spec
from cloud.errors import CurationSpecError
from cloud.testing import records

_SPEC = {
    "dataset": "reach",
    "version": "1.0.0",
    "where": "true",
    "split": {"by": ["robot_hash", "date"], "val_groups": 2, "salt": "s"},
    "shards": {"train": 4, "val": 2},
}


def _spec(**changes: Any) -> curation_spec.CurationSpec:
    split = _SPEC["split"] | changes.pop("split", {})
    raw = json.dumps(_SPEC | changes | {"split": split}).encode()
    return curation_spec.parse(raw, "spec.json")


def _rows() -> list[dict[str, object]]:
    """Three robots, four days, five episodes each: twelve groups."""
    return [
        records.index_row(number, robot=number // 20, day=1 + number // 5 % 4)
        for number in range(60)
    ]


def _all(rows: list[dict[str, object]]) -> set[str]:
    return {str(row["episode_id"]) for row in rows}


@pytest.mark.parametrize("by", [["robot_hash", "date"], ["robot_hash"], ["date"]])
@pytest.mark.parametrize("salt", ["a", "b", "c"])
def test_no_group_is_in_both_splits(by: list[str], salt: str) -> None:
    rows = _rows()
    plan = curation_plan.plan(rows, _all(rows), _spec(split={"by": by, "salt": salt}))
    groups = collections.defaultdict(set)
    for placement in plan.placements:
        groups[placement.split].add(tuple(placement.row[name] for name in by))
    assert len(groups["val"]) == 2
    assert not groups["train"] & groups["val"]
    assert len(plan.placements) == len(rows)


@pytest.mark.parametrize("salt", ["a", "b", "c"])
def test_one_robots_day_is_split_by_episode_and_each_task_is_held_out(
    salt: str,
) -> None:
    rows = [
        records.index_row(number, day=1, task="push" if number < 4 else "reach")
        for number in range(40)
    ]
    with pytest.raises(CurationSpecError, match="or split by episode_id alone"):
        curation_plan.plan(rows, _all(rows), _spec())
    spec = _spec(split={"by": ["episode_id"], "val_groups": 7, "salt": salt})
    plan = curation_plan.plan(rows, _all(rows), spec)
    held_out = collections.Counter(
        one.row["task"] for one in plan.placements if one.split == "val"
    )
    assert held_out == {"push": 3, "reach": 4} or held_out == {"push": 4, "reach": 3}
    assert len(plan.placements) == len(rows)
    assert plan == curation_plan.plan(rows[::-1], _all(rows), spec)
    (line,) = curation_plan.describe_split(plan, spec)
    assert line.startswith("split by episode: the 7 held out are of the same robots")
    assert curation_plan.describe_split(plan, _spec()) == []


def test_order_of_rows_does_not_change_the_plan() -> None:
    rows = _rows()
    assert curation_plan.plan(rows, _all(rows), _spec()) == curation_plan.plan(
        rows[::-1], _all(rows), _spec()
    )


def test_episode_that_its_operator_left_out_is_dropped_with_that_reason() -> None:
    rows = _rows()
    rows[7] = rows[7] | {"tags": ["simulated", "left_out_by_operator"]}
    plan = curation_plan.plan(rows, _all(rows), _spec())
    assert plan.drops == {rows[7]["episode_id"]: "left_out_by_operator"}
    assert rows[7] not in [placement.row for placement in plan.placements]


def test_salt_changes_which_groups_are_held_out() -> None:
    rows = _rows()
    held_out = set()
    for salt in "abcdef":
        plan = curation_plan.plan(rows, _all(rows), _spec(split={"salt": salt}))
        held_out.add(
            frozenset(p.row["episode_id"] for p in plan.placements if p.split == "val")
        )
    assert len(held_out) > 1


def test_shards_have_equal_sizes_and_positions_continue_across_them() -> None:
    rows = _rows()
    plan = curation_plan.plan(rows, _all(rows), _spec())
    train = [p for p in plan.placements if p.split == "train"]
    sizes = collections.Counter(p.shard for p in train)
    assert sorted(sizes) == [0, 1, 2, 3]
    assert max(sizes.values()) - min(sizes.values()) <= 1
    assert [p.position for p in train] == list(range(len(train)))
    assert [p.shard for p in train] == sorted(p.shard for p in train)


def test_more_shards_than_episodes_give_no_empty_shard() -> None:
    rows = _rows()[:6]
    spec = _spec(split={"val_groups": 1}, shards={"train": 50, "val": 50})
    plan = curation_plan.plan(rows, _all(rows), spec)
    used = {(p.split, p.shard) for p in plan.placements}
    assert len(used) == len(rows)


def test_every_row_that_is_not_selected_has_a_reason() -> None:
    rows = _rows()
    selected = _all(rows[:30])
    plan = curation_plan.plan(rows, selected, _spec())
    placed = {p.row["episode_id"] for p in plan.placements}
    assert placed == selected
    assert dict(plan.drops) == {
        row["episode_id"]: "predicate_false" for row in rows[30:]
    }


def test_nothing_selected_is_refused() -> None:
    with pytest.raises(CurationSpecError, match="got none of 60"):
        curation_plan.plan(_rows(), set(), _spec())


def test_no_more_groups_than_val_groups_is_refused() -> None:
    rows = _rows()[:10]
    with pytest.raises(CurationSpecError, match="val_groups 2, got 2"):
        curation_plan.plan(rows, _all(rows), _spec())


def test_episodes_of_two_shapes_are_refused() -> None:
    rows = [*_rows(), records.index_row(99, state_size=39)]
    match = rf"\(60\), \(39, 2, False, '', 0\) \(1: {records.episode_id(99)}\)"
    with pytest.raises(CurationSpecError, match=f"one shape .*{match}"):
        curation_plan.plan(rows, _all(rows), _spec())


@pytest.mark.parametrize(
    "changes",
    [
        {"dataset": "Reach!"},
        {"version": "1.0"},
        {"split": {"by": []}},
        {"split": {"by": ["task"]}},
        {"split": {"by": ["robot_hash", "date", "task"]}},
        {"split": {"by": ["episode_id", "date"]}},
        {"split": {"by": ["episode_id", "episode_id"]}},
        {"shards": {"train": 100_001, "val": 1}},
    ],
)
def test_a_spec_that_makes_no_dataset_is_refused(
    changes: dict[str, object],
) -> None:
    with pytest.raises(CurationSpecError, match=r"spec\.json"):
        _spec(**changes)


@pytest.mark.parametrize(
    "changes",
    [
        {"where": ""},
        {"wher": "true"},
        {"split": {"val_groups": -1}},
        {"split": {"val_groups": "1"}},
        {"shards": {"train": 0, "val": 1}},
    ],
)
def test_a_malformed_spec_is_refused(
    changes: dict[str, object],
) -> None:
    with pytest.raises(MalformedError, match=r"spec\.json"):
        _spec(**changes)


def test_robots_of_several_models_in_one_dataset_are_told() -> None:
    rows = _rows()
    plan = curation_plan.plan(rows, _all(rows), _spec())
    assert curation_plan.describe_mixture(plan) == []
    for row in rows[:7]:
        row["robot_model"] = "lab\x1b[2Jarm"
    (line,) = curation_plan.describe_mixture(
        curation_plan.plan(rows, _all(rows), _spec())
    )
    named = ", ".join(records.episode_id(number) for number in range(3))
    assert line == (
        f"episodes of 2 values of robot_model:  (53), lab?[2Jarm (7: {named} and 4 "
        "more); `where` can name one"
    )


def test_task_in_one_split_only_is_reported() -> None:
    rows = _rows()
    planned = curation_plan.plan(rows, _all(rows), _spec())
    held_out = {p.row["episode_id"] for p in planned.placements if p.split == "val"}
    for row in rows:
        row["task"] = "push" if row["episode_id"] in held_out else "reach"
    lines = curation_plan.describe_mixture(
        curation_plan.plan(rows, _all(rows), _spec())
    )
    assert lines == [
        "no episode is held out of reach (50), which all went to train",
        "no episode is left to train on of push (10), which all went to val",
    ]


def test_a_spec_without_held_out_groups_is_refused_with_the_reason() -> None:
    with pytest.raises(CurationSpecError, match="evaluated on held-out robots or days"):
        _spec(split={"val_groups": 0})
