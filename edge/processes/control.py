"""Drives a robot, episode after episode, with the package and delta on its disk.

    ./bazelw run //edge/processes:control -- --home=DIR --keyring=FILE --robot=NAME

It looks at the pointers between two episodes and never waits for another process: steps
go through a ring in memory to the recorder, and a package or delta that another process
writes is taken with the next episode. Between two episodes it also decides whether the
robot continues, stays still or sleeps (`edge.loops.mode`), holds still for as long, and
tells the learner. SIGTERM, or the end of the supervisor, ends it after the current
step.

With --fast_loop a package that came from no channel is adapted from step to step, as
long as the learner, which keeps the budgets, allows it; at the end of the episode what
was found is dropped (`edge.control.fast_loop`).

With --actor a person may take over from the package and hand back, and the actor
demonstrates whole episodes when the robot is asked to, under the limits of the package
(`acting.py`). With --episodes it drives so many and ends; an actor then demonstrates
them all. Stop rules of the place where the robot stands (--stop_rules) hold beside
those of its package, no matter who acts. A robot that exists holds still when several
episodes in a row have ended outside its workspace (`turns.py`).

It needs neither jax nor a network.
"""

import base.interrupt  # noqa: F401 - Ctrl-C ends it from here on

import contextlib
import functools
import itertools
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from absl import app, flags

from base import command_line, durable_file, path_flags
from base.errors import one_line
from edge import actor_flags, raw_memory, sense_flags, simulated_or_real
from edge.actors.registry import PAGE
from edge.control import site_rules, stop_rules
from edge.control.fast_loop import FastLoop
from edge.control.frozen_sensors import FrozenSensors
from edge.control.loop import Pace, run_episode
from edge.control.policy_source import Driver
from edge.control.safety import DEFAULT_MAX_STEPS, SafetyConfig, config_for
from edge.control.stop_rules import StopRules
from edge.episodes import episode_id, step_ring
from edge.episodes.provenance import Provenance
from edge.episodes.step_ring import StepSender
from edge.errors import RingError, SafetyConfigError
from edge.loops.mode import Mode, ModeChoice
from edge.processes import control_flags, process, robot_flags, tally
from edge.processes.acting import Acting, HandedKeys, HandedMoves
from edge.processes.drives import NO_PACKAGE, Drive, DriveSource
from edge.processes.heard import Heard
from edge.processes.home import Home
from edge.processes.mode_keeper import ModeKeeper
from edge.processes.process import Process
from edge.processes.tally import Tally
from edge.processes.turns import Turns
from edge.robots.experts import GaussianNoise
from edge.robots.robot import Robot
from edge.run_summary import RunTally
from edge.simulated_or_real import RealTime
from rlds.spec import StopRule

NAME: Final = "control"
_LOOK_S: Final = 0.2  # between two looks at the disk while the robot holds still

HOME = robot_flags.define_home()
ROBOT = robot_flags.define_robot()
robot_flags.define_keys(required=True)
robot_flags.define_mode_rules()
control_flags.define_stop_rules()
robot_flags.define_fast_loop()
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
    "episodes", 0, "episodes to drive; 0 drives until stopped", lower_bound=0
)
SUMMARY_JSON = flags.DEFINE_string(
    "summary_json", None, "file for the summary of --episodes episodes, as JSON"
)
ACTOR = control_flags.define_actor()
flags.adopt_module_key_flags(actor_flags)  # so that --help shows them
flags.adopt_module_key_flags(sense_flags)
ACTOR_NOISE = flags.DEFINE_float(
    "actor_noise",
    0.0,
    "standard deviation of the noise on what --actor demonstrates, in units of the "
    "action",
    lower_bound=0.0,
)
SIM_START = flags.DEFINE_string(
    "sim_start",
    None,
    "wall time at which a simulated clock starts, RFC 3339 in UTC (default: now)",
)
path_flags.files("summary_json")


def main(argv: list[str]) -> None:
    """Opens the robot and drives until it is asked to end."""
    if len(argv) > 1:
        raise app.UsageError(f"expected flags only, got {argv[1]!r}")
    if SUMMARY_JSON.value and not EPISODES.value:
        raise app.UsageError("expected --episodes with --summary_json")
    raw_memory.hide()
    home = Home(Path(HOME.value))
    trusted = robot_flags.read_keys(serves=not EPISODES.value)
    assert trusted is not None  # --keyring is required
    keys, moves = HandedKeys(), HandedMoves()
    keeper = ModeKeeper(robot_flags.read_mode_rules())
    rules = control_flags.read_stop_rules()
    control_flags.require_actor_usage(is_simulated_pace=PACE.value is Pace.SIMULATED)
    control_flags.require_keys(is_supervised=process.is_supervised())
    with (
        process.open_process(home.root, NAME) as me,
        contextlib.closing(
            simulated_or_real.open_robots(
                [ROBOT.value], SIM_START.value, sense_flags.read(), me.say
            )
        ) as robots,
    ):
        name, robot = next(robots)
        pace = simulated_or_real.choose_pace(robot, PACE.value, Pace.REALTIME)
        control_flags.require_fit(rules, robot.spec)
        # Its watchdog tells the recorder of a hang; nobody here could any more.
        on_hang = functools.partial(step_ring.say_hung, home.ring)
        with (
            _open_acting(me, keys, moves, name, robot) as acting,
            simulated_or_real.open_real_time(robot, on_hang, me.say) as real_time,
        ):
            source = DriveSource(
                home, trusted, {name: robot.spec}, me.say, robot_flags.read_fast_loop()
            )
            turns = Turns(acting, keeper, robot.spec, bool(EPISODES.value))
            _Control(
                me,
                home,
                name,
                robot,
                pace,
                real_time,
                source,
                turns,
                Heard(me, keys, moves, keeper),
                keeper,
                rules,
            ).run()


@contextlib.contextmanager
def _open_acting(
    me: Process, keys: HandedKeys, moves: HandedMoves, name: str, robot: Robot
) -> Iterator[Acting | None]:
    """Opens the actor; None if the package alone does."""
    actor = ACTOR.value
    if actor is None:
        yield None
        return
    # Under a supervisor, which has the terminal, standard input is no terminal.
    source = keys if process.is_supervised() else None
    with contextlib.closing(
        Acting(
            lambda tell: actor_flags.open_actor(
                actor, name, robot.spec, tell, source, moves
            ),
            me.say,
        )
    ) as acting:
        yield acting


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
        source: DriveSource,
        turns: Turns,
        heard: Heard,
        keeper: ModeKeeper,
        rules: StopRules,
    ) -> None:
        self._me = me
        self._turns = turns
        self._heard = heard
        self._rules = rules
        self._real_time = real_time
        self._name = name
        self._robot = robot
        self._pace = pace
        self._source = source
        self._home = home
        self._keeper = keeper
        self._choice = ModeChoice(Mode.DRIVING, "starts")
        self._drive: Drive | None = None
        self._sender: StepSender | None = None
        self._unrecorded = 0  # steps that were driven without a ring
        self._no_ring = ""  # why there is none
        self._limits = self._limit(None)
        self._tally = Tally()
        self._summary = RunTally()
        self._lacks_package = False
        self._doing = "starts"
        self._lost = ""  # senses that are gone or stand still now
        self._frozen = ""  # what the sensors of this episode, or the last one, did
        self._said: dict[str, str] = {}

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
                elif not self._find_work():
                    self._turns.listen()
                    work = self._choice.mode is Mode.IDLE and self._lacks_package
                    self._hold_still(NO_PACKAGE if work else self._choice.mode.value)
                elif why := self._turns.await_actor():
                    self._hold_still(why)
                else:
                    self._run_episode(next(numbers))
        if SUMMARY_JSON.value and self._is_done() and self._summary.episodes:
            seconds = time.monotonic() - begin_s
            drive = self._drive  # None if somebody demonstrated without one
            package = None if drive is None else drive.driver.package_digest
            summary = self._summary.summary(package, seconds)
            durable_file.write(Path(SUMMARY_JSON.value), summary.encode())
        self._doing = "ended"
        self._show_now()
        if self._unrecorded:
            steps = self._unrecorded
            self._me.say(f"{steps} steps were driven and not recorded: {self._no_ring}")
        if self._sender is not None:
            self._sender.close()

    def _waits_for_word(self) -> bool:
        """Whether a person may have said something that was not heard here yet.

        A robot that was told to stay still does not move because this process died and
        was started again.
        """
        supervised = process.is_supervised() and not EPISODES.value
        return supervised and not self._keeper.has_heard

    def _find_work(self) -> bool:
        """Chooses the mode; returns whether there is an episode to run."""
        before = self._choice.mode
        choice = self._keeper.choose(in_episode=False, has_work=True)
        self._lacks_package = False
        if choice.mode is Mode.DRIVING:
            self._turns.begin_next()
            self._drive = self._look()
            if self._drive is None and not self._turns.shows:
                self._lacks_package = True
                choice = self._keeper.choose(in_episode=False, has_work=False)
        self._choice = choice
        if choice.mode is not before:
            self._tell_learner()
        return choice.mode is Mode.DRIVING

    def _look(self) -> Drive | None:
        """What drives by the pointers; None if nothing can within the site's rules."""
        drive = self._source.look()
        try:
            self._limits = self._limit(None if drive is None else drive.driver)
        except SafetyConfigError as e:
            self._say_once("limits", f"the package cannot drive here: {e}")
            return None
        return drive

    def _limit(self, driver: Driver | None) -> SafetyConfig:
        """The limits of the package, or of the robot, with the rules of the site."""
        spec = self._robot.spec
        own = config_for(spec) if driver is None else driver.safety_for(spec)
        return site_rules.add(own, self._rules, spec)

    def _tell_learner(self) -> None:
        fields: dict[str, object] = {"mode": self._choice.mode.value}
        if (fast := self._fast_loop()) is not None:
            fields["fast_processor_s"] = fast.processor_s
        self._me.mailbox.send("learn", "mode", fields)

    def _fast_loop(self) -> FastLoop | None:
        """The fast loop of what drives; None if there is none, or somebody shows."""
        if self._drive is None or self._turns.shows:
            return None
        return self._drive.fast_loop

    def _run_episode(self, seed: int) -> None:
        turns, driver = self._turns, None if self._drive is None else self._drive.driver
        policy = turns.choose_policy(driver, self._name)
        self._doing = "is shown a task" if turns.shows else "drives"
        self._heard.stop_key = False
        self._frozen = self._lost = ""
        self._show()
        origin = turns.describe_episode(driver, adapts=self._fast_loop() is not None)
        sender = self._open_sender(origin)
        start_ns = self._robot.clock.unix_ns()
        if sender is not None:
            sender.begin(episode_id.make_random_id(start_ns), start_ns, origin)
            self._keep_ring(sender)
        result = run_episode(
            self._robot,
            policy,
            self._limits,
            sender,
            seed,
            MAX_STEPS.value,
            self._pace,
            disturbance=GaussianNoise(ACTOR_NOISE.value) if turns.shows else None,
            actor=turns.acting,
            should_stop=self._should_stop,
            stop_key=self._is_stop_key_pressed,
            watchdog=self._real_time.watchdog,
            grants=self._real_time.grants,
            fast_loop=self._fast_loop(),
            on_frozen=self._note_frozen,
            on_sense=self._note_sense,
        )
        if sender is not None:
            sender.end(result.success, result.tags)
            self._keep_ring(sender)
        else:
            self._unrecorded += result.steps
        self._say_stop_rule(result.stop_rule)
        if held := turns.end(result):
            self._me.say(held)
        self._source.starts.clear()
        self._keeper.note_moved()
        self._tally.add(result)
        if not result.stopped:
            task = self._robot.spec.task
            self._summary.add(task, result, demonstrated=turns.shows)
        if driver is not None and not turns.shows:
            # What somebody demonstrates says nothing about the package.
            health = tally.describe_health(driver, result)
            self._me.mailbox.send("update", "health", health)

    def _say_stop_rule(self, rule: StopRule | None) -> None:
        """Says which rule ended an episode; a person knows of their own stop key."""
        if rule is None or rule is StopRule.STOP_KEY:
            return
        self._say_of_episode(
            "stop rule",
            f"episode ended by stop rule {rule.value}; {stop_rules.ADVICE[rule]}",
        )

    def _note_frozen(self, frozen: FrozenSensors) -> None:
        self._frozen = frozen.tell()
        self._say_of_episode(
            "sensors",
            f"{self._frozen}: the robot drives on and may be blind; look at its "
            "sensors, its cable and its driver",
        )

    def _note_sense(self, line: str, lost: str) -> None:
        self._lost = lost
        self._say_of_episode("senses", line)

    def _say_of_episode(self, about: str, text: str) -> None:
        """Says a line about this episode, of a robot that exists in each one anew."""
        if self._robot.spec.simulated:
            # It goes on by itself, a thousand times an hour.
            self._say_once(about, text)
        else:
            self._me.say(text)

    def _is_done(self) -> bool:
        driven = self._summary.episodes
        return self._turns.is_over or bool(EPISODES.value and driven >= EPISODES.value)

    def _should_stop(self) -> bool:
        """Looks, once a step, whether the robot should end its episode."""
        self._show()
        return self._me.is_stopped()

    def _is_stop_key_pressed(self) -> bool:
        """Looks what the messages say: at the start, and before each action."""
        self._read_messages()
        return self._heard.stop_key

    def _hold_still(self, why: str) -> None:
        self._doing = why
        self._show()
        self._me.rest(_LOOK_S)

    def _open_sender(self, origin: Provenance) -> StepSender | None:
        """Opens the ring once; without it the robot drives and nothing is recorded."""
        if self._sender is not None:
            return self._sender
        with contextlib.suppress(OSError):
            # Where it lay before it had a folder that others may not enter.
            (self._home.run / self._home.ring.name).unlink(missing_ok=True)
        try:
            sender = StepSender(
                self._home.ring,
                self._robot.spec,
                waits=self._pace is Pace.SIMULATED,
                tell=functools.partial(self._say_once, "ring"),
            )
        except RingError as e:
            self._no_ring = one_line(e)
            self._say_once("ring", str(e))
            return None
        if self._unrecorded:
            now_ns = self._robot.clock.unix_ns()
            name = episode_id.make_random_id(now_ns)
            sender.count_unrecorded(name, now_ns, origin, self._unrecorded)
            self._unrecorded, self._no_ring = 0, ""
        self._sender = sender
        return sender

    def _keep_ring(self, sender: StepSender) -> None:
        """Nobody would record what is written into a file without a name."""
        self._me.keep(self._home.ring, sender.identity)

    def _say_once(self, about: str, text: str) -> None:
        """Says a line if it is not the last one about this."""
        if self._said.get(about) != text:
            self._said[about] = text
            self._me.say(text)

    def _read_messages(self) -> None:
        self._heard.listen()
        if (fast := self._fast_loop()) is not None:
            self._heard.allow(fast)

    def _show(self) -> None:
        if not self._me.is_status_due():
            return
        if self._turns.in_episode:
            self._choice = self._keeper.choose(in_episode=True, has_work=True)
        self._tell_learner()  # again: a message may be lost, or the learner be new
        if self._lacks_package:
            self._me.mailbox.send("update", "in_need", {})
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
            shown["fast"] = self._heard.describe(fast)
        if acting := self._turns.describe():
            shown["acting"] = acting
        if ACTOR.value == PAGE:
            # The page draws a stick for each.
            shown["axes"] = self._robot.spec.action_size
        if (grants := self._real_time.grants) is not None:
            shown["granted"] = grants.describe()
        if self._frozen:
            shown["frozen"] = self._frozen
        if self._lost:
            shown["senses"] = self._lost
        # The supervisor tells it to the next control process.
        if self._keeper.stopped_s is not None:
            shown["stopped_s"] = self._keeper.stopped_s
        elif self._keeper.went_on_s is not None:
            shown["went_on_s"] = self._keeper.went_on_s
        if sender is not None:
            shown |= {"dropped": sender.dropped, "filled": round(sender.filled, 3)}
        elif self._no_ring:
            shown |= {"unrecorded": self._unrecorded, "no_ring": self._no_ring}
        self._me.show_now(shown)


if __name__ == "__main__":
    command_line.run(main)
