"""The robot's program as the systemd unit starts it drives until it is told to stop."""

import signal
import socket
import subprocess
import time
from datetime import UTC, datetime
from pathlib import Path

import pytest

from edge.testing import processes, program_runs
from edge.testing.program_runs import channel_flags
from edge.testing.tiny_package import Publisher
from rlds import reader


@pytest.fixture
def episode(tmp_path: Path) -> Path:
    return program_runs.write_episode(tmp_path)


@pytest.fixture
def publisher(tmp_path: Path) -> Publisher:
    return program_runs.publish_first(tmp_path)


UNIT = Path(__file__).parent / "bundle" / "continuon.service"


def unit_flags(state_dir: Path) -> list[str]:
    """The flags that the systemd unit starts a robot with, before the operator's."""
    lines = UNIT.read_text().splitlines()
    (start,) = (line for line in lines if line.startswith("ExecStart="))
    program, *given = start.removeprefix("ExecStart=").split()
    assert program.endswith("/continuon-run")
    assert given.pop() == "$CONTINUON_FLAGS"
    return [flag.replace("/var/lib/continuon", str(state_dir)) for flag in given]


def read_until(running: subprocess.Popen[str], text: str) -> str:
    """Reads what a program prints up to the first line that holds `text`."""
    assert running.stdout is not None
    said = ""
    for line in running.stdout:
        said += line
        if text in line:
            return said
    raise AssertionError(said)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_unit_drives_and_updates_until_a_signal_ends_it_after_a_whole_episode(
    tmp_path: Path, publisher: Publisher, episode: Path, number: signal.Signals
) -> None:
    out, private = tmp_path / "out", tmp_path / "out.private"
    running = processes.start(
        "edge.run",
        *unit_flags(tmp_path / "state"),
        *channel_flags(publisher, episode, tmp_path)[:2],
        "--allow_development_keys",
        f"--robot=replay:{episode}",
        f"--record_dir={out}",
        "--update_period_s=0.4",
    )
    said = read_until(running, "recorded ")
    publisher.release(1, now=datetime.now(UTC))
    said += read_until(running, "release 2: installed")
    said += read_until(running, "recorded ")
    deadline_s = time.monotonic() + 20
    while not any(path.stat().st_size > 1500 for path in private.glob("*.journal")):
        assert time.monotonic() < deadline_s
        time.sleep(0.002)
    running.send_signal(number)
    rest, _ = running.communicate()
    assert running.returncode == 0, said + rest
    assert list(private.iterdir()) == []
    recorded = [reader.read_episode(path) for path in out.glob("*.tfrecord")]
    assert len(recorded) > 3
    assert len(recorded) == len(list(out.glob("*.sidecar.json")))
    assert len({one.metadata.operator for one in recorded}) == 2
    last = max(recorded, key=lambda one: one.steps["t_monotonic_ns"][-1])
    assert last.steps["is_last"][-1]
    assert not last.steps["is_terminal"][-1]
    assert last.metadata.success is None


def test_robot_that_asks_its_channel_after_every_episode_drives(
    tmp_path: Path, publisher: Publisher, episode: Path
) -> None:
    running = processes.start(
        "edge.run",
        *channel_flags(publisher, episode, tmp_path),
        "--allow_development_keys",
        "--episodes=0",
        "--update_period_s=0",
    )
    said = read_until(running, "release 1: kept")
    assert "release 1: installed" in said
    running.send_signal(signal.SIGTERM)
    rest, _ = running.communicate(timeout=20)
    assert running.returncode == 0, said + rest
    assert "step latency" in said + rest


def test_unit_restarts_after_any_exit() -> None:
    lines = UNIT.read_text().splitlines()
    assert "Restart=always" in lines
    assert "RestartPreventExitStatus=2" in lines
    # The end of a package's trial, where memory runs out, is not the unit's.
    assert "OOMPolicy=continue" in lines


def test_signal_ends_a_robot_that_waits_for_its_channel(
    tmp_path: Path, publisher: Publisher, episode: Path
) -> None:
    """The bucket takes the connection and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        bucket = f"http://127.0.0.1:{silent.getsockname()[1]}"
        flags = channel_flags(publisher, episode, tmp_path)
        running = subprocess.Popen(
            processes.command(
                "edge.run",
                "--episodes=0",
                "--channel=gs://robots/channels/nightly.json",
                *flags[1:4],
            ),
            env={**processes.environment(), "STORAGE_EMULATOR_HOST": bucket},
            stderr=subprocess.PIPE,
            text=True,
        )
        silent.settimeout(20)
        connection, _ = silent.accept()
        with connection:
            running.send_signal(signal.SIGTERM)
            _, said = running.communicate(timeout=20)
    assert running.returncode == 0, said
    assert said == ""
