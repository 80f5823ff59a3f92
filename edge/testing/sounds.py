"""Sounds that tests make: tones, noise, and the WAV files that hold them."""

import wave
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt

Samples = npt.NDArray[np.float32]

_PROBE: Final = 24  # samples in a row: no other bytes are the same by chance


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


def list_files_with(samples: Samples, folder: Path) -> list[str]:
    """The files below a folder that hold some of these samples, in any form."""
    pcm = to_pcm(samples)
    forms = [np.frombuffer(pcm, "<i2").astype(kind) for kind in ("<i2", "<f4", "<f8")]
    forms += [samples.astype("<f4"), samples.astype("<f8")]
    probes = [
        form[start : start + _PROBE].tobytes()
        for form in forms
        for start in range(0, len(samples) - _PROBE, len(samples) // 80)
    ]
    found = []
    for path in sorted(folder.rglob("*")):
        if path.is_file() and not path.is_symlink():
            content = path.read_bytes()
            if any(probe in content for probe in probes):
                found.append(path.relative_to(folder).as_posix())
    return found
