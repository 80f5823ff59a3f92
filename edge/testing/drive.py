"""Drives a simulated robot through one episode, for tests of rooms below the loop.

It passes on the records of the loop, which those rooms may not import."""

from edge.control.loop import ControlStep as ControlStep
from edge.control.loop import EpisodeResult as EpisodeResult
from edge.control.loop import Pace, StepRecorder, run_episode
from edge.control.operator_noise import GaussianNoise
from edge.control.safety import config_for
from edge.robots.policy import Policy
from edge.robots.robot import Robot


def drive(
    robot: Robot,
    policy: Policy,
    seed: int,
    recorder: StepRecorder | None = None,
    max_steps: int = 500,
    operator_noise: float = 0.0,
) -> EpisodeResult:
    """Runs one episode in simulated pace, within the robot's own limits.

    Args:
        robot: the robot to drive.
        policy: drives it.
        seed: seed of the episode.
        recorder: receives each step; None records nothing.
        max_steps: control steps after which the episode ends.
        operator_noise: standard deviation of the noise on each action component, in
            the action's unit; 0 for none.
    """
    disturbance = GaussianNoise(operator_noise) if operator_noise else None
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
