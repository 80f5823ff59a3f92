"""Reads the samples of a WAV file, of any rate that can be heard with."""

import wave
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt

from base.errors import one_line
from edge.errors import MicrophoneError
from edge.robots.log_mel import HIGHEST_RATE, LOWEST_RATE

LARGEST_BYTES: Final = 64 * 1024 * 1024
"""Six minutes of two channels at 48,000 samples per second; it is held in memory."""
_BITS: Final = 16
_FULL_SCALE: Final = 1 << (_BITS - 1)


def read(path: Path) -> tuple[npt.NDArray[np.float32], int]:
    """Returns the samples [n] from -1 to 1, and how many there are in a second.

    Several channels become their mean.

    Raises:
        MicrophoneError: there is none, or it is not of 16-bit samples, too slow, too
            fast, too short or too large.
    """
    try:
        with path.open("rb") as file, wave.open(file) as sound:
            form = sound.getparams()
            _require_form(path, form)
            # A header may promise more than there is.
            raw = sound.readframes(LARGEST_BYTES // (form.nchannels * form.sampwidth))
    except (OSError, EOFError, wave.Error) as e:
        got = one_line(e) or "an empty one"
        raise MicrophoneError(path, "a WAV file of 16-bit samples", got) from e
    channels, left = form.nchannels, len(raw) % (2 * form.nchannels)
    found = np.frombuffer(raw[: len(raw) - left], "<i2").reshape(-1, channels)
    if len(found) < form.framerate:
        raise MicrophoneError(path, "a second of sound", f"{len(found)} samples")
    samples = found.mean(axis=1, dtype=np.float32) / np.float32(_FULL_SCALE)
    return samples, form.framerate


def _require_form(path: Path, form: "wave._wave_params") -> None:
    if 8 * form.sampwidth != _BITS:
        raise MicrophoneError(
            path,
            f"samples of {_BITS} bits",
            f"{8 * form.sampwidth} bits",
            f"convert it: sox {path.name} -b 16 out.wav",
        )
    if not LOWEST_RATE <= form.framerate <= HIGHEST_RATE:
        raise MicrophoneError(
            path,
            f"{LOWEST_RATE} to {HIGHEST_RATE} samples per second",
            form.framerate,
            "record at a rate at which all bands can be heard, such as 16000 or 48000",
        )
    if form.nframes * form.nchannels * form.sampwidth > LARGEST_BYTES:
        raise MicrophoneError(
            path, f"at most {LARGEST_BYTES} bytes of samples", "more", "cut it"
        )
