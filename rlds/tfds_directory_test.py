import json
from pathlib import Path

import pytest

from base.errors import ContinuonError
from rlds import reader, tfds_directory, tfds_features
from rlds.errors import DatasetFolderError, MalformedEpisodeError
from rlds.manifest import Shard
from rlds.spec import EpisodeSpec
from rlds.testing import episodes
from rlds.tfds_directory import TfdsDirectory

_SPEC = EpisodeSpec(3, 2)


def _add(folder: Path, number: int, sidecar: bytes = b"{}", count: int = 3) -> Path:
    framed = episodes.frame_episode(episodes.episode(_SPEC, count, number))
    return TfdsDirectory(folder, "episodes", _SPEC).add(framed, sidecar)


def _lengths(folder: Path) -> list[str]:
    value = json.loads((folder / "dataset_info.json").read_bytes())
    lengths: list[str] = value["splits"][0]["shardLengths"]
    return lengths


def test_each_episode_is_stored_under_its_id_with_its_sidecar(tmp_path: Path) -> None:
    paths = [_add(tmp_path, number) for number in range(3)]
    for number, path in enumerate(paths):
        assert path.name == f"{episodes.metadata(number).episode_id}.tfrecord"
        assert reader.read_episode(path) == episodes.episode(_SPEC, 3, number)
        assert path.with_suffix(".sidecar.json").read_bytes() == b"{}"
        shard = tmp_path / "train" / f"shard-0000{number}.tfrecord"
        assert shard.resolve() == path.resolve()
    assert _lengths(tmp_path) == ["1", "1", "1"]


def test_adding_an_episode_again_replaces_it(tmp_path: Path) -> None:
    _add(tmp_path, 0)
    path = _add(tmp_path, 0, sidecar=b"[]", count=4)
    assert reader.read_episode(path).num_steps == 4
    assert path.with_suffix(".sidecar.json").read_bytes() == b"[]"
    assert _lengths(tmp_path) == ["1"]


def test_interrupted_add_leaves_a_whole_folder_and_can_be_repeated(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from base import durable_file

    _add(tmp_path, 0)
    info = (tmp_path / "dataset_info.json").read_bytes()
    write = durable_file.write

    def interrupted(path: Path, data: bytes, mode: int = 0o644) -> None:
        if path.name == "dataset_info.json":
            raise KeyboardInterrupt
        write(path, data, mode)

    monkeypatch.setattr(durable_file, "write", interrupted)
    with pytest.raises(KeyboardInterrupt):
        _add(tmp_path, 1)
    monkeypatch.undo()
    assert (tmp_path / "dataset_info.json").read_bytes() == info
    assert not list(tmp_path.glob(f"{episodes.metadata(1).episode_id}.sidecar*"))
    _add(tmp_path, 2)
    _add(tmp_path, 1)
    assert _lengths(tmp_path) == ["1", "1", "1"]
    found = TfdsDirectory(tmp_path, "episodes", _SPEC).episode_files
    ids = [episodes.metadata(number).episode_id for number in (0, 2, 1)]
    assert found == tuple(f"{name}.tfrecord" for name in ids)


def test_episode_of_another_spec_is_refused_and_nothing_changes(tmp_path: Path) -> None:
    _add(tmp_path, 0)
    before = sorted(path.name for path in tmp_path.iterdir())
    other = episodes.frame_episode(episodes.episode(EpisodeSpec(4, 2), number=1))
    with pytest.raises(DatasetFolderError, match="state_size=3"):
        TfdsDirectory(tmp_path, "episodes", _SPEC).add(other)
    with pytest.raises(DatasetFolderError, match=r"features\.json"):
        TfdsDirectory(tmp_path, "episodes", EpisodeSpec(4, 2))
    with pytest.raises(DatasetFolderError, match="dataset other"):
        TfdsDirectory(tmp_path, "other", _SPEC)
    assert sorted(path.name for path in tmp_path.iterdir()) == before


def test_bytes_that_are_not_an_episode_are_refused_and_nothing_is_written(
    tmp_path: Path,
) -> None:
    folder = TfdsDirectory(tmp_path, "episodes", _SPEC)
    with pytest.raises(MalformedEpisodeError):
        folder.add(b"")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "content", [b"", b"{}", b"[]", b'{"name":"episodes","splits":[]}']
)
def test_info_that_was_overwritten_is_refused(tmp_path: Path, content: bytes) -> None:
    _add(tmp_path, 0)
    (tmp_path / "dataset_info.json").write_bytes(content)
    with pytest.raises(DatasetFolderError, match=r"dataset_info\.json"):
        TfdsDirectory(tmp_path, "episodes", _SPEC)


def test_removed_episode_is_detected(tmp_path: Path) -> None:
    _add(tmp_path, 0).unlink()
    with pytest.raises(DatasetFolderError, match="shard-00000"):
        TfdsDirectory(tmp_path, "episodes", _SPEC)


def test_shard_at_another_path_is_refused_and_nothing_is_written(
    tmp_path: Path,
) -> None:
    shard = Shard("train/part-0.tfrecord", "ab" * 32, 1, 1, 1)
    with pytest.raises(ContinuonError, match="train/shard-00000"):
        tfds_directory.write_info(tmp_path, "reach", _SPEC, {"train": [shard]})
    assert list(tmp_path.iterdir()) == []


SPEC = EpisodeSpec(3, 2, image=True, audio_size=5)


@pytest.mark.parametrize(
    "spec",
    [
        SPEC,
        EpisodeSpec(39, 4),
        EpisodeSpec(1, 1, image=True),
        EpisodeSpec(1, 1, False, 2),
    ],
)
def test_read_spec_returns_the_spec_that_was_written(spec: EpisodeSpec) -> None:
    assert tfds_features.read_spec(tfds_features.features_json(spec), "here") == spec


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"\xff",
        b"[]",
        b"{}",
        b"[" * 100_000,
        tfds_features.features_json(SPEC)[:-9],
        tfds_features.features_json(SPEC).replace(b'"3"', b'"-3"'),
        tfds_features.features_json(SPEC).replace(b'"2"', b'"2", "2"'),
        json.dumps({"featuresDict": {"features": {"steps": [1]}}}).encode(),
    ],
)
def test_malformed_features_file_is_refused_by_name(raw: bytes) -> None:
    with pytest.raises(DatasetFolderError, match=r"here: expected the fields.*curate"):
        tfds_features.read_spec(raw, "here")
