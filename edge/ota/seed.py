"""Installs a package from the factory or an operator, without a channel.

A seed is verified as any other package and tried as any other. It comes under no
release counter, so the highest one that this robot accepted stays: a channel's release
of before does not come back, and the next one replaces the seed.
"""

import dataclasses
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path

from base import plain_file
from edge.ota import active_package, admission, decide, trial
from edge.ota.active_package import ActivePackage, open_package
from edge.ota.admission import TrialSetup
from edge.ota.decide import Move, Offer, Origin
from edge.ota.state_folder import StateFolder
from edge.ota.update import find_newest_time
from edge.robots.robot import RobotSpec
from edge.runtime_version import EXPORT_TARGET
from release.errors import MissingFileError
from release.limits import LIMITS
from release.package import pack_tar, unpack_tar
from release.trusted_keys import TrustedKeys
from release.verification import CLOCK_TOLERANCE, verify_package


def install_seed(
    state: StateFolder,
    path: Path,
    keys: TrustedKeys,
    robots: Mapping[str, RobotSpec],
    now: datetime,
    setup: TrialSetup,
) -> ActivePackage:
    """Makes a package active that somebody put on this machine.

    The seed that is active already stays; its pointer then says that it is a seed.

    Args:
        state: the state folder.
        path: the package's folder, or its tar.
        keys: the keys that may sign packages.
        robots: what the package must fit, by robot string.
        now: the time by this machine's clock; where it is behind one that is known to
            have passed, no expiry is looked at.
        setup: how the package is tried.

    Raises:
        ReleaseError, UnsafePathError, MalformedError, OversizedError: it is not a
            package that is to be trusted.
        OtaError: another update runs, or its canary fails here.
        EdgeError, RldsError: its step cannot be run, or it does not fit a robot.
        OSError: the disk fails, or the path cannot be read.

    The package that was active stays active in every case.
    """
    with state.lock():
        stock = active_package.take_stock(state, keys, robots)
        state.sweep(stock.pointer or stock.installed)
        newest = find_newest_time(state, stock.active)
        time = now if newest - now <= CLOCK_TOLERANCE else None
        raw = _read_tar(path)
        figures: admission.Figures = {}
        with state.stage() as folder:
            staged = unpack_tar(raw, folder / "seed", LIMITS.package_bytes, path)
            package = verify_package(staged, keys, time, EXPORT_TARGET, None)
            digest, before = package.digest, stock.installed
            is_new = before is None or before.digest != digest
            if is_new or stock.active is None:
                with setup.note_refusal(_offer(digest)):
                    figures = admission.try_out(
                        package.intact, robots, stock.active, setup
                    )
                state.add_package(staged, digest)
        on_trial = before is not None and trial.is_on_trial(state.root, before.digest)
        new = decide.plant_seed(
            before,
            stock.active is not None,
            digest,
            package.manifest.release_counter,
            on_trial,
        )
        if is_new:
            admission.begin_trial(state, before, new, figures, max(now, newest))
        elif before is not None:
            new = dataclasses.replace(before, origin=Origin.SEED)
        if new != stock.pointer:
            state.activate(new)
        state.sweep(new, stock.pointer or before)
        move = Move.INSTALL if is_new else Move.KEEP
        opened = open_package(state, new, keys, robots, move)
        return dataclasses.replace(opened, notes=stock.notes)


def _read_tar(path: Path) -> bytes:
    """Returns the tar of the package at `path`.

    Raises:
        MissingFileError: there is nothing.
        What `pack_tar` raises.
    """
    if path.is_dir():
        return pack_tar(path)
    try:
        return plain_file.read(path, LIMITS.package_bytes)
    except FileNotFoundError as e:
        raise MissingFileError(
            path, "the folder or the tar of a package", "none", "correct the path"
        ) from e


def _offer(digest: str) -> Offer:
    """Returns the seed as an offer to every robot, for the note of a refusal."""
    return Offer(digest, 0, decide.UNKNOWN_CHANNEL, "", 100, "")
