"""The fast loop changes what drives within an episode, and leaves nothing behind."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest

from edge.control import fast_loop
from edge.control.fast_loop import FastLoop, fits, open_fast_loop
from edge.control.fast_update import FastUpdate, Updated
from edge.control.loop import Pace, run_episode
from edge.control.package_policy import PackagePolicy, open_policy
from edge.control.safety import config_for
from edge.robots.clock import SimulatedClock
from edge.robots.robot import Observation, RobotSpec, Transition, Vector
from edge.testing import tiny_fast_update, tiny_package, tiny_step
from edge.testing.tiny_fast_update import STEPS
from edge.testing.tiny_step import TinyStep
from release.verification import IntactPackage, verify_integrity

TINY = TinyStep(tiny_package.STATE_SIZE, tiny_package.ACTION_SIZE, 2, seed=0)
TASK = np.array([1, 0], np.float32)
MS = 1_000_000
CALLS = 3


@pytest.fixture
def package(tmp_path: Path) -> IntactPackage:
    tiny_package.write_package(tmp_path / "p", fast=True)
    return verify_integrity(tmp_path / "p")


class Driven:
    """A policy with its fast loop, and the states that it is driven through."""

    def __init__(self, package: IntactPackage) -> None:
        self.said: list[str] = []
        self.policy: PackagePolicy = open_policy(package)
        loop = open_fast_loop(package, self.policy, None, self.said.append, CALLS)
        assert loop is not None
        self.loop: FastLoop = loop
        # Whatever the machine does meanwhile, a call takes no time unless it says so.
        self.clock = SimulatedClock(0)
        loop._now_ns, loop._took_ns = self.clock.now_ns, 0.0
        self.loop.is_allowed = True
        self.states = np.random.default_rng(5).standard_normal((40, 39))
        self.states = (0.01 * self.states).astype(np.float32)

    def begin(self) -> None:
        self.policy.reset("reach-v3")
        self.loop.begin()

    def drive(self, begin: int, end: int, left_ns: int | None = None) -> None:
        for t in range(begin, end):
            self.policy.propose(Observation(self.states[t], 0))
            self.loop.learn(self.states[t], self.states[t + 1], left_ns)

    def propose(self) -> Vector:
        """What it does now in a state that tells calibrations apart."""
        self.policy.reset("reach-v3")
        return self.policy.propose(Observation(np.ones(39, np.float32), 0))


def expected_action(delta: Vector) -> Vector:
    state = np.ones(39, np.float32) + delta
    carry = np.zeros(39, np.float32)
    action: Vector = tiny_step.expected_step(TINY, state, TASK, carry)[0]
    return action


def test_policy_drives_with_what_the_last_steps_showed(package: IntactPackage) -> None:
    driven = Driven(package)
    driven.begin()
    driven.drive(0, STEPS - 1)
    assert driven.loop.calls == 0, "the window is not full"
    driven.drive(STEPS - 1, STEPS + 4)
    assert driven.loop.updates == driven.loop.calls == 5 * CALLS
    assert driven.loop.processor_s > 0
    delta = np.zeros(39, np.float32)
    for t in range(STEPS, STEPS + 5):
        for _ in range(CALLS):
            delta, _ = tiny_fast_update.expected_delta(
                TINY, delta, driven.states[t - STEPS : t + 1]
            )
    assert np.linalg.norm(delta) > 0.1
    np.testing.assert_allclose(driven.propose(), expected_action(delta), atol=1e-5)


def test_end_of_an_episode_drops_what_was_found(package: IntactPackage) -> None:
    driven = Driven(package)
    before = driven.propose()
    driven.begin()
    driven.drive(0, 20)
    assert np.abs(driven.propose() - before).max() > 1e-3
    driven.loop.end()
    np.testing.assert_array_equal(driven.propose(), before)
    driven.begin()
    driven.drive(20, 20 + STEPS - 1)
    calls = CALLS * (20 - STEPS + 1)
    assert driven.loop.calls == calls, "nor does the window go on"


def test_steps_of_a_person_are_not_learned_from_and_the_window_begins_anew(
    package: IntactPackage,
) -> None:
    driven = Driven(package)
    driven.begin()
    driven.drive(0, 2)
    driven.loop.skip()
    driven.drive(3, 3 + STEPS - 1)
    assert driven.loop.calls == 0, "the window is not full again"
    driven.drive(3 + STEPS - 1, 3 + STEPS)
    assert driven.loop.updates == driven.loop.calls == CALLS
    delta = np.zeros(39, np.float32)
    for _ in range(CALLS):
        delta, _ = tiny_fast_update.expected_delta(
            TINY, delta, driven.states[3 : 3 + STEPS + 1]
        )
    np.testing.assert_allclose(driven.propose(), expected_action(delta), atol=1e-5)


def test_loop_that_is_not_allowed_does_nothing(package: IntactPackage) -> None:
    driven = Driven(package)
    before = driven.propose()
    driven.loop.is_allowed = False
    driven.begin()
    driven.drive(0, 20)
    assert driven.loop.calls == driven.loop.skipped == 0
    np.testing.assert_array_equal(driven.propose(), before)
    driven.loop.is_allowed = True
    driven.drive(20, 21)
    assert driven.loop.calls == CALLS, "the window was kept meanwhile"


@pytest.mark.parametrize(("left_ms", "calls"), [(2, 1), (3, 2), (4, 3), (50, CALLS)])
def test_as_many_calls_follow_each_other_as_fit_before_the_next_step(
    package: IntactPackage, monkeypatch: pytest.MonkeyPatch, left_ms: int, calls: int
) -> None:
    driven = Driven(package)
    call = FastUpdate.__call__

    def call_for_a_while(
        update: FastUpdate, deltas: Mapping[str, Vector], window: Mapping[str, Vector]
    ) -> Updated:
        driven.clock.advance(MS)
        return call(update, deltas, window)

    monkeypatch.setattr(FastUpdate, "__call__", call_for_a_while)
    driven.loop._took_ns = 1.0 * MS
    driven.begin()
    driven.drive(0, STEPS, left_ns=left_ms * MS)
    assert driven.loop.calls == driven.loop.updates == calls
    assert not driven.said


def test_call_that_finds_nothing_is_the_last_of_its_step(
    package: IntactPackage, monkeypatch: pytest.MonkeyPatch
) -> None:
    driven = Driven(package)

    def find_nothing(
        update: FastUpdate, deltas: Mapping[str, Vector], window: Mapping[str, Vector]
    ) -> Updated:
        return Updated({}, 1.0, 1.0, refused=False)

    monkeypatch.setattr(FastUpdate, "__call__", find_nothing)
    driven.begin()
    driven.drive(0, STEPS + 2)
    assert (driven.loop.calls, driven.loop.updates) == (3, 0)


def test_step_without_time_is_skipped_and_an_old_long_call_is_forgotten(
    package: IntactPackage,
) -> None:
    driven = Driven(package)
    driven.begin()
    driven.loop._took_ns = 30.0 * MS  # as one call on a busy machine
    driven.drive(0, STEPS + 9, left_ns=20 * MS)
    assert (driven.loop.calls, driven.loop.skipped) == (0, 10)
    driven.drive(STEPS + 9, 35, left_ns=20 * MS)
    assert driven.loop.calls > 0
    assert 20 < driven.loop.skipped < 30
    steps = 35 - STEPS + 1 - driven.loop.skipped
    assert driven.loop.calls == CALLS * steps


def test_time_that_is_left_must_hold_a_call_and_the_reserve() -> None:
    assert fits(None, 1e12)
    assert fits(5 * MS, 4.0 * MS)
    assert not fits(5 * MS, 4.0 * MS + 1)
    assert not fits(-1, 0.0)


@pytest.mark.parametrize(
    ("bad", "why"), [(np.nan, "a length of nan"), (1e4, "within its bound")]
)
def test_bad_update_switches_the_loop_off_until_the_next_episode(
    package: IntactPackage, bad: float, why: str
) -> None:
    driven = Driven(package)
    before = driven.propose()
    driven.begin()
    driven.drive(0, 20)
    updates = CALLS * (20 - STEPS + 1)
    assert driven.loop.updates == updates
    driven.states[21, 3] = bad
    driven.drive(20, 30)
    assert driven.loop.calls == updates + 1, "the bad one is the last"
    assert driven.loop.updates == updates
    (line,) = driven.said
    assert line.startswith("the fast loop is off until the next episode: ")
    assert why in line
    assert driven.loop.trouble in line
    np.testing.assert_array_equal(driven.propose(), before)
    driven.begin()
    driven.drive(0, 20)
    assert driven.loop.trouble == ""
    assert driven.loop.updates == 2 * updates


def test_call_that_holds_up_the_next_step_is_the_last_of_its_episode(
    package: IntactPackage, monkeypatch: pytest.MonkeyPatch
) -> None:
    driven = Driven(package)
    before = driven.propose()
    driven.begin()
    call = FastUpdate.__call__

    def call_slowly(
        update: FastUpdate, deltas: Mapping[str, Vector], window: Mapping[str, Vector]
    ) -> Updated:
        driven.clock.advance(4 * MS)
        return call(update, deltas, window)

    monkeypatch.setattr(FastUpdate, "__call__", call_slowly)
    driven.loop._took_ns = 1.0 * MS  # as calls took before
    driven.drive(0, 20, left_ns=3 * MS)
    assert driven.loop.calls == 1
    (line,) = driven.said
    assert line == (
        "the fast loop is off until the next episode: "
        "a call took 4.0 ms, 3.0 ms were left"
    )
    np.testing.assert_array_equal(driven.propose(), before)


def test_package_without_a_fast_loop_for_control_has_none(tmp_path: Path) -> None:
    tiny_package.write_package(tmp_path / "p")
    package = verify_integrity(tmp_path / "p")
    assert open_fast_loop(package, open_policy(package), None, print) is None


class Shaking:
    """A robot whose state is drawn from its seed."""

    def __init__(self) -> None:
        self.spec: RobotSpec = tiny_package.SPEC
        self.clock = SimulatedClock(0)
        self._random = np.random.default_rng(0)

    def _sense(self) -> Observation:
        state = 0.01 * self._random.standard_normal(39).astype(np.float32)
        return Observation(state, self.clock.now_ns())

    def reset(self, seed: int) -> Observation:
        self._random = np.random.default_rng(seed)
        return self._sense()

    def act(self, action: Vector) -> Transition:
        self.clock.advance(self.spec.period_ns)
        return Transition(self._sense(), 0.0, success=False, terminal=False)

    def hold(self) -> None:
        pass

    def close(self) -> None:
        pass


@pytest.mark.parametrize("pace", list(Pace))
def test_episode_runs_the_loop_after_each_step_and_ends_it(
    package: IntactPackage, pace: Pace
) -> None:
    driven, robot = Driven(package), Shaking()
    before = driven.propose()
    result = run_episode(
        robot,
        driven.policy,
        config_for(robot.spec),
        None,
        0,
        12,
        pace,
        fast_loop=driven.loop,
        # It moves only when somebody waits: calls take no time on it.
        pacer=SimulatedClock(0),
    )
    assert result.steps == 12
    # Not after the last step: nothing is driven with what it would find.
    calls = CALLS * (12 - 1 - STEPS + 1)
    assert driven.loop.calls == driven.loop.updates == calls
    assert not driven.said
    np.testing.assert_array_equal(driven.propose(), before)


def test_share_that_is_forgotten_lets_a_call_twice_too_long_try_again() -> None:
    assert fast_loop.FORGETS**35 < 0.5
