"""Which memories stay, are learned from and judge."""

import dataclasses
import itertools

import pytest

from edge.loops import memory_choice
from edge.loops.memory_choice import (
    KNOWN,
    LIVED,
    SEEN,
    Driver,
    Memory,
    Use,
    choose_recent,
    choose_to_keep,
    choose_to_learn,
    choose_use,
    tell_driver,
    tell_kind,
)
from edge.testing.memories import make_memory as memory
from rlds.testing import episodes


def take_in(kinds: list[tuple[str, Driver]]) -> list[Memory]:
    """Memories of these tasks and drivers, each with the use that it is given."""
    found: list[Memory] = []
    for number, (task, driver) in enumerate(kinds):
        use = choose_use(found, task, tell_kind(driver, True))
        found.append(memory(number, task=task, driver=driver, use=use))
    return found


@pytest.mark.parametrize(
    ("actor", "delta", "driver"),
    [
        ("expert", "", Driver.EXPERT),
        ("human", "", Driver.PERSON),
        ("human", "ab" * 32, Driver.PERSON),
        ("policy:cdcdcdcdcdcd", "", Driver.PACKAGE),
        ("policy:cdcdcdcdcdcd", "ab" * 32, Driver.PACKAGE_WITH_DELTA),
    ],
)
def test_who_drove_is_told_by_the_fields_of_the_episode(
    actor: str, delta: str, driver: Driver
) -> None:
    metadata = episodes.metadata(operator=actor, delta_digest=delta)
    assert tell_driver(metadata) is driver
    corrected = tell_driver(metadata, corrected=True)
    assert corrected is (driver if driver is Driver.EXPERT else Driver.PERSON)


@pytest.mark.parametrize(
    ("driver", "success", "kind"),
    [
        (Driver.PACKAGE, True, KNOWN),
        (Driver.PACKAGE, False, SEEN),
        (Driver.PACKAGE, None, SEEN),
        (Driver.PACKAGE_WITH_DELTA, True, LIVED),
        (Driver.PACKAGE_WITH_DELTA, False, SEEN),
        (Driver.PACKAGE_WITH_DELTA, None, SEEN),
        (Driver.PERSON, True, LIVED),
        (Driver.PERSON, None, LIVED),
        (Driver.PERSON, False, SEEN),
        (Driver.EXPERT, None, LIVED),
    ],
)
def test_kind_follows_from_who_drove_and_how_it_ended(
    driver: Driver, success: bool | None, kind: int
) -> None:
    assert tell_kind(driver, success) == kind


def test_one_of_each_four_of_a_task_and_kind_judges_and_never_the_first() -> None:
    kinds = [("reach", Driver.PACKAGE), ("push", Driver.EXPERT)] * 20
    for task in ("reach", "push"):
        of_task = [m for m in take_in(kinds) if m.task == task]
        assert of_task[0].use is Use.LEARN
        for block in itertools.batched(of_task, 4, strict=True):
            assert [m.use for m in block].count(Use.JUDGE) == 1


@pytest.mark.parametrize("seed", range(3**4))
def test_task_with_four_memories_of_any_kinds_has_both_uses(seed: int) -> None:
    drivers = (Driver.PACKAGE, Driver.PACKAGE_WITH_DELTA, Driver.EXPERT)
    chosen = [drivers[seed // 3**i % 3] for i in range(4)]
    uses = {m.use for m in take_in([("push", driver) for driver in chosen])}
    assert uses == {Use.LEARN, Use.JUDGE}


def test_everything_stays_while_there_is_room() -> None:
    some = [memory(n) for n in range(5)]
    assert choose_to_keep(some, 500) == {m.digest for m in some}
    assert choose_to_keep(some, 99) == frozenset()


def test_memories_of_one_number_are_told_apart_without_an_order() -> None:
    # Somebody put a copy of an older home here.
    have = [dataclasses.replace(memory(7), digest=f"{n:064x}") for n in range(5)]
    room = 3 * have[0].size_bytes
    kept = choose_to_keep(have, room)
    assert len(kept) == 3
    assert choose_to_keep(have, room) == kept
    assert len(choose_to_learn(have, 3)) == 3
    assert len(choose_recent(have, 3)) == 3


def test_demonstrations_outlive_what_the_robot_can_record_again() -> None:
    own = [memory(n) for n in range(4)]
    shown = memory(9, driver=Driver.PERSON)
    failed = memory(10, success=False)
    assert choose_to_keep([*own, shown, failed], 100) == {shown.digest}
    assert failed.digest not in choose_to_keep([*own, shown, failed], 500)


def test_rare_tasks_and_environments_are_kept_before_the_tenth_of_a_kind() -> None:
    many = [memory(n) for n in range(50)]
    rare = memory(3, task="push", digest="a" * 64)
    elsewhere = memory(4, environment_id="kitchen", digest="b" * 64)
    kept = choose_to_keep([*many, rare, elsewhere], 1000)
    assert {rare.digest, elsewhere.digest} <= kept


def test_newest_of_equals_stay_and_surprise_lifts_an_old_one() -> None:
    some = [memory(n, surprise=1.0) for n in range(10)]
    assert choose_to_keep(some, 300) == {m.digest for m in some[-3:]}
    some[0] = dataclasses.replace(some[0], surprise=100.0)
    assert some[0].digest in choose_to_keep(some, 300)


def test_judges_keep_their_share_when_room_is_short() -> None:
    kinds = [("reach", Driver.PACKAGE)] * 80
    some = take_in(kinds)
    kept = choose_to_keep(some, 4000)
    judges = [m for m in some if m.use is Use.JUDGE and m.digest in kept]
    assert 9 <= len(judges) <= 11


def test_known_memories_keep_half_of_the_room() -> None:
    lived = [memory(n, driver=Driver.EXPERT) for n in range(20)]
    known = [memory(100 + n) for n in range(20)]
    chosen = choose_to_learn([*lived, *known], 10)
    assert [m.kind for m in chosen] == [KNOWN] * 5 + [LIVED] * 5
    assert [m.number for m in chosen] == [*range(100, 120, 4), *range(15, 20)]
    assert len(choose_to_learn([*lived, *known[:2]], 10)) == 10


def test_known_memories_of_every_task_and_age_share_their_room() -> None:
    many = [memory(n, task="reach") for n in range(40)]
    few = [memory(100 + n, task="push") for n in range(3)]
    chosen = choose_to_learn([*many, *few], 11)
    assert [m.number for m in chosen] == [*range(0, 40, 5), 100, 101, 102]


def test_what_was_seen_fills_the_room_that_is_left_in_the_order_of_recording() -> None:
    known, shown = memory(0), memory(7, driver=Driver.EXPERT)
    seen = [memory(n, success=False) for n in (5, 6, 8)]
    chosen = choose_to_learn([known, shown, *seen], 4)
    assert [m.number for m in chosen] == [0, 6, 7, 8]
    assert [m.kind for m in chosen] == [KNOWN, SEEN, LIVED, SEEN]
    many = [memory(n, success=False) for n in range(40)]
    assert len(choose_to_learn(many, 100)) == memory_choice.MOST_SEEN
    assert memory_choice.choose_judges(seen, 10) == []
    assert choose_use(many, "reach", SEEN) is Use.LEARN


def test_medium_loop_takes_the_newest_and_known_ones_of_every_age() -> None:
    known = [memory(n) for n in range(40)]
    shown = [memory(100 + n, driver=Driver.EXPERT) for n in range(30)]
    failed = [memory(200 + n, success=False) for n in range(30)]
    judges = [memory(300, driver=Driver.EXPERT, use=Use.JUDGE), memory(301, steps=1)]
    everything = [*failed, *judges, *shown, *known]
    chosen = choose_recent(everything, 36)
    assert [m.number for m in chosen] == [*range(0, 40, 2), *range(114, 130)]
    few = choose_recent([*known, *shown[:2], *failed], 36)
    assert [m.number for m in few[20:]] == [100, 101, *range(216, 230)]
    assert [m.kind for m in few[:20]] == [KNOWN] * 20
    small = choose_recent(everything, 8)
    assert [m.number for m in small] == [0, 10, 20, 30, 126, 127, 128, 129]
    assert choose_recent(known, 8) == known[::5]
    assert choose_recent([], 8) == []


def test_judges_and_memories_of_one_step_are_not_learned_from() -> None:
    some = [
        memory(0, use=Use.JUDGE),
        memory(2, steps=1),
        memory(3),
    ]
    assert [m.number for m in choose_to_learn(some, 10)] == [3]
    assert [m.number for m in memory_choice.choose_judges(some, 10)] == [0]


def test_newest_of_each_task_in_turn_are_learned_from() -> None:
    shown = Driver.EXPERT
    some = [memory(n, driver=shown) for n in range(9)]
    some += [memory(20, task="push", driver=shown)]
    assert [m.number for m in choose_to_learn(some, 3)] == [7, 8, 20]
