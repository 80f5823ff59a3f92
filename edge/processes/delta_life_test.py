"""The life of a delta in the programs that ship: it proves good, goes back, is updated.

The process `learn` runs as on a robot, and what the others do is on its disk. The last
test has all of them: supervisor, control, recorder, learner and updater.
"""

from collections.abc import Iterator
from pathlib import Path

import pytest

from edge.loops.delta_store import CURRENT, LAST_GOOD, QUARANTINE, DeltaStore
from edge.loops.trial import ENOUGH
from edge.processes.home import Home
from edge.testing.learn_program import LearnProgram
from edge.testing.learning_home import LearningHome
from edge.testing.living_robot import LivingRobot
from edge.testing.tiny_learning import Plan


class Robot:
    """A home, its `learn` that runs, and its deltas."""

    def __init__(self, root: Path) -> None:
        self.home = LearningHome(root)
        self.package = self.home.install()
        self.store = DeltaStore(root / "deltas")
        self.learn = LearnProgram(self.home)
        self._receipt = ""

    def rest(self, mode: str) -> str:
        """Idles or sleeps until a round has ended; returns what it says of it."""
        self.learn.wait_for(lambda one: one["memories"] == self.home.number)
        self.learn.tell(mode)
        status = self.learn.wait_for(lambda one: one["receipt"] != self._receipt)
        self.learn.tell("driving")
        self.learn.wait_for(lambda one: one["mode"] == "driving")
        self._receipt = str(status["receipt"])
        return self._receipt

    def named(self, pointer: str = CURRENT) -> str | None:
        return self.store.named(pointer)

    def aside(self) -> set[str]:
        return set(self.store.list_quarantine())

    def count_receipts(self, outcome: str) -> int:
        return len(list((self.home.root / "receipts").rglob(f"*-{outcome}-*.json")))


@pytest.fixture
def robot(tmp_path: Path) -> Iterator[Robot]:
    made = Robot(tmp_path / "home")
    yield made
    made.learn.kill()


def test_delta_proves_good_in_use_and_the_next_one_that_does_worse_goes_back(
    robot: Robot,
) -> None:
    robot.home.show(16)
    assert " accepted after " in robot.rest("asleep")
    good = robot.named()
    assert robot.named(LAST_GOOD) is None
    robot.home.drive(robot.package, good, "+" * ENOUGH)
    robot.learn.wait_for(lambda _: robot.named(LAST_GOOD) == good)
    robot.home.show(4)
    assert " accepted after " in robot.rest("asleep")
    bad = robot.named()
    assert bad not in (None, good)
    robot.home.drive(robot.package, bad, "-" * 6)
    robot.learn.wait_for(lambda _: robot.named() == good)
    said = robot.learn.close()
    assert robot.named(LAST_GOOD) == good
    assert robot.aside() == {bad}
    assert f"delta {str(good)[:12]} is the last good one: 10 of 10 episodes" in said
    assert f"delta {str(bad)[:12]} goes back: 0 of " in said
    outcomes = ("learned", "proved_good", "unlearned", "not_learned")
    assert [robot.count_receipts(one) for one in outcomes] == [2, 1, 1, 0]


@pytest.mark.long
@pytest.mark.parametrize("helps", [True, False])
def test_after_an_update_the_delta_is_judged_on_the_new_package_or_put_aside(
    robot: Robot, helps: bool
) -> None:
    robot.home.show(16)
    robot.rest("asleep")
    old = robot.named()
    assert old is not None
    # The same step with another plan; or one that does something else altogether.
    new = robot.home.install(Plan(calls=30) if helps else Plan(seed=5))
    said = robot.rest("idle")  # the medium loop does not run on what a channel brought
    assert said.startswith("again: delta ")
    assert robot.aside() == {old}
    assert robot.named(LAST_GOOD) is None
    if helps:
        assert " accepted after " in said
        named = robot.named()
        assert named is not None
        record = (robot.store.folder(named) / "delta.json").read_text()
        assert f'"base_package":"{new}"' in record
        assert f'"parent":"{old}"' in record
    else:
        assert " refused after " in said
        assert robot.named() is None
    robot.learn.close()
    assert robot.count_receipts("unlearned") == 1


@pytest.mark.long
def test_delta_is_learned_proves_good_and_survives_an_update_in_a_whole_robot(
    tmp_path: Path,
) -> None:
    robot = LivingRobot(tmp_path)
    try:
        live(robot)
    finally:
        robot.close()


def live(robot: LivingRobot) -> None:
    store = DeltaStore(Home(robot.home.root).deltas)
    robot.drive()
    robot.sleep_a_night()
    robot.drive()  # and from now on nothing is learned
    old = store.named(CURRENT)
    assert old is not None, robot.tell("the night was refused")
    robot.wait_until(
        lambda: f"control: drives with delta {old[:12]}" in robot.terminal.said,
        "control does not take the delta",
    )
    robot.wait_until(
        lambda: store.named(LAST_GOOD) == old, "the delta does not prove good"
    )
    new = robot.publish(Plan(calls=30))
    robot.wait_until(
        lambda: robot.whole.check_package().digest == new, "nothing was installed"
    )
    robot.press(b"i")  # asleep it might learn more, before it sees the new package
    robot.wait_until(
        lambda: old in store.list_quarantine(), "the old delta was not judged"
    )
    robot.wait_until(
        lambda: "learn: again: delta" in robot.terminal.said, "nobody says so"
    )
    kept = store.named(CURRENT)
    assert kept is not None, robot.tell("it does not help")
    assert robot.whole.check_delta(CURRENT) == kept
    robot.drive()
    robot.wait_until(
        lambda: f"control: drives with delta {kept[:12]}" in robot.terminal.said,
        "control does not take it",
    )
    robot.whole.check()
    assert (robot.home.deltas / QUARANTINE / old).is_dir()
    assert "Traceback" not in robot.end()
