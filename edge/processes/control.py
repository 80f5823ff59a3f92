"""Drives a robot, episode after episode, with the package and delta on its disk.

    ./bazelw run //edge/processes:control -- --home=DIR --keyring=FILE --robot=NAME

It looks at the pointers between two episodes and never waits for another process: steps
go through a ring in memory to the recorder, and a package or delta that another process
writes is taken with the next episode. Between two episodes it also decides whether the
robot goes on, stays still or sleeps (`edge.loops.mode`), holds still for as long, and
tells the learner. SIGTERM, or the end of the supervisor, ends it after the current
step.

With --fast_loop a package that came from no channel is adapted from step to step, as
long as the learner, which keeps the budgets, allows it; at the end of the episode what
was found is dropped (`edge.control.fast_loop`).

With --episodes it drives so many and ends. With --actor somebody demonstrates in the
place of the package, under its limits.

It needs neither jax nor a network.
"""

import base.interrupt  # noqa: F401 - Ctrl-C ends it from here on

import contextlib
import itertools
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from absl import app, flags

from base import command_line, durable_file, path_flags
from edge import actor_flags, simulated_or_real
from edge.actors.actor import Actor
from edge.control.fast_loop import FastLoop
from edge.control.loop import EpisodeResult, Pace, run_episode
from edge.control.policy_source import Driver
from edge.control.safety import DEFAULT_MAX_STEPS
from edge.control.step_times import StepTimes
from edge.episodes import episode_id
from edge.episodes.provenance import Provenance
from edge.episodes.step_ring import StepSender
from edge.errors import RingError
from edge.loops.mode import Mode, ModeChoice
from edge.processes import process, robot_flags
from edge.processes.drives import NO_PACKAGE, Drive, DriveSource
from edge.processes.home import Home
from edge.processes.mode_keeper import ModeKeeper
from edge.processes.process import Process
from edge.robots.experts import GaussianNoise
from edge.robots.robot import Robot
from edge.run_summary import RunTally
from edge.simulated_or_real import RealTime
from release.trusted_keys import TrustedKeys
from rlds.spec import FAST_LOOP_TAG

NAME: Final = "control"
_DRIVES: Final = "drives"
_LOOK_S: Final = 0.2  # between two looks at the disk while the robot holds still
_ALLOWED_S: Final = 5.0
"""A learner says twice a second whether the fast loop may run; one that has said
nothing for so long is gone, and nobody counts what is used."""

HOME = robot_flags.define_home()
ROBOT = robot_flags.define_robot()
robot_flags.define_keys(required=True)
robot_flags.define_mode_rules()
FAST_LOOP = robot_flags.define_fast_loop()
PACE = flags.DEFINE_enum_class(
    "pace",
    None,
    Pace,
    "whether a simulated robot keeps its control rate or runs as fast as possible "
    "(default: realtime); a real robot always keeps it",
)
SEED = flags.DEFINE_integer(
    "seed",
    0,
    "seed of the first episode of a simulated robot; episode k, from 0, has seed + k",
    lower_bound=0,
    upper_bound=2**31,
)
MAX_STEPS = flags.DEFINE_integer(
    "max_steps", DEFAULT_MAX_STEPS, "longest episode, in control steps", lower_bound=1
)
EPISODES = flags.DEFINE_integer(
    "episodes", 0, "episodes to drive; 0 for until it is told to end", lower_bound=0
)
SUMMARY_JSON = flags.DEFINE_string(
    "summary_json", None, "file for the summary of --episodes episodes, as JSON"
)
ACTOR = flags.DEFINE_string(
    "actor",
    None,
    "who demonstrates in the place of the package: expert, keyboard, gamepad, or one "
    "that another package adds (default: nobody)",
)
OPERATOR_NOISE = flags.DEFINE_float(
    "operator_noise",
    0.0,
    "standard deviation of the noise on what --actor does, in units of the action",
    lower_bound=0.0,
)
SIM_START = flags.DEFINE_string(
    "sim_start",
    None,
    "wall time at which a simulated clock starts, RFC 3339 in UTC (default: now)",
)
path_flags.files("summary_json")


@dataclass
class _Tally:
    """What control shows of itself since it was started."""

    episodes: int = 0
    successes: int = 0
    steps: int = 0
    missed: int = 0
    violations: int = 0
    p50_us: float = 0.0
    p99_us: float = 0.0
    jitter_p99_us: float = 0.0
    times: StepTimes = field(default_factory=StepTimes)

    def add(self, result: EpisodeResult) -> None:
        self.episodes += not result.stopped
        self.successes += bool(result.success)
        self.steps += result.steps
        self.missed += result.missed_deadlines
        self.violations += result.safety_violations
        self.times.merge(result.times)
        latency, jitter = self.times.latency, self.times.jitter
        self.p50_us = round(latency.percentile_us(50.0), 1)
        self.p99_us = round(latency.percentile_us(99.0), 1)
        self.jitter_p99_us = round(jitter.percentile_us(99.0), 1)

    def describe(self) -> dict[str, object]:
        return {
            "episodes": self.episodes,
            "successes": self.successes,
            "steps": self.steps,
            "missed": self.missed,
            "violations": self.violations,
            "p50_us": self.p50_us,
            "p99_us": self.p99_us,
            "jitter_p99_us": self.jitter_p99_us,
        }


def main(argv: list[str]) -> None:
    """Opens the robot and drives until it is told to end."""
    if len(argv) > 1:
        raise app.UsageError(f"expected flags only, got {argv[1]!r}")
    if SUMMARY_JSON.value and not EPISODES.value:
        raise app.UsageError("expected --episodes with --summary_json")
    home = Home(Path(HOME.value))
    keys = robot_flags.read_keys()
    assert keys is not None  # --keyring is required
    keeper = ModeKeeper(robot_flags.read_mode_rules())
    with (
        process.open_process(home.root, NAME) as me,
        contextlib.closing(
            simulated_or_real.open_robots([ROBOT.value], SIM_START.value)
        ) as robots,
    ):
        name, robot = next(robots)
        pace = simulated_or_real.choose_pace(robot, PACE.value, Pace.REALTIME)
        # A hang is noted by whoever records; this process has no private folder.
        with (
            _open_actor(name, robot) as actor,
            simulated_or_real.open_real_time(robot, None, me.say) as real_time,
        ):
            _Control(me, home, name, robot, pace, real_time, keys, actor, keeper).run()


@contextlib.contextmanager
def _open_actor(name: str, robot: Robot) -> Iterator[Actor | None]:
    """Opens whoever demonstrates; None if the package drives."""
    if ACTOR.value is None:
        yield None
        return
    with contextlib.closing(
        actor_flags.open_actor(ACTOR.value, name, robot.spec)
    ) as actor:
        yield actor


class _Control:
    """The robot, what drives it and who hears of it."""

    def __init__(
        self,
        me: Process,
        home: Home,
        name: str,
        robot: Robot,
        pace: Pace,
        real_time: RealTime,
        keys: TrustedKeys,
        actor: Actor | None,
        keeper: ModeKeeper,
    ) -> None:
        self._me = me
        self._actor = actor
        self._real_time = real_time
        self._name = name
        self._robot = robot
        self._pace = pace
        self._source = DriveSource(
            home, keys, {name: robot.spec}, me.say, learns=FAST_LOOP.value
        )
        self._allowed_until_s = -_ALLOWED_S
        self._fast_reason = "nobody has allowed it yet"
        self._home = home
        self._keeper = keeper
        self._choice = ModeChoice(Mode.DRIVING, "starts")
        self._stop_key = False
        self._drive: Drive | None = None
        self._sender: StepSender | None = None
        self._tally = _Tally()
        self._summary = RunTally()
        self._wants_no_more = False  # the actor
        self._lacks_package = False
        self._doing = "starts"
        self._said_ring = ""

    def run(self) -> None:
        """Drives while that is its mode, and holds still otherwise."""
        with self._source.starts.judge():
            self._me.say_ready()
            begin_s = time.monotonic()
            numbers = itertools.count(SEED.value)
            while not self._me.is_stopped() and not self._is_done():
                self._read_messages()
                if self._waits_for_word():
                    self._hold_still("waits for its supervisor")
                elif (drive := self._find_drive()) is None:
                    work = self._choice.mode is Mode.IDLE and self._lacks_package
                    self._hold_still(NO_PACKAGE if work else self._choice.mode.value)
                else:
                    self._drive = drive
                    self._run_episode(drive, next(numbers))
        if SUMMARY_JSON.value and self._is_done() and self._drive is not None:
            seconds = time.monotonic() - begin_s
            package = self._drive.driver.package_digest
            summary = self._summary.summary(package, seconds)
            durable_file.write(Path(SUMMARY_JSON.value), summary.encode())
        self._doing = "ended"
        self._show_now()
        if self._sender is not None:
            self._sender.close()

    def _waits_for_word(self) -> bool:
        """Whether a person may have said something that was not heard here yet.

        A robot that was told to stay still does not move because this process died and
        was started again.
        """
        supervised = process.is_supervised() and not EPISODES.value
        return supervised and not self._keeper.has_heard

    def _find_drive(self) -> Drive | None:
        """Chooses the mode; returns what drives the next episode, None for nothing."""
        drive, before = None, self._choice.mode
        choice = self._keeper.choose(in_episode=False, has_work=True)
        self._lacks_package = False
        if choice.mode is Mode.DRIVING:
            drive = self._source.look()
            if drive is None:
                self._lacks_package = True
                choice = self._keeper.choose(in_episode=False, has_work=False)
        self._choice = choice
        if choice.mode is not before:
            self._tell_learner()
        return drive

    def _tell_learner(self) -> None:
        fields: dict[str, object] = {"mode": self._choice.mode.value}
        if (fast := self._fast_loop()) is not None:
            fields["fast_processor_s"] = fast.processor_s
        self._me.mailbox.send("learn", "mode", fields)

    def _fast_loop(self) -> FastLoop | None:
        """The fast loop of what drives; None if there is none, or somebody shows."""
        if self._drive is None or self._actor is not None:
            return None
        return self._drive.fast_loop

    def _run_episode(self, drive: Drive, seed: int) -> None:
        self._doing, self._stop_key = _DRIVES, False
        self._show()
        driver, spec = drive.driver, self._robot.spec
        policy = self._actor or driver.policy_for(self._name, spec)
        if self._actor is not None and not self._actor.await_start():
            self._wants_no_more = True
            return
        sender = self._open_sender()
        start_ns = self._robot.clock.unix_ns()
        if sender is not None:
            sender.begin(
                episode_id.make_random_id(start_ns),
                start_ns,
                self._make_provenance(driver),
            )
        result = run_episode(
            self._robot,
            policy,
            driver.safety_for(spec),
            sender,
            seed,
            MAX_STEPS.value,
            self._pace,
            disturbance=None
            if self._actor is None
            else GaussianNoise(OPERATOR_NOISE.value),
            operator=self._actor,
            should_stop=self._should_stop,
            stop_key=self._is_stop_key_pressed,
            watchdog=self._real_time.watchdog,
            grants=self._real_time.grants,
            fast_loop=self._fast_loop(),
        )
        if sender is not None:
            sender.end(result.success, result.stop_rule)
        self._source.starts.clear()
        self._keeper.note_moved()
        self._tally.add(result)
        if not result.stopped:
            self._summary.add(spec.task, result)
        if self._actor is not None:
            return  # what somebody shows says nothing about the package
        self._me.mailbox.send(
            "update",
            "health",
            {
                "package": driver.package_digest,
                "delta": driver.delta_digest,
                "success": result.success,
                "steps": result.steps,
                "missed_deadlines": result.missed_deadlines,
                "stop_rules": result.safety_violations,
                "stopped": result.stopped,
            },
        )

    def _make_provenance(self, driver: Driver) -> Provenance:
        if self._actor is not None:
            return Provenance(actor=self._actor.name, tags=("demonstration",))
        return Provenance(
            actor=driver.actor,
            package_digest=driver.package_digest or "",
            delta_digest=driver.delta_digest or "",
            channel=driver.channel,
            tags=() if self._fast_loop() is None else (FAST_LOOP_TAG,),
        )

    def _is_done(self) -> bool:
        driven = self._summary.episodes
        return self._wants_no_more or bool(EPISODES.value and driven >= EPISODES.value)

    def _should_stop(self) -> bool:
        """Looks, once a step, whether the robot should end its episode."""
        self._show()
        return self._me.is_stopped()

    def _is_stop_key_pressed(self) -> bool:
        """Looks, once a step before its action, what the messages say."""
        self._read_messages()
        return self._stop_key

    def _hold_still(self, why: str) -> None:
        self._doing = why
        self._show()
        self._me.rest(_LOOK_S)

    def _open_sender(self) -> StepSender | None:
        """Opens the ring once; without it the robot drives and nothing is recorded."""
        if self._sender is None:
            try:
                self._sender = StepSender(
                    self._home.ring,
                    self._robot.spec,
                    waits=self._pace is Pace.SIMULATED,
                )
            except RingError as e:
                if str(e) != self._said_ring:
                    self._said_ring = str(e)
                    self._me.say(str(e))
        return self._sender

    def _read_messages(self) -> None:
        for message in self._me.receive():
            if message.kind == "stop_key":
                self._stop_key = True
                self._keeper.stop()
            elif message.kind == "told":
                self._keeper.hear(message.fields)
            elif message.kind == "fast_loop":
                self._fast_reason = str(message.fields.get("reason", ""))
                may = message.fields.get("may") is True
                ahead_s = _ALLOWED_S if may else 0.0
                self._allowed_until_s = time.monotonic() + ahead_s
        if (fast := self._fast_loop()) is not None:
            fast.is_allowed = time.monotonic() < self._allowed_until_s

    def _show(self) -> None:
        if not self._me.is_status_due():
            return
        if self._doing == _DRIVES:
            self._choice = self._keeper.choose(in_episode=True, has_work=True)
        self._tell_learner()  # again: a message may be lost, or the learner be new
        self._show_now()

    def _show_now(self) -> None:
        sender, drive = self._sender, self._drive
        shown: dict[str, object] = {
            "doing": self._doing,
            "mode": self._choice.mode.value,
            "why": self._choice.reason,
            "robot": self._name,
            "task": self._robot.spec.task,
            **self._tally.describe(),
        }
        if drive is not None:
            shown |= {
                "package": drive.driver.package_digest,
                "delta": drive.driver.delta_digest,
                "channel": drive.channel,
                "release": drive.release_counter,
            }
        if (fast := self._fast_loop()) is not None:
            shown["fast"] = self._describe_fast(fast)
        if sender is not None:
            shown |= {"dropped": sender.dropped, "filled": round(sender.filled, 3)}
        self._me.show_now(shown)

    def _describe_fast(self, fast: FastLoop) -> str:
        """What the view says of the fast loop."""
        text = f"fast, {fast.updates:,} updates, {fast.skipped:,} steps without time"
        why = fast.trouble or ("" if fast.is_allowed else self._fast_reason)
        return f"{text}; off: {why}" if why else text


if __name__ == "__main__":
    command_line.run(main)
