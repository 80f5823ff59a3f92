"""The systemd units of the robot's processes start programs that answer as they say."""

import os
import signal
import socket
import subprocess
import time
from pathlib import Path
from typing import Final

import pytest

from edge.testing import processes, robot_home, service_units
from edge.testing.service_units import User

FOLDER: Final = Path(__file__).parent
NAMES: Final = service_units.NAMES
NETWORK: Final = ("page", "update", "upload")
HOME: Final = ["/var/lib/continuon", "/run/continuon"]
_LONGEST_S: Final = 40.0
SERVICES: Final = ("control", "learn", "page", "record", "update")
"""That run on and answer; upload runs, ends, and is started by its timer."""
RAW: Final = ("control", "learn", "record", "update")


def read_unit(name: str) -> service_units.Unit:
    return service_units.Unit(FOLDER, name)


@pytest.mark.parametrize("name", NAMES)
def test_unit_has_a_user_of_its_own_that_is_made(name: str) -> None:
    user = read_unit(name).service("User")
    assert user == f"continuon-{name}"
    assert f"\nu {user} " in (FOLDER / "continuon.sysusers").read_text()


@pytest.mark.parametrize("name", SERVICES)
def test_unit_restarts_after_any_exit_except_wrong_usage(name: str) -> None:
    unit = read_unit(name)
    assert unit.service("Restart") == "always"
    assert unit.service("RestartPreventExitStatus") == "2"
    assert unit.service("Type") == "notify"
    assert unit.service("WatchdogSec")


@pytest.mark.parametrize("name", NAMES)
def test_only_control_may_ask_for_real_time_and_few_have_a_network(
    name: str,
) -> None:
    unit = read_unit(name)
    assert (unit.service("RestrictRealtime") == "yes") == (name != "control")
    assert (unit.service("LimitRTPRIO") is not None) == (name == "control")
    assert (unit.service("LimitMEMLOCK") is not None) == (name == "control")
    assert (unit.service("PrivateNetwork") == "yes") == (name not in NETWORK)
    families = (unit.service("RestrictAddressFamilies") or "").split()
    assert ("AF_INET" in families) == (name in NETWORK)


@pytest.mark.parametrize("name", NAMES)
def test_unit_is_hardened(name: str) -> None:
    unit = read_unit(name)
    for key in ("NoNewPrivileges", "ProtectHome", "PrivateTmp", "RestrictSUIDSGID"):
        assert unit.service(key) == "yes"
    assert unit.service("ProtectSystem") == "strict"
    writable = {
        "upload": ["/var/lib/continuon/shared/sent"],
        "control": [*HOME, "/run/continuon-ring"],
        "record": [*HOME, "/run/continuon-ring"],
    }.get(name, HOME)
    assert unit.words("ReadWritePaths") == writable
    assert unit.service("LimitCORE") == "0"


@pytest.mark.parametrize("name", RAW)
def test_memory_with_raw_episodes_is_not_swapped(name: str) -> None:
    assert read_unit(name).service("MemorySwapMax") == "0"


def test_one_program_is_not_swapped_or_dumped_either() -> None:
    text = (FOLDER / "continuon.service").read_text()
    assert {"MemorySwapMax=0", "LimitCORE=0"} <= set(text.splitlines())


def test_uploader_runs_again_and_again_and_is_shut_out_of_all_else() -> None:
    unit = read_unit("upload")
    assert unit.service("Type") == "oneshot"
    assert unit.service("User") == "continuon-upload"
    assert unit.service("Group") == "continuon-shared"
    assert unit.service("SupplementaryGroups") is None
    shut = {f"/var/lib/continuon/{x}" for x in ("private", "memories", "deltas")}
    shut |= {"/run/continuon", "/run/continuon-ring"}
    assert shut <= set(unit.words("InaccessiblePaths"))
    timer = (FOLDER / "continuon-upload.timer").read_text()
    assert "\nOnUnitInactiveSec=15min\n" in timer


def test_learner_may_be_raised_and_freed_when_it_is_killed() -> None:
    unit = read_unit("learn")
    assert unit.service("LimitNICE") == "+0"
    assert "process_mrelease" in (unit.service("SystemCallFilter") or "").split()
    # A system call that this version of systemd does not know must not end it.
    assert unit.service("SystemCallErrorNumber") == "EPERM"
    # In a group that only gets idle time nobody would be there to stop a learner.
    assert unit.service("CPUWeight") != "idle"


def test_control_may_open_an_arm_a_gamepad_cameras_and_a_microphone() -> None:
    unit = read_unit("control")
    groups = (unit.service("SupplementaryGroups") or "").split()
    assert groups == ["audio", "dialout", "input", "video", "continuon-ring"]
    # Its devices are those of the machine.
    assert unit.service("PrivateDevices") is None
    made = (FOLDER / "continuon.sysusers").read_text()
    for group in groups:
        assert f"\ng {group} -" in made


def test_learner_reads_raw_episodes_and_asks_the_firmware() -> None:
    unit = read_unit("learn")
    groups = (unit.service("SupplementaryGroups") or "").split()
    assert groups == ["continuon-private", "continuon-shared", "video"]
    assert unit.service("PrivateDevices") is None  # /dev/vcio is one
    made = (FOLDER / "continuon.sysusers").read_text()
    for group in groups:
        assert f"\ng {group} -" in made


@pytest.mark.parametrize("name", NAMES)
def test_unit_that_needs_no_flags_starts_without_a_file_of_them(name: str) -> None:
    optional = "-" if name in ("learn", "page", "record") else ""
    file = f"{optional}/etc/continuon/{name}.env"
    assert read_unit(name).service("EnvironmentFile") == file


def test_updater_reads_the_memories_and_neither_writes_them_nor_sees_the_journals() -> (
    None
):
    unit = read_unit("update")
    assert unit.service("SupplementaryGroups") == "continuon-private"
    assert unit.service("ReadOnlyPaths") == "/var/lib/continuon/memories"
    assert "/var/lib/continuon/private" in unit.words("InaccessiblePaths")


# What each process may do with a folder by modes alone: l(ist), c(hange), e(nter).
MAY: Final = {
    "private": {"record": "lce"},
    "memories": {"learn": "lce", "record": "lce", "update": "lce"},
    "memories/new": {"learn": "lce", "record": "lce", "update": "lce"},
    "shared": {"record": "lce", "page": "le", "learn": "le", "upload": "le"},
    "shared/decisions": {
        "record": "lce",
        "page": "lce",
        "learn": "lce",
        "upload": "le",
    },
    "shared/sent": {"record": "lce", "upload": "lce", "page": "le", "learn": "lce"},
    "packages": dict.fromkeys(("control", "learn", "page", "record", "update"), "lce"),
    "deltas": {
        **dict.fromkeys(("control", "page", "record", "update"), "le"),
        "learn": "lce",
    },
    "receipts": dict.fromkeys(("control", "learn", "page", "record", "update"), "lce"),
    "/run/continuon": dict.fromkeys(SERVICES, "lce"),
    "/run/continuon-ring": {"control": "lce", "record": "le"},
}
_STRANGER: Final = User("nobody", ("nogroup",), 0o022)


@pytest.mark.parametrize("folder", MAY)
def test_modes_and_groups_let_in_whom_they_should(folder: str) -> None:
    entries = {one.path: one for one in service_units.read_entries(FOLDER)}
    users = {name: service_units.read_user(FOLDER, name) for name in NAMES}
    path = service_units.ROOT / folder  # an absolute one stays as it is

    def tell(who: User) -> str:
        can = service_units.may_reach
        return "".join(
            letter
            for letter, want in (("l", 4), ("c", 3), ("e", 1))
            if can(entries, path, who, want)
        )

    found = {name: tell(who) for name, who in users.items()}
    assert {name: can for name, can in found.items() if can} == MAY[folder]
    assert tell(_STRANGER) == ""


def test_every_folder_of_a_robot_is_in_the_table() -> None:
    folders = {x.path for x in service_units.read_entries(FOLDER) if x.target is None}
    assert {service_units.ROOT / name for name in MAY} == folders - {service_units.ROOT}


def test_one_user_owns_what_is_raw_and_one_group_reads_it() -> None:
    entries = {one.path: one for one in service_units.read_entries(FOLDER)}
    private = entries[service_units.ROOT / "private"]
    assert (private.user, private.group) == ("continuon-record", "continuon-private")
    inside = [
        name
        for name in NAMES
        if "continuon-private" in service_units.read_user(FOLDER, name).groups
    ]
    assert inside == ["learn", "record", "update"]


def start(
    name: str, made: robot_home.RobotHome, address: str
) -> "subprocess.Popen[str]":
    """Starts the program of a unit with the unit's flags, as systemd does."""
    unit = read_unit(name)
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


def test_page_sees_neither_raw_episodes_nor_memories() -> None:
    unit = read_unit("page")
    assert unit.words("InaccessiblePaths") == [
        "/var/lib/continuon/private",
        "/var/lib/continuon/memories",
        "/run/continuon-ring",
    ]
    assert "/var/lib/continuon/shared/sent" in unit.words("ReadOnlyPaths")
    assert unit.service("Nice") == "10"


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
