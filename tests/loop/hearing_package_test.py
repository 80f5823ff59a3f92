"""A package that hears: recorded, judged, trained, exported, evaluated and driven.

A point goes to the right if the hum is high, and to the left if it is low. Nothing but
the sound says where, so a package that is deaf is right half of the time.
"""

import json
import re
from pathlib import Path

from tests.loop import binaries

ARM = """
import numpy as np

from edge.robots.log_mel import LogMel
from edge.robots.robot import Microphone, Observation, RobotSpec, Sound, Transition

RATE = 16_000


class HearingArm:
    spec = RobotSpec(1, 1, 20.0, "my-arm", "my-desk", "touch", (-1.0,), (1.0,), True,
                     microphone=Microphone(20.0))

    def __init__(self, clock):
        self.clock = clock

    def reset(self, seed):
        random = np.random.default_rng(seed)
        self.side = random.choice([-1.0, 1.0])
        self.place = random.uniform(-0.2, 0.2)
        hz = 400.0 if self.side < 0 else 3000.0
        hum = 0.1 * np.sin(2 * np.pi * hz * np.arange(4 * RATE) / RATE)
        noise = random.normal(0.0, 0.01, len(hum))
        heard = LogMel(RATE, 20.0, self.spec.microphone.bands).add(
            (hum + noise).astype(np.float32))
        self.heard, self.number = [powers for powers, _ in heard], 0
        return self.observe()

    def observe(self):
        powers = self.heard[self.number % len(self.heard)]
        now_ns = self.clock.now_ns()
        state = np.array([self.place], np.float32)
        return Observation(state, now_ns, sound=Sound(powers, now_ns))

    def act(self, action):
        self.place += 0.05 * float(action[0])
        self.number += 1
        self.clock.advance(self.spec.period_ns)
        return Transition(self.observe(), 0.0, self.place * self.side > 1.0,
                          terminal=self.place * self.side < -1.0)

    def hold(self): ...

    def close(self): ...

    @staticmethod
    def expert(observation):
        powers = observation.sound.powers
        return np.array([np.sign(powers[-1] - powers[0])], np.float32)
"""
SPEC = {
    "dataset": "hums",
    "version": "1.0.0",
    "where": "success = 1",
    "split": {"by": ["robot_hash", "date"], "val_groups": 1, "salt": "hums"},
    "shards": {"train": 1, "val": 1},
}


def test_package_that_hears_goes_where_the_sound_says(tmp_path: Path) -> None:
    (tmp_path / "hearing_arm.py").write_text(ARM)
    (tmp_path / "spec.json").write_text(json.dumps(SPEC))
    robot = f"{tmp_path}/hearing_arm.py:HearingArm"
    output, raw = tmp_path / "episodes", tmp_path / "raw"
    own = f"--robot={robot}", "--actor_noise=0.3", "--consent", f"--output={output}"
    enrolled, index = f"{tmp_path}/robot.json", f"--index={tmp_path}/index"
    first = "--episodes=15", "--seed=7", f"--enrol={enrolled}"
    second = "--episodes=60", "--seed=100", "--sim_start=2026-01-02T08:00:00Z"
    binaries.run("edge/record", *own, *first)
    binaries.run("edge/record", *own, *second)
    binaries.run("edge/episodes/upload", f"--from={output}", f"--to={raw}")
    binaries.run("cloud/ingest/ingest", f"--raw={raw}", f"--enrolled={enrolled}")
    binaries.run("cloud/index/index", f"--raw={raw}", index)
    dataset = tmp_path / "hums/v1.0.0"
    spec = f"--spec={tmp_path}/spec.json", f"--output={dataset}"
    binaries.run("cloud/curate/curate", f"--raw={raw}", index, *spec)
    trained = binaries.attempt(
        "cloud/job/train",
        f"--store={tmp_path}/store",
        f"--dataset={dataset}",
        f"--environment={robot}",
        "--updates=120",
        "--evaluation_episodes=20",
        "--evaluation_max_steps=60",
    )
    said = trained.stdout + trained.stderr
    found = re.search(r"│ touch +│ +([\d.]+) % ", said)
    assert found is not None, said
    # 20 episodes are too few for a verdict, and enough to tell from chance: a deaf
    # package has 17 of them right once in 800 times; those of six seeds had 19 or 20.
    assert float(found[1]) >= 85.0, said
