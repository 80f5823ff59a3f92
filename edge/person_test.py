"""A person demonstrates and corrects through the programs, by the keys of a terminal.

The terminal is a pseudo terminal, a gamepad's device file a FIFO; the programs, what
they read from either and what they record are real. The arm counts as real too, so that
it is driven in real time.
"""

import contextlib
import os
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest

from edge.actors.gamepad import EVENT
from edge.testing import at_terminal, processes, real_arm
from edge.testing.at_terminal import AtTerminal
from edge.testing.tiny_package import Publisher
from release.testing.tiny_release import PrivateKey
from rlds import imitation, reader
from rlds.episode import Episode

ARM = "--robot=real-arm:desk"


def episodes(folder: Path) -> list[Episode]:
    return [reader.read_episode(path) for path in sorted(folder.glob("*.tfrecord"))]


def record_flags(folder: Path, *more: str) -> list[str]:
    key = f"--key_file={folder / 'key.json'}"
    flags = [ARM, f"--output={folder / 'out'}", key, "--consent"]
    return ["edge.record", *flags, *more]


@contextlib.contextmanager
def record(folder: Path, *more: str) -> Iterator[AtTerminal]:
    flags = record_flags(folder, *more)
    with at_terminal.start("edge.testing.real_arm", *flags) as running:
        yield running


@contextlib.contextmanager
def run_watched(folder: Path, *more: str) -> Iterator[AtTerminal]:
    """Drives the arm with a published package, while a person watches."""
    publisher = Publisher(folder, PrivateKey.generate(development=True))
    robot_model = real_arm.SPEC.robot_model
    publisher.release(0, now=datetime.now(UTC), robot_model=robot_model)
    with at_terminal.start(
        "edge.testing.real_arm",
        "edge.run",
        ARM,
        f"--channel={publisher.channel_uri}",
        f"--keyring={publisher.keyring()}",
        "--allow_development_keys",
        f"--state_dir={folder / 'state'}",
        f"--record_dir={folder / 'out'}",
        f"--key_file={folder / 'key.json'}",
        "--actor=keyboard",
        *more,
    ) as running:
        yield running


def test_person_at_a_keyboard_demonstrates_on_an_environment_of_gymnasium(
    tmp_path: Path,
) -> None:
    flags = ["--robot=gym:CartPole-v1", f"--output={tmp_path / 'out'}"]
    with at_terminal.start("edge.record", *flags) as running:
        running.wait_for("begin the next episode")
        running.press(b" ")
        running.hold(b"d", 1.0)  # it falls to the left meanwhile
        assert running.finish() == 0
        assert "no success after" in running.said
    (episode,) = episodes(tmp_path / "out")
    assert (episode.spec.state_size, episode.spec.action_size) == (4, 1)
    assert episode.metadata.success is False
    assert (episode.metadata.operator, episode.metadata.task) == (
        "human",
        "CartPole-v1",
    )
    assert set(episode.metadata.tags) == {"demonstration", "simulated"}
    assert episode.steps["action"].max() == 0.5, "the speed of the keys"
    assert np.diff(episode.steps["t_monotonic_ns"]).tolist() == [20_000_000] * (
        episode.num_steps - 1
    )


def test_person_at_a_keyboard_demonstrates_and_says_how_it_went(tmp_path: Path) -> None:
    with record(
        tmp_path, "--actor=keyboard", "--episodes=5", "--max_steps=2000"
    ) as running:
        running.wait_for("begin the next episode")
        running.press(b" ")
        running.hold(b"d", 0.3)
        running.press(b"y")
        running.wait_for("begin the next episode", count=2)
        running.press(b" ")
        running.hold(b"wq", 0.2)
        running.press(b"n")
        running.wait_for("begin the next episode", count=3)
        running.press(b"x")
        assert running.finish() == 0
        assert running.settings() == running.before
        assert "2 recorded" in running.said
        assert "success after" in running.said
    shown, failed = sorted(
        episodes(tmp_path / "out"), key=lambda e: not e.metadata.success
    )
    assert (shown.metadata.success, failed.metadata.success) == (True, False)
    for episode in (shown, failed):
        assert episode.metadata.operator == "human"
        assert "demonstration" in episode.metadata.tags
        assert not episode.spec.interventions, "there was nobody to take over from"
        steps = episode.steps
        np.testing.assert_array_equal(steps["action"], steps["proposed_action"])
        assert np.median(np.diff(steps["t_monotonic_ns"])) == pytest.approx(
            real_arm.SPEC.period_ns, rel=0.2
        )
    assert shown.steps["is_terminal"][-1]
    assert set(np.unique(shown.steps["action"][:, 0])) == {0.0, 0.5}
    assert (shown.steps["action"][:, 0] > 0).sum() >= 0.2 * real_arm.SPEC.control_hz
    assert not shown.steps["action"][:, 1:].any()
    both = failed.steps["action"]
    assert ((both[:, 1] == 0.5) & (both[:, 2] == -0.5)).any(), "two keys at once"


def test_person_takes_over_from_a_package_and_hands_back(tmp_path: Path) -> None:
    with run_watched(tmp_path, "--episodes=2", "--max_steps=4000") as running:
        running.wait_for("space: take over")
        running.hold(b"a", 0.3)
        running.press(b"h")
        running.hold(b"?", 0.1)
        running.press(b"y")
        running.wait_for("of them the actor's")
        running.hold(b"?", 0.1)
        running.press(b"n")
        assert running.finish() == 0, running.said
        assert running.settings() == running.before
    found = episodes(tmp_path / "out")
    corrected, watched = sorted(found, key=lambda e: not e.metadata.success)
    for episode in (corrected, watched):
        assert episode.spec.interventions
        assert episode.metadata.operator.startswith("policy:")
        assert episode.metadata.package_digest
    assert (corrected.metadata.success, watched.metadata.success) == (True, False)
    steps = corrected.steps
    marks = steps["intervention"]
    assert 0.2 * real_arm.SPEC.control_hz <= marks.sum() < len(marks)
    assert not marks[-1], "it was handed back"
    assert not watched.steps["intervention"].any()
    # The package went on proposing, and the person's action is what was executed.
    taken = steps["action"][marks]
    assert set(np.unique(taken[:, 0])) - {0.0} == {-0.5}
    assert not taken[:, 1:].any()
    assert (steps["proposed_action"][marks] != taken).any(axis=1).all()
    np.testing.assert_array_equal(imitation.actions_to_imitate(steps)[marks], taken)
    np.testing.assert_array_equal(imitation.steps_to_imitate(steps), marks)
    kept = steps["action"][~marks]
    proposed = np.clip(steps["proposed_action"][~marks], -1.0, 1.0)
    np.testing.assert_array_equal(kept, proposed)


def test_after_the_stop_key_the_arm_stays_still_until_the_person_goes_on(
    tmp_path: Path,
) -> None:
    with run_watched(tmp_path, "--episodes=0", "--max_steps=4000") as running:
        running.wait_for("space: take over")
        running.hold(b"?", 0.1)
        running.press(b"x")
        running.wait_for("begin the next episode")
        running.press(b" ")
        running.hold(b"?", 0.1)
        running.press(b"y")
        running.wait_for("of them the actor's", count=2)
        running.press(b"x")
        running.wait_for("begin the next episode", count=2)
        running.press(b"x")
        assert running.finish() == 0, running.said
    found = episodes(tmp_path / "out")
    violations = sorted(int(e.steps["safety_violation"].sum()) for e in found)
    assert violations == [0, 1, 1]
    for episode in found:
        if episode.steps["safety_violation"].any():
            assert episode.metadata.success is not True
            assert not episode.steps["action"][-1].any(), "held still"


def test_gamepad_demonstrates_and_is_unplugged_in_mid_episode(tmp_path: Path) -> None:
    device = tmp_path / "js0"
    os.mkfifo(device)
    running = processes.start(
        "edge.testing.real_arm",
        *record_flags(
            tmp_path,
            "--actor=gamepad",
            f"--actor_device={device}",
            "--max_steps=2000",
            "--episodes=3",
        ),
    )
    # Open for both, so that this does not wait for a program that has died.
    pad = os.open(device, os.O_RDWR)
    assert running.stdout is not None
    said = ""
    while "begin the next episode" not in said:
        line = running.stdout.readline()
        assert line, said
        said += line
    os.write(pad, EVENT.pack(1, 1, 1, 0) + EVENT.pack(2, 32767, 2, 0))
    time.sleep(0.2)
    os.write(pad, EVENT.pack(3, 1, 1, 7))  # start: success
    while said.count("begin the next episode") < 2:
        line = running.stdout.readline()
        assert line, said
        said += line
    os.write(pad, EVENT.pack(4, 1, 1, 0) + EVENT.pack(5, -32767, 2, 1))
    time.sleep(0.2)
    os.close(pad)
    rest, _ = running.communicate(timeout=60)
    assert running.returncode == 1, rest
    assert (
        rest.count("the gamepad is gone (No such device): the robot holds still") == 1
    )
    assert "Traceback" not in rest
    last = rest.strip().splitlines()[-1]
    assert last.startswith(
        "record: --actor=gamepad: expected the gamepad to stay connected"
    )
    shown, lost = sorted(
        episodes(tmp_path / "out"), key=lambda e: e.metadata.success is None
    )
    assert (shown.metadata.success, lost.metadata.success) == (True, None)
    assert (shown.steps["action"][:, 0] == 1.0).any()
    assert (lost.steps["action"][:, 1] == 1.0).any(), "away from the person"
    assert not lost.steps["action"][-1].any(), "held still"
    assert not lost.steps["safety_violation"].any()


def test_keyboard_without_a_terminal_is_one_line_and_leaves_nothing(
    tmp_path: Path,
) -> None:
    done = processes.run(
        "edge.testing.real_arm", *record_flags(tmp_path, "--actor=keyboard")
    )
    assert done.returncode == 2
    assert "expected a terminal at standard input" in done.stderr
    assert done.stderr.count("\n") == 1
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("flags", "reason"),
    [
        (["edge.record", "--output=out", "--actor=leader"], "one of expert, keyboard"),
        (
            ["edge.run", "--policy=expert", "--actor=keyboard"],
            "neither corrects nor",
        ),
        (["edge.run", "--candidate=x", "--actor=expert"], "neither corrects nor"),
        (["edge.run", "--candidate=x", "--actor=leader"], "one of expert, keyboard"),
        (["edge.run", "--candidate=x", "--actor_speed=0.5"], "with --actor only"),
        (
            ["edge.run", "--candidate=x", "--actor=keyboard", "--pace=simulated"],
            "real time with --actor",
        ),
    ],
)
def test_wrong_usage_is_refused_before_anything_is_opened(
    flags: list[str], reason: str, tmp_path: Path
) -> None:
    robot = "--robot=metaworld:reach-v3"
    done = processes.run_forked(flags[0], robot, *flags[1:])
    assert done.returncode == 2, done.stderr
    assert reason in done.stderr
    assert done.stderr.count("\n") == 1
