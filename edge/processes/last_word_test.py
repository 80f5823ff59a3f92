"""A control process that is started again knows what was said, and who stopped it."""

from pathlib import Path

import pytest

from edge.loops.mode import Mode, ModeRules
from edge.processes import last_word
from edge.processes.last_word import LastWord, StopKey
from edge.processes.mode_keeper import ModeKeeper

NOW_S = 1000.0


def start_control(word: LastWord, now_s: float = NOW_S) -> ModeKeeper:
    """A control process that is new, and has heard the word once."""
    keeper = ModeKeeper(
        ModeRules(), is_on_charger=lambda: False, monotonic_s=lambda: now_s
    )
    keeper.hear(word.describe())
    return keeper


def mode_of(keeper: ModeKeeper) -> Mode:
    return keeper.choose(in_episode=False, has_work=True).mode


def test_nothing_was_said_at_first() -> None:
    keeper = start_control(LastWord())
    assert keeper.has_heard
    assert mode_of(keeper) is Mode.DRIVING
    assert keeper.stopped_s is None


@pytest.mark.parametrize("told", [None, Mode.DRIVING, Mode.IDLE, Mode.ASLEEP])
def test_robot_that_was_stopped_goes_on_after_control_was_started_again(
    told: Mode | None,
) -> None:
    word = LastWord()
    if told is not None:
        word.say(told, 900.0)
    word.note({"stopped_s": 910.0})
    keeper = start_control(word)
    assert mode_of(keeper) is Mode.IDLE
    assert keeper.stopped_s == 910.0
    keeper.go_on()
    assert mode_of(keeper) is (told or Mode.DRIVING)
    keeper.hear(word.describe())  # the supervisor does not know yet
    assert mode_of(keeper) is (told or Mode.DRIVING)


def test_robot_that_went_on_goes_on_after_control_was_started_again() -> None:
    word = LastWord()
    word.say(Mode.DRIVING, 900.0, demonstrates=True)
    word.note({"stopped_s": 910.0})
    word.note({})  # of a control that has not heard the word yet
    assert word.describe()["stopped_s"] == 910.0
    word.note({"went_on_s": 905.0})  # of a stop before
    assert word.describe()["stopped_s"] == 910.0
    word.note({"went_on_s": 920.0})
    word.note({"stopped_s": 910.0})  # it comes late
    keeper = start_control(word)
    assert mode_of(keeper) is Mode.DRIVING
    assert keeper.demonstrates
    assert keeper.stopped_s is None


def test_next_word_ends_the_stop() -> None:
    word = LastWord()
    word.note({"stopped_s": 910.0})
    word.say(Mode.DRIVING, 930.0)
    word.note({"stopped_s": 910.0})
    assert mode_of(start_control(word)) is Mode.DRIVING
    word.note({"stopped_s": 940.0})
    assert mode_of(start_control(word)) is Mode.IDLE


def test_status_that_makes_no_sense_is_none() -> None:
    word = LastWord()
    for wrong in (None, "910", [910.0]):
        word.note({"stopped_s": wrong, "went_on_s": wrong})
    assert word.describe() == LastWord().describe()


def test_stop_key_is_handed_on_until_control_hears_it_and_the_person_is_told_once() -> (
    None
):
    key, sent = StopKey(), list[dict[str, object]]()
    hears = False

    def send(fields: dict[str, object]) -> bool:
        sent.append(fields)
        return hears

    assert not key.hand_on(send)
    assert not sent
    key.press(910.0)
    said = [key.hand_on(send) for _ in range(3)]
    assert said == ["control does not hear the stop key now", "", ""]
    hears = True
    for _ in range(2):
        assert not key.hand_on(send)
    assert sent == [{"at_s": 910.0}] * 4
    key.press(920.0)
    key.forget()
    assert not key.hand_on(send)
    assert len(sent) == 4


def test_word_said_elsewhere_counts_unless_it_is_older_or_makes_no_sense() -> None:
    word = LastWord()
    word.say(Mode.DRIVING, 900.0)
    before = word.describe()
    for wrong in (
        {"mode": "asleep", "at_s": 890.0},
        {"mode": "asleep", "at_s": NOW_S + 1.0},
        {"mode": "asleep", "at_s": "950"},
        {"mode": "flying", "at_s": 950.0},
        {"mode": ["asleep"], "at_s": 950.0},
        {},
    ):
        assert not word.hear(wrong, NOW_S)
        assert word.describe() == before
    assert word.hear({"mode": "asleep", "at_s": 950.0}, NOW_S)
    assert mode_of(start_control(word)) is Mode.ASLEEP


def test_kept_word_holds_until_the_machine_is_started_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert last_word.read_kept(tmp_path) == {}
    (tmp_path / "run").mkdir()
    word = LastWord()
    for mode in (Mode.DRIVING, Mode.ASLEEP):
        word.say(mode, 900.0)
        last_word.keep(tmp_path, word.describe())
        assert last_word.read_kept(tmp_path) == word.describe()
    path = tmp_path / "run" / last_word.FILE
    raw = path.read_bytes()
    another = tmp_path / "boot_id"
    another.write_text("another start\n")
    with monkeypatch.context() as restarted:
        restarted.setattr(last_word, "_BOOT_ID", another)
        assert last_word.read_kept(tmp_path) == {}
    for damaged in (b"", b"{}", raw[:-2], b"[" * 3000, bytes(5000)):
        path.write_bytes(damaged)
        assert last_word.read_kept(tmp_path) == {}
    path.unlink()
    path.mkdir()
    assert last_word.read_kept(tmp_path) == {}
    last_word.keep(tmp_path, word.describe())
    assert last_word.read_kept(tmp_path) == word.describe()
