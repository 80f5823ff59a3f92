"""What to do about a channel's offer, decided without IO.

| offered counter | offered package | decision |
|---|---|---|
| lower than accepted | any | RollbackError |
| equal | another | RollbackError: one counter names one package |
| equal | the accepted one, while the installed one opens | keep |
| equal | the accepted one, while the installed one does not open | install again |
| higher, not in the rollout yet | any | keep |
| higher, while the clock is wrong | any | keep |
| higher | the installed one, which opens | adopt the counter |
| higher | another, or one that does not open | install |
| any, nothing installed | any | install, unless the clock is wrong |

The accepted package is the one that came with the highest counter. It is the installed
one, except after a fallback: then the installed one is the package before it.
"""

import dataclasses
import enum
import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from edge.errors import ClockError
from edge.ota import errors
from release.errors import RollbackError

TEMPORARY_PREFIX: Final = ".tmp-"
UNKNOWN_CHANNEL: Final = ""
_SHARES: Final = 10_000  # a rollout distinguishes robots in steps of 0.01 percent


class Origin(enum.Enum):
    """Where a package came from."""

    SEED = "seed"
    """From the factory or an operator, by hand."""
    CHANNEL = "channel"
    """From a channel, over the air."""


@dataclass(frozen=True)
class Installed:
    """What the pointer file says is active.

    Attributes:
        digest: digest of the active package.
        release_counter: highest counter ever accepted in this folder.
        channel: channel that this folder follows; `UNKNOWN_CHANNEL` if it has asked
            none yet, or while a lost pointer is stood in for.
        previous: digest of the package before it; None for the first.
        fell_back_from: digest of the package that gave way to the active one; None if
            none did.
        origin: where the active package came from.
        previous_origin: where the package before it came from.
        accepted: digest of the package that came with `release_counter`, if that is
            neither the active one nor the one that gave way: a seed was installed over
            it.
    """

    digest: str
    release_counter: int
    channel: str
    previous: str | None
    fell_back_from: str | None = None
    origin: Origin = Origin.CHANNEL
    previous_origin: Origin = Origin.CHANNEL
    accepted: str | None = None

    @property
    def accepted_digest(self) -> str:
        """Digest of the package that came with `release_counter`."""
        return self.accepted or self.fell_back_from or self.digest


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
    """What to do about an offer; the value says for people that it was done."""

    KEEP = "kept"
    RECOVER = "recovered"
    ADOPT_COUNTER = "kept under its new release"
    INSTALL = "installed"
    FALL_BACK = "fell back to it"


def decide(
    installed: Installed | None,
    installed_opens: bool,
    offer: Offer,
    robot: RobotRuntime,
    clock_is_right: bool,
) -> Move:
    """Compares an offer with what is installed.

    Args:
        installed: what the pointer says is active.
        installed_opens: whether that package could drive now.
        offer: what the channel holds.
        robot: this robot.
        clock_is_right: whether the clock may be believed; if not, nobody knows whether
            the offer has expired.

    Raises:
        ChannelSwitchError: the offer comes from another channel than the installed
            package.
        RollbackError: the offer's counter is lower, or it is equal and names another
            package.
        RuntimeTooOldError: the offered package needs a newer runtime.
        NotInRolloutError: the release reaches other robots first, and this one has
            no package that opens to keep.
        ClockError: the release is new, the clock is wrong, and there is no package that
            opens to keep.
    """
    keeps = installed is not None and installed_opens
    accepted_before = False
    if installed is not None:
        _require_forward(installed, offer)
        accepted_before = offer.release_counter == installed.release_counter
    if accepted_before and keeps:
        return Move.KEEP
    if not accepted_before and not clock_is_right:
        if keeps:
            return Move.KEEP
        raise ClockError(
            "the clock of this machine",
            "a time at which it is known whether the release has expired",
            "an earlier one",
        )
    reached = takes_part(offer, robot.robot_id)
    if not reached and not keeps:
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
            "nothing changes on this robot; install a newer bundle",
        )
    same = installed is not None and offer.digest == installed.digest
    return Move.ADOPT_COUNTER if same and keeps else Move.INSTALL


def takes_part(offer: Offer, robot_id: str) -> bool:
    """Tells whether a partial rollout reaches a robot.

    A robot that a rollout has reached stays in it as the share grows.
    """
    raw = hashlib.sha256(f"{offer.rollout_salt}\0{robot_id}".encode()).digest()
    share = int.from_bytes(raw[:8], "big") % _SHARES
    return share < offer.rollout_percent * _SHARES // 100


def advance_pointer(
    installed: Installed | None,
    installed_opens: bool,
    offer: Offer,
    on_trial: bool = False,
) -> Installed:
    """Returns what the pointer says once the offer is active.

    A package that does not open is never the one to fall back to, nor is one on trial
    if there is another.

    Args:
        installed: what the pointer says.
        installed_opens: whether that package could drive now.
        offer: what becomes active.
        on_trial: whether the installed package is on trial.
    """
    previous, previous_origin = _choose_previous(
        installed, installed_opens, offer.digest, on_trial
    )
    origin = Origin.CHANNEL
    if installed is not None and installed.digest == offer.digest:
        origin = installed.origin  # the same bytes; only the counter is new
    return Installed(
        offer.digest,
        offer.release_counter,
        offer.channel,
        previous,
        origin=origin,
        previous_origin=previous_origin,
    )


def plant_seed(
    installed: Installed | None,
    installed_opens: bool,
    digest: str,
    own_counter: int,
    on_trial: bool = False,
) -> Installed:
    """Returns what the pointer says once a seed is active.

    The highest counter stays, and what came with it is not taken again. A channel that
    offers less than the seed's own counter would lead back, so that is refused.

    Args:
        installed: what the pointer says.
        installed_opens: whether that package could drive now.
        digest: digest of the seed.
        own_counter: the lowest counter under which the seed may be released.
        on_trial: whether the installed package is on trial.
    """
    previous, previous_origin = _choose_previous(
        installed, installed_opens, digest, on_trial
    )
    counter, channel, accepted = max(own_counter - 1, 0), UNKNOWN_CHANNEL, None
    if installed is not None:
        channel = installed.channel
        if installed.release_counter >= counter:
            counter = installed.release_counter
            accepted = installed.accepted_digest
    return Installed(
        digest,
        counter,
        channel,
        previous,
        origin=Origin.SEED,
        previous_origin=previous_origin,
        accepted=None if accepted == digest else accepted,
    )


def _choose_previous(
    installed: Installed | None, opens: bool, digest: str, on_trial: bool
) -> tuple[str | None, Origin]:
    """Returns the package to fall back to from `digest`, and where it came from."""
    if installed is None:
        return None, Origin.CHANNEL
    before = installed.previous, installed.previous_origin
    if opens and installed.digest != digest:
        has_other = installed.previous not in (None, digest)
        if not (on_trial and has_other):
            before = installed.digest, installed.origin
    return (None, Origin.CHANNEL) if before[0] == digest else before


def fall_back(installed: Installed) -> Installed | None:
    """Returns what the pointer says once the package before is active, or None.

    The counter stays, so that a robot that fell back accepts no older release.
    """
    if installed.previous is None:
        return None
    accepted = installed.accepted_digest
    return Installed(
        digest=installed.previous,
        release_counter=installed.release_counter,
        channel=installed.channel,
        previous=None,
        fell_back_from=installed.digest,
        origin=installed.previous_origin,
        accepted=None if accepted == installed.digest else accepted,
    )


def recover(digests: Sequence[str], release_counter: int) -> Installed:
    """Returns what stands in for a pointer that is lost.

    Args:
        digests: the packages that open, the newest first.
        release_counter: that of the newest one's own file, a lower bound of the one
            that was accepted with it.
    """
    previous = digests[1] if len(digests) > 1 else None
    return Installed(digests[0], release_counter, UNKNOWN_CHANNEL, previous)


def follow(installed: Installed | None, offer: Offer) -> Installed | None:
    """Returns what the pointer says; one that stood in learns its channel.

    If the channel offers the very package that was found, its counter is known again.
    """
    if installed is None or installed.channel != UNKNOWN_CHANNEL:
        return installed
    counter = installed.release_counter
    if installed.digest == offer.digest:
        counter = max(counter, offer.release_counter)
    return dataclasses.replace(
        installed, channel=offer.channel, release_counter=counter
    )


def find_unused(names: Iterable[str], *installed: Installed | None) -> tuple[str, ...]:
    """Returns the entries of the packages folder that may be removed.

    These are leftovers of a crash, and packages that none of the pointers names. While
    nothing says which package is wanted, all are kept.
    """
    known = [one for one in installed if one is not None]
    wanted = {digest for one in known for digest in (one.digest, one.previous)}
    return tuple(
        sorted(
            name
            for name in names
            if name.startswith(TEMPORARY_PREFIX) or (wanted and name not in wanted)
        )
    )


def _require_forward(installed: Installed, offer: Offer) -> None:
    if offer.channel != installed.channel:
        remedy = "name that channel, or give this one a folder of its own"
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
    accepted = installed.accepted_digest
    same = offer.digest == accepted
    if offer.release_counter < installed.release_counter or (
        offer.release_counter == installed.release_counter and not same
    ):
        raise RollbackError(
            f"channel {offer.channel}",
            f"a release counter above {installed.release_counter}, or "
            f"{installed.release_counter} with package {accepted[:12]}",
            f"{offer.release_counter} with package {offer.digest[:12]}",
            "nothing changes on this robot; publish with a higher release counter",
        )


def _split(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split("."))
