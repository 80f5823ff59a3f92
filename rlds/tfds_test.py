"""Opens with TFDS the folders that `rlds/` writes without TFDS."""

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_datasets as tfds

from rlds import tfds_directory, tfds_features
from rlds.episode import Episode
from rlds.manifest import Shard
from rlds.spec import FIELDS, EpisodeSpec
from rlds.testing import episodes
from rlds.tfds_directory import TfdsDirectory
from rlds.writer import EpisodeWriter

_PLAIN = EpisodeSpec(39, 4)
_RICH = EpisodeSpec(3, 2, image=True, audio_size=5, cameras=("front", "left_wrist"))
_WATCHED = EpisodeSpec(3, 2, interventions=True)
_SUCCESS = {True: 1, False: 0, None: -1}


def _episodes(spec: EpisodeSpec, numbers: list[int] | range) -> list[Episode]:
    outcomes = [True, False, None]
    return [
        episodes.episode(
            spec,
            count=4 + number,
            number=number,
            success=outcomes[number % 3],
            tags=("simulated", "größer", "c")[: number % 4],
        )
        for number in numbers
    ]


def _assert_equal(read: dict[str, Any], wrote: Episode) -> None:
    """Holds one record as TFDS reads it against the episode, field by field."""
    names = {field.name for field in FIELDS if field.scope == "episode"}
    assert set(read) == names | {"steps"}
    for name in names - {"success", "tags"}:
        assert read[name].decode() == getattr(wrote.metadata, name), name
    assert [tag.decode() for tag in read["tags"]] == list(wrote.metadata.tags)
    assert read["success"] == _SUCCESS[wrote.metadata.success]
    assert read["success"].dtype == np.int64
    steps = list(read["steps"])
    assert len(steps) == wrote.num_steps
    for index, step in enumerate(steps):
        flat = {f"observation/{name}": v for name, v in step.pop("observation").items()}
        flat |= step
        assert set(flat) == set(wrote.steps)
        for name, value in flat.items():
            if name in wrote.spec.picture_fields:
                expected = tf.io.decode_jpeg(wrote.steps[name][index], 3).numpy()
            else:
                expected = wrote.steps[name][index]
            assert np.asarray(value).dtype == expected.dtype, name
            assert np.array_equal(value, expected), name


def _read(folder: Path, split: str) -> list[dict[str, Any]]:
    builder = tfds.builder_from_directory(str(folder))
    dataset = builder.as_dataset(split=split, shuffle_files=False)
    return list(tfds.as_numpy(dataset))


def test_tfds_opens_corrected_episodes_beside_others(tmp_path: Path) -> None:
    corrected, alone = (
        _episodes(EpisodeSpec(3, 2, interventions=watched), [number])[0]
        for number, watched in ((1, True), (2, False))
    )
    for found in (corrected, alone):
        directory = TfdsDirectory(tmp_path, "episodes", EpisodeSpec(3, 2))
        directory.add(episodes.frame_episode(found), b"{}")
    first, second = _read(tmp_path, "train")
    steps = [*first["steps"], *second["steps"]]
    assert len(steps) == corrected.num_steps + alone.num_steps
    assert all("intervention" not in step for step in steps)
    executed = np.concatenate([corrected.steps["action"], alone.steps["action"]])
    np.testing.assert_array_equal([step["action"] for step in steps], executed)


@pytest.mark.parametrize("spec", [_PLAIN, _RICH, _WATCHED])
def test_tfds_opens_a_robots_folder_after_each_episode(
    tmp_path: Path, spec: EpisodeSpec
) -> None:
    private, shared = tmp_path / "private", tmp_path / "shared"
    private.mkdir()
    shared.mkdir()
    wrote = _episodes(spec, range(4))
    for number, whole in enumerate(wrote):
        recorder = EpisodeWriter(private, spec, whole.metadata)
        for step in episodes.steps(spec, whole.num_steps, seed=number):
            recorder.append(step)
        closed = recorder.close(whole.metadata.success)
        folder = TfdsDirectory(shared, "episodes", spec)
        folder.add(closed.path.read_bytes(), b"{}")
        if number in (0, 3):
            found = _read(shared, "train")
            assert len(found) == number + 1
            for read, expected in zip(found, wrote, strict=False):
                _assert_equal(read, expected)


def test_tfds_opens_the_layout_of_a_curated_version(tmp_path: Path) -> None:
    wrote = {"train": _episodes(_PLAIN, range(5)), "val": _episodes(_PLAIN, [7])}
    layout = {"train": [wrote["train"][:3], wrote["train"][3:]], "val": [wrote["val"]]}
    shards: dict[str, list[Shard]] = {}
    for split, groups in layout.items():
        (tmp_path / split).mkdir()
        shards[split] = []
        for index, group in enumerate(groups):
            path = tfds_directory.shard_path(split, index)
            raw = b"".join(map(episodes.frame_episode, group))
            (tmp_path / path).write_bytes(raw)
            digest = hashlib.sha256(raw).hexdigest()
            steps = sum(whole.num_steps for whole in group)
            shards[split].append(Shard(path, digest, len(raw), len(group), steps))
    tfds_directory.write_info(tmp_path, "reach", _PLAIN, shards, version="1.2.3")
    for split, expected in wrote.items():
        found = _read(tmp_path, split)
        assert len(found) == len(expected)
        for read, whole in zip(found, expected, strict=True):
            _assert_equal(read, whole)
    builder = tfds.builder_from_directory(str(tmp_path))
    assert (builder.name, str(builder.version)) == ("reach", "1.2.3")
    assert builder.info.splits["train"].num_examples == 5


@pytest.mark.parametrize("spec", [_PLAIN, _RICH])
def test_features_file_matches_what_tfds_writes(
    tmp_path: Path, spec: EpisodeSpec
) -> None:
    (tmp_path / "ours").mkdir()
    (tmp_path / "theirs").mkdir()
    ours = tfds_features.features_json(spec)
    (tmp_path / "ours" / "features.json").write_bytes(ours)
    read = tfds.features.FeaturesDict.from_config(str(tmp_path / "ours"))
    read.save_config(str(tmp_path / "theirs"))
    theirs = (tmp_path / "theirs" / "features.json").read_bytes()
    assert json.loads(theirs) == json.loads(ours)


def test_builder_of_ones_own_can_be_defined_with_our_features(tmp_path: Path) -> None:
    # TFDS looks up the package of a builder's class, for which it needs
    # importlib_resources.
    (tmp_path / "features.json").write_bytes(tfds_features.features_json(_RICH))

    class Own(tfds.core.GeneratorBasedBuilder):  # type: ignore[misc]  # untyped
        VERSION = tfds.core.Version("1.0.0")

        def _info(self) -> object:
            features = tfds.features.FeaturesDict.from_config(str(tmp_path))
            return tfds.core.DatasetInfo(builder=self, features=features)

        def _split_generators(self, dl_manager: object) -> object:
            raise AssertionError(dl_manager)

        def _generate_examples(self) -> object:
            raise AssertionError

    own = Own(data_dir=str(tmp_path / "own"))
    assert set(own.info.features) >= {"steps", "episode_id", "task"}
