"""Samples made again from log-mel powers, as well as that can be done without learning.

Powers are interpolated in time and spread evenly over the frequencies of their band;
phases are found so that the spectra of neighbouring frames agree.

Source: Griffin and Lim 1984, IEEE Trans. Acoust. Speech Signal Process. 32, 236.
"""

from typing import Any, Final

import numpy as np
import numpy.typing as npt

from edge.robots.log_mel import LogMel, make_filters

_WINDOW, _HOP, _SIZE = 400, 200, 512  # samples: 25 and 12.5 ms at 16 kHz
_ROUNDS: Final = 30

Array = npt.NDArray[Any]


def measure(
    samples: npt.NDArray[np.float32], rate: int, hz: float, bands: int
) -> Array:
    """Powers [t bands] of samples [n], as a robot computes them."""
    log_mel = LogMel(rate, hz, bands)
    return np.stack([powers for powers, _ in log_mel.add(np.pad(samples, (200, rate)))])


def speak(powers: Array, hz: float, rate: int, count: int) -> npt.NDArray[np.float32]:
    """Returns samples [count] whose powers are these [t bands], `hz` per second."""
    magnitudes = _spread(powers, hz, rate, count // _HOP + 1)
    random = np.random.default_rng(0)
    phases = np.exp(2j * np.pi * random.random(magnitudes.shape))
    for _ in range(_ROUNDS):
        heard = _analyse(_join(magnitudes * phases), len(magnitudes))
        phases = np.exp(1j * np.angle(heard))
    return _join(magnitudes * phases)[:count].astype(np.float32)


def _spread(powers: Array, hz: float, rate: int, frames: int) -> Array:
    """Magnitudes of spectra [frames f] from powers [t bands]."""
    bands = powers.shape[1]
    middles = (np.arange(len(powers)) + 0.5) / hz
    times = np.arange(frames) * _HOP / rate
    at_frames = [np.interp(times, middles, band) for band in powers.T]
    filters = make_filters(np.fft.rfftfreq(_SIZE, 1.0 / rate), bands)
    share = filters / np.maximum(filters.sum(axis=1, keepdims=True), 1e-9)
    return np.sqrt(np.exp(np.stack(at_frames, axis=1)) @ share)


def _window() -> Array:
    return np.hanning(_WINDOW + 2)[1:-1]


def _join(spectra: Array) -> Array:
    """Samples whose overlapping frames have these spectra, as nearly as they can."""
    window, count = _window(), len(spectra) * _HOP + _WINDOW
    summed, weights = np.zeros(count), np.zeros(count)
    for number, frame in enumerate(np.fft.irfft(spectra, _SIZE, axis=1)[:, :_WINDOW]):
        at = slice(number * _HOP, number * _HOP + _WINDOW)
        summed[at] += frame * window
        weights[at] += window**2
    return summed / np.maximum(weights, 1e-3)


def _analyse(samples: Array, frames: int) -> Array:
    starts = np.arange(frames)[:, None] * _HOP + np.arange(_WINDOW)
    return np.fft.rfft(samples[starts] * _window(), _SIZE, axis=1)
