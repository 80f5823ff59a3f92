import contextlib
import errno
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from base import durable_file
from base.errors import ContinuonError, DiskError
from base.testing import special_files
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
    _add(tmp_path, 0)
    info = (tmp_path / "dataset_info.json").read_bytes()
    write = durable_file.write

    def interrupted(path: Path, data: bytes, mode: int, group: int | None) -> None:
        if path.name == "dataset_info.json":
            raise KeyboardInterrupt
        write(path, data, mode, group)

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


def test_removed_episodes_leave_their_positions_to_the_last_ones(
    tmp_path: Path,
) -> None:
    paths = [_add(tmp_path, number) for number in range(6)]
    folder = TfdsDirectory(tmp_path, "episodes", _SPEC)
    gone = {paths[number].name for number in (0, 3, 5)}
    folder.remove(gone | {"absent.tfrecord"})
    assert folder.episode_files == tuple(paths[n].name for n in (4, 1, 2))
    again = TfdsDirectory(tmp_path, "episodes", _SPEC)
    assert again.episode_files == folder.episode_files
    assert _lengths(tmp_path) == ["1", "1", "1"]
    links = sorted((tmp_path / "train").iterdir())
    assert [link.resolve() for link in links] == [paths[n] for n in (4, 1, 2)]
    assert not any(
        name.removesuffix(".tfrecord") in str(_tree(tmp_path)) for name in gone
    )
    folder.remove(folder.episode_files)
    assert _lengths(tmp_path) == []
    path = _add(tmp_path, 7)
    assert TfdsDirectory(tmp_path, "episodes", _SPEC).episode_files == (path.name,)


def test_interrupted_removal_is_finished_when_the_folder_is_next_opened(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = [_add(tmp_path, number) for number in range(4)]
    folder = TfdsDirectory(tmp_path, "episodes", _SPEC)

    def refuse(path: Path, *_: object) -> None:
        raise DiskError(path, "to write", "No space left on device")

    monkeypatch.setattr(durable_file, "write", refuse)
    with pytest.raises(DiskError, match="No space"):
        folder.remove([paths[1].name])
    monkeypatch.undo()
    assert not paths[1].exists()  # its room is free
    again = TfdsDirectory(tmp_path, "episodes", _SPEC)
    assert again.episode_files == tuple(paths[n].name for n in (0, 3, 2))
    assert _lengths(tmp_path) == ["1", "1", "1"]
    assert len(list((tmp_path / "train").iterdir())) == 3


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


@pytest.mark.parametrize("content", [b"{}", b"[]", b'{"name":"episodes","splits":[]}'])
def test_record_of_another_program_is_refused_and_stays(
    tmp_path: Path, content: bytes
) -> None:
    _add(tmp_path, 0)
    (tmp_path / "dataset_info.json").write_bytes(content)
    before = _tree(tmp_path)
    with pytest.raises(DatasetFolderError, match=r"dataset_info\.json"):
        TfdsDirectory(tmp_path, "episodes", _SPEC)
    assert _tree(tmp_path) == before


@pytest.mark.parametrize("name", ["features.json", "dataset_info.json"])
def test_file_without_an_end_is_made_anew(tmp_path: Path, name: str) -> None:
    _add(tmp_path, 0)
    before = _tree(tmp_path)
    with (tmp_path / name).open("r+b") as file:
        file.truncate(1 << 40)  # a hole, which takes no room on the disk
    with special_files.at_once():
        TfdsDirectory(tmp_path, "episodes", _SPEC)
    assert _tree(tmp_path) == before


@pytest.mark.parametrize("content", [b"", bytes(100), b"half a reco"])
def test_damaged_record_without_any_episode_is_refused_and_stays(
    tmp_path: Path, content: bytes
) -> None:
    (tmp_path / "dataset_info.json").write_bytes(content)
    with pytest.raises(DatasetFolderError, match=r"dataset_info\.json"):
        TfdsDirectory(tmp_path, "episodes", _SPEC)
    assert [path.name for path in tmp_path.iterdir()] == ["dataset_info.json"]


def _tree(folder: Path) -> dict[str, object]:
    """Every file's content and every link's target, by path."""
    return {
        path.relative_to(folder).as_posix(): (
            path.readlink() if path.is_symlink() else path.read_bytes()
        )
        for path in sorted(folder.rglob("*"))
        if path.is_symlink() or path.is_file()
    }


def _copy_without_links(folder: Path) -> None:
    """As `cp -rL`, a cloud drive or a stick with exFAT does."""
    for shard in (folder / "train").iterdir():
        raw = shard.read_bytes()
        shard.unlink()
        shard.write_bytes(raw)


def _remove_links(folder: Path) -> None:
    shutil.rmtree(folder / "train")


def _remove_one_link(folder: Path) -> None:
    (folder / "train" / "shard-00001.tfrecord").unlink()


def _make_links_absolute(folder: Path) -> None:
    for shard in (folder / "train").iterdir():
        target = shard.resolve()
        shard.unlink()
        shard.symlink_to(target)


def _make_links_text(folder: Path) -> None:
    """As a checkout without links does: the text of a link is the file's content."""
    for shard in (folder / "train").iterdir():
        text = str(shard.readlink())
        shard.unlink()
        shard.write_text(text)


def _move_episodes_among_the_links(folder: Path) -> None:
    for shard in (folder / "train").iterdir():
        shard.resolve().rename(shard)


def _rename_links(folder: Path) -> None:
    for shard in (folder / "train").iterdir():
        shard.rename(shard.with_name(shard.name.upper()))


def _overwrite(name: str, content: bytes | None) -> Callable[[Path], None]:
    def overwrite(folder: Path) -> None:
        (folder / name).unlink()
        if content is not None:
            (folder / name).write_bytes(content)

    return overwrite


DAMAGES = {
    "copied without links": _copy_without_links,
    "without its links": _remove_links,
    "without one link": _remove_one_link,
    "with absolute links": _make_links_absolute,
    "with the text of its links": _make_links_text,
    "with episodes instead of links": _move_episodes_among_the_links,
    "with renamed links": _rename_links,
    "without its fields": _overwrite("features.json", None),
    "with empty fields": _overwrite("features.json", b""),
    "with cut fields": _overwrite("features.json", b'{"featuresDict": {"fea'),
    "without its record": _overwrite("dataset_info.json", None),
    "with an empty record": _overwrite("dataset_info.json", b""),
    "with a cut record": _overwrite("dataset_info.json", b'{"name": "epis'),
    "with a record of zeros": _overwrite("dataset_info.json", bytes(300)),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_folder_is_made_whole_and_takes_more_episodes(
    tmp_path: Path, damage: str
) -> None:
    whole, folder = tmp_path / "whole", tmp_path / "folder"
    for path in (whole, folder):
        path.mkdir()
        for number in range(3):
            _add(path, number)
    DAMAGES[damage](folder)
    _add(folder, 3)
    _add(whole, 3)
    kept = {name: x for name, x in _tree(folder).items() if name in _tree(whole)}
    if damage == "without one link":  # the episode has lost its position
        assert kept.keys() == _tree(whole).keys()
        assert {str(x) for x in kept.values()} == set(map(str, _tree(whole).values()))
    else:
        assert kept == _tree(whole)
    aside = TfdsDirectory(folder, "episodes", _SPEC).set_aside
    assert aside == ()
    others = _tree(folder).keys() - kept.keys()
    if damage == "with the text of its links":
        assert len(others) == 3
        assert all(name.endswith(".damaged") for name in others)
    elif damage == "with renamed links":
        assert all(name.isupper() or "SHARD" in name for name in others)
    else:
        assert not others


@pytest.mark.parametrize("damage", ["copied without links", "without its links"])
@pytest.mark.parametrize("calls", range(9))
def test_repair_that_a_crash_cut_short_is_finished_by_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, damage: str, calls: int
) -> None:
    whole, folder = tmp_path / "whole", tmp_path / "folder"
    for path in (whole, folder):
        path.mkdir()
        for number in range(3):
            _add(path, number)
    DAMAGES[damage](folder)
    left = iter([True] * calls)
    whole_fsync = durable_file.fsync_folder

    def fsync_or_die(path: Path) -> None:
        if not next(left, False):
            raise KeyboardInterrupt
        whole_fsync(path)

    monkeypatch.setattr(durable_file, "fsync_folder", fsync_or_die)
    with contextlib.suppress(KeyboardInterrupt):
        TfdsDirectory(folder, "episodes", _SPEC)
    monkeypatch.undo()
    TfdsDirectory(folder, "episodes", _SPEC)
    assert _tree(folder) == _tree(whole)


def test_removed_episodes_are_left_out_and_the_others_stay_in_order(
    tmp_path: Path,
) -> None:
    paths = [_add(tmp_path, number) for number in (2, 0, 3, 1)]
    paths[1].unlink()
    paths[3].rename(tmp_path / "renamed.tfrecord")
    _add(tmp_path, 4)
    found = TfdsDirectory(tmp_path, "episodes", _SPEC).episode_files
    ids = [episodes.metadata(number).episode_id for number in (2, 3, 4)]
    assert found == tuple(f"{name}.tfrecord" for name in ids)
    assert _lengths(tmp_path) == ["1", "1", "1"]
    assert len(list((tmp_path / "train").iterdir())) == 3
    for path in tmp_path.glob("*.tfrecord"):
        path.unlink()
    _add(tmp_path, 5)
    assert _lengths(tmp_path) == ["1"]


def test_file_among_the_links_that_is_no_copy_is_set_aside_with_its_bytes(
    tmp_path: Path,
) -> None:
    _add(tmp_path, 0)
    shard = tmp_path / "train" / "shard-00000.tfrecord"
    shard.unlink()
    other = episodes.frame_episode(episodes.episode(_SPEC, 9, 0))
    shard.write_bytes(other)
    opened = TfdsDirectory(tmp_path, "episodes", _SPEC)
    (aside,) = opened.set_aside
    assert aside.read_bytes() == other
    assert shard.is_symlink()
    assert reader.read_episode(shard).num_steps == 3


@pytest.mark.parametrize("code", [errno.EPERM, errno.EOPNOTSUPP])
def test_file_system_without_links_gets_copies_which_are_written_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(os, "symlink", refuse)
    paths = [_add(tmp_path, number) for number in range(3)]
    shards = sorted((tmp_path / "train").iterdir())
    assert [x.read_bytes() for x in shards] == [x.read_bytes() for x in paths]
    assert not any(shard.is_symlink() for shard in shards)
    before = [shard.stat().st_ino for shard in shards]
    opened = TfdsDirectory(tmp_path, "episodes", _SPEC)
    assert opened.episode_files == tuple(path.name for path in paths)
    assert opened.set_aside == ()
    assert [shard.stat().st_ino for shard in shards] == before
    assert _lengths(tmp_path) == ["1", "1", "1"]


def test_link_that_the_disk_refuses_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(os, "symlink", refuse)
    with pytest.raises(DiskError, match="to link the episode, got Permission denied"):
        _add(tmp_path, 0)


def test_shard_at_another_path_is_refused_and_nothing_is_written(
    tmp_path: Path,
) -> None:
    shard = Shard("train/part-0.tfrecord", "ab" * 32, 1, 1, 1)
    with pytest.raises(ContinuonError, match="train/shard-00000"):
        tfds_directory.write_info(tmp_path, "reach", _SPEC, {"train": [shard]})
    assert list(tmp_path.iterdir()) == []


_WATCHED = EpisodeSpec(3, 2, interventions=True)


def _add_one(folder: Path, spec: EpisodeSpec, number: int) -> None:
    framed = episodes.frame_episode(episodes.episode(spec, 3, number))
    TfdsDirectory(folder, "episodes", _SPEC).add(framed, b"{}")


def _listed(folder: Path) -> EpisodeSpec:
    return tfds_features.read_spec((folder / "features.json").read_bytes(), "here")


def test_who_acted_is_listed_as_long_as_every_episode_says_so(tmp_path: Path) -> None:
    _add_one(tmp_path, _WATCHED, 0)
    assert _listed(tmp_path) == _WATCHED
    _add_one(tmp_path, _WATCHED, 1)
    assert _listed(tmp_path) == _WATCHED
    _add_one(tmp_path, _SPEC, 2)
    assert _listed(tmp_path) == _SPEC
    _add_one(tmp_path, _WATCHED, 3)
    assert _listed(tmp_path) == _SPEC
    assert _lengths(tmp_path) == ["1"] * 4
    paths = sorted(tmp_path.glob("*.tfrecord"))
    says = [reader.read_episode(path).spec.interventions for path in paths]
    assert says == [True, True, False, True]


def test_folder_without_its_list_of_fields_is_repaired_with_what_all_have(
    tmp_path: Path,
) -> None:
    for number, spec in enumerate((_WATCHED, _SPEC, _WATCHED)):
        _add_one(tmp_path, spec, number)
    (tmp_path / "features.json").unlink()
    (tmp_path / "dataset_info.json").unlink()
    TfdsDirectory(tmp_path, "episodes", _SPEC)
    assert _listed(tmp_path) == _SPEC
    assert _lengths(tmp_path) == ["1"] * 3


SPEC = EpisodeSpec(3, 2, image=True, audio_size=5)


@pytest.mark.parametrize(
    "spec",
    [
        SPEC,
        EpisodeSpec(39, 4),
        EpisodeSpec(1, 1, image=True),
        EpisodeSpec(1, 1, False, 2),
        EpisodeSpec(3, 2, interventions=True),
        EpisodeSpec(3, 2, image=True, cameras=("front", "left_wrist_2")),
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
