"""What a robot's commands do: how far they move it, and how late.

A replaced drive may move further or less far than the one a model was trained on, and
commands over a slower link arrive later. Neither shows in one observation; both show in
how observations follow commands. The known robot's response is assumed to be linear in
its last commands, which are 0 before the first of an episode:

    s[t+1] - s[t] = sum over k of B[k] a[t-k],    k = 0 .. RESPONSE_STEPS - 1

and the changed robot's is the same response to clip(gain * a), `latency_steps` later. B
is fitted to memories of the known robot; gain and latency are those with which B best
explains the memories of the changed robot. No label is needed: it does not matter who
drove, or whether it was right. A sensor's scale shows as a gain; its bias is invisible.

Sources: finite impulse response fitted by least squares, Ljung 1999, System
Identification, sections 4.2 and 7.3; latency by comparing fits, section 16.6 there.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from model import errors

RESPONSE_STEPS = 8
"""Last commands that still move the robot: a tenth of a second at 80 Hz."""
LARGEST_LATENCY_STEPS = 16
"""Largest latency that is tried, a fifth of a second at 80 Hz."""
GAINS = np.geomspace(0.25, 4.0, 49)
"""Gains that are tried, in steps of 6 %."""
_SWEEPS = 3
_RIDGE = 1e-3
_ACTUATED = 0.5
"""Share of a channel's changes that commands must explain for it to count."""
_HEARD = 1.0
"""A command counts if the part of some channel that it explains is, in mean square,
more than this many times the part that nothing explains: 30 to 70 for the simulated
arm, and 0.03 for its gripper, whose best gain would be chance."""


class Moves(NamedTuple):
    """Commands to a robot, and the states that its sensors measured.

    Attributes:
        states: [t+1 n] of each episode, raw.
        commands: [t a] of each, as executed, between -1 and 1.
    """

    states: Sequence[np.ndarray]
    commands: Sequence[np.ndarray]


class Response(NamedTuple):
    """How a robot's sensors follow its commands.

    Attributes:
        matrix: [k a m], for the m channels that commands explain, each in units of
            its unexplained part.
        channels: [m], their indices in the state.
        unit: [m], the unexplained part of each, root mean square.
        heard: [a], whether a command clearly moves any of them.
    """

    matrix: np.ndarray
    channels: np.ndarray
    unit: np.ndarray
    heard: np.ndarray


class Actuation(NamedTuple):
    """How a robot moves for its commands, compared with the known one.

    Attributes:
        gain: [a], above 1 where it moves further.
        latency_steps: control steps by which it moves later.
    """

    gain: np.ndarray
    latency_steps: int


def unchanged(action_size: int) -> Actuation:
    """The actuation of the known robot."""
    return Actuation(np.ones(action_size), 0)


def fit_response(known: Moves) -> Response:
    """Fits the response of the known robot by ridge regression.

    Raises:
        ShapeMismatchError: an episode does not have exactly one more state than
            commands.
    """
    changes = _changes(known)
    commands = np.concatenate([_last(c, 0) for c in known.commands])
    rows = commands.reshape(len(commands), -1)
    gram = rows.T @ rows / len(rows)
    gram += _RIDGE * np.trace(gram) / len(gram) * np.eye(len(gram))
    matrix = np.linalg.solve(gram, rows.T @ changes / len(rows))
    left = np.square(changes - rows @ matrix).mean(axis=0)
    channels = np.flatnonzero(left < (1 - _ACTUATED) * np.square(changes).mean(axis=0))
    unit = np.sqrt(np.maximum(left[channels], np.finfo(np.float32).tiny))
    matrix = (matrix[:, channels] / unit).reshape(*commands.shape[1:], len(channels))
    parts = np.einsum("tka,kam->atm", commands, matrix, optimize=True)
    heard = (np.square(parts).mean(axis=1) > _HEARD).any(axis=1)
    return Response(matrix, channels, unit, heard)


def identify(known: Response, lived: Moves) -> Actuation:
    """Finds gain and latency of the robot that made these moves, by coordinate search.

    If no channel of the known robot follows its commands, the robot counts as
    unchanged.

    Raises:
        ShapeMismatchError: an episode does not have exactly one more state than
            commands, or the commands have other channels than the known robot's.
    """
    changes = _changes(lived)
    size = known.matrix.shape[1]
    for commands in lived.commands:
        if commands.shape[1:] != (size,):
            raise errors.ShapeMismatchError(
                "commands", f"[t {size}]", commands.shape, "use the known robot's"
            )
    if not len(known.channels):
        return unchanged(size)
    changes = changes[:, known.channels] / known.unit
    found = [
        (*_gains(known, changes, lived, latency), latency)
        for latency in range(LARGEST_LATENCY_STEPS + 1)
    ]
    _, gain, latency = min(found, key=lambda one: one[0])
    return Actuation(gain, latency)


def apply_actuation(
    actuation: Actuation, states: np.ndarray, actions: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """An episode of the known robot as a robot with this actuation would record it.

    Its actions make it move as the known robot did. It stands still until the first
    command arrives, and what it would do after the given steps is cut off.

    Shapes: states [t+1 n] and actions [t a], one whole episode, to the same.

    Args:
        actuation: how the other robot moves.
        states: observed on the known robot.
        actions: the right ones there, between -1 and 1.
    """
    late = min(actuation.latency_steps, len(actions))
    seen = np.concatenate([np.repeat(states[:1], late, axis=0), states])
    asked = np.clip(actions / actuation.gain, -1.0, 1.0)
    return seen[: len(states)], asked.astype(actions.dtype)


def _changes(moves: Moves) -> np.ndarray:
    """The change of state at every step, [t n] of all episodes.

    Raises:
        ShapeMismatchError: an episode does not have exactly one more state than
            commands.
    """
    for states, commands in zip(moves.states, moves.commands, strict=True):
        if len(states) != len(commands) + 1:
            raise errors.ShapeMismatchError(
                "states",
                f"[{len(commands) + 1} n] for {len(commands)} commands",
                states.shape,
                "give the state before each command and the one after the last",
            )
    return np.concatenate([np.diff(states, axis=0) for states in moves.states])


def _last(commands: np.ndarray, latency: int) -> np.ndarray:
    """The commands [t k a] that move the robot at each of t steps, latest first."""
    before = RESPONSE_STEPS - 1
    padded = np.pad(commands, ((before + latency, 0), (0, 0)))
    lags = [padded[before - k :][: len(commands)] for k in range(RESPONSE_STEPS)]
    return np.stack(lags, axis=1)


def _gains(
    known: Response, changes: np.ndarray, lived: Moves, latency: int
) -> tuple[float, np.ndarray]:
    """The smallest mean square error [] at one latency, and its gains [a]."""
    commands = np.concatenate([_last(c, latency) for c in lived.commands])
    scaled = np.clip(GAINS[:, None, None, None] * commands, -1.0, 1.0)
    moved = np.einsum("gtka,kam->agtm", scaled, known.matrix, optimize=True)
    chosen = np.full(len(moved), np.argmin(np.abs(GAINS - 1)))
    left = changes - sum(each[g] for each, g in zip(moved, chosen, strict=True))
    for d in [*np.flatnonzero(known.heard)] * _SWEEPS:
        alone = left + moved[d, chosen[d]]
        chosen[d] = np.square(alone - moved[d]).mean(axis=(1, 2)).argmin()
        left = alone - moved[d, chosen[d]]
    return float(np.square(left).mean()), GAINS[chosen]
