"""Samples of a microphone as the powers of a few bands; nothing else of them is kept.

    samples [n] f32 -> frames of 25 ms, every 12.5 ms -> power spectra -> bands, mean

Bands overlap as triangles do and are equally wide in mel, as an ear hears pitch:
m = 1127 ln(1 + f / 700). A spectrum is divided so that the powers of all bands together
are the mean square of the samples; a sine as loud as any has 0.5. So no sound has the
logarithm 0 in all bands, which stands for no sound.

Sources: O'Shaughnessy 1987, Speech Communication: Human and Machine, page 150 (mel);
Welch 1967, IEEE Trans. Audio Electroacoust. 15, 70 (means of windowed spectra).
"""

from collections.abc import Iterator
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from edge.robots.robot import Vector

LOWEST_RATE: Final = 16_000
"""Samples per second from which all bands can be heard."""
HIGHEST_RATE: Final = 192_000
LOWEST_HZ, HIGHEST_HZ = 60.0, 8_000.0
"""Where the lowest band begins and the highest one ends."""
HOPS_HZ: Final = 80
"""Spectra per second."""
FLOOR: Final = -23.0
"""The logarithm of the power of silence: 16 bits hear no less."""
_SMALLEST: Final = 1e-30  # that has a logarithm


class LogMel:
    """Turns the samples of one microphone, as they come, into values.

    Attributes:
        hz: values per second, the nearest that whole spectra allow.
    """

    def __init__(self, rate: int, hz: float, bands: int) -> None:
        """Begins before the first sample.

        Args:
            rate: samples per second, `LOWEST_RATE` to `HIGHEST_RATE`.
            hz: values per second that are wanted.
            bands: numbers of each value.
        """
        self._hops = max(1, round(HOPS_HZ / hz))
        self.hz = HOPS_HZ / self._hops
        self._rate = rate
        window = np.hanning(2 * rate // HOPS_HZ + 2)[1:-1]
        self._window = window.astype(np.float32)
        size = 1 << (len(window) - 1).bit_length()
        frequencies = np.fft.rfftfreq(size, 1.0 / rate)
        scale = 2.0 / (size * float(np.square(window).sum()))
        self._filters = (scale * make_filters(frequencies, bands)).astype(np.float32)
        self._size = size
        self._spare = np.zeros(0, np.float32)  # of the frames that are not whole yet
        self._sum = np.zeros(bands, np.float64)
        self._taken = 0  # spectra so far

    def add(self, samples: npt.NDArray[np.float32]) -> Iterator[tuple[Vector, int]]:
        """Takes samples [n] from -1 to 1.

        Yields:
            Each value [bands] that is complete, and how many samples came behind it.
        """
        heard = np.concatenate((self._spare, samples))
        start = 0
        while True:
            end = start + len(self._window)
            if end > len(heard):
                break
            self._sum += self._measure(heard[start:end])
            start += self._count_hop()
            if self._taken % self._hops == 0:
                value = np.log(np.maximum(self._sum / self._hops, _SMALLEST))
                self._sum[:] = 0.0
                yield np.maximum(value, FLOOR).astype(np.float32), len(heard) - end
        self._spare = heard[start:].copy()

    def _count_hop(self) -> int:
        """Samples to the next spectrum, which stays in time with any rate."""
        before, self._taken = self._taken, self._taken + 1
        return self._taken * self._rate // HOPS_HZ - before * self._rate // HOPS_HZ

    def _measure(self, frame: npt.NDArray[np.float32]) -> npt.NDArray[Any]:
        """The power of each band of a frame, without what its samples are about."""
        spectrum = np.fft.rfft((frame - frame.mean()) * self._window, self._size)
        powers: npt.NDArray[Any] = self._filters @ np.square(np.abs(spectrum))
        return powers


def make_filters(frequencies: npt.NDArray[Any], bands: int) -> npt.NDArray[np.float64]:
    """The share of each frequency in each band: [f] in Hz to [bands f].

    Neighbours share what is between them, so that nothing counts twice.
    """
    mel = _to_mel(np.asarray(frequencies, np.float64))
    low, high = _to_mel(np.array([LOWEST_HZ, HIGHEST_HZ]))
    corners = np.linspace(low, high, bands + 2)
    rising = (mel - corners[:-2, None]) / (corners[1:-1] - corners[:-2])[:, None]
    falling = (corners[2:, None] - mel) / (corners[2:] - corners[1:-1])[:, None]
    share: npt.NDArray[np.float64] = np.clip(np.minimum(rising, falling), 0.0, 1.0)
    return share


def _to_mel(hz: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
    mel: npt.NDArray[np.float64] = 1127.0 * np.log1p(hz / 700.0)
    return mel
