import errno
import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from base.errors import DiskError, OversizedError
from rlds import reader, writer
from rlds.errors import (
    DamagedJournalError,
    EpisodeExistsError,
    EpisodeFullError,
    MalformedEpisodeError,
    WriterClosedError,
)
from rlds.spec import EpisodeSpec
from rlds.testing import episodes as testing
from rlds.writer import EpisodeWriter

_SPEC = EpisodeSpec(3, 2)
_RICH = EpisodeSpec(3, 2, image=True, audio_size=4)
_ENVIRONMENT = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}

# Appends for ever; after each append it prints the number of acknowledged steps.
_ENDLESS = """
import os, pathlib, sys
from rlds.testing import episodes as testing
from rlds.spec import EpisodeSpec
from rlds.writer import EpisodeWriter
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
import pathlib, resource, signal, sys
from rlds import writer
from rlds.testing import episodes as testing
from base.errors import ContinuonError
from rlds.spec import EpisodeSpec
folder, limit = pathlib.Path(sys.argv[1]), int(sys.argv[2])
if limit:
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
recorder = writer.EpisodeWriter(folder, EpisodeSpec(39, 4), testing.metadata())
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


def _names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize("spec", [_SPEC, _RICH])
def test_closed_episode_holds_what_was_appended(
    tmp_path: Path, spec: EpisodeSpec
) -> None:
    whole = testing.episode(spec, count=7)
    recorder = EpisodeWriter(tmp_path, spec, testing.metadata(success=None))
    for step in testing.steps(spec, 7):
        recorder.append(step)
    closed = recorder.close(success=True)
    assert reader.read_episode(closed.path) == whole
    assert closed.path.read_bytes() == testing.frame_episode(whole)
    assert closed.size_bytes == closed.path.stat().st_size
    assert closed.num_steps == 7
    assert _names(tmp_path) == [f"{whole.metadata.episode_id}.tfrecord"]


@pytest.mark.parametrize("success", [True, False, None])
def test_close_sets_success_and_marks_the_last_step(
    tmp_path: Path, success: bool | None
) -> None:
    closed = testing.record(tmp_path, 1, 4, _SPEC).close(success)
    found = reader.read_episode(closed.path)
    assert found.metadata.success is success
    assert found.steps["is_last"].tolist() == [False, False, False, True]


def test_abort_leaves_no_files_and_closing_twice_is_refused(tmp_path: Path) -> None:
    recorder = testing.record(tmp_path, 1, 2, _SPEC)
    recorder.abort()
    assert _names(tmp_path) == []
    recorder.abort()
    with pytest.raises(WriterClosedError):
        recorder.close(True)
    with pytest.raises(WriterClosedError):
        recorder.append(testing.steps(_SPEC, 1)[0])


def test_episode_without_steps_cannot_be_closed_and_can_be_aborted(
    tmp_path: Path,
) -> None:
    recorder = EpisodeWriter(tmp_path, _SPEC, testing.metadata())
    with pytest.raises(MalformedEpisodeError, match="at least one step"):
        recorder.close(True)
    recorder.abort()
    assert _names(tmp_path) == []


def test_second_episode_with_the_same_id_is_refused_and_the_first_stays(
    tmp_path: Path,
) -> None:
    recorder = testing.record(tmp_path, 1, 2, _SPEC)
    with pytest.raises(EpisodeExistsError, match="journal"):
        EpisodeWriter(tmp_path, _SPEC, testing.metadata(1))
    closed = recorder.close(True)
    before = closed.path.read_bytes()
    with pytest.raises(EpisodeExistsError, match="use a new episode id"):
        EpisodeWriter(tmp_path, _SPEC, testing.metadata(1))
    assert closed.path.read_bytes() == before
    assert len(_names(tmp_path)) == 1


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"action": np.zeros(3, np.float32)}, "shape"),
        ({"action": [1, "x"]}, "numbers"),
        ({"observation/state": np.array([1, np.nan, 0])}, "finite"),
        ({"observation/state": np.array([1, -np.inf, 0])}, "finite"),
        ({"reward": float("inf")}, "finite"),
        ({"reward": "1"}, "numbers"),
        ({"t_monotonic_ns": 1.5}, "numbers"),
        ({"t_monotonic_ns": 2**63}, "numbers"),
        ({"t_monotonic_ns": 0}, "t_monotonic_ns"),
        ({"is_first": True}, "is_first"),
        ({"is_terminal": True}, "is_terminal"),
        ({"surprise": 1}, "surprise"),
    ],
)
def test_malformed_step_is_refused_and_recording_continues(
    tmp_path: Path, change: dict[str, object], text: str
) -> None:
    recorder = testing.record(tmp_path, 1, 2, _SPEC)
    good = testing.steps(_SPEC, 3, seed=1)[2] | {"is_terminal": False}
    with pytest.raises(MalformedEpisodeError, match=text):
        recorder.append({**good, "is_last": False, **change})
    recorder.append(good)
    with pytest.raises(MalformedEpisodeError, match="no step after the last"):
        recorder.append({**good, "t_monotonic_ns": 2**62})
    closed = recorder.close(True)
    assert closed.num_steps == 3
    assert reader.read_episode(closed.path).num_steps == 3


def test_huge_but_finite_numbers_are_recorded(tmp_path: Path) -> None:
    recorder = EpisodeWriter(tmp_path, _SPEC, testing.metadata())
    step = testing.steps(_SPEC, 1)[0]
    recorder.append({**step, "action": np.array([3e38, -3e38], np.float32)})
    found = reader.read_episode(recorder.close(True).path)
    assert found.steps["action"].tolist() == [[np.float32(3e38), np.float32(-3e38)]]


@pytest.mark.parametrize("round_number", range(8))
def test_killed_writer_loses_at_most_the_step_being_written(
    tmp_path: Path, round_number: int
) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", _ENDLESS, tmp_path],
        stdout=subprocess.PIPE,
        env=_ENVIRONMENT,
    ) as child:
        assert child.stdout
        printed = child.stdout.read(8)
        time.sleep(random.Random(round_number).uniform(0, 0.15))
        child.kill()
        printed += child.stdout.read()
    end = len(printed) // 8 * 8
    acknowledged = int.from_bytes(printed[end - 8 : end], "little")
    (closed,) = writer.recover(tmp_path)
    assert acknowledged <= closed.num_steps <= acknowledged + 1
    found = reader.read_episode(closed.path)
    expected = 10**12 + np.arange(closed.num_steps)
    assert np.array_equal(found.steps["t_monotonic_ns"], expected)
    assert found.steps["is_last"][-1]
    assert "recovered" in found.metadata.tags
    assert found.metadata.success is None
    before = closed.path.read_bytes()
    assert writer.recover(tmp_path) == []
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
        found = writer.recover(tmp_path)
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
    assert writer.recover(tmp_path) == []
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
    assert writer.recover(tmp_path) == [closed]
    assert closed.path.read_bytes() == before
    assert _names(tmp_path) == [closed.path.name]


def test_leftovers_of_an_interrupted_close_are_removed(tmp_path: Path) -> None:
    recorder = testing.record(tmp_path, 1, 2, _SPEC)
    (path,) = tmp_path.iterdir()
    raw = path.read_bytes()
    recorder.abort()
    path.write_bytes(raw)
    (tmp_path / ".tmp-0123456789abcdef").write_bytes(b"half an episode")
    (closed,) = writer.recover(tmp_path)
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
        writer.recover(tmp_path)
    episodes = sorted(tmp_path.glob("*.tfrecord"))
    assert 0 < reader.read_episode(episodes[0]).num_steps < 10
    assert reader.read_episode(episodes[1]).num_steps == 3
    assert (tmp_path / f"{damaged}.damaged").read_bytes() == raw
    assert writer.recover(tmp_path) == []
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
        writer.recover(tmp_path)
    assert _names(tmp_path) == [f"{path.name}.damaged"]
    assert (tmp_path / f"{path.name}.damaged").read_bytes() == raw


def test_journal_with_another_header_is_set_aside(tmp_path: Path) -> None:
    path = tmp_path / "strange.journal"
    path.write_bytes(b"something else altogether, long enough")
    with pytest.raises(DamagedJournalError, match="strange"):
        writer.recover(tmp_path)
    assert _names(tmp_path) == ["strange.journal.damaged"]


def _record_without_room(folder: Path, tmpfs: bool) -> list[str]:
    limit = 0 if tmpfs else _ROOM_BYTES
    command = [sys.executable, "-c", _FULL_DISK, str(folder), str(limit)]
    if tmpfs:
        mount = f"mount -t tmpfs -o size={_ROOM_BYTES} none {folder}"
        command = ["unshare", "-rm", "sh", "-c", f'{mount} && exec "$0" "$@"', *command]
    done = subprocess.run(
        command, capture_output=True, text=True, check=True, env=_ENVIRONMENT
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
    (closed,) = writer.recover(repaired)
    assert closed.num_steps == int(kept) > 100
    assert reader.read_episode(closed.path).num_steps == closed.num_steps
    assert _names(repaired) == [closed.path.name]


def test_append_works_again_once_a_full_disk_has_room(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recorder = testing.record(tmp_path, 1, 2, _SPEC)
    steps = testing.steps(_SPEC, 3, seed=1)
    write = os.write

    def half(descriptor: int, data: bytes | memoryview) -> int:
        if len(data) < 20:
            raise OSError(errno.ENOSPC, "No space left on device")
        return write(descriptor, bytes(data)[: len(data) - 10])

    monkeypatch.setattr(os, "write", half)
    with pytest.raises(DiskError, match="No space left on device; 2 steps are kept"):
        recorder.append(steps[2])
    monkeypatch.undo()
    recorder.append(steps[2])
    assert recorder.close(True).num_steps == 3


def test_journal_is_synced_by_its_own_thread(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[int] = []
    monkeypatch.setattr(os, "fdatasync", synced.append)
    recorder = EpisodeWriter(tmp_path, _SPEC, testing.metadata(), fsync_period_s=0.01)
    recorder.append(testing.steps(_SPEC, 1)[0])
    deadline = time.monotonic() + 10
    while not synced and time.monotonic() < deadline:
        time.sleep(0.01)
    assert synced
    recorder.close(True)


def test_failed_sync_is_raised_by_the_next_append(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    failed = []

    def fail(descriptor: int) -> None:
        failed.append(descriptor)
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(os, "fdatasync", fail)
    recorder = EpisodeWriter(tmp_path, _SPEC, testing.metadata(), fsync_period_s=0.01)
    steps = testing.steps(_SPEC, 2)
    recorder.append(steps[0])
    deadline = time.monotonic() + 10
    while not failed and time.monotonic() < deadline:
        time.sleep(0.01)
    time.sleep(0.05)
    with pytest.raises(DiskError, match="Input/output error"):
        recorder.append(steps[1])
    recorder.abort()


_CAMERA = EpisodeSpec(3, 2, image=True, audio_size=2)


def _steps_of(spec: EpisodeSpec, image_sizes: list[int]) -> Iterator[dict[str, Any]]:
    """Steps whose numbers take as many bytes as numbers can."""
    (step,) = testing.steps(spec, 1)
    for number, size in enumerate(image_sizes):
        step |= {"is_first": number == 0, "is_last": False, "is_terminal": False}
        step["t_monotonic_ns"] = 2**63 - 1 - len(image_sizes) + number
        if spec.image:
            step["observation/image"] = testing.JPEG[:2] + bytes(size)
        yield dict(step)


@settings(max_examples=60, deadline=None)
@given(
    limit_bytes=st.integers(10_000, 25_000),
    image_sizes=st.lists(st.integers(0, 3_000), min_size=1, max_size=60),
    spec=st.sampled_from([_SPEC, _CAMERA, EpisodeSpec(40, 7), EpisodeSpec(1, 1, True)]),
)
def test_whatever_is_written_can_be_read_and_little_room_is_left_unused(
    limit_bytes: int, image_sizes: list[int], spec: EpisodeSpec
) -> None:
    with tempfile.TemporaryDirectory() as name:
        recorder = EpisodeWriter(
            Path(name), spec, testing.metadata(), limit_bytes=limit_bytes
        )
        kept, refused = 0, 0
        for step in _steps_of(spec, image_sizes):
            try:
                recorder.append(step)
            except EpisodeFullError:
                refused = len(step.get("observation/image", b"")) + 400
                break
            kept += 1
        closed = recorder.close(success=None)
        assert reader.read_episode(closed.path, limit_bytes).num_steps == kept
        if refused:
            assert closed.size_bytes + refused + 6_000 > limit_bytes
        else:
            assert kept == len(image_sizes)


def test_step_that_no_episode_can_hold_is_refused_as_such(tmp_path: Path) -> None:
    recorder = EpisodeWriter(tmp_path, _CAMERA, testing.metadata(), limit_bytes=10_000)
    for _ in range(2):
        with pytest.raises(OversizedError) as caught:
            recorder.append(next(_steps_of(_CAMERA, [20_000])))
        assert not isinstance(caught.value, EpisodeFullError)
    recorder.append(next(_steps_of(_CAMERA, [2_000])))
    assert recorder.close(success=None).num_steps == 1


def test_journal_above_the_limit_gives_an_episode_that_can_be_read_and_stays_aside(
    tmp_path: Path,
) -> None:
    recorder = EpisodeWriter(tmp_path, _CAMERA, testing.metadata())
    for step in _steps_of(_CAMERA, [1_000] * 30):
        recorder.append(step)
    (path,) = tmp_path.iterdir()
    raw = path.read_bytes()
    recorder.abort()
    path.write_bytes(raw)
    with pytest.raises(DamagedJournalError, match=r"with 30 steps, .* of them kept"):
        writer.recover(tmp_path, limit_bytes=15_000)
    (episode,) = tmp_path.glob("*.tfrecord")
    found = reader.read_episode(episode, 15_000)
    assert 5 < found.num_steps < 15
    assert found.steps["is_last"][-1]
    assert (tmp_path / f"{path.name}.damaged").read_bytes() == raw
    assert writer.recover(tmp_path, limit_bytes=15_000) == []


@pytest.mark.long
@pytest.mark.parametrize(
    ("spec", "image_bytes"),
    [
        (EpisodeSpec(7, 7, image=True), 70 * 1024),
        (EpisodeSpec(1, 1, image=True), 1),
        (EpisodeSpec(65_536, 7), 0),
    ],
)
def test_episode_that_is_as_large_as_possible_can_be_read(
    tmp_path: Path, spec: EpisodeSpec, image_bytes: int
) -> None:
    recorder = EpisodeWriter(tmp_path, spec, testing.metadata())
    kept = 0
    with pytest.raises(EpisodeFullError):
        for step in _steps_of(spec, [image_bytes] * 300_000):
            recorder.append(step)
            kept += 1
    closed = recorder.close(success=None)
    assert reader.read_episode(closed.path).num_steps == kept
    assert kept == 262_144 or closed.size_bytes > reader.LIMIT_BYTES - 300_000
