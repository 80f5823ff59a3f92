"""How an episode reaches the shared folder, and what keeps it out."""

import dataclasses
from pathlib import Path
from typing import Any

import pytest

from edge.episodes import robot_key
from edge.episodes.episode_id import Held
from edge.episodes.provenance import Provenance
from edge.errors import (
    ClockError,
    KeyFileError,
    OutputFolderError,
    RedactionError,
)
from edge.robots.clock import SimulatedClock, unix_ns_from_rfc3339
from edge.robots.simulated_point import SPEC
from edge.runtime_version import RUNTIME_VERSION
from edge.testing import simulated_episodes
from edge.testing.recordings import (
    NAME,
    OTHER,
    Folders,
    begin,
    open_folders,
    read_sidecar,
    step,
)
from edge.testing.simulated_episodes import ROBOT_ID
from rlds import reader, sidecar, tfds_directory
from rlds.errors import (
    DateBeforeFormatError,
    DateError,
    DateInFutureError,
)
from rlds.sidecar import Safety
from rlds.spec import EpisodeSpec
from rlds.testing import episodes
from rlds.writer import EpisodeWriter


@pytest.fixture
def folders(tmp_path: Path) -> Folders:
    return tmp_path / "out", tmp_path / "private"


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
        ({"task": "bring Ada her cup"}, "task"),
        ({"robot_model": "Ada's arm"}, "robot_model"),
        ({"environment_id": "/home/ada/kitchen"}, "environment_id"),
    ],
)
def test_name_that_is_not_on_the_list_is_shared_as_a_hash_and_said(
    folders: Folders, change: dict[str, Any], field: str
) -> None:
    named = dataclasses.replace(SPEC, **change)
    told: list[str] = []
    with open_folders(folders, told=told, robot=named) as recording:
        closed = begin(recording, robot=named).close(success=True)[0]
        shared = recording.share(closed)
    (line,) = told
    assert line.startswith(f"the robot's {field} is shared as a hash")
    assert "ada" not in line.lower()
    raw = shared.path.read_bytes()
    assert b"Ada" not in raw
    assert b"/home" not in raw
    assert getattr(reader.read_episode(shared.path).metadata, field).startswith(
        "unlisted-"
    )


OWN = dataclasses.replace(
    SPEC, task="frob the cup", robot_model="frob-arm", environment_id="frobs"
)


def test_word_that_the_operator_names_leaves_and_stands_in_the_robots_record(
    folders: Folders,
) -> None:
    with open_folders(folders, robot=OWN, words={"frob"}) as recording:
        shared = recording.share(begin(recording, robot=OWN).close(success=True)[0])
    found = reader.read_episode(shared.path).metadata
    assert (found.task, found.robot_model) == (OWN.task, OWN.robot_model)
    record = robot_key.read_enrolment(folders[0], read_sidecar(folders).keyid)
    assert record.words == {"frob"}

    told: list[str] = []
    with open_folders(folders, robot=OWN, told=told) as recording:
        again = begin(recording, robot=OWN, name=OTHER).close(success=True)[0]
        shared = recording.share(again)
    assert len(told) == 3
    assert all("--share_words=WORD,WORD lets words of yours" in line for line in told)
    assert reader.read_episode(shared.path).metadata.task.startswith("unlisted-")


def test_recovered_episode_keeps_the_words_under_which_it_began(
    folders: Folders,
) -> None:
    with open_folders(folders, robot=OWN, words={"frob"}) as recording:
        begin(recording, robot=OWN).close(success=True)  # and the process ends
    with open_folders(folders, robot=OWN, told=[]) as recording:
        begin(recording, robot=OWN, name=OTHER).close(success=True)
        (_, shared) = recording.recover()  # in the order of their names
    with open_folders(folders, robot=OWN, words={"frob"}) as recording:
        assert list(recording.recover()) == []
    assert reader.read_episode(shared.path).metadata.task == OWN.task
    other = reader.read_episode(folders[0] / f"{OTHER}.tfrecord").metadata
    assert other.task.startswith("unlisted-")


def test_more_words_than_a_robot_may_have_are_refused_before_it_moves(
    folders: Folders,
) -> None:
    words = {f"{a}{b}" for a in "abcdefgh" for b in "abcdefgh"}
    with open_folders(folders, robot=OWN, words={"frob"}) as recording:
        recording.share(begin(recording, robot=OWN).close(success=True)[0])
    with (
        pytest.raises(KeyFileError, match="at most 64 words of the robot's own"),
        open_folders(folders, robot=OWN, words=words, told=[]),
    ):
        pass


def test_picture_that_nothing_masks_is_dropped_and_said(folders: Folders) -> None:
    told: list[str] = []
    spec = EpisodeSpec(SPEC.state_size, SPEC.action_size, image=True, audio_size=80)
    with open_folders(folders, told=told) as recording:
        metadata = episodes.metadata(robot_hash=ROBOT_ID, tags=())
        writer = EpisodeWriter(folders[1], spec, metadata)
        for one in episodes.steps(spec, 3):
            writer.append(one)
        shared = recording.share(writer.close(success=True))
    assert told == [
        f"{metadata.episode_id} is shared without observation/image,"
        " observation/audio_mel: nothing here masks it"
    ]
    assert reader.read_episode(shared.path).spec == EpisodeSpec(
        SPEC.state_size, SPEC.action_size
    )
    assert episodes.JPEG not in shared.path.read_bytes()
    assert list(folders[1].iterdir()) == []


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


def test_receipt_of_an_episode_that_was_set_aside_is_not_one_of_the_next(
    folders: Folders,
) -> None:
    told: list[str] = []
    with open_folders(folders, told=told) as recording:
        recording.share(begin(recording).close(success=True)[0])
        receipt = folders[0] / f"{NAME}.sent.json"
        receipt.write_bytes(b"{}")
        (folders[0] / f"{NAME}.tfrecord").write_bytes(b"damage")
        recording.share(begin(recording).close(success=True)[0])
        assert recording.look_up(NAME) is Held.WHOLE
    assert len(told) == 1
    assert not receipt.exists()


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


@pytest.mark.parametrize(
    "machine_time", ["1970-01-01T00:05:00Z", "2025-12-31T23:59:59Z"]
)
def test_recording_on_a_machine_without_a_clock_is_refused_and_leaves_nothing(
    folders: Folders, machine_time: str
) -> None:
    with (
        pytest.raises(ClockError, match=f"got {machine_time}; set the clock, or wait"),
        open_folders(folders, machine_time=machine_time),
    ):
        pass
    assert not folders[0].exists() and not folders[1].exists()


@pytest.mark.parametrize(
    ("robot_time", "error"),
    [
        ("1970-01-01T00:05:00Z", DateBeforeFormatError),
        ("2025-12-31T23:59:59Z", DateBeforeFormatError),
        ("2026-03-03T00:00:00Z", DateInFutureError),
        ("2099-01-01T00:00:00Z", DateInFutureError),
    ],
)
def test_episode_that_a_wrong_clock_would_date_is_not_begun(
    folders: Folders, robot_time: str, error: type[DateError]
) -> None:
    start = simulated_episodes.START_UNIX_NS
    wrong = unix_ns_from_rfc3339(robot_time)
    with (
        pytest.raises(error, match="the robot's clock: expected a day "),
        open_folders(folders, robot_time=robot_time),
    ):
        pass
    assert not folders[0].exists() and not folders[1].exists()
    with open_folders(folders) as recording:
        with pytest.raises(error, match="the robot's clock: expected a day "):
            recording.begin(SPEC, NAME, wrong, Provenance(actor="expert"))
        assert list(folders[0].iterdir()) == list(folders[1].iterdir()) == []
        recording.begin(SPEC, NAME, start, Provenance(actor="expert"))


def test_episode_dated_by_a_wrong_clock_stays_private_and_keeps_no_robot_from_driving(
    folders: Folders,
) -> None:
    with open_folders(folders, machine_time="2099-01-02T00:00:00Z") as recording:
        late = unix_ns_from_rfc3339("2099-01-01T00:00:00Z")
        recorder = recording.begin(SPEC, NAME, late, Provenance(actor="expert"))
        recorder.append(step(0, is_last=True))
        (closed,) = recorder.close(success=None)
    told: list[str] = []
    with open_folders(folders, told=told) as recording:
        assert list(recording.recover()) == []
        with pytest.raises(DateInFutureError):
            recording.share(closed)
    (line,) = told
    assert "stays private: sidecar of" in line and "got 2099-01-01" in line
    assert closed.path.exists()
    assert list(folders[0].iterdir()) == []


def test_recording_that_an_error_ends_keeps_its_folders(folders: Folders) -> None:
    with pytest.raises(KeyboardInterrupt), open_folders(folders):
        raise KeyboardInterrupt
    assert list(folders[0].iterdir()) == list(folders[1].iterdir()) == []


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
