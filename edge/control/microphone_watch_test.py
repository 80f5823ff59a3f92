"""A microphone that does not hear is noticed once, and again when it hears."""

import numpy as np
import pytest

from edge.control.microphone_watch import MicrophoneWatch
from edge.robots.log_mel import FLOOR
from edge.robots.robot import Microphone, Observation, Sound, Vector

MS = 1_000_000
MICROPHONE = Microphone(20.0, bands=8)
STEPS_MS = range(0, 8000, 50)


def make(at_ms: int) -> Vector:
    return np.full(8, -5.0 - at_ms / 1e4, np.float32)


def notice(
    watch: MicrophoneWatch, at_ms: int, heard_ms: int, powers: Vector | None
) -> str | None:
    sound = None if powers is None else Sound(powers, heard_ms * MS)
    return watch.notice(Observation(np.zeros(1, np.float32), at_ms * MS, sound=sound))


def test_microphone_that_hears_is_no_news() -> None:
    watch = MicrophoneWatch(MICROPHONE, has_noise=True)
    for at in STEPS_MS:
        heard = at - at % 500
        assert notice(watch, at, heard, make(heard)) is None
    assert (watch.has_stood, watch.stands) == (False, "")


@pytest.mark.parametrize("has_noise", [True, False])
def test_microphone_that_vanishes_is_told_of_once_and_when_it_is_back(
    has_noise: bool,
) -> None:
    watch = MicrophoneWatch(MICROPHONE, has_noise=has_noise)
    told = []
    for at in STEPS_MS:
        heard = at if at < 1000 or at >= 4000 else 950
        if line := notice(watch, at, heard, make(heard)):
            told.append((at, line))
        if at == 3000:
            assert watch.stands == "the microphone gives no more sound"
    assert [at for at, _ in told] == [2000, 4000]
    assert told[0][1].startswith("the microphone gives no more sound: the robot drives")
    assert told[1][1] == "the microphone hears again"
    assert watch.has_stood
    assert watch.stands == ""


def test_microphone_that_never_gave_sound_is_told_of_after_a_second() -> None:
    watch = MicrophoneWatch(MICROPHONE, has_noise=True)
    lines = [notice(watch, at, 0, None) for at in STEPS_MS]
    assert [number for number, line in enumerate(lines) if line] == [20]
    assert "has given no sound" in str(lines[20])


@pytest.mark.parametrize(
    ("powers", "text"),
    [
        (np.full(8, FLOOR, np.float32), "the microphone gives silence"),
        (make(0), "the microphone gives the same sound"),
    ],
)
def test_silent_or_frozen_microphone_is_told_of_unless_it_is_simulated(
    powers: Vector, text: str
) -> None:
    for has_noise in (True, False):
        watch = MicrophoneWatch(MICROPHONE, has_noise=has_noise)
        told = [
            line for at in STEPS_MS if (line := notice(watch, at, at, powers.copy()))
        ]
        assert len(told) == has_noise
        assert watch.has_stood is has_noise
        if has_noise:
            assert told[0].startswith(text)


@pytest.mark.parametrize("value", [np.nan, np.inf, 1e6])
def test_numbers_that_are_no_sound_are_told_of_at_once(value: float) -> None:
    watch = MicrophoneWatch(MICROPHONE, has_noise=False)
    powers = make(0)
    assert notice(watch, 0, 0, powers) is None
    powers = powers.copy()
    powers[3] = value
    assert "numbers that are no sound" in str(notice(watch, 50, 50, powers))
    assert notice(watch, 100, 100, powers) is None
    assert notice(watch, 150, 150, make(0)) == "the microphone hears again"
