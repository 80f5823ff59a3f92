"""What to do about a channel's offer, decided without IO.

| offered counter | offered package | decision |
|---|---|---|
| lower than installed | any | RollbackError |
| equal | another | RollbackError: one counter names one package |
| equal | the installed one, intact | keep |
| equal | the installed one, damaged | install again |
| higher, not in the rollout yet | any | keep |
| higher | the installed one, intact | adopt the counter |
| higher | another, or damaged | install |
| any, nothing installed | any | install |
"""

import enum
import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from edge.ota import errors
from release.errors import RollbackError

TEMPORARY_PREFIX: Final = ".tmp-"
_SHARES: Final = 10_000  # a rollout distinguishes robots in steps of 0.01 percent


@dataclass(frozen=True)
class Installed:
    """What the pointer file says is active.

    Attributes:
        digest: digest of the active package.
        release_counter: highest counter ever accepted in this folder.
        channel: channel that the package came from.
        previous: digest of the package before it; None for the first.
    """

    digest: str
    release_counter: int
    channel: str
    previous: str | None


@dataclass(frozen=True)
class Offer:
    """What a verified channel holds for this robot.

    Attributes:
        digest: digest of the package.
        release_counter: the channel's counter.
        channel: the channel's name.
        minimum_runtime: lowest runtime version that can run the package.
        rollout_percent: share of robots that take the release, 0 to 100.
        rollout_salt: decides which robots these are.
    """

    digest: str
    release_counter: int
    channel: str
    minimum_runtime: str
    rollout_percent: int
    rollout_salt: str


@dataclass(frozen=True)
class RobotRuntime:
    """The robot and the runtime that an offer is compared with.

    Attributes:
        robot_id: name that decides when a partial rollout reaches this robot.
        runtime: version of the running runtime.
    """

    robot_id: str
    runtime: str


class Move(enum.Enum):
    """What to do about an offer."""

    KEEP = "keep"
    ADOPT_COUNTER = "adopt counter"
    INSTALL = "install"


def decide(
    installed: Installed | None,
    installed_is_intact: bool,
    offer: Offer,
    robot: RobotRuntime,
) -> Move:
    """Compares an offer with what is installed.

    Raises:
        ChannelSwitchError: the offer comes from another channel than the installed
            package.
        RollbackError: the offer's counter is lower, or it is equal and names another
            package.
        RuntimeTooOldError: the offered package needs a newer runtime.
        NotInRolloutError: the release reaches other robots first, and this one has
            no intact package to keep.
    """
    if installed is not None:
        _require_forward(installed, offer)
        same = offer.digest == installed.digest
        if offer.release_counter == installed.release_counter and installed_is_intact:
            return Move.KEEP
    else:
        same = False
    reached = takes_part(offer, robot.robot_id)
    if not reached and (installed is None or not installed_is_intact):
        raise errors.NotInRolloutError(
            f"channel {offer.channel}",
            "a release for this robot",
            f"one for {offer.rollout_percent} percent of robots without "
            f"{robot.robot_id!r}",
            "wait for the rollout or follow another channel",
        )
    if not reached:
        return Move.KEEP
    if _split(offer.minimum_runtime) > _split(robot.runtime):
        raise errors.RuntimeTooOldError(
            f"channel {offer.channel}",
            f"runtime {offer.minimum_runtime} or newer",
            robot.runtime,
            "install a newer bundle, the current package stays active",
        )
    return Move.ADOPT_COUNTER if same and installed_is_intact else Move.INSTALL


def takes_part(offer: Offer, robot_id: str) -> bool:
    """Tells whether a partial rollout reaches a robot.

    A robot that a rollout has reached stays in it as the share grows.
    """
    raw = hashlib.sha256(f"{offer.rollout_salt}\0{robot_id}".encode()).digest()
    share = int.from_bytes(raw[:8], "big") % _SHARES
    return share < offer.rollout_percent * _SHARES // 100


def advance_pointer(installed: Installed | None, offer: Offer) -> Installed:
    """Returns what the pointer says once the offer is active."""
    if installed is None:
        previous = None
    elif installed.digest == offer.digest:
        previous = installed.previous
    else:
        previous = installed.digest
    return Installed(offer.digest, offer.release_counter, offer.channel, previous)


def find_unused(names: Iterable[str], installed: Installed | None) -> tuple[str, ...]:
    """Returns the entries of the packages folder that the pointer does not name.

    These are leftovers of a crash and packages older than the previous one.
    """
    wanted = set() if installed is None else {installed.digest, installed.previous}
    return tuple(sorted(name for name in names if name not in wanted))


def _require_forward(installed: Installed, offer: Offer) -> None:
    if offer.channel != installed.channel:
        remedy = "use another --state_dir for another channel"
        if offer.channel == "rollback":
            # Robots go back on their own channel, by a new release there.
            remedy = (
                f"to go back, publish the good package again on {installed.channel}"
            )
        raise errors.ChannelSwitchError(
            f"channel {offer.channel}",
            f"channel {installed.channel}, which this state folder follows",
            "another",
            remedy,
        )
    same = offer.digest == installed.digest
    if offer.release_counter < installed.release_counter or (
        offer.release_counter == installed.release_counter and not same
    ):
        raise RollbackError(
            f"channel {offer.channel}",
            f"a release counter above {installed.release_counter}, or "
            f"{installed.release_counter} with package {installed.digest[:12]}",
            f"{offer.release_counter} with package {offer.digest[:12]}",
            "the current package stays active; publish with a higher release counter",
        )


def _split(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split("."))
