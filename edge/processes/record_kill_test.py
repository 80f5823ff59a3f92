"""The recorder, or whoever sends it steps, is killed at random instants."""

import ctypes
import dataclasses
import mmap
import os
import random
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from edge.episodes.step_ring import StepSender
from edge.robots.robot import Camera, Microphone, RobotSpec
from edge.robots.simulated_point import SPEC
from edge.testing import process_tree, ring_steps, sensed_steps
from edge.testing.killed_recorder import ROBOT_ID, Recorder
from edge.testing.ring_steps import begin, list_parts, numbers
from rlds import sealing, spool_key
from rlds.episode import Episode

KILLS: Final = 32
LONG_KILLS: Final = 300
HEARING: Final = dataclasses.replace(SPEC, microphone=Microphone(20.0))
SENSING: Final = dataclasses.replace(HEARING, cameras=(Camera("front", 64, 64, 20.0),))
SENSING_KILLS: Final = 6  # each recorder of a robot with a camera loads what masks,
_LOADING_S: Final = 1.0  # which takes about as long
LONG_SENSING_KILLS: Final = int(os.environ.get("KILLS", "60"))
"""A minute of them; `--test_env=KILLS=300` makes 300 in five."""
_COUNT_AT: Final = 40  # behind an episode's name of 36 letters, in whole words


@pytest.fixture
def recorder(tmp_path: Path) -> Iterator[Recorder]:
    started = Recorder(tmp_path)
    yield started
    started.close()


@pytest.fixture
def sealing_recorder(tmp_path: Path) -> Iterator[Recorder]:
    """One whose device has a key, which this test has too."""
    key = tmp_path / "spool.key"
    spool_key.use(key, creates=True)
    started = Recorder(tmp_path, f"--spool_key={key}")
    yield started
    started.close()
    spool_key.use(None, creates=False)


def wait_for_room(sender: StepSender) -> None:
    """A ring that is full drops steps, which is not what is tested here.

    On a busy machine the recorder falls behind, and no robot drives so fast.
    """
    process_tree.wait_until(lambda: sender.filled <= 0.25)


def test_ring_that_somebody_cuts_off_leaves_the_recorder_alive_and_recording(
    recorder: Recorder,
) -> None:
    sender = StepSender(recorder.home.ring, SPEC)
    for left_bytes in (0, 5000):
        cut = ring_steps.send_episode(sender, 5)
        process_tree.wait_until(lambda: not sender.filled, recorder.said)
        os.truncate(recorder.home.ring, left_bytes)
        whole = ring_steps.send_episode(sender, 5)
        process_tree.wait_until(lambda: not sender.filled, recorder.said)
        for name in (cut, whole):
            path = recorder.home.shared / f"{name}.tfrecord"
            process_tree.wait_until(path.exists, recorder.said)
    assert recorder.end(sender) == 0  # the same process as at the start
    assert "20 of all 20 steps so far are recorded" in recorder.said()


def test_ring_that_somebody_cuts_off_and_puts_back_is_read_again(
    recorder: Recorder,
) -> None:
    sender = StepSender(recorder.home.ring, SPEC)
    ring_steps.send_episode(sender, 5)
    process_tree.wait_until(lambda: not sender.filled, recorder.said)
    whole = recorder.home.ring.read_bytes()
    os.truncate(recorder.home.ring, 0)
    time.sleep(0.1)  # the recorder looks 200 times a second
    with recorder.home.ring.open("r+b") as file:
        file.write(whole)
    ring_steps.send_episode(sender, 5)
    process_tree.wait_until(lambda: not sender.filled, recorder.said)
    assert recorder.end(sender) == 0
    assert "10 of all 10 steps so far are recorded" in recorder.said()


def read_raw(recorder: Recorder) -> dict[str, Episode]:
    """Episodes as they were recorded: handed over, or waiting for masks."""
    waiting = ring_steps.read_episodes(recorder.home.private)
    handed_over = ring_steps.read_episodes(recorder.home.new_memories)
    for name in waiting.keys() & handed_over.keys():  # killed between the two
        assert waiting[name].metadata == handed_over[name].metadata
    return waiting | handed_over


def check_raw(recorder: Recorder, robot: RobotSpec) -> dict[str, Episode]:
    """Every step senses what it did, and nothing but whole episodes is left.

    Pictures are masked in the recorder's own time; an episode without is shared now.
    """
    raw = read_raw(recorder)
    for part in raw.values():
        sensed_steps.check_senses(part, robot)
    shared = ring_steps.read_episodes(recorder.home.shared)
    assert shared.keys() <= raw.keys()
    assert robot.cameras or shared.keys() == raw.keys()
    assert all(shared[name].num_steps == raw[name].num_steps for name in shared)
    assert not list(recorder.home.private.glob("*.journal"))
    assert not list(recorder.home.private.glob("*.damaged*"))
    return raw


def check_sealed(recorder: Recorder, robot: RobotSpec) -> None:
    """What is raw can be read with the key alone; the ring is no file on a disk."""
    kept = recorder.home.private, recorder.home.new_memories
    raw = [path for folder in kept for path in folder.glob("*.tfrecord")]
    assert raw
    assert all(sealing.is_sealed(path.read_bytes()) for path in raw)
    for folder in (recorder.home.private, recorder.home.memories):
        assert sensed_steps.list_files_with_pictures(folder, robot) == []
    named = [
        path
        for path in recorder.home.root.rglob("*")
        if path.is_file() and ROBOT_ID.encode() in path.read_bytes()
    ]
    assert named == []


def check_recorder_kills(
    recorder: Recorder, kills: int, robot: RobotSpec = SPEC
) -> None:
    """Steps come at 500 Hz, in episodes of 150; not one is lost, and none is twice."""
    random.seed(kills)
    longest_s = _LOADING_S if robot.cameras else 0.2
    sender = StepSender(recorder.home.ring, robot)
    names, killed, driven = [begin(sender)], 0, 0
    kill_at_s = time.monotonic() + random.uniform(0.0, longest_s)
    number = 0
    while killed < kills:
        wait_for_room(sender)
        sender.append(sensed_steps.make_step(number, robot))
        number, driven = number + 1, driven + 1
        if number == 150:
            sender.end(success=None)
            names.append(begin(sender))
            number = 0
        if time.monotonic() > kill_at_s:
            recorder.kill()
            killed += 1
            kill_at_s = time.monotonic() + random.uniform(0.0, longest_s)
        time.sleep(0.002)
    sender.append(sensed_steps.make_step(number, robot))
    driven += 1
    sender.end(success=None)
    code = recorder.end(sender)
    said = recorder.said()
    assert code == 0, said
    assert f"{driven} of all {driven} steps so far are recorded" in said
    raw = check_raw(recorder, robot)
    counted = 0
    for name in names:
        found = [one for part in list_parts(name, raw) for one in numbers(part)]
        assert found == list(range(len(found)))
        counted += len(found)
    assert counted == driven
    assert sender.dropped == 0


def check_sender_kills(recorder: Recorder, kills: int, robot: RobotSpec = SPEC) -> None:
    """Each sender says what it has handed over; one more may have been on its way."""
    random.seed(kills)
    shown = mmap.mmap(-1, mmap.PAGESIZE)
    # One store of the processor: `struct.pack_into` clears what it writes to first.
    sent = ctypes.c_uint64.from_buffer(shown, _COUNT_AT)
    names = []
    handed = []
    for _ in range(kills):
        shown[:_COUNT_AT] = bytes(_COUNT_AT)
        sent.value = 0
        child = os.fork()
        if child == 0:
            _send_without_end(recorder.home.ring, shown, sent, robot)
        process_tree.wait_until(lambda: shown[0])
        time.sleep(random.uniform(0.0, 0.02))
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        names.append(shown[:36].decode())
        handed.append(sent.value)
    assert recorder.end(StepSender(recorder.home.ring, robot)) == 0
    raw = check_raw(recorder, robot)
    for name, count in zip(names, handed, strict=True):
        parts: list[Episode] = list(list_parts(name, raw))
        found = [one for part in parts for one in numbers(part)]
        assert found == list(range(len(found)))
        assert count <= len(found) <= count + 1
    assert sum(handed) > kills


def _send_without_end(
    ring: Path, shown: mmap.mmap, sent: ctypes.c_uint64, robot: RobotSpec
) -> None:
    """The killed side; it never returns."""
    try:
        sender = StepSender(ring, robot)
        shown[:36] = begin(sender).encode()
        number = 0
        while True:
            wait_for_room(sender)
            sender.append(sensed_steps.make_step(number, robot))
            number += 1
            sent.value = number
            time.sleep(0.0002)
    finally:
        os._exit(1)


@pytest.mark.parametrize("robot", [SPEC, HEARING], ids=["plain", "hearing"])
def test_recorder_that_is_killed_loses_no_step(
    recorder: Recorder, robot: RobotSpec
) -> None:
    check_recorder_kills(recorder, KILLS, robot)


def test_recorder_with_a_key_that_is_killed_loses_no_step_and_leaves_nothing_to_read(
    sealing_recorder: Recorder,
) -> None:
    check_recorder_kills(sealing_recorder, KILLS, SPEC)
    check_sealed(sealing_recorder, SPEC)


def test_recorder_of_pictures_and_sound_that_is_killed_loses_no_step_nor_its_key(
    sealing_recorder: Recorder,
) -> None:
    check_recorder_kills(sealing_recorder, SENSING_KILLS, SENSING)
    check_sealed(sealing_recorder, SENSING)


def test_sender_of_pictures_and_sound_that_is_killed_loses_at_most_one_step(
    sealing_recorder: Recorder,
) -> None:
    check_sender_kills(sealing_recorder, KILLS, SENSING)
    check_sealed(sealing_recorder, SENSING)


@pytest.mark.parametrize("robot", [SPEC, HEARING], ids=["plain", "hearing"])
def test_sender_that_is_killed_loses_at_most_one_step(
    recorder: Recorder, robot: RobotSpec
) -> None:
    check_sender_kills(recorder, KILLS, robot)


def test_episode_is_handed_over_while_the_learner_takes_another(
    recorder: Recorder,
) -> None:
    new = recorder.home.new_memories
    new.mkdir(parents=True)
    (new / "taken.tfrecord").symlink_to("gone")  # listed, and away when it is looked at
    sender = StepSender(recorder.home.ring, SPEC)
    name = ring_steps.send_episode(sender, 3)
    assert recorder.end(sender) == 0, recorder.said()
    assert (new / f"{name}.tfrecord").exists(), recorder.said()


@pytest.mark.long
def test_recorder_that_is_killed_three_hundred_times_loses_no_step(
    recorder: Recorder,
) -> None:
    check_recorder_kills(recorder, LONG_KILLS)


@pytest.mark.long
def test_recorder_with_a_key_that_is_killed_three_hundred_times_loses_no_step(
    sealing_recorder: Recorder,
) -> None:
    check_recorder_kills(sealing_recorder, LONG_KILLS)


@pytest.mark.long
def test_sender_that_is_killed_three_hundred_times_loses_at_most_one_step_each(
    recorder: Recorder,
) -> None:
    check_sender_kills(recorder, LONG_KILLS)


@pytest.mark.long
def test_recorder_of_pictures_and_sound_loses_no_step_in_many_kills(
    sealing_recorder: Recorder,
) -> None:
    check_recorder_kills(sealing_recorder, LONG_SENSING_KILLS, SENSING)
    check_sealed(sealing_recorder, SENSING)


@pytest.mark.long
def test_sender_of_pictures_and_sound_loses_at_most_one_step_in_each_of_300_kills(
    sealing_recorder: Recorder,
) -> None:
    check_sender_kills(sealing_recorder, LONG_KILLS, SENSING)
    check_sealed(sealing_recorder, SENSING)
