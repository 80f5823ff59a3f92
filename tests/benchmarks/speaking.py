"""A voice that says English words: eSpeak NG, loaded from its wheel."""

import ctypes
import functools
import importlib
import tempfile
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

RATE: Final = 16_000
_SYNCHRONOUS: Final = 2  # AUDIO_OUTPUT_SYNCHRONOUS: samples go to the callback
_SPEED, _PITCH = 1, 3  # of espeak_PARAMETER
_UTF8: Final = 1
_FULL_SCALE: Final = 32_768
_Callback = ctypes.CFUNCTYPE(
    ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.c_void_p
)

Samples = npt.NDArray[np.float32]


@functools.cache
def _open() -> tuple[Any, int, object]:
    loader: Any = importlib.import_module("espeakng_loader")
    library = ctypes.CDLL(str(loader.get_library_path()))
    # It forgets a path of more than 160 bytes, as tests have, so it gets a link.
    link = tempfile.TemporaryDirectory(dir="/tmp", prefix="voice-")
    folder = Path(link.name) / "data"
    folder.symlink_to(Path(loader.get_data_path()).absolute())
    rate = library.espeak_Initialize(_SYNCHRONOUS, 0, str(folder).encode(), 0)
    library.espeak_SetVoiceByName(b"en-us")
    return library, rate, link


def say(text: str, words_per_minute: int = 150, pitch: int = 50) -> Samples:
    """Returns the samples [n] of a text, `RATE` per second, from -1 to 1."""
    library, rate, _ = _open()
    said: list[npt.NDArray[np.int16]] = []

    def take(samples: Any, count: int, events: object) -> int:  # noqa: ANN401 - ctypes
        del events
        if samples and count > 0:
            said.append(np.ctypeslib.as_array(samples, (count,)).copy())
        return 0

    callback = _Callback(take)  # held until it is spoken
    library.espeak_SetSynthCallback(callback)
    library.espeak_SetParameter(_SPEED, words_per_minute, 0)
    library.espeak_SetParameter(_PITCH, pitch, 0)
    raw = text.encode()
    library.espeak_Synth(raw, len(raw) + 1, 0, 1, 0, _UTF8, None, None)
    library.espeak_Synchronize()
    return _resample(np.concatenate(said) / _FULL_SCALE, rate)


def _resample(samples: npt.NDArray[Any], rate: int) -> Samples:
    """The same at a lower rate, without what is above half of it."""
    count = len(samples) * RATE // rate
    spectrum = np.fft.rfft(samples)[: count // 2 + 1]
    slower = np.fft.irfft(spectrum, count) * (count / len(samples))
    return slower.astype(np.float32)
