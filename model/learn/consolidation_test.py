"""A consolidation learns what changed, in its bounds, whatever the memories hold."""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from model import drives, gaps, step_function, surfaces
from model.learn import consolidation, turned_sensors
from model.learn.consolidation import Batch
from model.learn.memories import KNOWN, LIVED, SEEN, Memories
from model.testing import damped_point, small_models
from model.testing.remembered import Remembered, fill
from model.wavecore import WaveCore

small_models.shorten_programs()
SIZES = small_models.SIZES
ROOM, STEPS = 48, 24
BATCH = Batch(windows=8, steps=STEPS)

Calls = Mapping[str, Callable[..., dict[str, Any]]]
Deltas = dict[str, np.ndarray]
State = dict[str, Any]


def compile_calls(model: WaveCore, batch: Batch = BATCH) -> Calls:
    return {n: jax.jit(call) for n, call in consolidation.make(model, batch).items()}


@pytest.fixture(scope="module")
def trained() -> WaveCore:
    return damped_point.train_model()


@pytest.fixture(scope="module")
def calls(trained: WaveCore) -> Calls:
    return compile_calls(trained)


def zero_deltas(model: WaveCore) -> Deltas:
    prefix = step_function.SURFACE_PREFIX
    initial = step_function.initial_surfaces(model)
    return {n: np.zeros_like(initial[prefix + n]) for n in surfaces.SURFACES}


def remember(
    seed: int,
    kind: int,
    sensors: Callable[[np.ndarray], np.ndarray] = lambda states: states,
    needed: Callable[[np.ndarray], np.ndarray] = lambda actions: actions,
    count: int = ROOM // 2,
) -> list[Remembered]:
    """Episodes of the damped point as changed sensors show and drives need them."""
    driven = damped_point.drive(count, STEPS, seed)
    return [
        Remembered(
            sensors(states).astype(np.float32),
            needed(actions).astype(np.float32),
            actions,
            int(task[0].argmax()),
            kind,
        )
        for states, actions, task in zip(*driven, strict=True)
    ]


def begin(
    calls: Calls,
    model: WaveCore,
    memories: Memories,
    deltas: Deltas | None = None,
    last_good: Deltas | None = None,
    consolidations: int = 0,
    seed: int = 0,
) -> State:
    begun: State = calls["begin"](
        deltas=deltas or zero_deltas(model),
        last_good=last_good or zero_deltas(model),
        memories=memories,
        consolidations=np.int32(consolidations),
        seed=np.int32(seed),
    )["state"]
    compared: State = calls["compare"](
        weights=step_function.weights(model), memories=memories, state=begun
    )["state"]
    return compared


def steps(
    calls: Calls, model: WaveCore, memories: Memories, state: State, count: int
) -> State:
    weights = step_function.weights(model)
    for _ in range(count):
        state = calls["step"](
            weights=weights, memories=memories, state=state, calls=np.int32(count)
        )["state"]
    return state


def rest(
    calls: Calls,
    model: WaveCore,
    memories: Memories,
    count: int,
    **given: Any,  # those of `begin`
) -> Deltas:
    """Begin, compare, imagine, steps, end."""
    weights = step_function.weights(model)
    state = begin(calls, model, memories, **given)
    state = calls["imagine"](weights=weights, memories=memories, state=state)["state"]
    state = steps(calls, model, memories, state, count)
    ended = calls["end"](state=state)["deltas"]
    return {name: np.asarray(x) for name, x in ended.items()}


def measure(model: WaveCore, deltas: Deltas, episodes: damped_point.Episodes) -> float:
    weights = step_function.weights(model)
    core = step_function.with_deltas(model, weights, deltas)
    return float(damped_point.measure(core, episodes).action)


def check_bounded(deltas: Mapping[str, Any]) -> None:
    for name, delta in deltas.items():
        assert np.isfinite(delta).all()
        length = np.linalg.norm(np.asarray(delta, np.float64))
        assert length <= surfaces.BOUNDS[name]


@pytest.mark.parametrize("reach", [64.0, 2.0**-6])
def test_night_does_not_depend_on_the_unit_of_commands(
    trained: WaveCore, calls: Calls, reach: float
) -> None:
    weights = step_function.weights(trained)
    lived = remember(5, LIVED, needed=lambda actions: 0.5 * actions)
    memories = fill(SIZES, remember(6, KNOWN) + lived, ROOM, STEPS)
    other = {n: memories[n] * np.float32(reach) for n in ("actions", "executed")}
    reaches = {step_function.ACTION_REACH: np.full(SIZES.action_size, reach, "f")}

    def spend(weights: Mapping[str, Any], memories: Memories) -> dict[str, Any]:
        given: dict[str, Any] = {"weights": weights, "memories": memories}
        state = begin(calls, trained, memories)  # compares with reaches of 1
        state = calls["compare"](**given, state=state)["state"]
        for _ in range(3):
            state = calls["step"](**given, state=state, calls=np.int32(3))["state"]
        state = calls["judge"](**given, state=state)["state"]
        for latency in (0, 2):
            state = calls["identify"](**given, state=state, index=np.int32(latency))[
                "state"
            ]
        state = calls["imagine"](**given, state=state)["state"]
        for _ in range(2):
            state = calls["step"](**given, state=state, calls=np.int32(2))["state"]
        return calls["end"](state=state)

    one = spend(weights, memories)
    same = spend({**weights, **reaches}, {**memories, **other})
    assert np.any(one["deltas"]["adapters"])
    jax.tree.map(np.testing.assert_array_equal, one, same)


BIASED = np.array([0.15, -0.1], np.float32)


@pytest.mark.long
def test_rest_learns_a_biased_actuator_and_stays_near_the_last_good(
    trained: WaveCore, calls: Calls
) -> None:
    lived = remember(4, LIVED, needed=lambda actions: actions + BIASED)
    deltas = rest(calls, trained, fill(SIZES, lived, ROOM, STEPS), 120)
    held_out = damped_point.drive(64, STEPS, 9)
    held_out = held_out._replace(actions=held_out.actions + BIASED)
    before, after = (
        measure(trained, x, held_out) for x in (zero_deltas(trained), deltas)
    )
    assert after < 0.7 * before
    for name, delta in deltas.items():
        assert np.linalg.norm(delta) < 0.7 * surfaces.BOUNDS[name]
    assert not np.any(deltas["calibration"])


SHIFT = np.array([0.4, -0.3, 0, 0, 0, 0.3], np.float32)


def find_sensors(
    trained: WaveCore, calls: Calls, shift: np.ndarray
) -> tuple[State, Memories]:
    """The state after looking for the calibration of a robot with shifted sensors."""
    weights = step_function.weights(trained)
    lived = remember(5, LIVED, sensors=lambda states: states + shift)
    memories = fill(SIZES, remember(6, KNOWN) + lived, ROOM, STEPS)
    state = begin(calls, trained, memories)
    state = steps(calls, trained, memories, state, 200)
    return calls["judge"](weights=weights, memories=memories, state=state)[
        "state"
    ], memories


def test_calibration_of_shifted_sensors_is_found_and_then_imagined(
    trained: WaveCore, calls: Calls
) -> None:
    state, memories = find_sensors(trained, calls, SHIFT)
    assert state["explained"]
    weights = step_function.weights(trained)
    # Not if sensors that would show it at rest stand where they stood.
    unmoved = {**state["rest"], "still": jnp.ones(SIZES.state_size, bool)}
    judged = calls["judge"](
        weights=weights, memories=memories, state={**state, "rest": unmoved}
    )
    assert not judged["state"]["explained"]
    for latency in range(consolidation.LATENCIES):
        state = calls["identify"](
            weights=weights,
            memories=memories,
            state=state,
            index=np.int32(latency),
        )["state"]
    assert state["latency"] <= 1
    state = calls["imagine"](weights=weights, memories=memories, state=state)["state"]
    found = calls["end"](state=state)["found"]
    assert found["latency_steps"] == state["latency"]
    np.testing.assert_allclose(found["sensor_offset"][:2], SHIFT[:2], atol=0.15)
    assert found["explained"] > 1 - consolidation.UNEXPLAINED
    views = {n: np.asarray(x) for n, x in state["views"].items()}
    # The position's two sensors are shifted as the robot's are, within a third.
    np.testing.assert_allclose(views["shift"][2][:2], SHIFT[:2], atol=0.15)
    np.testing.assert_allclose(views["scale"][2][:2], 1, atol=0.35)
    assert state["shares"][2] > 0
    assert not np.any(state["deltas"]["calibration"])


def test_calibration_does_not_explain_a_robot_that_needs_other_actions(
    trained: WaveCore, calls: Calls
) -> None:
    weights = step_function.weights(trained)
    # A quarter turn: on other seeds and machines 0.75 to 0.86 of the error is left.
    # With exchanged axes alone it is 0.61 to 0.85, too near to what is explained.
    turned = np.array([1, -1], np.float32)
    lived = remember(5, LIVED, needed=lambda actions: actions[:, ::-1] * turned)
    memories = fill(SIZES, remember(6, KNOWN) + lived, ROOM, STEPS)
    state = steps(calls, trained, memories, begin(calls, trained, memories), 200)
    judged = calls["judge"](weights=weights, memories=memories, state=state)["state"]
    assert not judged["explained"]


FOUND = [
    # explained, moved at rest, gain, latency, what is drawn: lived, known, imagined,
    # slowed. The expert's commands were half as large.
    (True, False, 2.0, 3, (1 / 6, 1 / 2, 1 / 3, 0)),
    (True, True, 2.0, 3, (1 / 6, 1 / 2, 1 / 3, 0)),
    (False, True, 2.0, 3, (0, 0, 0, 0)),
    (False, True, 1.0, 0, (0, 1 / 2, 1 / 2, 0)),  # not measured by this model at rest
    (False, False, 1.5, 0, (0, 0, 0, 0)),
    (False, False, 2.0, 3, (0, 0, 0, 0)),
    (False, False, 1.0, 3, (0, 0, 0, 0)),
    (False, False, 1.0, 0, (1 / 4, 0, 0, 3 / 4)),
    (False, False, 0.9, 0, (1 / 4, 0, 0, 3 / 4)),  # too little to be sure
    (False, False, 0.4, 0, (0, 0, 0, 0)),
    (True, False, 0.4, 0, (1 / 6, 1 / 2, 1 / 3, 0)),
]


@pytest.mark.parametrize(("explained", "moved", "gain", "latency", "shares"), FOUND)
def test_what_was_found_decides_what_is_replayed_and_turned_back(
    trained: WaveCore,
    calls: Calls,
    explained: bool,
    moved: bool,
    gain: float,
    latency: int,
    shares: tuple[float, ...],
) -> None:
    half = np.float32(0.5)
    lived = remember(5, LIVED, needed=lambda actions: actions * half)
    memories = fill(SIZES, remember(6, KNOWN) + lived, ROOM, STEPS)
    state = begin(calls, trained, memories)
    state["response"] = {
        **state["response"],
        "heard": jnp.ones(SIZES.action_size, bool),
    }
    state |= {
        "explained": jnp.asarray(explained),
        **identified(gain, latency),
        "rest": {
            **state["rest"],
            "compared": jnp.asarray(True),
            "still": jnp.ones(SIZES.state_size, bool),
            "moved": jnp.arange(SIZES.state_size) < (1 if moved else 0),
            "shift": jnp.asarray(SHIFT if moved else np.zeros_like(SHIFT)),
        },
    }
    weights = step_function.weights(trained)
    state = calls["imagine"](weights=weights, memories=memories, state=state)["state"]
    np.testing.assert_allclose(state["shares"], shares, rtol=1e-6)
    views = {n: np.asarray(x) for n, x in state["views"].items()}
    np.testing.assert_allclose(views["speed"][3], 0.5, rtol=0.02)
    np.testing.assert_allclose(views["gain"][2], gain)
    assert views["latency"][2] == latency
    said = read_calibration(trained, state["start"]["calibration"])
    other = gain not in (0.9, 1.0)
    turned_back = not explained and (other or latency > 0)
    assert np.any(said["drives/response"]) == turned_back
    clear = gain if turned_back and other else 1.0
    np.testing.assert_allclose(
        said["drives/gain"], np.float32(drives.SAID_GAIN * (clear - 1)), atol=1e-7
    )
    found = calls["end"](state=state)["found"]
    assert found["latency_steps"] == latency
    told = gain if explained or other else 0
    np.testing.assert_allclose(found["gain"], told)
    if moved and not explained:
        np.testing.assert_allclose(found["sensor_offset"], SHIFT)
        np.testing.assert_allclose(views["shift"][2], SHIFT)


def identified(gain: float, latency: int) -> State:
    """What a night knows of an arm once it has looked for gain and latency."""
    # Of NumPy's types, as a night has them: a function is compiled again for others.
    gains = np.full(SIZES.action_size, gain, np.float32)
    return {
        "gain": gains,
        "gain_at_once": gains,
        "latency": np.int32(latency),
        "missed": np.float32(1.0),
        "missed_at_once": np.float32(3.0 if latency else 1.0),
    }


def read_calibration(model: WaveCore, delta: np.ndarray) -> dict[str, np.ndarray]:
    """The arrays of a delta of the calibration, by path."""
    template = step_function.split(model)[2]["calibration"]
    named = surfaces.named_arrays(surfaces.unflatten(delta, template))
    return {path: np.asarray(x) for path, x in named.items()}


@pytest.fixture(scope="module")
def late() -> Memories:
    """Memories of an arm whose sensors follow two steps later than they did."""

    def delay(one: Remembered) -> Remembered:
        held = np.repeat(one.states[:1], 2, axis=0)
        return one._replace(states=np.concatenate([held, one.states[:-2]]))

    def begin_at_home(one: Remembered) -> Remembered:
        return one._replace(states=one.states - one.states[:1] + np.float32(0.5))

    known, later = remember(6, KNOWN, count=10), remember(5, LIVED, count=6)
    driven = map(begin_at_home, [*known, *map(delay, later)])
    return fill(SIZES, list(driven), ROOM, STEPS)


def identify(
    calls: Calls, model: WaveCore, memories: Memories, **given: Any
) -> Mapping[str, Any]:
    """Begin, identify, imagine, three steps, end."""
    state = begin(calls, model, memories, **given)
    weights = step_function.weights(model)
    for latency in range(consolidation.LATENCIES):
        state = calls["identify"](
            weights=weights, memories=memories, state=state, index=np.int32(latency)
        )["state"]
    state = calls["imagine"](weights=weights, memories=memories, state=state)["state"]
    return calls["end"](state=steps(calls, model, memories, state, 3))


def test_night_whose_finds_are_all_turned_back_moves_no_other_surface(
    trained: WaveCore, calls: Calls, late: Memories
) -> None:
    ended = identify(calls, trained, late)
    learned = {name: np.asarray(x) for name, x in ended["deltas"].items()}
    check_bounded(learned)
    assert ended["found"]["latency_steps"] == 2
    said = read_calibration(trained, learned["calibration"])
    np.testing.assert_allclose(said["drives/latency"], 2 * drives.SAID_LATENCY)
    for name in ("adapters", "head", "skill_memory"):
        assert not np.any(learned[name]), name


def test_short_rest_keeps_what_a_night_found_of_the_arm_and_learns_nothing(
    trained: WaveCore, calls: Calls, late: Memories
) -> None:
    found = {
        name: np.asarray(x)
        for name, x in identify(calls, trained, late)["deltas"].items()
    }
    after = rest(calls, trained, late, 3, deltas=found, last_good=zero_deltas(trained))
    for name, delta in found.items():
        np.testing.assert_array_equal(after[name], delta)


def test_what_was_learned_for_an_arm_is_dropped_where_it_is_first_turned_back(
    trained: WaveCore, calls: Calls, late: Memories
) -> None:
    """Both together would correct it twice; later nights keep what they learned."""
    old = {
        name: np.float32(1e-2) * small_models.numbers(x.size)
        for name, x in zero_deltas(trained).items()
        if name != "calibration"
    }
    old["calibration"] = zero_deltas(trained)["calibration"]
    first = identify(calls, trained, late, deltas=old, last_good=old)["deltas"]
    for name in ("adapters", "head", "skill_memory"):
        assert not np.any(first[name]), name
    later = {**old, "calibration": np.asarray(first["calibration"])}
    second = identify(calls, trained, late, deltas=later)["deltas"]
    for name, delta in later.items():
        np.testing.assert_allclose(second[name], delta, atol=1e-7)


@pytest.mark.parametrize(("latency", "at_once"), [(1, 3.0), (3, 1.02)])
def test_latency_that_is_short_or_explains_little_is_not_turned_back(
    trained: WaveCore, calls: Calls, latency: int, at_once: float
) -> None:
    memories = fill(SIZES, remember(6, KNOWN) + remember(5, LIVED), ROOM, STEPS)
    state = begin(calls, trained, memories)
    state |= {**identified(1.0, latency), "missed_at_once": jnp.asarray(at_once)}
    weights = step_function.weights(trained)
    state = calls["imagine"](weights=weights, memories=memories, state=state)["state"]
    ended = calls["end"](state=state)
    assert ended["found"]["latency_steps"] == 0
    assert not np.any(ended["deltas"]["calibration"])


@pytest.mark.parametrize(
    ("gain", "explained", "told"),
    [
        (0.85, False, False),
        (0.85, True, True),
        (0.6, False, True),
        (1.1, False, False),
        (1.5, False, True),
    ],
)
@pytest.mark.parametrize("latency", [0, 3])
def test_gain_that_is_not_clear_is_not_told(
    trained: WaveCore,
    calls: Calls,
    latency: int,
    gain: float,
    explained: bool,
    told: bool,
) -> None:
    memories = fill(SIZES, remember(6, KNOWN) + remember(5, LIVED), ROOM, STEPS)
    state = begin(calls, trained, memories)
    heard = jnp.ones(SIZES.action_size, bool)
    state |= {
        "response": {**state["response"], "heard": heard},
        **identified(gain, latency),
        "explained": jnp.asarray(explained),
    }
    weights = step_function.weights(trained)
    state = calls["imagine"](weights=weights, memories=memories, state=state)["state"]

    found = calls["end"](state=state)["found"]

    assert found["latency_steps"] == latency
    np.testing.assert_allclose(found["gain"], gain if told else 0.0)


def test_rest_of_a_robot_whose_sensors_moved_learns_from_what_it_imagines(
    trained: WaveCore, calls: Calls
) -> None:
    """Nobody shows anything, and nothing succeeds: only the body has been seen."""

    def begin_there(one: Remembered) -> Remembered:
        # Every episode of an arm begins in the same place.
        states = one.states - one.states[0]
        return one._replace(states=states)

    seen = [
        begin_there(one)._replace(states=begin_there(one).states + SHIFT)
        for one in remember(5, SEEN, count=6)
    ]
    known = [begin_there(one) for one in remember(6, KNOWN)]
    memories = fill(SIZES, known + seen, ROOM, STEPS)
    state = begin(calls, trained, memories)
    np.testing.assert_array_equal(state["rest"]["moved"], SHIFT != 0)
    weights = step_function.weights(trained)
    state = calls["imagine"](weights=weights, memories=memories, state=state)["state"]
    np.testing.assert_allclose(state["views"]["shift"][2], SHIFT, atol=1e-5)
    found = calls["end"](state=state)["found"]
    np.testing.assert_allclose(found["sensor_offset"], SHIFT, atol=1e-5)
    assert found["explained"] == 0
    np.testing.assert_array_equal(np.asarray(state["kind"])[:30], [0] * 24 + [2] * 6)


def test_sensors_that_fall_silent_are_named_in_the_delta_for_as_long_as_they_do(
    trained: WaveCore, calls: Calls
) -> None:
    def lose(one: Remembered) -> Remembered:
        states = one.states.copy()
        for first in range(3, STEPS, 6):
            states[first : first + 3, :2] = states[first - 1, :2]
        return one._replace(states=states)

    known, later = remember(6, KNOWN, count=10), remember(5, LIVED, count=6)
    silent = fill(SIZES, [*known, *map(lose, later)], ROOM, STEPS)
    state = begin(calls, trained, silent)
    weights = step_function.weights(trained)
    state = calls["imagine"](weights=weights, memories=silent, state=state)["state"]
    assert state["shares"][0] == 0, "what has gaps in it is not imitated"
    ended = calls["end"](state=steps(calls, trained, silent, state, 2))
    learned = ended["deltas"]
    np.testing.assert_array_equal(ended["found"]["sensor_silent"], np.arange(6) < 2)
    check_bounded(learned)
    calibration = turned_sensors.make_calibration(
        trained, {turned_sensors.SILENT: gaps.SAID_SILENT * (np.arange(6) < 2)}
    )
    np.testing.assert_allclose(learned["calibration"], calibration, atol=1e-7)
    # Before there is enough to compare, what an earlier night found is kept.
    kept = rest(calls, trained, fill(SIZES, known, ROOM, STEPS), 1, deltas=learned)
    np.testing.assert_array_equal(kept["calibration"], learned["calibration"])
    mended = fill(SIZES, [*known, *later], ROOM, STEPS)
    after = rest(calls, trained, mended, 1, deltas=learned)
    assert not np.any(after["calibration"])


def test_night_that_ends_before_it_imagines_changes_nothing(
    trained: WaveCore, calls: Calls
) -> None:
    memories = fill(SIZES, remember(4, LIVED), ROOM, STEPS)
    deltas = {
        n: small_models.numbers(*x.shape) * np.float32(1e-2)
        for n, x in zero_deltas(trained).items()
    }
    state = begin(calls, trained, memories, deltas=deltas)
    state = steps(calls, trained, memories, state, 3)
    ended = calls["end"](state=state)["deltas"]
    for name in ("adapters", "head", "skill_memory"):
        np.testing.assert_array_equal(ended[name], deltas[name])


def test_same_seed_learns_the_same_and_another_learns_otherwise(
    trained: WaveCore, calls: Calls
) -> None:
    memories = fill(SIZES, remember(4, LIVED), ROOM, STEPS)
    one, same, other = (
        rest(calls, trained, memories, 3, seed=seed)["head"] for seed in (1, 1, 2)
    )
    np.testing.assert_array_equal(one, same)
    assert np.any(one != other)


def test_without_memories_a_rest_returns_towards_the_last_good_delta(
    trained: WaveCore, calls: Calls
) -> None:
    last_good = zero_deltas(trained)
    last_good["head"] = np.full_like(last_good["head"], 0.01)
    nothing = fill(SIZES, [], ROOM, STEPS)
    deltas = rest(calls, trained, nothing, 30, last_good=last_good)
    far = np.linalg.norm(last_good["head"])
    assert np.linalg.norm(deltas["head"] - last_good["head"]) < 0.5 * far


@pytest.mark.parametrize("value", [np.nan, np.inf, 3e38])
@pytest.mark.parametrize("name", ["states", "actions"])
def test_memories_that_are_not_finite_are_not_learned_from(
    trained: WaveCore, calls: Calls, name: str, value: float
) -> None:
    memories = dict(fill(SIZES, remember(4, LIVED), ROOM, STEPS))
    memories[name] = jnp.full_like(memories[name], value)
    given = {
        n: small_models.numbers(*x.shape) * np.float32(1e-2)
        for n, x in zero_deltas(trained).items()
    }
    deltas = rest(calls, trained, memories, 3, deltas=given)
    check_bounded(deltas)
    if not np.isfinite(value):
        np.testing.assert_array_equal(deltas["head"], given["head"])


def test_step_that_is_refused_after_a_good_one_keeps_every_bit(
    trained: WaveCore, calls: Calls
) -> None:
    memories = fill(SIZES, remember(4, LIVED), ROOM, STEPS)
    weights = step_function.weights(trained)
    state = begin(calls, trained, memories)
    state = calls["imagine"](weights=weights, memories=memories, state=state)["state"]
    good = steps(calls, trained, memories, state, 1)
    assert any(np.any(delta) for delta in good["deltas"].values())
    broken = weights | {
        "backbone/encode_task": weights["backbone/encode_task"] * np.nan
    }
    refused = calls["step"](
        weights=broken, memories=memories, state=good, calls=np.int32(3)
    )["state"]
    assert int(refused["refused"]) == int(good["refused"]) + 1
    for name in ("deltas", "mean", "square", "steps"):
        for before, after in zip(
            jax.tree.leaves(good[name]), jax.tree.leaves(refused[name]), strict=True
        ):
            np.testing.assert_array_equal(before, after)


@pytest.mark.parametrize("value", [np.nan, np.inf, 1e30, 2.0])
def test_bad_delta_is_repaired_before_it_is_used(
    trained: WaveCore, calls: Calls, value: float
) -> None:
    memories = fill(SIZES, remember(4, LIVED), ROOM, STEPS)
    for name, delta in zero_deltas(trained).items():
        bad = zero_deltas(trained) | {name: np.full_like(delta, value)}
        check_bounded(rest(calls, trained, memories, 1, deltas=bad))
        check_bounded(rest(calls, trained, memories, 1, last_good=bad))


@pytest.fixture(scope="module")
def levelled() -> WaveCore:
    """A model of three levels, written every time, at every third and ninth."""
    return small_models.random_model(
        dataclasses.replace(SIZES, skill_levels=3, skill_period=3)
    )


def by_level(vector: np.ndarray) -> np.ndarray:
    """A skill memory [s] as [level, keys and values of its slots]."""
    return vector.reshape(2, 3, -1).swapaxes(0, 1).reshape(3, -1)


def test_each_level_of_the_skill_memory_is_written_at_its_own_period(
    levelled: WaveCore,
) -> None:
    calls = compile_calls(levelled)
    memories = fill(levelled.config, remember(4, LIVED), ROOM, STEPS)
    deltas, written = zero_deltas(levelled), []
    for index in range(10):
        after = rest(calls, levelled, memories, 2, deltas=deltas, consolidations=index)
        bits = [by_level(x["skill_memory"]).view(np.int32) for x in (deltas, after)]
        written.append((bits[0] != bits[1]).any(axis=1))
        deltas = after
    expected = [[True, i % 3 == 0, i % 9 == 0] for i in range(10)]
    np.testing.assert_array_equal(written, expected)


HOSTILE = (0.0, np.nan, np.inf, -np.inf, 1e30, -1e30, 3.4e38, 1e-38, 1e4, 7.0)


def corrupt(random: np.random.Generator, memories: Memories) -> Memories:
    """Memories with arrays replaced, scaled or sprinkled with hostile numbers."""
    corrupted = {}
    for name, given in memories.items():
        array, draw = np.array(given), random.uniform()
        value = np.float32(random.choice(HOSTILE))
        if array.dtype == np.int32:
            if draw < 0.2:
                array = random.integers(-(2**31), 2**31, array.shape, np.int32)
        elif draw < 0.15:
            array = np.full_like(array, value)
        elif draw < 0.3:
            array.flat[random.integers(0, array.size, 20)] = value
        elif draw < 0.4:
            with np.errstate(all="ignore"):
                array = array * np.float32(10.0 ** random.integers(-30, 30))
        corrupted[name] = jnp.asarray(array)
    return corrupted


@pytest.mark.parametrize("nights", [25, pytest.param(400, marks=pytest.mark.long)])
def test_hostile_nights_leave_bounds_and_backbone_intact(
    trained: WaveCore, calls: Calls, nights: int
) -> None:
    random = np.random.default_rng(7)
    weights = step_function.weights(trained)
    backbone = step_function.backbone_digest(trained)
    good = fill(SIZES, remember(4, LIVED) + remember(5, KNOWN), ROOM, STEPS)
    deltas, refused = zero_deltas(trained), 0
    for night in range(nights):
        memories = corrupt(random, good)
        state = begin(calls, trained, memories, deltas=deltas, consolidations=night)
        state = steps(calls, trained, memories, state, 2)
        refused += int(state["refused"])
        given = {"weights": weights, "memories": memories}
        state = calls["judge"](**given, state=state)["state"]
        state = calls["identify"](**given, state=state, index=np.int32(night % 17))[
            "state"
        ]
        state = calls["imagine"](weights=weights, memories=memories, state=state)[
            "state"
        ]
        state = steps(calls, trained, memories, state, 2)
        ended = calls["end"](state=state)["deltas"]
        deltas = {name: np.asarray(x) for name, x in ended.items()}
        check_bounded(deltas)
    assert refused > nights // 5
    assert step_function.backbone_digest(trained) == backbone
    again = step_function.from_weights(SIZES, weights)
    assert step_function.backbone_digest(again) == backbone
