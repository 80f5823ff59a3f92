"""The systemd units of the robot's processes start programs that answer as they say."""

import configparser
import os
import signal
import socket
import subprocess
import time
from pathlib import Path
from typing import Final

import pytest

from edge.testing import processes, robot_home

FOLDER: Final = Path(__file__).parent
NAMES: Final = ("control", "learn", "page", "record", "update")
NETWORK: Final = ("page", "update")
_LONGEST_S: Final = 40.0


class Unit(configparser.RawConfigParser):
    """A unit file, whose keys keep their case and may repeat."""

    def __init__(self, name: str) -> None:
        super().__init__(strict=False)
        self.text = (FOLDER / f"continuon-{name}.service").read_text()
        self.read_string(self.text)

    def optionxform(self, optionstr: str) -> str:
        return optionstr

    def service(self, key: str) -> str | None:
        return self.get("Service", key, fallback=None)


@pytest.mark.parametrize("name", NAMES)
def test_unit_has_a_user_of_its_own_that_is_made(name: str) -> None:
    user = Unit(name).service("User")
    assert user == f"continuon-{name}"
    assert f"\nu {user} " in (FOLDER / "continuon.sysusers").read_text()


@pytest.mark.parametrize("name", NAMES)
def test_unit_restarts_after_any_exit_except_wrong_usage(name: str) -> None:
    unit = Unit(name)
    assert unit.service("Restart") == "always"
    assert unit.service("RestartPreventExitStatus") == "2"
    assert unit.service("Type") == "notify"
    assert unit.service("WatchdogSec")


@pytest.mark.parametrize("name", NAMES)
def test_only_control_may_ask_for_real_time_and_few_have_a_network(
    name: str,
) -> None:
    unit = Unit(name)
    assert (unit.service("RestrictRealtime") == "yes") == (name != "control")
    assert (unit.service("LimitRTPRIO") is not None) == (name == "control")
    assert (unit.service("LimitMEMLOCK") is not None) == (name == "control")
    assert (unit.service("PrivateNetwork") == "yes") == (name not in NETWORK)
    families = (unit.service("RestrictAddressFamilies") or "").split()
    assert ("AF_INET" in families) == (name in NETWORK)


@pytest.mark.parametrize("name", NAMES)
def test_unit_is_hardened(name: str) -> None:
    unit = Unit(name)
    for key in ("NoNewPrivileges", "ProtectHome", "PrivateTmp", "RestrictSUIDSGID"):
        assert unit.service(key) == "yes"
    assert unit.service("ProtectSystem") == "strict"
    assert unit.service("ReadWritePaths") == "/var/lib/continuon /run/continuon"


def test_learner_may_be_raised_and_freed_when_it_is_killed() -> None:
    unit = Unit("learn")
    assert unit.service("LimitNICE") == "+0"
    assert "process_mrelease" in (unit.service("SystemCallFilter") or "").split()
    # A system call that this version of systemd does not know must not end it.
    assert unit.service("SystemCallErrorNumber") == "EPERM"
    # In a group that only gets idle time nobody would be there to stop a learner.
    assert unit.service("CPUWeight") != "idle"


def test_control_may_open_an_arm_a_gamepad_cameras_and_a_microphone() -> None:
    unit = Unit("control")
    groups = (unit.service("SupplementaryGroups") or "").split()
    assert groups == ["audio", "dialout", "input", "video"]
    # Its devices are those of the machine.
    assert unit.service("PrivateDevices") is None
    made = (FOLDER / "continuon.sysusers").read_text()
    for group in groups:
        assert f"\ng {group} -" in made


def test_learner_reads_raw_episodes_and_asks_the_firmware() -> None:
    unit = Unit("learn")
    groups = (unit.service("SupplementaryGroups") or "").split()
    assert groups == ["continuon-private", "video"]
    assert unit.service("PrivateDevices") is None  # /dev/vcio is one
    made = (FOLDER / "continuon.sysusers").read_text()
    for group in groups:
        assert f"\ng {group} -" in made


@pytest.mark.parametrize("name", NAMES)
def test_unit_that_needs_no_flags_starts_without_a_file_of_them(name: str) -> None:
    optional = "-" if name in ("learn", "page", "record") else ""
    file = f"{optional}/etc/continuon/{name}.env"
    assert Unit(name).service("EnvironmentFile") == file


def test_updater_reads_the_memories_and_neither_writes_them_nor_sees_the_journals() -> (
    None
):
    unit = Unit("update")
    assert unit.service("SupplementaryGroups") == "continuon-private"
    assert unit.service("ReadOnlyPaths") == "/var/lib/continuon/memories"
    assert unit.service("InaccessiblePaths") == "/var/lib/continuon/private"


def read_folders() -> dict[str, tuple[str, ...]]:
    """Mode, user and group of each folder, by its path below the robot's."""
    return {
        fields[1].removeprefix("/var/lib/continuon/"): tuple(fields[2:5])
        for line in (FOLDER / "continuon.tmpfiles").read_text().splitlines()
        if line.startswith("d ")
        for fields in [line.split()]
    }


def test_raw_episodes_are_closed_to_control() -> None:
    made = read_folders()
    assert made["private"] == ("2700", "continuon-record", "continuon-private")
    for folder in ("memories", "memories/new"):
        mode, _, group = made[folder]
        assert (mode[-1], group) == ("0", "continuon-private")
    private = [n for n in NAMES if "continuon-private" in Unit(n).text]
    assert private == ["learn", "record", "update"]


def start(
    name: str, made: robot_home.RobotHome, address: str
) -> "subprocess.Popen[str]":
    """Starts the program of a unit with the unit's flags, as systemd does."""
    unit = Unit(name)
    program, *given = (unit.service("ExecStart") or "").split()
    assert program.endswith("/continuon-run")
    assert given.pop() == "$CONTINUON_FLAGS"
    module = (unit.service("Environment") or "").removeprefix("CONTINUON_PROGRAM=")
    flags = [flag.replace("/var/lib/continuon", str(made.home.root)) for flag in given]
    own = {"control": made.flags[1:], "page": ["--port=0"]}.get(name, [])
    return subprocess.Popen(
        processes.command(module, *flags, *own),
        stderr=subprocess.PIPE,
        text=True,
        env={**processes.environment(), "NOTIFY_SOCKET": address},
    )


def test_page_sees_neither_raw_episodes_nor_memories_and_leaves_wishes() -> None:
    unit = Unit("page")
    assert unit.service("InaccessiblePaths") == (
        "/var/lib/continuon/private /var/lib/continuon/memories"
    )
    assert unit.service("Nice") == "10"
    made = read_folders()
    assert made["shared"][0] == "2750"
    assert made["shared/decisions"] == ("2770", "continuon-page", "continuon")


@pytest.mark.parametrize("name", ["control", "page", "record"])
def test_process_says_that_it_is_ready_and_lives_until_sigterm_ends_it_with_0(
    name: str, tmp_path: Path
) -> None:
    made = robot_home.make(tmp_path)
    address = f"\0continuon-{os.getpid()}-{name}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(address)
        systemd.settimeout(_LONGEST_S)
        running = start(name, made, "@" + address[1:])
        lived, said, until_s = 0, "", time.monotonic() + _LONGEST_S
        while "READY=1" not in said or lived < 3:
            assert time.monotonic() < until_s, said
            text = systemd.recv(4096).decode()
            said += text + "\n"
            lived += "WATCHDOG=1" in text
    running.send_signal(signal.SIGTERM)
    _, log = running.communicate(timeout=_LONGEST_S)
    assert running.returncode == 0, log
    assert "STATUS=" in said
