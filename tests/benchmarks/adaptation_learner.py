"""A robot that learns from its episodes, with the updates of `model.learn.updates`."""

import dataclasses
from collections.abc import Sequence

import jax
import numpy as np

from edge.robots.changed_robot import RobotChange
from model import step_function, surfaces
from model.export import functions
from model.learn import actuation, updates
from model.wavecore import WaveCore
from tests.benchmarks import adaptation_life as life
from tests.benchmarks import adaptation_replay as replay

FAST_WINDOW = functions.FAST_STEPS
UPDATES = 600
"""Gradient steps of one consolidation."""
CALIBRATION_UPDATES = 300
"""Gradient steps of a calibration: enough for its 82 numbers to settle."""
SEEDS_OF_A_LIFE = 1000
"""Difference of the first seeds of two lives."""
UNEXPLAINED = 0.6
"""A calibration that leaves more than this share of the action's error has not found
the change: for all changes together it leaves 0.40 to 0.47, for a late arm alone 0.92
to 0.94."""
SLOWED_SHARE = 3
"""Slowed memories per memory at full speed. With one, the unchanged robot failed in 14
of 50 episodes of push after a life with latency; with three, in 2."""
FURTHER = 1.25
"""An arm that moves this much further for some command counts as having another gain.
The gain of the unchanged robot was found as 1.0 from five episodes in three lives of
three."""


@dataclasses.dataclass(frozen=True)
class Settings:
    """How a robot lives.

    Attributes:
        episodes: number of episodes, the tasks in turn.
        rest_period: episodes from one rest to the next; at a rest the robot
            consolidates.
        driver: who drives, see `life.Driver`.
        fast: whether there is also a fast update after each control step.
        first_seed: seed of the first episode; the others follow in order.
    """

    episodes: int = 20
    rest_period: int = 5
    driver: life.Driver = "operator"
    fast: bool = False
    first_seed: int = 50_000


class Learner:
    """What a robot does to learn."""

    def __init__(
        self,
        model: WaveCore,
        tasks: Sequence[str],
        known: Sequence[replay.Memory],
        updates_per_rest: int = UPDATES,
    ) -> None:
        """Compiles the functions.

        Args:
            model: the trained model.
            tasks: tasks in the order of the one-hot input.
            known: memories of the unchanged robot, which must not be forgotten.
            updates_per_rest: gradient steps of one consolidation.
        """
        weights = step_function.weights(model)
        self._model = model
        self._tasks, self._known, self._updates = tasks, known, updates_per_rest
        self._body = life.Body(model.config, weights, tasks)
        self._weights = jax.device_put(weights)
        self._carry = weights["carry"]
        self._response = actuation.fit_response(replay.moves(known))
        self._fast = jax.jit(updates.make_fast(model))
        self._consolidate = jax.jit(updates.make_consolidate(model, updates_per_rest))
        self._calibrate = jax.jit(
            updates.make_consolidate(
                model, CALIBRATION_UPDATES, updates.CALIBRATED_SURFACES
            )
        )

    def no_deltas(self) -> life.Deltas:
        """A delta of zeros for every surface."""
        prefix = step_function.SURFACE_PREFIX
        return {
            name: np.zeros(self._weights[prefix + name].shape, np.float32)
            for name in surfaces.SURFACES
        }

    def live(
        self, change: RobotChange, settings: Settings, number: int = 0
    ) -> life.Deltas:
        """Lives the episodes of the settings on a changed robot; returns its deltas.

        Args:
            change: what is different about the robot.
            settings: how it lives.
            number: number of this life; other lives have other episodes.
        """
        first_seed = settings.first_seed + SEEDS_OF_A_LIFE * number
        random = np.random.default_rng(number)
        deltas = self.no_deltas()
        lived: list[replay.Memory] = []
        for index in range(settings.episodes):
            episode = self._body.drive(
                self._tasks[index % len(self._tasks)],
                change,
                first_seed + index,
                deltas,
                self._learn if settings.fast else None,
                driver=settings.driver,
            )
            deltas = episode.deltas
            if episode.success or settings.driver != "model":
                lived.append(episode.memory)
            rests, rest = divmod(index + 1, settings.rest_period)
            if lived and not rest:
                deltas = self._rest(random, lived, deltas, rests - 1)
        return deltas

    def _learn(
        self, deltas: life.Deltas, states: Sequence[np.ndarray], task: np.ndarray
    ) -> life.Deltas:
        """Makes a fast update over the last steps."""
        if len(states) <= FAST_WINDOW:
            return deltas
        recent = {
            "states": np.stack(states[-FAST_WINDOW - 1 :]),
            "task": np.repeat(task[None], FAST_WINDOW, axis=0),
            "starts": np.zeros(FAST_WINDOW, bool),
            "weight": np.ones(FAST_WINDOW, np.float32),
            "carry": self._carry,
        }
        return {**deltas, **self._fast(self._weights, deltas, recent)["deltas"]}

    def _rest(
        self,
        random: np.random.Generator,
        lived: Sequence[replay.Memory],
        deltas: life.Deltas,
        rested: int,
    ) -> life.Deltas:
        """Consolidates, after `rested` earlier times, with a pull to where it begins.

        The recorded episodes are few, so the robot first finds its calibration and the
        effect of its commands in them, and projects its memories onto such a robot.
        """
        kinds = self.kinds(random, lived)
        count = self._updates * functions.REPLAY_WINDOWS
        cut = replay.make_windows(random, kinds, count, functions.REPLAY_STEPS)
        cut["update_index"] = np.int32(rested)
        # A calibration acts on both robots alike, so that of the fast updates is reset.
        deltas = {**deltas, "calibration": self.no_deltas()["calibration"]}
        result = self._consolidate(self._weights, deltas, deltas, cut)
        return {**deltas, **result["deltas"]}

    def kinds(
        self, random: np.random.Generator, lived: Sequence[replay.Memory]
    ) -> list[Sequence[replay.Memory]]:
        """Kinds of memories that the robot replays, an equal share of each.

        If only the arm has changed, no observation distinguishes the robots before the
        arm has moved. Both then get the same commands, at the pace that suits the
        changed robot, and the known robot moves slowly.
        """
        changed = self._find_calibration(random, lived)
        if changed is not None:
            # The scale of the sensors would show as a gain, so it is inverted first.
            unseen = replay.project_memories(lived, changed, self._model)
            moved = actuation.identify(self._response, replay.moves(unseen))
            seen = replay.project_memories(self._known, self._model, changed)
            projected = replay.apply_actuation(seen, moved)
            return [lived, self._known, *[projected, self._known] * 2]
        moved = actuation.identify(self._response, replay.moves(lived))
        if not moved.latency_steps and moved.gain.max() > FURTHER:
            # An operator's commands to such an arm do not show how far it moves, and
            # a few episodes would be memorised. One gain for all axes, so that the
            # known robot takes the same path more slowly.
            heard = self._response.heard
            gain = np.where(heard, moved.gain[heard].mean(), 1.0)
            further = replay.apply_actuation(self._known, moved._replace(gain=gain))
            return [further, *[self._at_pace(1 / gain)] * SLOWED_SHARE]
        slowed = self._at_pace(replay.measure_pace(lived, self._known))
        return [lived, *[slowed] * SLOWED_SHARE]

    def _at_pace(self, told: np.ndarray) -> Sequence[replay.Memory]:
        """The known memories with each command scaled by its factor [a]."""
        return replay.scale_time(self._known, told, self._response.heard)

    def _find_calibration(
        self, random: np.random.Generator, lived: Sequence[replay.Memory]
    ) -> WaveCore | None:
        """The trained model, calibrated to the recorded episodes.

        It is judged by the actions alone, because the next observation also depends on
        the drives. None if no calibration explains the actions: then the sensors are
        not what changed, and projected memories would describe a robot that does not
        exist.
        """
        nothing = self.no_deltas()
        lived = replay.scale_to_full_pace(
            lived, replay.measure_pace(lived, self._known)
        )
        count = CALIBRATION_UPDATES * functions.REPLAY_WINDOWS
        cut = replay.make_windows(random, [lived], count, functions.REPLAY_STEPS)
        cut["next_weight"] = np.zeros_like(cut["next_weight"])
        cut["update_index"] = np.int32(0)
        found = self._calibrate(self._weights, nothing, nothing, cut)
        if found["loss_after"] > UNEXPLAINED * found["loss_before"]:
            return None
        name = step_function.SURFACE_PREFIX + "calibration"
        delta = found["deltas"]["calibration"]
        weights = {**self._weights, name: self._weights[name] + delta}
        return step_function.with_weights(self._model, weights)
