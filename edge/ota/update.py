"""Brings a device to what its channel offers, or leaves it exactly as it was.

The order is the safety argument: nothing is believed before its signature, nothing is
active before its canary, and the pointer moves last.
"""

import dataclasses
from dataclasses import dataclass
from datetime import datetime

from base.errors import ContinuonError
from edge.control.package_policy import open_policy
from edge.ota import canary, decide, errors, fetch
from edge.ota.decide import Device, Installed, Move, Offer
from edge.ota.state_folder import StateFolder
from edge.runtime_version import EXPORT_TARGET
from release.trusted_keys import TrustedKeys
from release.verification import VerifiedChannel, VerifiedPackage, verify_package


@dataclass(frozen=True)
class ActivePackage:
    """The package a device runs, and how it came to be active.

    Attributes:
        package: the package.
        installed: what the pointer says.
        move: what was done about the channel's offer.
        waiting: the offer, where it is newer and not yet for this device.
    """

    package: VerifiedPackage
    installed: Installed
    move: Move
    waiting: Offer | None = None


def update(
    state: StateFolder,
    channel_uri: str,
    keys: TrustedKeys,
    device: Device,
    now: datetime,
) -> ActivePackage:
    """Asks the channel once and activates what it offers.

    Raises:
        ReleaseError: the channel or the package is not to be trusted.
        OtaError: the offer is not for this device, or misbehaves on it.
        EdgeError, RldsError: the package's step or canary does not run.
        OSError: the disk fails.
        In every case the package that was active still is.
    """
    with state.locked():
        installed = state.installed()
        state.sweep(installed)
        store, channel = fetch.fetch_channel(channel_uri, keys, now, installed)
        offer = offer_of(channel)
        intact = installed is not None and _is_intact(state, installed, keys, now)
        move = decide.decide(installed, intact, offer, device)
        if move is Move.KEEP and installed is not None:
            active = _opened(state, installed, keys, now, move)
            newer = offer.release_counter > installed.release_counter
            return dataclasses.replace(active, waiting=offer if newer else None)
        if move is Move.INSTALL:
            entry = channel.entry(EXPORT_TARGET)
            with state.staging() as folder:
                staged = fetch.fetch_package(store, entry, folder / offer.digest)
                package = verify_package(staged, keys, now, EXPORT_TARGET, offer.digest)
                canary.require_healthy(package.intact, open_policy(package.intact))
                state.place(staged, offer.digest)
        pointed = decide.after(installed, offer)
        state.point(pointed)
        state.sweep(pointed)
        return _opened(state, pointed, keys, now, move)


def active_package(
    state: StateFolder, keys: TrustedKeys, now: datetime
) -> ActivePackage:
    """Opens what is active without asking any channel.

    Raises:
        NoPackageError: nothing was ever activated here.
        ReleaseError: the package on disk is not, or no longer, to be trusted.
    """
    installed = state.installed()
    if installed is None:
        raise errors.NoPackageError(
            state.root, "an active package", "none", "run once with --channel"
        )
    return _opened(state, installed, keys, now, Move.KEEP)


def offer_of(channel: VerifiedChannel) -> Offer:
    """Returns what a channel holds for this runtime's target.

    Raises:
        WrongTargetError: nothing.
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


def _opened(
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
    """Tells whether the active package can stay; any reason against it says no."""
    try:
        _opened(state, installed, keys, now, Move.KEEP)
    except (ContinuonError, OSError):
        return False
    return True
