import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest

from edge import errors
from edge.control.package_policy import PackagePolicy, open_policy
from edge.control.step_function import StepFunction
from edge.robots.robot import Observation, Sound
from edge.testing import tiny_package, tiny_step
from edge.testing.tiny_package import Publisher
from edge.testing.tiny_step import TinyStep
from release.verification import verify_integrity
from rlds import example_codec, tfrecord
from rlds.coarse_sound import coarsen

NOT_ON_THE_ROBOT = {"jax", "jaxlib", "flax", "tensorflow", "metaworld", "mujoco"}
ONLY_FOR_BUCKETS = {
    "google.api_core",
    "google.auth",
    "google.cloud",
    "opentelemetry",
    "base.store.gcs_store",
    "requests",
    "urllib3",
}
# Peak resident memory, 90 MB. With the package below it was 69 MB in three runs.
LARGEST_CONTROL_PROCESS_KIB = 90_000_000 // 1024


@pytest.fixture
def policy(tmp_path: Path) -> PackagePolicy:
    tiny_package.write_package(tmp_path / "p")
    return open_policy(verify_integrity(tmp_path / "p"))


def test_policy_proposes_the_action_that_the_step_computes(
    policy: PackagePolicy,
) -> None:
    tiny = TinyStep(39, 4, len(tiny_package.TASKS), seed=0)
    policy.reset("push-v3")
    task = np.array([0, 1], np.float32)
    carry = np.zeros(39, np.float32)
    for state in np.random.default_rng(1).standard_normal((5, 39)).astype(np.float32):
        expected, _, carry = tiny_step.expected_step(tiny, state, task, carry)
        action = policy.propose(Observation(state, 0))
        np.testing.assert_allclose(action, expected, atol=1e-5)


def test_reset_forgets_the_last_episode(policy: PackagePolicy) -> None:
    observation = Observation(np.ones(39, np.float32), 0)
    policy.reset("push-v3")
    first = policy.propose(observation)
    policy.propose(observation)
    policy.reset("push-v3")
    np.testing.assert_array_equal(policy.propose(observation), first)


def test_unknown_task_is_refused_with_the_known_ones(policy: PackagePolicy) -> None:
    with pytest.raises(errors.UnknownTaskError, match=r"reach-v3.*'fly-v3'"):
        policy.reset("fly-v3")


def test_step_of_the_requested_form_is_run(tmp_path: Path) -> None:
    other = TinyStep(39, 4, len(tiny_package.TASKS), seed=7)
    forms = {"int8": tiny_step.build(other)}
    tiny_package.write_package(tmp_path / "p", forms=forms)
    package = verify_integrity(tmp_path / "p")
    observation = Observation(np.ones(39, np.float32), 0)
    actions = {}
    for form in (None, "int8"):
        policy = open_policy(package, form)
        policy.reset("push-v3")
        actions[form] = policy.propose(observation)
    task, carry = np.array([0, 1], np.float32), np.zeros(39, np.float32)
    tiny = TinyStep(39, 4, len(tiny_package.TASKS), seed=0)
    assert not np.allclose(actions[None], actions["int8"], atol=1e-3)
    expected, _, _ = tiny_step.expected_step(tiny, observation.state, task, carry)
    np.testing.assert_allclose(actions[None], expected, atol=1e-5)


def test_form_that_the_package_lacks_is_refused_with_the_forms_it_has(
    tmp_path: Path,
) -> None:
    tiny_package.write_package(tmp_path / "p")
    with pytest.raises(errors.StepFunctionError, match=r"'step_int8', got \['step'\]"):
        open_policy(verify_integrity(tmp_path / "p"), "int8")
    step = TinyStep(39, 4, len(tiny_package.TASKS))
    forms = {name: tiny_step.build(step) for name in ("int8", "f32")}
    tiny_package.write_package(tmp_path / "q", forms=forms)
    match = r"the forms of its step are f32, int8 \(--step\)"
    with pytest.raises(errors.StepFunctionError, match=match):
        open_policy(verify_integrity(tmp_path / "q"), "int4")


def test_weights_without_a_carry_are_refused(tmp_path: Path) -> None:
    step = TinyStep(39, 4, len(tiny_package.TASKS))
    tiny_package.write_package(tmp_path / "p", tensors=step.surfaces())
    with pytest.raises(errors.StepFunctionError, match="vector 'carry', got none"):
        open_policy(verify_integrity(tmp_path / "p"))


def test_weights_that_are_not_safetensors_are_refused(tmp_path: Path) -> None:
    tiny_package.write_package(tmp_path / "p", weights=b"\xff" * 64)
    with pytest.raises(errors.StepFunctionError, match="expected safetensors"):
        open_policy(verify_integrity(tmp_path / "p"))


@pytest.mark.parametrize("bands", [3, 8])
def test_package_that_hears_gets_the_sound_that_leaves_robots(bands: int) -> None:
    tiny = TinyStep(39, 4, len(tiny_package.TASKS), sound_size=bands)
    step = StepFunction(tiny_step.build(tiny), tiny.surfaces(), "tiny")
    carry = np.zeros(39, np.float32)
    policy = PackagePolicy(step, tiny_package.TASKS, carry, "tiny", bands=bands)
    policy.reset("reach-v3")
    state, task = np.ones(39, np.float32), np.array([1, 0], np.float32)
    random = np.random.default_rng(3)
    powers = random.uniform(-20, -1, (60, bands)).astype(np.float32)
    powers[40:] = np.nan  # its driver goes wrong, and the robot goes on
    times_ns = np.arange(60) * 50_000_000
    known = coarsen(np.nan_to_num(powers), times_ns)
    for now_ns, one, sound in zip(times_ns.tolist(), powers, known, strict=True):
        seen = Observation(state, now_ns, sound=Sound(one, now_ns))
        expected, _, carry = tiny_step.expected_step(tiny, state, task, carry, sound)
        np.testing.assert_allclose(policy.propose(seen), expected, atol=1e-4)


def test_package_that_states_another_number_of_bands_is_refused() -> None:
    tiny = TinyStep(39, 4, len(tiny_package.TASKS), sound_size=8)
    step = StepFunction(tiny_step.build(tiny), tiny.surfaces(), "tiny")
    match = r"observation_audio_mel of 8 numbers.*got sound of 3 in package.json"
    with pytest.raises(errors.StepFunctionError, match=match):
        PackagePolicy(
            step, tiny_package.TASKS, np.zeros(39, np.float32), "tiny", bands=3
        )


def test_control_process_is_small_and_loads_no_training_or_bucket_code(
    tmp_path: Path,
) -> None:
    publisher = Publisher(tmp_path)
    publisher.release(0, now=datetime.now(UTC))
    episode = tmp_path / "episode.tfrecord"
    recorded = tiny_package.episode(seed=5, steps=3)
    episode.write_bytes(tfrecord.frame(example_codec.encode(recorded)))
    program = (
        "import sys\n"
        "from absl import flags\n"
        "from edge import run\n"
        "run.main(flags.FLAGS(sys.argv))\n"
        "print(open('/proc/self/status').read().split('VmHWM:')[1].split()[0])\n"
        "print(' '.join(sorted(sys.modules)))\n"
    )
    done = subprocess.run(
        [
            *(sys.executable, "-c", program),
            f"--channel={publisher.channel_uri}",
            f"--keyring={publisher.keyring()}",
            f"--state_dir={tmp_path / 'state'}",
            f"--robot=replay:{episode}",
            "--pace=simulated",
        ],
        env={"PYTHONPATH": ":".join(sys.path)},
        check=True,
        capture_output=True,
        text=True,
    )
    assert "release 1: installed" in done.stderr
    *_, peak_kib, modules = done.stdout.splitlines()
    assert int(peak_kib) < LARGEST_CONTROL_PROCESS_KIB
    loaded = set(modules.split())
    assert {"ai_edge_litert", "base.store.store"} <= loaded
    assert loaded.isdisjoint(NOT_ON_THE_ROBOT | ONLY_FOR_BUCKETS)
