"""The protocol of whoever demonstrates a task or corrects a package.

A scripted expert, a person at a keyboard, with a gamepad or at the operator's page: the
control loop knows them only through this file. An actor demonstrates when it is the
policy of an episode; else it watches another policy, takes over and hands back.
"""

import enum
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

import numpy as np

from edge.actors.told_moves import Told
from edge.errors import ActorLostError
from edge.robots.registry import EXPERT as EXPERT
from edge.robots.robot import Observation, RobotSpec, Vector

HUMAN: Final = "human"
"""A person, as episodes record who acted; the other is `EXPERT`."""
_WAIT_S: Final = 0.5  # the longest that a signal waits to be heard meanwhile


class Ending(enum.Enum):
    """Why an actor ends an episode.

    `LEFT_OUT` is an episode that nobody is to learn from. `STOP` is the stop key: the
    robot holds still, and the step counts as a safety violation. `LOST` is a device
    that has gone: the robot holds still.
    """

    SUCCESS = "success"
    FAILURE = "failure"
    LEFT_OUT = "left out"
    STOP = "stop"
    LOST = "lost"


@dataclass(frozen=True)
class Signal:
    """What an actor wants in one control period.

    Attributes:
        takes_over: whether the actor acts, and not the policy that it watches.
        ending: why the episode ends with this step; None if it goes on.
    """

    takes_over: bool = False
    ending: Ending | None = None

    @property
    def holds_still(self) -> bool:
        """Whether the robot must not move any more."""
        return self.ending in (Ending.STOP, Ending.LOST)


class Actor(Protocol):
    """Whoever acts on one robot, episode after episode; also a `Policy`.

    In each control period the loop asks `signal` once, and `propose` if the actor acts.
    Neither may wait for anything. Between two episodes `signal` may be asked too.
    """

    @property
    def name(self) -> str:
        """Who acts, as episodes record it: `expert` or `human`."""

    def may_begin(self, wait_s: float = 0.0) -> bool | None:
        """Whether the next episode may begin; None while nobody has said.

        Args:
            wait_s: how long to wait at most for somebody to say it, in seconds.

        Raises:
            ActorLostError: the device has gone.
        """

    def reset(self, task: str) -> None:
        """Begins an episode of `task`; nobody has taken over yet.

        What was asked for before counts for nothing, but for the stop key.
        """

    def signal(self) -> Signal:
        """What has been asked for since the last call."""

    def propose(self, observation: Observation) -> Vector:
        """The action, [action_size] f32; the robot stays still unless asked to move."""

    def close(self) -> None:
        """Gives back the device, as it was before."""


@dataclass(frozen=True)
class Loss:
    """How people are told that whoever acts was lost.

    Attributes:
        gone: what is so, such as `the gamepad is gone`.
        back: what lets a robot go on that has found them again.
        expected: what a program expected that ends by the loss.
        got: what it got.
        remedy: what to do then.
    """

    gone: str
    back: str
    expected: str
    got: str
    remedy: str = ActorLostError.default_remedy

    def make_error(self, source: str) -> ActorLostError:
        """The error by which a program ends; `source` is the flag that names who."""
        return ActorLostError(source, self.expected, self.got, self.remedy)


_DEVICE: Final = Loss(
    "the device of the actor is gone",
    "the device of the actor is back; its key to take over lets the robot go on",
    "its device to stay",
    "it is gone",
)


def describe_loss(actor: Actor) -> Loss:
    """The words of an actor that was lost: what it has as `loss`.

    One of another package need not have any; then they are those of any device.
    """
    loss = getattr(actor, "loss", _DEVICE)
    assert isinstance(loss, Loss)
    return loss


def await_start(actor: Actor) -> bool:
    """Waits until the next episode may begin; False if there is to be none.

    Raises:
        ActorLostError: the device has gone.
    """
    while (said := actor.may_begin(_WAIT_S)) is None:
        pass
    return said


class KeySource(Protocol):
    """Where the bytes of keys come from: a terminal here, or one of another process."""

    def read(self, wait_s: float = 0.0) -> bytes:
        """The bytes that have come; nothing if there are none after `wait_s`.

        Raises:
            OSError: nobody can press a key any more.
        """

    def close(self) -> None:
        """Gives it back as it was."""


class MoveSource(Protocol):
    """What hears the operator's page."""

    def read(self, wait_s: float = 0.0) -> list[Told]:
        """What came since the last call, oldest first; nothing after `wait_s`."""

    def close(self) -> None:
        """Gives back what it holds."""


@dataclass(frozen=True)
class Stage:
    """What an actor is opened for.

    Attributes:
        robot: the robot string, such as `metaworld:reach-v3`.
        spec: the robot's properties.
        speed: how fast to move, as a share of the robot's action range; None for what
            suits the actor.
        device: file of the actor's device; None for the usual one.
        tell: gets lines for the person who acts.
        keys: where the keys of a person come from; None for standard input.
        moves: hears the operator's page; None where nothing does.
    """

    robot: str
    spec: RobotSpec
    speed: float | None
    device: Path | None
    tell: Callable[[str], None]
    keys: KeySource | None = None
    moves: MoveSource | None = None


def still(spec: RobotSpec) -> Vector:
    """The action [action_size] f32 that moves the robot as little as its limits let."""
    low = np.asarray(spec.action_minimum, np.float32)
    return np.clip(np.zeros_like(low), low, np.asarray(spec.action_maximum, np.float32))


def scale(spec: RobotSpec, axes: Vector) -> Vector:
    """The action for axes between -1 and 1: from `still` towards a limit of the robot.

    Shapes: axes [action_size] to [action_size], f32.
    """
    rest = still(spec)
    low = np.asarray(spec.action_minimum, np.float32)
    high = np.asarray(spec.action_maximum, np.float32)
    reach = np.where(axes < 0, rest - low, high - rest)
    return np.asarray(rest + reach * axes, np.float32)
