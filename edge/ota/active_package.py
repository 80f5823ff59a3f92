"""Opens the package that a robot drives with, or the one before it.

Opening needs no channel and no clock. It checks all that driving needs: the files, the
signatures, the step, the limits, and whether all of that fits the robots that the
command names. The update does the same before it activates a package.
"""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass

from base.errors import ContinuonError
from edge.control.policy_source import Driver, make_package_driver
from edge.ota import decide, errors
from edge.ota.decide import Installed, Move
from edge.ota.state_folder import StateFolder
from edge.robots.robot import RobotSpec
from edge.runtime_version import EXPORT_TARGET
from release.trusted_keys import TrustedKeys
from release.verification import VerifiedPackage, verify_package


@dataclass(frozen=True)
class ActivePackage:
    """The package that a robot runs, and how it became active.

    Attributes:
        package: the package.
        driver: its policy and limits, which fit every robot of the command.
        installed: what the pointer says.
        move: what was done about the channel's offer.
        notes: what the operator should know, one line each.
    """

    package: VerifiedPackage
    driver: Driver
    installed: Installed
    move: Move
    notes: tuple[str, ...] = ()

    @property
    def summary(self) -> str:
        """Says on one line what runs."""
        found = self.installed
        package = f"package {found.digest[:12]} of channel {found.channel}"
        release = f"release {found.release_counter}"
        if found.fell_back_from is not None:
            release = f"the one before {release}, which did not open"
        return f"{package}, {release}: {self.move.value}"


def open_package(
    state: StateFolder,
    installed: Installed,
    keys: TrustedKeys,
    robots: Mapping[str, RobotSpec],
    move: Move,
) -> ActivePackage:
    """Opens one package of the state folder.

    Args:
        state: the state folder.
        installed: names the package; need not be what the pointer says.
        keys: the keys that may sign packages.
        robots: what the package must fit, by robot string.
        move: what was done about the channel's offer.

    Raises:
        ReleaseError: the package is damaged or not trusted any more.
        EdgeError: its step or its safety config does not load or fits none of the
            robots.
        OSError: the disk fails.
    """
    folder = state.package_folder(installed.digest)
    package = verify_package(folder, keys, None, EXPORT_TARGET, installed.digest)
    driver = make_package_driver(package.intact, installed.channel, robots=robots)
    return ActivePackage(package, driver, installed, move)


def find_active_package(
    state: StateFolder, keys: TrustedKeys, robots: Mapping[str, RobotSpec]
) -> ActivePackage:
    """Opens the active package, or the one before it if that does not open.

    Nothing is written; `open_active_package` keeps what was found.

    Raises:
        NoPackageError: no package was ever activated here.
        What `open_package` raises, about the active package: the one before it does not
            open either, or there is none.
    """
    installed = state.read_installed()
    if installed is None:
        raise errors.NoPackageError(
            state.root, "an active package", "none", "run once with --channel"
        )
    try:
        return open_package(state, installed, keys, robots, Move.KEEP)
    except (ContinuonError, OSError) as e:
        before = decide.fall_back(installed)
        if before is None:
            raise
        try:
            active = open_package(state, before, keys, robots, Move.FALL_BACK)
        except (ContinuonError, OSError):
            raise e from None
        note = f"release {installed.release_counter} does not open: {e}"
        return dataclasses.replace(active, notes=(note,))


def open_active_package(
    state: StateFolder, keys: TrustedKeys, robots: Mapping[str, RobotSpec]
) -> ActivePackage:
    """Opens the active package without asking a channel.

    If it does not open, the package before it becomes the active one, durably, and its
    release is not installed again. A robot whose folder cannot be written drives with
    the package before as well and says so.

    Raises:
        What `find_active_package` raises.
    """
    return keep_found(state, find_active_package(state, keys, robots))


def keep_found(state: StateFolder, active: ActivePackage) -> ActivePackage:
    """Points to the package that was found, if it is not the one that was active."""
    if active.move is not Move.FALL_BACK:
        return active
    try:
        with state.lock():
            now = state.read_installed()
            if now is not None and decide.fall_back(now) == active.installed:
                state.activate(active.installed)
    except (ContinuonError, OSError) as e:
        note = f"falling back could not be written down: {e}"
        return dataclasses.replace(active, notes=(*active.notes, note))
    return active
