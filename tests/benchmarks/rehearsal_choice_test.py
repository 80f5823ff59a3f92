import numpy as np

from rlds.testing import episodes
from tests.benchmarks import rehearsal_choice


def test_first_is_nearest_to_the_mean_and_each_next_farthest_from_the_others() -> None:
    points = [np.array([x, y]) for x, y in ((0, 0), (0, 9), (1, 0), (9, 9), (4, 5))]
    assert rehearsal_choice.spread(points, 1) == [4]
    assert set(rehearsal_choice.spread(points, 4)) == {4, 0, 1, 3}
    assert sorted(rehearsal_choice.spread(points, 9)) == [0, 1, 2, 3, 4]


def test_every_crowd_is_stood_for_whatever_its_size_and_units() -> None:
    random = np.random.default_rng(0)
    crowds = np.repeat(np.eye(4), (50, 3, 30, 2), axis=0) + 0.01 * random.normal(
        size=(85, 4)
    )
    for units in (np.ones(4), np.array([1, 1e3, 1e-3, 1])):
        chosen = rehearsal_choice.spread(list(crowds * units), 4)
        assert {int(np.argmax(crowds[index])) for index in chosen} == {0, 1, 2, 3}


def test_channel_that_never_changes_is_no_distance() -> None:
    points = [np.array([5.0, x]) for x in (0, 1, 2)]
    assert sorted(rehearsal_choice.spread(points, 2)) in ([0, 1], [1, 2])


def test_each_task_has_its_own_in_the_order_of_the_episodes() -> None:
    made = [
        episodes.episode(number=number, task=f"task {number % 2}")
        for number in range(9)
    ]
    chosen = rehearsal_choice.choose(made, 2)
    assert [one.metadata.task for one in chosen] == ["task 0"] * 2 + ["task 1"] * 2
    places = [next(i for i, e in enumerate(made) if e is one) for one in chosen]
    assert places == sorted(places[:2]) + sorted(places[2:])
    assert len(rehearsal_choice.choose(made, 100)) == 9
