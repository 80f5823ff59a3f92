import errno
import os
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
from rlds import reader
from rlds.errors import (
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


def _names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


_CAMERAS = EpisodeSpec(3, 2, image=True, cameras=("front", "left_wrist"))


@pytest.mark.parametrize("spec", [_SPEC, _RICH, _CAMERAS])
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
    deadline = time.monotonic() + 60
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
    deadline = time.monotonic() + 60
    while recorder._syncer.error is None and time.monotonic() < deadline:
        time.sleep(0.01)
    assert failed
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


def test_pictures_of_all_cameras_count_towards_the_size_of_an_episode(
    tmp_path: Path,
) -> None:
    recorder = EpisodeWriter(tmp_path, _CAMERAS, testing.metadata(), limit_bytes=20_000)
    step = testing.steps(_CAMERAS, 2)[0] | {"is_last": False, "is_terminal": False}
    step |= dict.fromkeys(_CAMERAS.picture_fields, testing.JPEG[:2] + bytes(3_500))
    recorder.append(step)
    with pytest.raises(EpisodeFullError):
        recorder.append(step | {"is_first": False})
    closed = recorder.close(success=None)
    assert reader.read_episode(closed.path, 20_000).num_steps == 1


def test_step_that_no_episode_can_hold_is_refused_as_such(tmp_path: Path) -> None:
    recorder = EpisodeWriter(tmp_path, _CAMERA, testing.metadata(), limit_bytes=10_000)
    for _ in range(2):
        with pytest.raises(OversizedError) as caught:
            recorder.append(next(_steps_of(_CAMERA, [20_000])))
        assert not isinstance(caught.value, EpisodeFullError)
    recorder.append(next(_steps_of(_CAMERA, [2_000])))
    assert recorder.close(success=None).num_steps == 1


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
