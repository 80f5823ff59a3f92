"""Updates learn, stay in their bounds whatever the data, and export unchanged."""

import dataclasses
import hashlib
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx

from model import errors, losses, normalisation, step_function, surfaces
from model.learn import bounded_descent
from model.learn import updates as up
from model.losses import Losses
from model.testing import small_models
from model.wavecore import WaveCore

N, A, K = 6, 2, 3
STEPS, WINDOWS = 8, 16
GOALS = np.array([[1, 0], [-1, 1], [0, -1]], np.float32)

Array = jax.Array | np.ndarray
Data = tuple[np.ndarray, np.ndarray, np.ndarray]
"""States, actions and tasks of episodes."""
MeasureLosses = Callable[[Mapping[str, Array], Mapping[str, Array], Data], Losses]
Adapt = Callable[[Data, int], dict[str, Array]]


def episodes(count: int, steps: int, seed: int) -> Data:
    """A damped point driven to the goal of its task: states, actions, tasks."""
    random = np.random.default_rng(seed)
    task = random.integers(0, K, count)
    goal, speed = GOALS[task], np.zeros((count, 2), np.float32)
    position = random.uniform(-1.5, 1.5, (count, 2)).astype(np.float32)
    states, actions = [], []
    for _ in range(steps + 1):
        states.append(np.concatenate([position, speed, goal - position], axis=1))
        actions.append(np.clip(1.5 * (goal - position) - speed, -1, 1))
        speed = 0.8 * speed + 0.3 * actions[-1]
        position = position + 0.2 * speed
    tasks = np.repeat(np.eye(K, dtype=np.float32)[task][:, None], steps, axis=1)
    return np.stack(states, 1), np.stack(actions, 1)[:, :-1], tasks


def measured(
    core: WaveCore, states: jax.Array, actions: jax.Array, tasks: jax.Array
) -> Losses:
    """Losses over whole episodes [b t+1 n]."""
    starts, weight = np.zeros(tasks.shape[:2], bool), np.ones(tasks.shape[:2], "f4")
    carry = jnp.zeros((len(states), core.config.carry_size))
    prediction = core.sequence(states[:, :-1], tasks, starts, carry)
    following, change = states[:, 1:], core.change[...]
    return losses.imitation(prediction, actions, following, change, weight, weight, 1.0)


@pytest.fixture(scope="module")
def trained() -> WaveCore:
    """A model that was trained briefly and predicts its training data well."""
    data = episodes(256, 24, seed=0)
    statistics = normalisation.measure(list(data[0]))
    model = WaveCore(small_models.SIZES, statistics, np.random.default_rng(0))
    graph, constant, parameters, rest = nnx.split(
        model,
        surfaces.Normalisation,
        nnx.Any(surfaces.Backbone, surfaces.Head),
        ...,
    )
    optimizer = optax.adam(5e-3)

    @jax.jit
    def train(
        parameters: nnx.State, moments: optax.OptState, batch: list[jax.Array]
    ) -> tuple[nnx.State, optax.OptState]:
        gradient = jax.grad(
            lambda p: measured(nnx.merge(graph, constant, p, rest), *batch).total
        )(parameters)
        change, moments = optimizer.update(gradient, moments)
        return optax.apply_updates(parameters, change), moments

    moments, random = optimizer.init(parameters), np.random.default_rng(1)
    for _ in range(300):
        index = random.integers(0, 256, 32)
        parameters, moments = train(parameters, moments, [x[index] for x in data])
    return nnx.merge(graph, constant, parameters, rest)


@pytest.fixture(scope="module")
def model() -> WaveCore:
    return small_models.model()


@pytest.fixture(scope="module")
def fast(model: WaveCore) -> up.FastUpdate:
    return jax.jit(up.make_fast(model))


@pytest.fixture(scope="module")
def consolidate(model: WaveCore) -> up.ConsolidateUpdate:
    return jax.jit(up.make_consolidate(model))


@pytest.fixture(scope="module")
def consolidate_often(model: WaveCore) -> up.ConsolidateUpdate:
    return jax.jit(up.make_consolidate(model, gradient_steps=4))


def zero_deltas(model: WaveCore) -> dict[str, np.ndarray]:
    prefix = step_function.SURFACE_PREFIX
    initial = step_function.initial_surfaces(model)
    return {n: np.zeros_like(initial[prefix + n]) for n in surfaces.SURFACES}


def adapted(
    weights: Mapping[str, Array], deltas: Mapping[str, Array]
) -> dict[str, Array]:
    """The surfaces of these weights with the deltas added, by the step's names."""
    prefix = step_function.SURFACE_PREFIX
    return {prefix + n: weights[prefix + n] + delta for n, delta in deltas.items()}


@pytest.fixture(scope="module")
def errors_of(model: WaveCore) -> MeasureLosses:
    """Losses of (weights, deltas) over (states, actions, tasks)."""

    @jax.jit
    def errors_of(
        weights: dict[str, jax.Array], deltas: dict[str, jax.Array], data: Data
    ) -> Losses:
        weights = weights | adapted(weights, deltas)
        return measured(step_function.with_weights(model, weights), *data)

    return errors_of


def filled(spec: dict[str, jax.ShapeDtypeStruct], seed: int) -> dict[str, np.ndarray]:
    """Plausible data of the shapes an update takes."""
    data = {
        name: small_models.numbers(*x.shape, seed=seed + i)
        if x.dtype == np.float32
        else np.zeros(x.shape, x.dtype)
        for i, (name, x) in enumerate(spec.items())
    }
    for name in data:
        if name.endswith("weight"):
            data[name] = np.ones_like(data[name])
    return data


def window(model: WaveCore, seed: int = 3) -> dict[str, np.ndarray]:
    return filled(up.fast_inputs(model, STEPS)[-1], seed)


def replay(model: WaveCore, seed: int = 3) -> dict[str, np.ndarray]:
    return filled(up.consolidate_inputs(model, WINDOWS, STEPS)[-1], seed)


@pytest.fixture(scope="module")
def adapt(trained: WaveCore, fast: up.FastUpdate) -> Adapt:
    """Fast updates along episodes, as a robot makes them between control steps."""
    step = jax.jit(step_function.make(trained))
    weights = step_function.weights(trained)

    def adapt(data: Data, update_count: int) -> dict[str, Array]:
        (states, _, tasks), deltas = data, zero_deltas(trained)
        for i in range(update_count):
            first, carry = i % STEPS, weights["carry"]
            for t in range(first):
                prediction = step(
                    observation_state=states[i, t],
                    task=tasks[i, t],
                    carry=carry,
                    **adapted(weights, deltas),
                )
                carry = prediction["next_carry"]
            recent = {
                "states": states[i, first : first + STEPS + 1],
                "task": tasks[i, first : first + STEPS],
                "starts": np.arange(STEPS) + first == 0,
                "weight": np.ones(STEPS, np.float32),
                "carry": carry,
            }
            result = fast(weights, deltas, recent)
            assert not result["refused"]
            deltas |= result["deltas"]
        return deltas

    return adapt


def test_fast_updates_recover_part_of_what_a_shifted_sensor_costs(
    trained: WaveCore,
    adapt: Adapt,
    errors_of: MeasureLosses,
) -> None:
    weights, unadapted = step_function.weights(trained), zero_deltas(trained)
    states, actions, tasks = data = episodes(64, 24, seed=9)
    scale = np.array([1, 1.2, 0.8, 1, 1, 1], np.float32)
    bias = np.array([0.4, -0.3, 0.05, 0, 0, 0.3], np.float32)
    shifted = (states * scale + bias, actions, tasks)
    known = errors_of(weights, unadapted, data)
    before = errors_of(weights, unadapted, shifted)
    after = errors_of(weights, adapt(shifted, 48), shifted)
    lost = before.next_observation - known.next_observation
    assert before.next_observation - after.next_observation > 0.4 * lost
    # The action was not part of the loss, but improves too.
    assert after.action < before.action


def test_fast_updates_of_an_unchanged_robot_change_little(
    trained: WaveCore,
    adapt: Adapt,
    errors_of: MeasureLosses,
) -> None:
    weights, data = step_function.weights(trained), episodes(64, 24, seed=9)
    before = errors_of(weights, zero_deltas(trained), data)
    after = errors_of(weights, adapt(data, 48), data)
    assert after.next_observation < before.next_observation + 0.02
    assert after.action < before.action + 0.02


def test_consolidation_learns_a_biased_actuator_and_stays_near_the_last_good(
    trained: WaveCore, errors_of: MeasureLosses
) -> None:
    states, actions, tasks = episodes(256, 24, seed=4)
    needed = actions + np.array([0.15, -0.1], np.float32)
    weights, random = step_function.weights(trained), np.random.default_rng(2)
    last_good, count = zero_deltas(trained), 60 * WINDOWS
    index, first = (
        random.integers(64, 256, count),
        random.integers(0, 24 - STEPS, count),
    )
    rows = first[:, None] + np.arange(STEPS + 1)
    memories = {
        "states": states[index[:, None], rows],
        "task": tasks[index, :STEPS],
        "starts": np.zeros((count, STEPS), bool),
        "actions": needed[index[:, None], rows[:, :-1]],
        "action_weight": np.ones((count, STEPS), np.float32),
        "next_weight": np.ones((count, STEPS), np.float32),
        "update_index": np.int32(0),
    }
    update = jax.jit(up.make_consolidate(trained, gradient_steps=60))
    result = update(weights, last_good, last_good, memories)
    deltas = last_good | result["deltas"]
    held_out = (states[:64], needed[:64], tasks[:64])
    before = errors_of(weights, last_good, held_out)
    after = errors_of(weights, deltas, held_out)
    assert after.action < 0.5 * before.action
    assert after.next_observation < before.next_observation + 0.02
    for name, delta in deltas.items():
        assert np.linalg.norm(delta) < 0.7 * surfaces.BOUNDS[name]


@pytest.fixture(scope="module")
def levelled() -> WaveCore:
    """A model of three levels, written every time, at every third and ninth."""
    return small_models.model(
        dataclasses.replace(small_models.SIZES, skill_levels=3, skill_period=3)
    )


@pytest.fixture(scope="module")
def consolidate_levelled(levelled: WaveCore) -> up.ConsolidateUpdate:
    return jax.jit(up.make_consolidate(levelled, gradient_steps=2))


def by_level(vector: Array) -> np.ndarray:
    """A skill memory [s] as [level, keys and values of its slots]."""
    return np.asarray(vector).reshape(2, 3, -1).swapaxes(0, 1).reshape(3, -1)


def test_each_level_of_the_skill_memory_is_written_at_its_own_period(
    levelled: WaveCore, consolidate_levelled: up.ConsolidateUpdate
) -> None:
    weights, last_good = step_function.weights(levelled), zero_deltas(levelled)
    deltas = {
        n: small_models.numbers(*x.shape, seed=i) * 1e-2
        for i, (n, x) in enumerate(last_good.items())
    }
    written = []
    for index in range(19):
        given = replay(levelled, seed=index) | {"update_index": np.int32(index)}
        result = consolidate_levelled(weights, deltas, last_good, given)
        assert not result["refused"]
        assert not result["repaired"]
        before, after = (
            by_level(x["skill_memory"]) for x in (deltas, result["deltas"])
        )
        written.append((before.view(np.int32) != after.view(np.int32)).any(axis=1))
        deltas = deltas | result["deltas"]
    expected = [[True, i % 3 == 0, i % 9 == 0] for i in range(19)]
    np.testing.assert_array_equal(written, expected)


def test_level_stays_inside_its_part_of_the_bound_and_others_keep_theirs(
    levelled: WaveCore, consolidate_levelled: up.ConsolidateUpdate
) -> None:
    weights, zeros = step_function.weights(levelled), zero_deltas(levelled)
    part = surfaces.BOUNDS["skill_memory"] / 3**0.5
    memory = np.zeros((2, 3, zeros["skill_memory"].size // 6), np.float32)
    memory[:, 0] = 1.0
    memory[0, 2, 0] = 0.9 * part
    deltas = zeros | {"skill_memory": memory.reshape(-1)}
    given = replay(levelled) | {"update_index": np.int32(1)}
    result = consolidate_levelled(weights, deltas, zeros, given)
    assert result["repaired"]
    levels = by_level(result["deltas"]["skill_memory"])
    assert 0.9 * part < np.linalg.norm(levels[0]) <= part
    np.testing.assert_array_equal(levels[1:], by_level(memory)[1:])


def test_without_memories_consolidation_returns_to_the_last_good_delta(
    model: WaveCore, consolidate: up.ConsolidateUpdate
) -> None:
    weights, last_good = step_function.weights(model), zero_deltas(model)
    last_good["head"] = np.full_like(last_good["head"], 0.01)
    nothing = replay(model) | {
        "action_weight": np.zeros((WINDOWS, STEPS), np.float32),
        "next_weight": np.zeros((WINDOWS, STEPS), np.float32),
    }
    deltas = zero_deltas(model)
    for _ in range(10):
        deltas = deltas | consolidate(weights, deltas, last_good, nothing)["deltas"]
    far = np.linalg.norm(last_good["head"])
    assert np.linalg.norm(deltas["head"] - last_good["head"]) < 0.2 * far


def test_loss_never_rises_and_more_gradient_steps_lower_it_further(
    model: WaveCore, fast: up.FastUpdate
) -> None:
    weights, deltas = step_function.weights(model), zero_deltas(model)
    repeated = jax.jit(up.make_fast(model, gradient_steps=3))
    once_sum = often_sum = 0
    for seed in range(20):
        once = fast(weights, deltas, window(model, seed))
        often = repeated(weights, deltas, window(model, seed))
        for result in (once, often):
            assert result["loss_after"] <= result["loss_before"]
        once_sum += once["loss_before"] - once["loss_after"]
        often_sum += often["loss_before"] - often["loss_after"]
        deltas = deltas | often["deltas"]
    assert often_sum > 1.5 * once_sum > 0


def test_consolidation_divides_its_windows_and_never_raises_the_loss(
    model: WaveCore,
    consolidate: up.ConsolidateUpdate,
    consolidate_often: up.ConsolidateUpdate,
) -> None:
    weights, once, often = step_function.weights(model), *[zero_deltas(model)] * 2
    last_good = zero_deltas(model)
    for seed in range(10):
        memories = replay(model, seed)
        one = consolidate(weights, once, last_good, memories)
        start = often
        four = consolidate_often(weights, start, last_good, memories)
        for result in (one, four):
            assert not result["refused"]
            assert result["loss_after"] <= result["loss_before"]
        once, often = once | one["deltas"], often | four["deltas"]
    # Lengths of 1, 3/4, 1/2 and 1/4, and numbers of at most two in Adam's direction.
    for name, delta in often.items():
        assert (
            np.linalg.norm(delta)
            < 10 * 2.5 * 2 * bounded_descent.CONSOLIDATION_STEP * surfaces.BOUNDS[name]
        )


def test_windows_that_cannot_be_divided_evenly_are_refused(model: WaveCore) -> None:
    update = up.make_consolidate(model, gradient_steps=3)
    weights, deltas = step_function.weights(model), zero_deltas(model)
    with pytest.raises(errors.ShapeMismatchError, match=r"a multiple of 3.*got 16"):
        update(weights, deltas, deltas, replay(model))


def test_update_returns_only_its_own_surfaces(
    model: WaveCore, fast: up.FastUpdate, consolidate: up.ConsolidateUpdate
) -> None:
    weights, deltas = step_function.weights(model), zero_deltas(model)
    quick = fast(weights, deltas, window(model))
    slow = consolidate(weights, deltas, deltas, replay(model))
    assert set(quick["deltas"]) == {"calibration", "adapters"}
    assert set(slow["deltas"]) == {"adapters", "head", "skill_memory"}
    diagnostics = {"loss_before", "loss_after", "refused", "repaired"}
    assert set(quick) == set(slow) == diagnostics | {"deltas"}
    assert all(quick[name].shape == () for name in diagnostics)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_data_that_are_not_finite_leave_the_delta_unchanged(
    model: WaveCore,
    fast: up.FastUpdate,
    consolidate: up.ConsolidateUpdate,
    value: float,
) -> None:
    weights = step_function.weights(model)
    deltas = {
        n: small_models.numbers(*x.shape) * 1e-2 for n, x in zero_deltas(model).items()
    }
    for name, array in window(model).items():
        if array.dtype == np.float32:
            bad = window(model)
            bad[name].flat[-1] = value
            check_refused(fast(weights, deltas, bad), deltas)
    for name, array in replay(model).items():
        if array.dtype == np.float32:
            bad = replay(model)
            bad[name].flat[-1] = value
            check_refused(consolidate(weights, deltas, deltas, bad), deltas)


def check_refused(result: Mapping[str, Any], deltas: Mapping[str, np.ndarray]) -> None:
    assert result["refused"]
    assert not result["repaired"]
    assert result["loss_before"] == result["loss_after"] == 0
    for name, delta in result["deltas"].items():
        np.testing.assert_array_equal(delta, deltas[name])


def test_gradient_that_is_not_finite_is_refused(
    model: WaveCore, fast: up.FastUpdate
) -> None:
    weights = step_function.weights(model)
    # A backbone that overflows: data and deltas are finite, the gradient is not.
    weights["backbone/encode_state"] = np.full_like(
        weights["backbone/encode_state"], 3e38
    )
    deltas = zero_deltas(model)
    check_refused(fast(weights, deltas, window(model)), deltas)


@pytest.mark.parametrize("value", [np.nan, np.inf, 1e30, -3e38, 2.0])
def test_bad_delta_is_repaired_before_it_is_used(
    model: WaveCore,
    fast: up.FastUpdate,
    consolidate: up.ConsolidateUpdate,
    value: float,
) -> None:
    weights = step_function.weights(model)
    for name, delta in zero_deltas(model).items():
        deltas = zero_deltas(model)
        deltas[name] = np.full_like(delta, value)
        for result in (
            fast(weights, deltas, window(model)),
            consolidate(weights, deltas, zero_deltas(model), replay(model)),
            consolidate(weights, zero_deltas(model), deltas, replay(model)),
        ):
            assert result["repaired"]
            check_bounded(result)


def check_bounded(result: Mapping[str, Any]) -> None:
    assert all(np.isfinite(x).all() for x in jax.tree.leaves(result))
    for name, delta in result["deltas"].items():
        length = np.linalg.norm(np.asarray(delta, np.float64))
        assert length <= surfaces.BOUNDS[name]


def test_export_serialised_and_read_back_gives_the_same_numbers(
    model: WaveCore, fast: up.FastUpdate, consolidate: up.ConsolidateUpdate
) -> None:
    weights, deltas = step_function.weights(model), zero_deltas(model)
    for jitted, specs, values in (
        (fast, up.fast_inputs(model, STEPS), (weights, deltas, window(model))),
        (
            consolidate,
            up.consolidate_inputs(model, WINDOWS, STEPS),
            (weights, deltas, deltas, replay(model)),
        ),
    ):
        content = jax.export.export(jitted)(*specs).serialize()
        exported = jax.export.deserialize(content)
        wanted, got = jitted(*values), exported.call(*values)
        assert jax.tree.structure(wanted) == jax.tree.structure(got)
        jax.tree.map(np.testing.assert_array_equal, wanted, got)


def test_backbone_is_an_input_and_not_copied_into_the_export(
    model: WaveCore, fast: up.FastUpdate
) -> None:
    content = jax.export.export(fast)(*up.fast_inputs(model, STEPS)).serialize()
    size = sum(x.nbytes for x in step_function.weights(model).values())
    other = small_models.model(seed=1)
    exported = jax.export.deserialize(content)
    values = (step_function.weights(other), zero_deltas(other), window(other))
    np.testing.assert_allclose(
        exported.call(*values)["loss_before"], fast(*values)["loss_before"]
    )
    bigger = small_models.model(small_models.SIZES.__class__(N, A, K, width=64))
    grown = jax.export.export(jax.jit(up.make_fast(bigger)))(
        *up.fast_inputs(bigger, STEPS)
    ).serialize()
    more = sum(x.nbytes for x in step_function.weights(bigger).values())
    assert len(grown) - len(content) < 0.05 * (more - size)


@pytest.mark.parametrize("argument", [0, 1, 2])
def test_arrays_of_another_shape_missing_or_unknown_are_refused_by_name(
    model: WaveCore, fast: up.FastUpdate, argument: int
) -> None:
    def arguments() -> list[dict[str, np.ndarray]]:
        return [step_function.weights(model), zero_deltas(model), window(model)]

    name = ("surface_head", "head", "weight")[argument]
    for wrong, message in (
        (lambda x: x.update({name: np.zeros(1, np.float32)}), f"{name}.*got \\(1,\\)"),
        (lambda x: x.pop(name), f"{name}.*got nothing"),
        (lambda x: x.update(other=np.zeros(1, np.float32)), "other.*no such array"),
    ):
        values = arguments()
        wrong(values[argument])
        with pytest.raises(errors.ShapeMismatchError, match=message):
            fast(*values)


def test_memories_without_a_label_are_refused_by_name(
    model: WaveCore, consolidate: up.ConsolidateUpdate
) -> None:
    weights, deltas = step_function.weights(model), zero_deltas(model)
    memories = replay(model)
    del memories["actions"]
    with pytest.raises(errors.ShapeMismatchError, match="actions"):
        consolidate(weights, deltas, deltas, memories)


HOSTILE = (0.0, np.nan, np.inf, -np.inf, 1e30, -1e30, 3.4e38, 1e-38, 1e4, 7.0)


def corrupt(
    random: np.random.Generator, arrays: Mapping[str, np.ndarray], share: float
) -> dict[str, np.ndarray]:
    """Some arrays replaced, scaled or sprinkled with hostile numbers."""
    corrupted = {}
    for name, given in arrays.items():
        array = given
        value = np.float32(random.choice(HOSTILE))
        draw = random.uniform()
        if array.dtype == bool:
            array = random.uniform(size=array.shape) < 0.2
        elif array.dtype == np.int32:
            array = random.integers(-(2**31), 2**31, array.shape, np.int32)
        elif draw < share / 3:
            array = np.full_like(array, value)
        elif draw < 2 * share / 3:
            array = array.copy()
            array.flat[random.integers(array.size)] = value
        elif draw < share:
            array = array * np.float32(10.0 ** random.integers(-30, 30))
        corrupted[name] = array
    return corrupted


def digest(arrays: dict[str, np.ndarray]) -> str:
    joined = b"".join(x.tobytes() for _, x in sorted(arrays.items()))
    return hashlib.sha256(joined).hexdigest()


@pytest.mark.parametrize("rounds", [200, pytest.param(2000, marks=pytest.mark.long)])
def test_thousands_of_hostile_updates_leave_backbone_and_bounds_intact(
    model: WaveCore,
    fast: up.FastUpdate,
    consolidate: up.ConsolidateUpdate,
    consolidate_often: up.ConsolidateUpdate,
    rounds: int,
) -> None:
    random = np.random.default_rng(7)
    weights = step_function.weights(model)
    before, backbone = digest(weights), step_function.backbone_digest(model)
    step = jax.jit(step_function.make(model))
    deltas = last_good = zero_deltas(model)
    windows = [window(model, seed) for seed in range(10)]
    replays = [replay(model, seed) for seed in range(10)]
    refused = repaired = 0
    for i in range(rounds):
        given = corrupt(random, deltas, 0.1)
        quick = fast(weights, given, corrupt(random, windows[i % 10], 0.3))
        good = corrupt(random, last_good, 0.1)
        memories = corrupt(random, replays[i % 10], 0.3)
        slowly = consolidate if i % 2 else consolidate_often
        slow = slowly(weights, deltas | quick["deltas"], good, memories)
        check_bounded(quick)
        check_bounded(slow)
        deltas = jax.tree.map(np.asarray, deltas | quick["deltas"] | slow["deltas"])
        refused += int(quick["refused"]) + int(slow["refused"])
        repaired += int(quick["repaired"]) + int(slow["repaired"])
        action = step(
            observation_state=windows[i % 10]["states"][0] * 10.0 ** (i % 37),
            task=np.eye(K, dtype=np.float32)[i % K],
            carry=weights["carry"],
            **adapted(weights, deltas),
        )["action"]
        assert np.isfinite(action).all()
    assert refused > rounds // 5
    assert repaired > rounds // 5
    assert 2 * rounds - refused > rounds // 5
    assert digest(weights) == before
    assert step_function.backbone_digest(model) == backbone
    again = step_function.from_weights(model.config, weights)
    assert step_function.backbone_digest(again) == backbone
