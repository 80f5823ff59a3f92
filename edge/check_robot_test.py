"""The command that a person runs on a robot of their own before it moves."""

import json
from pathlib import Path

import pytest

from edge.testing import processes
from edge.testing.moving_arm import read_port
from edge.testing.sounds import make_noise, make_tone, write_wav

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
    arm = write_arm(tmp_path)
    cameras = "--camera=front=simulated", "--camera=left_wrist=simulated,64x48,5"
    done = processes.run_forked("edge.check_robot", arm, *cameras)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "camera front              ok      " in done.stdout
    assert " pictures/s of 5, 64 x 48, " in done.stdout
    done = processes.run_forked("edge.check_robot", arm, "--camera=kitchen=simulated")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.count("\n") == 1
    assert "got 'kitchen'" in done.stderr


def write_arm(folder: Path) -> str:
    """An arm that can be looked at while it stands; returns its robot string."""
    (folder / "arm.py").write_text(
        "from edge.testing.moving_arm import MovingArm\n"
        "class Arm(MovingArm):\n"
        "    def observe(self):\n"
        "        return self._observe()\n"
    )
    return f"--robot={folder}/arm.py:Arm:{folder}/port"


@pytest.mark.parametrize("rate", [16_000, 48_000])
def test_microphone_beside_an_arm_is_listened_to_while_the_arm_stands(
    tmp_path: Path, rate: int
) -> None:
    wav = write_wav(tmp_path / "room.wav", make_noise(rate, 3.0), rate)
    flag = f"--microphone={wav}"
    done = processes.run_forked("edge.check_robot", write_arm(tmp_path), flag)
    assert "microphone                ok      " in done.stdout
    assert " values/s of 20, 4 bands, " in done.stdout
    done = processes.run_forked("edge.check_robot", POINT, flag, "--move")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "microphone                ok      4 bands, " in done.stdout


@pytest.mark.parametrize(
    ("rate", "loudness", "code", "said"),
    [
        (8000, 0.1, 2, "16000 to 192000 samples per second, got 8000"),
        (16_000, 0.0, 1, "microphone                FAILED  silence: 4 bands"),
    ],
)
def test_microphone_that_cannot_be_heard_is_said(
    tmp_path: Path, rate: int, loudness: float, code: int, said: str
) -> None:
    tone = make_tone(rate, 440.0, 3.0, loudness)
    wav = write_wav(tmp_path / "room.wav", tone, rate)
    arm = write_arm(tmp_path)
    done = processes.run_forked("edge.check_robot", arm, f"--microphone={wav}")
    assert done.returncode == code
    assert said in (done.stdout if code == 1 else done.stderr)


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
