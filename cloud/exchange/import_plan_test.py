import pytest

from cloud.exchange import import_plan

TRAIN, VAL = "train", "val"


def names(count: int, first: int = 0) -> list[str]:
    return [f"e-{number:06d}" for number in range(first, first + count)]


@pytest.mark.parametrize(
    ("episodes", "expected"),
    [(2, 1), (7, 1), (8, 2), (31, 7), (32, 8), (79, 8), (80, 8), (200, 20)],
)
def test_default_holds_out_a_tenth_or_what_a_verdict_needs(
    episodes: int, expected: int
) -> None:
    tasks = dict.fromkeys(names(episodes), "reach")
    held_out = import_plan.hold_out(tasks, dict.fromkeys(tasks, TRAIN), 0, "s")
    assert len(held_out) == expected


def test_each_task_is_held_out_and_none_is_held_out_whole() -> None:
    tasks = dict.fromkeys(names(40), "reach") | dict.fromkeys(names(3, 40), "push")
    held_out = import_plan.hold_out(tasks, dict.fromkeys(tasks, TRAIN), 5, "s")
    counts = {
        task: sum(tasks[n] == task for n in held_out) for task in ("reach", "push")
    }
    assert counts == {"reach": 5, "push": 2}


def test_split_of_the_source_is_held_out_as_it_is() -> None:
    tasks = dict.fromkeys(names(40), "reach")
    splits = dict.fromkeys(names(38), TRAIN) | dict.fromkeys(names(2, 38), "Validation")
    assert import_plan.hold_out(tasks, splits, 0, "s") == frozenset(names(2, 38))
    asked = import_plan.hold_out(tasks, splits, 9, "s")
    assert len(asked) == 9


def test_source_that_is_one_test_split_is_divided() -> None:
    tasks = dict.fromkeys(names(40), "reach")
    held_out = import_plan.hold_out(tasks, dict.fromkeys(tasks, "test"), 0, "s")
    assert len(held_out) == 8


def test_choice_and_order_follow_from_the_names_alone() -> None:
    tasks = dict.fromkeys(names(40), "reach")
    splits = dict.fromkeys(tasks, TRAIN)
    sizes = dict.fromkeys(tasks, 1000)
    backwards = dict(reversed(tasks.items()))
    held_out = import_plan.hold_out(tasks, splits, 0, "s")
    assert held_out == import_plan.hold_out(backwards, splits, 0, "s")
    placed = import_plan.fill_shards(sizes, held_out, "s")
    assert placed == import_plan.fill_shards(
        dict(reversed(sizes.items())), held_out, "s"
    )
    assert [name for *_, name in placed] != sorted(tasks)  # shuffled
    assert sorted(name for *_, name in placed) == sorted(tasks)


def test_shards_are_full_before_there_are_more() -> None:
    sizes = dict.fromkeys(names(9), 100 * 1024 * 1024)
    placed = import_plan.fill_shards(sizes, frozenset(names(1)), "s")
    shards = import_plan.group(placed)
    counts = {shard: len(members) for shard, members in shards.items()}
    assert counts == {
        (TRAIN, 0): 2,
        (TRAIN, 1): 2,
        (TRAIN, 2): 2,
        (TRAIN, 3): 2,
        (VAL, 0): 1,
    }
