"""The control loop: one observation, one action, one record per control period.

    observation -> policy.propose -> rules and limits -> robot.act -> recorder
        -> fast loop -> wait

The loop always measures how long `propose` and the whole step take. In real time it
also keeps the control period, counts late steps (`ticker.py`) and collects no garbage
inside an episode. In simulated pace it never waits and no step can be late, so that the
recording depends only on the robot and the policy. Simulated pace is for simulated
robots: an arm that exists would be driven as fast as the computer computes.

An actor who watches may act in the place of the policy, hand back, and end the
episode. What the policy proposed meanwhile is recorded as its proposal.

A robot that exists has a watchdog, which holds it when the loop does not come round in
time (`watchdog.py`). However an episode ends, the robot is then told to stand still.
"""

import contextlib
import enum
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from edge.actors.actor import Actor, Ending, Signal
from edge.control import realtime, stop_rules
from edge.control.control_step import ControlStep, StepRecorder, judge, make_step
from edge.control.fast_loop import FastLoop
from edge.control.frozen_sensors import FrozenSensors
from edge.control.realtime import Grants
from edge.control.safety import SafetyConfig, check_fits, hold_action, safe_action
from edge.control.sense_watch import SenseWatch
from edge.control.step_times import StepTimes
from edge.control.stop_rules import Lateness, StepFacts
from edge.control.ticker import HIGHEST_HZ, LOWEST_HZ, Ticker
from edge.control.watchdog import Watchdog
from edge.errors import PaceError
from edge.robots.clock import Clock, MonotonicClock, SimulatedClock
from edge.robots.robot import (
    Disturbance,
    Observation,
    Policy,
    Robot,
    Transition,
    Vector,
)
from rlds.spec import LEFT_OUT_TAG, StopRule

_NO_SIGNAL = Signal()


class Pace(enum.Enum):
    """How the loop relates to real time."""

    REALTIME = "realtime"
    SIMULATED = "simulated"


@dataclass(frozen=True)
class EpisodeResult:
    """How an episode went.

    Attributes:
        success: whether the task was fulfilled, as the actor says or else the
            robot; False if a stop rule ended the episode; None if nobody can tell, or
            if the episode was stopped before.
        steps: number of recorded steps.
        missed_deadlines: steps whose action was late; 0 in simulated pace.
        times: how long the steps took, and how late they began.
        safety_violations: steps at which a stop rule fired (0 or 1).
        clamped_steps: steps at which the limits changed the action.
        stopped: whether the caller's `should_stop`, or the loss of the actor's
            device, ended the episode.
        stop_rule: the stop rule that ended it; None if none did.
        interventions: steps in which the actor acted, also one whose action broke a
            stop rule and was not executed.
        ending: why the actor ended it; None if somebody else did.
        lost_senses: tags of the senses that were gone or stood still in a part of it
            (`sense_watch.py`).
    """

    success: bool | None
    steps: int
    missed_deadlines: int
    times: StepTimes
    safety_violations: int
    clamped_steps: int
    stopped: bool = False
    stop_rule: StopRule | None = None
    interventions: int = 0
    ending: Ending | None = None
    lost_senses: tuple[str, ...] = ()

    @property
    def tags(self) -> tuple[str, ...]:
        """What is known of an episode at its end only.

        A stop rule, that it is left out, that a sense was lost in a part of it.
        """
        return (
            *(() if self.stop_rule is None else (self.stop_rule.tag,)),
            *((LEFT_OUT_TAG,) if self.ending is Ending.LEFT_OUT else ()),
            *self.lost_senses,
        )


def check_pace(robot: Robot, pace: Pace) -> None:
    """Checks that a robot that is not simulated keeps real time, by a real clock.

    Raises:
        PaceError: it would be driven, or its steps dated, by simulated time; or at a
            rate that control does not keep.
    """
    if robot.spec.simulated:
        return
    name = f"robot {robot.spec.robot_model}"
    if pace is not Pace.REALTIME:
        raise PaceError(name, "real time, since it is not simulated", "simulated pace")
    if isinstance(robot.clock, SimulatedClock):
        raise PaceError(
            name,
            "the machine's clock, since it is not simulated",
            "a simulated clock",
            "let its driver use MonotonicClock",
        )
    if not LOWEST_HZ <= robot.spec.control_hz <= HIGHEST_HZ:
        raise PaceError(
            name,
            f"a control rate of {LOWEST_HZ:g} to {HIGHEST_HZ:g} Hz",
            f"{robot.spec.control_hz:g} Hz",
            "let its driver state such a rate",
        )


def run_episode(
    robot: Robot,
    policy: Policy,
    safety: SafetyConfig,
    recorder: StepRecorder | None,
    seed: int,
    max_steps: int,
    pace: Pace,
    *,
    disturbance: Disturbance | None = None,
    actor: Actor | None = None,
    pacer: Clock | None = None,
    should_stop: Callable[[], bool] | None = None,
    stop_key: Callable[[], bool] | None = None,
    watchdog: Watchdog | None = None,
    grants: Grants | None = None,
    fast_loop: FastLoop | None = None,
    on_frozen: Callable[[FrozenSensors], object] | None = None,
    on_sense: Callable[[str, str], object] | None = None,
) -> EpisodeResult:
    """Runs one episode until success, a stop rule or the step limit ends it.

    Args:
        robot: open and idle.
        policy: its `reset` is called with the robot's task.
        safety: limits and stop rules, which must fit the robot.
        recorder: receives each step after its action has run; None records nothing.
        seed: determines a simulated robot's episode and the disturbance.
        max_steps: limit on the steps, in addition to `safety.max_steps`.
        pace: whether to keep real time; a robot that is not simulated must.
        disturbance: changes executed actions of the policy, for example with noise.
        actor: may take over from the policy and end the episode; the policy itself
            if an actor demonstrates, who then has nobody to take over from.
        pacer: clock that paces the loop in real time; by default the machine's.
        should_stop: asked once per step, after its action; True ends the episode with
            that step, which is no violation.
        stop_key: asked when the robot is at its start, and in each step before the
            actor is heard and before the action; once True it holds the robot instead,
            which is a violation. It must not wait.
        watchdog: that of the robot; by default a robot that is not simulated gets one
            for this episode, and another one none.
        grants: what `realtime.prepare` was granted; used in real time.
        fast_loop: changes the policy between two steps, within the episode.
        on_frozen: called once if all sensors, and once if some, seem to stand still
            while the robot is told to move, and once if they say each reading several
            times; the episode goes on. It must not wait.
        on_sense: called with a line when a camera is gone or stands still, and when it
            sees again, and with what does not see now. It must not wait.

    Raises:
        PaceError: the robot is not simulated, and the pace or its clock is.
        SafetyConfigError: `safety` does not fit the robot.
        ActionShapeError: the policy proposed an action of another shape.
        WatchdogError: the watchdog cannot be started, or has ended.
        EdgeError: the robot or the recorder failed; no further action is executed.
        ValueError: `max_steps` is not positive.
    """
    if max_steps <= 0:
        raise ValueError(f"max_steps must be positive, got {max_steps}")
    check_pace(robot, pace)
    check_fits(safety, robot.spec)
    with contextlib.ExitStack() as stack:
        if watchdog is None and not robot.spec.simulated:
            watchdog = stack.enter_context(Watchdog(robot))
        clock = None
        if pace is Pace.REALTIME:
            clock = pacer or MonotonicClock()
            stack.enter_context(realtime.episode(grants or Grants()))
        episode = _Episode(
            robot=robot,
            policy=policy,
            safety=safety,
            recorder=recorder,
            limit=min(max_steps, safety.max_steps),
            ticker=Ticker(robot.spec.period_ns, clock),
            disturbance=disturbance,
            actor=actor,
            should_stop=should_stop or _never,
            stop_key=stop_key or _never,
            watchdog=watchdog,
            fast_loop=fast_loop,
            on_frozen=on_frozen,
            on_sense=on_sense,
        )
        return episode.run(seed)


def _never() -> bool:
    return False


class _Episode:
    """One episode while it runs."""

    def __init__(
        self,
        *,
        robot: Robot,
        policy: Policy,
        safety: SafetyConfig,
        recorder: StepRecorder | None,
        limit: int,
        ticker: Ticker,
        disturbance: Disturbance | None,
        actor: Actor | None,
        should_stop: Callable[[], bool],
        stop_key: Callable[[], bool],
        watchdog: Watchdog | None,
        fast_loop: FastLoop | None,
        on_frozen: Callable[[FrozenSensors], object] | None,
        on_sense: Callable[[str, str], object] | None,
    ) -> None:
        self._robot = robot
        self._policy = policy
        self._safety = safety
        self._rules = safety.stop_rules.for_robot(robot.spec.simulated)
        self._minimum = np.asarray(safety.action_minimum, np.float32)
        self._maximum = np.asarray(safety.action_maximum, np.float32)
        self._recorder = recorder
        self._limit = limit
        self._ticker = ticker
        self._disturbance = disturbance
        self._actor = actor
        self._should_stop = should_stop
        self._stop_key = stop_key
        self._watchdog = watchdog
        self._fast_loop = fast_loop
        self._on_frozen = on_frozen
        self._on_sense = on_sense
        self._senses = SenseWatch(robot.spec)
        self._frozen = FrozenSensors(
            self._minimum, self._maximum, robot.spec.control_hz
        )
        self._tally = _Tally()
        self._stands_still = False
        self._is_stop_key_pressed = False
        self._demonstrates = actor is not None and actor is policy

    def run(self, seed: int) -> EpisodeResult:
        """Runs the episode; the robot stands still at its end, whatever that is."""
        try:
            observation = self._robot.reset(seed)
            # That took its time, and whoever pressed a key meanwhile must not see the
            # robot move: what it hands on is there when the actor begins.
            self._ask_for_stop_key()
            self._policy.reset(self._robot.spec.task)
            if self._fast_loop is not None:
                self._fast_loop.begin()
            if self._disturbance is not None:
                self._disturbance.reset(seed)
            if self._actor is not None and not self._demonstrates:
                self._actor.reset(self._robot.spec.task)
            if self._watchdog is not None:
                self._watchdog.arm()
            return self._drive(observation)
        finally:
            self._stand_still()
            if self._fast_loop is not None:
                self._fast_loop.end()

    def _stand_still(self) -> None:
        """Holds the robot once, unless its watchdog does so already."""
        if self._stands_still:
            return
        self._stands_still = True
        watchdog = self._watchdog
        if watchdog is None:
            self._robot.hold()
            return
        try:
            if watchdog.seize():
                self._robot.hold()
                watchdog.give()
        finally:
            # Also when its port is gone: this process does not hang, and has to say so.
            watchdog.disarm()

    def _drive(self, observation: Observation) -> EpisodeResult:
        ticker, tally, previous = self._ticker, self._tally, None
        lateness = Lateness()
        ticker.start()
        while True:
            begin_ns = time.perf_counter_ns()
            if self._watchdog is not None:
                self._watchdog.feed()
            for line in self._senses.notice(observation):
                if self._on_sense is not None:
                    self._on_sense(line, self._senses.describe())
            # Whoever demonstrates proposes what they were heard to want. Beside a
            # package the latest word counts, also what was said while it was asked.
            signal = self._hear_actor() if self._demonstrates else None
            proposed = self._policy.propose(observation)
            ready_ns = time.perf_counter_ns()
            signal = self._hear_actor() if signal is None else signal
            wanted, intervenes = self._choose(proposed, observation, signal)
            safe = safe_action(self._safety, wanted, previous)
            missed = ticker.is_late()
            lateness = lateness.after(missed)
            rule = stop_rules.find_broken(
                self._rules,
                self._minimum,
                self._maximum,
                StepFacts(
                    state=observation.state,
                    wanted=wanted,
                    previous=previous,
                    lateness=lateness,
                    stop_key=self._ask_for_stop_key() or signal.ending is Ending.STOP,
                ),
            )
            lost = signal.ending is Ending.LOST
            action, transition = safe.action, None
            if rule is None and not lost:
                transition = self._act(action)
                if transition is None:
                    rule = StopRule.WATCHDOG
            if transition is None:
                self._stand_still()  # before a disk may take its time
                action = hold_action(self._safety)
            else:
                transition = judge(transition, signal.ending)
            stop = lost or self._should_stop()
            step = make_step(
                observation,
                action,
                proposed,
                transition,
                is_first=not tally.steps,
                at_limit=stop
                or signal.ending is not None
                or tally.steps + 1 == self._limit,
                missed=missed,
                violated=rule is not None,
                intervention=intervenes and transition is not None,
            )
            if self._recorder is not None:
                self._recorder.append(step)
            success = False if transition is None else transition.success
            tally.count(step, success, safe.clamped or rule is not None, intervenes)
            tally.times.latency.add(ready_ns - begin_ns)
            tally.times.work.add(time.perf_counter_ns() - begin_ns)
            if transition is None or step.is_last:
                stopped = stop and rule is None and not step.is_terminal
                return tally.result(
                    stopped, rule, signal.ending, lost_senses=self._senses.tags
                )
            following = transition.observation
            if self._frozen.notice(action, following.state) and self._on_frozen:
                self._on_frozen(self._frozen)
            if self._fast_loop is not None and intervenes:
                self._fast_loop.skip()
            elif self._fast_loop is not None:
                self._fast_loop.learn(
                    observation.state, following.state, ticker.left_ns()
                )
            observation, previous = following, action
            if ticker.is_paced:
                realtime.collect_if_much()
                tally.times.jitter.add(ticker.wait())

    def _ask_for_stop_key(self) -> bool:
        """Whether the stop key was pressed in this episode, or on the way to it."""
        self._is_stop_key_pressed = self._stop_key() or self._is_stop_key_pressed
        return self._is_stop_key_pressed

    def _hear_actor(self) -> Signal:
        """What the actor wants, by the keys too that are handed on right now."""
        if self._actor is None:
            return _NO_SIGNAL
        self._ask_for_stop_key()
        return self._actor.signal()

    def _choose(
        self, proposed: npt.NDArray[Any], observation: Observation, signal: Signal
    ) -> tuple[npt.NDArray[Any], bool]:
        """The action that is wanted, and whether it is the actor's.

        A proposal that is no number stops the robot, whoever acts.
        """
        actor = self._actor
        if (
            actor is not None
            and not self._demonstrates
            and signal.takes_over
            and signal.ending not in (Ending.STOP, Ending.LOST)
            and np.isfinite(proposed).all()
        ):
            return actor.propose(observation), True
        if self._disturbance is not None:
            return self._disturbance.disturb(proposed), False
        return proposed, False

    def _act(self, action: Vector) -> Transition | None:
        """Lets the robot act; None if its watchdog holds it."""
        watchdog = self._watchdog
        if watchdog is None:
            return self._robot.act(action)
        if not watchdog.take():
            return None
        transition = self._robot.act(action)
        watchdog.give()
        return transition


class _Tally:
    """Counts what an `EpisodeResult` reports."""

    def __init__(self) -> None:
        self.steps = 0
        self.times = StepTimes()
        self._success: bool | None = None
        self._missed = 0
        self._violations = 0
        self._clamped = 0
        self._interventions = 0

    def count(
        self, step: ControlStep, success: bool | None, clamped: bool, intervenes: bool
    ) -> None:
        """Adds one step; what the operator wanted counts even if it broke a rule."""
        self.steps += 1
        self._success = success
        self._missed += step.deadline_missed
        self._violations += step.safety_violation
        self._clamped += clamped
        self._interventions += intervenes

    def result(
        self,
        stopped: bool,
        rule: StopRule | None,
        ending: Ending | None,
        *,
        lost_senses: tuple[str, ...],
    ) -> EpisodeResult:
        """The counts so far; a stopped episode might have succeeded later."""
        return EpisodeResult(
            success=None if stopped else self._success,
            steps=self.steps,
            missed_deadlines=self._missed,
            times=self.times,
            safety_violations=self._violations,
            clamped_steps=self._clamped,
            stopped=stopped,
            stop_rule=rule,
            interventions=self._interventions,
            ending=ending,
            lost_senses=lost_senses,
        )
