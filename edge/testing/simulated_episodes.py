"""Episodes of simulated robots for tests: only driven, or also recorded and shared.

It passes on the records of the loop, which rooms below the loop may not import. The
shared episodes are redacted, signed and recorded with the smallest robot, which takes
milliseconds. As a program it records episodes and prints their names:

python -m edge.testing.simulated_episodes FOLDER COUNT
"""

import functools
import sys
from collections.abc import Iterator
from pathlib import Path

from base import text_forms
from edge.control.control_step import ControlStep as ControlStep
from edge.control.control_step import StepRecorder
from edge.control.loop import EpisodeResult as EpisodeResult
from edge.control.loop import Pace, run_episode
from edge.control.safety import config_for
from edge.episodes import robot_key
from edge.episodes.open_recording import open_recording
from edge.episodes.provenance import Provenance
from edge.episodes.terms import operator_consent
from edge.robots.clock import SimulatedClock
from edge.robots.experts import GaussianNoise
from edge.robots.robot import Policy, Robot
from edge.robots.simulated_point import SPEC, PointExpert, SimulatedPoint

ROBOT_ID = "point-1"
START_UNIX_NS = 1_767_254_400_000_000_000  # 2026-01-01T08:00:00Z


def drive(
    robot: Robot,
    policy: Policy,
    seed: int,
    recorder: StepRecorder | None = None,
    max_steps: int = 500,
    actor_noise: float = 0.0,
) -> EpisodeResult:
    """Runs one episode in simulated pace, within the robot's own limits.

    Args:
        robot: the robot to drive.
        policy: drives it.
        seed: seed of the episode.
        recorder: receives each step; None records nothing.
        max_steps: control steps after which the episode ends.
        actor_noise: standard deviation of the noise on each action component, in
            the action's unit; 0 for none.
    """
    disturbance = GaussianNoise(actor_noise) if actor_noise else None
    return run_episode(
        robot,
        policy,
        config_for(robot.spec),
        recorder,
        seed,
        max_steps,
        Pace.SIMULATED,
        disturbance=disturbance,
    )


def make(folder: Path, count: int, consent: bool = True) -> list[str]:
    """Recovers what was left, then records `count` episodes; returns their names."""
    return list(make_each(folder, count, consent))


def make_each(folder: Path, count: int, consent: bool = True) -> Iterator[str]:
    """As `make`, but yields the name of each episode once it is in `folder`."""
    open_key = functools.partial(robot_key.derive_simulated, ROBOT_ID)
    private = folder.with_name(folder.name + ".private")
    said = operator_consent(consent, START_UNIX_NS)
    with open_recording(
        folder, private, SPEC, ROBOT_ID, open_key, said, _fail
    ) as recording:
        for _ in recording.recover():
            pass
        for seed in range(count):
            name = text_forms.format_uuid7(
                START_UNIX_NS // 1_000_000, seed.to_bytes(10)
            )
            recorder = recording.begin(
                SPEC, name, START_UNIX_NS, Provenance(actor="expert")
            )
            robot = SimulatedPoint(SimulatedClock(START_UNIX_NS))
            result = drive(robot, PointExpert(), seed, recorder, max_steps=100)
            (closed,) = recorder.close(result.success, result.tags)
            recording.share(closed)
            yield name


def _fail(text: str) -> None:
    """Nothing is to be told of in the folders of a test."""
    raise AssertionError(text)


if __name__ == "__main__":
    for episode in make_each(Path(sys.argv[1]), int(sys.argv[2])):
        sys.stdout.write(f"{episode}\n")
        sys.stdout.flush()
