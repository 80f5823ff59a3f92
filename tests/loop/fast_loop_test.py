"""The fast loop of a package that the forge exported, in the robot's control."""

import itertools
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import safetensors.numpy

from cloud.testing import exported_package
from edge.control.fast_loop import FastLoop, open_fast_loop
from edge.control.package_policy import PackagePolicy, open_policy
from edge.robots.robot import Observation
from model.export import stablehlo
from release.package import WEIGHTS
from release.verification import IntactPackage, verify_integrity

STEPS = 8
EPISODE = 11
Arrays = dict[str, Any]


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> IntactPackage:
    folder = tmp_path_factory.mktemp("exported") / "pi5-cpu"
    return verify_integrity(exported_package.copy(folder).folder)


def drive(
    package: IntactPackage, states: np.ndarray
) -> Iterator[tuple[FastLoop, PackagePolicy]]:
    """Lets control learn along the states, and stops after each step."""
    policy = open_policy(package)
    loop = open_fast_loop(package, policy, None, pytest.fail)
    assert loop is not None
    policy.reset(policy.tasks[1])
    loop.begin()
    loop.is_allowed = True
    for state, following in itertools.pairwise(states):
        policy.propose(Observation(state, 0))
        loop.learn(state, following, None)
        yield loop, policy


def test_control_learns_what_jax_learns_from_the_same_steps(
    package: IntactPackage,
) -> None:
    path = package.path(package.manifest.functions["fast_update"].path)
    update = stablehlo.load(path.read_bytes())
    weights = safetensors.numpy.load_file(package.path(WEIGHTS))
    deltas: Arrays = {
        name: np.zeros(one.size, np.float32)
        for name, one in package.manifest.surfaces.items()
    }
    # A sensor that drifts, which the world model does not expect.
    random = np.random.default_rng(2)
    states = random.standard_normal((EPISODE + 1, 4)).astype(np.float32)
    states += np.linspace(0, 3, EPISODE + 1, dtype=np.float32)[:, None]
    carries = [weights["carry"]]
    for number, (loop, policy) in enumerate(drive(package, states), start=1):
        assert loop.calls == max(0, number - STEPS + 1)
        carries.append(policy._carry)
        if number < STEPS:
            continue
        first = number - STEPS
        found = update(
            weights=weights,
            deltas=deltas,
            window={
                "states": states[first : number + 1],
                "task": np.tile(np.eye(2, dtype=np.float32)[1], (STEPS, 1)),
                "starts": np.arange(first, number) == 0,
                "weight": np.ones(STEPS, np.float32),
                "carry": carries[first],
            },
        )
        deltas |= {name: np.asarray(x) for name, x in found["deltas"].items()}
        for name, delta in deltas.items():
            np.testing.assert_allclose(loop._deltas[name], delta, atol=1e-5)
    assert loop.updates == loop.calls == EPISODE - STEPS + 1
    assert np.abs(deltas["calibration"]).max() > 1e-3


def test_what_was_learned_changes_the_action_until_the_episode_ends(
    package: IntactPackage,
) -> None:
    states = np.linspace(0, 3, 12 * 4, dtype=np.float32).reshape(12, 4)
    *_, (loop, policy) = drive(package, states)
    assert loop.updates > 0
    seen = Observation(states[0], 0)
    actions = []
    ends: tuple[Callable[[], object], ...] = (lambda: None, loop.end)
    for end in ends:
        end()
        policy.reset(policy.tasks[1])
        actions.append(policy.propose(seen))
    own = open_policy(package)
    own.reset(own.tasks[1])
    np.testing.assert_array_equal(actions[1], own.propose(seen))
    assert np.abs(actions[0] - actions[1]).max() > 1e-5
