"""The robot's processes as real users: what each can reach, by trying all of it.

One robot lives once: it is built from the shipped users, folders and units, its
programs run as their users, an episode is recorded, refused by default, let go on the
page and sent. Then the uploader, the page, control and a stranger try every file,
socket and process. Only what modes and groups refuse counts here; units refuse more.
"""

import contextlib
import dataclasses
import http.client
import json
import os
import re
import time
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest

from edge.actors.told_moves import Told
from edge.episodes import consents
from edge.episodes.step_ring import StepSender
from edge.loops import memory_copies
from edge.ota import comparison
from edge.page_moves import PageMoves
from edge.robots.simulated_point import SPEC
from edge.testing import (
    attempts,
    browser,
    many_users,
    process_tree,
    ring_steps,
    service_units,
)
from edge.testing.service_robot import STRANGER, ServiceRobot

SHIPPED = Path(__file__).absolute().parent
ROBOT = "kitchen-of-somebody"
STEPS = 20
LOOK_S = 1.0  # in which the recorder looks for decisions, at the latest
ROOT = service_units.ROOT
RING = (Path("/run/continuon-ring"),)
IN_MEMORY = (Path("/run/continuon"), *RING)
ATTACKERS = ("upload", "page", "control", "update", STRANGER)
REAL = dataclasses.replace(SPEC, simulated=False)

Life = dict[str, Any]


class Browser:
    """A browser of this machine at the page."""

    def __init__(self, said: str) -> None:
        found = re.findall(
            r"open http://127\.0\.0\.1:(\d+) and type ([A-Z0-9-]+)", said
        )
        (port, code), self._cookie = found[-1], ""
        self._port = int(port)
        self.ask("POST", "/pair", {"code": code})

    def ask(self, method: str, path: str, form: dict[str, str] | None = None) -> str:
        host = f"127.0.0.1:{self._port}"
        headers = {"Host": host, "Cookie": self._cookie, "Origin": f"http://{host}"}
        if form is not None:
            headers["Content-Type"] = "application/x-www-form-urlencoded"
        connection = http.client.HTTPConnection(host, timeout=60)
        with contextlib.closing(connection):
            body = None if form is None else urlencode(form)
            connection.request(method, path, body, headers)
            answer = connection.getresponse()
            text = answer.read().decode()
            assert answer.status in (200, 303), (answer.status, text)
            if cookie := answer.headers["Set-Cookie"]:
                self._cookie = cookie.partition(";")[0]
            return text

    def drive(self) -> None:
        """Takes the robot over from the page, once it hears that."""
        person = browser.Browser(self._port, self._cookie)
        person.read_token()
        process_tree.wait_until(lambda: person.look()["axes"])
        assert person.take_over().status == 200

    def _look(self, path: str) -> str:
        """What a page shows; the reader of episodes may be slow on a busy machine."""
        until_s = time.monotonic() + process_tree.LONGEST_S
        while True:
            try:
                return self.ask("GET", path)
            except AssertionError:
                if time.monotonic() > until_s:
                    raise

    def decide(self, name: str, says: str) -> None:
        shown = self._look(f"/episodes/{name}")
        digest = re.search(r'name="sha256" value="([0-9a-f]{64})"', shown)
        token = re.search(r'name="csrf" value="([^"]+)"', shown)
        assert digest and token
        form = {"csrf": token[1], "says": says, "sha256": digest[1]}
        self.ask("POST", f"/episodes/{name}", form)


def live() -> Life:
    """The life of the robot, as root of a namespace; what was seen in it."""
    robot = ServiceRobot(SHIPPED)
    try:
        return _live(robot)
    finally:
        robot.close()


def _live(robot: ServiceRobot) -> Life:
    home, life = robot.home, Life()
    store, own = Path("/var/lib/store"), Path("/var/lib/own")
    for folder, name in ((store, "upload"), *((own / x, x) for x in ATTACKERS)):
        folder.mkdir(parents=True)
        os.chown(folder, robot.uids.get(name, robot.stranger), 0)
    record = robot.start("record", f"--robot_id={ROBOT}")
    names = life["names"] = robot.run_as("control", lambda: _drive(home.ring))
    for name in names:
        robot.wait_until((home.new_memories / f"{name}.tfrecord").exists)
    page = robot.start("page", "--port=0")
    robot.wait_until(lambda: "and type" in robot.said("page"))
    page_browser = Browser(robot.said("page"))

    to = f"--to=file://{store}"
    life["uploads"] = [robot.run("upload", to)]
    page_browser.decide(names[0], "granted")
    robot.wait_until((home.shared / f"{names[0]}.consent.json").exists)
    robot.wait_until(lambda: not consents.list_wishes(home.shared))
    life["uploads"].append(robot.run("upload", to))

    driving = os.fork()
    if not driving:
        page_browser.drive()
        os._exit(0)
    life["driven"] = robot.run_as("control", lambda: _hear_page(home.root))
    assert os.waitpid(driving, 0)[1] == 0

    raw, key = home.new_memories / f"{names[1]}.tfrecord", home.private / "robot.key"
    secret = json.loads(key.read_bytes())["signing"]
    robot.run_as("page", lambda: _plant(home.shared, {"key": key, "raw": raw}))
    time.sleep(2 * LOOK_S)
    names.append(robot.run_as("control", lambda: _begin(home.ring)))
    robot.wait_until((home.private / f"{names[2]}.journal").exists)

    paths = [
        path
        for root in (service_units.ROOT, *IN_MEMORY)
        for path in attempts.list_tree(root)
    ]
    sockets = sorted(str(path) for path in home.run.resolve().glob("*.sock"))
    texts = [ROBOT.encode(), secret.encode()]
    life |= {"paths": paths, "sockets": sockets, "of": {}}
    for name in ATTACKERS:

        def attack(name: str = name) -> dict[str, list[str]]:
            return {
                "files": attempts.try_files(paths, own / name),
                "texts": attempts.find_texts(Path("/var/lib"), texts)
                + attempts.find_texts(Path("/run"), texts),
                "record": attempts.try_process(record),
                "page": attempts.try_process(page),
                "sockets": attempts.try_sockets(sockets),
            }

        life["of"][name] = robot.run_as(name, attack)

    life["kept"] = key.exists() and raw.exists()
    life["key was said"] = any(secret in robot.said(x) for x in robot.uids)
    life["learner sees"] = robot.run_as("learn", lambda: _take_in(home.memories))
    life["updater sees"] = robot.run_as(
        "update", lambda: len(comparison.read_own_episodes(home.memories))
    )
    page_browser.decide(names[0], "taken_back")
    robot.wait_until(lambda: not (home.shared / f"{names[0]}.tfrecord").exists())
    life["uploads"].append(robot.run("upload", to))
    life["stored"] = sorted(path.name for path in store.rglob("*.*") if path.suffix)
    return life


def _drive(ring: Path) -> list[str]:
    """Drives two episodes, as control."""
    sender = StepSender(ring, REAL)
    return [ring_steps.send_episode(sender, STEPS) for _ in range(2)]


def _hear_page(home: Path) -> str:
    """Hears who takes the robot over at the page, as control."""
    heard: list[Told] = []

    def listen() -> bool:
        heard.extend(moves.read(0.1))
        return bool(heard)

    with contextlib.closing(PageMoves(home, "arm", REAL)) as moves:
        process_tree.wait_until(listen)
    return "" if heard[0].says is None else heard[0].says.value


def _begin(ring: Path) -> str:
    """Begins another episode, which does not end."""
    sender = StepSender(ring, REAL)
    name = ring_steps.begin(sender)
    for number in range(STEPS):
        sender.append(ring_steps.step(number))
    return name


def _plant(shared: Path, targets: dict[str, Path]) -> None:
    """Leaves links where the recorder reads what the page says."""
    for name, target in targets.items():
        for suffix in (".json", ".label"):
            (shared / consents.WISHES / f"{name}{suffix}").symlink_to(target)


def _take_in(memories: Path) -> int:
    """Takes a new memory in, as the learner does; how many it can read."""
    path, _ = next(memory_copies.list_copies(memories, _fail))
    path.rename(memories / path.name)
    return len(list(memory_copies.list_copies(memories, _fail)))


def _fail(text: str) -> None:
    raise AssertionError(text)


@pytest.fixture(scope="module")
def life() -> Life:
    """What was seen, in the life of one robot."""
    return many_users.run(live)


def reached(life: Life, name: str, *folders: Path) -> list[str]:
    """What somebody could do to what is in these folders, and to themselves."""
    return [
        one
        for one in life["of"][name]["files"]
        if any(Path(one.partition(" ")[2]).is_relative_to(x) for x in folders)
    ]


def did(life: Life, name: str, what: str) -> set[str]:
    """The paths with which somebody could do this, below the robot's folder."""
    return {
        str(Path(path).relative_to(ROOT))
        for one in life["of"][name]["files"]
        for act, _, path in [one.partition(" ")]
        if act == what and path.startswith(f"{ROOT}/")
    }


def test_there_is_what_could_be_reached(life: Life) -> None:
    first, second, third = life["names"]
    there = {str(path) for path in life["paths"]}
    assert {
        f"{ROOT}/private/robot.key",
        f"{ROOT}/private/{third}.journal",
        f"{ROOT}/memories/new/{first}.tfrecord",
        f"{ROOT}/shared/{second}.tfrecord",
        f"{ROOT}/shared/decisions/key.json",
        f"{ROOT}/shared/sent/{first}.stores.json",
        "/run/continuon-ring/steps.ring",
    } <= there
    assert [Path(path).name for path in life["sockets"]] == ["page.sock", "record.sock"]


@pytest.mark.parametrize("name", ["upload", "page", STRANGER])
def test_nothing_raw_can_be_touched(life: Life, name: str) -> None:
    assert reached(life, name, ROOT / "private", ROOT / "memories", *RING) == []
    assert life["of"][name]["texts"] == []


def test_control_has_the_ring_and_nothing_that_is_kept(life: Life) -> None:
    assert "read /run/continuon-ring/steps.ring" in reached(life, "control", *RING)
    kept = (ROOT / "private", ROOT / "memories", ROOT / "shared")
    assert reached(life, "control", *kept) == []


def test_updater_has_the_memories_and_nothing_else_that_is_raw(life: Life) -> None:
    assert life["updater sees"] == 2
    assert reached(life, "update", ROOT / "private", ROOT / "shared", *RING) == []


@pytest.mark.parametrize("name", ATTACKERS)
@pytest.mark.parametrize("other", ["record", "page"])
def test_nothing_of_another_process_can_be_seen(
    life: Life, name: str, other: str
) -> None:
    if name != other:
        assert life["of"][name][other] == []


def test_uploader_reads_what_may_leave_and_writes_its_notes_alone(life: Life) -> None:
    first, second, _ = life["names"]
    read = did(life, "upload", "read")
    assert {f"shared/{first}.tfrecord", f"shared/{first}.sidecar.json"} <= read
    assert {
        f"shared/{second}.tfrecord",
        f"shared/{second}.sidecar.json",
    } & read == set()
    assert all(path.startswith("shared/") for path in read)
    assert did(life, "upload", "change") == {"shared/sent"}
    assert all(x.startswith("shared/sent/") for x in did(life, "upload", "write"))
    assert life["of"]["upload"]["sockets"] == []


def test_uploader_sends_what_was_granted_since_and_asks_to_erase_it(life: Life) -> None:
    before, after, last = (said.splitlines()[-1] for said in life["uploads"])
    assert before.startswith("0 sent,")
    assert before.endswith(", 2 closed to this user")
    assert after.startswith("1 sent,")
    assert after.endswith(", 1 closed to this user")
    assert "1 asked to be erased" in last
    consented = ["consent-1.json", "consent-2.json", "episode.tfrecord", "sidecar.json"]
    assert life["stored"] == consented


def test_page_sees_every_copy_and_changes_decisions_alone(life: Life) -> None:
    first, second, _ = life["names"]
    read = did(life, "page", "read")
    assert {f"shared/{first}.tfrecord", f"shared/{second}.tfrecord"} <= read
    changed = did(life, "page", "change") | did(life, "page", "write")
    assert "shared/decisions" in changed
    inside = {path for path in changed if path.startswith("shared")}
    assert all(path.startswith("shared/decisions") for path in inside)
    assert life["of"]["page"]["sockets"] == life["sockets"]


def test_page_tells_control_who_drives(life: Life) -> None:
    assert life["driven"] == "take_over"


def test_links_of_the_page_lead_the_recorder_nowhere(life: Life) -> None:
    assert life["kept"]
    assert not life["key was said"]


def test_learner_takes_raw_episodes_in(life: Life) -> None:
    assert life["learner sees"] == 2


def test_stranger_sees_which_folders_there_are(life: Life) -> None:
    seen = [one for one in life["of"][STRANGER]["files"] if not one.startswith("link")]
    assert seen == [f"list {ROOT}"]
    assert life["of"][STRANGER]["sockets"] == []
