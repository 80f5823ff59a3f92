"""What is heard of the page: in order, whole, new, and nothing else."""

import math

import pytest

from edge.actors import told_moves
from edge.actors.told_moves import HOLD_S, WORD_S, HeardMoves, Told, Word

NOW_S = 1000.0


def say(at_s: float, **fields: object) -> dict[str, object]:
    return {"at_s": at_s, "acts": True, "axes": [0.5], "says": "", **fields}


def hear(*messages: dict[str, object], now_s: float = NOW_S) -> list[Told]:
    heard = HeardMoves()
    for one in messages:
        heard.hear(one, now_s)
    return heard.take(now_s)


def test_messages_are_heard_in_order_and_taken_once() -> None:
    heard = HeardMoves()
    heard.hear(say(999.8), NOW_S)
    heard.hear(say(999.9, says="success", axes=[-1, 0.25]), NOW_S)
    assert heard.take(NOW_S) == [
        Told(999.8, True, (0.5,)),
        Told(999.9, True, (-1.0, 0.25), Word.SUCCESS),
    ]
    assert heard.take(NOW_S) == []


def test_message_that_comes_again_late_or_out_of_order_is_not_heard() -> None:
    first, second = say(999.7), say(999.9, axes=[0.0])
    assert [one.axes for one in hear(second, first, second)] == [(0.0,)]
    heard = HeardMoves()
    heard.hear(first, NOW_S)
    heard.take(NOW_S)
    heard.hear(first, NOW_S)
    assert heard.take(NOW_S) == []


def test_message_of_the_future_does_not_silence_those_after_it() -> None:
    assert [one.at_s for one in hear(say(1e9), say(999.9))] == [999.9]


def test_word_that_nobody_took_for_long_counts_no_more_and_stop_does() -> None:
    heard = HeardMoves()
    heard.hear(say(NOW_S - 0.1, says="hand_back"), NOW_S)
    heard.stop(NOW_S)
    assert [one.says for one in heard.take(NOW_S + WORD_S)] == [Word.STOP]
    assert hear(say(NOW_S - 2 * WORD_S, says="success")) == []


def test_messages_that_nobody_takes_are_not_kept() -> None:
    heard = HeardMoves()
    for number in range(10_000):
        at_s = NOW_S + number / 20
        heard.hear(say(at_s), at_s)
    assert len(heard.take(at_s)) <= WORD_S * 20 + 1


def test_robot_is_held_before_its_person_is_taken_for_lost() -> None:
    assert HOLD_S < WORD_S < told_moves.LOST_S


@pytest.mark.parametrize(
    "wrong",
    [
        {"at_s": None},
        {"at_s": True},
        {"at_s": math.nan},
        {"at_s": "999.9"},
        {"acts": 1},
        {"acts": None},
        {"axes": None},
        {"axes": "0"},
        {"axes": [0.0] * 17},
        {"axes": [1.1]},
        {"axes": [math.nan]},
        {"axes": [math.inf]},
        {"axes": ["0"]},
        {"axes": [[0.0]]},
        {"axes": [10**400]},
        {"says": None},
        {"says": "explode"},
        {"says": ["stop"]},
    ],
)
def test_malformed_message_is_not_heard(wrong: dict[str, object]) -> None:
    assert hear(say(999.9) | wrong) == []
    assert hear({}) == []
