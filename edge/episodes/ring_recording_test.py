"""What comes through the ring becomes episodes, and every step is accounted for."""

import dataclasses
import os
import shutil
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest

from edge.control.control_step import ControlStep
from edge.episodes import step_ring
from edge.episodes.open_episode import OPEN
from edge.episodes.provenance import Provenance
from edge.episodes.ring import RingReader
from edge.episodes.ring_recording import AGAIN_S, RETRY_S, RingRecording
from edge.episodes.sharing import Recording, Shared
from edge.episodes.step_account import ACCOUNT, Account, Missing
from edge.episodes.step_ring import StepSender
from edge.redact.masker import DroppingMasker, Masked, Masker
from edge.redact.tracks import Times
from edge.robots.robot import Camera, Microphone, Picture, RobotSpec, Sound
from edge.robots.simulated_point import SPEC
from edge.testing import recordings, ring_steps
from edge.testing.pictures import encode
from edge.testing.ring_steps import begin, list_parts, numbers, send_episode, step
from rlds import blank_picture, reader, sidecar
from rlds.coarse_sound import coarsen
from rlds.episode import Episode
from rlds.sidecar import Sidecar
from rlds.spec import LEFT_OUT_TAG, SOUND_BANDS, StopRule

SLOTS = 64


CAMERAS = Camera("wrist", 32, 24, 20.0), Camera("front", 16, 16, 5.0)
SEEING = dataclasses.replace(SPEC, cameras=CAMERAS)


@dataclass
class Desk:
    """A ring, and recorders that come and go."""

    folder: Path
    robot: RobotSpec = SPEC
    masker: Masker | None = None
    told: list[str] = field(default_factory=list)
    shared: list[Shared] = field(default_factory=list)
    now_s: float = 0.0

    def __post_init__(self) -> None:
        self.sender = StepSender(
            self.folder / "ring", self.robot, slots=SLOTS, tell=self.told.append
        )
        self.reader = RingReader(self.folder / "ring")
        self.recording = self.start()

    @property
    def private(self) -> Path:
        return self.folder / "private"

    def start(self) -> RingRecording:
        recording = RingRecording(
            self.private, self.open_folders, self.shared.append, self.told.append
        )
        recording.resume()
        return recording

    def open_folders(self, robot: RobotSpec) -> AbstractContextManager[Recording]:
        folders = self.folder / "shared", self.private
        return recordings.open_folders(
            folders, told=self.told, robot=robot, masker=self.masker
        )

    def take_all(self) -> None:
        while self.recording.take(self.reader, self.now_s):
            pass

    def start_again(self) -> None:
        """The recorder is gone without a word, and another one starts."""
        self.recording.close()
        self.reader = RingReader(self.folder / "ring")
        self.recording = self.start()

    def take_without_release(self) -> None:
        """The recorder deals with one record and dies before it says so."""
        release, self.reader.release = self.reader.release, lambda: None  # type: ignore[method-assign]  # the last thing that it does not do
        assert self.recording.take(self.reader, self.now_s)
        self.reader.release = release  # type: ignore[method-assign]

    def sidecar(self, name: str) -> Sidecar:
        (path,) = (self.folder / "shared").rglob(f"{name}.sidecar.json")
        return sidecar.parse(path.read_bytes())

    def parts(self, name: str) -> list[Episode]:
        known = ring_steps.read_episodes(self.folder / "shared")
        return list(list_parts(name, known))


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    made = Desk(tmp_path)
    yield made
    made.recording.close()
    made.sender.close()


def test_whole_episode_is_shared_and_nothing_is_left(desk: Desk) -> None:
    name = send_episode(desk.sender, 5)
    desk.take_all()
    (part,) = desk.parts(name)
    assert numbers(part) == [0, 1, 2, 3, 4]
    assert part.metadata.success is True
    assert part.metadata.operator == "expert"
    assert part.steps["is_terminal"].tolist() == [False] * 4 + [True]
    assert part.steps["t_monotonic_ns"][1] == 10_000_000
    account = desk.recording.account
    assert (account.driven, account.recorded) == (5, 5)
    assert [path.name for path in desk.private.iterdir()] == [ACCOUNT]
    assert not desk.told


@pytest.mark.parametrize("damage", ["no room", "folder"])
def test_account_that_cannot_go_on_is_set_aside_once_and_counts_anew(
    desk: Desk, damage: str
) -> None:
    account = desk.private / ACCOUNT
    if damage == "folder":
        (account / "in it").mkdir(parents=True)
        desk.private.chmod(0o700)
    else:
        send_episode(desk.sender, 2)
        desk.take_all()
        full = Account(driven=2**53 - 1, last_episode="x")
        account.write_bytes(full.encode())
    desk.start_again()
    for count in (3, 4):
        send_episode(desk.sender, count)
        desk.take_all()
    assert desk.recording.account.recorded == 7
    assert len(desk.told) == 1
    assert "steps are counted anew" in desk.told[0]
    found = sorted(path.name for path in desk.private.iterdir())
    assert found == [ACCOUNT, f"{ACCOUNT}.damaged"]
    desk.start_again()
    assert desk.recording.account.recorded == 7
    assert len(desk.told) == 1


def test_folder_in_the_place_of_the_open_episode_is_set_aside_and_all_is_recorded(
    desk: Desk,
) -> None:
    (desk.private / OPEN / "in it").mkdir(parents=True)
    desk.private.chmod(0o700)
    desk.start_again()
    name = send_episode(desk.sender, 5)
    desk.take_all()
    (part,) = desk.parts(name)
    assert numbers(part) == [0, 1, 2, 3, 4]
    found = sorted(path.name for path in desk.private.iterdir())
    assert found == [ACCOUNT, f"{OPEN}.damaged"]
    assert not desk.told


@pytest.mark.parametrize(("removed", "lost"), [("private", 5), ("shared", 0)])
def test_folder_that_is_removed_while_it_records_is_made_anew_with_one_line(
    desk: Desk, removed: str, lost: int
) -> None:
    send_episode(desk.sender, 2)
    begin(desk.sender)
    for number in range(5):
        desk.sender.append(step(number))
    desk.take_all()
    shutil.rmtree(desk.folder / removed)
    desk.sender.end(success=True)
    desk.take_all()
    names = [send_episode(desk.sender, count) for count in (3, 4)]
    desk.take_all()
    assert [len(numbers(part)) for name in names for part in desk.parts(name)] == [3, 4]
    account = desk.recording.account
    assert (account.driven, account.missing.total) == (14, lost)
    assert len(desk.told) == 1
    assert "made anew with the next episode" in desk.told[0]
    desk.start_again()
    assert desk.recording.account == account


@pytest.mark.parametrize("place", ["private", "shared"])
def test_file_in_the_place_of_a_folder_is_one_line_that_says_what_to_do(
    desk: Desk, place: str
) -> None:
    (desk.folder / place).write_bytes(b"a file")
    desk.start_again()
    for count in (3, 4):
        send_episode(desk.sender, count)
        desk.take_all()
    assert desk.recording.account.missing == Missing(refused=7)
    (line,) = desk.told
    assert line.endswith(
        f"{place}: expected a folder for episodes, got something else in its place; "
        "move that away; the folder is made by itself"
    )
    assert (desk.folder / place).read_bytes() == b"a file"
    (desk.folder / place).unlink()
    desk.now_s += 2 * RETRY_S
    name = send_episode(desk.sender, 5)
    desk.take_all()
    assert [len(numbers(part)) for part in desk.parts(name)] == [5]
    assert len(desk.told) == 1


def test_stop_rule_that_ended_an_episode_is_a_tag_of_it(desk: Desk) -> None:
    name = begin(desk.sender)
    desk.sender.append(step(0))
    desk.sender.end(None, (StopRule.STOP_KEY.tag,))
    desk.take_all()
    (part,) = desk.parts(name)
    assert StopRule.STOP_KEY.tag in part.metadata.tags


@pytest.mark.parametrize("is_cut", [False, True])
def test_episode_that_is_left_out_has_the_tag_and_loses_its_consent(
    desk: Desk, is_cut: bool
) -> None:
    name = begin(desk.sender)
    for number in range(4):
        desk.sender.append(step(number))
        desk.take_all()
        if is_cut and number == 1:
            desk.recording.cut(0.0)
    desk.sender.end(None, (LEFT_OUT_TAG,))
    after = send_episode(desk.sender, 2)
    desk.take_all()
    *closed, part = desk.parts(name)
    assert len(closed) == is_cut
    assert LEFT_OUT_TAG in part.metadata.tags
    assert part.metadata.success is None
    granted = {one.metadata.episode_id: True for one in (*closed, *desk.parts(after))}
    granted[part.metadata.episode_id] = False
    assert {key: desk.sidecar(key).consent.granted for key in granted} == granted
    # What is shared already is not changed behind the operator's back, but told.
    lines = [line for line in desk.told if "//edge:label leaves that out" in line]
    assert len(lines) == is_cut
    assert all(name in line for line in lines)


def test_steps_of_a_person_are_told_from_those_of_the_package_that_they_watched(
    desk: Desk,
) -> None:
    alone = send_episode(desk.sender, 3)
    watched = begin(desk.sender, Provenance("policy:0123456789ab", watched=True))
    for number in range(4):
        desk.sender.append(step(number, intervention=number in (1, 2)))
    desk.sender.end(success=True)
    after = send_episode(desk.sender, 2)
    desk.take_all()
    (part,) = desk.parts(watched)
    assert part.steps["intervention"].tolist() == [False, True, True, False]
    for name in (alone, after):
        (part,) = desk.parts(name)
        assert "intervention" not in part.steps
    assert not desk.told


def test_episode_in_which_control_hung_says_so(desk: Desk) -> None:
    before = send_episode(desk.sender, 2)
    name = begin(desk.sender)
    for number in range(3):
        desk.sender.append(step(number))
    step_ring.say_hung(desk.folder / "ring")
    desk.take_all()
    (part,) = desk.parts(name)
    assert StopRule.WATCHDOG.tag in part.metadata.tags
    assert part.metadata.success is None
    assert part.steps["safety_violation"].tolist() == [False, False, True]
    (part,) = desk.parts(before)
    assert StopRule.WATCHDOG.tag not in part.metadata.tags
    account = desk.recording.account
    assert (account.driven, account.recorded) == (5, 5)
    assert [path.name for path in desk.private.iterdir()] == [ACCOUNT]
    desk.sender = StepSender(desk.folder / "ring", SPEC, slots=SLOTS)  # control is back
    again = send_episode(desk.sender, 2)
    desk.take_all()
    (part,) = desk.parts(again)
    assert part.metadata.success is True
    assert not desk.told


def check_hung(part: Episode) -> None:
    assert StopRule.WATCHDOG.tag in part.metadata.tags
    assert part.steps["safety_violation"].tolist()[-1]


def test_episode_says_that_control_hung_though_the_recorder_died_meanwhile(
    desk: Desk,
) -> None:
    name = begin(desk.sender)
    for number in range(3):
        desk.sender.append(step(number))
    desk.take_all()
    desk.start_again()
    step_ring.say_hung(desk.folder / "ring")
    desk.take_all()
    (part,) = desk.parts(name)
    check_hung(part)
    assert numbers(part) == [0, 1, 2]
    assert [path.name for path in desk.private.iterdir()] == [ACCOUNT]
    assert not desk.told


def test_episode_says_that_control_hung_though_the_disk_was_full(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(file: int, data: bytes) -> None:
        raise OSError(28, "No space left on device")

    before = send_episode(desk.sender, 2)
    name = begin(desk.sender)
    desk.sender.append(step(0))
    desk.take_all()
    with monkeypatch.context() as full:
        full.setattr("base.durable_file.write_all", refuse)
        desk.sender.append(step(1))
        desk.take_all()
    step_ring.say_hung(desk.folder / "ring")
    desk.take_all()
    (part,) = desk.parts(name)
    check_hung(part)
    assert numbers(part) == [0]
    (part,) = desk.parts(before)
    assert StopRule.WATCHDOG.tag not in part.metadata.tags


def test_hang_that_no_step_can_tell_of_any_more_is_told_to_the_operator(
    desk: Desk,
) -> None:
    name = begin(desk.sender)
    desk.sender.append(step(0))
    desk.take_all()
    desk.recording.cut(0.0)
    step_ring.say_hung(desk.folder / "ring")
    desk.take_all()
    assert len(desk.parts(name)) == 1
    (line,) = desk.told
    assert line == f"control hung in episode {name}, after all that is recorded of it"


def test_what_a_killed_recorder_left_is_shared_though_control_says_nothing(
    desk: Desk,
) -> None:
    name = begin(desk.sender)
    desk.sender.append(step(0))
    desk.take_all()
    desk.start_again()
    desk.recording.cut(0.0)
    assert [numbers(one) for one in desk.parts(name)] == [[0]]


def test_hang_between_two_episodes_and_without_a_ring_is_nothing(desk: Desk) -> None:
    name = send_episode(desk.sender, 2)
    step_ring.say_hung(desk.folder / "ring")
    step_ring.say_hung(desk.folder / "no-ring")
    desk.take_all()
    (part,) = desk.parts(name)
    assert part.metadata.success is True
    assert not desk.told
    assert not (desk.folder / "no-ring").exists()


def test_steps_that_found_no_room_are_counted_and_the_episode_is_cut_there(
    desk: Desk,
) -> None:
    name = begin(desk.sender)
    for number in range(100):
        desk.sender.append(step(number))
    dropped = desk.sender.dropped
    assert dropped > 30
    desk.take_all()
    for number in range(100, 110):
        desk.sender.append(step(number))
    desk.sender.end(success=True)
    desk.take_all()
    first, second = desk.parts(name)
    assert numbers(first) == list(range(100 - dropped))
    assert numbers(second) == list(range(100, 110))
    assert first.metadata.success is None
    assert first.steps["is_last"][-1]
    assert second.steps["is_first"][0]
    account = desk.recording.account
    assert (account.driven, account.recorded) == (110, 110 - dropped)
    assert account.missing == Missing(no_room=dropped)


def test_begin_that_found_no_room_is_said_with_the_first_step_that_does(
    desk: Desk,
) -> None:
    first = begin(desk.sender)
    for number in range(100):
        desk.sender.append(step(number))
    for _ in range(2 * SLOTS):  # ends and begins fill the reserved slots
        desk.sender.end(success=None)
    second = begin(desk.sender)
    desk.sender.append(step(0))
    desk.take_all()
    for number in range(1, 4):
        desk.sender.append(step(number))
    desk.sender.end(success=None)
    desk.take_all()
    assert [numbers(one) for one in desk.parts(first)] == [list(range(SLOTS - 17))]
    assert [numbers(one) for one in desk.parts(second)] == [[1, 2, 3]]
    account = desk.recording.account
    assert (account.driven, account.recorded) == (104, SLOTS - 17 + 3)


def test_step_that_was_in_the_journal_is_not_recorded_twice(desk: Desk) -> None:
    name = begin(desk.sender)
    for number in range(4):
        desk.sender.append(step(number))
    for _ in range(3):
        desk.recording.take(desk.reader, 0.0)
    desk.take_without_release()  # step 2
    desk.start_again()
    desk.take_all()
    desk.sender.append(step(4, is_last=True))
    desk.sender.end(success=True)
    desk.take_all()
    parts = desk.parts(name)
    assert [numbers(one) for one in parts] == [[0, 1, 2], [3, 4]]
    assert [one.metadata.success for one in parts] == [None, True]
    account = desk.recording.account
    assert (account.driven, account.recorded) == (5, 5)


def test_every_death_between_two_records_keeps_every_step(desk: Desk) -> None:
    name = send_episode(desk.sender, 6)
    while desk.reader.peek() is not None:
        desk.take_without_release()
        desk.start_again()
        desk.recording.take(desk.reader, 0.0)
        desk.start_again()
    found = [one for part in desk.parts(name) for one in numbers(part)]
    assert found == list(range(6))
    account = desk.recording.account
    assert (account.driven, account.recorded) == (6, 6)
    assert sorted(path.name for path in desk.private.iterdir()) == [ACCOUNT]


def test_episode_whose_control_died_is_closed_when_the_next_one_begins(
    desk: Desk,
) -> None:
    name = begin(desk.sender)
    for number in range(3):
        desk.sender.append(step(number))
    desk.sender = StepSender(desk.folder / "ring", SPEC, slots=SLOTS)
    other = send_episode(desk.sender, 2)
    desk.take_all()
    (cut,) = desk.parts(name)
    assert numbers(cut) == [0, 1, 2]
    assert cut.metadata.success is None
    assert len(desk.parts(other)) == 1
    assert desk.recording.account.recorded == 5


def test_control_that_falls_silent_leaves_a_part_and_may_go_on(desk: Desk) -> None:
    name = begin(desk.sender)
    desk.sender.append(step(0))
    desk.take_all()
    desk.recording.cut(0.0)
    assert [numbers(one) for one in desk.parts(name)] == [[0]]
    desk.sender.append(step(1, is_last=True))
    desk.sender.end(success=True)
    desk.take_all()
    assert [numbers(one) for one in desk.parts(name)] == [[0], [1]]


def test_step_that_no_episode_takes_is_counted_and_the_others_are_kept(
    desk: Desk,
) -> None:
    name = begin(desk.sender)
    for number in range(6):
        desk.sender.append(step(number, state=float("nan") if number == 2 else None))
    desk.sender.end(success=False)
    desk.take_all()
    parts = desk.parts(name)
    assert [numbers(one) for one in parts] == [[0, 1], [3, 4, 5]]
    assert desk.recording.account.missing == Missing(unfit=1)
    assert any("finite" in line for line in desk.told)


def test_refused_disk_is_told_once_and_tried_again_later(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    refused = OSError(28, "No space left on device")

    def refuse(file: int, data: bytes) -> None:
        raise refused

    name = begin(desk.sender)
    desk.sender.append(step(0))
    desk.take_all()
    with monkeypatch.context() as full:
        full.setattr("base.durable_file.write_all", refuse)
        for number in range(1, 5):
            desk.sender.append(step(number))
            desk.now_s += 1.0
            desk.take_all()
    (line,) = desk.told  # of the journal, and not of the note of the next part too
    assert "No space left on device; " in line
    desk.now_s += RETRY_S
    for number in range(5, 8):
        desk.sender.append(step(number, is_last=number == 7))
    desk.sender.end(success=True)
    desk.take_all()
    found = sorted(
        one
        for part in ring_steps.read_episodes(desk.folder / "shared").values()
        for one in numbers(part)
    )
    assert found == [0, 5, 6, 7]
    account = desk.recording.account
    assert (account.driven, account.missing) == (8, Missing(refused=4))
    assert desk.parts(name)
    assert sorted(path.name for path in desk.private.iterdir()) == [ACCOUNT]


def test_disk_that_stays_full_is_told_of_once_and_not_for_each_episode(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(file: int, data: bytes) -> None:
        raise OSError(28, "No space left on device")

    send_episode(desk.sender, 2)
    desk.take_all()
    with monkeypatch.context() as full:
        full.setattr("base.durable_file.write_all", refuse)
        for _ in range(9):
            send_episode(desk.sender, 2)
            desk.take_all()
            desk.now_s += 2 * RETRY_S
        (line,) = desk.told
        assert line.endswith(
            "got No space left on device; free space or repair the disk"
        )
        desk.now_s += AGAIN_S
        send_episode(desk.sender, 2)
        desk.take_all()
        assert len(desk.told) == 2  # it is not forgotten


def test_clock_that_is_wrong_keeps_nothing_and_the_steps_are_counted(
    tmp_path: Path,
) -> None:
    told: list[str] = []
    folders = tmp_path / "shared", tmp_path / "private"
    sender = StepSender(tmp_path / "ring", SPEC, slots=SLOTS)
    recording = RingRecording(
        folders[1],
        lambda robot: recordings.open_folders(
            folders, told=told, machine_time="1970-01-01T00:00:00Z"
        ),
        lambda shared: None,
        told.append,
    )
    send_episode(sender, 3)
    reader = RingReader(tmp_path / "ring")
    while recording.take(reader, 0.0):
        pass
    assert recording.account.missing == Missing(refused=3)
    assert len(told) >= 1
    assert "clock" in told[0]
    assert not list(tmp_path.glob("shared/*"))
    recording.close()
    sender.close()


def test_ring_that_is_cut_off_in_an_episode_costs_its_steps_which_are_counted(
    desk: Desk,
) -> None:
    told: list[str] = []
    desk.sender = StepSender(desk.folder / "ring", SPEC, slots=SLOTS, tell=told.append)
    name = begin(desk.sender)
    for number in range(3):
        desk.sender.append(step(number))
    desk.take_all()
    os.truncate(desk.folder / "ring", 0)
    for number in range(3, 8):
        desk.sender.append(step(number))
    assert not told  # there is no time within an episode
    desk.take_all()
    desk.sender.end(success=True)
    (line,) = told
    assert "ring: expected nobody else to write to the ring" in line
    assert desk.reader.is_replaced()
    desk.reader = RingReader(desk.folder / "ring")
    os.truncate(desk.folder / "ring", 0)  # and again, between two episodes
    other = send_episode(desk.sender, 2)
    desk.reader = RingReader(desk.folder / "ring")
    desk.take_all()
    (part,) = desk.parts(name)
    assert numbers(part) == [0, 1, 2]
    assert part.metadata.success is None
    assert [numbers(one) for one in desk.parts(other)] == [[0, 1]]
    assert desk.sender.dropped == 5


def test_damaged_note_of_the_open_episode_loses_no_journal(desk: Desk) -> None:
    name = begin(desk.sender)
    desk.sender.append(step(0))
    desk.take_all()
    desk.recording.close()
    (desk.private / OPEN).write_bytes(b"{")
    desk.start_again()
    other = send_episode(desk.sender, 2)
    desk.take_all()
    assert [numbers(one) for one in desk.parts(name)] == [[0]]
    assert [numbers(one) for one in desk.parts(other)] == [[0, 1]]


class _Hands(DroppingMasker):
    """Looks at no picture until it is let; it is slower than any robot."""

    def __init__(self) -> None:
        super().__init__()
        self.may = threading.Event()

    def mask(self, images: Sequence[bytes], times_ns: Times) -> Masked:
        """See `Masker.mask`."""
        assert self.may.wait(60)
        return super().mask(images, times_ns)


@pytest.fixture
def seeing(tmp_path: Path) -> Iterator[Desk]:
    made = Desk(tmp_path, SEEING, _Hands())
    yield made
    made.masker.may.set()  # type: ignore[union-attr]
    made.recording.close()


def see(number: int, **jpegs: bytes) -> ControlStep:
    found = step(number)
    taken_ns = found.observation.t_monotonic_ns - 3_000_000
    pictures = {name: Picture(jpeg, taken_ns) for name, jpeg in jpegs.items()}
    seen = dataclasses.replace(found.observation, pictures=pictures)
    return dataclasses.replace(found, observation=seen)


def share_all(desk: Desk, count: int) -> None:
    """Lets the masks be made, and waits until so many episodes are shared."""
    desk.masker.may.set()  # type: ignore[union-attr]
    until_s = time.monotonic() + 60
    while len(desk.shared) < count and time.monotonic() < until_s:
        desk.recording.share_masked()
        time.sleep(0.001)
    assert len(desk.shared) == count


def read_raw(desk: Desk) -> Episode:
    (path,) = desk.private.glob("*.tfrecord")
    return reader.read_episode(path)


def test_pictures_of_each_camera_pass_through_the_ring(seeing: Desk) -> None:
    front, wrist = (encode(16, 16, n) for n in (1, 2)), encode(32, 24, 3)
    one, two = front
    begin(seeing.sender)
    for number in range(4):
        seeing.sender.append(see(number, front=two if number else one, wrist=wrist))
    seeing.sender.append(see(4, wrist=wrist))
    seeing.sender.end(success=True)
    seeing.take_all()
    raw = read_raw(seeing)
    black = blank_picture.make(16, 16)
    assert raw.steps["observation/image_front"] == (one, two, two, two, black)
    assert raw.steps["observation/image_wrist"] == (wrist,) * 5
    assert raw.steps["image_age_ns_front"].tolist() == [3_000_000] * 4 + [-1]
    assert seeing.told == []


@pytest.mark.parametrize("bands", [1, 4, 40])
def test_sound_passes_through_the_ring_and_a_coarse_copy_leaves(
    tmp_path: Path, bands: int
) -> None:
    robot = dataclasses.replace(SPEC, microphone=Microphone(20.0, bands))
    desk = Desk(tmp_path, robot)
    random = np.random.default_rng(0)
    heard = random.uniform(-20, -1, (200, bands)).astype(np.float32)
    name = begin(desk.sender)
    for number, powers in enumerate(heard):
        found = step(number, is_last=number == 199)
        now_ns = found.observation.t_monotonic_ns
        sound = None if number < 3 else Sound(powers, now_ns - 4_000_000)
        observed = dataclasses.replace(found.observation, sound=sound)
        desk.sender.append(dataclasses.replace(found, observation=observed))
        desk.take_all()
        if number == 150:  # what was written stays when the recorder dies
            desk.start_again()
    desk.sender.end(success=True)
    desk.take_all()
    heard[:3] = 0.0
    parts = desk.parts(name)
    assert [number for part in parts for number in numbers(part)] == list(range(200))
    at = 0
    for part in parts:
        end = at + part.num_steps
        times_ns = part.steps["t_monotonic_ns"]
        if bands > SOUND_BANDS:
            assert part.spec.audio_size == 0
        else:
            copy = part.steps["observation/audio_mel"]
            np.testing.assert_array_equal(copy, coarsen(heard[at:end], times_ns))
        at = end
    assert bool(desk.told) is (bands > SOUND_BANDS)
    for line in desk.told:
        assert "without observation/audio_mel: nothing here masks it" in line
    desk.recording.close()
    desk.sender.close()


def test_recorder_takes_the_next_steps_while_pictures_wait_to_be_masked(
    seeing: Desk,
) -> None:
    wrist, front = encode(32, 24, 3), encode(16, 16, 1)
    for _ in range(2):
        begin(seeing.sender)
        for number in range(5):
            seeing.sender.append(see(number, front=front, wrist=wrist))
        seeing.sender.end(success=True)
        seeing.take_all()
        seeing.recording.share_masked()
    assert seeing.recording.waiting_for_masks == 2
    assert seeing.shared == []
    assert seeing.recording.account.recorded == 10
    share_all(seeing, 2)
    assert seeing.recording.waiting_for_masks == 0
    assert not list(seeing.private.glob("*.tfrecord"))
    copies = ring_steps.read_episodes(seeing.folder / "shared").values()
    assert [copy.spec.cameras for copy in copies] == [("front", "wrist")] * 2
    for copy in copies:
        assert blank_picture.count(copy.steps["observation/image_front"]) == 5


def test_what_waited_for_masks_is_shared_by_the_next_recorder(seeing: Desk) -> None:
    begin(seeing.sender)
    seeing.sender.append(see(0, front=encode(16, 16, 1), wrist=encode(32, 24, 1)))
    seeing.sender.end(success=True)
    seeing.take_all()
    seeing.recording.share_masked()
    seeing.start_again()
    assert seeing.shared == []
    name = begin(seeing.sender)
    seeing.sender.append(see(0))
    seeing.take_all()
    assert seeing.recording.waiting_for_masks == 1
    seeing.sender.end(success=True)
    seeing.take_all()
    share_all(seeing, 2)
    assert name in {one.episode_id for one in seeing.shared}


def test_oldest_episode_leaves_without_pictures_when_too_much_waits(
    seeing: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    seeing.recording._masking._limit_bytes = 1
    for _ in range(2):
        begin(seeing.sender)
        for number in range(3):
            seeing.sender.append(see(number, front=encode(16, 16, number)))
        seeing.sender.end(success=True)
        seeing.take_all()
    until_s = time.monotonic() + 60
    while not seeing.shared and time.monotonic() < until_s:
        seeing.recording.share_masked()  # nobody looks, so nobody waits
    assert len(seeing.shared) == 1
    assert "is shared without its pictures: more than" in "".join(seeing.told)
    share_all(seeing, 2)


@pytest.mark.parametrize(
    ("bad", "text"),
    [
        (encode(32, 32, 1), "expected 16 x 16 pixels, got 32 x 32"),
        (encode(16, 16, 1)[:-5], "expected a whole JPEG, got"),
        (encode(16, 16, 1, "L"), "expected a picture in colour, got a grey one"),
        (bytes(1 << 20), "expected pictures of at most 16384 bytes, got 1048576"),
    ],
)
def test_bad_picture_costs_no_step_and_no_other_picture(
    seeing: Desk, bad: bytes, text: str
) -> None:
    good, wrist = encode(16, 16, 1), encode(32, 24, 1)
    begin(seeing.sender)
    for number in range(6):
        jpeg = bad if number in (2, 3) else good
        seeing.sender.append(see(number, front=jpeg, wrist=wrist))
    seeing.sender.end(success=True)
    seeing.take_all()
    raw = read_raw(seeing)
    black = blank_picture.make(16, 16)
    assert raw.steps["observation/image_front"] == tuple(
        black if number in (2, 3) else good for number in range(6)
    )
    assert raw.steps["observation/image_wrist"] == (wrist,) * 6
    assert len(seeing.told) == 1
    assert text in seeing.told[0]
    assert "observation/image_front" in seeing.told[0]
    assert seeing.recording.account.missing == Missing()


def test_ring_of_many_large_pictures_stays_within_its_size(tmp_path: Path) -> None:
    cameras = tuple(
        Camera(name, 1920, 1080, 30.0) for name in ("front", "left", "right")
    )
    sender = StepSender(tmp_path / "ring", dataclasses.replace(SPEC, cameras=cameras))
    assert (tmp_path / "ring").stat().st_size < 4 * step_ring.LARGEST_BYTES
    sender.close()
    small = dataclasses.replace(SPEC, cameras=(Camera("front", 64, 64, 20.0),))
    sender = StepSender(tmp_path / "small", small)
    assert (tmp_path / "small").stat().st_size <= step_ring.LARGEST_BYTES + 4096
    sender.close()
