"""A recorder whose device has a key, gets one, loses it or has another one."""

import dataclasses
from collections.abc import Iterator
from pathlib import Path

import pytest

from edge.episodes.step_ring import StepSender
from edge.processes.home import Home
from edge.robots.simulated_point import SPEC
from edge.testing import fork, process_tree, ring_steps
from edge.testing.fork import Fork
from rlds import reader, recovery, sealing, spool_key

STEPS = 20
REAL = dataclasses.replace(SPEC, simulated=False)


class Spool:
    """A home whose recorder is started with one key or another."""

    def __init__(self, folder: Path) -> None:
        self.home = Home(folder / "home")
        self.home.run.mkdir(parents=True)
        self.key, self.other = folder / "spool.key", folder / "other.key"
        self.sender = StepSender(self.home.ring, REAL)

    def start(self, key: Path | None) -> Fork:
        flags = [] if key is None else [f"--spool_key={key}"]
        return fork.start(
            "edge.processes.record",
            f"--home={self.home.root}",
            "--robot_id=arm-in-a-kitchen",
            *flags,
        )

    def end(self, running: Fork) -> str:
        process_tree.wait_until(lambda: not self.sender.filled)
        running.terminate()
        said, _ = running.communicate(timeout=process_tree.LONGEST_S)
        assert running.returncode == 0, said
        return said

    def record(self, key: Path | None) -> tuple[str, str]:
        """Records an episode; its name, and what the recorder said."""
        running = self.start(key)
        name = ring_steps.send_episode(self.sender, STEPS)
        return name, self.end(running)

    def leave_journal(self, key: Path | None) -> tuple[str, Path]:
        """Kills a recorder in an episode; its name and its journal."""
        running = self.start(key)
        name = ring_steps.begin(self.sender)
        for number in range(STEPS):
            self.sender.append(ring_steps.step(number))
        path = self.home.private / f"{name}.journal"
        process_tree.wait_until(lambda: path.exists() and not self.sender.filled)
        running.kill()
        running.communicate()
        return name, path

    def memory(self, name: str) -> bytes:
        return (self.home.new_memories / f"{name}.tfrecord").read_bytes()

    def find_raw(self) -> list[str]:
        """Files outside of the key's in which the robot's name can be read."""
        return [
            str(path.relative_to(self.home.root))
            for path in self.home.root.rglob("*")
            if path.is_file() and b"arm-in-a-kitchen" in path.read_bytes()
        ]


@pytest.fixture
def spool(tmp_path: Path) -> Iterator[Spool]:
    yield Spool(tmp_path)
    sealing.use(None)


def test_raw_episodes_are_sealed_and_the_copy_that_may_leave_is_as_ever(
    spool: Spool,
) -> None:
    name, said = spool.record(spool.key)
    assert "not encrypted" not in said
    assert sealing.is_sealed(spool.memory(name))
    assert spool.find_raw() == []
    shared = reader.read_episode(spool.home.shared / f"{name}.tfrecord")
    assert shared.num_steps == STEPS
    sealing.use(spool_key.load_or_create(spool.key))
    raw = reader.read_episode_bytes(spool.memory(name))
    assert raw.metadata.robot_hash == "arm-in-a-kitchen"


def test_without_a_key_the_recorder_of_a_real_robot_says_so_and_drives_on(
    spool: Spool,
) -> None:
    name, said = spool.record(None)
    assert said.count("are not encrypted here: no --spool_key") == 1
    assert reader.read_episode_bytes(spool.memory(name)).num_steps == STEPS
    assert spool.find_raw() == [f"memories/new/{name}.tfrecord"]


def test_robot_that_gets_a_key_finishes_what_it_left_without_one(spool: Spool) -> None:
    left, journal = spool.leave_journal(None)
    assert not sealing.is_sealed(journal.read_bytes())
    after, said = spool.record(spool.key)
    assert "not encrypted" not in said
    assert not journal.exists()
    assert (
        reader.read_episode(spool.home.shared / f"{left}.tfrecord").num_steps == STEPS
    )
    assert sealing.is_sealed(spool.memory(left))
    assert sealing.is_sealed(spool.memory(after))
    assert f"{2 * STEPS} of all {2 * STEPS} steps so far are recorded" in said


@pytest.mark.parametrize("other", [False, True])
def test_robot_that_lost_its_key_says_it_in_one_line_records_on_and_keeps_all(
    spool: Spool, other: bool
) -> None:
    left, journal = spool.leave_journal(spool.key)
    raw = journal.read_bytes()
    assert sealing.is_sealed(raw)
    after, said = spool.record(spool.other if other else None)
    kept = spool_key.load_or_create(spool.key).id.hex()
    lines = [line for line in said.splitlines() if kept in line]
    assert len(lines) == 1, said
    assert "for 1 journals" in lines[0]
    assert "it stays as it is" in lines[0]
    assert journal.read_bytes() == raw
    assert (spool.home.shared / f"{after}.tfrecord").exists()
    assert sealing.is_sealed(spool.memory(after)) == other
    # None of its steps is told to be missing: they are there.
    assert f"{2 * STEPS} of all {2 * STEPS} steps so far are recorded" in said
    assert "damaged" not in said
    _, said = spool.record(spool.key)
    assert kept not in said
    found = reader.read_episode(spool.home.shared / f"{left}.tfrecord")
    assert found.num_steps == STEPS
    assert "recovered" in found.metadata.tags
    assert not journal.exists()


def test_raw_episode_waits_in_the_private_folder_for_its_key(spool: Spool) -> None:
    left, journal = spool.leave_journal(spool.key)
    sealing.use(spool_key.load_or_create(spool.key))
    (closed,) = recovery.recover(spool.home.private)
    assert not journal.exists()
    _, said = spool.record(None)
    assert f"{closed.path.name} cannot be shared now: expected the device's key" in said
    assert closed.path.exists()
    spool.record(spool.key)
    assert (spool.home.shared / f"{left}.tfrecord").exists()
    assert not closed.path.exists()


@pytest.mark.parametrize("content", [b"no key", b""])
def test_file_that_is_no_key_is_refused_before_anything_is_written(
    spool: Spool, content: bytes
) -> None:
    spool.key.write_bytes(content)
    spool.key.chmod(0o600)
    running = spool.start(spool.key)
    said, _ = running.communicate(timeout=process_tree.LONGEST_S)
    assert running.returncode == 1
    assert "expected 32 bytes in base64, got something else" in said
    assert len(said.splitlines()) == 1
    assert not spool.home.private.exists()
    assert spool.key.read_bytes() == content
