"""Bytes of a terminal become moves and words, and moves end by themselves."""

import numpy as np
import pytest

from edge.actors.keys import (
    HOLD_S,
    PAIRS,
    SPEEDS,
    WORDS,
    HeldKeys,
    KeyReader,
    Move,
    Word,
    describe,
)

RIGHT, LEFT, UP = Move(0, 1), Move(0, -1), Move(1, 1)


def read(*pieces: bytes) -> list[Move | Word]:
    reader = KeyReader()
    return [said for piece in pieces for said in reader.read(piece)]


@pytest.mark.parametrize(
    ("pieces", "said"),
    [
        ((b"d",), [RIGHT]),
        ((b"D",), [RIGHT]),
        ((b"da w",), [RIGHT, LEFT, Word.TAKE_OVER, UP]),
        ((b"\x1b[C\x1b[A",), [RIGHT, UP]),
        ((b"\x1bOD",), [LEFT]),
        ((b"\x1b", b"[", b"C", b"w"), [RIGHT, UP]),
        ((b"w\x1b[", b"Cw"), [UP, RIGHT, UP]),
        ((b"\x1b[1;5Cy",), [Word.SUCCESS]),
        ((b"\x1b[15~\x1b[200~h",), [Word.HAND_BACK]),
        ((b"\x1by",), [Word.SUCCESS]),
        ((b"\x1b\x1b[C",), [RIGHT]),
        ((b"zm\x00\xff\n",), []),
        ((b"xb",), [Word.STOP, Word.LEFT_OUT]),
        ((b"=+-?n",), [Word.FASTER, Word.FASTER, Word.SLOWER, Word.HELP, Word.FAILURE]),
    ],
)
def test_bytes_say_the_same_however_they_are_cut(
    pieces: tuple[bytes, ...], said: list[Move | Word]
) -> None:
    assert read(*pieces) == said
    assert read(*(bytes([one]) for one in b"".join(pieces))) == said


def test_endless_sequence_is_given_up_and_keys_work_again() -> None:
    reader = KeyReader()
    assert list(reader.read(b"\x1b[" + b"1" * 100)) == []
    assert list(reader.read(b"d")) == [RIGHT]


def test_random_bytes_are_read_without_an_error() -> None:
    random = np.random.default_rng(0)
    reader = KeyReader()
    said = [one for _ in range(2000) for one in reader.read(random.bytes(7))]
    assert {type(one) for one in said} == {Move, Word}


def test_key_moves_for_its_time_and_no_longer() -> None:
    held = HeldKeys(4)
    held.press(RIGHT, 10.0)
    assert held.axes(10.0).tolist() == [1, 0, 0, 0]
    assert held.axes(10.0 + 0.9 * HOLD_S).tolist() == [1, 0, 0, 0]
    assert held.axes(10.0 + 1.1 * HOLD_S).tolist() == [0, 0, 0, 0]


def test_held_key_moves_without_a_pause_at_the_slowest_repeat() -> None:
    held = HeldKeys(1)
    for now_s in np.arange(0.0, 1.0, 0.005):
        if round(now_s * 1000) % 90 == 0:  # 10.9 repeats a second
            held.press(RIGHT, now_s)
        assert held.axes(now_s)[0] == 1


def test_keys_that_are_pressed_together_move_together() -> None:
    held = HeldKeys(4)
    held.press(RIGHT, 0.0)
    held.press(UP, 0.04)
    assert held.axes(0.05).tolist() == [1, 1, 0, 0]


def test_the_other_direction_ends_the_first_at_once() -> None:
    held = HeldKeys(2)
    held.press(RIGHT, 0.0)
    held.press(LEFT, 0.01)
    assert held.axes(0.01).tolist() == [-1, 0]
    held.release()
    assert held.axes(0.01).tolist() == [0, 0]


def test_key_of_a_component_that_the_robot_lacks_moves_nothing() -> None:
    held = HeldKeys(1)
    assert not held.press(UP, 0.0)
    assert held.press(RIGHT, 0.0)
    assert held.axes(0.0).tolist() == [1]


def test_every_key_has_one_meaning_and_is_in_the_legend() -> None:
    moves = [bytes([one]) for pair in PAIRS for one in pair]
    assert len({*moves, *WORDS}) == len(moves) + len(WORDS)
    legend = "\n".join(describe(len(PAIRS)))
    for word in Word:
        assert word.value in legend
    for pair in PAIRS:
        assert f"{pair.decode()[0]}/{pair.decode()[1]}" in legend
    assert "u/j" not in "\n".join(describe(4))
    assert list(SPEEDS) == sorted(SPEEDS)
