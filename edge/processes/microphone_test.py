"""A whole robot with a microphone records what it hears, and no sample anywhere."""

import os
import shutil
import signal
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from edge.testing import (
    fork,
    process_tree,
    processes,
    recording_program,
    ring_steps,
    robot_home,
)
from edge.testing.robot_home import RobotHome
from edge.testing.sounds import list_files_with, make_noise, to_pcm, write_wav
from rlds.coarse_sound import coarsen, find_fault
from rlds.episode import Episode
from rlds.spec import SOUND_BANDS

SOUND = "observation/audio_mel"


@contextmanager
def run_robot(
    made: RobotHome, *flags: str, environment: Mapping[str, str]
) -> Iterator[None]:
    """Runs a supervisor and its children, and ends it as Ctrl-C does."""
    supervisor = fork.start(
        "edge.processes.robot",
        *made.flags,
        *flags,
        log=made.home.root / "log",
        before=lambda: os.environ.update(environment),
    )
    try:
        yield
        supervisor.send_signal(signal.SIGINT)
        assert supervisor.wait(process_tree.LONGEST_S) == 0, said(made)
    finally:
        below = process_tree.list_descendants(supervisor.pid)
        supervisor.kill()
        supervisor.wait()
        process_tree.kill_all(one.pid for one in below)


def said(made: RobotHome) -> str:
    return (made.home.root / "log").read_text()


def wait_for_episodes(made: RobotHome, count: int) -> None:
    process_tree.wait_until(
        lambda: len(list(made.home.shared.glob("*.tfrecord"))) >= count,
        lambda: said(made),
    )


def read_pairs(made: RobotHome) -> list[tuple[Episode, Episode]]:
    """The copy of each episode that may leave, and what the robot itself keeps."""
    copies = ring_steps.read_episodes(made.home.shared)
    kept = ring_steps.read_episodes(made.home.new_memories)
    kept |= ring_steps.read_episodes(made.home.memories)
    return [(copies[name], kept[name]) for name in sorted(copies.keys() & kept.keys())]


def test_search_finds_samples_that_were_written(tmp_path: Path) -> None:
    samples = make_noise(16_000, 2.0)
    (tmp_path / "leak").write_bytes(b"x" + to_pcm(samples)[8000:12_000])
    (tmp_path / "other").write_bytes(to_pcm(make_noise(16_000, 2.0, seed=1)))
    assert list_files_with(samples, tmp_path) == ["leak"]
    (tmp_path / "leak").write_bytes(samples[4000:8000].tobytes())
    assert list_files_with(samples, tmp_path) == ["leak"]


@pytest.mark.parametrize(
    ("rate", "steps"),
    [(16_000, 40), pytest.param(48_000, 120, marks=pytest.mark.long)],
)
def test_played_file_is_recorded_and_a_coarse_copy_leaves(
    tmp_path: Path, rate: int, steps: int
) -> None:
    made = robot_home.make(tmp_path, steps)
    samples = make_noise(rate, 2.0)
    wav = write_wav(tmp_path / "room.wav", samples, rate)
    flags = f"--microphone={wav}", "--pace=simulated", "--consent"
    with run_robot(made, *flags, environment={}):
        wait_for_episodes(made, 3)
        ring = made.home.ring.read_bytes()
        assert len(ring) > 100_000
        assert list_files_with(samples, made.home.root) == []
    assert list_files_with(samples, made.home.root) == []
    pairs = read_pairs(made)
    assert len(pairs) >= 3
    for copy, kept in pairs:
        times_ns = copy.steps["t_monotonic_ns"]
        assert copy.spec.audio_size == kept.spec.audio_size == SOUND_BANDS
        assert find_fault(copy.steps[SOUND], times_ns) is None
        assert find_fault(kept.steps[SOUND], times_ns) is not None
        np.testing.assert_array_equal(
            copy.steps[SOUND], coarsen(kept.steps[SOUND], times_ns)
        )
    # Each episode hears the file from its beginning.
    whole = [kept.steps[SOUND] for _, kept in pairs if kept.num_steps == steps]
    for one in whole[1:]:
        np.testing.assert_array_equal(one, whole[0])
    assert "microphone" not in said(made)


@pytest.fixture
def path_with_arecord(tmp_path: Path) -> str:
    """A PATH on which a program that ends after a second stands in for `arecord`."""
    folder = tmp_path / "bin"
    folder.mkdir()
    wav = write_wav(tmp_path / "room.wav", make_noise(16_000, 3.0), 16_000)
    program = folder / "arecord"
    command = f"{sys.executable} {recording_program.__file__} {wav} 1.0 end"
    program.write_text(f"#!{shutil.which('sh')}\nexec {command}\n")
    program.chmod(0o700)
    return f"{folder}{os.pathsep}{os.environ['PATH']}"


def test_live_microphone_that_vanishes_in_an_episode_is_one_line_and_comes_back(
    tmp_path: Path, path_with_arecord: str
) -> None:
    made = robot_home.make(tmp_path, steps=160)
    flags = "--microphone=alsa:plughw:1,0", "--consent"
    with run_robot(made, *flags, environment={"PATH": path_with_arecord}):
        wait_for_episodes(made, 3)  # 6 s: the program has ended twice
        assert list_files_with(make_noise(16_000, 3.0), made.home.root) == []
    pairs = read_pairs(made)
    heard = np.concatenate([kept.steps[SOUND] for _, kept in pairs])
    steps = len(heard)
    assert (heard.any(axis=1)).sum() > steps / 2
    assert len(np.unique(heard, axis=0)) > 10  # the program begins anew each time
    for copy, _ in pairs:
        assert find_fault(copy.steps[SOUND], copy.steps["t_monotonic_ns"]) is None
    lines = [line for line in said(made).splitlines() if "microphone" in line]
    assert len([one for one in lines if "it is opened again each 1 s" in one]) == 1
    assert (
        "arecord: expected samples, got its end: read error: No such device"
        in (lines[0])
    )


def test_machine_without_a_recording_program_is_one_line_before_anything_is_started(
    tmp_path: Path,
) -> None:
    made = robot_home.make(tmp_path)
    tools = tmp_path / "tools"
    tools.mkdir()
    done = processes.run_forked(
        "edge.processes.robot",
        *made.flags,
        "--microphone=alsa",
        before=lambda: os.environ.update({"PATH": str(tools)}),
    )
    assert done.returncode != 0
    assert done.stderr.count("\n") == 1
    assert "expected the program arecord, got none on the PATH; apt install" in (
        done.stderr
    )
    assert not (made.home.root / "run").exists()
