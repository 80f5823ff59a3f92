"""A package that really learns, at the smallest sizes, for tests of the loops.

Its functions are gradient descent on the tiny step of `tiny_step`: they change its
calibration and its head so that it does what the memories show, within the bounds of
its surfaces. They are written here, since the robot has no model code, and exported as
any package's are.
"""

import dataclasses
import functools
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

import jax
import jax.export
import jax.numpy as jnp
import numpy as np

from base import digest as digests
from edge.robots.robot import RobotSpec
from edge.testing import tiny_package, tiny_step
from edge.testing.tiny_step import DECAY, TinyStep
from rlds import example_codec, tfrecord
from rlds.episode import Episode
from rlds.spec import EpisodeSpec
from rlds.testing import episodes

STATE_SIZE: Final = 3
ACTION_SIZE: Final = 2
TASKS: Final = ("reach", "push")
ROBOT_ID: Final = "arm-1"
ROBOT_MODEL: Final = "tiny-arm"
SPEC: Final = RobotSpec(
    state_size=STATE_SIZE,
    action_size=ACTION_SIZE,
    control_hz=80.0,
    robot_model=ROBOT_MODEL,
    environment_id="bench",
    task=TASKS[0],
    action_minimum=(-1.0,) * ACTION_SIZE,
    action_maximum=(1.0,) * ACTION_SIZE,
    simulated=True,
)
ROOM, STEPS = 8, 16
"""Episodes of the memories, and steps of one."""
CALLS: Final = 40
BOUND: Final = 1.0  # of every surface, as `tiny_package` writes it
RATE: Final = 0.05
MEMORY_BYTES: Final = 1 << 20
HUNGRY_BYTES: Final = 256 << 20
FOUND: Final = {
    "latency_steps": np.float32(8),
    "gain": np.array([0.82, 0.82], np.float32),
    "sensor_offset": np.array([0, 0, 0.03], np.float32),
    "explained": np.float32(0),
}

_MANY: Final = np.linspace(0.0, 1e-4, 4096, dtype=np.float32)

Arrays = Mapping[str, Any]

_TRACEBACK_LIMIT: Final = "jax_traceback_in_locations_limit"


@dataclasses.dataclass(frozen=True)
class Plan:
    """What may be unusual about a package.

    Attributes:
        seed: of the step's weights; another one is another package.
        memory_bytes: what it says it needs.
        calls: gradient steps of its slow loop.
        without: names of functions that it lacks.
        endless: whether a gradient step computes for hours.
        harmful: whether it ends with a delta that turns every action around.
        unbounded: whether it ends with a delta beyond its bounds.
        not_finite: whether it ends with a delta of NaN.
        fast: whether it names a fast loop, of a function that nobody calls here.
        large: whether a gradient step has so many numbers in it that each function is
            compiled in a process of its own.
        finds: whether its slow loop says what it found out, always `FOUND`.
        hungry: whether a gradient step takes `HUNGRY_BYTES`, of which it says nothing.
    """

    seed: int = 0
    memory_bytes: int = MEMORY_BYTES
    calls: int = CALLS
    without: tuple[str, ...] = ()
    endless: bool = False
    harmful: bool = False
    unbounded: bool = False
    not_finite: bool = False
    fast: bool = False
    large: bool = False
    finds: bool = False
    hungry: bool = False


NORMAL: Final = Plan()


def write_package(folder: Path, plan: Plan = NORMAL, **options: Any) -> str:
    """Writes an unsigned package that learns; returns its digest.

    `options` are those of `tiny_package.write_package`.
    """
    made = {
        name: one for name, one in _export(plan).items() if name not in plan.without
    }
    consolidate = ["consolidate_begin", "consolidate_step", "consolidate_end"]
    loop = [
        {"function": name, "calls": plan.calls if name == consolidate[1] else 1}
        for name in consolidate
    ]
    loops = {"medium": loop, "slow": loop} | ({"fast": loop} if plan.fast else {})
    if any(name in plan.without for name in consolidate):
        loops = {}
    return tiny_package.write_package(
        folder,
        plan.seed,
        **{
            "state_size": STATE_SIZE,
            "action_size": ACTION_SIZE,
            "tasks": TASKS,
            "robot_model": ROBOT_MODEL,
            "learning_functions": made,
            "learning": {"loops": loops, "memory_bytes": plan.memory_bytes},
            **options,
        },
    )


def demonstrate(
    number: int,
    task: str = TASKS[0],
    *,
    seed: int = 0,
    offset: float = 0.3,
    noise: float = 0.0,
    steps: int = 12,
    **metadata: Any,
) -> Episode:
    """An episode in which somebody does what the package does, and a little more.

    Args:
        number: number of the episode, which also draws its states.
        task: its task.
        seed: that of the package.
        offset: what is added to every action: the head can learn it.
        noise: standard deviation of what nothing can learn.
        steps: control steps.
        **metadata: other fields of the episode.
    """
    random = np.random.default_rng(number)
    states = random.standard_normal((steps, STATE_SIZE)).astype(np.float32)
    step = TinyStep(STATE_SIZE, ACTION_SIZE, len(TASKS), seed)
    choice = np.array([name == task for name in TASKS], np.float32)
    carry = np.zeros(STATE_SIZE, np.float32)
    actions = []
    for state in states:
        action, _, carry = tiny_step.expected_step(step, state, choice, carry)
        actions.append(action + offset + noise * random.standard_normal(ACTION_SIZE))
    fields = {
        "robot_hash": ROBOT_ID,
        "robot_model": ROBOT_MODEL,
        "environment_id": "bench",
        "package_digest": "",
        "channel": "",
        "task": task,
        "tags": (),
        "location": "",
    }
    return Episode(
        EpisodeSpec(STATE_SIZE, ACTION_SIZE),
        episodes.metadata(number, **(fields | metadata)),
        episodes.acted(states, np.array(actions, np.float32)),
    )


def hand_over(home: Path, episode: Episode) -> str:
    """Puts an episode where the recorder does; returns its digest."""
    folder = home / "memories" / "new"
    folder.mkdir(parents=True, exist_ok=True)
    raw = tfrecord.frame(example_codec.encode(episode))
    draft = home / "memories" / "draft"
    draft.write_bytes(raw)  # it appears whole
    draft.replace(folder / f"{episode.metadata.episode_id}.tfrecord")
    return digests.sha256_bytes(raw)


@functools.lru_cache
def _export(plan: Plan) -> dict[str, tuple[bytes, Mapping[str, object]]]:
    step = TinyStep(STATE_SIZE, ACTION_SIZE, len(TASKS), plan.seed)
    calls = _Calls(step, plan)
    deltas = {
        name.removeprefix("surface_"): _f32(value.size)
        for name, value in step.surfaces().items()
    }
    weights = {name: _f32(value.size) for name, value in step.surfaces().items()}
    number = jax.ShapeDtypeStruct((), np.dtype(np.int32))
    kept = {
        "states": _f32(ROOM, STEPS + 1, STATE_SIZE),
        "actions": _f32(ROOM, STEPS, ACTION_SIZE),
        "executed": _f32(ROOM, STEPS, ACTION_SIZE),
        "task": _f32(ROOM, len(TASKS)),
        "length": jax.ShapeDtypeStruct((ROOM,), np.dtype(np.int32)),
        "kind": jax.ShapeDtypeStruct((ROOM,), np.dtype(np.int32)),
    }
    state = {"deltas": deltas, "loss": _f32()}
    weights["carry"] = _f32(STATE_SIZE)
    given = {"weights": weights, "memories": kept}
    return {
        "consolidate_begin": _encode(calls.begin, {"deltas": deltas}),
        "consolidate_step": _encode(
            calls.step,
            {**given, "last_good": deltas, "state": state, "calls": number}
            | {"index": number, "seed": number},
        ),
        "consolidate_end": _encode(calls.end, {"state": state}),
        "evaluate": _encode(
            calls.evaluate, {"weights": weights, "deltas": deltas, "episodes": kept}
        ),
    }


class _Calls:
    """The functions of one package."""

    def __init__(self, step: TinyStep, plan: Plan) -> None:
        self._matrices = step.matrices()
        self._plan = plan

    def begin(self, deltas: Arrays) -> dict[str, Any]:
        return {"state": {"deltas": deltas, "loss": jnp.zeros(())}}

    def step(
        self,
        weights: Arrays,
        memories: Arrays,
        last_good: Arrays,
        state: Arrays,
        calls: Any,  # noqa: ANN401 - a traced number
        index: Any,  # noqa: ANN401
        seed: Any,  # noqa: ANN401
    ) -> dict[str, Any]:
        del seed  # it learns from all memories at once

        def objective(deltas: Arrays) -> Any:  # noqa: ANN401
            errors, _ = self._errors(weights, deltas, memories, lambda x: x * x)
            some = jnp.maximum(jnp.sum(memories["length"] > 0), 1)
            near = sum(jnp.sum((deltas[n] - last_good[n]) ** 2) for n in deltas)
            if self._plan.large:
                near += jnp.sum(jnp.asarray(_MANY) * deltas["head"][0]) ** 2
            return jnp.sum(errors) / some + 1e-3 * near

        loss, gradient = jax.value_and_grad(objective)(state["deltas"])
        rate = RATE * 10 * (1 - index / calls)
        finite = jnp.isfinite(loss)
        if self._plan.hungry:
            many = jnp.full((HUNGRY_BYTES // 4,), loss)
            # What a loop hands on is kept in memory, and its end depends on all of it.
            many = jax.lax.fori_loop(0, 2**31 - 1, lambda i, x: jnp.sin(x + i), many)
            loss = loss + jnp.max(many)
        if self._plan.endless:
            loss = jax.lax.fori_loop(0, 2**31 - 1, lambda i, x: jnp.sin(x + i), loss)
        moved = {
            name: jnp.where(
                finite & jnp.all(jnp.isfinite(gradient[name])),
                _bound(value - rate * gradient[name]),
                value,
            )
            for name, value in state["deltas"].items()
        }
        return {"state": {"deltas": moved, "loss": loss}}

    def end(self, state: Arrays) -> dict[str, Any]:
        deltas = dict(state["deltas"])
        if self._plan.harmful:
            deltas["head"] = jnp.full_like(deltas["head"], -0.7)
        if self._plan.unbounded:
            deltas["head"] = 10 * BOUND + deltas["head"]
        if self._plan.not_finite:
            deltas["head"] = jnp.full_like(deltas["head"], jnp.nan)
        found = {name: jnp.asarray(value) for name, value in FOUND.items()}
        return {"deltas": deltas} | ({"found": found} if self._plan.finds else {})

    def evaluate(
        self, weights: Arrays, deltas: Arrays, episodes: Arrays
    ) -> dict[str, Any]:
        action, following = self._errors(weights, deltas, episodes, jnp.abs)
        return {"action_error": action, "next_observation_error": following}

    def _errors(
        self,
        weights: Arrays,
        deltas: Arrays,
        memories: Arrays,
        measure: Callable[[Any], Any],
    ) -> tuple[Any, Any]:
        """Errors [r] of actions and next observations."""
        w, u, v = (jnp.asarray(matrix) for matrix in self._matrices)
        surface = {n: weights[f"surface_{n}"] + d for n, d in deltas.items()}
        steps = memories["actions"].shape[1]
        used = (jnp.arange(steps) < memories["length"][:, None]).astype(jnp.float32)
        count = jnp.maximum(memories["length"], 1)

        def one(states: Any, actions: Any, task: Any, used: Any) -> tuple[Any, Any]:  # noqa: ANN401
            def move(carry: Any, state: Any) -> tuple[Any, Any]:  # noqa: ANN401
                seen = state + surface["calibration"]
                action = w @ seen + u @ task + v @ carry + surface["head"]
                after = DECAY * carry + seen + surface["skill_memory"]
                return after, (action, seen)

            start = jnp.zeros(states.shape[-1])
            _, (found, seen) = jax.lax.scan(move, start, states[:-1])
            # A product with 0 would let what is not finite beyond the end through.
            missed = jnp.where(used[:, None] > 0, measure(found - actions), 0.0)
            moved = jnp.where(used[:, None] > 0, measure(seen - states[1:]), 0.0)
            return jnp.sum(jnp.mean(missed, -1)), jnp.sum(jnp.mean(moved, -1))

        action, following = jax.vmap(one)(
            memories["states"], memories["actions"], memories["task"], used
        )
        return action / count, following / count


def _bound(vector: Any) -> Any:  # noqa: ANN401
    length = jnp.sqrt(jnp.sum(vector * vector))
    return vector * jnp.minimum(1.0, 0.999 * BOUND / jnp.maximum(length, 1e-9))


def _encode(
    run: Callable[..., dict[str, Any]], inputs: Mapping[str, Any]
) -> tuple[bytes, Mapping[str, object]]:
    # Without paths of this machine, as from the forge: they decide its size.
    before = getattr(jax.config, _TRACEBACK_LIMIT)
    jax.config.update(_TRACEBACK_LIMIT, 0)
    try:
        exported = jax.export.export(jax.jit(run), platforms=["cpu"])(**inputs)
    finally:
        jax.config.update(_TRACEBACK_LIMIT, before)
    outputs = jax.eval_shape(run, **inputs)
    signature = {"inputs": _specs(inputs), "outputs": _specs(outputs)}
    return bytes(exported.serialize()), signature


def _specs(tree: Mapping[str, Any]) -> list[dict[str, object]]:
    return [
        {
            "name": jax.tree_util.keystr(path, simple=True, separator="/"),
            "shape": list(leaf.shape),
            "dtype": np.dtype(leaf.dtype).name,
        }
        for path, leaf in jax.tree_util.tree_leaves_with_path(dict(tree))
    ]


def _f32(*shape: int) -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct(shape, np.dtype(np.float32))
