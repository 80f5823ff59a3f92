"""Kills an import at many instants; running it again gives the same bytes."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from cloud.testing import other_data

_EPISODES = 40


def start(source: Path, output: Path) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [
            *(sys.executable, "-m", "cloud.exchange.import_dataset"),
            *(f"--source={source}", f"--output={output}", "--code_commit=c0ffee"),
            "--control_hz=10",
        ],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )


def finish(source: Path, output: Path) -> dict[str, bytes]:
    """Runs the command to its end; returns every file of the version."""
    with start(source, output) as process:
        _, err = process.communicate(timeout=240)
    assert process.returncode == 0, err.decode()
    return {
        str(path.relative_to(output)): path.read_bytes()
        for path in output.rglob("*")
        if path.is_file()
    }


def kill_when(source: Path, output: Path, spooled_bytes: int, pattern: str) -> bool:
    """Kills the command once a file of its build is that large; tells if it could."""
    with start(source, output) as process:
        deadline_s = time.monotonic() + 120
        while process.poll() is None and time.monotonic() < deadline_s:
            sizes = [_size(path) for path in output.parent.glob(pattern)]
            if any(size >= spooled_bytes for size in sizes):
                break
            time.sleep(0.0005)
        process.send_signal(signal.SIGKILL)
        process.wait(timeout=60)
    return process.returncode == -signal.SIGKILL


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return -1


def write_lerobot(folder: Path) -> Path:
    return other_data.write_lerobot(folder, [20] * _EPISODES, per_file=10)


def write_rlds(folder: Path) -> Path:
    steps = other_data.oxe_steps(20)
    return other_data.write_rlds(folder, {"train": [steps] * _EPISODES})


@pytest.mark.parametrize("write", [write_lerobot, write_rlds])
def test_killed_import_leaves_no_version_and_a_rerun_gives_the_same_bytes(
    tmp_path: Path, write: Callable[[Path], Path]
) -> None:
    source = write(tmp_path / "source")
    wanted = finish(source, tmp_path / "whole" / "arms" / "v1.0.0")
    whole = sum(len(data) for name, data in wanted.items() if name.endswith("tfrecord"))
    output = tmp_path / "cut" / "arms" / "v1.0.0"
    instants = [
        (0, ".tmp-*/spool"),
        (whole // 3, ".tmp-*/spool"),
        (whole - whole // 8, ".tmp-*/spool"),
        (0, ".tmp-*/work/train-00000.tfrecord"),
        (0, ".tmp-*/dataset/manifest.json"),
    ]
    killed = 0
    for spooled_bytes, pattern in instants:
        if kill_when(source, output, spooled_bytes, pattern):
            killed += 1
            assert not output.exists()
    # The last instants are short: a version may be whole before the signal comes.
    assert killed >= 3
    assert finish(source, output) == wanted
    assert [path.name for path in output.parent.iterdir()] == ["v1.0.0"]


@pytest.mark.parametrize("seconds", [0.0, 0.3])
def test_interrupted_import_is_one_line_and_leaves_nothing(
    tmp_path: Path, seconds: float
) -> None:
    source = other_data.write_lerobot(tmp_path / "so101", [20] * _EPISODES)
    output = tmp_path / "data" / "arms" / "v1.0.0"
    with start(source, output) as process:
        while process.poll() is None and not list(output.parent.glob(".tmp-*/spool")):
            time.sleep(0.01)
        time.sleep(seconds)
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=60)
    if process.returncode == 0:
        assert output.exists()  # it was done
        return
    assert (process.returncode, err) == (130, b"import_dataset: interrupted\n")
    assert list(output.parent.iterdir()) == []
