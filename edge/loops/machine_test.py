"""What a machine says is read from files of a root of our own, whatever they hold."""

import os
import time
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edge.loops.machine import MachineReadings, is_on_charger, read_machine

PI: dict[str, str] = {
    "sys/class/thermal/thermal_zone0/temp": "48250\n",
    "sys/class/thermal/thermal_zone1/temp": "51000\n",
    "sys/class/power_supply/BAT0/type": "Battery\n",
    "sys/class/power_supply/BAT0/capacity": "83\n",
    "sys/class/power_supply/BAT0/status": "Not charging\n",
    "sys/class/power_supply/AC/type": "Mains\n",
    "sys/class/power_supply/AC/online": "1\n",
    "proc/meminfo": "MemTotal:  4000000 kB\nMemFree: 1 kB\nMemAvailable:  3000000 kB\n",
    "proc/loadavg": "1.20 0.80 0.50 2/345 6789\n",
    "proc/self/cgroup": "0::/system.slice/continuon-learn.service\n",
    "sys/devices/system/cpu/online": "0-3\n",
}
GROUP = "sys/fs/cgroup/system.slice/continuon-learn.service"


def fill(root: Path, files: dict[str, str]) -> Path:
    """Writes the files of a root; a program can be run."""
    for name, content in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
        if "/bin/" in name:
            path.chmod(0o755)
    return root


def read(root: Path, **changed: str) -> MachineReadings:
    return read_machine(fill(root, PI | changed))


def says(answer: str) -> dict[str, str]:
    """A program that answers like this."""
    return {"usr/bin/vcgencmd": f"#!/bin/sh\n{answer}\n"}


def test_every_reading_of_a_robot_with_a_battery(tmp_path: Path) -> None:
    fill(tmp_path, says("[ $1 = get_throttled ] && echo throttled=0x0"))
    assert read(tmp_path) == MachineReadings(
        temperature_c=51.0,
        throttled=(),
        battery_percent=83.0,
        on_mains=True,
        memory_available_bytes=3_000_000 * 1024,
        memory_limit_bytes=4_000_000 * 1024,
        processors=4,
        load=0.3,
        notes=(),
    )


def test_machine_without_sensors_reads_none_and_notes_nothing(tmp_path: Path) -> None:
    assert read_machine(tmp_path) == MachineReadings()


def test_this_machine_can_be_read() -> None:
    found = read_machine()
    assert found.memory_available_bytes
    assert found.processors


@pytest.mark.parametrize(
    ("answer", "throttled"),
    [
        ("echo throttled=0x50000", ()),  # it was so since the start, and is no more
        ("echo throttled=0x50005", ("under-voltage", "processor throttled")),
        (
            "echo throttled=0xa",
            ("processor frequency capped", "soft temperature limit"),
        ),
    ],
)
def test_firmware_says_what_is_so_now(
    tmp_path: Path, answer: str, throttled: tuple[str, ...]
) -> None:
    assert read_machine(fill(tmp_path, says(answer))).throttled == throttled


@pytest.mark.parametrize(
    "answer",
    [
        "echo VCHI initialization failed",
        "exit 255",
        "sleep 60",
        "sleep 60 & echo throttled=",
        "yes",
        "kill -9 $$",
    ],
)
def test_firmware_that_does_not_answer_is_a_note_in_time(
    tmp_path: Path, answer: str
) -> None:
    fill(tmp_path, says(answer))
    begun = time.monotonic()
    found = read_machine(tmp_path)
    assert time.monotonic() - begun < 20
    assert found.throttled is None
    assert len(found.notes) == 1
    assert "vcgencmd" in found.notes[0]


def test_program_that_cannot_be_started_is_a_note(tmp_path: Path) -> None:
    fill(tmp_path, {"usr/bin/vcgencmd": "\x7fELF garbage"})
    found = read_machine(tmp_path)
    assert found.throttled is None
    assert "expected a program" in found.notes[0]


SUPPLY = "sys/class/power_supply"


@pytest.mark.parametrize(
    ("changed", "percent", "on_mains"),
    [
        (
            {f"{SUPPLY}/AC/online": "0", f"{SUPPLY}/BAT0/status": "Discharging"},
            83,
            False,
        ),
        # A charger that is too weak.
        ({f"{SUPPLY}/BAT0/status": "Discharging"}, 83, False),
        ({f"{SUPPLY}/AC/type": "Unknown", f"{SUPPLY}/BAT0/status": "Full"}, 83, True),
        (
            {f"{SUPPLY}/AC/type": "Unknown", f"{SUPPLY}/BAT0/status": "Unknown"},
            83,
            None,
        ),
        (
            {f"{SUPPLY}/BAT1/type": "Battery", f"{SUPPLY}/BAT1/capacity": "7"},
            7,
            True,
        ),
        # A gamepad.
        (
            {
                f"{SUPPLY}/pad/type": "Battery",
                f"{SUPPLY}/pad/scope": "Device",
                f"{SUPPLY}/pad/capacity": "2",
                f"{SUPPLY}/pad/status": "Discharging",
            },
            83,
            True,
        ),
    ],
)
def test_power_is_that_of_the_emptiest_battery_of_the_machine(
    tmp_path: Path, changed: dict[str, str], percent: float, on_mains: bool | None
) -> None:
    found = read(tmp_path, **changed)
    assert (found.battery_percent, found.on_mains) == (percent, on_mains)
    assert is_on_charger(tmp_path) is found.on_charger is (on_mains is True)


def test_robot_on_the_mains_without_a_battery_is_not_on_a_charger(
    tmp_path: Path,
) -> None:
    fill(tmp_path, {name: text for name, text in PI.items() if "BAT0" not in name})
    assert not is_on_charger(tmp_path)
    assert not is_on_charger(tmp_path / "missing")


def test_limit_of_any_group_around_the_process_counts(tmp_path: Path) -> None:
    found = read(
        tmp_path,
        **{
            f"{GROUP}/memory.max": "500000000",
            f"{GROUP}/memory.current": "300000000",
            f"{GROUP}/memory.stat": "anon 5\ninactive_file 50000000\n",
            f"{GROUP}/cpu.max": "max 100000",
            "sys/fs/cgroup/system.slice/memory.max": "max",
            "sys/fs/cgroup/system.slice/cpu.max": "150000 100000",
        },
    )
    assert found.memory_limit_bytes == 500_000_000
    assert found.memory_available_bytes == 250_000_000
    assert found.processors == 1.5
    assert found.load == 0.3  # of the whole machine
    assert found.notes == ()


def test_group_that_is_full_leaves_nothing(tmp_path: Path) -> None:
    full = {f"{GROUP}/memory.max": "1000", f"{GROUP}/memory.current": "2000"}
    assert read(tmp_path, **full).memory_available_bytes == 0


def test_group_outside_of_what_can_be_seen_is_the_top_one(tmp_path: Path) -> None:
    found = read(
        tmp_path,
        **{
            "proc/self/cgroup": "0::/../../etc\n",
            "sys/fs/cgroup/memory.max": "123456",
        },
    )
    assert found.memory_limit_bytes == 123456


@pytest.mark.parametrize(
    ("name", "content", "field"),
    [
        ("sys/class/thermal/thermal_zone1/temp", "hot", "temperature_c"),
        ("sys/class/thermal/thermal_zone1/temp", "999999999", "temperature_c"),
        ("sys/class/power_supply/BAT0/capacity", "101", "battery_percent"),
        ("sys/class/power_supply/AC/online", "", "on_mains"),
        ("proc/meminfo", "nothing", "memory_available_bytes"),
        ("proc/loadavg", "nan 1 2", "load"),
        ("sys/devices/system/cpu/online", "0-3,x", "processors"),
        (f"{GROUP}/memory.max", "1e9", "memory_limit_bytes"),
        (f"{GROUP}/cpu.max", "100000 0", "processors"),
        ("sys/class/power_supply/BAT0/type", "x" * 20_000, "battery_percent"),
    ],
)
def test_garbage_is_a_note_and_the_rest_is_read(
    tmp_path: Path, name: str, content: str, field: str
) -> None:
    good = read(tmp_path)
    found = read(tmp_path, **{name: content})
    assert any(name in note for note in found.notes)
    changed = {
        one for one in vars(good) if getattr(good, one) != getattr(found, one)
    } - {"notes"}
    # What is derived from it is missing too, and nothing else.
    assert changed <= {field, "on_mains", "load", "memory_limit_bytes"}


def test_pipe_device_folder_and_link_loop_are_notes_at_once(tmp_path: Path) -> None:
    fill(tmp_path, PI)
    for name in ("proc/meminfo", "proc/loadavg"):
        (tmp_path / name).unlink()
    os.mkfifo(tmp_path / "proc/meminfo")
    (tmp_path / "proc/loadavg").symlink_to("/dev/zero")
    zone = tmp_path / "sys/class/thermal/thermal_zone2/temp"
    zone.mkdir(parents=True)
    loop = tmp_path / "sys/class/power_supply/loop"
    loop.symlink_to(loop)
    begun = time.monotonic()
    found = read_machine(tmp_path)
    assert time.monotonic() - begun < 20
    assert found.memory_available_bytes is None
    assert found.load is None
    assert found.temperature_c == 51.0
    assert found.battery_percent == 83.0
    text = "\n".join(found.notes)
    assert "meminfo: expected a readable file, got a named pipe" in text
    assert "loadavg: expected a readable file, got a device" in text
    assert "thermal_zone2" in text
    assert "loop" in text


def test_file_where_a_folder_should_be_is_a_note(tmp_path: Path) -> None:
    fill(tmp_path, {"sys/class/thermal": "", "sys/class/power_supply": ""})
    found = read_machine(tmp_path)
    assert len(found.notes) == 2


@settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(
    name=st.sampled_from([*PI, f"{GROUP}/memory.max", f"{GROUP}/cpu.max"]),
    content=st.binary(max_size=40),
)
def test_no_content_makes_reading_fail(
    tmp_path: Path, name: str, content: bytes
) -> None:
    path = fill(tmp_path, PI) / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    found = read_machine(tmp_path)
    for note in found.notes:
        assert note.isprintable()
    path.unlink()
