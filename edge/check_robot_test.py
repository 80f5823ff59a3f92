"""The command that a person runs on a robot of their own before it moves."""

import json
from pathlib import Path

from edge.testing import processes
from edge.testing.moving_arm import read_port

POINT = "--robot=edge.robots.simulated_point:SimulatedPoint"
ARM = "edge.testing.moving_arm:MovingArm"


def test_table_shows_each_check_and_the_exit_code_that_none_failed() -> None:
    done = processes.run_forked("edge.check_robot", POINT, "--move")
    assert done.returncode == 0, done.stderr
    assert "same seed, same episode   ok      " in done.stdout
    assert done.stdout.endswith("SimulatedPoint: 10 passed\n")


def test_arm_is_held_and_not_moved_without_leave(tmp_path: Path) -> None:
    port = tmp_path / "port"
    done = processes.run_forked("edge.check_robot", f"--robot={ARM}:{port}")
    assert done.returncode == 0, done.stdout + done.stderr
    assert all(one.is_hold for one in read_port(port))
    assert "moves                     -       nothing was moved" in done.stdout


def test_camera_beside_an_arm_is_looked_at_while_the_arm_stands(tmp_path: Path) -> None:
    (tmp_path / "arm.py").write_text(
        "from edge.testing.moving_arm import MovingArm\n"
        "class Arm(MovingArm):\n"
        "    def observe(self):\n"
        "        return self._observe()\n"
    )
    arm = f"--robot={tmp_path}/arm.py:Arm:{tmp_path}/port"
    cameras = "--camera=front=simulated", "--camera=left_wrist=simulated,64x48,5"
    done = processes.run_forked("edge.check_robot", arm, *cameras)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "camera front              ok      " in done.stdout
    assert " pictures/s of 5, 64 x 48, " in done.stdout
    done = processes.run_forked("edge.check_robot", arm, "--camera=kitchen=simulated")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.count("\n") == 1
    assert "got 'kitchen'" in done.stderr


def test_failed_check_is_exit_code_1_and_json_says_which(tmp_path: Path) -> None:
    (tmp_path / "arm.py").write_text(
        "from edge.testing.moving_arm import MovingArm\n"
        "class Arm(MovingArm):\n"
        "    def observe(self):\n"
        "        raise OSError('no answer')\n"
    )
    name = f"{tmp_path}/arm.py:Arm:{tmp_path}/port"
    done = processes.run_forked("edge.check_robot", f"--robot={name}", "--json")
    assert done.returncode == 1
    written = json.loads(done.stdout)
    assert (written["robot"], written["moved"], written["passed"]) == (
        name,
        False,
        False,
    )
    (failed,) = (one for one in written["checks"] if one["result"] == "failed")
    assert failed["name"] == "senses"
    assert "OSError: no answer (arm.py:4)" in failed["found"]


def test_robot_that_is_none_is_wrong_usage_in_one_line() -> None:
    done = processes.run_forked("edge.check_robot", "--robot=absent.py:Arm")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.count("\n") == 1
    done = processes.run_forked("edge.check_robot", POINT, "--move_share=0.5")
    assert done.returncode == 2
    assert "expected --move_share with --move only" in done.stderr
