"""A cache is whole or absent, and is rewritten when anything about it changed."""

import dataclasses
import multiprocessing
import os
import resource
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from base.errors import DiskError
from cloud.dataset import mapped_steps, step_stream, training_data
from cloud.dataset.mapped_steps import CacheSource
from cloud.dataset.step_stream import StepStream
from cloud.errors import DatasetError, DiskSpaceError
from cloud.testing import training_episodes
from model import config, places
from rlds.episode import Episode
from rlds.errors import MalformedEpisodeError
from rlds.spec import EpisodeSpec
from rlds.testing import episodes as testing

EPISODES = training_episodes.episodes(12)
SOURCE = CacheSource("d" * 64, "train", training_episodes.TASKS, 4, 2, 117)


class Once:
    """Episodes that count how often they are read."""

    def __init__(self, episodes: list[Episode] = EPISODES) -> None:
        self.episodes = episodes
        self.passes = 0

    def __iter__(self) -> Iterator[Episode]:
        self.passes += 1
        return iter(self.episodes)


def open_steps(
    folder: Path, source: CacheSource, episodes: Iterable[Episode]
) -> StepStream:
    return mapped_steps.open_data(folder, source, episodes).steps


def names(folder: Path) -> list[str]:
    return sorted(p.name for p in folder.iterdir() if p.suffix != ".lock")


def assert_equal(one: StepStream, other: StepStream) -> None:
    for name, mine, its in zip(one._fields, one, other, strict=True):
        assert (mine is None) == (its is None), name
        if mine is not None:
            np.testing.assert_array_equal(mine, its, err_msg=name)


@pytest.fixture
def joined() -> StepStream:
    return step_stream.join(EPISODES, training_episodes.TASKS, 4, 2)


def test_cache_holds_the_joined_steps_and_is_written_once(
    tmp_path: Path, joined: StepStream
) -> None:
    episodes = Once()
    for _ in range(3):
        assert_equal(open_steps(tmp_path, SOURCE, episodes), joined)
    assert episodes.passes == 1
    assert names(tmp_path) == [SOURCE.identity]


def test_derived_columns_do_not_depend_on_the_size_of_a_run(
    tmp_path: Path, joined: StepStream, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mapped_steps, "_DERIVED_AT_ONCE", 10)
    assert_equal(open_steps(tmp_path, SOURCE, EPISODES), joined)


def test_mapped_columns_cannot_be_written(tmp_path: Path) -> None:
    stream = open_steps(tmp_path, SOURCE, EPISODES)
    with pytest.raises(ValueError, match="read-only"):
        stream.states[0] = 0


def test_sound_is_cached_and_images_are_left_out_by_default(tmp_path: Path) -> None:
    spec = EpisodeSpec(3, 2, image=True, audio_size=5)
    made = [testing.episode(spec, 7, k) for k in range(3)]
    source = CacheSource("e" * 64, "train", ("reach-v3",), 3, 2, 21)
    stream = open_steps(tmp_path, source, made)
    assert_equal(stream, step_stream.join(made, ("reach-v3",), 3, 2))
    assert stream.audio_mel is not None
    assert stream.audio_mel.shape == (21, 5) and stream.places is None


def test_corrected_episodes_are_cached_with_the_steps_to_imitate(
    tmp_path: Path,
) -> None:
    made = [
        testing.episode(EpisodeSpec(3, 2, interventions=k != 1), 7, k) for k in range(3)
    ]
    source = CacheSource("e" * 64, "train", ("reach-v3",), 3, 2, 21)
    stream = open_steps(tmp_path, source, made)
    assert_equal(stream, step_stream.join(made, ("reach-v3",), 3, 2))
    assert 0 < np.count_nonzero(stream.action_weight) < 21


def test_statistics_are_kept_to_the_bit_and_read_without_the_steps(
    tmp_path: Path,
) -> None:
    """The rows become zeros of the same size and time, so reading them would show."""
    spec = EpisodeSpec(3, 2, audio_size=5, image=True)
    made = [testing.episode(spec, 7, k) for k in range(3)]
    camera = dataclasses.replace(config.tiny(3, 2, 1), image_height=16, image_width=32)
    source = CacheSource("e" * 64, "train", ("reach-v3",), 3, 2, 21, camera)
    mapped_steps.open_data(tmp_path, source, made)
    rows = tmp_path / source.identity / "rows"
    found = rows.stat()
    rows.chmod(0o644)
    rows.write_bytes(bytes(found.st_size))
    os.utime(rows, ns=(found.st_atime_ns, found.st_mtime_ns))
    mapped = mapped_steps.open_data(tmp_path, source, ())
    assert not mapped.steps.states.any()
    joined = training_data.join_episodes(made, ("reach-v3",), camera)
    measured = dataclasses.asdict(joined.statistics)
    assert measured.pop("action_reach") is mapped.statistics.action_reach is None
    for name, value in measured.items():
        np.testing.assert_array_equal(getattr(mapped.statistics, name), value, name)
        assert getattr(mapped.statistics, name).dtype == np.float32
    assert mapped.identity == source.identity and mapped.tasks == joined.tasks


def test_places_in_frames_of_the_size_that_the_model_reads_are_cached(
    tmp_path: Path,
) -> None:
    camera = dataclasses.replace(config.tiny(3, 2, 1), image_height=16, image_width=32)
    made = [testing.episode(EpisodeSpec(3, 2, image=True), 7)]
    source = CacheSource("e" * 64, "train", ("reach-v3",), 3, 2, 7, camera)
    stream = open_steps(tmp_path, source, made)
    assert_equal(stream, step_stream.join(made, ("reach-v3",), 3, 2, camera=camera))
    assert stream.places is not None
    assert stream.places.shape == (7, places.count(camera.image_colours, 1))
    for smaller in (
        dataclasses.replace(camera, image_width=16),
        dataclasses.replace(camera, image_colours=5),
    ):
        other = dataclasses.replace(source, camera=smaller)
        assert other.identity != source.identity


@pytest.mark.parametrize(
    "change",
    [
        {"manifest_digest": "f" * 64},
        {"split": "val"},
        {"tasks": ("left", "right", "up")},
    ],
)
def test_other_data_get_another_cache(tmp_path: Path, change: dict[str, Any]) -> None:
    open_steps(tmp_path, SOURCE, EPISODES)
    other, episodes = dataclasses.replace(SOURCE, **change), Once()
    open_steps(tmp_path, other, episodes)
    assert episodes.passes == 1
    assert len(names(tmp_path)) == 2


def cut(path: Path) -> None:
    path.chmod(0o644)
    with path.open("r+b") as stream:
        stream.truncate(path.stat().st_size - 1)


def overwrite(path: Path) -> None:
    """One byte changes, the size does not."""
    path.chmod(0o644)
    with path.open("r+b") as stream:
        first = stream.read(1)
        stream.seek(0)
        stream.write(bytes([first[0] ^ 1]))


def remove(path: Path) -> None:
    path.unlink()


@pytest.mark.parametrize("change", [cut, overwrite, remove])
@pytest.mark.parametrize("name", ["rows", "cache.json"])
def test_a_torn_or_changed_cache_is_rewritten(
    tmp_path: Path,
    joined: StepStream,
    change: Callable[[Path], None],
    name: str,
) -> None:
    open_steps(tmp_path, SOURCE, EPISODES)
    change(tmp_path / SOURCE.identity / name)
    episodes = Once()
    assert_equal(open_steps(tmp_path, SOURCE, episodes), joined)
    assert episodes.passes == 1
    assert names(tmp_path) == [SOURCE.identity]


def test_leftovers_of_a_killed_writer_are_removed(
    tmp_path: Path, joined: StepStream
) -> None:
    (tmp_path / f".tmp-{SOURCE.identity}-0badcafe").mkdir()
    (tmp_path / f".tmp-{SOURCE.identity}-0badcafe" / "rows").write_bytes(bytes(100))
    assert_equal(open_steps(tmp_path, SOURCE, EPISODES), joined)
    assert names(tmp_path) == [SOURCE.identity]


def test_full_disk_is_one_clear_error_and_leaves_nothing(
    tmp_path: Path, joined: StepStream
) -> None:
    """No file may grow beyond 1,000 bytes, so that a write fails half-way."""
    kept = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, kept[1]))
    try:
        with pytest.raises(DiskSpaceError, match="got File too large with") as caught:
            open_steps(tmp_path, SOURCE, EPISODES)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, kept)
    assert str(tmp_path) in str(caught.value) and "\n" not in str(caught.value)
    assert names(tmp_path) == []
    assert_equal(open_steps(tmp_path, SOURCE, EPISODES), joined)


def test_more_steps_than_fit_on_the_disk_are_refused_at_the_first_episode(
    tmp_path: Path,
) -> None:
    huge, seen = dataclasses.replace(SOURCE, num_steps=10**15), []

    def episodes() -> Iterator[Episode]:
        for episode in EPISODES:
            seen.append(episode)
            yield episode

    with pytest.raises(DiskSpaceError, match="MB of free disk for the steps"):
        open_steps(tmp_path, huge, episodes())
    assert len(seen) == 1
    assert names(tmp_path) == []


def test_a_folder_that_is_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(DiskError, match="file"):
        open_steps(tmp_path / "file", SOURCE, EPISODES)


@pytest.mark.parametrize("count", [116, 118])
def test_wrong_step_count_is_refused_and_leaves_nothing(
    tmp_path: Path, count: int
) -> None:
    source = dataclasses.replace(SOURCE, num_steps=count)
    with pytest.raises(DatasetError, match=f"expected {count} steps in all, got 117"):
        open_steps(tmp_path, source, EPISODES)
    assert names(tmp_path) == []


def test_episodes_of_another_shape_are_refused_by_name_and_leave_nothing(
    tmp_path: Path,
) -> None:
    other = testing.episode(EpisodeSpec(5, 2), 7, task="left")
    with pytest.raises(DatasetError, match=r"shape \(7, 4\), got \(7, 5\)"):
        open_steps(tmp_path, SOURCE, [*EPISODES, other])
    sound = testing.episode(EpisodeSpec(4, 2, audio_size=3), 7, task="left")
    with pytest.raises(DatasetError, match="a difference in audio_mel"):
        open_steps(tmp_path, SOURCE, [*EPISODES, sound])
    assert names(tmp_path) == []


def test_a_malformed_episode_in_the_middle_leaves_nothing(tmp_path: Path) -> None:
    def episodes() -> Iterator[Episode]:
        yield EPISODES[0]
        raise MalformedEpisodeError("episode", "finite numbers", "NaN")

    with pytest.raises(MalformedEpisodeError):
        open_steps(tmp_path, SOURCE, episodes())
    assert names(tmp_path) == []


def _open(folder: Path, results: "multiprocessing.Queue[Any]") -> None:
    episodes = Once()
    stream = open_steps(folder, SOURCE, episodes)
    results.put((os.getpid(), episodes.passes, float(stream.states.sum())))


def test_processes_that_open_one_cache_at_the_same_time_write_it_once(
    tmp_path: Path, joined: StepStream
) -> None:
    spawn = multiprocessing.get_context("spawn")
    results = spawn.Queue()
    workers = [spawn.Process(target=_open, args=(tmp_path, results)) for _ in range(2)]
    for worker in workers:
        worker.start()
    found = [results.get(timeout=120) for _ in workers]
    for worker in workers:
        worker.join(timeout=60)
        assert worker.exitcode == 0
    assert sorted(passes for _, passes, _ in found) == [0, 1]
    assert {total for _, _, total in found} == {float(joined.states.sum())}
