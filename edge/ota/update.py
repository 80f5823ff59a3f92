"""Brings a robot to what its channel offers, or leaves it exactly as it was.

The safety depends on the order: the signature is checked before anything is used, the
canary runs before the package becomes active, and the pointer moves last.
"""

import dataclasses
from dataclasses import dataclass
from datetime import datetime

from base.errors import ContinuonError
from edge.control.package_policy import open_policy
from edge.ota import canary, decide, errors, fetch
from edge.ota.decide import Installed, Move, Offer, RobotRuntime
from edge.ota.state_folder import StateFolder
from edge.runtime_version import EXPORT_TARGET
from release.trusted_keys import TrustedKeys
from release.verification import VerifiedChannel, VerifiedPackage, verify_package


@dataclass(frozen=True)
class ActivePackage:
    """The package that a robot runs, and how it became active.

    Attributes:
        package: the package.
        installed: what the pointer says.
        move: what was done about the channel's offer.
        waiting: the offer, if it is newer and its rollout has not reached this robot.
    """

    package: VerifiedPackage
    installed: Installed
    move: Move
    waiting: Offer | None = None


def update(
    state: StateFolder,
    channel_uri: str,
    keys: TrustedKeys,
    robot: RobotRuntime,
    now: datetime,
) -> ActivePackage:
    """Asks the channel once and activates what it offers.

    Raises:
        ReleaseError: the channel or the package is not to be trusted.
        OtaError: the offer is not for this robot, or its canary fails here.
        EdgeError, RldsError: the package's step or canary cannot be run.
        OSError: the disk fails.

    The package that was active stays active in every case.
    """
    with state.lock():
        installed = state.read_installed()
        state.sweep(installed)
        store, channel = fetch.fetch_channel(channel_uri, keys, now, installed)
        offer = read_offer(channel)
        intact = installed is not None and _is_intact(state, installed, keys, now)
        move = decide.decide(installed, intact, offer, robot)
        if move is Move.KEEP and installed is not None:
            active = _open_package(state, installed, keys, now, move)
            newer = offer.release_counter > installed.release_counter
            return dataclasses.replace(active, waiting=offer if newer else None)
        if move is Move.INSTALL:
            entry = channel.entry(EXPORT_TARGET)
            with state.stage() as folder:
                staged = fetch.fetch_package(store, entry, folder / offer.digest)
                package = verify_package(staged, keys, now, EXPORT_TARGET, offer.digest)
                canary.require_healthy(package.intact, open_policy(package.intact))
                state.add_package(staged, offer.digest)
        new = decide.advance_pointer(installed, offer)
        state.activate(new)
        state.sweep(new)
        return _open_package(state, new, keys, now, move)


def open_active_package(
    state: StateFolder, keys: TrustedKeys, now: datetime
) -> ActivePackage:
    """Opens the active package without asking a channel.

    Raises:
        NoPackageError: no package was ever activated here.
        ReleaseError: the package on disk is damaged or not trusted any more.
    """
    installed = state.read_installed()
    if installed is None:
        raise errors.NoPackageError(
            state.root, "an active package", "none", "run once with --channel"
        )
    return _open_package(state, installed, keys, now, Move.KEEP)


def read_offer(channel: VerifiedChannel) -> Offer:
    """Returns what a channel holds for this runtime's target.

    Raises:
        WrongTargetError: it holds no package for this target.
    """
    entry = channel.entry(EXPORT_TARGET)
    return Offer(
        digest=entry.digest,
        release_counter=channel.release_counter,
        channel=channel.record.channel,
        minimum_runtime=channel.record.minimum_runtime,
        rollout_percent=channel.record.rollout.percent,
        rollout_salt=channel.record.rollout.salt,
    )


def _open_package(
    state: StateFolder,
    installed: Installed,
    keys: TrustedKeys,
    now: datetime,
    move: Move,
) -> ActivePackage:
    folder = state.package_folder(installed.digest)
    package = verify_package(folder, keys, now, EXPORT_TARGET, installed.digest)
    return ActivePackage(package, installed, move)


def _is_intact(
    state: StateFolder, installed: Installed, keys: TrustedKeys, now: datetime
) -> bool:
    """Tells whether the active package opens; False for whatever error it raises."""
    try:
        _open_package(state, installed, keys, now, Move.KEEP)
    except (ContinuonError, OSError):
        return False
    return True
