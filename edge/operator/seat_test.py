"""One browser drives at a time, and by new commands only; time is passed in."""

from collections.abc import Callable

import pytest

from edge.actors.told_moves import LOST_S, Word
from edge.operator.seat import MOST_S, Command, RefusedError, Seat

NOW_S = 1000.0


def command(
    number: int,
    says: Word | None = None,
    turn: str = "a",
    heard_s: float = NOW_S,
) -> Command:
    return Command(turn, number, heard_s, (1.0,), says)


def sit(number: int = 1) -> Seat:
    seat = Seat()
    assert seat.hear("anna", command(number, Word.TAKE_OVER), NOW_S)
    return seat


def test_who_takes_over_drives_until_they_hand_back() -> None:
    seat = sit()
    assert seat.hear("anna", command(2), NOW_S + 0.05)
    assert seat.describe("anna", "a", NOW_S) == "yours"
    assert not seat.hear("anna", command(3, Word.HAND_BACK), NOW_S + 0.1)
    assert seat.describe("anna", "a", NOW_S) == "free"


@pytest.mark.parametrize(
    ("wrong", "why"),
    [
        (lambda seat: seat.hear("anna", command(5), NOW_S), "later command"),
        (lambda seat: seat.hear("anna", command(4), NOW_S), "later command"),
        (
            lambda seat: seat.hear("anna", command(6), NOW_S + MOST_S + 0.01),
            "too late",
        ),
        (lambda seat: seat.hear("anna", command(6), NOW_S - 0.01), "too late"),
        (lambda seat: seat.hear("bert", command(6), NOW_S), "somebody else"),
        (
            lambda seat: seat.hear("bert", command(1, Word.TAKE_OVER, "b"), NOW_S),
            "somebody else",
        ),
        (
            lambda seat: seat.hear("anna", command(1, Word.TAKE_OVER, "b"), NOW_S),
            "somebody else",  # another tab
        ),
        (
            lambda seat: seat.hear("bert", command(1, Word.SUCCESS, "b"), NOW_S),
            "somebody else",
        ),
        (
            lambda seat: seat.hear("bert", command(9, Word.HAND_BACK), NOW_S),
            "somebody else",
        ),
    ],
)
def test_command_that_does_not_count_changes_nothing(
    wrong: Callable[[Seat], bool], why: str
) -> None:
    seat = sit(number=5)
    with pytest.raises(RefusedError, match=why):
        wrong(seat)
    assert seat.describe("anna", "a", NOW_S) == "yours"
    assert seat.hear("anna", command(6), NOW_S)


def test_turn_that_is_over_is_not_taken_up_again() -> None:
    for says in (Word.HAND_BACK, Word.GONE):
        seat = sit()
        seat.hear("anna", command(2, says), NOW_S)
        for again in (command(1, Word.TAKE_OVER), command(3, Word.TAKE_OVER)):
            with pytest.raises(RefusedError, match="over"):
                seat.hear("anna", again, NOW_S)
    seat = sit()
    assert seat.clear()
    assert not seat.clear()
    with pytest.raises(RefusedError, match="over"):
        seat.hear("anna", command(2), NOW_S)
    assert seat.hear("bert", command(1, Word.TAKE_OVER, "b"), NOW_S)


def test_seat_of_somebody_who_is_silent_is_free_after_a_while() -> None:
    seat = sit()
    before_s, after_s = NOW_S + LOST_S, NOW_S + LOST_S + 0.01
    with pytest.raises(RefusedError, match="somebody else"):
        take = command(1, Word.TAKE_OVER, "b", before_s)
        seat.hear("bert", take, before_s)
    assert seat.hear("bert", command(1, Word.TAKE_OVER, "b", after_s), after_s)
    with pytest.raises(RefusedError, match="over"):
        seat.hear("anna", command(2, None, "a", after_s), after_s)


def test_nobody_moves_a_robot_that_they_did_not_take() -> None:
    for says in (None, Word.HAND_BACK, Word.GONE):
        with pytest.raises(RefusedError, match="take over first"):
            Seat().hear("anna", command(1, says), NOW_S)


def test_word_about_what_the_package_does_counts_once_and_takes_nothing() -> None:
    seat = Seat()
    assert not seat.hear("anna", command(1, Word.SUCCESS), NOW_S)
    with pytest.raises(RefusedError, match="over"):
        seat.hear("anna", command(1, Word.SUCCESS), NOW_S)
    assert seat.describe("anna", "a", NOW_S) == "free"


def test_session_that_ends_is_known_to_have_the_seat() -> None:
    seat = sit()
    assert seat.has("anna")
    assert not seat.has("bert")
