"""Which package and which delta a robot drives with: what the pointers on disk name.

Control looks between two episodes and opens again only what has changed. The updater
moves the pointer to the package, the learner the one to the delta; control writes the
former where a package cannot drive (`active_package.keep_found`), and never the latter.
"""

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from base.errors import ContinuonError
from edge.control import fast_loop
from edge.control.fast_loop import FastLoop
from edge.control.local_delta import LocalDelta
from edge.control.package_policy import PackagePolicy
from edge.control.policy_source import Driver, make_package_driver
from edge.loops.delta_store import CURRENT, DeltaStore
from edge.ota import active_package
from edge.ota.active_package import ActivePackage
from edge.ota.decide import Origin
from edge.ota.errors import NoPackageError
from edge.ota.start_count import StartCount
from edge.ota.state_folder import StateFolder
from edge.processes.home import Home
from edge.robots.robot import RobotSpec
from release.trusted_keys import TrustedKeys

NO_PACKAGE: Final = "waits for a package"


@dataclass(frozen=True)
class Drive:
    """What drives the robot now.

    Attributes:
        driver: its policy and limits.
        channel: where the package comes from; "" where nobody knows any more.
        release_counter: number of its release.
        fast_loop: what may change its policy within an episode; None for nothing.
    """

    driver: Driver
    channel: str
    release_counter: int
    fast_loop: FastLoop | None = None


class DriveSource:
    """Reads what drives one robot, again and again."""

    def __init__(
        self,
        home: Home,
        keys: TrustedKeys,
        robots: Mapping[str, RobotSpec],
        say: Callable[[str], None],
        fast_calls: int = 0,
    ) -> None:
        """Reads nothing yet.

        Args:
            home: the robot's folder.
            keys: the keys that may sign packages.
            robots: what a package must fit, by robot string.
            say: gets a line about each change, and about what cannot be driven with.
            fast_calls: calls of the fast loop at one step; 0 for no fast loop.
        """
        self._fast_calls = fast_calls
        self._packages = StateFolder(home.packages)
        self._deltas = DeltaStore(home.deltas)
        self._keys = keys
        self._robots = robots
        self._say = say
        self.starts = StartCount(self._packages)
        self._pointers: object = None  # as they were when `_drive` was opened
        self._active: ActivePackage | None = None
        self._drive: Drive | None = None
        self._said: dict[str, str] = {}

    def look(self) -> Drive | None:
        """Returns what drives now; None while no package can.

        A package that does not open gives way to the one before it, or leaves the one
        that is open; a delta that does not leaves the package without it.
        """
        pointers = self._read_pointers()
        if pointers == self._pointers:
            return self._drive
        try:
            active = self._find_package()
        except NoPackageError:
            return self._drive
        except (ContinuonError, OSError) as e:
            self._say_once("package", str(e))
            return self._drive
        delta = self._read_delta(active)
        driver = active.driver
        if delta is not None:
            driver = self._with_delta(active, delta)
        self._pointers, self._active = pointers, active
        self._drive = Drive(
            driver,
            active.installed.channel,
            active.installed.release_counter,
            self._open_fast_loop(active, driver, delta),
        )
        return self._drive

    def _find_package(self) -> ActivePackage:
        """Counts a start, and opens the package that can drive."""
        if (note := self.starts.begin()) is not None:
            self._say_once("starts", note)
        active = active_package.open_active_package(
            self._packages, self._keys, self._robots
        )
        for line in (*active.notes, active.summary):
            self._say_once(line, line)
        self.starts.begin()  # it may be another one now
        return active

    def _read_delta(self, active: ActivePackage) -> LocalDelta | None:
        try:
            delta = self._deltas.read(CURRENT, active.package.manifest)
        except ContinuonError as e:
            self._say_once("delta", str(e))
            return None
        text = "no delta" if delta is None else f"delta {delta.digest[:12]}"
        self._say_once("delta", f"drives with {text}")
        return delta

    def _with_delta(self, active: ActivePackage, delta: LocalDelta) -> Driver:
        package = active.package.intact
        try:
            return make_package_driver(
                package, active.installed.channel, robots=self._robots, delta=delta
            )
        except ContinuonError as e:
            self._say_once("delta", f"delta {delta.digest[:12]} is not used: {e}")
            return active.driver

    def _open_fast_loop(
        self, active: ActivePackage, driver: Driver, delta: LocalDelta | None
    ) -> FastLoop | None:
        """Opens the fast loop where it is asked for and the package may have one."""
        if not self._fast_calls:
            return None
        if active.installed.origin is not Origin.SEED:
            self._say_once("fast", "no fast loop: the package came from a channel")
            return None
        (name, spec), *_ = self._robots.items()
        policy = driver.policy_for(name, spec)
        assert isinstance(policy, PackagePolicy)  # it is a package's driver
        if driver.delta_digest is None:
            delta = None  # it did not open
        try:
            found = fast_loop.open_fast_loop(
                active.package.intact, policy, delta, self._say, self._fast_calls
            )
        except ContinuonError as e:
            self._say_once("fast", f"no fast loop: {e}")
            return None
        if found is None:
            self._say_once("fast", "no fast loop: this package has none for control")
        return found

    def _read_pointers(self) -> object:
        """What the two pointers say, whatever that is."""
        found: list[object] = []
        for read in (
            self._packages.read_installed,
            lambda: self._deltas.named(CURRENT),
        ):
            try:
                value = read()
                found.append(
                    dataclasses.astuple(value)
                    if value is not None and not isinstance(value, str)
                    else value
                )
            except ContinuonError as e:
                found.append(str(e))
        return tuple(found)

    def _say_once(self, about: str, text: str) -> None:
        """Says a line if it is not the last one about this."""
        if self._said.get(about) != text:
            self._said[about] = text
            self._say(text)
