"""What a crash between any two steps of sharing an episode leaves behind."""

import os
import signal
from pathlib import Path

import numpy as np
import pytest

from base import durable_file
from base.errors import DiskError
from edge.control.loop import ControlStep
from edge.episodes import robot_key, sharing
from edge.episodes.recorder import EpisodeRecorder
from edge.episodes.robot_key import RobotKey
from edge.episodes.sharing import Held, Provenance, Recording, opened
from edge.errors import OtherRobotError, OutputFolderError, RedactionError
from edge.robots.clock import SimulatedClock
from edge.robots.robot import Observation
from edge.robots.simulated_point import SPEC
from edge.testing import processes, shared_episodes
from rlds import reader, sidecar, tfds_directory
from rlds.errors import EpisodeExistsError
from rlds.sidecar import Consent, Safety, Sidecar

NAME = "019b7892-1c00-7d15-8162-71f76a1f35ef"
ROBOT_ID = shared_episodes.ROBOT_ID


@pytest.fixture
def folders(tmp_path: Path) -> tuple[Path, ...]:
    return tmp_path / "out", tmp_path / "private"


def open_folders(
    folders: tuple[Path, ...],
    consent: bool = True,
    robot_id: str = ROBOT_ID,
    key: RobotKey | None = None,
) -> object:
    said = sharing.operator_consent(consent, shared_episodes.START_UNIX_NS)
    return opened(*folders, key or robot_key.simulated(robot_id), robot_id, said)


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
    folders_open: Recording, steps: int = 3, **provenance: str
) -> EpisodeRecorder | None:
    recorder = folders_open.begin(
        SPEC,
        NAME,
        shared_episodes.START_UNIX_NS,
        Provenance(operator="expert", **provenance),
    )
    for number in range(steps):
        recorder.append(step(number, is_last=number == steps - 1))
    return recorder


def test_shared_folder_holds_nothing_until_the_episode_is_published(
    folders: tuple[Path, ...],
) -> None:
    with open_folders(folders) as recording_open:
        closed = begin(recording_open).close(success=True)
        assert recording_open.held(NAME) is Held.NOTHING
        assert list(folders[0].iterdir()) == []
        published = recording_open.publish(closed)
        assert recording_open.held(NAME) is Held.WHOLE
    assert (published.episode_id, published.num_steps) == (NAME, 3)
    assert reader.read_episode(published.path).metadata.success
    assert list(folders[1].iterdir()) == []


def kill_while_recording(
    folders: tuple[Path, ...], steps: int = 4, **said: bool
) -> None:
    """Dies by SIGKILL in the middle of an episode."""
    child = os.fork()
    if child == 0:
        with open_folders(folders, **said) as recording_open:
            begin(recording_open, steps=steps)
            os.kill(os.getpid(), signal.SIGKILL)
    assert os.waitpid(child, 0)[1] == signal.SIGKILL


def sidecar_of(folders: tuple[Path, ...]) -> Sidecar:
    raw = (folders[0] / f"{NAME}{tfds_directory.SIDECAR_SUFFIX}").read_bytes()
    return sidecar.parse(raw)


def test_journal_that_a_crash_left_is_shared_as_recovered(
    folders: tuple[Path, ...],
) -> None:
    kill_while_recording(folders)
    left = {path.name for path in folders[1].iterdir()}
    assert left == {f"{NAME}.journal", f"{NAME}.terms.json"}
    with open_folders(folders) as recording_open:
        (published,) = recording_open.recover()
        assert recording_open.held(NAME) is Held.RECOVERED
    assert published.num_steps == 4
    assert list(folders[1].iterdir()) == []


@pytest.mark.parametrize("granted", [True, False])
def test_recovered_episode_has_the_consent_that_it_was_recorded_under(
    folders: tuple[Path, ...], granted: bool
) -> None:
    kill_while_recording(folders, consent=granted)
    with open_folders(folders, consent=not granted) as recording_open:
        assert len(list(recording_open.recover())) == 1
    assert sidecar_of(folders).consent == Consent(
        granted, "operator", "2026-01-01T08:00:00Z"
    )


def test_recovered_episode_of_unknown_terms_has_nobodys_consent(
    folders: tuple[Path, ...],
) -> None:
    kill_while_recording(folders)
    (folders[1] / f"{NAME}.terms.json").unlink()
    with open_folders(folders) as recording_open:
        assert len(list(recording_open.recover())) == 1
    assert sidecar_of(folders).consent == Consent(
        False, "unknown", "2026-01-01T08:00:00Z"
    )


OTHER_KEY = RobotKey(robot_key.simulated("another").signing, bytes(32))


@pytest.mark.parametrize(
    ("other", "match"),
    [
        ({"robot_id": "point-2"}, "robot 'point-2' with key .* robot 'point-1'"),
        ({"key": OTHER_KEY}, f"with key {OTHER_KEY.keyid[:12]}, got one .* --key_file"),
    ],
)
def test_episode_of_another_robot_is_refused_and_left_to_the_robot_that_began_it(
    folders: tuple[Path, ...], other: dict[str, RobotKey] | dict[str, str], match: str
) -> None:
    kill_while_recording(folders)
    before = processes.tree(folders[1])
    with (
        open_folders(folders, **other) as recording_open,
        pytest.raises(OtherRobotError, match=match) as caught,
    ):
        list(recording_open.recover())
    assert "\n" not in str(caught.value)
    assert processes.tree(folders[1]) == before
    assert list(folders[0].iterdir()) == []
    with open_folders(folders) as recording_open:
        assert len(list(recording_open.recover())) == 1
    key = robot_key.simulated(ROBOT_ID)
    assert sidecar_of(folders).robot_hash == key.robot_hash(ROBOT_ID)
    assert sidecar_of(folders).keyid == key.keyid


def test_episode_of_another_robot_and_unknown_terms_stays_private(
    folders: tuple[Path, ...],
) -> None:
    kill_while_recording(folders)
    (folders[1] / f"{NAME}.terms.json").unlink()
    with (
        open_folders(folders, robot_id="point-2") as recording_open,
        pytest.raises(OtherRobotError),
    ):
        list(recording_open.recover())
    assert list(folders[0].iterdir()) == []
    with open_folders(folders) as recording_open:
        assert [one.num_steps for one in recording_open.recover()] == [4]


def test_crash_before_the_first_step_leaves_nothing_to_recover(
    folders: tuple[Path, ...],
) -> None:
    kill_while_recording(folders, steps=0)
    with open_folders(folders) as recording_open:
        assert list(recording_open.recover()) == []
    assert list(folders[0].iterdir()) == list(folders[1].iterdir()) == []


def test_second_episode_of_a_name_leaves_the_terms_of_the_first(
    folders: tuple[Path, ...],
) -> None:
    kill_while_recording(folders, consent=False)
    before = processes.tree(folders[1])
    with (
        open_folders(folders, consent=True) as recording_open,
        pytest.raises(EpisodeExistsError),
    ):
        begin(recording_open)
    assert processes.tree(folders[1]) == before


@pytest.mark.parametrize("writes", range(4))
def test_crash_during_sharing_is_finished_by_the_next_run(
    folders: tuple[Path, ...], monkeypatch: pytest.MonkeyPatch, writes: int
) -> None:
    """Sharing makes 4 durable writes: episode, features, info, sidecar."""
    with open_folders(folders) as recording_open:
        closed = begin(recording_open).close(success=True)
        left = iter([True] * writes)
        whole_write = durable_file.write

        def dying_write(path: Path, data: bytes, mode: int = 0o644) -> None:
            if not next(left, False):
                raise DiskError(path, "to write", "a crash")
            whole_write(path, data, mode)

        monkeypatch.setattr(durable_file, "write", dying_write)
        with pytest.raises(DiskError):
            recording_open.publish(closed)
        monkeypatch.undo()
    assert closed.path.exists()
    with open_folders(folders) as recording_open:
        (published,) = recording_open.recover()
        assert recording_open.held(NAME) is Held.WHOLE
    whole = (folders[0].with_name("whole"), folders[1].with_name("whole.private"))
    with open_folders(whole) as recording_open:
        recording_open.publish(begin(recording_open).close(success=True))
    assert published.num_steps == 3
    assert processes.tree(folders[0]) == processes.tree(whole[0])


def test_raw_episode_that_outlived_its_sharing_is_removed(
    folders: tuple[Path, ...],
) -> None:
    with open_folders(folders) as recording_open:
        closed = begin(recording_open).close(success=True)
        raw = closed.path.read_bytes()
        recording_open.publish(closed)
    before = processes.tree(folders[0])
    closed.path.write_bytes(raw)
    with open_folders(folders) as recording_open:
        assert len(list(recording_open.recover())) == 1
    assert processes.tree(folders[0]) == before
    assert list(folders[1].iterdir()) == []


def test_episode_that_cannot_be_redacted_stays_private(
    folders: tuple[Path, ...],
) -> None:
    with open_folders(folders) as recording_open:
        closed = begin(recording_open, location="1 Main Street").close(success=True)
        with pytest.raises(RedactionError):
            recording_open.publish(closed)
    assert closed.path.exists()
    assert list(folders[0].iterdir()) == []


def test_safety_violation_escalates_an_episode_without_consent(
    folders: tuple[Path, ...],
) -> None:
    with open_folders(folders, consent=False) as recording_open:
        recorder = recording_open.begin(
            SPEC, NAME, shared_episodes.START_UNIX_NS, Provenance(operator="expert")
        )
        recorder.append(step(0, is_last=True, violation=True))
        recording_open.publish(recorder.close(success=False))
    assert sidecar_of(folders).safety == Safety(violations=1, escalated=True)
    assert not sidecar_of(folders).consent.granted


@pytest.mark.parametrize("shared", [0, 1])
def test_folder_serves_one_recording_at_a_time(
    folders: tuple[Path, ...], shared: int, tmp_path: Path
) -> None:
    other = [tmp_path / "other", tmp_path / "other.private"]
    other[shared] = folders[shared]
    with (
        open_folders(folders),
        pytest.raises(OutputFolderError, match="another process that is writing"),
        open_folders(other),
    ):
        pass
    with open_folders(folders):
        pass


def test_clock_of_the_recording_is_coarse_in_what_is_shared(
    folders: tuple[Path, ...],
) -> None:
    clock = SimulatedClock(shared_episodes.START_UNIX_NS + 61 * 10**9)
    with open_folders(folders) as recording_open:
        recorder = recording_open.begin(
            SPEC, NAME, clock.unix_ns(), Provenance(operator="expert")
        )
        recorder.append(step(0, is_last=True))
        published = recording_open.publish(recorder.close(success=False))
    metadata = reader.read_episode(published.path).metadata
    assert metadata.start_time == "2026-01-01T08:00:00Z"
    assert metadata.software_version == sharing.RUNTIME_VERSION
