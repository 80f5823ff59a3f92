"""Drives a robot with the package that its channel offers, at a fixed control rate.

    ./bazelw run //edge:run -- --channel=URI --keyring=FILE --state_dir=DIR \\
        --robot=metaworld:reach-v3 --episodes=10

asks the channel once, verifies and activates what it offers, and runs episodes. If the
update fails, no episode is run, unless --offline_if_update_fails is given. With
--candidate=DIR an unsigned package drives simulated robots; packages are evaluated like
this. With --policy=expert the scripted expert drives, as the baseline. With
--robot=replay:EPISODE recorded observations replace a robot; this checks a package on a
machine without an arm.

With --episodes=0 it drives until SIGTERM or Ctrl-C, which ends it after the current
step with exit code 0, and asks the channel again between two episodes. The systemd unit
runs it like this.

A robot that is not simulated is always driven in real time.
"""

import base.interrupt  # noqa: F401 - Ctrl-C ends it from here on

import contextlib
import itertools
import sys
import time
from collections.abc import Generator, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from absl import app, flags

from base import canonical_json, command_line, durable_file
from base.errors import printable
from edge import simulated_or_real
from edge.control import policy_source
from edge.control.loop import EpisodeResult, Pace, run_episode
from edge.control.policy_source import Driver, make_expert_driver, make_package_driver
from edge.episodes import sharing
from edge.episodes.run_episodes import RunRecording
from edge.episodes.sharing import Provenance
from edge.ota import active_package, update
from edge.ota.decide import RobotRuntime
from edge.ota.start_count import StartCount
from edge.ota.state_folder import StateFolder
from edge.robots import machine_name, registry
from edge.robots.clock import NS_PER_S, unix_ns_from_rfc3339
from edge.robots.metaworld_robot import CONTROL_HZ
from edge.robots.robot import Robot, RobotSpec
from edge.run_summary import ActionLog, RunTally, format_table
from edge.runtime_version import EXPORT_TARGET, RUNTIME_VERSION
from edge.stop_signal import StopSignal
from release.run_summary import Progress
from release.trusted_keys import TrustedKeys
from release.verification import verify_integrity

_ROBOT = flags.DEFINE_list(
    "robot",
    None,
    "robots, one after the other: metaworld:TASK, metaworld-poor:TASK,"
    " metaworld-changed:TASK, or replay:PATH of an episode; commas separate them, so"
    " quote a name that has one: --robot='\"replay:a,b.tfrecord\"'",
    required=True,
)
_CHANNEL = flags.DEFINE_string(
    "channel",
    None,
    "channel to follow: STORE/channels/NAME.json, where STORE is a folder, "
    "file:///FOLDER or gs://BUCKET/PREFIX",
)
_OFFLINE = flags.DEFINE_bool(
    "offline", False, "run the active package without asking its channel"
)
_OFFLINE_IF_UPDATE_FAILS = flags.DEFINE_bool(
    "offline_if_update_fails",
    False,
    "if --channel does not answer or its offer is refused, print the reason and run "
    "the active package; the systemd unit sets this",
)
_CANDIDATE = flags.DEFINE_string(
    "candidate", None, "folder of an unsigned package; simulated robots only"
)
_STEP = flags.DEFINE_string(
    "step",
    None,
    "form of the candidate's step, such as f32 or int8 (default: the form that robots "
    "run, which the package names)",
)
_POLICY = flags.DEFINE_enum(
    "policy", "package", ["package", "expert"], "who drives: a package or the baseline"
)
_KEYRING = flags.DEFINE_string(
    "keyring", None, "file of the public keys that may sign channels and packages"
)
_ALLOW_DEVELOPMENT_KEYS = flags.DEFINE_bool(
    "allow_development_keys", False, "accept signatures by development keys"
)
_STATE_DIR = flags.DEFINE_string(
    "state_dir",
    "/var/lib/continuon",
    "folder of the active package and its pointer, made when absent",
)
_ROBOT_ID = flags.DEFINE_string(
    "robot_id",
    None,
    "name of this robot; leaves it only as a keyed hash (default: derived from this"
    f" machine's id, but {simulated_or_real.SIMULATED_NAME} with --candidate and"
    " --policy=expert, which drive simulated robots)",
)
_EPISODES = flags.DEFINE_integer(
    "episodes",
    1,
    "episodes per robot string; 0 for one robot without end, until SIGTERM or Ctrl-C",
    lower_bound=0,
)
_UPDATE_PERIOD_S = flags.DEFINE_float(
    "update_period_s",
    600.0,
    "with --episodes=0, shortest time between two questions to --channel, in seconds",
    lower_bound=0.0,
)
_SEED = flags.DEFINE_integer(
    "seed",
    0,
    "seed of a robot's first episode; episode k, from 0, has seed + k",
    lower_bound=0,
    upper_bound=2**31,
)
_MAX_STEPS = flags.DEFINE_integer(
    "max_steps", 500, "longest episode, in control steps", lower_bound=1
)
_PACE = flags.DEFINE_enum_class(
    "pace",
    None,
    Pace,
    f"whether a simulated robot keeps its control rate ({CONTROL_HZ:g} Hz for "
    "metaworld) or runs as fast as possible (default: realtime); a real robot always "
    "keeps it",
)
_SIM_START = flags.DEFINE_string(
    "sim_start",
    None,
    "wall time at which simulated clocks start, RFC 3339 in UTC (default: "
    f"{registry.DEFAULT_SIM_START})",
)
_RECORD_DIR = flags.DEFINE_string(
    "record_dir", None, "folder for redacted episodes (default: nothing is recorded)"
)
_PRIVATE_DIR = flags.DEFINE_string(
    "private_dir",
    None,
    "folder of raw episodes, mode 0700 (default: <record_dir>.private)",
)
_KEY_FILE = flags.DEFINE_string(
    "key_file",
    None,
    "robot key, mode 0600, made when absent (default: derived from --robot_id, for "
    "simulated robots only)",
)
_CONSENT = flags.DEFINE_bool(
    "consent", False, "whether the operator lets these episodes be uploaded"
)
_SUMMARY_JSON = flags.DEFINE_string(
    "summary_json", None, "file for the summary, for machines (default: not written)"
)
_PROGRESS_JSON = flags.DEFINE_string(
    "progress_json",
    None,
    "file that gets a line after each episode, for machines (default: not written)",
)
_ACTIONS_JSON = flags.DEFINE_string(
    "actions_json",
    None,
    "file for every proposed action, to compare two machines (default: not written)",
)
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


def main(argv: list[str]) -> None:
    """Opens the driver, runs the episodes and prints a summary."""
    _require_usage(argv)
    outputs = (_SUMMARY_JSON.value, _PROGRESS_JSON.value, _ACTIONS_JSON.value)
    for path in filter(None, outputs):
        durable_file.check_writable(Path(path))
    starts = StartCount(StateFolder(Path(_STATE_DIR.value)))
    with starts.judge():
        if _EPISODES.value:
            _run_episodes(starts)
        else:
            _run_without_end(StopSignal(), starts)


def _run_episodes(starts: StartCount) -> None:
    """Drives the episodes that were asked for and writes what was asked for."""
    driver = _open_driver(_read_specs(), starts)
    actions = ActionLog() if _ACTIONS_JSON.value else None
    tally = RunTally()
    begin_s = time.monotonic()
    progress = _ProgressLines(begin_s, len(_ROBOT.value) * _EPISODES.value)
    with contextlib.closing(_open_trials()) as trials, contextlib.ExitStack() as stack:
        records = None
        for trial in trials:
            if records is None and _RECORD_DIR.value:
                records = stack.enter_context(_open_recording(driver, trial))
            task = trial.robot.spec.task
            tally.add(task, _run(trial, driver, records, actions))
            starts.clear()
            progress.show(task, trial.number + 1, tally.successes(task))
    summary = tally.summary(driver.package_digest, time.monotonic() - begin_s)
    command_line.say(format_table(summary))
    if records is not None:
        command_line.say(_format_recorded(records))
    if _SUMMARY_JSON.value:
        durable_file.write(Path(_SUMMARY_JSON.value), summary.encode())
    if _ACTIONS_JSON.value and actions is not None:
        raw = canonical_json.encode(actions.as_json())
        durable_file.write(Path(_ACTIONS_JSON.value), raw)


def _run_without_end(stop: StopSignal, starts: StartCount) -> None:
    """Drives until `stop`, in blocks of episodes that each begin with an update.

    A summary is printed after each block; nothing is kept of the blocks before. The
    robot is opened once: an update does not disturb what is open.
    """
    specs = _read_specs()
    with contextlib.closing(_open_trials()) as trials, contextlib.ExitStack() as stack:
        records, kept = None, 0
        while not stop.is_requested():
            with stop.at_once():
                driver = _open_driver(specs, starts)
            begin_s = time.monotonic()
            tally = RunTally()
            while not stop.is_requested():
                trial = next(trials)
                if _RECORD_DIR.value and records is None:
                    records = stack.enter_context(_open_recording(driver, trial))
                if records is not None:
                    records.provenance = _make_provenance(driver)
                result = _run(trial, driver, records, None, stop)
                starts.clear()
                if not result.stopped:
                    tally.add(trial.robot.spec.task, result)
                if _is_update_due(begin_s):
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
    return bool(_CHANNEL.value) and waited_s >= _UPDATE_PERIOD_S.value


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
        driver.safety_for(spec),
        recorder if actions is None else actions,
        trial.seed,
        _MAX_STEPS.value,
        trial.pace,
        should_stop=None if stop is None else stop.is_requested,
    )
    if records is not None and recorder is not None:
        records.finish(recorder, result)
    return result


@contextlib.contextmanager
def _open_recording(driver: Driver, first: Trial) -> Iterator[RunRecording]:
    """Opens the recording folders for episodes of robots like that of `first`."""
    robot, robot_id = first.robot, _robot_id()
    output = _RECORD_DIR.value or ""
    private = _PRIVATE_DIR.value or output.rstrip("/") + ".private"
    with sharing.open_recording(
        output=Path(output),
        private=Path(private),
        key=simulated_or_real.open_key(robot.spec, _KEY_FILE.value, robot_id),
        robot_id=robot_id,
        consent=sharing.operator_consent(_CONSENT.value, robot.clock.unix_ns()),
        tell=_say,
    ) as folders:
        for shared in folders.recover():
            _say(f"recovered episode {shared.episode_id} of an interrupted run")
        yield RunRecording(
            folders=folders,
            provenance=_make_provenance(driver),
            pace=first.pace,
            identity={"max_steps": _MAX_STEPS.value, "robot_id": robot_id},
        )


def _make_provenance(driver: Driver) -> Provenance:
    return Provenance(
        actor=driver.actor,
        package_digest=driver.package_digest or "",
        channel=driver.channel,
    )


def _format_recorded(records: RunRecording) -> str:
    """Says how many episodes were recorded, and whether they may leave the robot."""
    text = f"recorded          {records.kept} episodes in {_RECORD_DIR.value}"
    if records.found:
        text += f", {records.found} were there already"
    if records.kept and not _CONSENT.value:
        text += "; without --consent //edge:upload leaves them there"
    return text


def _robot_id() -> str:
    """The name that was given, or one that the mode of the run calls for."""
    if _ROBOT_ID.value is not None:
        return str(_ROBOT_ID.value)
    if _CHANNEL.value or _OFFLINE.value:
        return machine_name.derive_name()
    return simulated_or_real.SIMULATED_NAME


def _require_usage(argv: list[str]) -> None:
    """Checks the rules that concern several flags at once."""
    if len(argv) > 1:
        raise app.UsageError(f"expected flags only, got {argv[1]!r}")
    expert = _POLICY.value == "expert"
    chosen = (_CHANNEL.value, _OFFLINE.value, _CANDIDATE.value, expert)
    if sum(bool(one) for one in chosen) != 1:
        raise app.UsageError(
            "expected exactly one of --channel, --offline, --candidate and "
            "--policy=expert"
        )
    if _STEP.value and not _CANDIDATE.value:
        raise app.UsageError("expected --step with --candidate only")
    if _SIM_START.value is not None:
        unix_ns_from_rfc3339(_SIM_START.value, "--sim_start")
    if not _EPISODES.value:
        _require_usage_without_end()
    if (_CHANNEL.value or _OFFLINE.value) and not _KEYRING.value:
        raise app.UsageError("expected --keyring with --channel or --offline")


def _require_usage_without_end() -> None:
    if len(_ROBOT.value) > 1:
        raise app.UsageError("expected one robot with --episodes=0")
    if _SUMMARY_JSON.value or _PROGRESS_JSON.value or _ACTIONS_JSON.value:
        raise app.UsageError(
            "expected --episodes above 0 with --summary_json, --progress_json and "
            "--actions_json"
        )


def _read_specs() -> Mapping[str, RobotSpec]:
    """Reads what a package of a channel must fit, before any robot is driven."""
    if not (_CHANNEL.value or _OFFLINE.value):
        return {}
    return {name: registry.read_spec(name) for name in _ROBOT.value}


def _open_driver(robots: Mapping[str, RobotSpec], starts: StartCount) -> Driver:
    """Opens the driver; an update happens here, before any robot moves."""
    if _POLICY.value == "expert":
        return make_expert_driver(registry.open_expert)
    if _CANDIDATE.value:
        candidate = verify_integrity(Path(_CANDIDATE.value), EXPORT_TARGET)
        return make_package_driver(candidate, form=_STEP.value)
    keys = TrustedKeys.read(Path(_KEYRING.value or ""), _ALLOW_DEVELOPMENT_KEYS.value)
    _count(starts)
    state = StateFolder(Path(_STATE_DIR.value))
    if _CHANNEL.value:
        active = update.update_or_stay(
            state,
            _CHANNEL.value,
            keys,
            RobotRuntime(_robot_id(), RUNTIME_VERSION),
            robots,
            datetime.now(UTC),
            stay=_OFFLINE_IF_UPDATE_FAILS.value,
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
    with contextlib.closing(
        simulated_or_real.open_robots(_ROBOT.value, _SIM_START.value)
    ) as robots:
        for position, (name, robot) in enumerate(robots):
            if _CANDIDATE.value:
                policy_source.require_simulated(
                    _CANDIDATE.value, "a package without signatures", name, robot.spec
                )
            pace = simulated_or_real.choose_pace(robot, _PACE.value, Pace.REALTIME)
            for k in range(_EPISODES.value) if _EPISODES.value else itertools.count():
                if robot.spec.simulated:
                    slot = k * len(_ROBOT.value) + position
                    robot.clock.sleep_until_ns(slot * _EPISODE_SLOT_NS)
                yield Trial(name, robot, pace, _SEED.value + k, k)


class _ProgressLines:
    """Writes a line per interval to stderr and one per episode to `--progress_json`."""

    def __init__(self, begin_s: float, total: int) -> None:
        self._shown_s = begin_s
        self._total = total
        self._done = 0
        if _PROGRESS_JSON.value:
            Path(_PROGRESS_JSON.value).write_bytes(b"")

    def show(self, task: str, episodes: int, successes: int | None) -> None:
        """Counts an episode and prints a line if the last one is old enough."""
        self._done += 1
        if _PROGRESS_JSON.value:
            with Path(_PROGRESS_JSON.value).open("ab") as file:
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
