"""A package is replayed recorded episodes by the robot's own program, and compared."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from base.digest import sha256_bytes
from cloud import programs
from cloud.dataset import split as dataset_split
from cloud.errors import DatasetError, ProgramFailedError, RolloutSummaryError
from cloud.evaluate import held_out_report, replays
from cloud.evaluate.held_out_report import HeldOutReport
from cloud.evaluate.replays import Recorded, Recordings
from cloud.package.build import BuiltPackage
from cloud.testing import dataset_version, exported_package, training_episodes
from release import verification
from rlds import example_codec, tfrecord
from rlds.episode import Episode
from rlds.spec import EpisodeSpec
from rlds.testing import episodes as testing

LIMITS = (-1.0, -1.0), (1.0, 1.0)


def digest(episode: Episode) -> str:
    return sha256_bytes(tfrecord.frame(example_codec.encode(episode)))


def open_recordings(
    folder: Path, held_out: Sequence[Episode], most: int = 1000
) -> Recordings:
    train = training_episodes.episodes(2)
    dataset_version.write(folder / "version", {"train": [train], "val": [held_out]})
    found = dataset_split.open_split(folder / "version", "val", folder / "work")
    return Recordings(found.episodes, found.manifest, most)


def evaluate(
    recordings: Recordings, built: BuiltPackage, folder: Path, **changes: Any
) -> HeldOutReport:
    manifest = verification.verify_integrity(built.folder).manifest
    arguments: dict[str, Any] = {
        "recordings": recordings,
        "package": built.folder,
        "described": manifest,
        "limits": LIMITS,
        "workers": 2,
        "folder": folder,
    }
    return replays.evaluate_package(**(arguments | changes))


def with_metadata(episode: Episode, **changes: Any) -> Episode:
    metadata = dataclasses.replace(episode.metadata, **changes)
    return dataclasses.replace(episode, metadata=metadata)


def recorded(
    actions: Sequence[Sequence[float]],
    number: int = 0,
    counts: Sequence[bool] | None = None,
    **changes: Any,
) -> Recorded:
    wanted = np.asarray(actions, np.float32)
    metadata = testing.metadata(number, **{"task": "pour", **changes})
    kept = np.ones(len(wanted), np.bool_) if counts is None else np.array(counts)
    return Recorded(f"{number:064x}", metadata, wanted, wanted, kept)


def test_package_is_compared_with_each_episode_and_the_same_each_time(
    tmp_path: Path,
) -> None:
    built = exported_package.copy(tmp_path / "package")
    held_out = training_episodes.episodes(6, first=100)
    recordings = open_recordings(tmp_path, held_out)
    done: list[int] = []
    found = evaluate(recordings, built, tmp_path / "logs", on_progress=done.append)
    assert found.package_digest == built.digest
    assert found.tasks == training_episodes.TASKS
    assert [one.sha256 for one in found.episodes] == sorted(map(digest, held_out))
    assert found.steps == sum(one.num_steps for one in held_out)
    assert found.safety_violations == 0
    assert found.step_latency_p50_us is not None and found.step_latency_p50_us > 0.0
    assert done[-1] == len(held_out)
    for one in found.episodes:
        assert 0.0 < one.error < 2.0
        assert 0.0 < one.constant_error < 2.0
    again = evaluate(recordings, built, tmp_path / "again", workers=1)
    assert [one.error for one in again.episodes] == [
        one.error for one in found.episodes
    ]
    assert held_out_report.parse(found.encode(), "x").digest == found.digest


def test_no_recorded_episode_is_left_beside_the_logs(tmp_path: Path) -> None:
    built = exported_package.copy(tmp_path / "package")
    recordings = open_recordings(tmp_path, training_episodes.episodes(2, first=100))
    evaluate(recordings, built, tmp_path / "logs")
    left = sorted(path.name for path in (tmp_path / "logs").rglob("*"))
    assert left == [
        *("done-0", "done-1", "run-0.log", "run-1.log"),
        *("summary-0.json", "summary-1.json"),
    ]


def test_recording_whose_clock_is_off_is_replayed_at_the_packages_rate(
    tmp_path: Path,
) -> None:
    built = exported_package.copy(tmp_path / "package")
    plain = training_episodes.episodes(2, first=100)
    slow = [
        dataclasses.replace(
            one,
            steps={
                **one.steps,
                "t_monotonic_ns": one.steps["t_monotonic_ns"] * 104 // 100,
            },
        )
        for one in plain
    ]
    errors = [
        sorted(
            one.error
            for one in evaluate(
                open_recordings(tmp_path / name, held_out), built, tmp_path / name / "l"
            ).episodes
        )
        for name, held_out in (("plain", plain), ("slow", slow))
    ]
    assert errors[0] == errors[1]


def test_package_of_another_robot_is_one_line_and_leaves_no_process(
    tmp_path: Path,
) -> None:
    built = exported_package.copy(tmp_path / "package")
    panda = [
        with_metadata(one, robot_model="panda")
        for one in training_episodes.episodes(4, first=100)
    ]
    with pytest.raises(ProgramFailedError, match="a robot of the model 'sawyer'"):
        evaluate(open_recordings(tmp_path, panda), built, tmp_path / "logs")


def test_damaged_results_of_the_robots_program_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    built = exported_package.copy(tmp_path / "package")
    fake = tmp_path / "edge" / "run"
    fake.parent.mkdir()
    fake.write_text("#!/bin/sh\nexit 0\n")
    fake.chmod(0o755)
    monkeypatch.setattr(programs, "root", lambda: tmp_path)
    recordings = open_recordings(tmp_path, training_episodes.episodes(2, first=100))
    with pytest.raises(RolloutSummaryError, match="a summary of //edge:run"):
        evaluate(recordings, built, tmp_path / "logs")


def test_run_of_another_package_than_was_named_is_refused(tmp_path: Path) -> None:
    built = exported_package.copy(tmp_path / "package")
    recordings = open_recordings(tmp_path, training_episodes.episodes(2, first=100))
    manifest = verification.verify_integrity(built.folder).manifest
    other = dataclasses.replace(manifest, digest="0" * 64)
    with pytest.raises(RolloutSummaryError, match="a run of package 000000000000"):
        evaluate(recordings, built, tmp_path / "logs", described=other)


def test_as_many_episodes_of_each_task_are_taken_and_always_the_same(
    tmp_path: Path,
) -> None:
    held_out = [training_episodes.episode(k) for k in (100, 102, 104, 106, 101)]
    every = open_recordings(tmp_path / "a", held_out).chosen
    assert len(every) == 5
    some = open_recordings(tmp_path / "b", held_out[::-1], most=3).chosen
    digests = [record.sha256 for _, record in some.records]
    assert digests == sorted(digests)
    assert sorted(record.task for _, record in some.records) == [
        "left",
        "left",
        "right",
    ]
    assert set(digests) < {record.sha256 for _, record in every.records}


def test_episode_of_one_step_is_left_out(tmp_path: Path) -> None:
    held_out = [training_episodes.episode(100), training_episodes.episode(101, 1)]
    assert len(open_recordings(tmp_path, held_out).chosen) == 1


def test_error_is_in_half_ranges_within_the_limits() -> None:
    one = recorded([[0.0, 5.0], [0.0, 0.0]])
    proposed = {one.sha256: np.array([[2.0, 10.0], [-4.0, 0.0]])}
    (found,) = replays.compare([one], proposed, (-4.0, -10.0), (4.0, 10.0))
    assert found.error == pytest.approx((0.5 + 0.5 + 1.0 + 0.0) / 4)
    far = {one.sha256: np.array([[99.0, 5.0], [0.0, 0.0]])}
    (found,) = replays.compare([one], far, (-4.0, -10.0), (4.0, 10.0))
    assert found.error == pytest.approx(1.0 / 4), "the limits hold it back"


def test_only_steps_that_are_worth_imitating_and_were_replayed_count() -> None:
    one = recorded([[0.0], [1.0], [1.0]], counts=[False, True, True])
    proposed = {one.sha256: np.array([[1.0], [0.9]])}
    (found,) = replays.compare([one], proposed, (-1.0,), (1.0,))
    assert found.steps == 1
    assert found.error == pytest.approx(0.1)
    none = recorded([[0.0], [1.0]], counts=[False, True])
    with pytest.raises(DatasetError, match="a step to imitate"):
        replays.compare([none], {none.sha256: np.array([[0.0]])}, (-1.0,), (1.0,))


def test_action_that_never_changes_is_the_best_one_of_the_task() -> None:
    one, two = recorded([[0.0], [0.0]], 1), recorded([[0.0], [0.6]], 2)
    still = {o.sha256: np.zeros((2, 1)) for o in (one, two)}
    found = replays.compare([one, two], still, (-1.0,), (1.0,))
    assert [e.constant_error for e in found] == [pytest.approx(0.0), pytest.approx(0.3)]


def test_report_says_neither_who_nor_where_nor_when() -> None:
    people = [
        recorded([[0.0]], 1, robot_hash="ab" * 32, start_time="2026-03-04T05:00:00Z"),
        recorded([[0.0]], 2, robot_hash="cd" * 32, start_time="2026-03-09T05:00:00Z"),
        recorded([[0.0]], 3, operator="policy:0123456789ab", success=None),
        recorded([[0.0], [0.0]], 4, counts=[True, False], operator="policy:01"),
    ]
    proposed = {one.sha256: np.zeros((len(one.states), 1)) for one in people}
    found = replays.compare(people, proposed, (-1.0,), (1.0,))
    assert [e.slices["robot"] for e in found] == ["robot 1", "robot 2"] + [
        "robot 1"
    ] * 2
    assert [e.slices["day"] for e in found] == ["day 2", "day 3", "day 1", "day 1"]
    assert [e.slices["actor"] for e in found] == [
        *("expert", "expert", "policy", "person who corrected")
    ]
    assert [e.slices["outcome"] for e in found][2] == "unknown"
    raw = b"".join(repr(one).encode() for one in found)
    for private in (b"abab", b"2026", b"52.5", b"0123456789ab"):
        assert private not in raw


def test_senses_are_left_out_of_what_is_replayed() -> None:
    one = recorded([[0.0], [1.0]])
    shown = one.replayed(20.0)
    assert shown.spec == EpisodeSpec(1, 1)
    assert np.diff(shown.steps["t_monotonic_ns"]).tolist() == [50_000_000]
