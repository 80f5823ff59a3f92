"""Runs a package's step over its own canary episodes before it becomes active.

The package states the error of its actions on the machine that made it. The same
episodes through the same step give the same error here, unless this machine or this
runtime computes something else.
"""

import contextlib
import math
import os
import signal
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

from edge import raw_memory
from edge.control.package_policy import PackagePolicy
from edge.ota import errors
from edge.robots.recorded import list_observations
from edge.stop_signal import end_with_parent
from release import canary as canary_format
from release import package as package_format
from release.canary import Expectation
from release.verification import IntactPackage
from rlds import example_codec, tfrecord
from rlds.episode import Episode

_EPISODES_LIMIT_BYTES: Final = 64 * 1024 * 1024
# Canary episodes of the largest size take a Pi less than a minute.
LONGEST_S: Final = 300.0
_POLL_S: Final = 0.01
_SACRIFICE: Final = Path("/proc/self/oom_score_adj")


@dataclass(frozen=True)
class Measurement:
    """What a package's step does on this machine."""

    action_error: float
    steps: int


def require_healthy(package: IntactPackage, policy: PackagePolicy) -> Measurement:
    """Runs the canary of a package and compares the error with the stated one.

    Raises:
        CanaryError: the error is outside the tolerance, an action is not finite, or
            the number of steps differs.
        ReleaseError, RldsError: the canary's files are malformed.
        StepFunctionError: the step does not run.
    """
    expectation = canary_format.read(package.path(canary_format.FILE))
    measurement = measure(package.path(package_format.CANARY), policy)
    judge(str(package.folder), expectation, measurement)
    return measurement


def require_survival(
    source: str, work: Callable[[], object], longest_s: float = LONGEST_S
) -> None:
    """Runs `work` in a child process first, which may die of it or never end.

    A step is native code that this machine has not run yet. Were it to crash here, the
    robot would fetch the same package at each start and crash again. Where memory runs
    out, the system ends the child first. What `work` raises is not looked at: the
    caller runs it once more, in this process.

    Args:
        source: name of the package, for errors.
        work: loads the package and runs its canary.
        longest_s: time after which the child is killed, in seconds.

    Raises:
        TrialCutShortError: the child did not end in time, or was killed as the system
            does when memory runs out.
        CanaryError: it died of another signal.
    """
    parent = os.getpid()
    with warnings.catch_warnings():
        # Threads that others started do not run in the child, and it needs none.
        warnings.simplefilter("ignore", DeprecationWarning)
        child = os.fork()
    if child == 0:
        try:
            if not end_with_parent(parent, signal.SIGKILL):  # its locks are held here
                os._exit(0)
            with contextlib.suppress(OSError):
                _SACRIFICE.write_text("1000")
            raw_memory.hide()  # it reads the robot's own episodes
            work()
        finally:
            os._exit(0)
    end_s = time.monotonic() + longest_s
    ended, status = os.waitpid(child, os.WNOHANG)
    while not ended and time.monotonic() < end_s:
        time.sleep(_POLL_S)
        ended, status = os.waitpid(child, os.WNOHANG)
    in_time = bool(ended)
    if not in_time:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
    number = os.WTERMSIG(status) if in_time and os.WIFSIGNALED(status) else None
    if in_time and number is None:
        return
    cut_short = number in (None, signal.SIGKILL)
    raise (errors.TrialCutShortError if cut_short else errors.CanaryError)(
        source,
        f"a step that this machine can run within {longest_s:g} s",
        "no end" if number is None else f"signal {number}",
        "nothing changes on this robot; export the package for this robot",
    )


def judge(source: str, expected: Expectation, measured: Measurement) -> None:
    """Accepts a measurement that is within the tolerance.

    Raises:
        CanaryError: it is outside the tolerance or not finite, or its number of steps
            differs.
    """
    if measured.steps != expected.steps:
        raise errors.CanaryError(
            source,
            f"{expected.steps} canary steps",
            measured.steps,
            "nothing changes on this robot; export the package again",
        )
    difference = abs(measured.action_error - expected.action_error)
    if not math.isfinite(difference) or difference > expected.tolerance:
        raise errors.CanaryError(
            source,
            f"a canary action error of {expected.action_error:.6g} within "
            f"{expected.tolerance:.3g}",
            f"{measured.action_error:.6g}",
            "nothing changes on this robot; export the package for this robot",
        )


def measure(episodes: Path, policy: PackagePolicy) -> Measurement:
    """Proposes an action for every recorded observation, in order.

    Raises:
        CanaryError: an action is not finite.
        RldsError: the episodes are damaged.
    """
    total = 0.0
    values = 0
    steps = 0
    for record in tfrecord.read_records(episodes, _EPISODES_LIMIT_BYTES):
        episode = example_codec.decode(record)
        proposed = propose_all(policy, episode)
        if not np.isfinite(proposed).all():
            first = int(np.flatnonzero(~np.isfinite(proposed).all(axis=1))[0])
            raise errors.CanaryError(
                episodes,
                "finite actions",
                f"NaN or infinity at step {first} of {episode.metadata.episode_id}",
                "nothing changes on this robot; train again",
            )
        recorded = episode.steps["proposed_action"].astype(np.float64)
        if recorded.shape != proposed.shape:
            raise errors.CanaryError(
                episodes,
                f"recorded actions of {proposed.shape[1]} values, as the step has",
                f"{recorded.shape[1]} in {episode.metadata.episode_id}",
                "nothing changes on this robot; export the package again",
            )
        total += float(np.abs(proposed.astype(np.float64) - recorded).sum())
        values += recorded.size
        steps += len(recorded)
    return Measurement(total / max(values, 1), steps)


def propose_all(policy: PackagePolicy, episode: Episode) -> np.ndarray:
    """Returns the policy's actions [T, A] for the recorded observations [T, N]."""
    policy.reset(episode.metadata.task)
    return np.stack([policy.propose(one) for one in list_observations(episode)])
