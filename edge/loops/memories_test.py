"""Raw episodes of this robot are kept within a quota, and nothing else is."""

import dataclasses
import os
import shutil
from collections.abc import Set
from pathlib import Path

import pytest

from base import durable_file
from base.errors import DiskError
from base.testing import special_files
from edge.episodes import robot_key
from edge.episodes.episode_id import make_random_id
from edge.episodes.provenance import Provenance
from edge.loops import memories as local
from edge.loops.memories import LocalMemories
from edge.loops.memory_choice import KNOWN, LIVED, Driver, Memory, Use
from edge.robots.clock import unix_ns_from_rfc3339
from edge.robots.simulated_point import SPEC
from edge.testing import recordings
from release.package import ActionSpec, RobotFit, TensorSpec
from rlds import example_codec, reader, tfrecord
from rlds.spec import EpisodeSpec
from rlds.testing import episodes

ROBOT = "arm-1"
FIT = RobotFit(
    robot_model="sawyer",
    observation={"state": TensorSpec("state", (3,), "float32")},
    action=ActionSpec((2,), "float32", (-1.0,) * 2, (1.0,) * 2),
    control_hz=80.0,
    tasks=("reach-v3", "push-v3"),
)
LARGE = 1 << 30


class Folder:
    """The memories of one robot, and what was told of them."""

    def __init__(self, root: Path) -> None:
        self.root = root / "memories"
        self.told: list[str] = []
        self.made = 0

    def open(self, quota_bytes: int = LARGE) -> LocalMemories:
        return LocalMemories(self.root, ROBOT, quota_bytes, self.told.append)

    def hand_over(
        self, count: int = 5, spec: EpisodeSpec | None = None, **changes: object
    ) -> Path:
        """Puts an episode where the recorder does."""
        self.made += 1
        changes = {"robot_hash": ROBOT, "task": "reach-v3", **changes}
        one = episodes.episode(spec, count, number=self.made, **changes)
        path = self.root / local.NEW / f"{one.metadata.episode_id}.tfrecord"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(tfrecord.frame(example_codec.encode(one)))
        os.utime(path, ns=(self.made, self.made))
        return path

    def names(self) -> list[str]:
        """Everything in the folder and in the folder of new ones."""
        return sorted(
            str(p.relative_to(self.root))
            for p in self.root.rglob("*")
            if not p.is_dir() or p.parent.name == local.NEW
        )


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    return Folder(tmp_path)


def test_robot_without_memories_has_none(folder: Folder) -> None:
    memories = folder.open()
    assert memories.read() == ()
    assert memories.take(FIT) == ()
    assert not folder.root.exists()


def test_new_episodes_are_taken_in_their_order_whatever_their_times_say(
    folder: Folder,
) -> None:
    times = ["2026-05-01T08:00:00Z", "2019-01-01T00:00:00Z", "2031-01-01T00:00:00Z"]
    for number, time in enumerate(times):
        folder.hand_over(count=5 + number, start_time=time)
    taken = folder.open().take(FIT)
    assert [one.number for one in taken] == [0, 1, 2]
    assert [one.steps for one in taken] == [5, 6, 7]
    assert not list((folder.root / local.NEW).iterdir())
    # Another process finds the same.
    assert folder.open().read() == taken
    folder.hand_over()
    assert folder.open().take(FIT)[0].number == 3
    assert folder.told == []


def test_corrected_episode_counts_as_a_persons(folder: Folder) -> None:
    watched = EpisodeSpec(3, 2, interventions=True)
    folder.hand_over(spec=watched, operator="policy:" + "cd" * 6, success=None)
    folder.hand_over(operator="policy:" + "cd" * 6)
    memories = folder.open()
    memories.take(FIT)
    corrected, driven = memories.read()
    assert (corrected.driver, corrected.kind) == (Driver.PERSON, LIVED)
    assert (driven.driver, driven.kind) == (Driver.PACKAGE, KNOWN)


def test_memory_says_who_drove_and_what_happened(folder: Folder) -> None:
    folder.hand_over(operator="policy:cdcdcdcdcdcd", delta_digest="ab" * 32)
    (one,) = folder.open().take(FIT)
    assert one.driver is Driver.PACKAGE_WITH_DELTA
    assert one.delta_digest == "ab" * 32
    assert one.package_digest == "cd" * 32
    assert one.stop_rules == 1  # of the five steps
    assert one.use is Use.LEARN


@pytest.mark.parametrize(
    ("tags", "stop_rules", "cut_short"),
    [
        ((), 1, False),
        (("stop_stop_key",), 0, True),
        (("recovered",), 1, True),
        (("stop_workspace",), 1, False),
    ],
)
def test_stop_key_of_a_person_is_no_stop_rule(
    folder: Folder, tags: tuple[str, ...], stop_rules: int, cut_short: bool
) -> None:
    folder.hand_over(tags=tags)
    (taken,) = folder.open().take(FIT)
    assert (taken.stop_rules, taken.cut_short) == (stop_rules, cut_short)
    assert folder.open().read() == (taken,)


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"robot_hash": "ab" * 32}, "expected an episode of arm-1"),
        ({"robot_model": "panda"}, "expected a robot sawyer, got panda"),
        ({"spec": EpisodeSpec(4, 2)}, "shapes ((3,), (2,)), got ((4,), (2,))"),
        ({"spec": EpisodeSpec(3, 1)}, "shapes ((3,), (2,)), got ((3,), (1,))"),
    ],
)
def test_episode_of_another_robot_is_set_aside_with_one_line(
    folder: Folder, changes: dict[str, object], told: str
) -> None:
    path = folder.hand_over(**changes)  # type: ignore[arg-type]
    folder.hand_over()
    memories = folder.open()
    assert len(memories.take(FIT)) == 1
    assert len(folder.told) == 1
    assert told in folder.told[0]
    assert "\n" not in folder.told[0]
    assert path.with_name(f"{path.name}.damaged").exists()
    assert memories.take(FIT) == ()
    assert len(folder.told) == 1


@pytest.mark.parametrize("kind", special_files.KINDS)
def test_name_that_leads_to_no_episode_stops_nothing(folder: Folder, kind: str) -> None:
    path = folder.hand_over()
    special_files.make(path.with_name("odd.tfrecord"), kind)
    with special_files.at_once():
        assert len(folder.open().take(FIT)) == 1
    assert len(folder.told) == 1


@pytest.mark.parametrize("length", [0, 1, 11, 100, -1])
def test_torn_episode_is_set_aside(folder: Folder, length: int) -> None:
    path = folder.hand_over()
    path.write_bytes(path.read_bytes()[:length])
    assert folder.open().take(FIT) == ()
    assert len(folder.told) == 1
    assert folder.names() == [f"new/{path.name}.damaged"]


def test_episode_that_the_recorder_removed_meanwhile_is_not_told_of(
    folder: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = folder.hand_over()
    listed = local._list_new

    def remove_after(folder: Path, without: Set[Path]) -> list[Path]:
        found = listed(folder, without)
        path.unlink()
        return found

    monkeypatch.setattr(local, "_list_new", remove_after)
    assert folder.open().take(FIT) == ()
    assert folder.told == []


def test_kept_file_with_other_bytes_than_its_name_says_is_set_aside(
    folder: Folder,
) -> None:
    folder.hand_over()
    folder.hand_over(count=6)
    first, second = folder.open().take(FIT)
    memories = folder.open()
    shutil.copy(memories.path(first), memories.path(second))
    assert memories.read() == (first,)
    assert len(folder.told) == 1


def test_memory_that_somebody_gave_a_large_number_is_followed_by_longer_names(
    folder: Folder,
) -> None:
    folder.hand_over()
    memories = folder.open()
    (first,) = memories.take(FIT)
    path = memories.path(first)
    path.rename(path.with_name(path.name.replace("00000000-", "99999999-")))
    for _ in range(3):
        folder.hand_over()
    taken = folder.open().take(FIT)
    assert [one.number for one in taken] == [10**8, 10**8 + 1, 10**8 + 2]
    again = folder.open().read()
    assert [one.number for one in again] == [10**8 - 1, 10**8, 10**8 + 1, 10**8 + 2]
    assert folder.told == []


@pytest.mark.parametrize("digits", ["9" * 13, "9" * 40, "0000000000"])
def test_memory_of_a_number_that_no_robot_gives_is_set_aside(
    folder: Folder, digits: str
) -> None:
    folder.hand_over()
    memories = folder.open()
    (first,) = memories.take(FIT)
    path = memories.path(first)
    path.rename(path.with_name(path.name.replace("00000000-", f"{digits}-")))
    folder.hand_over()
    assert [one.number for one in folder.open().take(FIT)] == [0]
    assert len(folder.told) == 1
    assert "a number up to 1000000000000 in its name" in folder.told[0]
    assert len([name for name in folder.names() if name.endswith(".damaged")]) == 1


def test_many_foreign_files_are_set_aside_some_in_each_look_with_one_line(
    folder: Folder,
) -> None:
    folder.hand_over()
    (own,) = folder.open().take(FIT)
    many = 3 * local.MOST_READ
    for number in range(many):
        (folder.root / f"{number:08d}-judge-{number:064x}.tfrecord").write_bytes(b"x")
        (folder.root / local.NEW / f"{number}.tfrecord").write_bytes(b"x")
    folder.hand_over()
    memories = folder.open()
    taken: list[Memory] = []
    for look in range(1, 8):
        taken += memories.take(FIT)
        foreign = [name for name in folder.names() if name.endswith(".tfrecord")]
        left = 2 * many + 2 - look * local.MOST_READ  # the two good ones are read too
        assert 2 <= len(foreign) <= 2 + max(0, left)
    assert not memories.has_more
    assert memories.read() == (own, *taken)
    assert [one.number for one in taken] == [1]
    assert len(folder.told) == 1
    assert f"{local.MOST_READ - 1} files among the memories set aside" in folder.told[0]
    aside = [name for name in folder.names() if ".damaged" in name]
    assert len(aside) == local.KEPT_ASIDE


def test_many_good_episodes_are_read_some_in_each_look_and_none_is_left(
    folder: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(local, "MOST_READ", 4)
    for _ in range(10):
        folder.hand_over()
    memories = folder.open()
    assert [len(memories.take(FIT)) for _ in range(4)] == [4, 4, 2, 0]
    assert not memories.has_more
    assert [one.number for one in memories.read()] == list(range(10))
    # Another process reads them in as many looks, and takes in nothing before.
    new = folder.hand_over()
    memories = folder.open()
    for _ in range(2):
        assert memories.take(FIT) == ()
        assert (memories.is_whole, memories.has_more) == (False, True)
    (taken,) = memories.take(FIT)
    assert (taken.number, len(memories.read())) == (10, 11)
    assert not new.exists()
    assert not memories.has_more


def test_more_new_episodes_than_are_put_in_order_at_once_are_all_taken_in(
    folder: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(local, "_MOST_LISTED", 3)
    for _ in range(7):
        folder.hand_over()
    memories, taken = folder.open(), 0
    while memories.has_more:
        taken += len(memories.take(FIT))
    assert taken == 7


def test_large_episodes_end_a_look_before_there_are_many(
    folder: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    size_bytes = folder.hand_over().stat().st_size
    for _ in range(2):
        folder.hand_over()
    monkeypatch.setattr(local, "_MOST_BYTES", size_bytes + 1)
    memories = folder.open()
    assert [len(memories.take(FIT)) for _ in range(2)] == [2, 1]


def test_bad_file_that_cannot_be_set_aside_is_read_once_and_keeps_back_no_other(
    folder: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(local, "MOST_READ", 2)
    for number in range(3):
        path = folder.hand_over()
        path.write_bytes(b"x")
        os.utime(path, ns=(number, number))
    refused = DiskError("a file", "to set it aside", "Operation not permitted")

    def refuse(path: Path, *, sync: bool = True) -> Path:
        raise refused

    monkeypatch.setattr(durable_file, "set_aside", refuse)
    folder.hand_over()
    memories = folder.open()
    taken = [len(memories.take(FIT)) for _ in range(4)]
    assert taken == [0, 1, 0, 0]
    assert len(folder.told) == 2


def test_cut_between_the_two_names_of_a_file_takes_it_once(folder: Folder) -> None:
    path = folder.hand_over()
    copy = path.read_bytes()
    taken = folder.open().take(FIT)
    path.write_bytes(copy)
    assert folder.open().take(FIT) == ()
    assert folder.open().read() == taken
    assert not path.exists()


def test_quota_is_kept_and_the_newest_and_the_judges_stay(folder: Folder) -> None:
    for _ in range(12):
        folder.hand_over()
    size_bytes = folder.open().take(FIT)[0].size_bytes
    folder.hand_over()
    memories = folder.open(quota_bytes=8 * size_bytes + size_bytes // 2)
    memories.take(FIT)
    kept = memories.read()
    assert len(kept) == 8
    assert sum(memories.path(one).stat().st_size for one in kept) <= 8.5 * size_bytes
    assert [one.use for one in kept].count(Use.JUDGE) == 2
    assert kept[-1].number == 12
    assert folder.open().read() == kept


def test_files_set_aside_do_not_fill_the_disk(folder: Folder) -> None:
    for _ in range(local.KEPT_ASIDE + 5):
        folder.hand_over(robot_hash="other")
    assert folder.open().take(FIT) == ()
    assert len(folder.names()) == local.KEPT_ASIDE


def test_surprise_that_was_measured_belongs_to_its_memory(folder: Folder) -> None:
    folder.hand_over()
    folder.hand_over()
    memories = folder.open()
    first, second = memories.take(FIT)
    memories.note_surprise({second.digest: 2.5})
    assert [one.surprise for one in memories.read()] == [None, 2.5]
    assert first.surprise is None


def test_kept_memories_of_another_robot_stay_and_are_not_learned_from(
    folder: Folder, tmp_path: Path
) -> None:
    folder.hand_over()
    (own,) = folder.open().take(FIT)
    other = Folder(tmp_path / "other")
    for _ in range(20):
        other.hand_over(robot_hash="arm-2")
    theirs = LocalMemories(other.root, "arm-2").take(FIT)
    shutil.copytree(other.root, folder.root, dirs_exist_ok=True)
    before = folder.names()
    memories = folder.open(quota_bytes=own.size_bytes)
    for _ in range(4):
        assert memories.take(FIT) == ()
    assert memories.read() == (own,)
    assert folder.names() == before
    (line,) = folder.told
    assert line.startswith("20 of the memories are not of this robot, arm-1, ")
    assert "of arm-2;" in line
    folder.hand_over()
    assert [m.number for m in memories.take(FIT)] == [1]
    foreign = {memories.path(one).name for one in theirs}
    assert foreign <= set(folder.names()), "nor do they give way to the quota"


def test_months_of_one_real_robot_are_memories_of_one_robot(folder: Folder) -> None:
    new = folder.root / local.NEW
    new.mkdir(parents=True)
    real = dataclasses.replace(SPEC, simulated=False)
    key = robot_key.load_or_create(folder.root.parent / "robot.key")
    shared, private = (folder.root.parent / name for name in ("shared", "private"))

    def hand_over(raw: Path) -> None:
        shutil.copy(raw, new)

    for time in ("2026-02-27T09:41:12Z", "2026-05-03T18:02:44Z"):
        with recordings.open_folders(
            (shared, private),
            robot_id=ROBOT,
            key=key,
            robot_time=time,
            machine_time=time,
            robot=real,
            hand_over=hand_over,
        ) as recording:
            begin_ns = unix_ns_from_rfc3339(time)
            recorder = recording.begin(
                real, make_random_id(begin_ns), begin_ns, Provenance("human")
            )
            for number in range(3):
                recorder.append(recordings.step(number, number == 2))
            recording.share(recorder.close(success=True)[0])
    hashes = {reader.read_episode(p).metadata.robot_hash for p in shared.glob("*.tf*")}
    assert len(hashes) == 2
    fit = RobotFit(
        robot_model=real.robot_model,
        observation={"state": TensorSpec("state", (2,), "float32")},
        action=ActionSpec((1,), "float32", (-1.0,), (1.0,)),
        control_hz=real.control_hz,
        tasks=(real.task,),
    )
    taken = folder.open().take(fit)
    assert len(taken) == 2
    assert folder.open().read() == taken
    assert folder.told == []
