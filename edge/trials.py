"""Tries a package on the robot itself, beside another one, while a person watches.

    ./bazelw run //edge:trials -- --robot=my_arm.py:MyArm --candidate=DIR \\
        --baseline=DIR --keyring=RING --key_file=KEY --output=DIR --pairs=30 --blind

Each pair is two trials from the same start, one of each package in random order. Put
everything as at the start, begin with the space bar, watch, and say how it went: y
success, n failure, b leave this one out, x stop at once. With --blind nothing says
which package drives. A robot that a stop rule or the stop key held, or that you helped,
has not succeeded. A trial that was broken off, by Ctrl-C or a power cut, is made again;
so is one that is left out, and both stay in the record.

The same command goes on where the last one ended. OUTPUT/trials.json is signed with the
robot's key; //cloud:bless takes it with --report, and the robot's enrolment (--enrol)
with --enrolment. Episodes are recorded like all others. What drives a real robot has
trusted signatures and was not refused; a simulated one is driven by any package.
"""

import base.interrupt

import contextlib
import functools
import os
import secrets
import signal
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from absl import app, flags

from base import command_line, durable_file, path_flags
from base.digest import sha256_file
from edge import (
    actor_flags,
    raw_memory,
    sense_flags,
    simulated_or_real,
    trial_journal,
    trial_outcome,
    trial_summary,
    word_flags,
)
from edge.actors import registry as actors
from edge.actors.actor import EXPERT, Actor, Ending, describe_loss
from edge.control import site_rules
from edge.control.loop import Pace, run_episode
from edge.control.package_policy import open_policy
from edge.control.policy_source import Driver, make_package_driver
from edge.control.safety import DEFAULT_MAX_STEPS
from edge.control.stop_rules import StopRules
from edge.episodes import episode_id, terms
from edge.episodes.open_recording import open_recording
from edge.episodes.provenance import Provenance
from edge.episodes.robot_key import RobotKey
from edge.episodes.sharing import Recording, Shared
from edge.ota import canary
from edge.robots import machine_name, registry
from edge.robots.clock import NS_PER_S, MonotonicClock
from edge.robots.drawn_cameras import find_drawn
from edge.robots.robot import Robot
from edge.runtime_version import EXPORT_TARGET
from edge.simulated_or_real import RealTime
from edge.stop_signal import StopSignal
from edge.trial_journal import Begun, TrialJournal
from release import trials, verification
from release.trials import Trial, TrialsRecord
from release.trusted_keys import NAME_KEYRING, TrustedKeys
from release.verification import IntactPackage
from rlds import recovery, spool_flags

_WAIT_S: Final = 0.2
_HOW: Final = (
    "how did it go?   y: success   n: failure   b: leave this one out, to be made again"
)

_ROBOT = flags.DEFINE_string(
    "robot", None, f"robot to try it on: {registry.HELP}", required=True
)
_CANDIDATE = flags.DEFINE_string(
    "candidate", None, "folder of the package to try", required=True
)
_BASELINE = flags.DEFINE_string(
    "baseline",
    None,
    "folder of the package to compare it with, such as the one that the robot runs; "
    "default: the candidate is tried alone",
)
_KEYRING = flags.DEFINE_string(
    "keyring",
    None,
    "file of the public keys that may sign packages; a real robot needs it",
)
_ALLOW_DEVELOPMENT_KEYS = flags.DEFINE_bool(
    "allow_development_keys", False, "accept signatures by development keys"
)
_OUTPUT = flags.DEFINE_string(
    "output", None, "folder of the session: its record and episodes", required=True
)
_PAIRS = flags.DEFINE_integer(
    "pairs", 30, "pairs of trials to make", lower_bound=1, upper_bound=600
)
_BLIND = flags.DEFINE_bool("blind", False, "do not tell which package drives")
_ACTOR = flags.DEFINE_string(
    "actor",
    registry.KEYBOARD,
    "who watches: keyboard, gamepad, leader:TYPE@PORT, which is a leader arm, page (an"
    " operator's page that runs beside this, --actor_page), or the name of an actor"
    " that another package adds",
)
_SEED = flags.DEFINE_integer(
    "seed",
    0,
    "seed of a simulated robot's first pair; pair k, from 0, has seed + k",
    lower_bound=0,
    upper_bound=2**31,
)
_MAX_STEPS = flags.DEFINE_integer(
    "max_steps", DEFAULT_MAX_STEPS, "longest trial, in control steps", lower_bound=1
)
_STOP_RULES = flags.DEFINE_string(
    "stop_rules", None, "file of additional stop rules for this site (default: none)"
)
_ROBOT_ID = flags.DEFINE_string(
    "robot_id",
    None,
    "name of this robot; leaves it only as a keyed hash (default: "
    f"{simulated_or_real.SIMULATED_NAME} for a simulated robot, derived from this "
    "machine's id for a real one)",
)
_KEY_FILE = flags.DEFINE_string(
    "key_file",
    None,
    "robot key, mode 0600, made when absent; signs the record (default: derived from "
    "--robot_id, for simulated robots only)",
)
_ENROL = flags.DEFINE_string(
    "enrol",
    None,
    "file for the robot's public keys, for the cloud (default: not written)",
)
_CONSENT = flags.DEFINE_bool(
    "consent", False, "whether the operator lets these episodes be uploaded"
)
flags.adopt_module_key_flags(actor_flags)
flags.adopt_module_key_flags(sense_flags)
flags.adopt_module_key_flags(word_flags)
flags.adopt_module_key_flags(spool_flags)
path_flags.folders("candidate", "baseline", "output")
path_flags.files("keyring", "stop_rules", "key_file", "enrol")


@dataclass(frozen=True)
class _Session:
    """Everything that trials are made with."""

    robot: Robot
    drivers: Mapping[str, Driver]
    actor: Actor
    rules: StopRules
    folders: Recording
    journal: TrialJournal
    real_time: RealTime
    stop: StopSignal
    write_record: Callable[[], object]


def main(argv: list[str]) -> int:
    """Makes the trials that are left and shows what they have shown."""
    _require_usage(argv)
    raw_memory.forbid_dumps()
    spool_flags.use()
    rules = site_rules.read(_STOP_RULES.value)
    output = Path(_OUTPUT.value)
    if _ENROL.value:
        durable_file.check_writable(Path(_ENROL.value))
    with contextlib.closing(
        simulated_or_real.open_robots([_ROBOT.value], None, sense_flags.read(), _say)
    ) as robots:
        _, robot = next(robots)
        simulated_or_real.choose_pace(robot, None, Pace.REALTIME)
        spool_flags.say_if_plain(robot.spec.simulated, _say)
        packages = _open_packages(robot)
        drivers = {arm: _open_driver(one, robot) for arm, one in packages.items()}
        open_key = functools.partial(
            simulated_or_real.open_key, robot.spec, _KEY_FILE.value, _robot_id(robot)
        )
        on_hang = functools.partial(recovery.mark_hung, _private_folder())
        with (
            _open_folders(robot, open_key) as folders,
            simulated_or_real.open_real_time(robot, on_hang, _say) as real_time,
        ):
            recovered = {one.episode_id: one for one in folders.recover_all()}
            journal = TrialJournal(output, _plan(robot, packages))
            write_record = functools.partial(_write_record, output, journal, open_key)
            _tell_begin(journal)
            _settle_unfinished(journal, folders, recovered)
            write_record()
            if _ENROL.value:
                now = datetime.now(UTC)
                enrolled = open_key().enrolments(_robot_id(robot), now)
                durable_file.write(Path(_ENROL.value), enrolled)
            return _run(
                robot, drivers, rules, folders, journal, real_time, write_record
            )


def _run(
    robot: Robot,
    drivers: Mapping[str, Driver],
    rules: StopRules,
    folders: Recording,
    journal: TrialJournal,
    real_time: RealTime,
    write_record: Callable[[], object],
) -> int:
    """Makes trials until all are made or somebody ends it; returns the exit code."""
    stop = StopSignal()
    # A terminal that closes is heard as a device that has gone: a trial ends in order.
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    if journal.record.find_next() is not None:
        with contextlib.closing(
            actor_flags.open_actor(_ACTOR.value, _ROBOT.value, robot.spec, _say)
        ) as actor:
            session = _Session(
                robot,
                drivers,
                actor,
                rules,
                folders,
                journal,
                real_time,
                stop,
                write_record,
            )
            while (due := journal.record.find_next()) is not None:
                if not _await_start(session, *due) or not _try(session, *due):
                    break
    _say(trial_summary.format_table(journal.record))
    _say(f"record    {Path(_OUTPUT.value, trial_journal.RECORD)}")
    if journal.record.find_next() is not None:
        _say("the session is not complete; the same command goes on")
    return base.interrupt.EXIT_INTERRUPTED if stop.is_requested() else 0


def _require_usage(argv: list[str]) -> None:
    if len(argv) > 1:
        raise app.UsageError(f"expected flags only, got {argv[1]!r}")
    if _ACTOR.value == EXPERT:
        raise app.UsageError("expected --actor to be a person who watches")
    word_flags.read()
    registry.require_known(_ROBOT.value)
    actors.require_known(_ACTOR.value)
    actor_flags.require_device(_ACTOR.value)


def _open_packages(robot: Robot) -> dict[str, IntactPackage]:
    """Opens the packages of both arms; those for a real robot must be signed."""
    named = {trials.CANDIDATE: _CANDIDATE.value, trials.BASELINE: _BASELINE.value}
    keys = None
    if not robot.spec.simulated:
        if not _KEYRING.value:
            raise app.UsageError(
                f"expected --keyring for the real robot {robot.spec.robot_model}: what "
                "drives it must be signed"
            )
        with path_flags.about("keyring", "a keyring", NAME_KEYRING):
            keys = TrustedKeys.read(
                Path(_KEYRING.value), bool(_ALLOW_DEVELOPMENT_KEYS.value)
            )
    found = {}
    for arm, folder in named.items():
        if folder and keys is None:
            found[arm] = verification.verify_integrity(Path(folder), EXPORT_TARGET)
        elif folder and keys is not None:
            found[arm] = verification.verify_for_trials(
                Path(folder), keys, datetime.now(UTC), EXPORT_TARGET
            )
    if len({one.digest for one in found.values()}) < len(found):
        raise app.UsageError(
            "expected --baseline to be another package than --candidate"
        )
    return found


def _open_driver(package: IntactPackage, robot: Robot) -> Driver:
    """Opens a package that fits the robot and does here what it does elsewhere."""
    driver = make_package_driver(package, robots={_ROBOT.value: robot.spec})
    canary.require_healthy(package, open_policy(package))
    return driver


def _plan(robot: Robot, packages: Mapping[str, IntactPackage]) -> TrialsRecord:
    spec, baseline = robot.spec, packages.get(trials.BASELINE)
    return TrialsRecord(
        package_digest=packages[trials.CANDIDATE].digest,
        baseline_digest=None if baseline is None else baseline.digest,
        session=secrets.token_hex(16),
        planned_pairs=_PAIRS.value,
        blind=bool(_BLIND.value),
        robot_model=spec.robot_model,
        environment_id=spec.environment_id,
        task=spec.task,
        simulated=spec.simulated,
        max_steps=_MAX_STEPS.value,
    )


@contextlib.contextmanager
def _open_folders(
    robot: Robot, open_key: Callable[[], RobotKey]
) -> Iterator[Recording]:
    with open_recording(
        output=Path(_OUTPUT.value, "episodes"),
        private=_private_folder(),
        robot=robot.spec,
        robot_id=_robot_id(robot),
        open_key=open_key,
        consent=terms.operator_consent(_CONSENT.value, robot.clock.unix_ns()),
        tell=_say,
        words=word_flags.read(),
        drawn=find_drawn(robot),
    ) as folders:
        yield folders


def _private_folder() -> Path:
    return Path(_OUTPUT.value, "episodes.private")


def _robot_id(robot: Robot) -> str:
    if _ROBOT_ID.value is not None:
        return str(_ROBOT_ID.value)
    if robot.spec.simulated:
        return simulated_or_real.SIMULATED_NAME
    return machine_name.derive_name()


def _write_record(
    output: Path, journal: TrialJournal, open_key: Callable[[], RobotKey]
) -> None:
    unix_ns = MonotonicClock().unix_ns()
    month = datetime.fromtimestamp(unix_ns / NS_PER_S, UTC).strftime("%Y-%m")
    raw = journal.record.sign(open_key().of_month(month).signing)
    durable_file.write(output / trial_journal.RECORD, raw)


def _tell_begin(journal: TrialJournal) -> None:
    record = journal.record
    if journal.is_continued:
        _say(
            f"the session of {_OUTPUT.value} goes on: "
            f"{trial_summary.count_text(record)}"
        )
    elif record.baseline_digest:
        needed = trial_summary.fewest_pairs()
        _say(
            f"{record.planned_pairs} pairs are planned; packages that never differ "
            f"need {needed} to show that the candidate loses at most "
            f"{trials.MARGIN:.0%} of success"
        )


def _settle_unfinished(
    journal: TrialJournal, folders: Recording, recovered: Mapping[str, Shared]
) -> None:
    """Ends the trial that an earlier process began, by what it left of its episode.

    Whoever was killed after the person had said how it went has closed the episode with
    that; before, the episode has the tag of a recovered one, and is made again.
    """
    begun = journal.unfinished
    if begun is None:
        return
    path = folders.find_path(begun.episode_id)
    if begun.episode_id in recovered:
        path = recovered[begun.episode_id].path
    trial = Trial(begun.pair, begun.arm, trials.BROKEN_OFF, 0, "", ())
    if path is not None:
        trial = trial_outcome.read(begun, path)
    journal.end(trial)
    number = len(journal.record.trials)
    _say(f"trial {number} was interrupted: {trial_outcome.tell(trial)}")


def _await_start(session: _Session, pair: int, arm: str) -> bool:
    """Waits until the next trial may begin; False if there is to be none.

    Raises:
        ActorLostError: the device has gone.
    """
    record = session.journal.record
    total = record.planned_pairs * len(record.arms)
    counted = sum(one.counts for one in record.trials)
    driver = "" if record.blind else f", the {arm} drives"
    _say(
        f"trial {counted + 1} of {total}, pair {pair + 1}{driver}: put everything as "
        "at the start of a trial"
    )
    while not session.stop.is_requested():
        said = session.actor.may_begin(_WAIT_S)
        if said is not None:
            return said
    return False


def _try(session: _Session, pair: int, arm: str) -> bool:
    """Makes one trial; False if there is to be no other.

    Raises:
        ActorLostError: the device of the person is gone; the robot was held still.
    """
    robot, journal, driver = session.robot, session.journal, session.drivers[arm]
    start_unix_ns = robot.clock.unix_ns()
    name = episode_id.make_random_id(start_unix_ns)
    provenance = Provenance(
        actor=driver.actor, package_digest=driver.package_digest or "", watched=True
    )
    journal.begin(Begun(pair, arm, name))
    recorder = session.folders.begin(
        robot.spec, name, start_unix_ns, provenance, drawn=find_drawn(robot)
    )
    result = run_episode(
        robot,
        driver.policy_for(_ROBOT.value, robot.spec),
        site_rules.add(driver.safety_for(robot.spec), session.rules, robot.spec),
        recorder,
        _SEED.value + pair,
        _MAX_STEPS.value,
        Pace.REALTIME,
        actor=session.actor,
        should_stop=session.stop.is_requested,
        watchdog=session.real_time.watchdog,
        grants=session.real_time.grants,
        on_sense=lambda line, _: command_line.say(line),
    )
    outcome, success = trial_outcome.judge(result, lambda: _ask(session))
    shared = [
        session.folders.share(closed) for closed in recorder.close(success, result.tags)
    ]
    rule = "" if result.stop_rule is None else result.stop_rule.value
    digests = tuple(sha256_file(one.path) for one in shared)
    trial = Trial(pair, arm, outcome, result.steps, rule, digests)
    journal.end(trial)
    session.write_record()
    _say(f"trial {len(journal.record.trials)}: {trial_outcome.tell(trial)}")
    if result.ending is Ending.LOST:
        raise describe_loss(session.actor).make_error(f"--actor={_ACTOR.value}")
    return not session.stop.is_requested()


def _ask(session: _Session) -> Ending | None:
    """Asks how it went; None if the program is told to stop meanwhile."""
    session.actor.reset(session.robot.spec.task)
    _say(_HOW)
    while not session.stop.is_requested():
        if (said := session.actor.signal().ending) is not None:
            return said
        MonotonicClock().sleep_until_ns(
            MonotonicClock().now_ns() + int(_WAIT_S * NS_PER_S)
        )
    return None


def _say(text: str) -> None:
    """Tells the person; a terminal that is gone must not cost the trial its end."""
    try:
        command_line.say(text)
    except OSError:
        # Python flushes it once more at exit; that must not fail again.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


if __name__ == "__main__":
    command_line.run(main)
