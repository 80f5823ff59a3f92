"""Holds a new package against the active one on this machine, before it drives.

Both propose an action for the same recorded observations, and both are timed:

| Measured | Refused when |
|---|---|
| error on the new package's canary episodes | above twice the active one's and 0.25 |
| error on the robot's own newest episodes | above twice the active one's and 0.25 |
| 99th percentile of the step's time | above 3 times the active one's and period / 10 |
| the same | above half of the control period and 1.2 times the active one's |

An error is the mean distance between the action that a package proposes and the one
that was recorded, both within the robot's limits, in half ranges of the action: 0 is
the same action, and about 0.6 what a package does that has nothing to do with the
robot. On episodes that the active package drove itself its own error is nearly 0;
there the 0.25 alone are the limit.

Whatever else runs on the machine slows a step down, and must not cost a robot a good
package. So the two take turns step by step, and of each step of an episode the quickest
of several passes counts: a step that another program interrupts is quick in another
pass, and one that is slow by itself is slow in each. On a machine so busy that this is
not enough, the active package is slow as well, and a package that is about as quick
passes; without an active one half of the period alone decides. A step that is slow now
and then, wherever that is, shows in use: late steps are counted while a package is on
trial (`watch.py`).

An episode counts for both packages or for neither: one of another robot model, or of a
task or a size that one of them does not know, is left out. Long episodes of the robot
are shortened to their first steps, so that a package whose step takes as long as it may
is compared on them within 300 s: together they have 50 s of driving then, shared among
them as equally as they are long. Without an active package only the time is compared.
A local delta has no part in this: it goes with the package that it was learned on.
"""

import contextlib
import dataclasses
import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

from base.errors import ContinuonError
from edge.control.package_policy import PackagePolicy
from edge.ota import errors
from edge.robots.clock import NS_PER_S
from edge.robots.recorded import list_observations
from release import canary as canary_format
from release import package as package_format
from release.verification import IntactPackage
from rlds import example_codec, reader, tfrecord
from rlds.closed_episode import EPISODE_SUFFIX
from rlds.episode import Episode

MOST_OWN_EPISODES: Final = 8
"""The robot's newest ones; of 100 steps each they take a Pi less than a second, and
long ones are shortened."""
_EPISODE_LIMIT_BYTES: Final = 64 * 1024 * 1024
_TIMES_WORSE: Final = 2.0
_MARGIN: Final = 0.25
"""In half ranges. Measured between packages that succeed in all of 50 episodes a task:
errors of 0.002 to 0.015 on each other's canaries; 0.3 to 1 with drawn weights."""
_SHARE_OF_PERIOD: Final = 0.5
_UNNOTICED_SHARE: Final = 0.1
_TIMES_SLOWER: Final = 3.0
_AS_QUICK: Final = 1.2
"""Times the active one's: what the measurement itself may differ by."""
_OWN_LIMIT_S: Final = 300.0
"""For the robot's own episodes, as long as a canary may take: nothing else is settled
or asked meanwhile."""
_TIMED_STEPS: Final = 900
_PASSES: Final = 5
"""Passes over the episodes, at least; of each step the quickest one counts."""
_PERCENTILE: Final = 99.0


@dataclass(frozen=True)
class Trace:
    """What one package does on this machine.

    Attributes:
        canary_error: its error on the canary episodes; None without comparable ones.
        own_error: its error on the robot's own episodes; None without any.
        step_p99_s: 99th percentile of its step's time, in seconds.
    """

    canary_error: float | None
    own_error: float | None
    step_p99_s: float


@dataclass(frozen=True)
class Comparison:
    """The new package, the active one if there is one, and the control period."""

    new: Trace
    active: Trace | None
    period_s: float

    def as_figures(self) -> dict[str, float]:
        """Returns all that was measured by name, as a receipt holds it."""
        traces = {"new": self.new, "active": self.active}
        return {
            f"{name}_{field}": value
            for name, trace in traces.items()
            if trace is not None
            for field, value in (
                ("canary_error", trace.canary_error),
                ("own_error", trace.own_error),
                ("step_p99_s", trace.step_p99_s),
            )
            if value is not None
        }


def require_as_good(source: str, found: Comparison) -> None:
    """Decides by the table above.

    Raises:
        WorseThanActiveError: the new package errs more than it may.
        SlowStepError: its step takes longer than it may.
    """
    new, active = found.new, found.active
    if active is not None:
        _require_error("canary", source, new.canary_error, active.canary_error)
        _require_error("own", source, new.own_error, active.own_error)
    limit_s = _SHARE_OF_PERIOD * found.period_s
    if active is not None:
        unnoticed_s = _UNNOTICED_SHARE * found.period_s
        limit_s = min(limit_s, max(_TIMES_SLOWER * active.step_p99_s, unnoticed_s))
        limit_s = max(limit_s, _AS_QUICK * active.step_p99_s)
    if not new.step_p99_s <= limit_s:
        raise errors.SlowStepError(
            source,
            f"99 of 100 control steps within {limit_s * 1e3:.3g} ms on this machine",
            f"{new.step_p99_s * 1e3:.3g} ms",
            "nothing changes on this robot; export the package for this robot",
        )


def compare(
    package: IntactPackage,
    policy: PackagePolicy,
    active: PackagePolicy | None,
    own: Sequence[Episode],
    control_hz: float,
) -> Comparison:
    """Measures the new package and the active one.

    Args:
        package: the new package.
        policy: its policy.
        active: the policy of the active package; None if there is none.
        own: the robot's own newest episodes.
        control_hz: control rate of the robot, in Hz.

    Raises:
        RldsError, MalformedError: the canary's episodes are damaged.
        StepFunctionError: a step does not run.
    """
    path = package.path(package_format.CANARY)
    canary = [
        example_codec.decode(record)
        for record in tfrecord.read_records(path, _EPISODE_LIMIT_BYTES)
    ]
    policies = [policy] if active is None else [policy, active]
    model = package.manifest.robot.robot_model
    known = [one for one in canary if _is_known(one, policies, model)]
    own = [one for one in own if _is_known(one, policies, model)]
    own = shorten(own, _count_steps_in_time(control_hz))
    if active is not None and not (known or own):  # nothing that both have learned
        return compare(package, policy, None, own, control_hz)
    canary = known
    action = package.manifest.robot.action
    low, high = np.array(action.minimum), np.array(action.maximum)
    half_range = canary_format.half_range(action.minimum, action.maximum) or 1.0
    times = _time(policies, [*canary, *own])
    traces = [
        Trace(
            _measure(one, canary, "proposed_action", low, high, half_range),
            _measure(one, own, "action", low, high, half_range),
            step_s,
        )
        for one, step_s in zip(policies, times, strict=True)
    ]
    return Comparison(
        traces[0], traces[1] if active is not None else None, 1.0 / control_hz
    )


def read_own_episodes(root: Path, most: int = MOST_OWN_EPISODES) -> list[Episode]:
    """Reads the newest episodes that this robot keeps for itself.

    Another process moves and removes them meanwhile; what cannot be read is left out.

    Args:
        root: folder of the memories, which need not exist.
        most: how many are read.
    """
    dated: list[tuple[int, Path]] = []
    for path in root.rglob(f"*{EPISODE_SUFFIX}"):
        with contextlib.suppress(OSError):
            dated.append((path.stat().st_mtime_ns, path))
    found: list[Episode] = []
    for _, path in sorted(dated, reverse=True):
        if len(found) == most:
            break
        with contextlib.suppress(ContinuonError, OSError):
            found.append(reader.read_episode(path, _EPISODE_LIMIT_BYTES))
    return found


def shorten(episodes: Sequence[Episode], most_steps: int) -> list[Episode]:
    """Returns the episodes with so many steps in all, or fewer.

    Each keeps its first steps, from which a package's memory begins. The shortest are
    kept whole as long as all can have as many; of those that are too many for one step
    each the first are taken.
    """
    episodes, left = episodes[:most_steps], most_steps
    shares: dict[int, int] = {}
    in_order = sorted(range(len(episodes)), key=lambda at: episodes[at].num_steps)
    for done, at in enumerate(in_order):
        shares[at] = min(episodes[at].num_steps, left // (len(episodes) - done))
        left -= shares[at]
    return [_cut(one, shares[at]) for at, one in enumerate(episodes)]


def _cut(episode: Episode, steps: int) -> Episode:
    if steps == episode.num_steps:
        return episode
    first = {name: column[:steps] for name, column in episode.steps.items()}
    is_last = np.zeros(steps, np.bool_)
    is_last[-1] = True
    return dataclasses.replace(episode, steps={**first, "is_last": is_last})


def _count_steps_in_time(control_hz: float) -> int:
    """Steps of which two packages, each as slow as it may be, propose in time."""
    asked = 2 * (_PASSES + 1)
    return max(int(_OWN_LIMIT_S * control_hz / _SHARE_OF_PERIOD / asked), 1)


def _is_known(
    episode: Episode, policies: Sequence[PackagePolicy], robot_model: str | None
) -> bool:
    """Whether every policy can be asked what it would have done in an episode.

    Packages of format 1 do not say of which robot model they are.
    """
    if robot_model not in (None, episode.metadata.robot_model):
        return False
    spec = episode.spec
    return all(
        episode.metadata.task in policy.tasks
        and spec.state_size == policy.state_size
        and spec.action_size == policy.action_size
        for policy in policies
    )


def _measure(
    policy: PackagePolicy,
    episodes: Sequence[Episode],
    recorded: str,
    low: np.ndarray,
    high: np.ndarray,
    half_range: float,
) -> float | None:
    """Returns the mean error over all steps and channels, in half ranges."""
    total, values = 0.0, 0
    for episode in episodes:
        wanted = np.clip(episode.steps[recorded].astype(np.float64), low, high)
        proposed = np.clip(_propose(policy, episode).astype(np.float64), low, high)
        total += float(np.abs(proposed - wanted).sum())
        values += wanted.size
    return total / values / half_range if values else None


def _propose(policy: PackagePolicy, episode: Episode) -> np.ndarray:
    """Returns the proposed actions [T A] of an episode."""
    policy.reset(episode.metadata.task)
    return np.stack([policy.propose(one) for one in list_observations(episode)])


def _time(
    policies: Sequence[PackagePolicy], episodes: Sequence[Episode]
) -> list[float]:
    """Returns the 99th percentile of each policy's step time, in seconds."""
    if not episodes:
        return [0.0] * len(policies)
    steps = sum(len(one.steps["t_monotonic_ns"]) for one in episodes)
    passes = max(_PASSES, math.ceil(_TIMED_STEPS / max(steps, 1)))
    quickest = np.full((len(policies), steps), np.inf)
    for _ in range(passes):
        taken = [_time_steps(policies, one) for one in episodes]
        quickest = np.minimum(quickest, np.concatenate(taken, axis=1))
    return [float(np.percentile(one, _PERCENTILE)) for one in quickest]


def _time_steps(policies: Sequence[PackagePolicy], episode: Episode) -> np.ndarray:
    """Returns the time [P T] of each policy's steps, in seconds; they take turns."""
    for policy in policies:
        policy.reset(episode.metadata.task)
    times_s = []
    for observation in list_observations(episode):
        for policy in policies:
            begin_ns = time.perf_counter_ns()
            policy.propose(observation)
            times_s.append((time.perf_counter_ns() - begin_ns) / NS_PER_S)
    return np.array(times_s).reshape(-1, len(policies)).T


def _require_error(
    what: str, source: str, new: float | None, active: float | None
) -> None:
    if new is None or active is None:
        return
    limit = _TIMES_WORSE * active + _MARGIN
    if not new <= limit:
        where = "its canary" if what == "canary" else "this robot's own episodes"
        raise errors.WorseThanActiveError(
            source,
            f"an error on {where} of at most {limit:.3g} half ranges, where the active "
            f"package has {active:.3g}",
            f"{new:.3g}",
            "nothing changes on this robot; train or export the package again",
        )
