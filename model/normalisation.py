"""What makes a robot's numbers dimensionless.

States by mean and deviation of each channel, measured once on the training data;
commands by the largest that the robot takes.
"""

import dataclasses
from collections.abc import Iterable

import numpy as np

from model import errors

SMALLEST_DEVIATION = 1e-3
"""Channels that vary less count as constant and are divided by one, so that a sensor
that starts to vary after training is not magnified."""

SMALLEST_PLACES_DEVIATION = 0.01
"""Of half a frame, a third of a pixel: places that vary less count as constant."""
PLACES_DEVIATION = 0.25
"""About that of things that move in a frame, where it was not measured."""

LARGEST_INPUT = 8.0
"""Normalised inputs are clipped to this, in standard deviations."""


@dataclasses.dataclass(frozen=True)
class Statistics:
    """Scales that make observations, their changes and commands dimensionless.

    Attributes:
        mean: f32 [n], mean of the observation state, in the robot's units.
        deviation: f32 [n], standard deviation, 1 for constant channels.
        change: f32 [n], root mean square change over one step, 1 for constant channels.
        rest: f32 [k n], mean of the first states of the episodes of each task, None if
            not measured.
        audio_mean: f32 [u], mean of the log-mel channels, None if not measured.
        audio_deviation: f32 [u], their standard deviation, 1 for constant channels.
        places_mean: f32 [p], mean of the places of colours in frames
            (`model.places`), None if not measured.
        places_deviation: f32 [p], their standard deviation, 1 for constant ones.
        action_reach: f32 [a], largest absolute value of each command that the robot
            takes, in its units; None for 1.

    Raises:
        ShapeMismatchError: arrays that belong together are not vectors of one length.
        NonFiniteError: a value is not finite, or a scale is not positive.
    """

    mean: np.ndarray
    deviation: np.ndarray
    change: np.ndarray
    rest: np.ndarray | None = None
    audio_mean: np.ndarray | None = None
    audio_deviation: np.ndarray | None = None
    places_mean: np.ndarray | None = None
    places_deviation: np.ndarray | None = None
    action_reach: np.ndarray | None = None

    def __post_init__(self) -> None:
        self._check(("mean", "deviation", "change"))
        if self.rest is not None:
            self._check_rest(self.rest)
        if self.audio_mean is not None or self.audio_deviation is not None:
            self._check(("audio_mean", "audio_deviation"))
        if self.places_mean is not None or self.places_deviation is not None:
            self._check(("places_mean", "places_deviation"))
        if self.action_reach is not None:
            self._check_reach(self.action_reach)

    def _check(self, names: tuple[str, ...]) -> None:
        """Expects vectors of one length, the first a mean and the others scales."""
        first = getattr(self, names[0])
        for name in names:
            value = getattr(self, name)
            shapes = np.shape(first), np.shape(value)
            if first is None or value is None or shapes[1] != (first.size,):
                raise errors.ShapeMismatchError(
                    f"statistics {name}",
                    *shapes,
                    f"measure {', '.join(names)} on the same data",
                )
            if not np.isfinite(value).all():
                raise errors.NonFiniteError(
                    f"statistics {name}",
                    "finite numbers",
                    value,
                    "look for NaN in the episodes",
                )
            if name != names[0] and value.min() <= 0:
                raise errors.NonFiniteError(
                    f"statistics {name}",
                    "positive scales",
                    "a scale of zero or below",
                    "use normalisation.measure",
                )

    def _check_reach(self, reach: np.ndarray) -> None:
        if not (np.isfinite(reach).all() and (reach > 0).all()):
            raise errors.NonFiniteError(
                "statistics action_reach",
                "finite numbers above zero",
                reach,
                "correct the limits of actions (--action_minimum, --action_maximum)",
            )

    def _check_rest(self, rest: np.ndarray) -> None:
        if rest.ndim != 2 or rest.shape[1:] != self.mean.shape:
            raise errors.ShapeMismatchError(
                "statistics rest",
                ("tasks", *self.mean.shape),
                rest.shape,
                "measure it on the same data",
            )
        if not np.isfinite(rest).all():
            raise errors.NonFiniteError(
                "statistics rest",
                "finite numbers",
                rest,
                "look for NaN in the episodes",
            )


class Measurement:
    """Statistics of episodes that are given one after the other and not kept.

    Moments of each episode are taken in f64 and merged in the order given, so data
    of any size need one pass and the memory of one episode. Every step counts once.
    Source: Chan, Golub and LeVeque 1979, "Updating Formulae and a Pairwise Algorithm
    for Computing Sample Variances".
    """

    def __init__(self, task_count: int = 1) -> None:
        """Begins with nothing; tasks are numbered from 0."""
        self._states: _Moments | None = None
        self._sound: _Moments | None = None
        self._places: _Moments | None = None
        self._first: list[_Moments | None] = [None] * task_count
        self._changes, self._squared_changes = 0, np.zeros(())

    def add(self, states: np.ndarray, task: int = 0) -> None:
        """Takes the states [t n] of one whole episode of a task.

        Raises:
            ShapeMismatchError: the width differs from that of earlier episodes.
        """
        wide = states.astype(np.float64)
        known = self._states
        if wide.ndim != 2 or (known and known.mean.shape != wide.shape[1:]):
            raise errors.ShapeMismatchError(
                "episodes",
                f"[t {known.mean.size}]" if known else "[t n] with one n",
                wide.shape,
                "give at least one episode, all of the same robot",
            )
        self._states = _merge(known, wide)
        self._first[task] = _merge(self._first[task], wide[:1])
        self._changes += max(len(wide) - 1, 0)
        change = np.diff(wide, axis=0)
        self._squared_changes = self._squared_changes + np.square(change).sum(0)

    def add_sound(self, sound: np.ndarray) -> None:
        """Takes log-mel channels [t u]; steps without sound (all zero) do not count."""
        heard = sound[np.any(sound != 0, axis=-1)]
        self._sound = _merge(self._sound, heard.astype(np.float64))

    def add_places(self, places: np.ndarray, cameras: int = 1) -> None:
        """Takes places [t q*2c] in the frames of q cameras.

        Steps in which a camera gave no frame (all zero) do not count.
        """
        of_each = places.reshape(len(places), cameras, -1)
        seen = places[np.all(np.any(of_each != 0, axis=-1), axis=-1)]
        self._places = _merge(self._places, seen.astype(np.float64))

    def statistics(self) -> Statistics:
        """The statistics of everything added so far.

        Raises:
            ShapeMismatchError: no episode was given.
            NonFiniteError: a state or a sound held NaN or infinity.
        """
        states, sound, places = self._states, self._sound, self._places
        if states is None:
            raise errors.ShapeMismatchError(
                "episodes",
                "[t n] with one n",
                "none",
                "give at least one episode, all of the same robot",
            )
        squared_change = self._squared_changes / max(self._changes, 1)
        return Statistics(
            mean=_to_f32(states.mean),
            deviation=_scale(states.deviation, SMALLEST_DEVIATION),
            change=_scale(np.sqrt(squared_change), SMALLEST_DEVIATION / 10),
            rest=_to_f32(
                np.stack([states.mean if x is None else x.mean for x in self._first])
            ),
            audio_mean=None if sound is None else _to_f32(sound.mean),
            audio_deviation=None
            if sound is None
            else _scale(sound.deviation, SMALLEST_DEVIATION),
            places_mean=None if places is None else _to_f32(places.mean),
            places_deviation=None
            if places is None
            else _scale(places.deviation, SMALLEST_PLACES_DEVIATION),
        )


def measure(
    episodes: Iterable[np.ndarray], sounds: Iterable[np.ndarray] = ()
) -> Statistics:
    """Statistics over whole episodes, every step counted once.

    Shapes: episodes, states [t n] of each; sounds, log-mel channels [t u] of each,
    of which steps without sound (all zero) do not count.

    Raises:
        ShapeMismatchError: no episode, or episodes of different widths.
        NonFiniteError: a state or a sound holds NaN or infinity.
    """
    measurement = Measurement()
    for states in episodes:
        measurement.add(states)
    for sound in sounds:
        measurement.add_sound(sound)
    return measurement.statistics()


@dataclasses.dataclass(frozen=True)
class _Moments:
    """Count of values, and by channel their mean and summed squared deviations."""

    count: int
    mean: np.ndarray
    squared: np.ndarray

    @property
    def deviation(self) -> np.ndarray:
        return np.sqrt(self.squared / self.count)


def _merge(known: _Moments | None, values: np.ndarray) -> _Moments | None:
    """Moments of the known values and of `values` [t n] together."""
    if not len(values):
        return known
    mean = values.mean(0)
    new = _Moments(len(values), mean, np.square(values - mean).sum(0))
    if known is None:
        return new
    count = known.count + new.count
    step = new.mean - known.mean
    return _Moments(
        count,
        known.mean + step * (new.count / count),
        known.squared
        + new.squared
        + np.square(step) * (known.count * new.count / count),
    )


def _to_f32(mean: np.ndarray) -> np.ndarray:
    """As f32, without negative zeros, which text does not keep."""
    return mean.astype(np.float32) + np.float32(0)


def _scale(deviation: np.ndarray, smallest: float) -> np.ndarray:
    return np.where(deviation < smallest, 1.0, deviation).astype(np.float32)
