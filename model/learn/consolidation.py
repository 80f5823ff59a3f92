"""What a resting robot runs, in calls so short that it can stop between any two.

    begin     deltas, memories -> state; nothing has been learned
    compare   how the robot of now rests, moves and falls silent, beside the known one
    step      one gradient step on windows drawn from the memories
    judge     whether the calibration that the steps found explains what the robot saw
    identify  gain of the arm at one latency; called once for each latency
    imagine   chooses, from what was found, which memories the next steps learn from
    end       state -> new deltas of every surface

A call takes the state of the call before and returns the next one. All that a call
needs of the past is in the state: deltas, moments of the gradients, views of the
memories. A night that calibrates is

    begin, compare, step x CALIBRATION_STEPS, judge, identify x LATENCIES, imagine,
    step x n, end

and a short rest is begin, compare, imagine, step x n, end. Which of the two a loop
runs, and how often, is written in the package (`learning`), so a robot's runtime knows
neither. A robot compiles each call by itself, and needs the memory for one at a time
(docs/decisions/0017).

What the control step can turn back, it is told in numbers that are measured: sensors
that stand elsewhere at rest or fall silent, an arm that moves further or later. Such a
night takes its gradient steps on nothing, so that nothing is forgotten.

Otherwise the robot looks for its calibration in what it has lived, judged by the
actions alone because the next observation also depends on the drives. A calibration
acts on known and changed robot alike, so it is not kept: it serves to imagine the known
memories as the changed robot would have recorded them. Adapters, head and skill memory
learn from both, and tell the two robots apart by what the recurrent state has seen.
What is replayed in which case, and what else was tried: docs/decisions/0009.

Deltas stay inside their bounds at every step (`model.learn.bounded_descent`), and the
backbone is an input only. The levels of the skill memory have different periods: the
i-th consolidation writes those whose period divides i, and the others keep every bit.

Sources: memories with their own periods, Behrouz et al. 2025, arXiv:2512.24695; pull
towards known weights, Li et al. 2018, arXiv:1802.01483, section 3.
"""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from model import array_types as at
from model import drives, gaps, losses, senses, step_function, surfaces
from model.config import WaveCoreConfig
from model.learn import actuation, body, findings, silent_sensors, turned_sensors
from model.learn.bounded_descent import (
    CONSOLIDATION_STEP,
    SKILL_ARRAYS,
    SKILLS,
    Deltas,
    Moments,
    choose,
    finite,
    join,
    project_deltas,
    scale_gradient,
    square_distance,
    step_replay,
)
from model.learn.findings import State
from model.learn.memories import (
    KNOWN,
    LIVED,
    Memories,
    View,
    as_recorded,
    draw_windows,
    find_repeats,
    in_reaches,
)
from model.wavecore import WaveCore

CALIBRATION_STEPS = 300
"""Gradient steps of a calibration: enough for its 82 numbers to settle."""
LATENCIES = drives.LARGEST_LATENCY_STEPS + 1

PULL = 0.1
"""Loss that is added at a distance of one bound from the last good delta."""
NEXT_SHARE = 0.1
"""Weight of the world-model error relative to the action error in replay. In training
it is 1; but that error is ten times the action's, and the small room of a bounded delta
should serve the action."""
UNEXPLAINED = 0.6
"""A calibration that leaves more than this share of the action's error has not found
the change: for all changes together it leaves 0.40 to 0.47, for a late arm alone 0.92
to 0.94."""

_ARM = ("drives/response", "drives/unit", "drives/gain", "drives/latency")
_KEPT = (turned_sensors.MOVED, turned_sensors.SILENT, *_ARM)
"""Arrays of a calibration that act on the changed robot alone, so that they are kept
from one night to the next."""
_DESCENDED = ("action_bias", "input_bias", "input_scale")
"""Arrays of a calibration that gradient steps move; the others are measured."""
_CALIBRATED = ("calibration",)
_CONSOLIDATED = ("adapters", "head", SKILLS)
_JUDGED_BATCHES = 4
_AS_LIVED, _AS_KNOWN, _IMAGINED, _SLOWED = range(4)
"""The views that windows are drawn from."""
_SHARES = {
    "calibrating": (1.0, 0.0, 0.0, 0.0),
    "other sensors": (1 / 6, 3 / 6, 2 / 6, 0.0),
    "sensors at rest": (0.0, 0.5, 0.5, 0.0),
    "turned back": (0.0, 0.0, 0.0, 0.0),
    "nothing found": (1 / 4, 0.0, 0.0, 3 / 4),
}
"""How often each view is drawn. Slowed memories three times for each at full speed:
with one, the unchanged robot failed in 14 of 50 episodes of push after a life with
latency; with three, in 2 (docs/decisions/0009)."""
_COMPARED: Mapping[str, Callable[[Memories], Any]] = {
    "response": actuation.fit_response,
    "rest": body.compare_rest,
    "silent": silent_sensors.find_silent_sensors,
}
"""What `compare` finds in the memories, by its name in the state."""
_NO_HEADS = losses.Shares(action_scale=0.0, value=0.0)
"""These heads are part of the backbone, so nothing that a robot may change is trained
by their losses."""

Arrays = Mapping[str, at.Array]
Call = Callable[..., dict[str, Any]]
Pull = Callable[[Deltas, State], at.Array]
"""Loss [] that is added because deltas are away from what was good."""


class Batch(NamedTuple):
    """Windows of one gradient step, and steps of one window."""

    windows: int = 4
    steps: int = 256


def pull_to_last_good(deltas: Deltas, state: State) -> at.Array:
    """The same pull for each number of the surfaces that consolidations write."""
    near = {name: deltas[name] for name in _CONSOLIDATED}
    return PULL * square_distance(near, state["last_good"])


def make(
    model: WaveCore, batch: Batch, pull: Pull = pull_to_last_good
) -> dict[str, Call]:
    """Makes the calls for models of this shape, by name; weights come with each call.

    Arguments of the calls, each only where one has use for it:
        weights: arrays of `weights.safetensors`.
        deltas, last_good: local delta [s] of every surface by its name; the second is
            what the steps are pulled towards.
        memories: of the shapes of `memories.shapes`.
        state: what the call before returned.
        consolidations, seed: [] i32, how often this robot has consolidated before, and
            what the windows are drawn from.
        calls: [] i32, for how many steps in a row the gradient steps become shorter.
        index: [] i32, the number of this call among those in a row, from 0.

    Every call but `end` returns `{"state": ...}`. In it `loss` [] is that of the last
    step and `refused` [] i32 counts the steps that were not taken because data, loss or
    gradient were not finite. `end` returns `{"deltas": ..., "found": ...}`. What was
    found is for people, and nothing depends on it: `latency_steps` [] of the arm, -1
    where nobody looked; `gain` [a], 0 where nobody looked, no sensor follows the
    command, or it is not clear; `sensor_offset` [n], by how much a sensor shows too
    much in the middle of its range, 0 where it does not clearly; `sensor_silent` [n], 1
    where one is not always heard and 0 elsewhere; and `explained` [], the share of the
    error that other sensors account for, 0 where they do not.
    """
    night = _Night(model, batch, pull)
    calls = (night.begin, night.compare, night.step, night.judge, night.identify)
    return {call.__name__: call for call in (*calls, night.imagine, night.end)}


class _Night:
    """The calls for one model and size of batch."""

    def __init__(self, model: WaveCore, batch: Batch, pull: Pull) -> None:
        self._model, self._batch, self._pull = model, batch, pull
        self._sizes = model.config
        self._levels = model.config.skill_levels
        # What is measured and not descended on must not shorten the steps of the rest.
        template = step_function.split(model)[2]["calibration"]
        self._descended = np.concatenate(
            [
                np.full(array.size, path in _DESCENDED)
                for path, array in surfaces.named_arrays(template).items()
            ]
        )
        sizes = step_function.initial_surfaces(model)
        self._counts = {
            name: sizes[step_function.SURFACE_PREFIX + name].size
            for name in surfaces.SURFACES
        } | {"calibration": int(self._descended.sum())}

    def begin(
        self,
        deltas: Deltas,
        last_good: Deltas,
        memories: Memories,
        consolidations: at.Array,
        seed: at.Array,
    ) -> dict[str, Any]:
        both = jax.tree.map(lambda *x: jnp.stack(x), deltas, last_good)
        inside, _ = jax.vmap(lambda one: project_deltas(one, self._levels))(both)
        deltas = {name: delta[0] for name, delta in inside.items()}
        last_good = {name: delta[1] for name, delta in inside.items()}
        # Of an earlier calibration only what acts on the changed robot alone is kept.
        kept = turned_sensors.keep(self._model, deltas["calibration"], *_KEPT)
        size = self._sizes.action_size
        told = actuation.measure_pace(memories)
        plain = {kind: as_recorded(self._sizes, kind) for kind in (LIVED, KNOWN)}
        # A careful actor is not a changed sensor.
        full_pace = plain[LIVED]._replace(pace=1.0 / told)
        state = {
            "start": {**deltas, "calibration": kept},
            "last_good": last_good,
            "consolidations": consolidations,
            "seed": seed,
            # Views keep actions within limits, which would hide that one is infinite.
            "sound": finite(memories),
            "drawn": jnp.zeros((), jnp.int32),
            "told": told,
            "repeats": find_repeats(memories),
            **{name: _make_nothing(f, memories) for name, f in _COMPARED.items()},
            "kind": memories["kind"],
            "views": _stack(full_pace, plain[KNOWN], plain[KNOWN], plain[KNOWN]),
            "shares": jnp.asarray(_SHARES["calibrating"]),
            "calibrating": jnp.asarray(True),
            "explained": jnp.asarray(False),
            "missed": jnp.asarray(jnp.finfo(jnp.float32).max),
            "gain": jnp.ones(size),
            "latency": jnp.zeros((), jnp.int32),
            "missed_at_once": jnp.asarray(jnp.finfo(jnp.float32).max),
            "gain_at_once": jnp.ones(size),
            "accounted": jnp.zeros(()),
            "found": {
                "latency_steps": -jnp.ones(()),
                "gain": jnp.zeros(size),
                "sensor_offset": jnp.zeros(self._sizes.state_size),
                "sensor_silent": jnp.zeros(self._sizes.state_size),
                "explained": jnp.zeros(()),
            },
            "refused": jnp.zeros((), jnp.int32),
            "loss": jnp.zeros(()),
            **_first_step(jax.tree.map(jnp.zeros_like, deltas)),
        }
        return {"state": state}

    def compare(
        self, weights: Arrays, memories: Memories, state: State
    ) -> dict[str, Any]:
        memories = _in_reaches(weights, memories)
        found = {name: f(memories)._asdict() for name, f in _COMPARED.items()}
        return {"state": {**state, **found}}

    def step(
        self,
        weights: Arrays,
        memories: Memories,
        state: State,
        calls: at.Array,
    ) -> dict[str, Any]:
        memories = _in_reaches(weights, memories)
        windows = self._draw(memories, state, jnp.asarray(0))
        calibrating = state["calibrating"]

        def objective(mine: Deltas) -> at.Array:
            error = self._error(weights, mine, windows, calibrating)
            pull = self._pull(mine, state)
            return error + jnp.where(calibrating, 0.0, pull)

        deltas = state["deltas"]
        moving = self._moving(state)
        loss, slopes = jax.value_and_grad(objective)(deltas)
        gradient = jnp.where(moving, join(slopes), 0.0)
        # The memories are sound, but views of them need not be.
        seen = {name: windows[name] for name in ("states", "actions")}
        taken = jnp.isfinite(loss) & finite({**seen, "gradient": gradient})
        taken &= state["sound"]
        index = state["steps"]
        moments, direction = scale_gradient(
            Moments(state["mean"], state["square"]), gradient, index
        )
        left = jnp.maximum(1 - index / jnp.maximum(calls, 1), 0.0)
        moved = step_replay(
            deltas,
            direction,
            CONSOLIDATION_STEP * left,
            self._levels,
            moving & taken,
            self._counts,
        )
        after = {
            "mean": moments.mean,
            "square": moments.square,
            "steps": index + 1,
            "loss": loss,
        }
        kept = {name: state[name] for name in after}
        counted = {
            "refused": state["refused"] + jnp.where(taken, 0, 1),
            "drawn": state["drawn"] + 1,
        }
        chosen = choose(taken, after, kept)
        return {"state": {**state, **chosen, **counted, "deltas": moved}}

    def judge(
        self, weights: Arrays, memories: Memories, state: State
    ) -> dict[str, Any]:
        memories = _in_reaches(weights, memories)
        nothing = jax.tree.map(jnp.zeros_like, state["deltas"])

        def errors_of(turn: at.Array) -> at.Array:
            windows = self._draw(memories, state, turn)
            return jnp.stack(
                [
                    self._error(weights, deltas, windows, jnp.asarray(True))
                    for deltas in (nothing, state["deltas"])
                ]
            )

        before, after = jax.lax.map(errors_of, jnp.arange(_JUDGED_BATCHES)).mean(axis=0)
        explained = after < UNEXPLAINED * before  # nor does NaN, or no lived memory
        # What the package drove itself follows from what its sensors said, so some
        # calibration explains it, whatever has changed. Where sensors rest decides.
        explained &= ~body.Rest(**state["rest"]).says_unmoved()
        drawn = state["drawn"] + _JUDGED_BATCHES
        share = jnp.where(explained, 1 - after / jnp.where(explained, before, 1.0), 0.0)
        judged = {"explained": explained, "accounted": share}
        return {"state": {**state, **judged, "drawn": drawn}}

    def identify(
        self, weights: Arrays, memories: Memories, state: State, index: at.Array
    ) -> dict[str, Any]:
        memories = _in_reaches(weights, memories)
        response = actuation.Response(**state["response"])
        view = self._turn_back(weights, state)
        silent = silent_sensors.SilentSensors(**state["silent"])
        missed, gain = actuation.fit_gain(response, memories, view, silent, index)
        best = {"missed": missed, "gain": gain, "latency": index}
        before = {name: state[name] for name in best}
        at_once = {"missed_at_once": missed, "gain_at_once": gain}
        known = {name: state[name] for name in at_once}
        return {
            "state": {
                **state,
                **choose(missed < state["missed"], best, before),
                **choose(index == 0, at_once, known),
            }
        }

    def imagine(
        self, weights: Arrays, memories: Memories, state: State
    ) -> dict[str, Any]:
        memories = _in_reaches(weights, memories)
        known, changed = self._robots(weights, state)
        plain = as_recorded(self._sizes, KNOWN)
        rest = body.Rest(**state["rest"])
        other_sensors = state["explained"] | jnp.any(rest.moved)
        # What an actor corrects by seeing the world says more than where sensors
        # stand at rest: of a scale, for one.
        sensors = choose(
            state["explained"],
            turned_sensors.project(plain, known, changed),
            plain._replace(shift=rest.shift),
        )
        imagined = sensors._replace(gain=state["gain"], latency=state["latency"])
        told, heard = state["told"], state["response"]["heard"]
        slowed = plain._replace(pace=told, speed=_mean(told, heard))
        silent = state["silent"]["channels"]
        calibration = self._calibrate(weights, memories, state)
        start, last_good = self._begin_anew(state, calibration)
        # What the control step turns back in full needs no learning: it would only
        # change what the package does on the robot that it knows.
        turned_back = jnp.any(calibration != 0)
        shares = jnp.where(
            state["explained"],
            jnp.asarray(_SHARES["other sensors"]),
            jnp.where(
                turned_back,
                jnp.asarray(_SHARES["turned back"]),
                jnp.where(
                    other_sensors,
                    jnp.asarray(_SHARES["sensors at rest"]),
                    jnp.asarray(_SHARES["nothing found"]),
                ),
            ),
        )
        # What was lived with gaps in it shows an arm that stands still and jumps.
        shares = jnp.where(jnp.any(silent), shares.at[_AS_LIVED].set(0.0), shares)
        lived = as_recorded(self._sizes, LIVED)
        return {
            "state": {
                **state,
                "views": _stack(lived, plain, imagined, slowed),
                "shares": shares,
                "kind": self._tell_kinds(weights, memories, state),
                "calibrating": jnp.asarray(False),
                "found": findings.tell_found(known, sensors, state),
                "start": start,
                "last_good": last_good,
                **_first_step(start),
            }
        }

    def _calibrate(
        self, weights: Arrays, memories: Memories, state: State
    ) -> at.Surface:
        """The calibration [s] that is kept: what acts on the changed robot alone."""
        model, rest = self._model, body.Rest(**state["rest"])
        said = gaps.SAID_SILENT * state["silent"]["channels"]
        sensors = turned_sensors.find_calibration(
            model, weights, memories, rest
        ) + turned_sensors.make_calibration(model, {turned_sensors.SILENT: said})
        sensors, _ = surfaces.project_delta("calibration", sensors)
        known = step_function.with_weights(model, weights)
        gain, latency = findings.tell_arm(state)
        response = actuation.Response(**state["response"])
        arm = turned_sensors.make_calibration(
            model,
            actuation.describe(
                response, rest.still, known.deviation[...], gain, latency
            ),
        )
        arm = jnp.where(findings.has_other_arm(state), arm, 0.0)
        before = state["start"]["calibration"]
        # A short rest does not look for it.
        said = turned_sensors.keep(model, before, *_ARM)
        arm = jnp.where(findings.has_looked(state), arm, said)
        # Numbers that were scaled down would say something else.
        _, has_room = surfaces.project_delta("calibration", sensors + arm)
        found = jnp.where(has_room, sensors + arm, sensors)
        return jnp.where(rest.compared, found, before)

    def _begin_anew(
        self, state: State, calibration: at.Surface
    ) -> tuple[Deltas, Deltas]:
        """Where the steps begin, and the deltas that they are pulled towards.

        What was learned before for an arm that is now turned back would be done twice.
        """
        start, last_good = state["start"], state["last_good"]
        said, says = (
            jnp.any(turned_sensors.keep(self._model, one, *_ARM) != 0)
            for one in (start["calibration"], calibration)
        )
        nothing = jax.tree.map(jnp.zeros_like, start)
        begun = choose(says & ~said, nothing, start)
        pulled = choose(says & ~said, nothing, last_good)
        return {**begun, "calibration": calibration}, pulled

    def end(self, state: State) -> dict[str, Any]:
        learned = choose(state["calibrating"], state["start"], state["deltas"])
        return {"deltas": learned, "found": state["found"]}

    def _draw(
        self, memories: Memories, state: State, turn: at.Array
    ) -> dict[str, at.Array]:
        return draw_windows(
            {**memories, "kind": state["kind"]},
            View(**state["views"]),
            state["shares"],
            state["repeats"],
            state["seed"],
            state["drawn"] + turn,
            *self._batch,
        )

    def _error(
        self,
        weights: Arrays,
        deltas: Deltas,
        windows: Mapping[str, at.Array],
        action_alone: at.Array,
    ) -> at.Array:
        core = step_function.with_deltas(self._model, weights, deltas)
        begin = jnp.zeros((self._batch.windows, self._sizes.carry_size))
        prediction = core.sequence(
            windows["states"][:, :-1],
            windows["task"],
            windows["starts"],
            begin,
            sensed=senses.select(self._sizes, windows),
        )
        found = losses.imitation(
            prediction,
            windows["actions"],
            windows["states"][:, 1:],
            core.change[...],
            windows["action_weight"],
            windows["next_weight"],
            shares=_NO_HEADS,
        )
        share = jnp.where(action_alone, 0.0, NEXT_SHARE)
        return found.action + share * found.next_observation

    def _turn_back(self, weights: Arrays, state: State) -> View:
        """The view that turns states of the robot of now into those of the known one.

        The scale of a sensor would show as a gain, so it is inverted.
        """
        known, changed = self._robots(weights, state)
        plain = as_recorded(self._sizes, LIVED)
        inverted = turned_sensors.project(plain, changed, known)
        return choose(state["explained"], inverted, plain)

    def _tell_kinds(
        self, weights: Arrays, memories: Memories, state: State
    ) -> at.Array:
        response = actuation.Response(**state["response"])
        plain = as_recorded(self._sizes, KNOWN)
        ones, now = jnp.ones_like(state["gain"]), self._turn_back(weights, state)
        silent = silent_sensors.SilentSensors(**state["silent"])
        known_error, now_error = (
            actuation.measure_error(response, memories, *given)
            for given in (
                (plain, silent, ones, jnp.zeros((), jnp.int32)),
                (now, silent, state["gain"], state["latency"]),
            )
        )
        nearer = body.Rest(**state["rest"]).nearer | silent.episodes
        return body.tell_kinds(memories, nearer, known_error, now_error)

    def _moving(self, state: State) -> at.Array:
        """For every number of every surface [u], whether steps may change it now.

        None where no window is drawn: the pull alone would move what was learned.
        """
        drawn = jnp.any(state["shares"] > 0)
        due = _due_numbers(self._sizes, state["consolidations"])
        moving = {}
        for name, delta in state["deltas"].items():
            surface = drawn & (state["calibrating"] == (name in _CALIBRATED))
            if name == SKILLS:
                moving[name] = surface & due
            elif name in _CALIBRATED:
                moving[name] = surface & self._descended
            else:
                moving[name] = jnp.broadcast_to(surface, delta.shape)
        return join(moving)

    def _robots(self, weights: Arrays, state: State) -> tuple[WaveCore, WaveCore]:
        """The model as it was trained, and with the calibration that steps found."""
        found = {"calibration": state["deltas"]["calibration"]}
        known = step_function.with_weights(self._model, weights)
        return known, step_function.with_deltas(self._model, weights, found)


def _in_reaches(weights: Arrays, memories: Memories) -> Memories:
    return in_reaches(memories, weights[step_function.ACTION_REACH])


def _first_step(deltas: Deltas) -> State:
    nothing = jnp.zeros_like(join(deltas))
    return {
        "deltas": deltas,
        "mean": nothing,
        "square": nothing,
        "steps": jnp.zeros((), jnp.int32),
    }


def _make_nothing(f: Callable[[Memories], Any], memories: Memories) -> State:
    """Zeros in the shapes of what `compare` will find."""
    shapes = jax.eval_shape(f, memories)._asdict()
    return jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), shapes)


def _stack(*views: View) -> dict[str, at.Array]:
    stacked = jax.tree.map(lambda *x: jnp.stack(x), *views)
    return dict(stacked._asdict())


def _mean(numbers: at.Array, used: at.Array) -> at.Array:
    """The mean [] of the numbers that are used; 1 if none is."""
    count = jnp.sum(used)
    mean = jnp.sum(jnp.where(used, numbers, 0.0)) / jnp.maximum(count, 1)
    return jnp.where(count > 0, mean, 1.0)


def _due_numbers(sizes: WaveCoreConfig, index: at.Array) -> at.Array:
    """For every number of the skill memory [s], True if it is written at `index`."""
    levels = index % np.array(sizes.skill_periods, np.int32) == 0
    shape = (SKILL_ARRAYS, sizes.skill_levels, sizes.skill_slots * sizes.width)
    return jnp.broadcast_to(levels[:, None], shape).reshape(-1)
