"""What a check says of a microphone that hears, and of one that does not."""

import dataclasses
from collections.abc import Callable

import numpy as np
import pytest

from edge.check_result import Result
from edge.microphone_checks import check_microphone
from edge.robots.log_mel import FLOOR
from edge.robots.robot import Microphone, Observation, Sound
from edge.robots.simulated_point import SPEC

MS = 1_000_000
REAL = dataclasses.replace(SPEC, simulated=False, microphone=Microphone(10.0))
NOISE = np.random.default_rng(0).normal(-9.0, 0.3, (40, 4)).astype(np.float32)

Listen = Callable[[int], Sound | None]


def look(listen: Listen) -> list[Observation]:
    """What is heard in 2 s at 20 Hz."""
    state = np.zeros(2, np.float32)
    return [
        Observation(state, number * 50 * MS, sound=listen(number))
        for number in range(40)
    ]


def hear(number: int, every: int) -> Sound:
    which = number - number % every
    return Sound(NOISE[which], which * 50 * MS)


@pytest.mark.parametrize(
    ("listen", "result", "text"),
    [
        (lambda n: hear(n, 2), Result.PASSED, "9.7 values/s of 10, 4 bands, -33 dB"),
        (lambda n: None, Result.FAILED, "no sound"),
        (lambda n: hear(n, 20), Result.FAILED, "0.5 values/s of 10"),
        (lambda n: Sound(NOISE[0], n * 50 * MS), Result.FAILED, "the same sound"),
        (
            lambda n: Sound(np.full(4, FLOOR, np.float32), n * 50 * MS),
            Result.FAILED,
            "silence: 4 bands",
        ),
        (
            lambda n: Sound(NOISE[n] + 7.0, n * 50 * MS),
            Result.FAILED,
            "too loud to be heard",
        ),
        (
            lambda n: Sound(NOISE[n] * np.float32(np.nan), n * 50 * MS),
            Result.FAILED,
            "numbers that are no sound",
        ),
    ],
)
def test_microphone_is_judged_by_what_it_gave(
    listen: Listen, result: Result, text: str
) -> None:
    (check,) = check_microphone(REAL, look(listen))
    assert (check.name, check.result) == ("microphone", result)
    assert text in check.found
    assert (check.remedy != "") is (result is not Result.PASSED)


def test_robot_without_a_microphone_has_no_such_check() -> None:
    assert list(check_microphone(SPEC, look(lambda n: None))) == []


def test_simulated_microphone_needs_no_rate_and_no_noise() -> None:
    simulated = dataclasses.replace(REAL, simulated=True)
    (check,) = check_microphone(simulated, look(lambda n: Sound(NOISE[0], 0)))
    assert check.result is Result.PASSED


def test_sound_that_would_not_leave_is_told_of() -> None:
    fine = dataclasses.replace(REAL, microphone=Microphone(20.0, bands=40))
    random = np.random.default_rng(0)
    powers = random.normal(-9, 0.3, (40, 40)).astype(np.float32)
    _, note = check_microphone(fine, look(lambda n: Sound(powers[n], n * 50 * MS)))
    assert (note.name, note.result) == ("sound that leaves", Result.NOTE)
    assert note.found == "none: 40 bands are more than 4"
