"""The view shows what the processes reported, and what it cannot know."""

import io

import pytest

from edge.processes.person_keys import PersonKeys
from edge.processes.view import STALE_S, Screen, Seen, describe, fit, summarize

KEYS = PersonKeys().describe()

CONTROL = {
    "doing": "drives",
    "mode": "driving",
    "why": "by default",
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
    "left": "1 slow loop (7,188 s) until noon",
    "last_delta": "ab" * 32,
    "receipt": "slow: delta abababababab accepted after 812 s on 40 episodes: what was "
    "learned: mean error 0.112 before and 0.041 after over 9 episodes, at most 0.312 "
    "allowed; 99% certain",
}


def seen(now_s: float) -> dict[str, Seen]:
    return {
        "control": Seen(CONTROL, now_s),
        "record": Seen(RECORD, now_s),
        "learn": Seen(LEARN, now_s),
    }


def test_view_shows_what_every_process_told() -> None:
    assert describe(seen(5.0), 5.0) == [
        "robot     drives; by default; metaworld:reach-v3",
        "step      p50 61.5 us, p99 140.0 us; jitter p99 31.0 us; "
        "2 of 4,210 steps late; 0 stop rules",
        "episodes  12, 11 succeeded",
        "package   3f3f3f3f3f3f, release 7 of nightly",
        "delta     9b9b9b9b9b9b",
        "record    records; 4,200 of 4,210 steps in 12 episodes of this run; 0 dropped",
        "learn     runs the slow loop; asleep: all memories; last delta abababababab",
        "left      1 slow loop (7,188 s) until noon",
        f"learned   {LEARN['receipt']}",
    ]


def test_no_time_is_shown_before_the_first_step() -> None:
    now = seen(5.0)
    none = {"steps": 0, "p50_us": 0.0, "p99_us": 0.0, "jitter_p99_us": 0.0}
    now["control"].status = {**CONTROL, **none}
    assert "p50 -, p99 -; jitter p99 -; " in describe(now, 5.0)[1]
    assert "; p99 -; " in summarize(now, 5.0)


def test_times_are_in_milliseconds_from_one_on() -> None:
    now = seen(5.0)
    long = {"p50_us": 999.9, "p99_us": 1000.0, "jitter_p99_us": 4083.6}
    now["control"].status = {**CONTROL, **long}
    assert "p50 999.9 us, p99 1.0 ms; jitter p99 4.1 ms; " in describe(now, 5.0)[1]
    assert "; p99 1.0 ms; " in summarize(now, 5.0)


def test_one_episode_and_one_stop_rule_are_not_told_as_several() -> None:
    now = seen(5.0)
    now["control"].status = {**CONTROL, "episodes": 1, "violations": 1}
    now["record"].status = {**RECORD, "episodes": 1}
    assert "; 1 episode; " in summarize(now, 5.0)
    assert describe(now, 5.0)[1].endswith("; 1 stop rule")
    assert "steps in 1 episode of this run" in describe(now, 5.0)[5]


def test_view_says_what_was_removed_unsent() -> None:
    now = seen(5.0)
    now["record"].status = {**RECORD, "removed_private": 1200, "removed_waiting": 0}
    assert describe(now, 5.0)[5] == (
        "record    records; 4,200 of 4,210 steps in 12 episodes of this run; 0 "
        "dropped; removed 1,200 without consent, 0 unsent"
    )


def test_view_says_that_nothing_is_recorded_and_why() -> None:
    now = seen(5.0)
    why = "steps.ring: no space left"
    now["control"].status = {**CONTROL, "unrecorded": 1125, "no_ring": why}
    assert describe(now, 5.0)[5].startswith(
        f"record    nothing is recorded, 1,125 steps so far: {why}; records; "
    )


def test_last_stop_rule_has_its_name_beside_their_number() -> None:
    now = seen(5.0)
    now["control"].status = {**CONTROL, "violations": 3, "last_rule": "workspace"}
    assert describe(now, 5.0)[1].endswith("; 3 stop rules, last workspace")


def test_fast_loop_has_a_row_where_it_is_on() -> None:
    now = seen(5.0)
    now["control"].status = {**CONTROL, "fast": "fast, 1,312 updates"}
    lines = describe(now, 5.0)
    assert lines[5] == "loop      fast, 1,312 updates"
    assert len(lines) == len(describe(seen(5.0), 5.0)) + 1


def test_sensor_of_the_machine_that_cannot_be_read_has_a_row() -> None:
    now = seen(5.0)
    note = "/proc/loadavg: expected numbers, got 'x'"
    now["learn"].status = {**LEARN, "machine": note}
    assert describe(now, 5.0)[-1] == f"machine   {note}"


def test_process_that_says_nothing_is_shown_as_silent() -> None:
    lines = describe(seen(0.0), STALE_S + 1.0)
    assert "drives; silent for 3 s; by default" in lines[0]
    assert "runs the slow loop; silent for 3 s" in lines[-3]


def test_dead_process_is_shown_with_its_reason_and_nothing_old() -> None:
    processes = seen(0.0)
    processes["learn"] = Seen(trouble="killed by SIGKILL; again in 4 s")
    assert describe(processes, 0.0)[-1] == ("learn     killed by SIGKILL; again in 4 s")


def test_robot_of_which_nothing_is_known_is_shown() -> None:
    lines = describe({"control": Seen(), "record": Seen()}, 0.0)
    assert lines[0] == "robot     starts"
    assert "package   none" in lines


@pytest.mark.parametrize(
    ("successes", "unknown", "told"),
    [
        (11, 0, "12, 11 succeeded"),
        (3, 4, "12, 3 succeeded, 4 not known"),
        (0, 12, "12, success not known"),
    ],
)
def test_episodes_that_nobody_can_judge_are_shown_as_such(
    successes: int, unknown: int, told: str
) -> None:
    status = {"episodes": 12, "successes": successes, "unknown": unknown}
    lines = describe({"control": Seen(status, 0.0), "record": Seen()}, 0.0)
    assert f"episodes  {told}" in lines


def test_status_of_wrong_types_is_no_error() -> None:
    strange = {"doing": 3, "steps": "many", "package": ["a"], "missed": None}
    processes = {"control": Seen(strange, 0.0), "record": Seen(strange, 0.0)}
    assert "- steps late" in summarize(processes, 0.0)
    assert describe(processes, 0.0)


def test_log_has_all_of_it_on_one_line() -> None:
    text = summarize(seen(0.0), 0.0)
    assert text == (
        "drives; mode driving; by default; 12 episodes; 11 succeeded; "
        "2 of 4,210 steps late; 0 stop rules; p99 140.0 us; 0 dropped; "
        "package 3f3f3f3f3f3f; delta 9b9b9b9b9b9b; record: records; "
        "learn: runs the slow loop; asleep: all memories"
    )


def test_log_says_why_a_robot_stands_still_and_why_no_loop_runs() -> None:
    still = {
        "doing": "idle",
        "mode": "idle",
        "acting": "stopped outside its workspace",
        "why": "told to stay still",
        "violations": 3,
        "last_rule": "workspace",
    }
    learn = {"doing": "waits", "reason": "too hot: 71 C, at most 70"}
    now = {"control": Seen({**CONTROL, **still}), "learn": Seen(learn)}
    text = summarize(now, 0.0)
    assert text.startswith(
        "idle; mode idle; stopped outside its workspace; told to stay still"
    )
    assert "; 3 stop rules, last workspace; " in text
    assert text.endswith("; learn: waits; too hot: 71 C, at most 70")


def test_blind_robot_is_shown_and_in_the_log() -> None:
    frozen = "sensors stood still for 160 commanded steps"
    now = {"control": Seen({**CONTROL, "frozen": frozen}), "record": Seen()}
    assert f"; {frozen}; " in describe(now, 0.0)[0]
    assert f"; {frozen}; " in summarize(now, 0.0)


def test_what_the_system_granted_stands_beside_the_steps() -> None:
    granted = "real-time priority 50, processor 3, memory locked"
    now = {"control": Seen({**CONTROL, "granted": granted}), "record": Seen()}
    assert describe(now, 0.0)[1].endswith(f"; 0 stop rules; {granted}")


def test_last_failure_of_an_updater_is_in_the_view_and_in_the_log() -> None:
    status = {"doing": "asks in 30 s", "failure": "at 14:03: no channel"}
    processes = {**seen(0.0), "update": Seen(status, 0.0)}
    assert describe(processes, 0.0)[-2:] == [
        "update    asks in 30 s",
        "failed    at 14:03: no channel",
    ]
    log = summarize(processes, 0.0)
    assert log.endswith("; update: asks in 30 s; failed at 14:03: no channel")


def test_control_characters_of_a_status_do_not_reach_the_terminal() -> None:
    processes = {"control": Seen({"doing": "\x1b[2Jgone"}, 0.0), "record": Seen()}
    output = io.StringIO()
    Screen(output).say(describe(processes, 0.0))
    assert "\x1b" not in output.getvalue()


def test_lines_are_drawn_over_the_last_ones_and_what_is_said_stays_above() -> None:
    output = io.StringIO()
    screen = Screen(output)
    screen.draw(["a", "b"])
    screen.say(["told"])
    screen.draw(["c"])
    screen.clear()
    assert output.getvalue() == "a\nb\n\x1b[2A\x1b[Jtold\nc\n\x1b[1A\x1b[J"


def test_last_view_stays_when_the_robot_ends() -> None:
    output = io.StringIO()
    screen = Screen(output)
    screen.draw(["12 episodes", "q quit"])
    screen.leave(["13 episodes"])
    screen.say(["robot: stops"])
    assert output.getvalue() == (
        "12 episodes\nq quit\n\x1b[2A\x1b[J13 episodes\nrobot: stops\n"
    )


def test_long_texts_are_whole_on_a_terminal_of_80_columns() -> None:
    lines = [*describe(seen(0.0), 0.0), KEYS]
    rows = fit(lines, 80, 24)
    assert max(map(len, rows)) < 80
    assert rows[-1] == KEYS
    learned = rows[rows.index(next(r for r in rows if r.startswith("learned"))) :]
    assert learned[1].startswith(" " * 10)
    assert " ".join(" ".join(learned[:-1]).split()) == " ".join(lines[-2].split())


def test_terminal_that_is_too_low_keeps_the_keys_and_scrolls_nothing_away() -> None:
    rows = fit([*describe(seen(0.0), 0.0), KEYS], 80, 6)
    assert len(rows) == 5
    assert rows[0].startswith("robot ")
    assert rows[-1] == KEYS
    assert fit(["a", "b"], 10, 1) == ["b"]
    assert all(len(row) <= 20 for row in fit([f"label     {'x' * 100}"], 1, 99))
