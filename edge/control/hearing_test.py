"""A step records what is heard, and a package hears what it was trained on."""

import numpy as np
import pytest

from edge.control.hearing import GONE_NS, Hearing, count_bands, take
from edge.robots.robot import Observation, Sound, Vector
from release.package import TensorSpec
from rlds.coarse_sound import coarsen

MS = 1_000_000
POWERS = np.linspace(-9.0, -2.0, 8, dtype=np.float32)


def observe(now_ns: int, sound: Sound | None) -> Observation:
    return Observation(np.zeros(1, np.float32), now_ns, sound=sound)


def test_newest_sound_is_held_for_a_second_and_then_none() -> None:
    sound = Sound(POWERS, 0)
    np.testing.assert_array_equal(take(observe(0, sound), 8), POWERS)
    np.testing.assert_array_equal(take(observe(GONE_NS, sound), 8), POWERS)
    assert not take(observe(GONE_NS + 1, sound), 8).any()
    assert take(observe(0, None), 8).tolist() == [0.0] * 8


@pytest.mark.parametrize(
    "powers",
    [
        np.where(np.arange(8) == 3, np.nan, POWERS),
        np.where(np.arange(8) == 3, -np.inf, POWERS),
        np.where(np.arange(8) == 3, 1e9, POWERS),
        POWERS[:7],
        POWERS[None],
    ],
)
def test_numbers_that_are_no_sound_are_none(powers: Vector) -> None:
    assert take(observe(0, Sound(powers, 0)), 8).tolist() == [0.0] * 8


def test_package_hears_what_leaves_the_robot() -> None:
    random = np.random.default_rng(0)
    powers = random.uniform(-23, -1, (100, 8)).astype(np.float32)
    times_ns = np.arange(100) * 50 * MS
    hearing = Hearing(8)
    for _ in range(2):
        found = [
            hearing.listen(observe(int(now_ns), Sound(one, int(now_ns))))
            for one, now_ns in zip(powers, times_ns, strict=True)
        ]
        np.testing.assert_array_equal(found, coarsen(powers, times_ns))
        hearing.reset()


def test_package_hears_recorded_sound_as_it_is() -> None:
    hearing = Hearing(8)
    for number in range(5):
        sound = Sound(np.full(8, -number, np.float32), number, is_coarse=True)
        heard = hearing.listen(observe(number, sound))
        np.testing.assert_array_equal(heard, sound.powers)


def test_bands_are_those_that_the_package_states() -> None:
    state = TensorSpec("state", (3,), "float32")
    assert count_bands({"state": state}) == 0
    sound = TensorSpec("audio_mel", (5,), "float32")
    assert count_bands({"state": state, "audio_mel": sound}) == 5
