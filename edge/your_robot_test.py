"""The classes of docs/your-robot.md, saved and driven as the page says."""

import re
from pathlib import Path

import pytest

from edge.testing import at_terminal, processes
from rlds import reader
from rlds.episode import Episode

PAGE = Path("docs/your-robot.md").read_text()
CLASSES = [
    str(code) for code in re.findall(r"^```python\n(.*?)^```", PAGE, re.M | re.S)
]


@pytest.fixture
def work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A person's folder with the classes of the page."""
    for code in CLASSES:
        found = re.search(r"^class (\w+)", code, re.M)
        assert found is not None
        name = {"MyArm": "my_arm.py"}.get(found[1], f"{found[1].lower()}.py")
        (tmp_path / name).write_text(code)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def episodes(folder: Path) -> list[Episode]:
    return [reader.read_episode(path) for path in sorted(folder.glob("*.tfrecord"))]


def test_arm_of_the_page_has_30_lines_and_passes_its_check(work: Path) -> None:
    lines = (work / "my_arm.py").read_text().splitlines()
    assert len([line for line in lines if line.strip()]) <= 30
    done = processes.run_forked("edge.check_robot", "--robot=my_arm.py:MyArm", "--move")
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.endswith("my_arm.py:MyArm: 10 passed\n")
    # What the page shows is what is printed, but for how fast this machine is.
    for line in PAGE.partition("```\nnames ")[2].splitlines()[1:10]:
        if "speed " not in line and "hold  " not in line:
            assert line in done.stdout


@pytest.mark.parametrize(
    ("robot", "task", "sizes"),
    [
        ("my_arm.py:MyArm", "touch", (4, 2)),
        ("balanced.py:Balanced:CartPole-v1", "CartPole-v1", (4, 1)),
    ],
)
def test_class_of_the_page_shows_what_to_do_and_is_driven_and_succeeds(
    work: Path, robot: str, task: str, sizes: tuple[int, int]
) -> None:
    flags = [f"--robot={robot}", "--episodes=2"]
    done = processes.run_forked("edge.record", *flags, "--output=out")
    assert done.returncode == 0, done.stderr
    assert "100%" in done.stdout
    for episode in episodes(work / "out"):
        assert (episode.spec.state_size, episode.spec.action_size) == sizes
        assert (episode.metadata.task, episode.metadata.success) == (task, True)
        assert episode.metadata.operator == "expert"
    done = processes.run_forked(
        "edge.run", *flags, "--policy=expert", "--pace=simulated", "--state_dir=state"
    )
    assert done.returncode == 0, done.stderr
    assert re.search(rf"^{task} +2 +100.0%", done.stdout, re.M)


def test_person_at_the_keyboard_shows_it_to_the_arm_of_the_page(work: Path) -> None:
    flags = ["--robot=my_arm.py:MyArm", "--actor=keyboard", "--output=out"]
    with at_terminal.start("edge.record", *flags) as running:
        running.wait_for("begin the next episode")
        running.press(b" ")
        running.hold(b"d", 0.5)
        running.press(b"n")
        assert running.finish() == 0
    (episode,) = episodes(work / "out")
    assert episode.metadata.operator == "human"
    hand = episode.steps["observation/state"][:, :2]
    assert abs(hand[-1] - hand[0]).max() > 0.0


def test_fault_in_the_arm_is_one_line_that_names_it(work: Path) -> None:
    text = (work / "my_arm.py").read_text()
    (work / "my_arm.py").write_text(text.replace("self.hand, self.spot]", "self.hand]"))
    done = processes.run_forked(
        "edge.record", "--robot=my_arm.py:MyArm", "--output=out"
    )
    assert done.returncode == 1
    assert done.stderr == (
        "record: robot my_arm.py:MyArm: expected a state of shape (4,) from reset, got"
        " shape (2,); correct its class, then check it: //edge:check_robot\n"
    )
