"""Fast updates learn, stay in their bounds whatever the data, and export unchanged."""

import hashlib
from collections.abc import Callable, Mapping
from typing import Any

import jax
import numpy as np
import pytest

from model import errors, step_function, surfaces
from model.learn import fast_update
from model.losses import Losses
from model.testing import damped_point, small_models
from model.wavecore import WaveCore

small_models.shorten_programs()
N, A, K = 6, 2, 3
STEPS = 8


type Array = jax.Array | np.ndarray
Data = damped_point.Episodes
MeasureLosses = Callable[[Mapping[str, Array], Mapping[str, Array], Data], Losses]
Adapt = Callable[[Data, int], dict[str, Array]]


@pytest.fixture(scope="module")
def trained() -> WaveCore:
    return damped_point.train_model()


@pytest.fixture(scope="module")
def model() -> WaveCore:
    return small_models.model()


@pytest.fixture(scope="module")
def fast(model: WaveCore) -> fast_update.Update:
    return jax.jit(fast_update.make(model))


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
        core = step_function.with_weights(model, weights)
        return damped_point.measure(core, data)

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
    return filled(fast_update.inputs(model, STEPS)[-1], seed)


@pytest.fixture(scope="module")
def adapt(trained: WaveCore, fast: fast_update.Update) -> Adapt:
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


@pytest.mark.long
def test_fast_updates_recover_part_of_what_a_shifted_sensor_costs(
    trained: WaveCore,
    adapt: Adapt,
    errors_of: MeasureLosses,
) -> None:
    weights, unadapted = step_function.weights(trained), zero_deltas(trained)
    states, actions, tasks = data = damped_point.drive(64, 24, seed=9)
    scale = np.array([1, 1.2, 0.8, 1, 1, 1], np.float32)
    bias = np.array([0.4, -0.3, 0.05, 0, 0, 0.3], np.float32)
    shifted = Data(states * scale + bias, actions, tasks)
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
    weights, data = step_function.weights(trained), damped_point.drive(64, 24, seed=9)
    before = errors_of(weights, zero_deltas(trained), data)
    after = errors_of(weights, adapt(data, 48), data)
    assert after.next_observation < before.next_observation + 0.02
    assert after.action < before.action + 0.02


def test_loss_never_rises_and_more_gradient_steps_lower_it_further(
    model: WaveCore, fast: fast_update.Update
) -> None:
    weights, deltas = step_function.weights(model), zero_deltas(model)
    repeated = jax.jit(fast_update.make(model, gradient_steps=3))
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


def test_update_returns_only_its_own_surfaces(
    model: WaveCore, fast: fast_update.Update
) -> None:
    weights, deltas = step_function.weights(model), zero_deltas(model)
    quick = fast(weights, deltas, window(model))
    assert set(quick["deltas"]) == {"calibration", "adapters"}
    diagnostics = {"loss_before", "loss_after", "refused", "repaired"}
    assert set(quick) == diagnostics | {"deltas"}
    assert all(quick[name].shape == () for name in diagnostics)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_data_that_are_not_finite_leave_the_delta_unchanged(
    model: WaveCore,
    fast: fast_update.Update,
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


def check_refused(result: Mapping[str, Any], deltas: Mapping[str, np.ndarray]) -> None:
    assert result["refused"]
    assert not result["repaired"]
    assert result["loss_before"] == result["loss_after"] == 0
    for name, delta in result["deltas"].items():
        np.testing.assert_array_equal(delta, deltas[name])


def test_gradient_that_is_not_finite_is_refused(
    model: WaveCore, fast: fast_update.Update
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
    fast: fast_update.Update,
    value: float,
) -> None:
    weights = step_function.weights(model)
    for name, delta in zero_deltas(model).items():
        deltas = zero_deltas(model)
        deltas[name] = np.full_like(delta, value)
        result = fast(weights, deltas, window(model))
        assert result["repaired"]
        check_bounded(result)


def check_bounded(result: Mapping[str, Any]) -> None:
    assert all(np.isfinite(x).all() for x in jax.tree.leaves(result))
    for name, delta in result["deltas"].items():
        length = np.linalg.norm(np.asarray(delta, np.float64))
        assert length <= surfaces.BOUNDS[name]


def test_export_serialised_and_read_back_gives_the_same_numbers(
    model: WaveCore, fast: fast_update.Update
) -> None:
    specs = fast_update.inputs(model, STEPS)
    values = (step_function.weights(model), zero_deltas(model), window(model))
    content = jax.export.export(fast)(*specs).serialize()
    wanted, got = fast(*values), jax.export.deserialize(content).call(*values)
    assert jax.tree.structure(wanted) == jax.tree.structure(got)
    jax.tree.map(np.testing.assert_array_equal, wanted, got)


def test_backbone_is_an_input_and_not_copied_into_the_export(
    model: WaveCore, fast: fast_update.Update
) -> None:
    content = jax.export.export(fast)(*fast_update.inputs(model, STEPS)).serialize()
    size = sum(x.nbytes for x in step_function.weights(model).values())
    other = small_models.model(seed=1)
    exported = jax.export.deserialize(content)
    values = (step_function.weights(other), zero_deltas(other), window(other))
    np.testing.assert_allclose(
        exported.call(*values)["loss_before"], fast(*values)["loss_before"]
    )
    bigger = small_models.model(small_models.SIZES.__class__(N, A, K, width=64))
    grown = jax.export.export(jax.jit(fast_update.make(bigger)))(
        *fast_update.inputs(bigger, STEPS)
    ).serialize()
    more = sum(x.nbytes for x in step_function.weights(bigger).values())
    assert len(grown) - len(content) < 0.05 * (more - size)


@pytest.mark.parametrize("argument", [0, 1, 2])
def test_arrays_of_another_shape_missing_or_unknown_are_refused_by_name(
    model: WaveCore, fast: fast_update.Update, argument: int
) -> None:
    def arguments() -> list[dict[str, np.ndarray]]:
        return [step_function.weights(model), zero_deltas(model), window(model)]

    name = ("surface_head", "head", "weight")[argument]
    mistakes: tuple[tuple[Callable[[dict[str, np.ndarray]], object], str], ...] = (
        (lambda x: x.update({name: np.zeros(1, np.float32)}), f"{name}.*got \\(1,\\)"),
        (lambda x: x.pop(name), f"{name}.*got nothing"),
        (lambda x: x.update(other=np.zeros(1, np.float32)), "other.*no such array"),
    )
    for wrong, message in mistakes:
        values = arguments()
        wrong(values[argument])
        with pytest.raises(errors.ShapeMismatchError, match=message):
            fast(*values)


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
    fast: fast_update.Update,
    rounds: int,
) -> None:
    random = np.random.default_rng(7)
    weights = step_function.weights(model)
    before, backbone = digest(weights), step_function.backbone_digest(model)
    step = jax.jit(step_function.make(model))
    deltas = zero_deltas(model)
    windows = [window(model, seed) for seed in range(10)]
    refused = repaired = 0
    for i in range(rounds):
        given = corrupt(random, deltas, 0.1)
        quick = fast(weights, given, corrupt(random, windows[i % 10], 0.3))
        check_bounded(quick)
        deltas = jax.tree.map(np.asarray, deltas | quick["deltas"])
        refused += int(quick["refused"])
        repaired += int(quick["repaired"])
        action = step(
            observation_state=windows[i % 10]["states"][0] * 10.0 ** (i % 37),
            task=np.eye(K, dtype=np.float32)[i % K],
            carry=weights["carry"],
            **adapted(weights, deltas),
        )["action"]
        assert np.isfinite(action).all()
    assert refused > rounds // 5
    assert repaired > rounds // 5
    assert rounds - refused > rounds // 5
    assert digest(weights) == before
    assert step_function.backbone_digest(model) == backbone
    again = step_function.from_weights(model.config, weights)
    assert step_function.backbone_digest(again) == backbone
