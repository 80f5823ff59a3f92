"""What is compared, and what a new package is refused for."""

import dataclasses
import os
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edge.control.package_policy import PackagePolicy, open_policy
from edge.ota import comparison, errors
from edge.ota.comparison import Comparison, Trace, compare, require_as_good
from edge.robots.robot import Observation, Vector
from edge.testing import tiny_package
from release import canary
from release.verification import IntactPackage, verify_integrity
from rlds import example_codec, sealing, tfrecord
from rlds.episode import Episode

HZ = 80.0
PERIOD_S = 1 / HZ
QUICK = Trace(canary_error=0.1, own_error=0.1, step_p99_s=PERIOD_S / 100)


def open_package(
    folder: Path, seed: int, **options: Any
) -> tuple[IntactPackage, PackagePolicy]:
    tiny_package.write_package(folder / str(seed), seed, **options)
    package = verify_integrity(folder / str(seed))
    return package, open_policy(package)


def drive(policy: PackagePolicy, seed: int, steps: int = 12) -> Episode:
    """An episode of random observations in which the policy drove."""
    drawn = tiny_package.episode(seed=seed, steps=steps)
    actions = comparison._propose(policy, drawn)
    made = {
        **drawn.steps,
        "action": np.clip(actions, -1, 1),
        "proposed_action": actions,
    }
    return Episode(spec=drawn.spec, metadata=drawn.metadata, steps=made)


def test_package_is_as_good_as_itself_and_its_own_episodes_have_no_error(
    tmp_path: Path,
) -> None:
    package, policy = open_package(tmp_path, 0)
    found = compare(package, policy, policy, [drive(policy, 7)], HZ)
    assert found.active is not None
    assert found.new.own_error == found.active.own_error == 0.0
    assert found.new.canary_error == found.active.canary_error
    assert found.new.canary_error is not None
    assert 0.3 < found.new.canary_error < 1.0
    assert 0 < found.new.step_p99_s < PERIOD_S
    require_as_good("package", found)
    assert set(found.as_figures()) == {
        f"{who}_{what}"
        for who in ("new", "active")
        for what in ("canary_error", "own_error", "step_p99_s")
    }


def test_package_that_does_something_else_on_own_episodes_is_refused(
    tmp_path: Path,
) -> None:
    package, policy = open_package(tmp_path, 1)
    _, active = open_package(tmp_path, 0)
    found = compare(package, policy, active, [drive(active, 7)], HZ)
    with pytest.raises(errors.WorseThanActiveError, match="this robot's own episodes"):
        require_as_good("package", found)
    require_as_good("package", compare(package, policy, active, [], HZ))


@pytest.mark.parametrize("robot_model", ["panda", "sawyer"])
def test_episode_of_another_robot_model_is_not_taken(
    tmp_path: Path, robot_model: str
) -> None:
    package, policy = open_package(tmp_path, 1)
    _, active = open_package(tmp_path, 0)
    own = drive(active, 7)
    metadata = dataclasses.replace(own.metadata, robot_model=robot_model)
    own = dataclasses.replace(own, metadata=metadata)
    found = compare(package, policy, active, [own], HZ)
    assert (found.new.own_error is None) is (robot_model == "panda")
    assert found.new.canary_error is not None


class Counting:
    """A policy that counts what it is asked."""

    def __init__(self, policy: PackagePolicy) -> None:
        self.policy, self.asked = policy, 0
        self.tasks = policy.tasks
        self.state_size, self.action_size = policy.state_size, policy.action_size

    def reset(self, task: str) -> None:
        self.policy.reset(task)

    def propose(self, observation: Observation) -> Vector:
        self.asked += 1
        return self.policy.propose(observation)


def test_long_own_episodes_are_shortened_to_what_half_the_period_a_step_has_time_for(
    tmp_path: Path,
) -> None:
    package, policy = open_package(tmp_path, 0)
    counting: Any = Counting(policy)
    canary_steps = canary.read(package.path(canary.FILE)).steps
    own = [
        drive(policy, seed, steps=1000) for seed in range(comparison.MOST_OWN_EPISODES)
    ]
    hz = 20.0
    found = compare(package, counting, policy, own, hz)
    assert found.new.own_error == 0.0, "from the begin of each on"
    times = 5 + 1  # of each step: five passes, and its error
    asked = 2 * (counting.asked - times * canary_steps)
    assert 0.99 * 300.0 < asked * 0.5 / hz <= 300.0


def test_episodes_share_the_time_and_those_that_need_less_leave_it_to_longer_ones() -> (
    None
):
    episodes = [tiny_package.episode(seed, steps=n) for seed, n in enumerate((9, 2, 5))]
    for most, lengths in (
        (16, [9, 2, 5]),
        (14, [7, 2, 5]),
        (10, [4, 2, 4]),
        (3, [1, 1, 1]),
        (2, [1, 1]),
    ):
        found = comparison.shorten(episodes, most)
        assert [one.num_steps for one in found] == lengths
        for short, whole in zip(found, episodes, strict=False):
            states = whole.steps["observation/state"][: short.num_steps]
            np.testing.assert_array_equal(short.steps["observation/state"], states)


@pytest.mark.parametrize("packages", ["of another task", "of another size", "none"])
def test_without_anything_in_common_only_the_time_is_compared(
    tmp_path: Path, packages: str
) -> None:
    package, policy = open_package(tmp_path, 1)
    active = None
    if packages == "of another task":
        tiny_package.write_package(tmp_path / "a", tasks=["open-v3"])
        active = open_policy(verify_integrity(tmp_path / "a"))
    if packages == "of another size":
        _, active = open_package(tmp_path, 2, state_size=38)
    found = compare(package, policy, active, [], HZ)
    assert found.active is None
    assert found.new.step_p99_s > 0
    require_as_good("package", found)


@pytest.mark.parametrize(
    ("new", "active", "error"),
    [
        (Trace(0.46, None, 1e-4), Trace(0.1, None, 1e-4), errors.WorseThanActiveError),
        (Trace(0.1, 0.46, 1e-4), Trace(0.1, 0.1, 1e-4), errors.WorseThanActiveError),
        (
            Trace(float("nan"), None, 0),
            Trace(0.1, None, 0),
            errors.WorseThanActiveError,
        ),
        (Trace(0.1, None, 0.51 * PERIOD_S), None, errors.SlowStepError),
        (
            Trace(0.1, None, 0.51 * PERIOD_S),
            Trace(0.1, None, 0.4 * PERIOD_S),
            errors.SlowStepError,
        ),
        (
            Trace(0.1, None, 1.3 * PERIOD_S),
            Trace(0.1, None, PERIOD_S),
            errors.SlowStepError,
        ),
        (
            Trace(0.1, None, 0.31 * PERIOD_S),
            Trace(0.1, None, 0.1 * PERIOD_S),
            errors.SlowStepError,
        ),
    ],
)
def test_package_that_is_worse_or_slower_than_it_may_be_is_refused(
    new: Trace, active: Trace | None, error: type[Exception]
) -> None:
    with pytest.raises(error, match="nothing changes on this robot"):
        require_as_good("package", Comparison(new, active, PERIOD_S))


@pytest.mark.parametrize(
    ("new", "active"),
    [
        (Trace(0.44, 0.44, 1e-4), Trace(0.1, 0.1, 1e-4)),
        (Trace(2.0, None, 1e-4), None),
        (Trace(0.1, None, 0.09 * PERIOD_S), Trace(0.1, None, 1e-6)),
        (Trace(0.1, None, 0.29 * PERIOD_S), Trace(0.1, None, 0.1 * PERIOD_S)),
        # The machine is so busy that the active package would be late as well.
        (Trace(0.1, None, 1.1 * PERIOD_S), Trace(0.1, None, PERIOD_S)),
        (QUICK, QUICK),
    ],
)
def test_package_within_the_limits_passes(new: Trace, active: Trace | None) -> None:
    require_as_good("package", Comparison(new, active, PERIOD_S))


class BusyMachine:
    """A clock on a machine where others run: they interrupt one step of so many."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, every: int) -> None:
        self.now_ns = self.looks = 0
        self._every = every
        monkeypatch.setattr(time, "perf_counter_ns", self.look)

    def look(self) -> int:
        self.looks += 1
        self.now_ns += 50_000
        if self.looks % self._every == 0:
            self.now_ns += 20_000_000
        return self.now_ns


class Slow:
    """A policy of which some steps of each episode take long."""

    def __init__(
        self, policy: PackagePolicy, machine: BusyMachine, share: float, slow_ns: int
    ) -> None:
        self._policy, self._machine = policy, machine
        self._every, self._slow_ns = round(1 / share), slow_ns
        self._step = 0
        self.tasks = policy.tasks
        self.state_size, self.action_size = policy.state_size, policy.action_size

    def reset(self, task: str) -> None:
        self._policy.reset(task)
        self._step = 0

    def propose(self, observation: Observation) -> Vector:
        self._step += 1
        if self._step % self._every == 0:
            self._machine.now_ns += self._slow_ns
        return self._policy.propose(observation)


@pytest.mark.parametrize("has_active", [True, False])
def test_healthy_package_passes_on_a_machine_that_interrupts_its_steps(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, has_active: bool
) -> None:
    package, policy = open_package(tmp_path, 0)
    BusyMachine(monkeypatch, every=37)  # one step of nineteen
    own = [drive(policy, 7)]
    found = compare(package, policy, policy if has_active else None, own, HZ)
    require_as_good("package", found)
    assert found.new.step_p99_s == pytest.approx(50e-6)


@pytest.mark.parametrize(("share", "slow_ms"), [(1.0, 4.0), (1.0, 8.0), (0.1, 8.0)])
@pytest.mark.parametrize("every", [37, 10**9])
def test_slow_package_is_refused_on_a_busy_machine_and_on_an_idle_one(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    share: float,
    slow_ms: float,
    every: int,
) -> None:
    package, policy = open_package(tmp_path, 0)
    own = [drive(policy, 7)]
    machine = BusyMachine(monkeypatch, every)
    slow: Any = Slow(policy, machine, share, int(slow_ms * 1e6))
    found = compare(package, slow, policy, own, HZ)
    assert found.active is not None
    assert found.active.step_p99_s == pytest.approx(50e-6)
    with pytest.raises(errors.SlowStepError, match="nothing changes on this robot"):
        require_as_good("package", found)


def test_package_as_quick_as_the_active_one_passes_where_every_step_is_interrupted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package, policy = open_package(tmp_path, 0)
    BusyMachine(monkeypatch, every=1)
    found = compare(package, policy, policy, [drive(policy, 7)], HZ)
    assert found.new.step_p99_s > PERIOD_S
    require_as_good("package", found)


def test_own_episodes_are_read_with_the_key_of_the_device_and_left_out_without(
    tmp_path: Path,
) -> None:
    sealing.use(sealing.DeviceKey(bytes(32)))
    raw = tfrecord.frame(example_codec.encode(tiny_package.episode(seed=1)))
    (tmp_path / "1.tfrecord").write_bytes(sealing.seal(raw))
    (tmp_path / "2.tfrecord").write_bytes(raw)
    assert len(comparison.read_own_episodes(tmp_path)) == 2
    sealing.use(None)
    assert len(comparison.read_own_episodes(tmp_path)) == 1


def test_newest_own_episodes_are_read_and_what_is_no_episode_is_left_out(
    tmp_path: Path,
) -> None:
    assert comparison.read_own_episodes(tmp_path / "absent") == []
    (tmp_path / "new").mkdir()
    for number in range(5):
        folder = tmp_path / "new" if number % 2 else tmp_path
        path = folder / f"{number}.tfrecord"
        one = tiny_package.episode(seed=number)
        path.write_bytes(tfrecord.frame(example_codec.encode(one)))
        os.utime(path, (1000 + number, 1000 + number))
    (tmp_path / "torn.tfrecord").write_bytes(b"torn")
    (tmp_path / "empty.tfrecord").write_bytes(b"")
    (tmp_path / "folder.tfrecord").mkdir()
    (tmp_path / "link.tfrecord").symlink_to("nowhere")
    found = comparison.read_own_episodes(tmp_path, most=3)
    ids = [int(one.metadata.episode_id[-12:]) for one in found]
    assert ids == [4, 3, 2]
