import numpy as np
import pytest

from edge.loops.memory_arrays import Arrays
from model import step_function
from model.testing import damped_point, small_models
from model.testing.remembered import Remembered, fill
from tests.benchmarks import candidate_nights, imagined_episodes

STEPS = 24


@pytest.fixture(scope="module")
def recorded() -> Arrays:
    driven = damped_point.drive(3, STEPS, 1)
    episodes = [
        Remembered(states[: end + 1], actions[:end], task=int(task[0].argmax()))
        for states, actions, task, end in zip(*driven, (STEPS, 9, 1), strict=True)
    ]
    filled = fill(small_models.SIZES, episodes, 3, STEPS)
    return {name: np.asarray(x) for name, x in filled.items()}


def imagine(recorded: Arrays, seed: int) -> Arrays:
    model = small_models.random_model()
    weights = step_function.weights(model)
    random = np.random.default_rng(seed)
    return imagined_episodes.imagine(model, weights, recorded, random)


def test_episode_leaves_the_recording_and_is_answered_by_the_package(
    recorded: Arrays,
) -> None:
    imagined = imagine(recorded, 0)
    for name, array in recorded.items():
        assert imagined[name].shape == array.shape, name
        assert imagined[name].dtype == array.dtype, name
    assert np.all(imagined["length"] <= recorded["length"])
    assert np.all(imagined["length"] > 0)
    assert np.all(np.isfinite(imagined["states"]))
    length = int(imagined["length"][0])
    same = np.all(imagined["states"] == recorded["states"], axis=2)[0, : length + 1]
    left = int(np.argmin(same))  # the first state that is not recorded
    assert 0 < left <= length and not np.any(same[left:])
    assert length - left < imagined_episodes.IMAGINED_STEPS
    # Whatever is met, the package is asked: as candidates ask it on recordings.
    model = small_models.random_model()
    answers = candidate_nights.answer(model, step_function.weights(model), imagined)
    for row, steps in enumerate(imagined["length"]):
        np.testing.assert_allclose(
            imagined["actions"][row, :steps], answers[row, :steps], atol=1e-5
        )
        assert imagined["imitate"][row].sum() == steps


def test_other_random_numbers_imagine_other_episodes(recorded: Arrays) -> None:
    one, same, other = (imagine(recorded, seed) for seed in (0, 0, 1))
    np.testing.assert_array_equal(one["states"], same["states"])
    assert not np.array_equal(one["states"], other["states"])
