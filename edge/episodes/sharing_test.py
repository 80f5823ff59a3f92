"""What a crash at any point of recording or sharing an episode leaves behind."""

import dataclasses
import errno
import os
import re
import signal
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from base import durable_file
from base.errors import DiskError
from edge.control.loop import ControlStep
from edge.episodes import robot_key, sharing
from edge.episodes.episode_id import Held
from edge.episodes.recorder import EpisodeRecorder
from edge.episodes.robot_key import RobotKey
from edge.episodes.sharing import Provenance, Recording, open_recording
from edge.errors import (
    KeyFileError,
    OutputFolderError,
    RedactionError,
)
from edge.robots.clock import SimulatedClock
from edge.robots.robot import Observation
from edge.robots.simulated_point import SPEC
from edge.runtime_version import RUNTIME_VERSION
from edge.testing import processes, simulated_episodes
from rlds import reader, sidecar, tfds_directory
from rlds.errors import EpisodeExistsError, FieldFormError
from rlds.sidecar import Consent, Safety, Sidecar

NAME = "019b7892-1c00-7d15-8162-71f76a1f35ef"
ROBOT_ID = simulated_episodes.ROBOT_ID

Folders = tuple[Path, Path]
"""The shared folder and the private one."""


@pytest.fixture
def folders(tmp_path: Path) -> Folders:
    return tmp_path / "out", tmp_path / "private"


def open_folders(
    folders: Folders,
    consent: bool = True,
    robot_id: str = ROBOT_ID,
    key: RobotKey | None = None,
    told: list[str] | None = None,
) -> AbstractContextManager[Recording]:
    """Opens the folders; a test that does not take what is told expects nothing."""
    said = sharing.operator_consent(consent, simulated_episodes.START_UNIX_NS)
    output, private = folders
    key = key or robot_key.derive_simulated(robot_id)
    tell = pytest.fail if told is None else told.append
    return open_recording(output, private, key, robot_id, said, tell)


def step(number: int, is_last: bool = False, violation: bool = False) -> ControlStep:
    return ControlStep(
        observation=Observation(np.full(2, number, np.float32), number),
        action=np.zeros(1, np.float32),
        proposed_action=np.zeros(1, np.float32),
        reward=0.0,
        discount=1.0,
        is_first=number == 0,
        is_last=is_last,
        is_terminal=False,
        deadline_missed=False,
        safety_violation=violation,
    )


def begin(
    recording: Recording, steps: int = 3, location: str = "", name: str = NAME
) -> EpisodeRecorder:
    provenance = Provenance(actor="expert", location=location)
    recorder = recording.begin(SPEC, name, simulated_episodes.START_UNIX_NS, provenance)
    for number in range(steps):
        recorder.append(step(number, is_last=number == steps - 1))
    return recorder


def test_shared_folder_is_empty_until_the_episode_is_shared(
    folders: Folders,
) -> None:
    with open_folders(folders) as recording:
        closed = begin(recording).close(success=True)[0]
        assert recording.look_up(NAME) is Held.NOTHING
        assert list(folders[0].iterdir()) == []
        shared = recording.share(closed)
        assert recording.look_up(NAME) is Held.WHOLE
    assert (shared.episode_id, shared.num_steps) == (NAME, 3)
    assert reader.read_episode(shared.path).metadata.success
    assert list(folders[1].iterdir()) == []


def kill_while_recording(
    folders: Folders, steps: int = 4, consent: bool = True
) -> None:
    """Begins an episode in a child process and kills it before the end."""
    child = os.fork()
    if child == 0:
        with open_folders(folders, consent) as recording:
            begin(recording, steps=steps)
            os.kill(os.getpid(), signal.SIGKILL)
    assert os.waitpid(child, 0)[1] == signal.SIGKILL


def read_sidecar(folders: Folders) -> Sidecar:
    raw = (folders[0] / f"{NAME}{tfds_directory.SIDECAR_SUFFIX}").read_bytes()
    return sidecar.parse(raw)


def test_journal_that_a_crash_left_is_shared_as_recovered(
    folders: Folders,
) -> None:
    kill_while_recording(folders)
    left = {path.name for path in folders[1].iterdir()}
    assert left == {f"{NAME}.journal", f"{NAME}.terms.json"}
    with open_folders(folders) as recording:
        (shared,) = recording.recover()
        assert recording.look_up(NAME) is Held.RECOVERED
    assert shared.num_steps == 4
    assert list(folders[1].iterdir()) == []


@pytest.mark.parametrize("granted", [True, False])
def test_recovered_episode_keeps_the_consent_that_it_was_recorded_under(
    folders: Folders, granted: bool
) -> None:
    kill_while_recording(folders, consent=granted)
    with open_folders(folders, consent=not granted) as recording:
        assert len(list(recording.recover())) == 1
    assert read_sidecar(folders).consent == Consent(
        granted, "operator", "2026-01-01T08:00:00Z"
    )


def test_recovered_episode_without_terms_is_without_consent(
    folders: Folders,
) -> None:
    kill_while_recording(folders)
    (folders[1] / f"{NAME}.terms.json").unlink()
    with open_folders(folders) as recording:
        assert len(list(recording.recover())) == 1
    assert read_sidecar(folders).consent == Consent(
        False, "unknown", "2026-01-01T08:00:00Z"
    )


OTHER_KEY = RobotKey(robot_key.derive_simulated("another").signing, bytes(32))


@pytest.mark.parametrize(
    ("other", "match"),
    [
        (("point-2", None), "robot 'point-2' with key .* robot 'point-1'"),
        (
            (ROBOT_ID, OTHER_KEY),
            f"with key {OTHER_KEY.keyid[:12]}, got one .* --key_file",
        ),
    ],
)
def test_episode_of_another_robot_is_told_of_and_left_for_that_robot(
    folders: Folders, other: tuple[str, RobotKey | None], match: str
) -> None:
    kill_while_recording(folders)
    terms = folders[1] / f"{NAME}.terms.json"
    before = terms.read_bytes()
    told: list[str] = []
    with open_folders(folders, True, *other, told=told) as recording:
        assert list(recording.recover()) == []
    (line,) = told
    assert re.search(match, line) and "\n" not in line
    assert terms.read_bytes() == before
    assert list(folders[0].iterdir()) == []
    with open_folders(folders) as recording:
        assert len(list(recording.recover())) == 1
    key = robot_key.derive_simulated(ROBOT_ID)
    assert read_sidecar(folders).robot_hash == key.robot_hash(ROBOT_ID)
    assert read_sidecar(folders).keyid == key.keyid


def test_episode_of_another_robot_without_terms_stays_private(
    folders: Folders,
) -> None:
    kill_while_recording(folders)
    (folders[1] / f"{NAME}.terms.json").unlink()
    told: list[str] = []
    with open_folders(folders, robot_id="point-2", told=told) as recording:
        assert list(recording.recover()) == []
    assert len(told) == 1 and "robot" in told[0]
    assert list(folders[0].iterdir()) == []
    with open_folders(folders) as recording:
        assert [one.num_steps for one in recording.recover()] == [4]


def test_crash_before_the_first_step_leaves_nothing_to_recover(
    folders: Folders,
) -> None:
    kill_while_recording(folders, steps=0)
    with open_folders(folders) as recording:
        assert list(recording.recover()) == []
    assert list(folders[0].iterdir()) == list(folders[1].iterdir()) == []


def test_second_episode_of_the_same_name_leaves_the_terms_of_the_first(
    folders: Folders,
) -> None:
    kill_while_recording(folders, consent=False)
    before = processes.read_tree(folders[1])
    with (
        open_folders(folders, consent=True) as recording,
        pytest.raises(EpisodeExistsError),
    ):
        begin(recording)
    assert processes.read_tree(folders[1]) == before


@pytest.mark.parametrize("writes", range(5))
def test_sharing_that_a_crash_cut_short_is_finished_by_the_next_run(
    folders: Folders, monkeypatch: pytest.MonkeyPatch, writes: int
) -> None:
    """Sharing makes 5 durable writes: key, episode, features, info, sidecar."""
    with open_folders(folders) as recording:
        closed = begin(recording).close(success=True)[0]
        left = iter([True] * writes)
        whole_write = durable_file.write

        def write_or_die(
            path: Path, data: bytes, mode: int = durable_file.SHARED
        ) -> None:
            if not next(left, False):
                raise DiskError(path, "to write", "a crash")
            whole_write(path, data, mode)

        monkeypatch.setattr(durable_file, "write", write_or_die)
        with pytest.raises(DiskError):
            recording.share(closed)
        monkeypatch.undo()
    assert closed.path.exists()
    with open_folders(folders) as recording:
        (shared,) = recording.recover()
        assert recording.look_up(NAME) is Held.WHOLE
    whole = (folders[0].with_name("whole"), folders[1].with_name("whole.private"))
    with open_folders(whole) as recording:
        recording.share(begin(recording).close(success=True)[0])
    assert shared.num_steps == 3
    assert processes.read_tree(folders[0]) == processes.read_tree(whole[0])


def test_raw_episode_that_is_already_shared_is_removed(
    folders: Folders,
) -> None:
    with open_folders(folders) as recording:
        closed = begin(recording).close(success=True)[0]
        raw = closed.path.read_bytes()
        recording.share(closed)
    before = processes.read_tree(folders[0])
    closed.path.write_bytes(raw)
    with open_folders(folders) as recording:
        assert len(list(recording.recover())) == 1
    assert processes.read_tree(folders[0]) == before
    assert list(folders[1].iterdir()) == []


def test_episode_that_cannot_be_redacted_stays_private(
    folders: Folders,
) -> None:
    with open_folders(folders) as recording:
        closed = begin(recording, location="1 Main Street").close(success=True)[0]
        with pytest.raises(RedactionError):
            recording.share(closed)
    assert closed.path.exists()
    assert list(folders[0].iterdir()) == []


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"task": "reach\x1b[2J"}, "task"),
        ({"robot_model": "Ada's arm"}, "robot_model"),
        ({"environment_id": "/home/ada/kitchen"}, "environment_id"),
    ],
)
def test_robot_whose_episodes_could_not_be_shared_does_not_begin_one(
    folders: Folders, change: dict[str, Any], field: str
) -> None:
    named = dataclasses.replace(SPEC, **change)
    provenance = Provenance(actor="expert")
    with open_folders(folders) as recording:
        with pytest.raises(FieldFormError, match=f"episode field {field}"):
            recording.begin(named, NAME, simulated_episodes.START_UNIX_NS, provenance)
        assert list(folders[0].iterdir()) == list(folders[1].iterdir()) == []


def test_shared_folder_holds_the_public_key_that_checks_its_sidecars(
    folders: Folders,
) -> None:
    with open_folders(folders) as recording:
        recording.share(begin(recording).close(success=True)[0])
    found = read_sidecar(folders)
    key = robot_key.read_public(folders[0], found.keyid)
    raw = (folders[0] / f"{NAME}{tfds_directory.SIDECAR_SUFFIX}").read_bytes()
    assert sidecar.verify(raw, {found.keyid: key}) == found
    with pytest.raises(KeyFileError, match="record one more episode"):
        robot_key.read_public(folders[0], "ab" * 32)


def test_safety_violation_escalates_an_episode_without_consent(
    folders: Folders,
) -> None:
    with open_folders(folders, consent=False) as recording:
        recorder = recording.begin(
            SPEC, NAME, simulated_episodes.START_UNIX_NS, Provenance(actor="expert")
        )
        recorder.append(step(0, is_last=True, violation=True))
        recording.share(recorder.close(success=False)[0])
    assert read_sidecar(folders).safety == Safety(violations=1, escalated=True)
    assert not read_sidecar(folders).consent.granted


@pytest.mark.parametrize("common", [0, 1])
def test_second_recording_in_either_folder_is_refused(
    folders: Folders, common: int, tmp_path: Path
) -> None:
    fresh = (tmp_path / "other", tmp_path / "other.private")
    other = (folders[0], fresh[1]) if common == 0 else (fresh[0], folders[1])
    with (
        open_folders(folders),
        pytest.raises(OutputFolderError, match="another process that is writing"),
        open_folders(other),
    ):
        pass
    with open_folders(folders):
        pass


def test_shared_episode_holds_only_the_hour_of_its_start(
    folders: Folders,
) -> None:
    clock = SimulatedClock(simulated_episodes.START_UNIX_NS + 61 * 10**9)
    with open_folders(folders) as recording:
        recorder = recording.begin(
            SPEC, NAME, clock.unix_ns(), Provenance(actor="expert")
        )
        recorder.append(step(0, is_last=True))
        shared = recording.share(recorder.close(success=False)[0])
    metadata = reader.read_episode(shared.path).metadata
    assert metadata.start_time == "2026-01-01T08:00:00Z"
    assert metadata.software_version == RUNTIME_VERSION


OTHER = "019b7892-1c00-7aaa-8000-000000000001"
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


@pytest.mark.parametrize(("simulated", "tags"), [(True, {"simulated"}), (False, set())])
def test_tag_says_what_the_robot_is_whatever_the_tags_say(
    folders: Folders, simulated: bool, tags: set[str]
) -> None:
    robot = dataclasses.replace(SPEC, simulated=simulated)
    with open_folders(folders) as recording:
        for name, given in ((NAME, ()), (OTHER, ("simulated", "demonstration"))):
            recorder = recording.begin(
                robot,
                name,
                simulated_episodes.START_UNIX_NS,
                Provenance("human", tags=given),
            )
            recorder.append(step(0, is_last=True))
            recording.share(recorder.close(success=None)[0])
    found = [
        reader.read_episode(path).metadata.tags for path in folders[0].glob("*.tf*")
    ]
    assert {frozenset(one) - {"demonstration"} for one in found} == {frozenset(tags)}
