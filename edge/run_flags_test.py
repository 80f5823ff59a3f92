"""Wrong usage of the robot's program is one line and exit code 2."""

import re
import subprocess
from pathlib import Path

import pytest

from edge.testing import processes, program_runs, tiny_package
from edge.testing.program_runs import STEPS, check_refused
from edge.testing.tiny_package import Publisher
from rlds import example_codec, tfrecord


@pytest.fixture
def episode(tmp_path: Path) -> Path:
    return program_runs.write_episode(tmp_path)


@pytest.fixture
def publisher(tmp_path: Path) -> Publisher:
    return program_runs.publish_first(tmp_path)


@pytest.mark.parametrize(
    ("flags", "match"),
    [
        ([], "exactly one of"),
        (["--offline", "--policy=expert"], "exactly one of"),
        (["--offline"], "--keyring"),
        (["--policy=expert", "--pace=fast"], "pace"),
        (["--policy=expert", "--episodes=-1"], "episodes"),
        (
            ["--policy=expert", "--episodes=0", "--summary_json=x"],
            "expected --episodes above 0 with --summary_json",
        ),
        (
            [
                "--policy=expert",
                "--episodes=0",
                "--robot=metaworld:reach-v3,metaworld:push-v3",
            ],
            "expected one robot with --episodes=0",
        ),
        (["--policy=expert", "--robot_id="], "--robot_id: expected a value"),
        (["--policy=expert", "--step=int8"], "--candidate only"),
        (["--policy=expert", "extra"], "extra"),
        (["--policy=expert", "--sim_start=yesterday"], "--sim_start: expected an RFC"),
        (["--policy=expert", "--robot=metaworld:fly-v3"], "--robot: expected"),
    ],
)
def test_wrong_usage_exits_with_2(flags: list[str], match: str) -> None:
    check_refused(2, match, "--robot=metaworld:reach-v3", *flags)


@pytest.mark.parametrize("program", ["run", "record"])
def test_help_says_how_a_robot_with_a_comma_in_its_name_is_given(
    tmp_path: Path, program: str
) -> None:
    shown = " ".join(processes.run_forked(f"edge.{program}", "--help").stdout.split())
    found = re.search(r"quote a name that has one: (--robot='\"\S*,\S*\"')", shown)
    assert found is not None
    example = subprocess.run(
        ["bash", "-c", f"printf %s {found[1]}"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    name = example.removeprefix('--robot="').removesuffix('"')
    if program == "record":
        done = processes.run_forked(
            f"edge.{program}", example, f"--output={tmp_path / 'o'}"
        )
        assert done.returncode == 2
        assert f"got '{name}'" in done.stderr
        return
    recorded = tiny_package.episode(seed=5, steps=STEPS)
    path = tmp_path / name.removeprefix("replay:")
    path.write_bytes(tfrecord.frame(example_codec.encode(recorded)))
    tiny_package.write_package(tmp_path / "package")
    done = subprocess.run(
        processes.command("edge.run", "--candidate=package", example),
        env=processes.environment(),
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def test_missing_robot_is_wrong_usage() -> None:
    check_refused(2, "run: missing --robot; see --help", "--policy=expert")
    check_refused(2, "run: --robot: expected a value", "--policy=expert", "--robot=")


def test_missing_keyring_and_missing_package_are_named(
    tmp_path: Path, episode: Path
) -> None:
    robot = f"--robot=replay:{episode}"
    no_keyring = f"--keyring={tmp_path / 'absent'}"
    match = f"--keyring: expected a keyring, got no file {tmp_path / 'absent'}"
    check_refused(2, match, robot, "--offline", no_keyring)
    # A service is started again until its keyring is there.
    check_refused(1, "absent", robot, "--offline", "--episodes=0", no_keyring)
    absent = f"--candidate={tmp_path / 'absent'}"
    check_refused(1, "expected the folder of a package, got none", robot, absent)
    remedy = "name the package's folder, such as export/pi5-cpu"
    check_refused(1, remedy, robot, f"--candidate={tmp_path}")
    tiny_package.write_package(tmp_path / "package")
    candidate = f"--candidate={tmp_path / 'package'}"
    absent = f"--robot=replay:{tmp_path / 'absent'}"
    check_refused(
        1, "No such file or directory; check that the path", absent, candidate
    )
    keyring = Publisher(tmp_path).keyring()
    state = f"--state_dir={tmp_path / 'empty'}"
    check_refused(
        1, "run once with --channel", robot, "--offline", state, f"--keyring={keyring}"
    )
