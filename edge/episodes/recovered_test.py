"""What a crash at any point of recording or sharing an episode leaves behind."""

import os
import re
import signal
from pathlib import Path

import pytest

from base import durable_file
from base.errors import DiskError
from edge.episodes import robot_key
from edge.episodes.episode_id import Held
from edge.episodes.robot_key import RobotKey
from edge.testing import processes
from edge.testing.recordings import NAME, Folders, begin, open_folders, read_sidecar
from edge.testing.simulated_episodes import ROBOT_ID
from rlds.errors import EpisodeExistsError
from rlds.sidecar import Consent


@pytest.fixture
def folders(tmp_path: Path) -> Folders:
    return tmp_path / "out", tmp_path / "private"


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
            path: Path,
            data: bytes,
            mode: int = durable_file.SHARED,
            group: int | None = None,
        ) -> None:
            if not next(left, False):
                raise DiskError(path, "to write", "a crash")
            whole_write(path, data, mode, group)

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
