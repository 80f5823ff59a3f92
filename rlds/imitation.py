"""What a model may imitate of an episode: which action, and of which steps.

    who acted in a step                              to imitate
    whoever drives alone                             its proposal
    a person who had taken over from a package       the person's action
    a package, in an episode that a person corrected nothing

A proposal is what its actor intended, without limits and the noise of a hand. Where a
person took over, the recorded proposal is what the package would have done, which the
person thought worse. What the package did before that led there, so it is no model of
how to act either.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np

from rlds.episode import Array

_MARK = "intervention"


def is_corrected(steps: Mapping[str, Any]) -> bool:
    """Whether a person took over from a package in some step of an episode."""
    return _MARK in steps and bool(np.any(steps[_MARK]))


def actions_to_imitate(steps: Mapping[str, Any]) -> Array:
    """Returns the action to imitate in each step, [T, A] f32; see the table above.

    Args:
        steps: as `rlds.episode.Episode.steps`.
    """
    proposed: Array = np.asarray(steps["proposed_action"], np.float32)
    if not is_corrected(steps):
        return proposed
    acted = np.asarray(steps["action"], np.float32)
    return np.where(np.asarray(steps[_MARK])[:, None], acted, proposed)


def steps_to_imitate(steps: Mapping[str, Any]) -> Array:
    """Returns which steps are worth imitating, [T] bool; see the table above.

    Args:
        steps: as `rlds.episode.Episode.steps`.
    """
    if is_corrected(steps):
        return np.array(steps[_MARK], np.bool_)
    return np.ones(len(steps["is_first"]), np.bool_)
