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
"""Gradient steps of a calibration: 82 numbers settle within them."""
SEEDS_OF_A_LIFE = 1000
"""From the first episode of one life to that of the next."""
UNEXPLAINED = 0.6
"""A calibration that leaves more than this share of the action's error has not found
the change: one of all changes together leaves 0.40 to 0.47, one of a late arm alone
0.92 to 0.94."""
SLOWED_SHARE = 3
"""Slowed memories for each that is not. With one, the robot as it was failed 14 of 50
episodes of push after a life with latency, with three 2."""
FURTHER = 1.25
"""An arm that moves this much further for some command has another gain. That of the
robot as it was is found as 1.0 from five episodes, of three lives in three."""


@dataclasses.dataclass(frozen=True)
class Settings:
    """How a robot lives.

    Attributes:
        episodes: lived, the tasks in turn.
        rest_period: episodes from one rest to the next; the robot consolidates then.
        driver: who drives, see `life.Driver`.
        fast: whether there is a fast update after each control step as well.
        first_seed: of the first episode; the next ones follow.
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
            model: as it was trained.
            tasks: in the order the model tells them apart.
            known: what the robot must not forget.
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
        """The settings' episodes on a robot so changed, and what was learned there.

        Args:
            change: what is different about the robot.
            settings: how it lives.
            number: of this life; others have other episodes.
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
        """A fast update over the last steps."""
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
        """The consolidation after `rested` others, pulled towards where it begins.

        What was lived is little, so the robot first looks for its calibration in it,
        and for what its commands do, and imagines all that it knows on such a robot.
        """
        kinds = self.kinds(random, lived)
        count = self._updates * functions.REPLAY_WINDOWS
        cut = replay.windows(random, kinds, count, functions.REPLAY_STEPS)
        cut["update_index"] = np.int32(rested)
        # A calibration acts on both robots alike, so that of fast updates ends here.
        deltas = {**deltas, "calibration": self.no_deltas()["calibration"]}
        result = self._consolidate(self._weights, deltas, deltas, cut)
        return {**deltas, **result["deltas"]}

    def kinds(
        self, random: np.random.Generator, lived: Sequence[replay.Memory]
    ) -> list[Sequence[replay.Memory]]:
        """Kinds of memories, an equal share of each, which the robot replays.

        Where only the arm has changed, no observation tells the robots apart before
        the arm has moved. Both are then told the same, at the pace that suits the
        changed one, and the known one moves slowly.
        """
        changed = self._calibrated(random, lived)
        if changed is not None:
            # The sensors' scale would show as a gain, so it is turned back first.
            unseen = replay.seen_through(lived, changed, self._model)
            moved = actuation.identify(self._response, replay.moves(unseen))
            seen = replay.seen_through(self._known, self._model, changed)
            imagined = replay.moved_by(seen, moved)
            return [lived, self._known, *[imagined, self._known] * 2]
        moved = actuation.identify(self._response, replay.moves(lived))
        if not moved.latency_steps and moved.gain.max() > FURTHER:
            # What an operator asks of such an arm does not say how far it moves, and
            # a few episodes of it are learned by heart. One gain for all axes, so that
            # the known robot goes the same way more slowly.
            heard = self._response.heard
            gain = np.where(heard, moved.gain[heard].mean(), 1.0)
            further = replay.moved_by(self._known, moved._replace(gain=gain))
            return [further, *[self._at_pace(1 / gain)] * SLOWED_SHARE]
        slowed = self._at_pace(replay.pace_of(lived, self._known))
        return [lived, *[slowed] * SLOWED_SHARE]

    def _at_pace(self, told: np.ndarray) -> Sequence[replay.Memory]:
        """What is known, of a robot that is told so much of each command [a]."""
        return replay.scale_time(self._known, told, self._response.heard)

    def _calibrated(
        self, random: np.random.Generator, lived: Sequence[replay.Memory]
    ) -> WaveCore | None:
        """The model as it was trained, calibrated to what was lived.

        Judged by the actions alone: what the robot sees next depends on its drives as
        well. None where a calibration does not explain them: then it was not the
        sensors that changed, and what would be imagined is no robot that there is.
        """
        nothing = self.no_deltas()
        lived = replay.at_full_pace(lived, replay.pace_of(lived, self._known))
        count = CALIBRATION_UPDATES * functions.REPLAY_WINDOWS
        cut = replay.windows(random, [lived], count, functions.REPLAY_STEPS)
        cut["next_weight"] = np.zeros_like(cut["next_weight"])
        cut["update_index"] = np.int32(0)
        found = self._calibrate(self._weights, nothing, nothing, cut)
        if found["loss_after"] > UNEXPLAINED * found["loss_before"]:
            return None
        name = step_function.SURFACE_PREFIX + "calibration"
        delta = found["deltas"]["calibration"]
        weights = {**self._weights, name: self._weights[name] + delta}
        return step_function.with_weights(self._model, weights)
