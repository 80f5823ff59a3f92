"""Sounds that tests make: tones, noise, and the WAV files that hold them."""

import wave
from pathlib import Path

import numpy as np
import numpy.typing as npt

Samples = npt.NDArray[np.float32]


def make_tone(rate: int, hz: float, seconds: float, loudness: float = 0.5) -> Samples:
    """A sine, [n] from -1 to 1."""
    times = np.arange(round(rate * seconds)) / rate
    return (loudness * np.sin(2 * np.pi * hz * times)).astype(np.float32)


def make_noise(rate: int, seconds: float, seed: int = 0) -> Samples:
    """White noise, no half second of which is like another, [n] from -1 to 1."""
    random = np.random.default_rng(seed)
    loudness = np.repeat(random.uniform(0.02, 0.3, round(2 * seconds) + 1), rate // 2)
    count = round(rate * seconds)
    noise = random.uniform(-1.0, 1.0, count) * loudness[:count]
    return noise.astype(np.float32)


def to_pcm(samples: Samples) -> bytes:
    """The samples as 16-bit numbers, as a sound card gives them."""
    return np.round(samples * 32767).astype("<i2").tobytes()


def write_wav(path: Path, samples: Samples, rate: int, channels: int = 1) -> Path:
    """Writes samples [n] to each channel of a WAV file, and returns its path."""
    with wave.open(str(path), "wb") as file:
        file.setnchannels(channels)
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes(to_pcm(np.repeat(samples, channels)))
    return path
