"""A person corrects a robot that lives; in its night it learns, and drives with that.

The real supervisor looks after control, recorder and learner, and the person sits at
its terminal. The robot replays an episode at its rate: what it senses does not depend
on what it does, so each step can be held against the same step of another episode.
"""

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import numpy as np
import pytest

from edge.loops.delta_store import CURRENT, DeltaStore
from edge.ota import update
from edge.ota.decide import RobotRuntime
from edge.ota.state_folder import StateFolder
from edge.processes.home import Home
from edge.runtime_version import RUNTIME_VERSION
from edge.testing import at_terminal, process_tree, ring_steps, tiny_learning
from edge.testing import tiny_package as packages
from edge.testing.at_terminal import AtTerminal
from edge.testing.no_budgets import NEVER_TOO_BUSY
from edge.testing.tiny_learning import ROBOT_ID
from edge.testing.tiny_package import Publisher
from release.testing.tiny_release import PrivateKey
from rlds import example_codec, tfrecord
from rlds.episode import Episode

STEPS: Final = 160  # of an episode: two seconds at 80 Hz
LEARNED: Final = tiny_learning.STEPS  # the first steps of it, which the package keeps
LESSONS: Final = 8
"""Of each four corrected episodes one judges, and two judges are needed."""
_LONGEST_NIGHT_S: Final = 120.0


class Robot:
    """A robot at whose terminal a person sits."""

    def __init__(self, folder: Path) -> None:
        self.home = Home(folder / "home")
        self.home.root.mkdir()
        publisher = Publisher(folder, PrivateKey.generate(development=True))
        package = publisher.folder / "package-0"
        self.package = tiny_learning.write_package(package, release_counter=1)
        packages.sign_package(package, self.package, publisher.key)
        now = datetime.now(UTC)
        publisher.release(0, now=now)
        update.update(
            StateFolder(self.home.packages),
            publisher.channel_uri,
            publisher.trusted,
            RobotRuntime(ROBOT_ID, RUNTIME_VERSION),
            {"bench": tiny_learning.SPEC},
            now,
        )
        path = folder / "episode.tfrecord"
        replayed = tiny_learning.demonstrate(0, steps=STEPS)
        path.write_bytes(tfrecord.frame(example_codec.encode(replayed)))
        self.flags = (
            f"--home={self.home.root}",
            f"--keyring={publisher.keyring()}",
            "--allow_development_keys",
            f"--robot=replay:{path}",
            f"--robot_id={ROBOT_ID}",
            "--actor=keyboard",
            # Another program of this machine may keep the cores busy meanwhile.
            *NEVER_TOO_BUSY,
        )

    def episodes(self) -> list[Episode]:
        """What was shared so far, in the order in which it was driven."""
        found = ring_steps.read_episodes(self.home.shared).values()
        return sorted(found, key=lambda one: one.metadata.episode_id)

    def corrected(self) -> list[Episode]:
        return [one for one in self.episodes() if one.steps["intervention"].any()]


@pytest.fixture
def robot(tmp_path: Path) -> Robot:
    return Robot(tmp_path)


@pytest.fixture
def person(robot: Robot) -> Iterator[AtTerminal]:
    with at_terminal.start("edge.processes.robot", *robot.flags) as running:
        yield running


def proposals(episodes: list[Episode]) -> np.ndarray:
    """What the package proposed in the first steps, [e t a] f32."""
    return np.stack([one.steps["proposed_action"][:LEARNED] for one in episodes])


def test_robot_learns_in_its_night_what_a_person_did_by_day(
    robot: Robot, person: AtTerminal
) -> None:
    person.wait_for("drives; ")
    person.press(b"\t")
    person.wait_for("tab back")

    def shows_until_enough_is_recorded() -> bool:
        person.hold(b"d", 0.5)  # also when the next episode begins
        person.press(b"y")
        person.listen(0.0)
        judged = [one.metadata.success is True for one in robot.corrected()]
        return sum(judged) >= LESSONS

    # On a busy machine a stop rule may end an episode before it is judged.
    process_tree.wait_until(shows_until_enough_is_recorded, lambda: person.said[-6000:])
    person.wait_for("human has taken over")
    person.press(b"h\t")
    lessons = robot.corrected()
    for one in lessons:
        steps, metadata = one.steps, one.metadata
        assert metadata.operator == f"policy:{robot.package[:12]}"
        assert metadata.success in (True, None)
        assert set(np.unique(steps["action"][steps["intervention"], 0])) <= {0.0, 1.0}

    person.press(b"s")
    person.wait_for("asleep; told to sleep")
    person.wait_for("learn: slow: delta ")
    delta = DeltaStore(robot.home.deltas).named(CURRENT)
    assert delta is not None, person.said[-6000:]
    person.press(b"d")

    def has_driven() -> bool:
        person.listen(0.0)
        return any(one.metadata.delta_digest == delta for one in robot.episodes())

    process_tree.wait_until(has_driven, lambda: person.said[-6000:])
    person.press(b"q")
    assert person.finish() == 0
    assert person.settings() == person.before
    own = [one for one in robot.episodes() if one.num_steps >= LEARNED]
    before = proposals([one for one in own if not one.metadata.delta_digest])
    after = proposals([one for one in own if one.metadata.delta_digest == delta])
    shown = np.mean([one.steps["action"][5:LEARNED] for one in lessons], axis=(0, 1))
    missed = [np.abs(p[:, 5:] - shown).mean() for p in (before, after)]
    assert missed[1] < 0.8 * missed[0], missed
