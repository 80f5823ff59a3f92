"""Drives a robot with the package that its channel offers, at a fixed control rate.

    ./bazelw run //edge:run -- --channel=URI --keyring=FILE --state_dir=DIR \\
        --robot=metaworld:reach-v3 --episodes=10

asks the channel once, verifies and activates what it offers, and runs episodes. If the
update fails, no episode is run, unless --offline_if_update_fails is given. With
--candidate=DIR an unsigned package drives simulated robots; packages are evaluated like
this. With --policy=expert the scripted expert drives, as the baseline. With
--robot=replay:EPISODE recorded observations replace a robot; this checks a package on a
machine without an arm.

With --actor=keyboard, --actor=gamepad or --actor=page a person watches, takes over from
the package, hands back and says how an episode went. The episode then says of each step
who acted, and what the package proposed meanwhile.

With --episodes=0 it drives until SIGTERM or Ctrl-C, which ends it after the current
step with exit code 0, and asks the channel again between two episodes. The systemd unit
runs it like this.

A robot that is not simulated is always driven in real time.
"""

import base.interrupt  # noqa: F401 - Ctrl-C ends it from here on

import contextlib
import functools
import itertools
import sys
import time
from collections.abc import Generator, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from absl import flags

from base import canonical_json, command_line, durable_file, text_forms
from base.errors import printable
from edge import (
    actor_flags,
    mask_flags,
    raw_memory,
    run_flags,
    sense_flags,
    simulated_or_real,
    word_flags,
)
from edge.actors.actor import Actor, Ending, await_start, describe_loss
from edge.control import site_rules
from edge.control.loop import EpisodeResult, Pace, run_episode
from edge.control.policy_source import Driver, make_expert_driver, make_package_driver
from edge.control.safety import config_for
from edge.control.stop_rules import StopRules
from edge.episodes import terms
from edge.episodes.open_recording import open_recording
from edge.episodes.provenance import Provenance
from edge.episodes.run_episodes import RunRecording
from edge.errors import ClockError
from edge.ota import active_package, update
from edge.ota.decide import RobotRuntime
from edge.ota.start_count import StartCount
from edge.ota.state_folder import StateFolder
from edge.record_summary import success_text
from edge.robots import registry
from edge.robots.clock import NS_PER_S
from edge.robots.drawn_cameras import find_drawn
from edge.robots.robot import Robot, RobotSpec
from edge.run_summary import ActionLog, RunTally, format_table
from edge.runtime_version import EXPORT_TARGET, RUNTIME_DATE, RUNTIME_VERSION
from edge.simulated_or_real import RealTime
from edge.stop_signal import StopSignal
from release.run_summary import Progress
from release.verification import verify_integrity
from rlds import recovery, spool_flags

flags.adopt_module_key_flags(run_flags)  # so that --help shows them

_PROGRESS_PERIOD_S: Final = 5.0
# Simulated episodes begin this far apart: longer than the longest of them.
_EPISODE_SLOT_NS: Final = 10 * NS_PER_S


@dataclass(frozen=True)
class Trial:
    """One episode to run on one robot."""

    robot_name: str
    robot: Robot
    pace: Pace
    seed: int
    number: int
    real_time: RealTime
    rules: StopRules
    actor: Actor | None


def main(argv: list[str]) -> None:
    """Opens the driver, runs the episodes and prints a summary."""
    run_flags.require_usage(argv)
    raw_memory.forbid_dumps()
    spool_flags.use()
    outputs = (
        run_flags.SUMMARY_JSON.value,
        run_flags.PROGRESS_JSON.value,
        run_flags.ACTIONS_JSON.value,
    )
    for path in filter(None, outputs):
        durable_file.check_writable(Path(path))
    starts = StartCount(StateFolder(Path(run_flags.STATE_DIR.value)))
    with starts.judge():
        if run_flags.EPISODES.value:
            _run_episodes(starts)
        else:
            _run_without_end(StopSignal(), starts)


def _run_episodes(starts: StartCount) -> None:
    """Drives the episodes that were asked for and writes what was asked for."""
    driver = _open_driver(_read_specs(), starts)
    actions = ActionLog() if run_flags.ACTIONS_JSON.value else None
    tally = RunTally()
    begin_s = time.monotonic()
    progress = _ProgressLines(
        begin_s, len(run_flags.ROBOT.value) * run_flags.EPISODES.value
    )
    with contextlib.closing(_open_trials()) as trials, contextlib.ExitStack() as stack:
        records = None
        for trial in trials:
            if records is None and run_flags.RECORD_DIR.value:
                records = stack.enter_context(_open_recording(driver, trial))
            task = trial.robot.spec.task
            result = _run(trial, driver, records, actions)
            seed = trial.seed if trial.robot.spec.simulated else None
            tally.add(task, result, seed=seed)
            tally.keep_limits(trial.robot.spec)
            starts.clear()
            progress.show(task, trial.number + 1, tally.successes(task))
            if not _hear_actor(trial, result):
                break
    summary = tally.summary(driver.package_digest, time.monotonic() - begin_s)
    command_line.say(format_table(summary))
    if records is not None:
        command_line.say(_format_recorded(records))
    if run_flags.SUMMARY_JSON.value:
        durable_file.write(Path(run_flags.SUMMARY_JSON.value), summary.encode())
    if run_flags.ACTIONS_JSON.value and actions is not None:
        raw = canonical_json.encode(actions.as_json())
        durable_file.write(Path(run_flags.ACTIONS_JSON.value), raw)


def _run_without_end(stop: StopSignal, starts: StartCount) -> None:
    """Drives until `stop`, in blocks of episodes that each begin with an update.

    A summary is printed after each block; nothing is kept of the blocks before. The
    robot is opened once: an update does not disturb what is open. It drives before its
    clock is set, and records from the first episode after that.
    """
    specs = _read_specs()
    with contextlib.closing(_open_trials()) as trials, contextlib.ExitStack() as stack:
        records, kept, waits, ended = None, 0, False, False
        while not (ended or stop.is_requested()):
            with stop.at_once():
                driver = _open_driver(specs, starts)
            begin_s = time.monotonic()
            tally = RunTally()
            while not stop.is_requested():
                trial = next(trials)
                if run_flags.RECORD_DIR.value and records is None:
                    try:
                        records = stack.enter_context(_open_recording(driver, trial))
                    except ClockError as e:
                        if not waits:
                            _say(f"{e}; nothing is recorded until then")
                        waits = True
                if records is not None:
                    records.provenance = _make_provenance(driver)
                result = _run(trial, driver, records, None, stop)
                starts.clear()
                if not result.stopped:
                    tally.add(trial.robot.spec.task, result)
                ended = not _hear_actor(trial, result)
                if ended or _is_update_due(begin_s):
                    break
            if tally.episodes:
                seconds = time.monotonic() - begin_s
                summary = tally.summary(driver.package_digest, seconds)
                command_line.say(format_table(summary))
            if records is not None and records.kept > kept:
                kept = records.kept
                command_line.say(_format_recorded(records))


def _is_update_due(begin_s: float) -> bool:
    """Whether a block that began at `begin_s` gives way to the next update."""
    waited_s = time.monotonic() - begin_s
    return bool(run_flags.CHANNEL.value) and waited_s >= run_flags.UPDATE_PERIOD_S.value


def _run(
    trial: Trial,
    driver: Driver,
    records: RunRecording | None,
    actions: ActionLog | None,
    stop: StopSignal | None = None,
) -> EpisodeResult:
    """Runs one episode and records it if `records` and `actions` are given."""
    spec = trial.robot.spec
    policy = driver.policy_for(trial.robot_name, spec)
    recorder = (
        None
        if records is None
        else records.begin(trial.robot, trial.robot_name, trial.seed)
    )
    if actions is not None:
        actions.begin(spec.task, trial.seed, recorder)
    result = run_episode(
        trial.robot,
        policy,
        site_rules.add(driver.safety_for(spec), trial.rules, spec),
        recorder if actions is None else actions,
        trial.seed,
        run_flags.MAX_STEPS.value,
        trial.pace,
        actor=trial.actor,
        should_stop=None if stop is None else stop.is_requested,
        watchdog=trial.real_time.watchdog,
        grants=trial.real_time.grants,
        on_sense=lambda line, _: command_line.say(line),
    )
    if records is not None and recorder is not None:
        records.finish(recorder, result)
    return result


def _hear_actor(trial: Trial, result: EpisodeResult) -> bool:
    """Says what an episode came to; whether another one may begin.

    After the stop key the robot stays still until the actor says that it may go on.

    Raises:
        ActorLostError: the actor's device is gone; nobody watches any more.
    """
    if trial.actor is None:
        return True
    _say(
        f"{trial.robot.spec.task} {trial.number + 1}: {success_text(result.success)}"
        f" after {result.steps} steps, {result.interventions} of them the actor's"
    )
    if result.ending is Ending.LOST:
        source = f"--actor={run_flags.ACTOR.value}"
        raise describe_loss(trial.actor).make_error(source)
    return result.ending is not Ending.STOP or await_start(trial.actor)


@contextlib.contextmanager
def _open_recording(driver: Driver, first: Trial) -> Iterator[RunRecording]:
    """Opens the recording folders for episodes of robots like that of `first`."""
    robot, robot_id = first.robot, run_flags.find_robot_id()
    # A package that does not fit is refused before folders and a key are made.
    driver.policy_for(first.robot_name, robot.spec)
    spool_flags.say_if_plain(robot.spec.simulated, _say)
    with open_recording(
        output=Path(run_flags.RECORD_DIR.value or ""),
        private=_private_folder() or Path(),
        robot=robot.spec,
        robot_id=robot_id,
        open_key=functools.partial(
            simulated_or_real.open_key, robot.spec, run_flags.KEY_FILE.value, robot_id
        ),
        consent=terms.operator_consent(run_flags.CONSENT.value, robot.clock.unix_ns()),
        tell=_say,
        passed=_newest_time(),
        words=word_flags.read(),
        open_masker=mask_flags.open_masker,
        drawn=find_drawn(robot),
    ) as folders:
        for shared in folders.recover_all():
            _say(f"recovered episode {shared.episode_id} of an interrupted run")
        yield RunRecording(
            folders=folders,
            provenance=_make_provenance(driver),
            pace=first.pace,
            identity={
                "max_steps": run_flags.MAX_STEPS.value,
                "robot_id": robot_id,
                **site_rules.describe(first.rules),
            },
        )


def _private_folder() -> Path | None:
    """The folder of raw episodes; None if nothing is recorded."""
    output = run_flags.RECORD_DIR.value
    if not output:
        return None
    return Path(run_flags.PRIVATE_DIR.value or output.rstrip("/") + ".private")


def _newest_time() -> datetime:
    """The newest time that is known to have passed: a channel was asked then."""
    kept = None
    if run_flags.CHANNEL.value or run_flags.OFFLINE.value:
        kept = StateFolder(Path(run_flags.STATE_DIR.value)).read_newest_time()
    return kept or RUNTIME_DATE


def _make_provenance(driver: Driver) -> Provenance:
    return Provenance(
        actor=driver.actor,
        package_digest=driver.package_digest or "",
        channel=driver.channel,
        watched=run_flags.ACTOR.value is not None,
    )


def _format_recorded(records: RunRecording) -> str:
    """Says how many episodes were recorded, and whether they may leave the robot."""
    kept = text_forms.count(records.kept, "episode")
    text = f"recorded          {kept} in {run_flags.RECORD_DIR.value}"
    if records.found:
        text += f", {records.found} were there already"
    if records.kept and not run_flags.CONSENT.value:
        text += "; without --consent //edge:upload leaves them there"
    return text


def _read_specs() -> Mapping[str, RobotSpec]:
    """Reads what a package of a channel must fit, before any robot is driven."""
    if not (run_flags.CHANNEL.value or run_flags.OFFLINE.value):
        return {}
    return {
        name: sense_flags.add_to(registry.read_spec(name))
        for name in run_flags.ROBOT.value
    }


def _open_driver(robots: Mapping[str, RobotSpec], starts: StartCount) -> Driver:
    """Opens the driver; an update happens here, before any robot moves."""
    if run_flags.POLICY.value == "expert":
        return make_expert_driver(registry.open_expert)
    if run_flags.CANDIDATE.value:
        candidate = verify_integrity(Path(run_flags.CANDIDATE.value), EXPORT_TARGET)
        return make_package_driver(candidate, form=run_flags.STEP.value)
    keys = run_flags.read_keys()
    _count(starts)
    state = StateFolder(Path(run_flags.STATE_DIR.value))
    if run_flags.CHANNEL.value:
        active = update.update_or_stay(
            state,
            run_flags.CHANNEL.value,
            keys,
            RobotRuntime(run_flags.find_robot_id(), RUNTIME_VERSION),
            robots,
            datetime.now(UTC),
            stay=run_flags.OFFLINE_IF_UPDATE_FAILS.value,
        )
    else:
        active = active_package.open_active_package(state, keys, robots)
    for line in (*active.notes, active.summary):
        _say(line)
    _count(starts)  # it may be another one now
    return active.driver


def _count(starts: StartCount) -> None:
    """Counts this start of the active package before that drives."""
    if (note := starts.begin()) is not None:
        _say(note)


def _open_trials() -> Generator[Trial]:
    """Opens one robot after the other and yields its episodes."""
    rules = site_rules.read(run_flags.STOP_RULES.value)
    with contextlib.closing(
        simulated_or_real.open_robots(
            run_flags.ROBOT.value, run_flags.SIM_START.value, sense_flags.read(), _say
        )
    ) as robots:
        for position, (name, robot) in enumerate(robots):
            if run_flags.CANDIDATE.value:
                registry.require_simulated(
                    run_flags.CANDIDATE.value,
                    "a package without signatures",
                    name,
                    robot.spec,
                )
            pace = simulated_or_real.choose_pace(
                robot, run_flags.PACE.value, Pace.REALTIME
            )
            site_rules.add(config_for(robot.spec), rules, robot.spec)  # it must fit
            on_hang = None
            if (private := _private_folder()) is not None:
                on_hang = functools.partial(recovery.mark_hung, private)
            with (
                simulated_or_real.open_real_time(robot, on_hang, _say) as real_time,
                _open_actor(name, robot) as actor,
            ):
                for k in _count_episodes():
                    if robot.spec.simulated:
                        slot = k * len(run_flags.ROBOT.value) + position
                        robot.clock.sleep_until_ns(slot * _EPISODE_SLOT_NS)
                    seed = run_flags.SEED.value + k
                    yield Trial(name, robot, pace, seed, k, real_time, rules, actor)


def _count_episodes() -> Iterator[int]:
    """Counts the episodes of one robot from 0; without end for --episodes=0."""
    asked = run_flags.EPISODES.value
    return iter(range(asked)) if asked else itertools.count()


@contextlib.contextmanager
def _open_actor(name: str, robot: Robot) -> Iterator[Actor | None]:
    """Opens whoever may take over from the package on this robot, if anybody may."""
    if run_flags.ACTOR.value is None:
        yield None
        return
    actor = actor_flags.open_actor(run_flags.ACTOR.value, name, robot.spec)
    with contextlib.closing(actor):
        yield actor


class _ProgressLines:
    """Writes a line per interval to stderr and one per episode to `--progress_json`."""

    def __init__(self, begin_s: float, total: int) -> None:
        self._shown_s = begin_s
        self._total = total
        self._done = 0
        if run_flags.PROGRESS_JSON.value:  # that of an earlier run
            Path(run_flags.PROGRESS_JSON.value).unlink(missing_ok=True)

    def show(self, task: str, episodes: int, successes: int | None) -> None:
        """Counts an episode and prints a line if the last one is old enough."""
        self._done += 1
        if run_flags.PROGRESS_JSON.value:
            with Path(run_flags.PROGRESS_JSON.value).open("ab") as file:
                file.write(Progress(self._done, self._total).encode())
        now_s = time.monotonic()
        if now_s - self._shown_s >= _PROGRESS_PERIOD_S:
            self._shown_s = now_s
            share = (
                "" if successes is None else f": {successes} of {episodes} succeeded"
            )
            _say(f"{self._done}/{self._total} episodes; {task}{share}")


def _say(text: str) -> None:
    sys.stderr.write(f"run: {printable(text)}\n")
    sys.stderr.flush()


if __name__ == "__main__":
    command_line.run(main)
