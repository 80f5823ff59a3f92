from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from edge.loops import calls
from edge.loops.memory_arrays import Arrays
from model import step_function, surfaces
from model.export import functions
from model.learn import consolidation
from model.learn.bounded_descent import join
from model.learn.memories import KNOWN, LIVED, SEEN
from model.testing import damped_point, small_models
from model.testing.remembered import Remembered, fill
from release.learning_plan import Calls
from tests.benchmarks import candidate_nights
from tests.benchmarks.candidate_nights import Candidate, Known, Nights

ROOM, STEPS = 12, 12
BATCH = consolidation.Batch(windows=2, steps=STEPS)
LOOP = tuple(
    Calls(f"{functions.CONSOLIDATE}_{name}", count)
    for name, count in (
        ("begin", 1),
        ("compare", 1),
        ("step", 2),
        ("judge", 1),
        ("identify", 2),
        ("imagine", 1),
        ("step", 8),
        ("end", 1),
    )
)


def remember(*kinds: int, seed: int = 1) -> Arrays:
    driven = damped_point.drive(len(kinds), STEPS, seed)
    reach = small_models.statistics().action_reach
    assert reach is not None
    episodes = [
        Remembered(states, actions * reach, task=int(task[0].argmax()), kind=kind)
        for states, actions, task, kind in zip(*driven, kinds, strict=True)
    ]
    filled = fill(small_models.SIZES, episodes, ROOM, STEPS)
    return {name: np.asarray(x) for name, x in filled.items()}


@pytest.fixture(scope="module")
def nights() -> Nights:
    own = remember(KNOWN, KNOWN, KNOWN, LIVED, LIVED, SEEN)
    shipped, chosen = (remember(KNOWN, KNOWN, seed=seed) for seed in (2, 3))
    return Nights(small_models.random_model(), LOOP, own, shipped, chosen, BATCH)


def spend(nights: Nights, **given: Any) -> Mapping[str, np.ndarray]:
    return nights.spend(Candidate(**{"steps": 8, **given}))[0]


@pytest.mark.long
def test_night_that_ships_is_that_of_the_package_up_to_rounding(
    nights: Nights,
) -> None:
    model = small_models.random_model()
    weights = step_function.weights(model)
    made = consolidation.make(model, BATCH)
    nothing = {
        n: np.zeros_like(weights[step_function.SURFACE_PREFIX + n])
        for n in surfaces.SURFACES
    }
    values: dict[str, Any] = {
        "weights": weights,
        "memories": remember(KNOWN, KNOWN, KNOWN, LIVED, LIVED, SEEN),
        "deltas": nothing,
        "last_good": nothing,
        "consolidations": np.int32(0),
        "seed": np.int32(0),
    }
    package = {
        f"{functions.CONSOLIDATE}_{name}": (
            jax.jit(call),
            candidate_nights.list_names(call),
        )
        for name, call in made.items()
    }
    ended = calls.run_calls(LOOP, package, values)
    assert ended is not None
    learned = spend(nights)
    assert np.any(learned["adapters"])
    for name, delta in ended["deltas"].items():
        np.testing.assert_allclose(learned[name], delta, rtol=1e-3, atol=1e-5)


@pytest.mark.long
def test_candidates_end_in_deltas_of_their_own_and_a_strong_pull_in_a_small_one(
    nights: Nights,
) -> None:
    lengths = {}
    tried: dict[str, dict[str, Any]] = {
        "own": {},
        "nothing": {"known": Known.NOTHING},
        "shipped": {"known": Known.SHIPPED},
        "chosen": {"known": Known.CHOSEN},
        "taught": {"known": Known.TAUGHT},
        "imagined": {"known": Known.IMAGINED},
        "half": {"lived_share": 0.5},
        "Fisher": {"known": Known.NOTHING, "pull": 0.0, "fisher": 1e6},
        "none": {"known": Known.NOTHING, "pull": 0.0},
    }
    for name, given in tried.items():
        delta = spend(nights, **given)
        assert not np.any(delta["calibration"])
        lengths[name] = float(np.linalg.norm(join(dict(delta))))
    assert len(set(lengths.values())) == len(lengths), lengths
    assert lengths["Fisher"] < 0.8 * lengths["none"], lengths


@pytest.mark.long
def test_importance_is_the_mean_square_slope_of_the_actions() -> None:
    model, memories = small_models.random_model(), remember(KNOWN, LIVED)
    weights = step_function.weights(model)
    found = candidate_nights.measure_importance(model, weights, memories, draws=400)
    zero = {
        n: np.zeros_like(weights[step_function.SURFACE_PREFIX + n])
        for n in surfaces.SURFACES
    }

    def act(deltas: Mapping[str, np.ndarray]) -> jax.Array:
        core = step_function.with_deltas(model, weights, deltas)
        return candidate_nights.drive(core, {n: x[0] for n, x in memories.items()})

    slopes = jax.jacobian(act)(zero)
    exact = {n: np.mean(np.square(x), axis=(0, 1)) for n, x in slopes.items()}
    exact["calibration"] = np.zeros_like(exact["calibration"])
    assert len(found) == len(join(exact))
    np.testing.assert_allclose(found, join(exact), rtol=0.5, atol=1e-6)
    np.testing.assert_allclose(np.sum(found), np.sum(join(exact)), rtol=0.05)


def test_importance_that_is_no_number_holds_nothing_in_silence() -> None:
    model, memories = small_models.random_model(), remember(KNOWN)
    memories = {**memories, "states": memories["states"] * np.float32(np.nan)}
    weights = step_function.weights(model)
    with pytest.raises(FloatingPointError, match="importance"):
        candidate_nights.measure_importance(model, weights, memories, draws=1)


def test_known_episodes_give_way_to_others_and_the_rest_keeps_its_order() -> None:
    mine = remember(KNOWN, LIVED, KNOWN, SEEN)
    others = remember(KNOWN, KNOWN, KNOWN, seed=2)
    replaced = candidate_nights.replace_known(mine, others)
    assert replaced["kind"][:6].tolist() == [KNOWN, KNOWN, KNOWN, LIVED, SEEN, 0]
    assert np.flatnonzero(replaced["length"]).tolist() == [0, 1, 2, 3, 4]
    np.testing.assert_array_equal(replaced["states"][1], others["states"][1])
    np.testing.assert_array_equal(replaced["states"][3], mine["states"][1])


def test_steps_after_a_command_has_turned_around_are_found() -> None:
    commands = np.zeros((1, 30, 2), np.float32)
    commands[0, 2:10, 0] = 1.0
    commands[0, 10, 0] = -0.05  # not clearly
    commands[0, 14:, 0] = -1.0
    found = candidate_nights.find_reversals(commands)[0]
    last = 14 + candidate_nights.REVERSED_STEPS
    assert np.flatnonzero(found).tolist() == list(range(14, last))


def test_lived_share_leaves_the_others_in_proportion_and_nothing_as_nothing() -> None:
    shares = candidate_nights.share_out(jnp.array([1 / 4, 0, 0, 3 / 4]), 0.5)
    np.testing.assert_allclose(shares, [0.5, 0, 0, 0.5])
    shares = candidate_nights.share_out(jnp.array([1 / 6, 1 / 2, 1 / 3, 0]), 0.5)
    np.testing.assert_allclose(shares, [0.5, 0.3, 0.2, 0], rtol=1e-6)
    assert not np.any(candidate_nights.share_out(jnp.zeros(4), 0.5))
