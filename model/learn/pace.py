"""Rewrites recorded episodes as if every command had been scaled down.

An arm that responds late, or moves further than it did, overshoots at full speed but
not when its commands are scaled down. If no observation distinguishes it from the known
robot, the known robot's commands must be scaled down too, and the model must learn what
slow motion looks like: to a model that has only seen full speed, a slow arm looks as if
it had almost arrived.

A robot whose state follows its commands takes the same path when each command is scaled
down, and takes proportionally longer. Between two recorded states it is assumed to move
in a straight line. Channels that repeat another channel of the step before, as those of
stacked observations do, are found by comparison and rewritten: interpolated, they would
show the robot moving as fast as before.

Source: uniform scaling of time, Hollerbach 1984, Dynamic Scaling of Manipulator
Trajectories, Journal of Dynamic Systems, Measurement, and Control 106; here of an arm
whose commands are speeds.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from model import errors


class Repeats(NamedTuple):
    """Channels of a state that repeat other channels of the step before.

    Attributes:
        channels: [m], indices of the channels that repeat.
        sources: [m], indices of the channels that they repeat.
    """

    channels: np.ndarray
    sources: np.ndarray


def find_repeats(states: Sequence[np.ndarray]) -> Repeats:
    """Finds what repeats in episodes of states [t+1 n], except constant channels."""
    before = np.concatenate([one[:-1] for one in states])
    now = np.concatenate([one[1:] for one in states])
    found = {
        channel: source
        for channel in np.flatnonzero(np.ptp(now, axis=0))
        for source in range(now.shape[1])
        if source != channel and np.array_equal(now[:, channel], before[:, source])
    }
    return Repeats(np.array([*found], np.intp), np.array([*found.values()], np.intp))


def scale_time(
    pace: np.ndarray,
    speed: float,
    repeats: Repeats,
    states: np.ndarray,
    actions: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:
    """An episode as it would have been recorded with scaled commands.

    Shapes: states [t+1 n] and actions [t a] to [u+1 n] and [u a], u = t / speed,
    rounded up.

    Args:
        pace: [a], factor of each command, above 0 and at most 1.
        speed: resulting speed relative to that of the known robot.
        repeats: what repeats in the states.
        states: observed on the known robot.
        actions: the right ones there.

    Raises:
        ShapeMismatchError: there is not exactly one more state than actions, or `pace`
            does not have one number per command.
    """
    steps = len(actions)
    if len(states) != steps + 1 or pace.shape != actions.shape[1:]:
        raise errors.ShapeMismatchError(
            "states, pace",
            f"[{steps + 1} n] and {actions.shape[1:]}",
            f"{states.shape} and {pace.shape}",
            "give a pace per command and the state after the last one",
        )
    slow_steps = int(np.ceil(steps / speed))
    time = np.minimum(np.arange(slow_steps + 1) * speed, steps)
    begun = np.minimum(time.astype(int), steps - 1)
    share = (time - begun)[:, None]
    slow_states = (1 - share) * states[begun] + share * states[begun + 1]
    slow_states[1:, repeats.channels] = slow_states[:-1, repeats.sources]
    slow_actions = actions[begun[:-1]] * pace
    return slow_states.astype(states.dtype), slow_actions.astype(actions.dtype)
