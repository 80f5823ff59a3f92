"""What a crash, a full disk or damage leaves of an episode, and what becomes of it."""

import dataclasses
import errno
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from base import text_forms
from rlds import reader, recovery, sealing
from rlds.errors import DamagedJournalError
from rlds.recovery import recover
from rlds.spec import EpisodeSpec
from rlds.testing import episodes as testing
from rlds.writer import EpisodeWriter

_SPEC = EpisodeSpec(3, 2)
_CAMERA = EpisodeSpec(3, 2, image=True, audio_size=2)

# Appends for ever; after each append it prints the number of acknowledged steps.
_ENDLESS = """
import os, pathlib, sys
from rlds import sealing
from rlds.testing import episodes as testing
from rlds.spec import EpisodeSpec
from rlds.writer import EpisodeWriter
sealing.use(sealing.DeviceKey(bytes(32)) if "SEALED" in os.environ else None)
spec = EpisodeSpec(3, 2)
first = testing.steps(spec, 1)[0] | {"is_last": False, "is_terminal": False}
writer = EpisodeWriter(pathlib.Path(sys.argv[1]), spec, testing.metadata())
count = 0
while True:
    time_ns = 10**12 + count
    writer.append(first | {"is_first": count == 0, "t_monotonic_ns": time_ns})
    count += 1
    os.write(1, count.to_bytes(8, "little"))
"""

# Records until the disk is full, then prints what happened and the folder's files.
_FULL_DISK = """
import os, pathlib, resource, signal, sys
from rlds import sealing
from rlds.testing import episodes as testing
from base.errors import ContinuonError
from rlds.spec import EpisodeSpec
from rlds.writer import EpisodeWriter
sealing.use(sealing.DeviceKey(bytes(32)) if "SEALED" in os.environ else None)
folder, limit = pathlib.Path(sys.argv[1]), int(sys.argv[2])
if limit:
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
recorder = EpisodeWriter(folder, EpisodeSpec(39, 4), testing.metadata())
kept = 0
try:
    for step in testing.steps(EpisodeSpec(39, 4), 5000):
        recorder.append(step)
        kept += 1
except ContinuonError as e:
    print(type(e).__name__, e.__cause__.errno, e)
try:
    if not limit:
        recorder.close(True)
except ContinuonError as e:
    print(type(e).__name__, e.__cause__.errno, e)
print(kept)
for path in folder.iterdir():
    print(path.name, path.read_bytes().hex())
"""
_ROOM_BYTES = 65536


@pytest.fixture(autouse=True, params=["as they are", "sealed"])
def kept(request: pytest.FixtureRequest) -> Iterator[None]:
    """What a crash leaves is the same on a device that has a key."""
    sealed = request.param == "sealed"
    sealing.use(sealing.DeviceKey(bytes(32)) if sealed else None)
    yield
    sealing.use(None)


def _environment() -> dict[str, str]:
    sealed = {"SEALED": "yes"} if sealing.is_used() else {}
    return {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), **sealed}


def _names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def kill_while_writing(folder: Path, name: str, steps: int) -> None:
    """Leaves the journal of an episode whose process was killed."""
    child = os.fork()
    if child == 0:
        metadata = dataclasses.replace(testing.metadata(), episode_id=name)
        writer = EpisodeWriter(folder, _SPEC, metadata)
        for step in testing.steps(_SPEC, steps):
            unmarked = {"is_last": False, "safety_violation": False}
            writer.append(step | unmarked | {"is_terminal": False})
        os.kill(os.getpid(), signal.SIGKILL)
    os.waitpid(child, 0)


def test_last_step_before_a_hang_is_the_watchdogs_violation_and_no_other_step_is(
    tmp_path: Path,
) -> None:
    older, newer, later = (
        text_forms.format_uuid7(1000, bytes([k] * 10)) for k in (2, 1, 3)
    )
    kill_while_writing(tmp_path, older, 3)
    os.utime(tmp_path / f"{older}.journal", (1, 1))
    kill_while_writing(tmp_path, newer, 4)
    recovery.mark_hung(tmp_path)
    found = {one.path.stem: reader.read_episode(one.path) for one in recover(tmp_path)}
    assert not found[older].steps["safety_violation"].any()
    assert "stop_watchdog" not in found[older].metadata.tags
    violations = found[newer].steps["safety_violation"].tolist()
    assert violations == [False, False, False, True]
    assert found[newer].metadata.tags[-2:] == ("recovered", "stop_watchdog")

    kill_while_writing(tmp_path, later, 2)
    (again,) = recover(tmp_path)
    assert not reader.read_episode(again.path).steps["safety_violation"].any()
    assert not list(tmp_path.glob("hung"))


def test_note_of_a_hang_without_a_journal_is_removed(tmp_path: Path) -> None:
    recovery.mark_hung(tmp_path)
    assert recover(tmp_path) == []
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("round_number", range(8))
def test_killed_writer_loses_at_most_the_step_being_written(
    tmp_path: Path, round_number: int
) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", _ENDLESS, tmp_path],
        stdout=subprocess.PIPE,
        env=_environment(),
    ) as child:
        assert child.stdout
        printed = child.stdout.read(8)
        time.sleep(random.Random(round_number).uniform(0, 0.15))
        child.kill()
        printed += child.stdout.read()
    end = len(printed) // 8 * 8
    acknowledged = int.from_bytes(printed[end - 8 : end], "little")
    (closed,) = recover(tmp_path)
    assert acknowledged <= closed.num_steps <= acknowledged + 1
    found = reader.read_episode(closed.path)
    expected = 10**12 + np.arange(closed.num_steps)
    assert np.array_equal(found.steps["t_monotonic_ns"], expected)
    assert found.steps["is_last"][-1]
    assert "recovered" in found.metadata.tags
    assert found.metadata.success is None
    before = closed.path.read_bytes()
    assert recover(tmp_path) == []
    assert _names(tmp_path) == [closed.path.name]
    assert closed.path.read_bytes() == before


def test_journal_cut_at_any_byte_recovers_every_whole_step(tmp_path: Path) -> None:
    recorder = testing.record(tmp_path, 1, 3, _SPEC)
    (path,) = tmp_path.iterdir()
    raw = path.read_bytes()
    recorder.abort()
    counts = []
    for size in range(len(raw) + 1):
        path.write_bytes(raw[:size])
        found = recover(tmp_path)
        counts.append(found[0].num_steps if found else 0)
        assert _names(tmp_path) == [closed.path.name for closed in found]
        for closed in found:
            assert reader.read_episode(closed.path).num_steps == closed.num_steps
            closed.path.unlink()
    assert counts == sorted(counts)
    assert set(counts) == {0, 1, 2, 3}
    assert counts[-1] == 3


def test_journal_of_a_running_writer_stays_untouched(tmp_path: Path) -> None:
    recorder = testing.record(tmp_path, 1, 2, _SPEC)
    assert recover(tmp_path) == []
    assert recorder.close(True).num_steps == 2


def test_kill_between_rename_and_removal_leaves_the_finished_episode(
    tmp_path: Path,
) -> None:
    recorder = testing.record(tmp_path, 1, 2, _SPEC)
    (path,) = tmp_path.iterdir()
    raw = path.read_bytes()
    closed = recorder.close(success=True)
    before = closed.path.read_bytes()
    path.write_bytes(raw)
    assert recover(tmp_path) == [closed]
    assert closed.path.read_bytes() == before
    assert _names(tmp_path) == [closed.path.name]


def test_leftovers_of_an_interrupted_close_are_removed(tmp_path: Path) -> None:
    recorder = testing.record(tmp_path, 1, 2, _SPEC)
    (path,) = tmp_path.iterdir()
    raw = path.read_bytes()
    recorder.abort()
    path.write_bytes(raw)
    (tmp_path / ".tmp-0123456789abcdef").write_bytes(b"half an episode")
    (closed,) = recover(tmp_path)
    assert _names(tmp_path) == [closed.path.name]


def test_damaged_journal_keeps_its_bytes_and_the_steps_before_the_damage(
    tmp_path: Path,
) -> None:
    recorder = testing.record(tmp_path, 1, 10, _SPEC)
    good = testing.record(tmp_path, 2, 3, _SPEC)
    kept = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    recorder.abort()
    good.abort()
    damaged = f"{testing.metadata(1).episode_id}.journal"
    raw = bytearray(kept[damaged])
    raw[len(raw) * 3 // 4] ^= 0xFF
    (tmp_path / damaged).write_bytes(raw)
    other = f"{testing.metadata(2).episode_id}.journal"
    (tmp_path / other).write_bytes(kept[other])
    with pytest.raises(DamagedJournalError, match=damaged):
        recover(tmp_path)
    episodes = sorted(tmp_path.glob("*.tfrecord"))
    assert 0 < reader.read_episode(episodes[0]).num_steps < 10
    assert reader.read_episode(episodes[1]).num_steps == 3
    assert (tmp_path / f"{damaged}.damaged").read_bytes() == raw
    assert recover(tmp_path) == []
    assert len(_names(tmp_path)) == 3


def test_damage_in_the_first_step_keeps_the_bytes(tmp_path: Path) -> None:
    recorder = testing.record(tmp_path, 1, 0, _SPEC)
    (path,) = tmp_path.iterdir()
    header_size = path.stat().st_size
    recorder.abort()
    recorder = testing.record(tmp_path, 1, 10, _SPEC)
    raw = bytearray(path.read_bytes())
    recorder.abort()
    raw[header_size + 20] ^= 1
    path.write_bytes(raw)
    with pytest.raises(DamagedJournalError, match="unread bytes"):
        recover(tmp_path)
    assert _names(tmp_path) == [f"{path.name}.damaged"]
    assert (tmp_path / f"{path.name}.damaged").read_bytes() == raw


def test_journal_with_another_header_is_set_aside(tmp_path: Path) -> None:
    path = tmp_path / "strange.journal"
    path.write_bytes(b"something else altogether, long enough")
    with pytest.raises(DamagedJournalError, match="strange"):
        recover(tmp_path)
    assert _names(tmp_path) == ["strange.journal.damaged"]


def _record_without_room(folder: Path, tmpfs: bool) -> list[str]:
    limit = 0 if tmpfs else _ROOM_BYTES
    command = [sys.executable, "-c", _FULL_DISK, str(folder), str(limit)]
    if tmpfs:
        mount = f"mount -t tmpfs -o size={_ROOM_BYTES} none {folder}"
        command = ["unshare", "-rm", "sh", "-c", f'{mount} && exec "$0" "$@"', *command]
    done = subprocess.run(
        command, capture_output=True, text=True, check=True, env=_environment()
    )
    return done.stdout.splitlines()


def _may_mount(folder: Path) -> bool:
    try:
        mount = f"mount -t tmpfs -o size={_ROOM_BYTES} none {folder}"
        done = subprocess.run(
            ["unshare", "-rm", "sh", "-c", mount], capture_output=True, check=False
        )
    except FileNotFoundError:
        return False
    return done.returncode == 0


def test_full_disk_is_one_error_and_the_kept_steps_can_be_recovered(
    tmp_path: Path,
) -> None:
    disk, repaired = tmp_path / "disk", tmp_path / "repaired"
    disk.mkdir()
    repaired.mkdir()
    # A real full disk if the machine lets us mount one, else a file size limit.
    tmpfs = _may_mount(disk)
    printed = _record_without_room(disk, tmpfs)
    name = f"{testing.metadata().episode_id}.journal"
    code = errno.ENOSPC if tmpfs else errno.EFBIG
    append = printed.pop(0)
    assert append.startswith(f"DiskError {code} {disk / name}: expected to append")
    assert append.endswith("steps are kept: make room, then close or recover it")
    if tmpfs:
        assert printed.pop(0).startswith(f"DiskError {code} ")
    kept, journal = printed
    found, content = journal.split()
    assert found == name
    (repaired / name).write_bytes(bytes.fromhex(content))
    (closed,) = recover(repaired)
    assert closed.num_steps == int(kept) > 100
    assert reader.read_episode(closed.path).num_steps == closed.num_steps
    assert _names(repaired) == [closed.path.name]


def test_journal_above_the_limit_gives_an_episode_that_can_be_read_and_stays_aside(
    tmp_path: Path,
) -> None:
    recorder = EpisodeWriter(tmp_path, _CAMERA, testing.metadata())
    for step in testing.steps(_CAMERA, 30):
        recorder.append(step | {"observation/image": testing.JPEG[:2] + bytes(1_000)})
    (path,) = tmp_path.iterdir()
    raw = path.read_bytes()
    recorder.abort()
    path.write_bytes(raw)
    with pytest.raises(DamagedJournalError, match=r"with 30 steps, .* of them kept"):
        recover(tmp_path, limit_bytes=15_000)
    (episode,) = tmp_path.glob("*.tfrecord")
    found = reader.read_episode(episode, 15_000)
    assert 5 < found.num_steps < 15
    assert found.steps["is_last"][-1]
    assert (tmp_path / f"{path.name}.damaged").read_bytes() == raw
    assert recover(tmp_path, limit_bytes=15_000) == []
