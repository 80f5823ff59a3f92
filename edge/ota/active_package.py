"""Opens the package that a robot drives with, or the one before it.

Opening needs no channel and no clock. It checks all that driving needs: the files, the
signatures, the step, the limits, and whether all of that fits the robots that the
command names. The update does the same before it activates a package.

| the pointer | the active package | what drives |
|---|---|---|
| names one | opens | that one |
| names one | does not open, or its last starts died | the one before, from now on |
| and its copy are lost | | the newest on the disk that opens |
"""

import contextlib
import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from base.errors import ContinuonError, reason
from edge.control.policy_source import Driver, make_package_driver
from edge.ota import decide, errors, start_count, watch
from edge.ota.decide import Installed, Move, Origin
from edge.ota.state_folder import StateFolder
from edge.robots.robot import RobotSpec
from edge.runtime_version import EXPORT_TARGET
from release.evidence import HELD_OUT, SIMULATED, TRIALS
from release.trusted_keys import TrustedKeys
from release.verification import VerifiedPackage, verify_package

_NO_POINTER: Final = "no file names the package"
_JUDGED: Final = {HELD_OUT: "held-out episodes", TRIALS: "trials on a robot"}


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
        """Says on one line what runs, and what it was judged on but in simulation."""
        judged = self.package.blessing.evidence
        if SIMULATED in judged:
            return self._describe()
        names = " and ".join(_JUDGED[kind] for kind in judged)
        return f"{self._describe()}; judged on {names}, not in simulation"

    def _describe(self) -> str:
        found = self.installed
        package = f"package {found.digest[:12]}"
        if found.origin is Origin.SEED and found.fell_back_from is None:
            return f"{package}, a seed: {self.move.value}"
        if found.channel == decide.UNKNOWN_CHANNEL:
            return f"{package}, found without a pointer: {self.move.value}"
        package += f" of channel {found.channel}"
        release = f"release {found.release_counter}"
        if found.fell_back_from is not None:
            release = f"the one before {release}, which cannot drive"
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


@dataclass(frozen=True)
class Stock:
    """What an update finds on the disk.

    Attributes:
        pointer: what the pointer says; None if it is missing or cannot be read.
        installed: what it should say: the pointer, or what stands in for it; None on a
            robot that has no pointer and no package that opens.
        active: that package, opened; None if it does not open.
        reason: why it does not open; None if it does.
        notes: what the operator should know, one line each.
    """

    pointer: Installed | None
    installed: Installed | None
    active: ActivePackage | None
    reason: Exception | None = None
    notes: tuple[str, ...] = ()


def take_stock(
    state: StateFolder, keys: TrustedKeys, robots: Mapping[str, RobotSpec]
) -> Stock:
    """Opens the active package for an update, which holds the lock.

    A pointer that was damaged is mended from its copy. Where a package keeps crashing
    or the pointer is lost, the pointer is not written here: that is up to the update,
    or, if it fails, to the start that follows.

    Raises:
        StateFolderError: the pointer and its copy are damaged, and there is no package
            that opens.
        DiskFullError, DiskError: the disk fails.
    """
    try:
        installed = state.mend_pointer()
    except errors.StateFolderError as e:
        found = find_without_pointer(state, keys, robots, reason(e))
        if found is None:
            raise
        return Stock(None, found.installed, found, notes=found.notes)
    if installed is None:
        found = find_without_pointer(state, keys, robots, _NO_POINTER)
        if found is None:
            return Stock(None, None, None)
        return Stock(None, found.installed, found, notes=found.notes)
    notes: tuple[str, ...] = ()
    if start_count.keeps_crashing(state.root, installed.digest):
        before = _open_before(state, installed, keys, robots, _crashing(installed))
        if before is not None:
            return Stock(installed, before.installed, before, notes=before.notes)
        notes = (_say_alone(installed),)
    try:
        active = open_package(state, installed, keys, robots, Move.KEEP)
        return Stock(installed, installed, active, notes=notes)
    except (ContinuonError, OSError) as e:
        return Stock(installed, installed, None, e)


def find_active_package(
    state: StateFolder, keys: TrustedKeys, robots: Mapping[str, RobotSpec]
) -> ActivePackage:
    """Opens the active package, or the one before it if that cannot drive.

    If the pointer is lost, the newest package on the disk that opens stands in for it.
    Nothing is written and no lock is needed; `open_active_package` keeps what was
    found. An update that moves the pointer meanwhile may remove what it named before:
    then the package that it names now is opened.

    Raises:
        NoPackageError: no package was ever activated here.
        StateFolderError: the pointer is lost, and no package opens.
        What `open_package` raises, about the active package: the one before it does not
            open either, or there is none.
    """
    while True:
        pointer = _peek(state)
        try:
            found = _find_now(state, keys, robots)
        except (ContinuonError, OSError):
            if _peek(state) == pointer:
                raise
            continue
        if found.move is Move.KEEP or _peek(state) == pointer:
            return found


def _peek(state: StateFolder) -> Installed | None:
    try:
        return state.read_installed()
    except errors.StateFolderError:
        return None


def _find_now(
    state: StateFolder, keys: TrustedKeys, robots: Mapping[str, RobotSpec]
) -> ActivePackage:
    """Does what `find_active_package` does, by what the pointer says now."""
    try:
        installed = state.read_installed()
    except errors.StateFolderError as e:
        found = find_without_pointer(state, keys, robots, reason(e))
        if found is None:
            raise
        return found
    if installed is None:
        found = find_without_pointer(state, keys, robots, _NO_POINTER)
        if found is None:
            raise errors.NoPackageError(
                state.root, "an active package", "none", "run once with --channel"
            )
        return found
    notes: tuple[str, ...] = ()
    if start_count.keeps_crashing(state.root, installed.digest):
        before = _open_before(state, installed, keys, robots, _crashing(installed))
        if before is not None:
            return before
        notes = (_say_alone(installed),)
    try:
        active = open_package(state, installed, keys, robots, Move.KEEP)
        return dataclasses.replace(active, notes=notes)
    except (ContinuonError, OSError) as e:
        before = _open_before(state, installed, keys, robots, e)
        if before is None:
            raise
        return before


def find_without_pointer(
    state: StateFolder,
    keys: TrustedKeys,
    robots: Mapping[str, RobotSpec],
    why: str,
) -> ActivePackage | None:
    """Opens the newest package on the disk, for a robot whose pointer is lost.

    Each was verified when it came; they are verified again. The newest is the one with
    the highest release counter of its own, then the one that was blessed last.

    Args:
        state: the state folder.
        keys: the keys that may sign packages.
        robots: what the package must fit, by robot string.
        why: what is wrong with the pointer, for the operator.

    Returns:
        The package; None if none opens.
    """
    opened = []
    for digest in state.list_packages():
        alone = decide.recover([digest], 0)
        with contextlib.suppress(ContinuonError, OSError):
            opened.append(open_package(state, alone, keys, robots, Move.RECOVER))
    if not opened:
        return None
    opened.sort(key=_age, reverse=True)
    newest = opened[0]
    return dataclasses.replace(
        newest,
        installed=decide.recover(
            [one.package.digest for one in opened],
            newest.package.manifest.release_counter,
        ),
        notes=(f"the pointer to the active package is lost: {why}",),
    )


def _age(one: ActivePackage) -> tuple[int, datetime, str]:
    package = one.package
    counter = package.manifest.release_counter
    return counter, package.blessing.issued, package.digest


def _open_before(
    state: StateFolder,
    installed: Installed,
    keys: TrustedKeys,
    robots: Mapping[str, RobotSpec],
    why: Exception,
) -> ActivePackage | None:
    """Opens the package before `installed`; None if there is none or it fails too."""
    before = decide.fall_back(installed)
    if before is None:
        return None
    try:
        active = open_package(state, before, keys, robots, Move.FALL_BACK)
    except (ContinuonError, OSError):
        return None
    note = f"release {installed.release_counter} cannot drive: {why}"
    return dataclasses.replace(active, notes=(note,))


def _say_alone(installed: Installed) -> str:
    return f"{_crashing(installed)}; no package before it opens, so it is tried again"


def _crashing(installed: Installed) -> errors.KeepsCrashingError:
    return errors.KeepsCrashingError(
        f"package {installed.digest[:12]}",
        "an episode that ends",
        f"{watch.MOST_CRASHES} starts in a row that died before one did",
        "report this package to its publisher",
    )


def open_active_package(
    state: StateFolder, keys: TrustedKeys, robots: Mapping[str, RobotSpec]
) -> ActivePackage:
    """Opens the active package without asking a channel.

    If it cannot drive, the package before it becomes the active one, durably, and its
    release is not installed again. A robot whose folder cannot be written drives with
    the package before as well and says so. A lost pointer is written again by the next
    update, which knows the channel.

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
        note = f"falling back could not be written down: {reason(e)}"
        return dataclasses.replace(active, notes=(*active.notes, note))
    return active
