"""What a package found becomes stable numbers and one line, whatever it returned."""

import numpy as np
import pytest

from edge.loops import found
from rlds import receipt


def test_late_arm_with_another_gain_and_a_moved_sensor_is_told_in_one_line() -> None:
    numbers = found.collect(
        {
            "latency_steps": np.float32(8),
            "gain": np.array([0.82, 0.82, 0], np.float32),
            "sensor_offset": np.array([0, 0, 0, 0.03], np.float32),
            "explained": np.float32(0),
        }
    )
    assert numbers == {
        "latency_steps": 8,
        "gain_0": 0.82,
        "gain_1": 0.82,
        "sensor_offset_3": 0.03,
    }
    told = found.describe(numbers)
    assert told == "arm 8 steps late, gain 0.82, sensor 3 off by +0.03"


@pytest.mark.parametrize(
    ("numbers", "told"),
    [
        ({}, ""),
        ({"latency_steps": 0, "gain_0": 1.06}, "the body as it was"),
        ({"latency_steps": 1}, "arm 1 step late"),
        ({"gain_0": 0.5, "gain_1": 1.0}, "gain 0.50 of command 0"),
        (
            {f"sensor_offset_{k}": 0.01 * k for k in range(1, 6)},
            "sensor 3 off by +0.03, sensor 4 off by +0.04, sensor 5 off by +0.05, "
            "2 more sensors off",
        ),
        ({"sensor_silent_4": 1}, "sensor 4 falls silent"),
        (
            # A record's names are sorted as text.
            {"sensor_silent_0": 1, "sensor_silent_18": 1, "sensor_silent_2": 1},
            "sensors 0, 2, 18 fall silent",
        ),
        (
            {"sensor_offset_0": -0.2, "explained": 0.58},
            "sensor 0 off by -0.2, other sensors explain 58% of the error",
        ),
    ],
)
def test_only_what_differs_from_training_is_told(
    numbers: dict[str, float], told: str
) -> None:
    assert found.describe(numbers) == told


@pytest.mark.parametrize(
    "returned",
    [
        None,
        np.zeros(3),
        {"gain": np.zeros((2, 2))},
        {"gain": np.full(4, np.inf)},
        {"latency_steps": np.zeros(2)},
        {"latency_steps": np.float32(-1), "gain": np.zeros(4)},
        {"latency_steps": np.float32(np.nan), "explained": np.float32(np.nan)},
        {"sensor_offset": np.zeros(3)},
        {"sensor_silent": np.zeros(3)},
        {"of a later package": np.ones(3)},
        {"gain": np.ones(100_000)},
        {"gain": {"of": np.ones(2)}, "explained": "much"},
    ],
)
def test_malformed_findings_are_ignored(returned: object) -> None:
    assert found.collect(returned) == {}


def test_robot_of_many_sensors_still_fits_into_a_receipt() -> None:
    numbers = found.collect({"gain": np.ones(7), "sensor_offset": np.ones(200)})
    assert 7 < len(numbers) <= 64 - 8
    every = {"explained": 0.5, "latency_steps": 2, "gain": np.ones(4)}
    numbers = found.collect({**every, "sensor_offset": np.ones(39)})
    assert numbers.keys() > {"explained", "latency_steps", "gain_3"}
    assert all(receipt._COUNT.fullmatch(name) for name in numbers)
