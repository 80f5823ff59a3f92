"""Tests of //edge:consent as an operator uses it, of a robot that runs or not."""

import shutil
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from base.testing import command
from edge.episodes import consents
from edge.episodes.consents import Wish
from edge.processes.home import Home
from edge.testing import fork, process_tree, simulated_episodes
from edge.testing.fork import Fork
from edge.testing.processes import read_tree
from rlds.consent_record import Decision

CONSENT, UPLOAD = "edge.processes.consent", "edge.episodes.upload"
ROBOT = f"--robot_id={simulated_episodes.ROBOT_ID}"


@pytest.fixture
def home(tmp_path: Path) -> Home:
    """The home of a robot with three episodes, without consent."""
    made = Home(tmp_path / "home")
    made.root.mkdir()
    simulated_episodes.make(made.shared, 3, consent=False)
    made.shared.with_name("shared.private").rename(made.private)
    return made


@pytest.fixture
def recorder(home: Home) -> Iterator[Fork]:
    """The recorder of the robot, which waits for a ring."""
    started = start_recorder(home)
    yield started
    started.kill()
    started.wait()


def start_recorder(home: Home) -> Fork:
    log = home.root.with_name("log")
    started = fork.start("edge.processes.record", f"--home={home.root}", ROBOT, log=log)
    process_tree.wait_until((home.run / "record.sock").exists, lambda: "no recorder")
    return started


def names(home: Home) -> list[str]:
    return sorted(path.stem for path in home.shared.glob("*.tfrecord"))


def say(home: Home, *flags: str) -> list[str]:
    """Runs the command, which succeeds; returns its lines."""
    done = command.run(CONSENT, f"--home={home.root}", ROBOT, *flags)
    assert (done.code, done.err) == (0, "")
    return done.out.splitlines()


def send(home: Home, store: Path) -> str:
    store.mkdir(exist_ok=True)
    done = command.run(UPLOAD, f"--from={home.shared}", f"--to={store}")
    assert (done.code, done.err) == (0, "")
    return done.out.splitlines()[-1]


def test_episodes_are_listed_and_nothing_is_changed(home: Home) -> None:
    before = read_tree(home.root)
    lines = say(home)
    assert [line.split("  ")[0] for line in lines[:3]] == names(home)
    assert all(line.endswith("  not allowed") for line in lines[:3])
    assert lines[3] == "3 episodes, 0 of which may leave"
    assert read_tree(home.root) == before


def test_named_episode_is_shown_to_the_field_that_would_leave(home: Home) -> None:
    name = names(home)[2]
    lines = say(home, f"--episode={name[-6:]}")
    assert f"would leave: {name}.tfrecord, " in lines[1]
    text = "\n".join(lines)
    assert "start_time (coarse_time): 2026-01-01T08:00:00Z" in text
    assert "robot_hash (keyed_hash): " in text
    assert "point-1" not in text  # the robot's own name does not leave
    assert "of each step, time_since_first_step: t_monotonic_ns" in text


def test_decisions_for_one_for_a_day_and_for_all_hold_at_the_next_upload(
    home: Home, tmp_path: Path
) -> None:
    first, _, third = names(home)
    assert say(home, f"--episode={first}", "--says=grant")[-1] == "1 decision signed"
    assert send(home, tmp_path / "store").startswith("1 sent, ")
    assert say(home, "--day=2026-01-01", "--says=grant")[-1] == "3 decisions signed"
    assert say(home, "--day=2026-01-02", "--says=refuse") == ["0 decisions signed"]
    say(home, f"--episode={third}", "--says=refuse")
    assert send(home, tmp_path / "store").startswith("1 sent, ")
    lines = say(home)
    assert lines[0].endswith("sent to 1 store")
    assert "refused" in lines[2]
    assert say(home, "--all", "--says=take_back")[-1] == "3 decisions signed"
    assert names(home) == []
    assert "sent to 1 store, of which 0 are asked to erase it" in say(home)[0]
    assert "2 asked to be erased" in send(home, tmp_path / "store")
    assert "sent to 1 store, of which 1 is asked to erase it" in say(home)[1]
    assert say(home)[2].endswith("h)")  # it was never sent


@pytest.mark.parametrize(
    ("flags", "code", "text"),
    [
        (["--says=grant"], 2, "expected --episode, --day or --all with --says"),
        (["--all", "--day=2026-01-01"], 2, "one of --episode, --day and --all"),
        (["--day=today"], 2, "--day: expected YYYY-MM-DD, got 'today'"),
        (["--episode=zz"], 2, "which is in none of them"),
        (["--episode=019b"], 2, "which is in 3 of them"),
        (["--all", "--says=maybe"], 2, "--says: expected one of grant"),
        (["x"], 2, "expected flags only"),
    ],
)
def test_wrong_usage_is_one_line_and_changes_nothing(
    home: Home, flags: list[str], code: int, text: str
) -> None:
    before = read_tree(home.root)
    done = command.run(CONSENT, f"--home={home.root}", ROBOT, *flags)
    assert (done.code, done.out) == (code, "")
    assert text in done.err
    assert len(done.err.splitlines()) == 1
    assert read_tree(home.root) == before


def test_key_that_did_not_record_signs_nothing(home: Home, tmp_path: Path) -> None:
    done = command.run(
        CONSENT, f"--home={home.root}", "--robot_id=other", "--all", "--says=grant"
    )
    assert done.code == 2
    assert "which signed this episode" in done.err
    assert send(home, tmp_path / "store").startswith("0 sent, ")
    assert not list(home.shared.glob("*.consent.json"))


def test_folder_of_a_recording_needs_no_home(home: Home) -> None:
    done = command.run(
        CONSENT,
        f"--from={home.shared}",
        f"--private_dir={home.private}",
        ROBOT,
        "--all",
        "--says=grant",
    )
    assert (done.code, done.err) == (0, "")
    assert done.out.endswith("3 decisions signed\n")


def test_recorder_that_runs_signs_what_is_said(
    home: Home, recorder: Fork, tmp_path: Path
) -> None:
    first, *_ = names(home)
    lines = say(home, "--all", "--says=grant")
    assert lines[-1] == "3 decisions signed by the recorder"
    assert send(home, tmp_path / "store").startswith("3 sent, ")
    say(home, f"--episode={first}", "--says=take_back")
    assert first not in names(home)
    assert "1 asked to be erased" in send(home, tmp_path / "store")
    recorder.send_signal(signal.SIGTERM)
    assert recorder.wait(30) == 0


def test_refusal_holds_while_the_recorder_cannot_sign(
    home: Home, recorder: Fork, tmp_path: Path
) -> None:
    say(home, "--all", "--says=grant")
    recorder.send_signal(signal.SIGSTOP)
    first = names(home)[0]
    consents.write_wish(home.shared, first, Wish(Decision.REFUSED, "ab" * 32))
    assert send(home, tmp_path / "store").startswith("2 sent, ")
    recorder.kill()
    recorder.wait()
    again = start_recorder(home)
    try:
        process_tree.wait_until(
            lambda: not consents.list_wishes(home.shared), lambda: "not signed"
        )
    finally:
        again.kill()
        again.wait()
    assert "refused" in say(home)[0]
    assert send(home, tmp_path / "store").startswith("0 sent, ")


def test_wish_that_cannot_be_signed_keeps_no_other_one(
    home: Home, recorder: Fork
) -> None:
    first, second, third = names(home)
    folder = home.shared / consents.WISHES
    consents.write_wish(home.shared, first, Wish(Decision.REFUSED, "ab" * 32))
    shutil.copy(folder / f"{first}.json", folder / "nobody.json")
    (folder / f"{third}.json").write_text("{")
    consents.write_wish(home.shared, second, Wish(Decision.REFUSED, "ab" * 32))
    process_tree.wait_until(
        lambda: consents.list_wishes(home.shared) == [third, "nobody"],
        lambda: str(consents.list_wishes(home.shared)),
    )
    assert "held back" in say(home)[2]
