"""Tries a package that was verified but never driven here, and puts it on trial.

A channel's package and a seed pass the same checks in the same order: whether it can
drive this robot, its own canary (in a child process first), and, where packages are put
on trial, the comparison with the active one.
"""

import contextlib
import functools
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from base.errors import ContinuonError, DiskError
from edge.control.package_policy import open_policy
from edge.control.policy_source import make_package_driver
from edge.ota import canary, comparison, health, trial
from edge.ota.active_package import ActivePackage
from edge.ota.decide import Installed, Offer
from edge.ota.state_folder import StateFolder
from edge.ota.trial import Trial
from edge.ota.watch import Counts
from edge.robots.robot import RobotSpec
from release.verification import IntactPackage

type Figures = Mapping[str, float]


@dataclass(frozen=True)
class TrialSetup:
    """How a robot tries what it installs; one without it takes a package for good.

    Attributes:
        memories: folder of the robot's own episodes, which need not exist.
        refused: called with an offer that was refused for its content.
    """

    memories: Path
    refused: Callable[[Offer, ContinuonError], None]

    @contextlib.contextmanager
    def note_refusal(self, offer: Offer) -> Iterator[None]:
        """Tells of what the block raises, unless the disk is to blame, and raises it.

        Raises:
            ContinuonError: the block's own.
        """
        try:
            yield
        except DiskError:
            raise
        except ContinuonError as e:
            self.refused(offer, e)
            raise


def try_out(
    package: IntactPackage,
    robots: Mapping[str, RobotSpec],
    active: ActivePackage | None,
    setup: TrialSetup | None,
) -> Figures:
    """Opens a verified package as at a start, runs its canary, and compares it.

    Args:
        package: the package.
        robots: what it must fit, by robot string.
        active: the active package, if it opens.
        setup: how it is tried; None for no comparison.

    Returns:
        What was measured, by name.

    Raises:
        EdgeError: its step does not load or run, does not fit a robot, fails its canary
            or is worse than the active one.
        ReleaseError, RldsError: its canary is malformed.
    """
    check = functools.partial(_check, package, robots)
    canary.require_survival(str(package.folder), check)
    check()
    if setup is None:
        return {}
    rates = [spec.control_hz for spec in robots.values()]
    found = comparison.compare(
        package,
        open_policy(package),
        None if active is None else open_policy(active.package.intact),
        comparison.read_own_episodes(setup.memories),
        max(rates, default=package.manifest.robot.control_hz),
    )
    comparison.require_as_good(str(package.folder), found)
    return found.as_figures()


def begin_trial(
    state: StateFolder,
    installed: Installed | None,
    new: Installed,
    figures: Figures,
    now: datetime,
) -> None:
    """Writes the record of a trial; call it before the pointer moves.

    Args:
        state: the state folder, locked.
        installed: what the pointer says until now.
        new: what it will say.
        figures: what `try_out` returned.
        now: the time.

    Raises:
        DiskError: the record cannot be written.
    """
    before = Counts()
    if new.previous is not None:
        before = health.read_counts(state.root, new.previous)
        running = trial.read_or_set_aside(state.root)
        replaced = installed is not None and installed.digest != new.previous
        if running is not None and replaced and running.before == new.previous:
            before = running.counts_before
    trial.write(
        state.root,
        Trial(
            digest=new.digest,
            before=new.previous,
            release_counter=new.release_counter,
            channel=new.channel,
            origin=new.origin,
            began=now,
            counts_before=before,
            figures=figures,
        ),
    )


def _check(package: IntactPackage, robots: Mapping[str, RobotSpec]) -> None:
    """Opens a package as at a start and runs its canary."""
    make_package_driver(package, robots=robots)
    canary.require_healthy(package, open_policy(package))
