from collections.abc import Iterator
from pathlib import Path

import pytest
from absl import flags

from cloud.testing import printed_table
from edge.processes.home import Home
from edge.testing import tiny_learning
from edge.testing.learning_home import LearningHome
from edge.testing.tiny_learning import ROBOT_ID, Plan
from edge.testing.tiny_package import Publisher
from release.testing.tiny_release import PrivateKey
from rlds import example_codec, tfrecord
from tests.benchmarks import commands, odd_nights
from tests.benchmarks.odd_nights import (
    FATES,
    KILLED,
    WHOLE,
    Night,
    NightError,
    OddRobot,
)


@pytest.fixture
def given(tmp_path: Path) -> list[str]:
    """Flags of a robot that has memories, and replays an episode to be driven."""
    publisher = Publisher(tmp_path, PrivateKey.generate(development=True))
    home = LearningHome(tmp_path / "home")
    home.root.mkdir()
    home.install(Plan(calls=5), key=publisher.key)
    home.show(8)
    home.open().look()
    replayed = tmp_path / "episode.tfrecord"
    made = tiny_learning.demonstrate(0, steps=20)
    replayed.write_bytes(tfrecord.frame(example_codec.encode(made)))
    return [
        f"--home={home.root}",
        f"--keyring={publisher.keyring()}",
        "--allow_development_keys",
        f"--robot=replay:{replayed}",
        f"--robot_id={ROBOT_ID}",
    ]


@pytest.fixture
def robot(given: list[str], tmp_path: Path) -> Iterator[OddRobot]:
    flags.FLAGS(["odd_nights", *given])
    yield OddRobot(Home(tmp_path / "home"), tmp_path / "scratch")
    flags.FLAGS.unparse_flags()


@pytest.mark.long
def test_nights_of_each_fate_are_spent_and_told(given: list[str]) -> None:
    done = commands.run("odd_nights.py", *given, "--nights=4")
    assert done.returncode == 0, done.stderr
    for fate in FATES:
        assert fate in done.stdout
    assert done.stdout.count("the robot drives") == 5, "each night, and the title"


def test_package_that_a_night_has_changed_is_an_error(
    robot: OddRobot, tmp_path: Path
) -> None:
    (manifest,) = (tmp_path / "scratch/home/packages").rglob("package.json")
    manifest.write_bytes(manifest.read_bytes() + b" ")
    with pytest.raises(NightError, match="a package that no night changes"):
        robot.spend(0)


def test_robot_that_does_not_drive_after_a_night_is_an_error(
    robot: OddRobot, tmp_path: Path
) -> None:
    (tmp_path / "episode.tfrecord").write_bytes(b"torn")
    with pytest.raises(NightError, match="a robot that drives"):
        robot.spend(0)


def test_home_without_memories_is_one_line_that_names_it(tmp_path: Path) -> None:
    done = commands.run("odd_nights.py", f"--home={tmp_path}")
    assert done.returncode != 0
    assert str(tmp_path) in done.stderr and "and memories" in done.stderr
    assert "Traceback" not in done.stderr


def test_table_shows_every_figure_on_a_terminal_and_in_a_pipe() -> None:
    nights = [
        Night(WHOLE, "refused", "ab" * 32, 0.46, 61.0),
        Night(WHOLE, "refused", "", 0.0, 60.0),
        Night(KILLED, "killed", "ab" * 32, 0.25, 7.0),
    ]
    printed_table.require_whole(("2", "0.46", "0.25"), odd_nights.make_table(nights))
    figures = {f["name"]: f["value"] for f in odd_nights.list_figures(nights)}
    assert figures == {
        "odd nights": 3,
        "odd nights, largest share of a bound": 0.46,
        "odd nights, killed, killed": 1,
        "odd nights, ran to its end, refused": 2,
    }
