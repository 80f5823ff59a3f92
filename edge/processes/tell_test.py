"""What a person says to a robot without a terminal is heard, kept, or refused."""

import os
import re
import signal
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from base.testing import command
from base.testing.command import Finished
from edge.loops.mode import Mode
from edge.processes import last_word, mode_keeper, telling
from edge.processes.mailbox import Mailbox
from edge.processes.person_keys import PersonKeys
from edge.testing import fork, process_tree, robot_home
from edge.testing.fork import Fork

_TEXTS: Final = ("driving", "idle", "asleep", "demonstrating", "stopped")


def say(home: Path, mode: str) -> Finished:
    return command.run("edge.processes.tell", f"--home={home}", f"--mode={mode}")


def test_words_are_those_that_the_keys_of_a_terminal_say() -> None:
    keys = [PersonKeys("gamepad").hear(bytes([key])) for key in range(256)]
    said = {(k.told, k.demonstrates, k.stops) for k in keys if k.told is not None}
    words = telling.WORDS.values()
    assert said == {(one.mode, one.demonstrates, one.stops) for one in words}
    assert tuple(telling.WORDS) == _TEXTS


@pytest.mark.parametrize("mode", _TEXTS)
@pytest.mark.parametrize("hears", ["robot", "control"])
def test_supervisor_hears_it_where_there_is_one_and_control_elsewhere(
    tmp_path: Path, hears: str, mode: str
) -> None:
    with Mailbox(tmp_path, "control") as control:
        if hears == "robot":
            with Mailbox(tmp_path, "robot") as robot:
                done = say(tmp_path, mode)
                (heard,) = robot.receive()
            assert control.receive() == []
        else:
            Mailbox(tmp_path, "robot").close()
            done = say(tmp_path, mode)
            (heard,) = control.receive()
    assert (done.code, done.err) == (0, "")
    assert done.out == f"told the robot {telling.WORDS[mode].text}\n"
    assert heard.sender == "tell"
    at_s = heard.fields["at_s"]
    assert isinstance(at_s, float)
    assert 0.0 <= time.monotonic() - at_s < 60.0
    word = telling.WORDS[mode]
    told = {
        "mode": word.mode.value,
        "demonstrates": word.demonstrates,
        "at_s": at_s,
        "stopped_s": None,
    }
    if word.stops:
        assert (heard.kind, heard.fields) == ("stop_key", {"at_s": at_s})
    else:
        assert (heard.kind, heard.fields) == ("told", told)
    # A supervisor says it again itself.
    kept = {} if hears == "robot" else told
    assert last_word.read_kept(tmp_path) == kept


def test_where_no_robot_runs_one_line_says_what_to_start(tmp_path: Path) -> None:
    for home in (tmp_path / "absent", tmp_path):
        done = say(home, "asleep")
        assert (done.code, done.out) == (1, "")
        assert re.fullmatch(
            rf"tell: {home}/run: expected a robot that runs, got none that listens; "
            r"start .*continuon-control.*\n",
            done.err,
        )
        assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("flags", [(), ("--mode=flying",), ("--mode=",)])
def test_wrong_mode_is_one_line_that_names_the_modes(
    tmp_path: Path, flags: tuple[str, ...]
) -> None:
    done = command.run("edge.processes.tell", f"--home={tmp_path}", *flags)
    assert (done.code, done.out) == (2, "")
    assert done.err.count("\n") == 1
    assert "--mode" in done.err
    if flags == ("--mode=flying",):
        assert f"one of {', '.join(_TEXTS)}, got 'flying'" in done.err


class Service:
    """Control as systemd starts it, and again when it has died."""

    def __init__(self, folder: Path, *flags: str) -> None:
        self.made = robot_home.make(folder, steps=400)
        self.learn = Mailbox(self.made.home.root, "learn")
        self.modes: list[object] = []
        self.log = folder / "log"
        self._flags = flags
        self.systemd = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._address = f"continuon-tell-{os.getpid()}"
        self.systemd.bind(f"\0{self._address}")
        self.running = self._start()

    def _start(self) -> Fork:
        notify = {"NOTIFY_SOCKET": f"@{self._address}"}
        return fork.start(
            "edge.processes.control",
            *self.made.flags,
            *self._flags,
            log=self.log,
            before=lambda: os.environ.update(notify),
        )

    def kill(self) -> None:
        self.running.kill()
        self.running.wait()
        self.running = self._start()

    def wait_for(self, mode: Mode) -> None:
        """Waits until control says this mode, after all that was heard before."""
        self._read()
        self.modes.clear()

        def look() -> bool:
            self._read()
            assert self.running.poll() is None, self.log.read_text()
            return mode.value in self.modes

        process_tree.wait_until(look, self.log.read_text)

    def _read(self) -> None:
        self.modes += [m.fields["mode"] for m in self.learn.receive()]

    def tell(self, mode: str) -> None:
        done = say(self.made.home.root, mode)
        assert done.code == 0, done.err

    def close(self) -> None:
        self.running.send_signal(signal.SIGKILL)
        self.running.wait()
        self.learn.close()
        self.systemd.close()


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Service]:
    # It is night, whenever the test runs: a robot that was told nothing sleeps.
    hour = int(mode_keeper.read_hour())
    night = f"{(hour - 2) % 24:02}:00-{(hour + 3) % 24:02}:00"
    started = Service(tmp_path, f"--night={night}")
    yield started
    started.close()


def test_service_does_what_it_was_told_also_after_it_died(service: Service) -> None:
    service.wait_for(Mode.ASLEEP)
    for mode, wanted in (
        ("driving", Mode.DRIVING),
        ("stopped", Mode.IDLE),
        ("driving", Mode.DRIVING),
        ("idle", Mode.IDLE),
    ):
        service.tell(mode)
        service.wait_for(wanted)
        service.kill()
        service.wait_for(wanted)
        assert set(service.modes) == {wanted.value}
