"""A person at the terminal of a whole robot: keys are obeyed, and survive a death."""

import os
import signal
from pathlib import Path

import pytest

from edge.processes import mode_keeper
from edge.processes.mailbox import Mailbox
from edge.testing import at_terminal, process_tree, ring_steps, robot_home


@pytest.mark.long
def test_person_acts_again_after_control_was_killed_and_a_stop_outlives_it(
    tmp_path: Path,
) -> None:
    made = robot_home.make(tmp_path, steps=400)
    flags = (*made.flags, "--actor=keyboard")
    with at_terminal.start("edge.processes.robot", *flags) as running:
        supervisor = running.process.pid

        def find_control() -> int | None:
            running.listen(0.0)
            return process_tree.find_child(supervisor, "edge.processes.control")

        def wait_for_another(killed: int) -> None:
            process_tree.wait_until(
                lambda: find_control() not in (None, killed), lambda: running.said
            )

        def act_until_it_is_seen() -> None:
            seen = running.said.count("human has taken over")

            def look() -> bool:
                running.hold(b"d", 0.1)
                running.listen(0.0)
                return running.said.count("human has taken over") > seen

            process_tree.wait_until(look, lambda: running.said)

        running.wait_for("drives; ")
        running.press(b"\t")
        act_until_it_is_seen()
        for stops in (False, True):
            if stops:
                running.press(b"x")
                running.wait_for("idle; stopped by the actor")
            before = find_control()
            assert before is not None
            os.kill(before, signal.SIGKILL)
            wait_for_another(before)
            if not stops:
                act_until_it_is_seen()
        shown = running.said.count("idle; stopped by the actor")
        running.wait_for("idle; stopped by the actor", shown + 2)
        shown = running.said.count("drives; ")
        running.press(b" ")  # it may go on, and does so after another death
        running.wait_for("drives; ", shown + 1)
        before = find_control()
        assert before is not None
        os.kill(before, signal.SIGKILL)
        wait_for_another(before)
        shown = running.said.count("drives; ")
        running.wait_for("drives; ", shown + 1)
        running.press(b"\td")
        running.wait_for("drives; told to drive")
        running.press(b"q")
        assert running.finish() == 0, running.said
        assert running.settings() == running.before
    assert "tab act" in running.said
    assert "control killed by SIGKILL" in running.said


def test_stop_key_of_a_person_who_acts_is_not_lost_while_control_does_not_hear(
    tmp_path: Path,
) -> None:
    made = robot_home.make(tmp_path, steps=400)
    flags = (*made.flags, "--actor=keyboard")
    with at_terminal.start("edge.processes.robot", *flags) as running:
        running.wait_for("drives; ")
        control = process_tree.find_child(running.process.pid, "edge.processes.control")
        assert control is not None
        running.press(b"\t")
        os.kill(control, signal.SIGSTOP)  # as in a long way of the robot to its start
        with Mailbox(made.home.root, "noise") as noise:
            while noise.send("control", "noise", {}):
                pass
        running.press(b"x")
        running.wait_for("control does not hear the stop key now")
        os.kill(control, signal.SIGCONT)
        running.wait_for("idle; told to stay still")
        running.press(b"\tq")
        assert running.finish() == 0, running.said
    episodes = ring_steps.read_episodes(made.home.shared).values()
    assert any("stop_stop_key" in one.metadata.tags for one in episodes)


def test_keys_on_a_terminal_set_the_mode_and_quit(tmp_path: Path) -> None:
    made = robot_home.make(tmp_path)
    hour = int(mode_keeper.read_hour())
    night = f"{(hour - 2) % 24:02}:00-{(hour + 3) % 24:02}:00"
    flags = (*made.flags, f"--night={night}")
    with at_terminal.start("edge.processes.robot", *flags) as running:
        # It is night, wherever and whenever the test runs.
        running.wait_for(f"asleep; night until {night[6:]}")
        for key, wanted in (
            (b"d", f"drives; told to drive until {night[:5]}"),
            (b"i", "idle; told to stay still"),
            (b"s", f"asleep; told to sleep until {night[6:]}"),
            (b"d", "drives; told to drive"),
            (b" ", "idle; told to stay still"),
        ):
            shown = running.said.count(wanted)
            running.press(key)
            running.wait_for(wanted, shown + 1)
        running.press(b"q")
        running.wait_for("steps so far are recorded")
        assert running.finish() == 0
    keys = "d drive   i idle   s sleep   space stop   q quit"
    assert keys in running.said
    left = running.said.partition("\nrobot: stops\n")[0].rpartition("\x1b[J")[2]
    assert left.startswith("robot     ") and "\nrecord    " in left
    assert keys not in left
