import contextlib
import dataclasses
import subprocess
import sys
from collections.abc import Callable

import numpy as np
import pytest

from edge.control import loop
from edge.control.control_step import ControlStep, StepRecorder
from edge.control.loop import EpisodeResult, Pace
from edge.control.safety import SafetyConfig, config_for
from edge.control.stop_rules import StopRules, Workspace
from edge.errors import ActionShapeError, PaceError, SafetyConfigError
from edge.robots.clock import Clock, SimulatedClock
from edge.robots.experts import GaussianNoise
from edge.robots.robot import (
    Camera,
    Disturbance,
    Microphone,
    Observation,
    Picture,
    Policy,
    RobotSpec,
    Sound,
    Transition,
    Vector,
)
from edge.robots.simulated_point import SPEC, PointExpert, SimulatedPoint
from edge.testing.real_arm import Hand, RealArm
from rlds.spec import CAMERA_TAG, MICROPHONE_TAG, StopRule


class ListRecorder:
    def __init__(self) -> None:
        self.steps: list[ControlStep] = []

    def append(self, step: ControlStep) -> None:
        self.steps.append(step)


class ConstantPolicy:
    def __init__(self, *actions: float) -> None:
        self.actions = [np.array([a], np.float64) for a in actions]
        self.calls = 0

    def reset(self, task: str) -> None:
        self.calls = 0

    def propose(self, observation: Observation) -> np.ndarray:
        self.calls += 1
        return self.actions[min(self.calls, len(self.actions)) - 1]


class SlowPolicy(ConstantPolicy):
    """Takes the given durations on the clock that paces the loop."""

    def __init__(self, pacer: SimulatedClock, *durations_ns: int) -> None:
        super().__init__(0.0)
        self.pacer = pacer
        self.durations_ns = durations_ns

    def propose(self, observation: Observation) -> np.ndarray:
        self.pacer.advance(self.durations_ns[self.calls])
        return super().propose(observation)


def run(
    policy: Policy,
    *,
    recorder: StepRecorder | None = None,
    max_steps: int = 100,
    pace: Pace = Pace.SIMULATED,
    safety: SafetyConfig | None = None,
    disturbance: Disturbance | None = None,
    pacer: Clock | None = None,
) -> EpisodeResult:
    return loop.run_episode(
        SimulatedPoint(SimulatedClock(0)),
        policy,
        safety or config_for(SPEC),
        recorder,
        seed=3,
        max_steps=max_steps,
        pace=pace,
        disturbance=disturbance,
        pacer=pacer,
    )


def test_episode_ends_at_the_first_success_and_each_action_is_recorded_once() -> None:
    recorder = ListRecorder()
    result = run(PointExpert(), recorder=recorder)
    steps = recorder.steps
    assert result.success
    assert result.steps == len(steps) == result.times.latency.count
    assert result.times.work.count == len(steps)
    assert result.times.jitter.count == 0
    assert [s.is_first for s in steps] == [True] + [False] * (len(steps) - 1)
    assert [s.is_last for s in steps] == [False] * (len(steps) - 1) + [True]
    assert [s.is_terminal for s in steps] == [s.is_last for s in steps]
    assert [s.discount for s in steps] == [1.0] * (len(steps) - 1) + [0.0]
    period_ns = SPEC.period_ns
    times_ns = [s.observation.t_monotonic_ns for s in steps]
    assert times_ns == [k * period_ns for k in range(len(steps))]


def test_proposed_and_clamped_actions_are_both_recorded() -> None:
    recorder = ListRecorder()
    result = run(PointExpert(), recorder=recorder)
    first = recorder.steps[0]
    assert first.proposed_action[0] > 1.0
    assert first.action[0] == 1.0
    assert result.clamped_steps > 0
    assert result.safety_violations == 0


def test_step_limit_ends_the_episode_without_success() -> None:
    recorder = ListRecorder()
    result = run(ConstantPolicy(0.0), recorder=recorder, max_steps=5)
    assert (result.success, result.steps) == (False, 5)
    last = recorder.steps[-1]
    assert (last.is_last, last.is_terminal, last.discount) == (True, False, 1.0)


def test_safety_config_may_shorten_the_episode() -> None:
    safety = SafetyConfig("short", (-1.0,), (1.0,), max_steps=3)
    assert run(ConstantPolicy(0.0), safety=safety).steps == 3


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_action_that_is_not_finite_holds_still_and_ends_the_episode(bad: float) -> None:
    recorder = ListRecorder()
    result = run(ConstantPolicy(0.5, bad, 0.5), recorder=recorder)
    assert (result.steps, result.safety_violations) == (2, 1)
    last = recorder.steps[-1]
    assert last.is_last
    assert last.safety_violation
    assert not last.is_terminal
    assert (last.action[0], last.proposed_action[0]) == (0.0, 0.0)


class HeldPoint(SimulatedPoint):
    """Counts what it is told."""

    def __init__(self) -> None:
        super().__init__(SimulatedClock(0))
        self.told: list[str] = []

    def act(self, action: Vector) -> Transition:
        self.told.append("act")
        return super().act(action)

    def hold(self) -> None:
        self.told.append("hold")


def config_with(rules: StopRules) -> SafetyConfig:
    return dataclasses.replace(config_for(SPEC), stop_rules=rules)


@pytest.mark.parametrize(
    ("rules", "actions", "rule"),
    [
        (StopRules(action_limit=1.0), (0.5, 0.5, 9.0), StopRule.ACTION_LIMIT),
        (StopRules(action_rate=0.25), (0.5, 0.5, -0.1), StopRule.ACTION_RATE),
        (
            StopRules(workspace=Workspace((0,), (-1.0,), (0.08,))),
            (0.5, 0.5, 0.5),
            StopRule.WORKSPACE,
        ),
        (StopRules(), (0.5, 0.5, np.nan), StopRule.NON_FINITE_ACTION),
    ],
)
def test_stop_rule_holds_the_robot_instead_of_the_action_and_says_which(
    rules: StopRules, actions: tuple[float, ...], rule: StopRule
) -> None:
    robot, recorder = HeldPoint(), ListRecorder()
    result = loop.run_episode(
        robot,
        ConstantPolicy(*actions),
        config_with(rules),
        recorder,
        3,
        100,
        Pace.SIMULATED,
    )
    assert (result.steps, result.safety_violations) == (3, 1)
    assert (result.stop_rule, result.success) == (rule, False)
    assert robot.told == ["act", "act", "hold"]
    assert [step.safety_violation for step in recorder.steps] == [False, False, True]
    assert recorder.steps[-1].action[0] == 0.0


def run_with_stop_key(robot: HeldPoint, stop_key: Callable[[], bool]) -> EpisodeResult:
    """An episode of 100 steps at most, whose stop key is asked for."""
    return loop.run_episode(
        robot,
        ConstantPolicy(0.5),
        config_for(SPEC),
        None,
        3,
        100,
        Pace.SIMULATED,
        stop_key=stop_key,
    )


def test_stop_key_holds_the_robot_before_its_next_action() -> None:
    robot = HeldPoint()
    result = run_with_stop_key(robot, lambda: robot.told.count("act") == 2)
    assert (result.stop_rule, result.stopped) == (StopRule.STOP_KEY, False)
    assert robot.told == ["act", "act", "hold"]


def test_stop_key_while_the_robot_goes_to_its_start_counts_though_asked_once() -> None:
    robot, asked = HeldPoint(), iter([True])
    result = run_with_stop_key(robot, lambda: next(asked, False))
    assert (result.stop_rule, result.steps) == (StopRule.STOP_KEY, 1)
    assert robot.told == ["hold"]


def test_robot_is_held_however_an_episode_ends() -> None:
    robot = HeldPoint()
    result = loop.run_episode(
        robot, PointExpert(), config_for(SPEC), None, 3, 100, Pace.SIMULATED
    )
    assert result.success
    assert robot.told == ["act"] * result.steps + ["hold"]
    robot.told.clear()
    with pytest.raises(ActionShapeError):
        loop.run_episode(
            robot,
            ConstantPolicy(*[0.5] * 2),
            SafetyConfig("short", (-1.0,), (1.0,)),
            Failing(),
            3,
            100,
            Pace.SIMULATED,
        )
    assert robot.told == ["act", "hold"]


class Failing(ListRecorder):
    """A recorder that fails at once."""

    def append(self, step: ControlStep) -> None:
        raise ActionShapeError("recorder", "a step", "none")


def test_robot_that_exists_is_stopped_by_late_steps_and_a_simulated_one_is_not() -> (
    None
):
    pacer = SimulatedClock(0)
    slow = SlowPolicy(pacer, *[2 * SPEC.period_ns] * 30)
    result = run(slow, max_steps=30, pace=Pace.REALTIME, pacer=pacer)
    assert (result.missed_deadlines, result.stop_rule) == (30, None)
    with contextlib.closing(RealArm()) as arm:
        slow = SlowPolicy(pacer, *[2 * arm.spec.period_ns] * 30)
        slow.actions = [np.zeros(4)]
        config = config_for(arm.spec)
        result = loop.run_episode(
            arm, slow, config, None, 0, 30, Pace.REALTIME, pacer=pacer
        )
    assert result.missed_deadlines == result.steps == 10
    assert result.stop_rule is StopRule.LATE_IN_A_ROW


def test_huge_finite_action_is_clamped_and_recorded_as_finite() -> None:
    recorder = ListRecorder()
    run(ConstantPolicy(1e300), recorder=recorder, max_steps=1)
    assert recorder.steps[0].action[0] == 1.0
    assert np.isfinite(recorder.steps[0].proposed_action).all()


def test_late_action_misses_its_deadline_and_the_loop_does_not_catch_up() -> None:
    period_ns = SPEC.period_ns
    pacer = SimulatedClock(0)
    policy = SlowPolicy(pacer, 0, 3 * period_ns, period_ns // 2, period_ns, 0)
    recorder = ListRecorder()
    result = run(
        policy,
        recorder=recorder,
        max_steps=5,
        pace=Pace.REALTIME,
        pacer=pacer,
    )
    missed = [s.deadline_missed for s in recorder.steps]
    assert missed == [False, True, False, False, False]
    assert result.missed_deadlines == 1
    assert pacer.now_ns() == (1 + 3 + 1 + 1) * period_ns


def test_simulated_pace_never_misses_a_deadline() -> None:
    pacer = SimulatedClock(0)
    policy = SlowPolicy(pacer, *[10 * SPEC.period_ns] * 4)
    assert run(policy, max_steps=4, pacer=pacer).missed_deadlines == 0


def test_realtime_pace_keeps_the_period_of_the_machine_clock() -> None:
    result = run(ConstantPolicy(0.0), max_steps=4, pace=Pace.REALTIME)
    assert result.steps == 4
    assert result.times.jitter.count == 3
    assert 0.0 < result.times.latency.percentile_us(50.0) < 5_000.0
    assert result.times.work.longest_us >= result.times.latency.longest_us


def test_noise_changes_the_executed_action_but_not_the_proposed_one() -> None:
    def record_steps(sigma: float) -> list[ControlStep]:
        recorder = ListRecorder()
        noise = GaussianNoise(sigma)
        run(ConstantPolicy(0.25), recorder=recorder, max_steps=8, disturbance=noise)
        return recorder.steps

    noisy, again, clean = record_steps(0.1), record_steps(0.1), record_steps(0.0)
    assert [s.proposed_action[0] for s in noisy] == [0.25] * 8
    assert [s.action[0] for s in noisy] != [s.action[0] for s in clean]
    assert [s.action[0] for s in noisy] == [s.action[0] for s in again]


def test_failing_recorder_stops_the_robot_at_once() -> None:
    class FullDisk(ListRecorder):
        def append(self, step: ControlStep) -> None:
            if len(self.steps) == 2:
                raise OSError("disk full")
            super().append(step)

    policy = ConstantPolicy(0.0)
    with pytest.raises(OSError, match="disk full"):
        run(policy, recorder=FullDisk())
    assert policy.calls == 3


def test_safety_config_of_another_robot_is_refused_before_anything_moves() -> None:
    policy = ConstantPolicy(0.0)
    with pytest.raises(SafetyConfigError, match="expected 1 action limits"):
        run(policy, safety=SafetyConfig("x", (-1.0, -1.0), (1.0, 1.0)))
    assert policy.calls == 0


def test_policy_of_another_robot_is_refused() -> None:
    class Wide(ConstantPolicy):
        def propose(self, observation: Observation) -> np.ndarray:
            return np.zeros(4)

    with pytest.raises(ActionShapeError):
        run(Wide(0.0))


def test_control_process_does_not_load_simulator_or_trainer() -> None:
    program = (
        "import sys; import edge.control.loop, edge.robots.registry;"
        "print([m for m in ('metaworld', 'mujoco', 'jax', 'tensorflow', 'flax')"
        " if m in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"


def run_real(
    arm: RealArm, pace: Pace, pacer: Clock, recorder: StepRecorder | None = None
) -> EpisodeResult:
    return loop.run_episode(
        arm, Hand(), config_for(arm.spec), recorder, 0, 50, pace, pacer=pacer
    )


@pytest.mark.parametrize(
    ("clock", "pace", "match"),
    [
        (None, Pace.SIMULATED, "expected real time, since it is not simulated"),
        (SimulatedClock(0), Pace.REALTIME, "expected the machine's clock"),
        (SimulatedClock(0), Pace.SIMULATED, "expected real time"),
    ],
)
def test_robot_that_is_not_simulated_is_refused_before_it_moves_in_simulated_time(
    clock: Clock | None, pace: Pace, match: str
) -> None:
    pacer = SimulatedClock(0)
    with (
        contextlib.closing(RealArm(clock)) as arm,
        pytest.raises(PaceError, match=match),
    ):
        run_real(arm, pace, pacer)
    assert arm.moves == 0
    assert pacer.now_ns() == 0


@pytest.mark.parametrize("control_hz", [9.9, 200.1])
def test_robot_of_a_rate_that_control_does_not_keep_is_refused_before_it_moves(
    control_hz: float,
) -> None:
    class OtherRate(RealArm):
        @property
        def spec(self) -> RobotSpec:
            return dataclasses.replace(super().spec, control_hz=control_hz)

    with (
        contextlib.closing(OtherRate()) as arm,
        pytest.raises(PaceError, match="expected a control rate of 10 to 200 Hz"),
    ):
        run_real(arm, Pace.REALTIME, SimulatedClock(0))
    assert arm.moves == 0


def test_robot_that_is_not_simulated_waits_out_every_period() -> None:
    pacer, recorder = SimulatedClock(0), ListRecorder()
    with contextlib.closing(RealArm()) as arm:
        result = run_real(arm, Pace.REALTIME, pacer, recorder)
    assert (result.steps, arm.moves) == (50, 51)
    assert pacer.now_ns() == 49 * arm.spec.period_ns
    assert result.success is None
    assert not result.stopped


def test_wish_to_stop_ends_the_episode_with_the_step_that_runs() -> None:
    recorder = ListRecorder()
    asked = iter([False, False, True])
    result = loop.run_episode(
        SimulatedPoint(SimulatedClock(0)),
        ConstantPolicy(0.0),
        config_for(SPEC),
        recorder,
        seed=3,
        max_steps=100,
        pace=Pace.SIMULATED,
        should_stop=lambda: next(asked),
    )
    assert (result.steps, result.stopped, result.success) == (3, True, None)
    last = recorder.steps[-1]
    assert (last.is_last, last.is_terminal, last.discount) == (True, False, 1.0)


def test_episode_that_succeeds_with_the_step_that_was_to_be_its_last_succeeded() -> (
    None
):
    whole = run(PointExpert())
    steps = iter(range(1, 1000))
    result = loop.run_episode(
        SimulatedPoint(SimulatedClock(0)),
        PointExpert(),
        config_for(SPEC),
        None,
        seed=3,
        max_steps=100,
        pace=Pace.SIMULATED,
        should_stop=lambda: next(steps) == whole.steps,
    )
    assert (result.steps, result.stopped, result.success) == (whole.steps, False, True)


class SeeingPoint(SimulatedPoint):
    """A point whose camera takes no more pictures after the first step."""

    @property
    def spec(self) -> RobotSpec:
        return dataclasses.replace(SPEC, cameras=(Camera("front", 8, 8, 50.0),))

    def reset(self, seed: int) -> Observation:
        return self._see(super().reset(seed))

    def act(self, action: Vector) -> Transition:
        found = super().act(action)
        return dataclasses.replace(found, observation=self._see(found.observation))

    def _see(self, found: Observation) -> Observation:
        return dataclasses.replace(found, pictures={"front": Picture(b"jpeg", 0)})


class HearingPoint(SimulatedPoint):
    """A point whose microphone gives nothing after the first step, or nonsense."""

    def __init__(self, powers: float) -> None:
        super().__init__(SimulatedClock(0))
        self._powers = powers

    @property
    def spec(self) -> RobotSpec:
        return dataclasses.replace(SPEC, microphone=Microphone(20.0, bands=8))

    def reset(self, seed: int) -> Observation:
        return self._hear(super().reset(seed))

    def act(self, action: Vector) -> Transition:
        found = super().act(action)
        return dataclasses.replace(found, observation=self._hear(found.observation))

    def _hear(self, found: Observation) -> Observation:
        sound = Sound(np.full(8, self._powers, np.float32), 0)
        return dataclasses.replace(found, sound=sound)


@pytest.mark.parametrize(
    ("powers", "what"),
    [(-9.0, "gives no more sound"), (np.nan, "gives numbers that are no sound")],
)
def test_microphone_that_hears_no_more_is_said_once_and_tagged(
    powers: float, what: str
) -> None:
    told: list[tuple[str, str]] = []
    result = loop.run_episode(
        HearingPoint(powers),
        ConstantPolicy(0.0),
        config_for(SPEC),
        None,
        seed=3,
        max_steps=150,
        pace=Pace.SIMULATED,
        on_sense=lambda line, lost: told.append((line, lost)),
    )
    assert result.steps == 150  # the robot drives on
    assert result.tags == (MICROPHONE_TAG,)
    ((line, lost),) = told
    assert line.startswith(f"the microphone {what}: the robot drives on")
    assert lost == f"the microphone {what}"


def test_camera_that_takes_no_more_pictures_is_said_once_and_tagged() -> None:
    told: list[tuple[str, str]] = []
    result = loop.run_episode(
        SeeingPoint(SimulatedClock(0)),
        ConstantPolicy(0.0),
        config_for(SPEC),
        None,
        seed=3,
        max_steps=150,
        pace=Pace.SIMULATED,
        on_sense=lambda line, blind: told.append((line, blind)),
    )
    assert result.steps == 150  # the robot drives on
    assert result.tags == (CAMERA_TAG,)
    ((line, blind),) = told
    assert line.startswith("camera front takes no more pictures: the robot drives on")
    assert blind == "camera front takes no more pictures"
    assert run(ConstantPolicy(0.0)).tags == ()
