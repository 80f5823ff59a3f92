import re
from pathlib import Path

import pytest

from edge.ota.decide import Origin
from edge.testing import tiny_learning
from edge.testing.learning_home import LearningHome
from edge.testing.tiny_package import Publisher
from release.testing.tiny_release import PrivateKey
from tests.benchmarks.idle_life import IdleLife
from tests.benchmarks.measured_robot import ProgramFailedError

ARM = """
import dataclasses

import numpy as np

from edge.robots.robot import Observation, Transition
from edge.testing import tiny_learning


class Arm:
    spec = dataclasses.replace(tiny_learning.SPEC, task="reach")

    def __init__(self, clock):
        self.clock = clock

    def reset(self, seed):
        self.random = np.random.default_rng(seed)
        self.steps = 0
        return self.observe()

    def observe(self):
        state = self.random.uniform(-1, 1, 3).astype(np.float32)
        return Observation(state, self.clock.now_ns())

    def act(self, action):
        self.steps += 1
        self.clock.advance(self.spec.period_ns)
        return Transition(self.observe(), 0.0, self.steps == 12, False)

    def hold(self): ...

    def close(self): ...

    @staticmethod
    def expert(observation):
        return 0.5 * observation.state[:2]
"""


@pytest.fixture
def robot(tmp_path: Path) -> str:
    (tmp_path / "arm.py").write_text(ARM)
    return f"{tmp_path}/arm.py:Arm"


def begin(tmp_path: Path, **changes: int) -> IdleLife:
    publisher = Publisher(tmp_path, PrivateKey.generate(development=True))
    home = LearningHome(tmp_path / "home")
    home.root.mkdir()
    home.install(tiny_learning.NORMAL, Origin.SEED, key=publisher.key)
    keys = f"--keyring={publisher.keyring()}", "--allow_development_keys"
    has = {"own": 6, "driven": 2, "shown": 2, "rounds": 1} | changes
    return IdleLife(home.root, keys, speed=1.0, **has)


@pytest.mark.long
def test_idle_robot_drives_is_shown_and_learns_by_the_medium_loop(
    tmp_path: Path, robot: str
) -> None:
    life = begin(tmp_path)
    said = life.live([robot], [robot], seed=0)
    assert re.match(r"medium: delta \w+ accepted after ", said), said


def test_life_whose_robot_does_not_exist_ends_with_what_control_said(
    tmp_path: Path,
) -> None:
    life = begin(tmp_path, own=1)
    with pytest.raises(ProgramFailedError, match=r"control: expected to end well"):
        life.live([f"{tmp_path}/no.py:Arm"], [], seed=0)
