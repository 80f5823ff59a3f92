"""The operator's page beside a robot that drives, used as a browser uses it."""

import os
import re
import signal
import socket
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path

import pytest

from base.errors import DiskError
from base.testing import command
from edge.loops.delta_store import CURRENT, QUARANTINE, DeltaStore
from edge.testing import process_tree, robot_home
from edge.testing.browser import Browser
from edge.testing.desk import Desk
from edge.testing.robot_home import RobotHome
from rlds import reader

_LONGEST_S = process_tree.LONGEST_S
MOST_IDLE_KB = 45_000
"""Of the page while nobody asks it for an episode; 30 MB were measured here."""


class PageDesk(Desk):
    """A supervisor with a page, and a browser whose requests all succeed."""

    def __init__(self, made: RobotHome, *flags: str) -> None:
        super().__init__(made, *flags)
        self._browser = Browser(0)

    def ask(self, method: str, path: str, form: Mapping[str, str] | None = None) -> str:
        """Sends a request, which succeeds; what it says, or where it leads."""
        self._browser.port = self.find_shown()[0]
        answer = self._browser.ask(method, path, form)
        assert answer.status in (200, 303), (answer.status, answer.text)
        return answer.location or answer.text

    def pair(self) -> Browser:
        self._browser = super().pair()
        return self._browser

    def send(self, path: str, **form: str) -> str:
        """Sends a form of the page, with its token."""
        return self.ask("POST", path, {"csrf": self._browser.csrf, **form})

    def list_episodes(self) -> list[str]:
        return re.findall(
            r'href="/episodes/([0-9a-f-]{36})"', self.ask("GET", "/episodes")
        )

    def decide(self, name: str, says: str) -> None:
        found = re.search(
            r'name="sha256" value="([0-9a-f]{64})"',
            self.ask("GET", f"/episodes/{name}"),
        )
        assert found
        self.send(f"/episodes/{name}", says=says, sha256=found[1])

    def upload(self, store: Path) -> str:
        store.mkdir(exist_ok=True)
        done = command.run(
            "edge.episodes.upload",
            f"--from={self.made.home.shared}",
            f"--to={store}",
        )
        assert (done.code, done.err) == (0, "")
        return done.out.splitlines()[-1]


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[PageDesk]:
    started = PageDesk(robot_home.make(tmp_path))
    yield started
    started.close()


def test_operator_lets_an_episode_leave_labels_one_and_takes_one_back(
    desk: PageDesk, tmp_path: Path
) -> None:
    desk.pair()
    home, store = desk.made.home, tmp_path / "store"
    desk.wait_for(lambda: len(desk.list_episodes()) >= 3)
    desk.send("/robot", says="idle")  # so that what follows is looked at in peace
    desk.wait_for(lambda: "idle; told to stay still" in desk.ask("GET", "/status"))
    first, second, third = desk.list_episodes()[:3]
    assert desk.upload(store).startswith("0 sent, ")

    desk.decide(first, "granted")
    desk.wait_for((home.shared / f"{first}.consent.json").exists)
    assert desk.upload(store).startswith("1 sent, ")
    assert "sent to 1 store" in desk.ask("GET", f"/episodes/{first}")

    desk.decide(second, "taken_back")
    desk.wait_for(lambda: not (home.shared / f"{second}.tfrecord").exists())
    desk.decide(first, "taken_back")
    desk.wait_for(lambda: not (home.shared / f"{first}.tfrecord").exists())
    assert "1 asked to be erased" in desk.upload(store)

    desk.send(f"/episodes/{third}", says="failure")
    path = home.shared / f"{third}.tfrecord"
    desk.wait_for(lambda: reader.read_episode(path).metadata.success is False)
    desk.wait_for(lambda: read_outcomes(home.memories).get(third) is False)

    page = desk.find("page")
    assert page is not None
    status = Path(f"/proc/{page}/status").read_text()
    resident = re.search(r"VmHWM:\s+(\d+) kB", status)
    assert resident and int(resident[1]) <= MOST_IDLE_KB


def read_outcomes(memories: Path) -> dict[str, bool | None]:
    """How each memory went, by its episode's name."""
    found = {}
    for path in memories.glob("*.tfrecord"):
        try:
            episode = reader.read_episode(path)
        except DiskError:
            continue  # it has just been renamed
        found[episode.metadata.episode_id] = episode.metadata.success
    return found


def test_stop_on_the_page_stops_a_robot_in_its_episode(tmp_path: Path) -> None:
    desk = PageDesk(robot_home.make(tmp_path, steps=4000))  # 50 s
    try:
        desk.pair()
        desk.wait_for(lambda: '"drives' in desk.ask("GET", "/status"))
        assert "told+the+robot+to+stop" in desk.send("/robot", says="stopped")
        desk.wait_for(lambda: "told to stay still" in desk.ask("GET", "/status"))
    finally:
        desk.close()


def test_page_that_is_killed_comes_back_and_disturbs_nobody(desk: PageDesk) -> None:
    desk.pair()
    desk.wait_for(lambda: len(desk.list_episodes()) >= 1)
    page, control = desk.find("page"), desk.find("control")
    assert page is not None
    before = desk.find_shown()
    os.kill(page, signal.SIGKILL)
    desk.wait_for(lambda: desk.find_shown() != before)
    assert desk.find("control") == control
    with pytest.raises(AssertionError, match="401"):
        desk.ask("GET", "/status")  # sessions are kept nowhere
    desk.pair()
    count = len(desk.list_episodes())
    desk.wait_for(lambda: len(desk.list_episodes()) > count)
    desk.supervisor.send_signal(signal.SIGINT)
    assert desk.supervisor.wait(_LONGEST_S) == 0


def test_operator_goes_back_from_a_delta_and_asks_for_an_update(
    tmp_path: Path,
) -> None:
    made = robot_home.make(tmp_path)
    delta = made.keep_delta(made.active())
    channel = f"--channel={made.publisher.channel_uri}"
    desk = PageDesk(made, channel, "--update_period_s=36000", "--update_jitter_s=0")
    try:
        desk.pair()
        assert f"delta {delta[:12]}" in desk.ask("GET", "/learning")
        desk.wait_for(lambda: f'"{delta[:12]}"' in desk.ask("GET", "/status"))
        desk.send("/back", delta=delta)
        store = DeltaStore(made.home.deltas)
        desk.wait_for(lambda: store.named(CURRENT) is None)
        desk.wait_for((made.home.deltas / QUARANTINE / delta).exists)
        desk.wait_for(lambda: "the operator wanted it" in desk.ask("GET", "/learning"))
        desk.wait_for(lambda: '["delta", "none"]' in desk.ask("GET", "/status"))

        desk.wait_for(lambda: "asks in" in desk.ask("GET", "/status"))
        new = made.publisher.release(1, now=datetime.now(UTC))
        desk.send("/update")
        # It is tried on the robot's own episodes, and may be refused for them.
        desk.wait_for(lambda: new in desk.log.read_text() or made.active() == new)
    finally:
        desk.close()


@pytest.mark.parametrize(
    ("flags", "code", "text"),
    [
        (["--listen=world"], 2, "--listen: expected one of local, network"),
        (["--port=99999"], 2, "--port"),
        (["x"], 2, "expected flags only"),
        (["--port={taken}"], 2, "--port: expected a port to listen at"),
    ],
)
def test_wrong_usage_is_one_line(
    tmp_path: Path, flags: list[str], code: int, text: str
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        given = [flag.format(taken=other.getsockname()[1]) for flag in flags]
        done = command.run("edge.processes.page", f"--home={tmp_path / 'home'}", *given)
    assert done.code == code
    assert text in done.err
    assert len(done.err.splitlines()) == 1
