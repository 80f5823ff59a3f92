"""Keys say what the robot is to do, or move it, and never both."""

import pytest

from edge.loops.mode import Mode
from edge.processes.person_keys import PersonKeys, Said


@pytest.mark.parametrize(
    ("raw", "said"),
    [
        (b"", Said()),
        (b"d", Said(Mode.DRIVING)),
        (b"i", Said(Mode.IDLE)),
        (b"s", Said(Mode.ASLEEP)),
        (b" ", Said(Mode.IDLE, stops=True)),
        (b" d", Said(Mode.DRIVING, stops=True)),
        (b"ds", Said(Mode.ASLEEP)),
        (b"q", Said(quits=True)),
        (b" qd", Said(Mode.IDLE, stops=True, quits=True)),
        (b"\x1b[Dhz\xff", Said()),  # an arrow and keys of the other layer
    ],
)
def test_keys_say_what_the_robot_is_to_do(raw: bytes, said: Said) -> None:
    for actor in (None, "gamepad", "keyboard"):
        assert PersonKeys(actor).hear(raw) == said


def test_task_is_demonstrated_only_where_somebody_acts() -> None:
    assert PersonKeys().hear(b"t") == Said()
    shown = Said(Mode.DRIVING, demonstrates=True)
    for actor in ("expert", "gamepad", "keyboard"):
        assert PersonKeys(actor).hear(b"t") == shown
        assert PersonKeys(actor).hear(b"td") == Said(Mode.DRIVING)


def test_keys_that_move_the_robot_are_handed_on_whole_until_tab() -> None:
    keys = PersonKeys("keyboard")
    assert keys.hear(b"d\tdisq ty\x1b[D") == Said(Mode.DRIVING, acting=b"disq ty\x1b[D")
    assert keys.acts
    assert keys.hear(b"x\t ") == Said(Mode.IDLE, stops=True, acting=b"x")
    assert not keys.acts


@pytest.mark.parametrize("actor", [None, "expert", "gamepad"])
def test_only_a_keyboard_has_keys_that_move_the_robot(actor: str | None) -> None:
    keys = PersonKeys(actor)
    assert keys.hear(b"\ty") == Said()
    assert not keys.acts
    assert "tab" not in keys.describe()


def test_line_of_keys_names_those_that_mean_something() -> None:
    assert PersonKeys().describe() == (
        "d drive   i idle   s sleep   space stop   q quit"
    )
    assert "t be shown a task   space" in PersonKeys("expert").describe()
    keys = PersonKeys("keyboard")
    assert "tab act" in keys.describe()
    keys.hear(b"\t")
    assert "tab back" in keys.describe()
    assert "q quit" not in keys.describe()
