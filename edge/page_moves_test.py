"""A person at an operator's page demonstrates to a program that is no living robot."""

import contextlib
import re
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest

from edge.actors.told_moves import Word
from edge.errors import AlreadyRunningError
from edge.page_moves import PageMoves
from edge.processes import process, telling
from edge.robots.simulated_point import SPEC
from edge.testing import browser, fork, process_tree, processes
from edge.testing.browser import Browser
from edge.testing.fork import Fork
from edge.testing.tiny_package import Publisher
from release.testing.tiny_release import PrivateKey
from rlds import reader
from rlds.spec import StopRule


class Programs:
    """A page, and a program beside it that hears it."""

    def __init__(self, folder: Path) -> None:
        self.home, self._log = folder / "home", folder / "log"
        self._running: list[Fork] = []

    def start(self, module: str, *flags: str) -> Fork:
        self._running.append(fork.start(module, *flags, log=self._log))
        return self._running[-1]

    def record(self, shared: Path, *flags: str) -> Fork:
        return self.start(
            "edge.record",
            "--robot=metaworld:reach-v3",
            "--actor=page",
            f"--actor_page={self.home}",
            "--max_steps=5000",
            f"--output={shared}",
            *flags,
        )

    def said(self) -> str:
        return self._log.read_text()

    def pair(self) -> Browser:
        self.start("edge.processes.page", f"--home={self.home}", "--port=0")
        self.wait_for(lambda: re.search(browser.SHOWN, self.said()))
        port, code = re.findall(browser.SHOWN, self.said())[-1]
        found = Browser(int(port))
        found.pair(code)
        return found

    def wait_for(self, wanted: Callable[[], object]) -> None:
        process_tree.wait_until(wanted, self.said)

    def close(self) -> None:
        for one in self._running:
            one.kill()
            one.wait()


@pytest.fixture
def programs(tmp_path: Path) -> Iterator[Programs]:
    with contextlib.closing(Programs(tmp_path)) as made:
        yield made


def test_person_demonstrates_to_record_and_stops_it(
    programs: Programs, tmp_path: Path
) -> None:
    shared = tmp_path / "shared"
    person = programs.pair()
    recording = programs.record(shared, "--episodes=5")

    def drive(*axes: float, until: str) -> None:
        def look() -> bool:
            assert person.drive(*axes).status == 200
            time.sleep(0.05)
            return until in programs.said()

        programs.wait_for(look)

    programs.wait_for(lambda: person.look()["doing"].startswith("waits until"))
    assert person.look()["axes"] == 4
    assert person.take_over().status == 200
    for _ in range(10):
        assert person.drive(0.5).status == 200
        time.sleep(0.05)
    person.drive(says="success")
    drive(until="1/5 seed 0: success")
    person.drive(says="take_over")
    programs.wait_for(lambda: person.drive(0.5).told["doing"] == "drives")
    assert person.order("stopped").status == 303
    programs.wait_for(lambda: "2/5 seed 1: " in programs.said())
    assert person.order("stopped").status == 303
    assert recording.wait(process_tree.LONGEST_S) == 0, programs.said()

    # Their names are by a simulated clock, and random beyond it.
    episodes = map(reader.read_episode, shared.glob("*.tfrecord"))
    first, second = sorted(episodes, key=lambda one: one.metadata.success is not True)
    assert (first.metadata.operator, first.metadata.success) == ("human", True)
    moved = np.asarray(first.steps["action"])[:, 0]
    assert set(moved.tolist()) == {0.0, 0.5}
    assert second.metadata.success is False
    assert StopRule.STOP_KEY.tag in second.metadata.tags


def test_person_who_leaves_the_page_ends_record_in_the_words_of_the_page(
    programs: Programs, tmp_path: Path
) -> None:
    person = programs.pair()
    recording = programs.record(tmp_path / "shared")
    programs.wait_for(lambda: person.look()["doing"].startswith("waits until"))
    person.take_over()
    programs.wait_for(lambda: person.drive(0.5).told["doing"] == "drives")
    assert recording.wait(process_tree.LONGEST_S) == 1, programs.said()
    assert "nobody is at the page any more: the robot holds still" in programs.said()
    last = [line for line in programs.said().splitlines() if "record: " in line][-1]
    assert last == (
        "record: --actor=page: expected whoever took over on the page to stay there,"
        " got nobody; run it again and keep the page open; the robot was held still"
    )
    (path,) = (tmp_path / "shared").glob("*.tfrecord")
    assert reader.read_episode(path).metadata.success is None


def test_person_corrects_what_a_package_does_in_run(
    programs: Programs, tmp_path: Path
) -> None:
    publisher = Publisher(tmp_path, PrivateKey.generate(development=True))
    publisher.release(0, now=datetime.now(UTC))
    person = programs.pair()
    running = programs.start(
        "edge.run",
        "--robot=metaworld:reach-v3",
        "--pace=realtime",
        "--episodes=1",
        f"--channel={publisher.channel_uri}",
        f"--keyring={publisher.keyring()}",
        "--allow_development_keys",
        f"--state_dir={tmp_path / 'state'}",
        f"--record_dir={tmp_path / 'out'}",
        "--actor=page",
        f"--actor_page={programs.home}",
    )
    programs.wait_for(lambda: person.look()["doing"] == "drives")
    assert person.take_over().status == 200
    for _ in range(10):
        assert person.drive(-1.0).status == 200
        time.sleep(0.05)
    assert person.drive(says="failure").status == 200
    assert running.wait(process_tree.LONGEST_S) == 0, programs.said()
    (path,) = (tmp_path / "out").glob("*.tfrecord")
    episode = reader.read_episode(path)
    acted = np.asarray(episode.steps["intervention"]).astype(bool)
    assert acted.sum() > 0
    actions = np.asarray(episode.steps["action"])[acted][:, 0]
    assert set(actions.tolist()) <= {0.0, -1.0}
    assert episode.metadata.operator.startswith("policy:")
    assert episode.metadata.success is False


def test_stop_is_heard_and_a_robot_that_lives_is_not_pushed_aside(
    tmp_path: Path,
) -> None:
    with contextlib.closing(PageMoves(tmp_path, "point", SPEC)) as moves:
        telling.tell(tmp_path, telling.WORDS["stopped"], time.monotonic())
        assert [one.says for one in moves.read()] == [Word.STOP]
        with pytest.raises(AlreadyRunningError, match="a folder of its own"):
            PageMoves(tmp_path, "point", SPEC)
    with (
        process.open_process(tmp_path, "control"),
        pytest.raises(AlreadyRunningError, match="let the page act there"),
    ):
        PageMoves(tmp_path, "point", SPEC)


def test_record_without_a_page_says_in_one_line_what_to_start(tmp_path: Path) -> None:
    done = processes.run_forked(
        "edge.record",
        "--robot=metaworld:reach-v3",
        "--actor=page",
        f"--output={tmp_path / 'shared'}",
    )
    assert done.returncode != 0
    (line,) = done.stderr.splitlines()
    assert "start //edge:page -- --home=DIR and add --actor_page=DIR" in line
