"""What learning came to is said in signed receipts, whatever happens meanwhile."""

import contextlib
import multiprocessing
import re
import shutil
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

import pytest

from base.errors import ContinuonError
from edge.episodes import robot_key
from edge.errors import LearningError
from edge.loops import night_receipts
from edge.loops.delta_store import CURRENT
from edge.loops.learning_job import Report
from edge.loops.local_learning import AGAIN, PREPARE, LocalLearning, Settings
from edge.loops.night_receipts import NightReceipts
from edge.ota.receipts import Receipts
from edge.testing.learning_home import NOW, LearnerInside, LearningHome
from edge.testing.tiny_learning import ROBOT_ID, TASKS, Plan
from rlds import receipt
from rlds.receipt import Receipt

KEY: Final = robot_key.derive_simulated(ROBOT_ID)
BEGIN: Final = datetime(2026, 3, 4, 22, tzinfo=UTC)
_MANY: Final = 40


class Robot:
    """A home whose learning writes receipts, a second apart."""

    def __init__(self, root: Path) -> None:
        self.home = LearningHome(root)
        self.receipts = Receipts(root / "receipts", KEY, ROBOT_ID)
        self.seconds = 0

    def tick(self) -> datetime:
        self.seconds += 1
        return BEGIN + timedelta(seconds=self.seconds)

    def open(self) -> LocalLearning:
        """Learning as after a start of the process."""
        told = self.home.told.append
        notes = NightReceipts(lambda: self.receipts, told, self.tick)
        learning = self.home.open(receipts=notes)
        learning.look()
        return learning

    def read(self) -> list[Receipt]:
        """The receipts, the oldest first, as whoever gets them reads them."""
        keys = {
            KEY.keyid: robot_key.read_public(self.receipts.folder.parents[1], KEY.keyid)
        }
        paths = self.receipts.list_paths()
        return [receipt.verify(path.read_bytes(), keys, path) for path in paths]


@pytest.fixture
def robot(tmp_path: Path) -> Robot:
    return Robot(tmp_path)


def run(learning: LocalLearning, loop: str = "slow") -> str | None:
    learning.begin(loop)
    came_to = learning.poll(NOW)
    assert came_to is not None
    return came_to.delta


def test_accepted_night_has_a_receipt_without_anything_of_an_episode(
    robot: Robot,
) -> None:
    package = robot.home.install()
    robot.home.show(16)
    delta = run(robot.open())
    (said,) = robot.read()
    assert (said.outcome, said.package_digest) == (receipt.LEARNED, package)
    assert said.delta_digest == delta
    assert (said.channel, said.origin, said.release_counter) == ("stable", "channel", 1)
    assert said.reason.startswith("what was learned: mean error ")
    assert 0 < said.counts["error_after"] < said.counts["error_before"]
    assert said.counts["episodes"] > said.counts["judges"] > 0
    (path,) = robot.receipts.list_paths()
    raw = path.read_bytes().decode()
    private = [ROBOT_ID, str(robot.home.root), *TASKS]
    private += [memory.digest for memory in robot.open().memories.read()]
    assert len(private) > len(TASKS) + 10
    assert not any(text in raw for text in private)


@pytest.mark.parametrize("harmful", [False, True])
def test_what_a_night_found_is_in_its_receipt_whether_or_not_its_delta_counts(
    robot: Robot, harmful: bool
) -> None:
    robot.home.install(Plan(finds=True, harmful=harmful))
    robot.home.show(16)
    delta = run(robot.open())
    (said,) = robot.read()
    assert (delta is None) == harmful
    found = {k: x for k, x in said.counts.items() if k.startswith("found_")}
    assert found == {
        "found_latency_steps": 8,
        "found_gain_0": 0.82,
        "found_gain_1": 0.82,
        "found_sensor_offset_2": 0.03,
    }
    if not harmful:  # and so is that of a delta whose receipt a cut has taken
        (path,) = robot.receipts.list_paths()
        path.unlink()
        robot.open()
        (again,) = robot.read()
        assert again.counts == said.counts


def test_refused_night_says_why_and_changes_nothing(robot: Robot) -> None:
    package = robot.home.install(Plan(harmful=True))
    robot.home.show(16)
    learning = robot.open()
    assert run(learning) is None
    (said,) = robot.read()
    assert said.outcome == receipt.NOT_LEARNED
    assert (said.package_digest, said.delta_digest) == (package, "")
    assert "is needed" in said.reason
    assert learning.store.named(CURRENT) is None


def test_night_that_came_to_nan_is_refused_and_says_so(robot: Robot) -> None:
    robot.home.install(Plan(not_finite=True))
    robot.home.show(16)
    assert run(robot.open()) is None
    (said,) = robot.read()
    assert said.outcome == receipt.NOT_LEARNED
    assert "finite" in said.reason


def fail(robot: Robot, learning: LocalLearning) -> None:
    """A night whose memories are gone before it reads them."""
    learning.begin("slow")
    kept = list((robot.home.root / "memories").glob("*-learn-*"))
    away = robot.home.root / "away"
    away.mkdir(exist_ok=True)
    for path in kept:
        path.rename(away / path.name)
    with pytest.raises(LearningError):
        learning.poll(NOW)
    for path in kept:
        (away / path.name).rename(path)


def test_night_that_fails_says_why_once_and_nothing_of_an_episode(
    robot: Robot,
) -> None:
    package = robot.home.install()
    robot.home.show(16)
    learning = robot.open()
    for _ in range(3):
        fail(robot, learning)
    (said,) = robot.read()
    assert (said.outcome, said.package_digest) == (receipt.NOT_LEARNED, package)
    assert (said.delta_digest, said.reason) == ("", "the slow loop: its learner failed")
    assert said.counts["episodes"] > 0
    assert set(said.counts) == {"episodes", "wall_s", "processor_s"}
    assert run(learning) is not None
    robot.home.show(4)
    learning.look()
    fail(robot, learning)
    assert [one.outcome for one in robot.read()] == [
        receipt.NOT_LEARNED,
        receipt.LEARNED,
        receipt.NOT_LEARNED,
    ]


def test_night_that_took_too_much_memory_says_how_much(robot: Robot) -> None:
    robot.home.install()
    robot.home.show(16)
    notes = NightReceipts(lambda: robot.receipts, robot.home.told.append, robot.tick)
    learning = LocalLearning(
        robot.home.root,
        Settings(ROBOT_ID, memory_bytes=1e6),
        robot.home.told.append,
        LearnerInside,
        notes,
    )
    learning.look()
    for _ in range(2):  # the second one takes another number of megabytes
        learning.begin("slow")
        with pytest.raises(LearningError, match="of memory, got"):
            learning.poll(NOW)
        held = bytearray(20_000_000)
    assert held
    (said,) = robot.read()
    assert said.outcome == receipt.NOT_LEARNED
    assert re.fullmatch(
        r"the slow loop: expected at most 1 MB of memory, "
        r"got \d+ MB, so it was stopped",
        said.reason,
    )


class Killed(LearnerInside):
    """A learner that the system ends."""

    def poll(self, timeout_s: float) -> list[Report]:
        self.running = False
        self.failure = "it ended with code -9: it said nothing"
        return []


def test_function_that_does_not_compile_has_a_receipt(robot: Robot) -> None:
    robot.home.install(Plan(large=True))
    notes = NightReceipts(lambda: robot.receipts, robot.home.told.append, robot.tick)
    tell = robot.home.told.append
    learning = LocalLearning(robot.home.root, Settings(ROBOT_ID), tell, Killed, notes)
    learning.look()
    assert learning.needs_preparing()
    for _ in range(2):
        learning.begin(PREPARE)
        with pytest.raises(LearningError):
            learning.poll(NOW)
    (said,) = robot.read()
    assert said.outcome == receipt.NOT_LEARNED
    assert said.reason == "compiling a function: its learner ended with code -9"


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        ("it ended with code -9: open the door", "its learner ended with code -9"),
        ("episode a1: expected one of the tasks [], got reach", "its learner failed"),
        ("", "its learner failed"),
    ],
)
def test_failure_is_named_without_what_a_package_says(said: str, reason: str) -> None:
    assert night_receipts.name_failure(said) == reason


def learn_and_drive(
    robot: Robot, with_delta: str
) -> tuple[LocalLearning, str, str | None]:
    """A night, then ten good episodes without its delta and these with it."""
    package = robot.home.install()
    robot.home.show(16)
    learning = robot.open()
    delta = run(learning)
    robot.home.drive(package, "", "+" * 10)
    robot.home.drive(package, delta, with_delta)
    return learning, package, delta


def test_delta_that_proves_good_in_use_has_one_receipt_also_after_a_cut(
    robot: Robot,
) -> None:
    learning, package, delta = learn_and_drive(robot, "+" * 10)
    for _ in range(2):
        learning.look()
    robot.open()
    learned, proved = robot.read()
    assert (learned.outcome, proved.outcome) == (receipt.LEARNED, receipt.PROVED_GOOD)
    assert (proved.package_digest, proved.delta_digest) == (package, delta)
    assert proved.reason.startswith("10 of 10 episodes")
    shutil.rmtree(robot.receipts.folder)
    for _ in range(2):
        robot.open()
    again = {one.outcome: one for one in robot.read()}
    assert len(robot.read()) == 2
    assert again[receipt.PROVED_GOOD].delta_digest == delta
    assert again[receipt.PROVED_GOOD].reason == night_receipts.PROVED_BEFORE
    robot.home.install(Plan(seed=5))  # to which that delta does not belong
    robot.open()
    assert len(robot.read()) == 2


def test_delta_that_goes_back_in_use_has_a_receipt_with_the_reason(
    robot: Robot,
) -> None:
    learning, _, delta = learn_and_drive(robot, "-" * 6)
    learning.look()
    learned, gone = robot.read()
    assert (learned.outcome, gone.outcome) == (receipt.LEARNED, receipt.UNLEARNED)
    assert learned.delta_digest == gone.delta_digest == delta
    assert "fewer than before" in gone.reason
    learning.look()
    robot.open()
    assert len(robot.read()) == 2


def test_delta_that_an_update_leaves_behind_is_said_to_be_unlearned(
    robot: Robot,
) -> None:
    robot.home.install()
    robot.home.show(16)
    delta = run(robot.open())
    newer = robot.home.install(Plan(seed=5))
    learning = robot.open()
    assert learning.needs_judging()
    again = run(learning, AGAIN)
    said = {one.outcome: one for one in robot.read() if one.package_digest == newer}
    gone = said[receipt.UNLEARNED]
    assert (gone.delta_digest, gone.release_counter) == (delta, 2)
    assert gone.reason.startswith("on the new package: ")
    assert (receipt.LEARNED in said) is (again is not None)


def test_delta_that_a_new_package_cannot_judge_is_said_to_be_unlearned(
    robot: Robot,
) -> None:
    robot.home.install()
    robot.home.show(16)
    delta = run(robot.open())
    robot.home.install(Plan(seed=5), learning=None)
    learning = robot.open()
    with pytest.raises(ContinuonError):
        learning.begin(AGAIN)
    (gone,) = [one for one in robot.read() if one.outcome == receipt.UNLEARNED]
    assert (gone.delta_digest, gone.reason) == (
        delta,
        "the new package cannot judge it",
    )


def test_receipts_that_a_cut_prevented_are_written_at_the_next_start(
    robot: Robot,
) -> None:
    learning, _, bad = learn_and_drive(robot, "-" * 6)
    learning.look()
    good = run(learning)
    shutil.rmtree(robot.receipts.folder)
    robot.open()
    said = {one.outcome: one for one in robot.read()}
    assert said[receipt.LEARNED].delta_digest == good
    assert said[receipt.LEARNED].counts["judges"] > 0
    assert said[receipt.UNLEARNED].delta_digest == bad
    assert said[receipt.UNLEARNED].reason == night_receipts.NO_REASON


def test_disk_that_takes_no_receipt_keeps_nobody_from_learning(robot: Robot) -> None:
    robot.home.install()
    robot.home.show(16)
    receipts = robot.home.root / "receipts"
    receipts.symlink_to(robot.home.root / "disk")  # which is not there
    learning = robot.open()
    delta = run(learning)
    assert delta is not None
    assert learning.store.named(CURRENT) == delta
    assert len([line for line in robot.home.told if "no receipt" in line]) == 1
    receipts.unlink()
    robot.open()
    assert [one.delta_digest for one in robot.read()] == [delta]


def _write_many(root: Path, outcomes: tuple[str, ...]) -> None:
    receipts = Receipts(root, KEY, ROBOT_ID)
    for number in range(_MANY):
        if number % 10 == 0:  # as at a start
            with contextlib.suppress(FileNotFoundError):
                receipts.remove_leftovers()
        receipts.write(
            BEGIN + timedelta(seconds=number),
            outcomes[number % len(outcomes)],
            "ab" * 32,
        )


@pytest.fixture
def together() -> Iterator[list[multiprocessing.process.BaseProcess]]:
    started: list[multiprocessing.process.BaseProcess] = []
    yield started
    for one in started:
        one.kill()
        one.join()


def test_updater_and_learner_that_write_at_once_lose_no_receipt(
    tmp_path: Path, together: list[multiprocessing.process.BaseProcess]
) -> None:
    assert not set(receipt.OF_UPDATES) & set(receipt.OF_LEARNING)
    assert set(receipt.OUTCOMES) == {*receipt.OF_UPDATES, *receipt.OF_LEARNING}
    context = multiprocessing.get_context("fork")
    for outcomes in (receipt.OF_UPDATES, receipt.OF_LEARNING):
        together.append(context.Process(target=_write_many, args=(tmp_path, outcomes)))
        together[-1].start()
    for one in together:
        one.join(60.0)
        assert one.exitcode == 0
    receipts = Receipts(tmp_path, KEY, ROBOT_ID)
    keys = {KEY.keyid: robot_key.read_public(tmp_path, KEY.keyid)}
    paths = receipts.list_paths()
    assert len(paths) == 2 * _MANY
    for path in paths:
        receipt.verify(path.read_bytes(), keys, path)
    assert not list(tmp_path.rglob(".tmp-*"))
