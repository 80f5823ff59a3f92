"""The update service as a program: one round by hand, and rounds beside control."""

import os
import re
import signal
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from subprocess import CompletedProcess

import pytest

from base.errors import ContinuonError
from base.store.local_store import LocalStore
from base.testing import special_files
from edge.ota import trial
from edge.ota.state_folder import StateFolder
from edge.processes import process
from edge.processes.mailbox import Mailbox, Message
from edge.testing import fork, process_tree, processes, program_runs, tampering
from edge.testing.fork import Fork
from edge.testing.tiny_package import Publisher
from edge.testing.tried_robot import ROBOT_ID, TriedRobot
from release import package
from release.testing.tiny_release import PrivateKey

MODULE = "edge.processes.update"


class Home:
    """A robot's home, the store that it follows, and the program's flags."""

    def __init__(self, folder: Path) -> None:
        self.publisher = Publisher(folder, PrivateKey.generate(development=True))
        self.robot = TriedRobot(folder / "home", self.publisher)
        self.flags = [
            f"--home={self.robot.home}",
            f"--keyring={self.publisher.keyring()}",
            "--allow_development_keys",
            f"--robot=replay:{program_runs.write_episode(folder, steps=3)}",
            f"--robot_id={ROBOT_ID}",
            "--trial_episodes=3",
        ]

    @property
    def channel(self) -> str:
        return f"--channel={self.publisher.channel_uri}"

    def release(self, seed: int) -> str:
        return self.publisher.release(seed, now=datetime.now(UTC))

    def once(self, *flags: str) -> CompletedProcess[str]:
        return processes.run_forked(MODULE, *self.flags, *flags)

    def outcomes(self) -> list[str]:
        return [one.outcome for one in self.robot.read_receipts()]


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path)


def test_round_by_hand_installs_and_then_keeps(home: Home) -> None:
    digest = home.release(0)
    done = home.once("--once", home.channel)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == (
        f"package {digest[:12]} of channel nightly, release 1: installed\n"
    )
    again = home.once("--once", home.channel)
    assert (again.returncode, again.stderr) == (0, "")
    assert again.stdout.endswith("release 1: kept\n")
    assert home.outcomes() == ["installed"]
    assert trial.is_on_trial(home.robot.state.root, digest)


def test_round_by_hand_that_fails_is_one_line_and_exit_code_1(home: Home) -> None:
    first = home.release(0)
    home.once("--once", home.channel)
    home.release(1)
    tampering.remove_signatures(home.publisher)
    done = home.once("--once", home.channel)
    assert (done.returncode, done.stdout) == (1, "")
    (line,) = done.stderr.splitlines()
    assert line.startswith("update: ")
    assert "signature" in line
    assert home.robot.active() == first
    assert home.outcomes() == ["installed", "refused"]


@pytest.mark.parametrize("form", ["folder", "tar"])
def test_seed_is_installed_by_hand(home: Home, form: str) -> None:
    digest = home.release(0)
    path = home.publisher.folder / "package-0"
    if form == "tar":
        path.with_suffix(".tar").write_bytes(package.pack_tar(path))
        path = path.with_suffix(".tar")
    done = home.once(f"--seed_package={path}")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == f"package {digest[:12]}, a seed: installed\n"
    (path / "more" if form == "folder" else path).write_bytes(b"x")
    done = home.once(f"--seed_package={path}")
    assert (done.returncode, done.stdout) == (1, "")
    assert len(done.stderr.splitlines()) == 1
    assert home.robot.active() == digest


@pytest.mark.parametrize(
    "flags",
    [
        ("--once",),
        ("--seed_package=a", "--channel=b"),
        ("--seed_package=a", "--once"),
        ("more",),
    ],
)
def test_flags_that_do_not_go_together_are_refused(
    home: Home, flags: tuple[str, ...]
) -> None:
    done = home.once(*flags)
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1
    assert not (home.robot.home / "packages").exists()


def hang(pipe: Path) -> None:
    """Lets a store on disk wait for what nobody writes."""

    def wait(store: LocalStore, path: str) -> int:
        del store, path
        return os.open(pipe, os.O_RDONLY)

    LocalStore.object_path = wait  # type: ignore[assignment,method-assign]


@pytest.fixture(autouse=True)
def talkative(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each service is a fork of this, and says more often how it is."""
    monkeypatch.setattr(process, "STATUS_PERIOD_S", 0.1)


class Service:
    """The running service, and control's mailbox in its place."""

    def __init__(
        self, home: Home, *flags: str, before: Callable[[], object] = lambda: None
    ) -> None:
        self.home = home
        self.control = Mailbox(home.robot.home, "control")
        self.supervisor = Mailbox(home.robot.home, "robot")
        every = "--update_period_s=1", "--update_jitter_s=0.5"
        self._flags = *home.flags, *every, *flags
        self._before = before
        self.process = self.start()

    def start(self) -> Fork:
        while self.supervisor.receive():
            pass  # of one that ran before
        self.process = fork.start(MODULE, *self._flags, before=self._before)
        return self.process

    def wait_until(self, done: Callable[[], bool]) -> None:
        def look() -> bool:
            assert self.process.poll() is None, self.process.communicate()[0]
            return done()

        process_tree.wait_until(look)

    def wait_for_status(self, doing: str) -> Message:
        found: list[Message] = []

        def look() -> bool:
            found.extend(
                one
                for one in self.supervisor.receive()
                if doing in str(one.fields["doing"])
            )
            return bool(found)

        self.wait_until(look)
        return found[0]

    def wait_for_package(self, digest: str) -> None:
        """Waits until control is told of this package."""
        message = Message("update", "package", {"package": digest})
        self.wait_until(lambda: message in self.control.receive())

    def report(self, package_digest: str, **changes: object) -> None:
        """Says, as control does, how an episode went."""
        fields = {
            "package": package_digest,
            "delta": None,
            "success": None,
            "steps": 80,
            "missed_deadlines": 0,
            "stop_rules": 0,
            "stopped": False,
            "stop_key": False,
            **changes,
        }
        self.wait_until(lambda: self.control.send("update", "health", fields))

    def end(self) -> tuple[int, str]:
        """Stops the service as systemd does; returns its exit code and its log."""
        self.process.send_signal(signal.SIGTERM)
        log, _ = self.process.communicate(timeout=process_tree.LONGEST_S)
        return self.process.wait(), log

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.communicate()
        self.control.close()
        self.supervisor.close()


@pytest.fixture
def run(home: Home) -> Iterator[Callable[..., Service]]:
    started: list[Service] = []

    def begin(*flags: str, before: Callable[[], object] = lambda: None) -> Service:
        started.append(Service(home, *flags, before=before))
        return started[-1]

    yield begin
    for service in started:
        service.close()


def test_service_installs_watches_commits_and_falls_back(
    home: Home, run: Callable[..., Service]
) -> None:
    first = home.release(0)
    service = run(home.channel)
    service.wait_for_package(first)
    status = service.wait_for_status("watches its package, asks in")
    assert (status.fields["package"], status.fields["on_trial"]) == (first, True)
    for _ in range(3):
        service.report(first)
    service.report("0" * 64)  # of another package: not counted
    service.wait_until(lambda: home.outcomes() == ["installed", "committed"])
    second = home.release(1)
    service.wait_for_package(second)
    assert home.robot.open().package.digest == second
    service.report(second, stop_rules=1)
    counted = home.robot.state.root / "health"
    service.wait_until(lambda: second.encode() in counted.read_bytes())
    service.process.kill()
    service.process.communicate()
    service.start()  # goes on with what was counted
    service.wait_for_status("watches its package")
    for _ in range(2):
        service.report(second, stop_rules=1)
    service.wait_for_package(first)
    code, log = service.end()
    assert code == 0
    assert "fell back: 3 of 3 episodes ended by a stop rule, 0 of 3 before" in log
    assert home.robot.open().package.digest == first
    assert home.outcomes() == ["installed", "committed", "installed", "fell_back"]


def test_package_is_not_blamed_on_a_robot_that_has_yet_to_learn_with_it(
    home: Home, run: Callable[..., Service]
) -> None:
    first = home.release(0)
    service = run(home.channel)
    service.wait_for_package(first)
    for _ in range(12):
        service.report(first, delta="d" * 64, success=True)
    service.wait_until(lambda: home.outcomes() == ["installed", "committed"])
    second = home.release(1)
    service.wait_for_package(second)
    for _ in range(3):  # the robot has changed, and no night has been since
        service.report(second, success=False)
    expected = ["installed", "committed", "installed", "committed"]
    service.wait_until(lambda: home.outcomes() == expected)
    assert service.end()[0] == 0
    assert home.robot.open().package.digest == second


def test_service_whose_store_hangs_answers_counts_and_stops_at_once(
    home: Home, run: Callable[..., Service], tmp_path: Path
) -> None:
    first = home.release(0)
    home.once("--once", home.channel)
    pipe = tmp_path / "pipe"
    special_files.make(pipe, "pipe")
    service = run(home.channel, before=lambda: hang(pipe))
    service.wait_for_status("asks its channel")
    service.supervisor.receive()
    assert home.robot.open().package.digest == first
    service.report(first)
    counted = home.robot.state.root / "health"
    service.wait_until(counted.exists)
    service.wait_for_status("asks its channel")
    child = process_tree.list_children(service.process.pid)[0].pid
    assert service.end()[0] == 0
    with pytest.raises(ProcessLookupError):
        os.kill(child, 0)


def test_round_dies_with_a_service_that_is_killed(
    home: Home, run: Callable[..., Service], tmp_path: Path
) -> None:
    pipe = tmp_path / "pipe"
    special_files.make(pipe, "pipe")
    service = run(home.channel, before=lambda: hang(pipe))
    service.wait_for_status("asks its channel")
    child = process_tree.list_children(service.process.pid)[0].pid
    service.process.kill()
    service.process.communicate()
    process_tree.wait_until(lambda: not process_tree.is_alive(child))


def test_only_package_that_was_torn_is_fetched_again_as_soon_as_control_says_so(
    home: Home, run: Callable[..., Service]
) -> None:
    digest = home.release(0)
    home.once("--once", home.channel)
    folder = home.robot.state.package_folder(digest)
    for path in folder.rglob("*.tflite"):
        path.write_bytes(path.read_bytes()[:100])
    service = run(home.channel, "--update_period_s=36000")
    service.wait_for_status("watches its package, asks in ")

    def open_again() -> bool:
        service.control.send("update", "in_need", {})
        try:
            return home.robot.open().package.digest == digest
        except (ContinuonError, OSError):  # it is being replaced
            return False

    service.wait_until(open_again)
    status = service.wait_for_status("has no package that can drive, asks in ")
    (left_s,) = re.findall(r"asks in (\d+) s", str(status.fields["doing"]))
    assert int(left_s) <= 30  # and it did not ask again at once
    service.wait_for_status("watches its package, asks in ")  # control is content
    assert service.end()[0] == 0


@pytest.mark.long
def test_service_without_a_network_says_so_once_and_goes_on(
    home: Home, run: Callable[..., Service]
) -> None:
    first = home.release(0)
    home.once("--once", home.channel)
    away = home.publisher.root.with_name("away")
    home.publisher.root.rename(away)
    service = run(home.channel)
    service.wait_for_status("asks its channel")
    service.wait_for_status("watches its package, asks in")
    service.wait_for_status("asks its channel")
    status = service.wait_for_status("watches its package, asks in")
    failure = str(status.fields["failure"])
    assert re.match(r"at \d{4}-\d\d-\d\d \d\d:\d\d: \S+/nightly\.json", failure)
    away.rename(home.publisher.root)
    second = home.release(1)
    service.wait_for_package(second)
    service.wait_until(
        lambda: "failure" not in service.wait_for_status("watches its package").fields
    )
    code, log = service.end()
    assert code == 0
    lines = [line for line in log.splitlines() if "nightly.dsse.json" in line]
    assert len(lines) == 1, log
    assert StateFolder(home.robot.state.root).list_packages() == tuple(
        sorted((first, second))
    )


def test_service_without_a_channel_watches_a_seed(
    home: Home, run: Callable[..., Service]
) -> None:
    digest = home.release(0)
    home.once(f"--seed_package={home.publisher.folder / 'package-0'}")
    service = run()
    status = service.wait_for_status("watches its package, follows no channel")
    assert (status.fields["origin"], status.fields["release"]) == ("seed", 0)
    for _ in range(3):
        service.report(digest)
    service.wait_until(lambda: home.outcomes() == ["installed", "committed"])
    assert service.end()[0] == 0
