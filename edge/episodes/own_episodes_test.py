"""Episodes that their operator changes: signed, whole, and behind nobody's back."""

import functools
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest

from edge.episodes import amend, own_episodes, replacing, robot_key
from edge.episodes.own_episodes import OwnEpisodes
from edge.episodes.robot_key import RobotKey
from edge.errors import AmendError, KeyFileError, OutputFolderError
from edge.testing import power_cuts
from edge.testing.processes import read_tree
from edge.testing.recordings import NAME, Folders, begin, open_folders, read_sidecar
from edge.testing.simulated_episodes import ROBOT_ID
from rlds import reader, sidecar, sidecar_statements
from rlds.episode import Episode
from rlds.errors import RldsError, SidecarError
from rlds.sidecar import Consent

NOW = datetime(2026, 3, 1, tzinfo=UTC)
KEY = robot_key.derive_simulated(ROBOT_ID)
TAKEN_BACK = Consent(False, "operator", "2026-02-28T08:00:00Z")


@pytest.fixture
def folders(tmp_path: Path) -> Folders:
    """One shared episode of three steps."""
    made = tmp_path / "out", tmp_path / "private"
    with open_folders(made) as recording:
        recording.share(begin(recording).close(success=None)[0])
    return made


def fail(text: str) -> None:
    raise AssertionError(text)


def amend_all(
    folders: Folders,
    change: Callable[[Episode], Episode],
    consent: Consent | None = None,
    key: RobotKey = KEY,
) -> None:
    with own_episodes.open_folders(*folders, lambda *_: key, NOW, fail) as own:
        write_all(own, change, consent)


def write_all(
    own: OwnEpisodes,
    change: Callable[[Episode], Episode],
    consent: Consent | None = None,
) -> None:
    for write in [own.prepare(copy, change, consent) for copy in own.list_copies(fail)]:
        write()


def succeed(episode: Episode) -> Episode:
    return amend.label(episode, success=True)


def check_whole(folders: Folders) -> Episode:
    """Checks the shared episode as an uploader does; returns it."""
    path = folders[0] / f"{NAME}.tfrecord"
    raw = (folders[0] / f"{NAME}.sidecar.json").read_bytes()
    public = robot_key.read_public(folders[0], KEY.keyid)
    stated = sidecar.verify(raw, {KEY.keyid: public})
    stated.check_episode(path.read_bytes())
    episode = reader.read_episode(path)
    framed = path.read_bytes()
    sidecar_statements.check_statements(stated, episode, framed, NOW)
    return episode


def test_labelled_episode_is_signed_again_and_keeps_its_consent(
    folders: Folders,
) -> None:
    before = read_sidecar(folders)
    amend_all(folders, succeed)
    assert check_whole(folders).metadata.success is True
    after = read_sidecar(folders)
    assert (after.consent, after.privacy) == (before.consent, before.privacy)
    assert after.sha256 != before.sha256
    assert list(folders[1].iterdir()) == []


def test_trimmed_episode_says_so_and_its_sidecar_counts_again(folders: Folders) -> None:
    whole = check_whole(folders)
    amend_all(folders, lambda one: amend.trim(one, whole, 1, 2))
    trimmed = check_whole(folders)
    assert "trimmed_by_operator" in trimmed.metadata.tags
    assert trimmed.steps["observation/state"][:, 0].tolist() == [1, 2]
    assert trimmed.steps["t_monotonic_ns"].tolist() == [0, 1]
    assert read_sidecar(folders).num_steps == 2


def test_consent_that_is_taken_back_is_stated(folders: Folders) -> None:
    amend_all(folders, amend.leave_out, TAKEN_BACK)
    check_whole(folders)
    assert read_sidecar(folders).consent == TAKEN_BACK


def test_raw_episode_that_is_shared_later_keeps_what_was_said(folders: Folders) -> None:
    other = "019b7892-1c00-7aaa-8000-000000000001"
    with open_folders(folders) as recording:
        begin(recording, name=other).close(success=None)  # and the process ends
    amend_all(folders, amend.leave_out, TAKEN_BACK)
    raw = folders[1] / f"{other}.tfrecord"
    assert raw.stat().st_mode & 0o777 == 0o600
    with open_folders(folders) as recording:
        (shared,) = recording.recover()
    assert shared.episode_id == other
    told = sidecar.parse((folders[0] / f"{other}.sidecar.json").read_bytes())
    assert told.consent == TAKEN_BACK
    tags = reader.read_episode(folders[0] / f"{other}.tfrecord").metadata.tags
    assert "left_out_by_operator" in tags


def test_episode_that_a_store_holds_is_not_changed(folders: Folders) -> None:
    (folders[0] / f"{NAME}.sent.json").write_bytes(b"{}")
    before = read_tree(folders[0])
    with pytest.raises(AmendError, match="an episode that is not uploaded yet"):
        amend_all(folders, succeed)
    assert read_tree(folders[0]) == before


def test_key_of_another_robot_signs_nothing(folders: Folders) -> None:
    before = read_tree(folders[0])
    other = robot_key.derive_simulated("another")
    with pytest.raises(SidecarError, match="the key of an enrolled robot"):
        amend_all(folders, succeed, key=other)
    assert read_tree(folders[0]) == before


@pytest.mark.parametrize("suffix", [".tfrecord", ".sidecar.json"])
def test_what_somebody_else_changed_is_not_signed(
    folders: Folders, suffix: str
) -> None:
    path = folders[0] / f"{NAME}{suffix}"
    raw = path.read_bytes()
    old = b'"granted":true' if suffix == ".sidecar.json" else b"point"
    assert old in raw
    new = b'"granted":false' if suffix == ".sidecar.json" else b"paint"
    path.write_bytes(raw.replace(old, new))
    before = read_tree(folders[0])
    told: list[str] = []
    with own_episodes.open_folders(*folders, lambda *_: KEY, NOW, told.append) as own:
        copies = own.list_copies(told.append)
        for copy in copies:
            with pytest.raises(RldsError):
                own.prepare(copy, succeed, None)
    assert bool(copies) != bool(told)
    assert read_tree(folders[0]) == before


def test_episode_under_the_name_of_another_is_left_as_it_is(folders: Folders) -> None:
    other = folders[0] / "019b7892-1c00-7aaa-8000-000000000001.tfrecord"
    other.write_bytes((folders[0] / f"{NAME}.tfrecord").read_bytes())
    told: list[str] = []
    with own_episodes.open_folders(*folders, lambda *_: KEY, NOW, fail) as own:
        (copy,) = own.list_copies(told.append)
    assert copy.path.name == f"{NAME}.tfrecord"
    assert f"{other.name} is left as it is" in told[0]


def test_folder_into_which_somebody_records_is_refused(folders: Folders) -> None:
    with (
        open_folders(folders),
        pytest.raises(OutputFolderError, match="to be the only recording here"),
    ):
        amend_all(folders, succeed)


def test_folder_that_is_not_there_is_refused_and_not_made(tmp_path: Path) -> None:
    absent = tmp_path / "out", tmp_path / "private"
    with pytest.raises(AmendError, match="out: expected a folder of recorded episodes"):
        amend_all(absent, succeed)
    assert list(tmp_path.iterdir()) == []


def test_cut_at_any_call_leaves_the_old_episode_or_the_new_one_after_the_next_start(
    tmp_path: Path,
) -> None:
    seen = set()
    for number in range(100):
        made = tmp_path / f"{number}/out", tmp_path / f"{number}/private"
        with open_folders(made) as recording:
            recording.share(begin(recording).close(success=None)[0])
        killed = power_cuts.kill_before_call(
            number, tmp_path / str(number), functools.partial(amend_all, made, succeed)
        )
        if number % 2:  # the recorder comes next, or the operator does
            with open_folders(made) as recording:
                assert list(recording.recover()) == []
        else:
            amend_all(made, lambda one: one)
        seen.add(check_whole(made).metadata.success)
        assert list(made[1].iterdir()) == []
        if not killed:
            break
    assert number > 8
    assert seen == {None, True}


def test_file_of_a_change_that_is_none_is_set_aside_and_told_of(
    folders: Folders,
) -> None:
    foreign = folders[1] / f"{NAME}{replacing.SUFFIX}"
    foreign.write_bytes(b"none")
    before = read_tree(folders[0])
    told: list[str] = []
    with open_folders(folders, told=told) as recording:
        assert list(recording.recover()) == []
    (line,) = told
    assert "set aside as" in line
    assert not foreign.exists()
    assert read_tree(folders[0]) == before


def test_missing_key_is_an_error_before_anything_is_written(folders: Folders) -> None:
    def find(keyid: str, time: str) -> RobotKey:
        assert time == "2026-01-01T08:00:00Z"
        raise KeyFileError("--key_file", f"key {keyid[:12]}", "none", "name it")

    before = read_tree(folders[0])
    with (
        pytest.raises(KeyFileError),
        own_episodes.open_folders(*folders, find, NOW, fail) as own,
    ):
        write_all(own, succeed)
    assert read_tree(folders[0]) == before
