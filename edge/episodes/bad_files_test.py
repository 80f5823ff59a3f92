"""Damaged and foreign files in a recording's folders keep no robot from driving."""

import errno
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from base import durable_file
from base.errors import DiskError
from edge.episodes import sharing
from edge.episodes.episode_id import Held
from edge.testing import processes
from edge.testing.recordings import (
    NAME,
    OTHER,
    Folders,
    begin,
    open_folders,
    read_sidecar,
)
from rlds import reader


@pytest.fixture
def folders(tmp_path: Path) -> Folders:
    return tmp_path / "out", tmp_path / "private"


RAW = f"{OTHER}.tfrecord"
APPLE_DOUBLE = bytes.fromhex("00051607000200004d6163204f53205820202020") + bytes(4076)


def put(name: str, content: bytes) -> Callable[[Path], None]:
    def put_it(folder: Path) -> None:
        (folder / name).write_bytes(content)

    return put_it


def put_cut_episode(folder: Path) -> None:
    episode = next(folder.glob("*.tfrecord"))
    (folder / RAW).write_bytes(episode.read_bytes()[:-100])


def put_oversized_episode(folder: Path) -> None:
    with (folder / RAW).open("wb") as file:
        file.truncate(reader.LIMIT_BYTES + 1)


def put_folder(name: str) -> Callable[[Path], None]:
    def put_it(folder: Path) -> None:
        (folder / name).mkdir()
        (folder / name / "inside").touch()

    return put_it


def put_pipe(name: str) -> Callable[[Path], None]:
    return lambda folder: os.mkfifo(folder / name)


def put_link(name: str, target: str) -> Callable[[Path], None]:
    return lambda folder: (folder / name).symlink_to(target)


BAD_FILES = {
    "an episode that was cut": (put_cut_episode, RAW),
    "an episode above the limit": (put_oversized_episode, RAW),
    "an empty episode": (put(RAW, b""), RAW),
    "a file of a Mac": (put("._x.tfrecord", APPLE_DOUBLE), "._x.tfrecord"),
    "a name with an escape": (put("\x1b[31m.tfrecord", b"x"), "\x1b[31m.tfrecord"),
    "a folder": (put_folder(RAW), RAW),
    "a pipe": (put_pipe(RAW), RAW),
    "a link to nowhere": (put_link(RAW, "nowhere"), RAW),
    "a link to itself": (put_link(RAW, RAW), RAW),
    "a link to an episode": (put_link(RAW, f"{NAME}.tfrecord"), RAW),
    "a journal of noise": (put(f"{OTHER}.journal", bytes(999)), f"{OTHER}.journal"),
    "a journal of a Mac": (put("._x.journal", APPLE_DOUBLE), "._x.journal"),
    "a folder as journal": (put_folder(f"{OTHER}.journal"), f"{OTHER}.journal"),
    "a pipe as journal": (put_pipe(f"{OTHER}.journal"), f"{OTHER}.journal"),
    "a loop as journal": (
        put_link(f"{OTHER}.journal", f"{OTHER}.journal"),
        f"{OTHER}.journal",
    ),
    "a folder as terms": (put_folder(f"{OTHER}.terms.json"), f"{OTHER}.terms.json"),
    "a pipe as terms": (put_pipe(f"{OTHER}.terms.json"), f"{OTHER}.terms.json"),
}


@pytest.mark.parametrize("put_bad", [put, lambda name, _: put_pipe(name)])
def test_many_bad_files_are_set_aside_some_in_each_recovery_and_none_is_left(
    folders: Folders, put_bad: Callable[[str, bytes], Callable[[Path], None]]
) -> None:
    with open_folders(folders) as recording:
        begin(recording).close(success=True)[0]
    for number in range(2 * sharing.MOST_ASIDE + 1):
        put_bad(f"{number:04d}.tfrecord", b"x")(folders[1])
    told: list[str] = []
    with open_folders(folders, told=told) as recording:
        for aside in (1, 2):
            assert list(recording.recover()) == []
            assert recording.has_more
            assert len(told) == aside * sharing.MOST_ASIDE
        assert [one.episode_id for one in recording.recover()] == [NAME]
        assert not recording.has_more
    assert len(told) == 2 * sharing.MOST_ASIDE + 1
    assert all(path.suffix == ".damaged" for path in folders[1].iterdir())


def test_many_bad_files_hide_no_interrupted_episode_from_a_program_that_begins(
    folders: Folders,
) -> None:
    with open_folders(folders) as recording:
        begin(recording).leave()
    for number in range(2 * sharing.MOST_ASIDE + 1):
        put(f"{number:04d}.tfrecord", b"x")(folders[1])
    with open_folders(folders, told=[]) as recording:
        assert [one.episode_id for one in recording.recover_all()] == [NAME]
    assert all(path.suffix == ".damaged" for path in folders[1].iterdir())


def test_bad_files_that_cannot_be_set_aside_keep_back_no_episode(
    folders: Folders, monkeypatch: pytest.MonkeyPatch
) -> None:
    with open_folders(folders) as recording:
        begin(recording).leave()
    for number in range(sharing.MOST_ASIDE):
        put_pipe(f"{number:04d}.tfrecord")(folders[1])

    def refuse(path: Path) -> Path:
        raise DiskError(path, "to set it aside", "Operation not permitted")

    monkeypatch.setattr(durable_file, "set_aside", refuse)
    with open_folders(folders, told=[]) as recording:
        assert [one.episode_id for one in recording.recover_all()] == [NAME]


@pytest.mark.parametrize("kind", BAD_FILES)
def test_bad_file_in_the_private_folder_is_set_aside_and_the_others_are_shared(
    folders: Folders, kind: str
) -> None:
    with open_folders(folders) as recording:
        begin(recording).close(success=True)[0]
    put_bad, name = BAD_FILES[kind]
    put_bad(folders[1])
    told: list[str] = []
    with open_folders(folders, told=told) as recording:
        assert [one.episode_id for one in recording.recover()] == [NAME]
        (line,) = told
        assert line.isprintable()
        assert ".damaged" in line or ".journal" in line
        assert [path.name for path in folders[1].iterdir()] == [f"{name}.damaged"]
        assert list(recording.recover()) == []
        assert told == [line]
        whole = begin(recording, name="019b7892-1c00-7aaa-8000-000000000002")
        recording.share(whole.close(success=True)[0])


def test_recording_goes_on_beside_a_shared_episode_that_was_set_aside(
    folders: Folders,
) -> None:
    third = "019b7892-1c00-7aaa-8000-000000000003"
    told: list[str] = []
    with open_folders(folders, told=told) as recording:
        for name in (NAME, OTHER):
            recording.share(begin(recording, name=name).close(success=True)[0])
        (folders[0] / f"{NAME}.tfrecord").write_bytes(b"")
        assert recording.look_up(NAME) is Held.NOTHING
        recording.share(begin(recording, name=third).close(success=True)[0])
    assert len(told) == 1
    links = sorted((folders[0] / "train").iterdir())
    names = [link.readlink().name for link in links]
    assert names == [f"{OTHER}.tfrecord", f"{third}.tfrecord"]


def test_bad_file_that_cannot_be_set_aside_is_told_of_and_left(
    folders: Folders, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(path: Path) -> Path:
        error = OSError(errno.ENOSPC, "No space left on device")
        raise durable_file.disk_error(path, "to set it aside", error)

    with open_folders(folders):
        pass
    (folders[1] / RAW).write_bytes(b"no episode")
    (folders[1] / f"{OTHER}.journal").write_bytes(bytes(999))
    monkeypatch.setattr(durable_file, "set_aside", refuse)
    before, told = processes.read_tree(folders[1]), list[str]()
    with open_folders(folders, told=told) as recording:
        assert list(recording.recover()) == []
        recording.share(begin(recording).close(success=True)[0])
    assert len(told) == 2
    assert all("No space left on device" in line for line in told)
    assert processes.read_tree(folders[1]) == before


def test_episode_whose_terms_are_damaged_stays_with_them_and_the_robot_drives(
    folders: Folders,
) -> None:
    with open_folders(folders) as recording:
        begin(recording).close(success=True)[0]
    terms = folders[1] / f"{NAME}.terms.json"
    terms.write_bytes(b"")
    before = processes.read_tree(folders[1])
    for _ in range(2):
        told: list[str] = []
        with open_folders(folders, told=told) as recording:
            assert list(recording.recover()) == []
        (line,) = told
        assert "remove this file to share it without consent" in line
        assert processes.read_tree(folders[1]) == before
    terms.unlink()
    with open_folders(folders) as recording:
        assert len(list(recording.recover())) == 1
    assert not read_sidecar(folders).consent.granted


def test_episode_that_cannot_be_redacted_keeps_no_robot_from_driving(
    folders: Folders,
) -> None:
    with open_folders(folders) as recording:
        begin(recording, location="1 Main Street").close(success=True)[0]
    before, told = processes.read_tree(folders[1]), list[str]()
    with open_folders(folders, told=told) as recording:
        assert list(recording.recover()) == []
    assert len(told) == 1
    assert "Main Street" not in told[0]
    assert processes.read_tree(folders[1]) == before


@pytest.mark.parametrize("damage", ["cut", "empty", "absent", "folder"])
def test_shared_episode_that_was_damaged_is_set_aside_and_shared_again(
    folders: Folders, damage: str
) -> None:
    with open_folders(folders) as recording:
        closed = begin(recording).close(success=True)[0]
        raw = closed.path.read_bytes()
        recording.share(closed)
    whole = processes.read_tree(folders[0])
    path = folders[0] / f"{NAME}.tfrecord"
    content = path.read_bytes()
    path.unlink()
    if damage == "folder":
        path.mkdir()
    elif damage != "absent":
        path.write_bytes(content[:-9] if damage == "cut" else b"")
    closed.path.write_bytes(raw)
    told: list[str] = []
    with open_folders(folders, told=told) as recording:
        assert [one.num_steps for one in recording.recover()] == [3]
        assert recording.look_up(NAME) is Held.WHOLE
    assert len(told) == 1
    after = processes.read_tree(folders[0])
    aside = {name for name in after if name.endswith(".damaged")}
    assert f"{NAME}.sidecar.json.damaged" in aside
    assert len(list(folders[0].glob("*.damaged"))) == (1 if damage == "absent" else 2)
    shared = {name: raw for name, raw in after.items() if name not in aside}
    # The terms went with the raw episode, so it is shared without consent now.
    shared[f"{NAME}.sidecar.json"] = whole[f"{NAME}.sidecar.json"]
    assert shared == whole
