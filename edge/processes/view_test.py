"""The view says what the processes told of themselves, and what it cannot know."""

import io

from edge.processes.view import STALE_S, Screen, Seen, describe, summarize

CONTROL = {
    "doing": "drives",
    "robot": "metaworld:reach-v3",
    "p50_us": 61.5,
    "p99_us": 140.0,
    "jitter_p99_us": 31.0,
    "missed": 2,
    "steps": 4210,
    "violations": 0,
    "episodes": 12,
    "successes": 11,
    "package": "3f" * 32,
    "delta": "9b" * 32,
    "channel": "nightly",
    "release": 7,
    "dropped": 0,
}
RECORD = {"doing": "records", "recorded": 4200, "driven": 4210, "episodes": 12}
LEARN = {
    "doing": "runs the slow loop",
    "reason": "asleep: all memories",
    "budgets": "12 of 60 min",
    "last_delta": "ab" * 32,
}


def seen(now_s: float) -> dict[str, Seen]:
    return {
        "control": Seen(CONTROL, now_s),
        "record": Seen(RECORD, now_s),
        "learn": Seen(LEARN, now_s),
    }


def test_view_shows_what_every_process_told() -> None:
    assert describe("driving", seen(5.0), 5.0) == [
        "robot     drives; told driving; metaworld:reach-v3",
        "step      p50 61.5 us, p99 140.0 us; jitter p99 31.0 us; "
        "2 of 4,210 steps late; 0 stop rules",
        "episodes  12, 11 succeeded",
        "package   3f3f3f3f3f3f, release 7 of nightly",
        "delta     9b9b9b9b9b9b",
        "record    records; 4,200 of 4,210 steps in 12 episodes; 0 dropped",
        "learn     runs the slow loop; asleep: all memories; budgets 12 of 60 min; "
        "last delta abababababab",
    ]


def test_process_that_says_nothing_is_shown_as_silent() -> None:
    lines = describe("driving", seen(0.0), STALE_S + 1.0)
    assert "drives; silent for 3 s; told driving" in lines[0]
    assert "runs the slow loop; silent for 3 s" in lines[-1]


def test_dead_process_is_shown_with_its_reason_and_nothing_old() -> None:
    processes = seen(0.0)
    processes["learn"] = Seen(trouble="killed by SIGKILL; again in 4 s")
    assert describe("idle", processes, 0.0)[-1] == (
        "learn     killed by SIGKILL; again in 4 s"
    )


def test_robot_of_which_nothing_is_known_is_shown() -> None:
    lines = describe("driving", {"control": Seen(), "record": Seen()}, 0.0)
    assert lines[0] == "robot     starts; told driving; "
    assert "package   none" in lines


def test_status_of_wrong_types_is_no_error() -> None:
    strange = {"doing": 3, "steps": "many", "package": ["a"], "missed": None}
    processes = {"control": Seen(strange, 0.0), "record": Seen(strange, 0.0)}
    assert "- steps late" in summarize("driving", processes, 0.0)
    assert describe("driving", processes, 0.0)


def test_log_has_all_of_it_on_one_line() -> None:
    text = summarize("driving", seen(0.0), 0.0)
    assert text == (
        "drives (driving); 12 episodes; 11 succeeded; 2 of 4,210 steps late; "
        "p99 140.0 us; 0 dropped; package 3f3f3f3f3f3f; delta 9b9b9b9b9b9b; "
        "record: records; learn: runs the slow loop"
    )


def test_control_characters_of_a_status_do_not_reach_the_terminal() -> None:
    processes = {"control": Seen({"doing": "\x1b[2Jgone"}, 0.0), "record": Seen()}
    output = io.StringIO()
    Screen(output).say(describe("driving", processes, 0.0))
    assert "\x1b" not in output.getvalue()


def test_lines_are_drawn_over_the_last_ones_and_what_is_said_stays_above() -> None:
    output = io.StringIO()
    screen = Screen(output)
    screen.draw(["a", "b"])
    screen.say(["told"])
    screen.draw(["c"])
    screen.clear()
    assert output.getvalue() == "a\nb\n\x1b[2A\x1b[Jtold\nc\n\x1b[1A\x1b[J"
