"""WAV files of any rate and channels are heard; others are refused in one line."""

import struct
import wave
from pathlib import Path

import numpy as np
import pytest

from edge.errors import MicrophoneError
from edge.robots import wav_file
from edge.testing.sounds import make_noise, make_tone, write_wav


@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("rate", [16_000, 44_100, 48_000])
def test_samples_are_read_at_their_own_rate(
    tmp_path: Path, rate: int, channels: int
) -> None:
    noise = make_noise(rate, 1.5)
    found, rate_found = wav_file.read(
        write_wav(tmp_path / "a.wav", noise, rate, channels)
    )
    assert rate_found == rate
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, noise, atol=1e-4)


def make_wav(path: Path, rate: int, bits: int) -> None:
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(bits // 8)
        file.setframerate(rate)
        file.writeframes(bytes(2 * rate * bits // 8))


@pytest.mark.parametrize(
    ("rate", "bits", "text"),
    [
        (8000, 16, "expected 16000 to 192000 samples per second, got 8000"),
        (16_000, 24, "expected samples of 16 bits, got 24 bits; convert it"),
        (16_000, 8, "expected samples of 16 bits, got 8 bits"),
    ],
)
def test_other_rates_and_samples_are_refused(
    tmp_path: Path, rate: int, bits: int, text: str
) -> None:
    make_wav(tmp_path / "a.wav", rate, bits)
    with pytest.raises(MicrophoneError, match=text):
        wav_file.read(tmp_path / "a.wav")


FLOATS = (
    b"RIFF"
    + struct.pack("<I", 44)
    + b"WAVEfmt "
    + struct.pack("<IHHIIHH", 16, 3, 1, 16_000, 64_000, 4, 32)
    + b"data"
    + struct.pack("<I", 8)
    + bytes(8)
)


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (b"", "a WAV file of 16-bit samples, got an empty one"),
        (b"not sound at all", "got file does not start with RIFF id"),
        (FLOATS, "got unknown format: 3"),
        (None, "got .*No such file"),
    ],
)
def test_what_is_no_sound_is_refused(
    tmp_path: Path, content: bytes | None, text: str
) -> None:
    path = tmp_path / "a.wav"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(MicrophoneError, match=text) as e:
        wav_file.read(path)
    assert "\n" not in str(e.value)


def test_file_that_was_cut_off_is_heard_as_far_as_it_goes(tmp_path: Path) -> None:
    tone = make_tone(16_000, 440.0, 3.0)
    path = write_wav(tmp_path / "a.wav", tone, 16_000)
    raw = path.read_bytes()
    path.write_bytes(raw[: 44 + 2 * 20_000 + 1])
    np.testing.assert_allclose(wav_file.read(path)[0], tone[:20_000], atol=1e-4)
    path.write_bytes(raw[: 44 + 2 * 15_000])
    with pytest.raises(MicrophoneError, match=r"a second of sound, got 15000 samples"):
        wav_file.read(path)


def test_file_that_is_too_large_for_memory_is_refused_before_it_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_wav(tmp_path / "a.wav", make_tone(16_000, 440.0, 3.0), 16_000)
    monkeypatch.setattr(wav_file, "LARGEST_BYTES", 95_999)
    with pytest.raises(MicrophoneError, match=r"at most 95999 bytes .* cut it"):
        wav_file.read(path)
