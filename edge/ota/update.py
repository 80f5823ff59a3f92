"""Brings a robot to what its channel offers, or leaves it exactly as it was.

The safety depends on the order: the signature is checked before anything is used, all
that driving needs is checked and the canary runs before the package becomes active,
and the pointer moves last.
"""

import contextlib
import dataclasses
from collections.abc import Mapping
from datetime import datetime

from base import text_forms
from base.errors import ContinuonError
from edge.errors import EdgeError
from edge.ota import active_package, admission, decide, fetch, refusals, trial
from edge.ota.active_package import ActivePackage, open_package
from edge.ota.admission import TrialSetup
from edge.ota.decide import Installed, Move, Offer, RobotRuntime
from edge.ota.errors import UpdateFailedError
from edge.ota.refusals import Refusals
from edge.ota.state_folder import NEWEST_TIME, StateFolder
from edge.robots.robot import RobotSpec
from edge.runtime_version import EXPORT_TARGET, RUNTIME_DATE
from release.channel_verification import VerifiedChannel
from release.package import check_counter
from release.trusted_keys import TrustedKeys
from release.verification import CLOCK_TOLERANCE, verify_package


def update(
    state: StateFolder,
    channel: str,
    keys: TrustedKeys,
    robot: RobotRuntime,
    robots: Mapping[str, RobotSpec],
    now: datetime,
    setup: TrialSetup | None = None,
) -> ActivePackage:
    """Asks the channel once and activates what it offers.

    Args:
        state: the state folder.
        channel: URI or path of the channel.
        keys: the keys that may sign channels and packages.
        robot: this robot.
        robots: what a package must fit before it becomes active, by robot string.
        now: the time by this machine's clock, with a time zone. If it is behind a time
            that is known to have passed, nothing new is taken.
        setup: how a package is tried; None to take one that passes for good, without
            comparison and trial.

    Raises:
        ReleaseError: the channel or the package is not to be trusted.
        OtaError: the offer is not for this robot, its canary fails here, or it was
            refused before.
        EdgeError, RldsError: the package's step or canary cannot be run, or the package
            does not fit a robot.
        StoreError: the store fails, or has not sent what it should within 150 s and
            the time that the package's bytes take at 32 KiB/s.
        OSError: the disk fails.

    The package that was active stays active in every case.
    """
    with state.lock():
        stock = active_package.take_stock(state, keys, robots)
        installed, active = stock.installed, stock.active
        state.sweep(stock.pointer or installed)
        newest = find_newest_time(state, active)
        clock_is_right = newest - now <= CLOCK_TOLERANCE
        time = now if clock_is_right else None
        store, found = fetch.fetch_channel(channel, keys, time, installed)
        offer = read_offer(found)
        if clock_is_right:
            state.raise_newest_time(max(now, found.record.issued or now))
        installed = decide.follow(installed, offer)
        opens = active is not None
        figures: admission.Figures = {}
        move = decide.decide(installed, opens, offer, robot, clock_is_right)
        notes = (
            *stock.notes,
            *_explain(
                state, installed, offer, robot, None if clock_is_right else newest, now
            ),
        )
        if move is Move.KEEP and active is not None and installed is not None:
            if installed != stock.pointer:
                state.activate(installed)
                state.sweep(installed, stock.pointer)
            return dataclasses.replace(active, installed=installed, notes=notes)
        if move is Move.INSTALL:
            same = installed is not None and installed.digest == offer.digest
            if same and isinstance(stock.reason, EdgeError):
                raise stock.reason  # the same bytes would not open either
            entry = found.entry(EXPORT_TARGET)
            conditions = refusals.digest_conditions(robot.runtime, keys, robots)
            refused = Refusals(state.root, conditions, max(now, newest))
            refused.require_new(entry.sha256, offer)
            with state.stage() as folder:
                tar, staged = folder / f"{offer.digest}.tar", folder / offer.digest
                fetch.fetch_tar(store, entry, tar)
                with refused.note(entry.sha256, offer), _tell(setup, offer):
                    fetch.unpack(tar, staged, f"{store.uri}/{entry.path}")
                    package = verify_package(
                        staged, keys, time, EXPORT_TARGET, offer.digest
                    )
                    check_counter(package.manifest, offer.release_counter, channel)
                    figures = admission.try_out(package.intact, robots, active, setup)
                state.add_package(staged, offer.digest)
        on_trial = installed is not None and trial.is_on_trial(
            state.root, installed.digest
        )
        new = decide.advance_pointer(installed, opens, offer, on_trial)
        is_new = installed is None or installed.digest != offer.digest
        if setup is not None and is_new:
            admission.begin_trial(state, installed, new, figures, max(now, newest))
        state.activate(new)
        state.sweep(new, stock.pointer or installed)
        opened = open_package(state, new, keys, robots, move)
        return dataclasses.replace(opened, notes=notes)


def update_or_stay(
    state: StateFolder,
    channel: str,
    keys: TrustedKeys,
    robot: RobotRuntime,
    robots: Mapping[str, RobotSpec],
    now: datetime,
    *,
    stay: bool,
) -> ActivePackage:
    """Updates, or drives on with what is installed if `stay` is true.

    The arguments are those of `update`.

    Raises:
        UpdateFailedError: the update failed, and `stay` is false or nothing that is
            installed opens.
    """
    try:
        return update(state, channel, keys, robot, robots, now)
    except Exception as e:
        # As at the top of a process: a robot that is to drive on does so whatever an
        # update does, a defect in this code included.
        failure, cause = describe_failure(channel, e), e
    try:
        active = active_package.find_active_package(state, keys, robots)
    except (ContinuonError, OSError):
        raise failure from cause
    if not stay:
        raise UpdateFailedError(
            failure.source,
            failure.expected,
            failure.got,
            f"{failure.remedy}; --offline instead of --channel runs what is installed, "
            f"{active.summary}",
        ) from cause
    active = active_package.keep_found(state, active)
    notes = (str(failure), "the update failed; running what is installed")
    return dataclasses.replace(active, notes=(*notes, *active.notes))


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


def _tell(
    setup: TrialSetup | None, offer: Offer
) -> contextlib.AbstractContextManager[None]:
    return contextlib.nullcontext() if setup is None else setup.note_refusal(offer)


def find_newest_time(state: StateFolder, active: ActivePackage | None) -> datetime:
    """Returns the newest time that is known to have passed.

    A channel was asked then, or this runtime or the active package was made then.
    """
    times = [RUNTIME_DATE]
    if (kept := state.read_newest_time()) is not None:
        times.append(kept)
    if active is not None:
        times += [active.package.provenance.finished, active.package.blessing.issued]
    return max(times)


def _explain(
    state: StateFolder,
    installed: Installed | None,
    offer: Offer,
    robot: RobotRuntime,
    newest: datetime | None,
    now: datetime,
) -> tuple[str, ...]:
    """Says why a newer release waits; `newest` is None if the clock is right."""
    notes = []
    if newest is not None:
        notes.append(
            f"the clock says {text_forms.format_time(now)}, but "
            f"{text_forms.format_time(newest)} has passed: no new release is taken "
            f"until it is set; if that time is wrong, set the clock and remove "
            f"{state.root / NEWEST_TIME}"
        )
    newer = installed is not None and offer.release_counter > installed.release_counter
    if newer and newest is None and not decide.takes_part(offer, robot.robot_id):
        notes.append(
            f"release {offer.release_counter} is out for {offer.rollout_percent} % of "
            f"robots, and {robot.robot_id} is not yet among them"
        )
    return tuple(notes)


def describe_failure(channel: str, error: Exception) -> UpdateFailedError:
    """Says what failed in the form of this project's errors."""
    if isinstance(error, ContinuonError):
        return UpdateFailedError(error.source, error.expected, error.got, error.remedy)
    if isinstance(error, OSError):
        return UpdateFailedError(
            error.filename or channel,
            "to read and write what an update needs",
            error.strerror or type(error).__name__,
            "check the path, the disk and the permissions",
        )
    return UpdateFailedError(
        channel,
        "an update",
        f"{type(error).__name__}: {error}",
        "report this text, it should have been a known error",
    )
