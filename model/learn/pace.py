"""What a robot would have seen in its memories if it had been told to move slower.

A late arm, or one that moves further than it did, overshoots at full speed and does not
when it is told less. Where nothing that is seen tells it from the known robot, the
known one has to be told less as well, and must know how it looks to move slowly: to
a model that has seen full speed alone, an arm that is slow has almost arrived.

A robot whose state follows its commands goes the same way when it is told a part of
each, and takes as much longer. Between two recorded states it is taken to be on the
straight line. Channels that repeat what another said one step before, as those of
stacked observations do, are found by comparing and written anew: on the straight line
they would say that the robot is as fast as it was.

Source: uniform scaling of time, Hollerbach 1984, Dynamic Scaling of Manipulator
Trajectories, Journal of Dynamic Systems, Measurement, and Control 106; here of an arm
whose commands are speeds.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from model import errors


class Repeated(NamedTuple):
    """Channels of a state that repeat others of the step before.

    Attributes:
        channels: [m], which repeat.
        sources: [m], what they repeat.
    """

    channels: np.ndarray
    sources: np.ndarray


def repeated(states: Sequence[np.ndarray]) -> Repeated:
    """What repeats in episodes of states [t+1 n]; channels that never change do not."""
    before = np.concatenate([one[:-1] for one in states])
    now = np.concatenate([one[1:] for one in states])
    found = {
        channel: source
        for channel in np.flatnonzero(np.ptp(now, axis=0))
        for source in range(now.shape[1])
        if source != channel and np.array_equal(now[:, channel], before[:, source])
    }
    return Repeated(np.array([*found], np.intp), np.array([*found.values()], np.intp))


def slowed(
    pace: np.ndarray,
    speed: float,
    repeats: Repeated,
    states: np.ndarray,
    actions: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:
    """An episode as a robot that is told less would have lived it.

    Shapes: states [t+1 n] and actions [t a] to [u+1 n] and [u a], u = t / speed,
    rounded up.

    Args:
        pace: [a], the part of each command that it is told, above 0 and at most 1.
        speed: at which it moves by that, beside the known robot.
        repeats: what repeats in its states.
        states: what the known robot saw.
        actions: what was right for it to do.

    Raises:
        ShapeMismatchError: not one state more than actions, or a pace of another robot.
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
    place = np.minimum(np.arange(slow_steps + 1) * speed, steps)
    begun = np.minimum(place.astype(int), steps - 1)
    share = (place - begun)[:, None]
    seen = (1 - share) * states[begun] + share * states[begun + 1]
    seen[1:, repeats.channels] = seen[:-1, repeats.sources]
    asked = actions[begun[:-1]] * pace
    return seen.astype(states.dtype), asked.astype(actions.dtype)
