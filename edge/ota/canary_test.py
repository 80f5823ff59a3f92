import os
import signal
import time
from pathlib import Path

import numpy as np
import pytest

from base import durable_file
from edge.control.package_policy import open_policy
from edge.ota import canary, errors
from edge.ota.canary import Measurement
from edge.testing import process_tree, tiny_package, tiny_step
from release.canary import Expectation
from release.verification import verify_integrity

EXPECTED = Expectation(action_error=0.5, tolerance=0.01, steps=20)


def test_measurement_within_the_tolerance_is_accepted() -> None:
    canary.judge("package", EXPECTED, Measurement(0.505, 20))


@pytest.mark.parametrize(
    "measured",
    [
        Measurement(0.52, 20),
        Measurement(0.48, 20),
        Measurement(float("nan"), 20),
        Measurement(float("inf"), 20),
        Measurement(0.5, 19),
    ],
)
def test_measurement_outside_the_tolerance_is_refused(measured: Measurement) -> None:
    with pytest.raises(errors.CanaryError, match="nothing changes on this robot"):
        canary.judge("package", EXPECTED, measured)


def test_package_with_the_stated_error_is_healthy(tmp_path: Path) -> None:
    tiny_package.write_package(tmp_path / "p")
    package = verify_integrity(tmp_path / "p")
    measured = canary.require_healthy(package, open_policy(package))
    assert measured.steps == 24


def test_package_that_states_another_error_is_refused(tmp_path: Path) -> None:
    tiny_package.write_package(tmp_path / "p", action_error=0.0)
    package = verify_integrity(tmp_path / "p")
    with pytest.raises(errors.CanaryError, match="canary action error of 0 within"):
        canary.require_healthy(package, open_policy(package))


def test_package_whose_actions_overflow_is_refused(tmp_path: Path) -> None:
    step = tiny_step.TinyStep(39, 4, 2, gain=6e37)
    tiny_package.write_package(tmp_path / "p", step_bytes=tiny_step.build(step))
    package = verify_integrity(tmp_path / "p")
    with pytest.raises(errors.CanaryError, match="finite actions"):
        canary.require_healthy(package, open_policy(package))


@pytest.mark.parametrize(
    ("number", "passes"),
    [(signal.SIGSEGV, False), (signal.SIGABRT, False), (signal.SIGKILL, True)],
)
def test_step_that_kills_its_process_is_refused_and_this_one_lives(
    number: signal.Signals, passes: bool
) -> None:
    """SIGKILL is how the system ends a process when memory runs out; that may pass."""
    match = f"got signal {number}; nothing changes"
    with pytest.raises(errors.CanaryError, match=match) as caught:
        canary.require_survival("p", lambda: os.kill(os.getpid(), number))
    assert isinstance(caught.value, errors.TrialCutShortError) == passes


def test_trial_is_what_the_system_ends_first_when_memory_runs_out() -> None:
    def check() -> None:
        if Path("/proc/self/oom_score_adj").read_text() != "1000\n":
            os.abort()

    canary.require_survival("p", check)
    assert Path("/proc/self/oom_score_adj").read_text() != "1000\n"


def test_step_that_never_ends_is_stopped_in_time() -> None:
    def never_end() -> None:
        while True:
            pass

    begin_s = time.monotonic()
    match = r"within 0\.1 s, got no end"
    with pytest.raises(errors.TrialCutShortError, match=match):
        canary.require_survival("p", never_end, longest_s=0.1)
    assert time.monotonic() - begin_s < 60.0


def test_trial_ends_with_the_process_that_began_it(tmp_path: Path) -> None:
    """It holds the locks of its parent, which would keep the next updater out."""
    path = tmp_path / "pid"

    def never_end() -> None:
        durable_file.write(path, str(os.getpid()).encode())
        while True:
            time.sleep(60)

    updater = os.fork()
    if updater == 0:
        try:
            canary.require_survival("p", never_end)
        finally:
            os._exit(1)
    try:
        process_tree.wait_until(path.exists)
    finally:
        os.kill(updater, signal.SIGKILL)
        os.waitpid(updater, 0)
    process_tree.wait_until(lambda: not process_tree.is_alive(int(path.read_text())))


@pytest.mark.parametrize("error", [None, ValueError, SystemExit])
def test_what_the_child_raises_is_left_to_the_caller(
    error: type[BaseException] | None,
) -> None:
    def work() -> None:
        if error is not None:
            raise error

    canary.require_survival("p", work)


def test_carry_is_reset_before_each_episode(
    tmp_path: Path,
) -> None:
    tiny_package.write_package(tmp_path / "p")
    policy = open_policy(verify_integrity(tmp_path / "p"))
    episode = tiny_package.episode(seed=3)
    first = canary.propose_all(policy, episode)
    again = canary.propose_all(policy, episode)
    np.testing.assert_array_equal(first, again)
