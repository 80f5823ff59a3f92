import collections
import io
import json
import os
from pathlib import Path
from typing import Any

import pytest
import rich.console
import tensorflow_datasets as tfds

from base import project_version
from base.store.store import LocalStore
from cloud.curate import curation
from cloud.dataset import shard_check
from cloud.errors import CurationSpecError, DatasetExistsError
from cloud.index import build
from cloud.testing.raw_robot import TRUSTED, RawRobot, ingest
from rlds import manifest as manifest_format
from rlds import reader, tfrecord
from rlds.errors import ShardMismatchError
from rlds.manifest import Manifest

_ROBOTS = tuple(RawRobot(number) for number in range(3))
_SPEC: dict[str, Any] = {
    "dataset": "bench",
    "version": "1.0.0",
    "where": "task = 'reach-v3'",
    "split": {"by": ["robot_hash", "date"], "val_groups": 2, "salt": "s"},
    "shards": {"train": 3, "val": 2},
}

Version = tuple[Manifest, Path]


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three robots, two days each, two episodes a day, and one of another task."""
    root = tmp_path_factory.mktemp("world")
    raw = LocalStore(root / "raw")
    (root / "raw").mkdir()
    for robot in _ROBOTS:
        for number in range(4):
            date = f"2026-01-{1 + number // 2:02d}"
            recorded = robot.record(number, steps=3 + number, date=date)
            robot.upload(raw, recorded)
    robot.upload(raw, robot.record(9, task="push-v3"))
    ingest(raw, *_ROBOTS)
    build.build(raw.uri, (root / "index").as_uri(), TRUSTED, readers=1)
    return root


def _curate(
    world: Path,
    output: Path,
    workers: int = 1,
    raw: Path | None = None,
    created_at: str | None = "2026-02-01T00:00:00Z",
    code_commit: str | None = "c0ffee",
    console: rich.console.Console | None = None,
    **spec: Any,
) -> Manifest:
    spec_file = output.parent / "spec.json"
    spec_file.parent.mkdir(parents=True, exist_ok=True)
    spec_file.write_text(json.dumps(_SPEC | spec))
    return curation.curate(
        raw_uri=(raw or world / "raw").as_uri(),
        index_uri=(world / "index").as_uri(),
        spec_file=spec_file,
        output_uri=output.as_uri(),
        code_commit=code_commit,
        created_at=created_at,
        trusted=TRUSTED,
        workers=workers,
        console=console or rich.console.Console(file=io.StringIO()),
    )


def _bytes(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def _names(folder: Path) -> list[str]:
    return sorted(os.listdir(folder))  # noqa: PTH208  (hidden names count too)


@pytest.fixture(scope="module")
def version(world: Path, tmp_path_factory: pytest.TempPathFactory) -> Version:
    folder = tmp_path_factory.mktemp("curated") / "bench" / "v1.0.0"
    return _curate(world, folder), folder


def test_a_version_holds_its_shards_manifest_and_tfds_files(version: Version) -> None:
    manifest, folder = version
    assert sorted(_bytes(folder)) == [
        "dataset_info.json",
        "features.json",
        "manifest.json",
        "train/shard-00000.tfrecord",
        "train/shard-00001.tfrecord",
        "train/shard-00002.tfrecord",
        "val/shard-00000.tfrecord",
        "val/shard-00001.tfrecord",
    ]
    assert _names(folder.parent) == ["spec.json", "v1.0.0"]
    shard_check.verify_shards(LocalStore(folder), manifest)
    assert manifest_format.parse((folder / "manifest.json").read_bytes()) == manifest


def test_two_workers_write_the_same_bytes_as_one_and_import_nothing_of_the_callers(
    world: Path, version: Version, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, folder = version
    theirs = tmp_path / "theirs"
    theirs.mkdir()
    for name in ("apache_beam", "numpy", "random", "rlds", "sitecustomize"):
        (theirs / f"{name}.py").write_text("raise SystemExit('imported')\n")
    monkeypatch.chdir(theirs)
    monkeypatch.setenv("PYTHONPATH", str(theirs))
    _curate(world, tmp_path / "bench" / "v1.0.0", workers=2)
    assert _bytes(tmp_path / "bench" / "v1.0.0") == _bytes(folder)


def test_a_second_run_in_process_writes_the_same_bytes(
    world: Path, version: Version, tmp_path: Path
) -> None:
    _, folder = version
    _curate(world, tmp_path / "bench" / "v1.0.0")
    assert _bytes(tmp_path / "bench" / "v1.0.0") == _bytes(folder)


def test_no_day_of_a_robot_is_in_both_splits(version: Version) -> None:
    _, folder = version
    groups = collections.defaultdict(set)
    for path in folder.glob("*/shard-*"):
        for record in tfrecord.read_records(path, 1 << 20):
            metadata = reader.read_episode_bytes(tfrecord.frame(record)).metadata
            group = (metadata.robot_hash, metadata.start_time[:10])
            groups[path.parent.name].add(group)
    assert (len(groups["train"]), len(groups["val"])) == (4, 2)
    assert not groups["train"] & groups["val"]


def test_every_row_of_the_index_is_kept_or_dropped_with_a_reason(
    version: Version,
) -> None:
    manifest, _ = version
    assert len(manifest.episodes) == 12
    assert list(manifest.drops.values()) == ["predicate_false"]


def test_statistics_are_those_of_the_training_split(version: Version) -> None:
    import numpy as np

    manifest, folder = version
    states = np.concatenate(
        [
            reader.read_episode_bytes(tfrecord.frame(record)).steps["observation/state"]
            for path in sorted(folder.glob("train/shard-*"))
            for record in tfrecord.read_records(path, 1 << 20)
        ]
    ).astype(np.float64)
    found = manifest.statistics["observation/state"]
    assert found.count == len(states)
    np.testing.assert_allclose(found.mean, states.mean(axis=0), rtol=1e-12)
    np.testing.assert_allclose(found.std, states.std(axis=0), rtol=1e-12)
    np.testing.assert_array_equal(found.min, states.min(axis=0))
    np.testing.assert_array_equal(found.max, states.max(axis=0))
    assert set(manifest.statistics) == {"observation/state", "proposed_action"}


@pytest.mark.long
def test_tfds_opens_the_version(version: Version) -> None:
    manifest, folder = version
    builder = tfds.builder_from_directory(str(folder))
    assert builder.info.name == "bench"
    ids = set()
    for split in ("train", "val"):
        for episode in tfds.as_numpy(builder.as_dataset(split=split)):
            ids.add(episode["episode_id"].decode())
            steps = list(episode["steps"])
            assert steps[0]["observation"]["state"].shape == (3,)
            assert [step["is_last"] for step in steps[-2:]] == [False, True]
    assert ids == {entry.episode_id for entry in manifest.episodes}


def test_rerunning_finds_the_version_identical(world: Path, version: Version) -> None:
    manifest, folder = version
    before = _bytes(folder)
    assert _curate(world, folder, created_at=None, code_commit=None) == manifest
    assert _bytes(folder) == before
    assert _names(folder.parent) == ["spec.json", "v1.0.0"]


def test_a_new_version_names_the_commit_of_the_checkout(
    world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("BUILD_WORKSPACE_DIRECTORY", raising=False)
    manifest = _curate(world, tmp_path / "bench" / "v1.0.0", code_commit=None)
    assert manifest.code_commit == project_version.UNVERSIONED


@pytest.mark.parametrize("name", ["bench/v0.2.0", "x/v1.0.0", "v1.0.0", "bench"])
def test_an_output_named_after_another_version_is_refused(
    world: Path, tmp_path: Path, name: str
) -> None:
    with pytest.raises(CurationSpecError, match=r"--output: .*…/bench/v1\.0\.0, as"):
        _curate(world, tmp_path / "out" / name)
    assert not (tmp_path / "out" / name).exists()


def test_other_content_under_the_same_version_is_refused(
    world: Path, version: Version, tmp_path: Path
) -> None:
    folder = _copy(version[1], tmp_path / "bench" / "v1.0.0")
    before = _bytes(folder)
    with pytest.raises(DatasetExistsError, match="raise `version`"):
        _curate(world, folder, where="true")
    assert _bytes(folder) == before
    assert _names(tmp_path / "bench") == ["spec.json", "v1.0.0"]


def test_rerunning_over_a_changed_shard_is_refused_and_names_it(
    world: Path, version: Version, tmp_path: Path
) -> None:
    folder = _copy(version[1], tmp_path / "bench" / "v1.0.0")
    shard = folder / "train" / "shard-00001.tfrecord"
    shard.write_bytes(shard.read_bytes()[:-1] + b"\0")
    with pytest.raises(ShardMismatchError, match=r"train/shard-00001\.tfrecord"):
        _curate(world, folder)


def test_episodes_that_changed_since_they_were_indexed_are_dropped(
    world: Path, tmp_path: Path
) -> None:
    raw = tmp_path / "raw"
    _copy(world / "raw", raw)
    gone, cut, flipped, longer = sorted(raw.rglob("episode.tfrecord"))[:4]
    gone.unlink()
    cut.write_bytes(cut.read_bytes()[:-5])
    flipped.write_bytes(b"\0" + flipped.read_bytes()[1:])
    longer.write_bytes(longer.read_bytes() + b"\0")
    manifest = _curate(
        world, tmp_path / "out" / "bench" / "v1.0.0", raw=raw, where="true"
    )
    found = collections.Counter(manifest.drops.values())
    assert found == {"episode_missing": 1, "digest_mismatch": 3}
    assert len(manifest.episodes) == 9
    written = tmp_path / "out" / "bench" / "v1.0.0"
    shard_check.verify_shards(LocalStore(written), manifest)


def _curate_with_and_without(world: Path, tmp_path: Path) -> tuple[Manifest, Manifest]:
    """A version of small shards, and one, in `b`, from which the first episode is gone.

    The shard of that episode held no other.
    """
    raw = tmp_path / "raw"
    _copy(world / "raw", raw)
    wide = {"train": 50, "val": 50}
    whole = _curate(world, tmp_path / "a" / "bench" / "v1.0.0", shards=wide)
    lost = whole.episodes[0]
    path = next((raw / "rlds_v0").rglob(f"episode_id={lost.episode_id}"))
    (path / "episode.tfrecord").unlink()
    return whole, _curate(
        world, tmp_path / "b" / "bench" / "v1.0.0", raw=raw, shards=wide
    )


def test_shards_that_lose_all_their_episodes_leave_no_gap(
    world: Path, tmp_path: Path
) -> None:
    whole, manifest = _curate_with_and_without(world, tmp_path)
    split = whole.episodes[0].split
    assert len(manifest.splits[split]) == len(whole.splits[split]) - 1
    written = LocalStore(tmp_path / "b" / "bench" / "v1.0.0")
    shard_check.verify_shards(written, manifest)
    assert len(manifest.episodes) == len(whole.episodes) - 1


@pytest.mark.long
def test_tfds_finds_no_gap_where_a_shard_lost_all_its_episodes(
    world: Path, tmp_path: Path
) -> None:
    whole, manifest = _curate_with_and_without(world, tmp_path)
    builder = tfds.builder_from_directory(str(tmp_path / "b" / "bench" / "v1.0.0"))
    total = sum(len(builder.as_dataset(split=split)) for split in manifest.splits)
    assert total == len(whole.episodes) - 1


def test_no_readable_episode_leaves_nothing_on_disk(
    world: Path, tmp_path: Path
) -> None:
    (tmp_path / "raw").mkdir()
    with pytest.raises(CurationSpecError, match="verdict_missing"):
        _curate(world, tmp_path / "out" / "bench" / "v1.0.0", raw=tmp_path / "raw")
    assert _names(tmp_path / "out" / "bench") == ["spec.json"]


def test_without_val_groups_nothing_is_curated_that_training_would_refuse(
    world: Path, tmp_path: Path
) -> None:
    split = _SPEC["split"] | {"val_groups": 0}
    with pytest.raises(CurationSpecError, match=r"val_groups of at least 1, got 0;"):
        _curate(world, tmp_path / "bench" / "v1.0.0", split=split)
    assert _names(tmp_path / "bench") == ["spec.json"]


def test_manifest_counts_the_episodes_of_each_task(world: Path, tmp_path: Path) -> None:
    manifest = _curate(world, tmp_path / "bench" / "v1.0.0", where="true")
    counts = collections.Counter(
        (split, task)
        for split, tasks in manifest.tasks.items()
        for task, count in tasks.items()
        for _ in range(count)
    )
    assert sum(counts.values()) == 13
    assert {task for _, task in counts} == {"push-v3", "reach-v3"}
    assert sum(manifest.tasks["val"].values()) == sum(
        shard.num_episodes for shard in manifest.splits["val"]
    )


def test_episodes_of_another_control_rate_are_told_with_their_names(
    tmp_path: Path,
) -> None:
    (tmp_path / "raw").mkdir()
    raw = LocalStore(tmp_path / "raw")
    robot, slow = _ROBOTS[0], _ROBOTS[0].record(7, date="2026-01-01", period_ns=10**8)
    for number in range(4):
        date = f"2026-01-{1 + number // 2:02d}"
        robot.upload(raw, robot.record(number, date=date))
    robot.upload(raw, slow)
    ingest(raw, robot)
    build.build(raw.uri, (tmp_path / "index").as_uri(), TRUSTED, readers=1)
    said = io.StringIO()
    _curate(
        tmp_path,
        tmp_path / "bench" / "v1.0.0",
        console=rich.console.Console(file=said, width=1000),
        split=_SPEC["split"] | {"val_groups": 1},
    )
    assert (
        "note: 1 of 5 episodes have 10 control steps per second and not 80: "
        f"{slow.sidecar.episode_id}\n"
    ) in said.getvalue()


def _copy(source: Path, target: Path) -> Path:
    for path in source.rglob("*"):
        if path.is_file():
            copy = target / path.relative_to(source)
            copy.parent.mkdir(parents=True, exist_ok=True)
            copy.write_bytes(path.read_bytes())
    return target
