"""Drives a simulated robot through one episode, for tests of rooms below the loop."""

from edge.control.loop import EpisodeResult, Pace, StepRecorder, run_episode
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
        robot: what is driven.
        policy: who drives it.
        seed: of the episode.
        recorder: what is given each step; None for nothing.
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
