"""Recordings tell the robot of now from the one that the package knows."""

import jax
import numpy as np
import pytest

from model import config
from model.learn import actuation, body, silent_sensors
from model.learn import memories as mem
from model.learn.memories import KNOWN, LIVED, SEEN, Memories
from model.testing.remembered import Remembered, fill

SIZES = config.tiny(state_size=4, action_size=2, task_count=2)
HOME = np.array([[0.2, -0.1, 0, 1], [0.3, -0.1, 0, 1]], np.float32)
"""Where the sensors of each task stand at first: the arm in two channels, something
that lies anywhere, and a number that never changes."""
SHIFT = np.array([0.03, 0, 0, 0], np.float32)
STILL = np.zeros(4, np.float32)
ONES = np.ones(2, np.float32)


compare_rest = jax.jit(body.compare_rest)
find_quantile = jax.jit(body.find_quantile, static_argnums=2)


@pytest.mark.parametrize("share", [0.0, 0.5, 0.95, 1.0])
def test_quantile_is_that_of_the_numbers_that_are_asked_for(share: float) -> None:
    random = np.random.default_rng(3)
    values = random.normal(size=(9, 40)).astype(np.float32)
    values[random.random(values.shape) < 0.2] = np.nan
    of = random.random(values.shape) < np.linspace(0, 1, 40)
    of[:, :2] = False
    of[4, 1] = True  # one alone
    values[4, 1] = 2.0
    found = np.asarray(find_quantile(values, of, share))
    for column in range(40):
        asked = values[of[:, column] & ~np.isnan(values[:, column]), column]
        if len(asked):
            expected = np.quantile(asked, share)
            np.testing.assert_allclose(found[column], expected, rtol=1e-5, atol=1e-6)
        else:
            assert np.isnan(found[column])
    assert np.isnan(found[0])
    assert found[1] == 2


def record(
    number: int,
    kind: int,
    shift: np.ndarray = STILL,
    gain: float = 1.0,
    task: int = 0,
) -> Remembered:
    """An arm that moves by a tenth of its command, and is shaken a little."""
    random = np.random.default_rng(number)
    commands = np.repeat(random.uniform(-1, 1, (8, 2)), 5, axis=0)
    moved = 0.1 * np.clip(gain * commands, -1, 1)
    states = np.tile(HOME[task], (41, 1))
    states[1:, :2] += np.cumsum(moved + random.normal(0, 1e-3, moved.shape), axis=0)
    states[:, :2] += random.normal(0, 1e-4, 2)
    states[:, 2] += random.uniform(-1, 1)
    states = (states + shift).astype(np.float32)
    return Remembered(states, commands.astype(np.float32), None, task, kind)


def remember(*episodes: Remembered) -> Memories:
    return fill(SIZES, list(episodes), 24, 48)


def known(count: int = 6, first: int = 0) -> list[Remembered]:
    return [record(first + i, KNOWN, task=i % 2) for i in range(count)]


@pytest.mark.parametrize("kind", [LIVED, SEEN])
def test_sensor_that_stands_elsewhere_at_rest_is_found(kind: int) -> None:
    now = [record(50 + i, kind, SHIFT, task=i % 2) for i in range(4)]
    found = compare_rest(remember(*known(), *now))
    np.testing.assert_array_equal(found.moved, [True, False, False, False])
    np.testing.assert_allclose(found.shift, SHIFT, atol=5e-4)
    np.testing.assert_array_equal(
        np.asarray(found.nearer)[:10], [False] * 6 + [True] * 4
    )


FAR_HOME = np.array([0.45, 0, 0, 0], np.float32)
"""Added to where the second task begins, so that a scale shifts it further."""


@pytest.mark.parametrize("scale", [0.93, 1.07])
@pytest.mark.parametrize("tasks", ["0101", "00111", "001", "0001", "0111"])
def test_scale_that_shifts_each_place_of_rest_by_another_length_is_found(
    scale: float, tasks: str
) -> None:
    def place(one: Remembered, by: float) -> Remembered:
        states = one.states + one.task * FAR_HOME
        return one._replace(states=states * np.array([by, 1, 1, 1], np.float32))

    then = [place(one, 1.0) for one in known()]
    now = [
        place(record(50 + i, LIVED, task=int(task)), scale)
        for i, task in enumerate(tasks)
    ]
    found = compare_rest(remember(*then, *now))
    np.testing.assert_array_equal(found.moved, [True, False, False, False])
    shifts = [(scale - 1) * place for place in (0.2, 0.75)]
    assert min(shifts) - 1e-3 < found.shift[0] < max(shifts) + 1e-3


def test_two_tasks_that_begin_elsewhere_are_no_shift() -> None:
    now = [record(50 + i, LIVED, task=1) for i in range(4)]
    found = compare_rest(remember(*known(), *now))
    assert not np.any(found.moved)
    assert not np.any(found.shift)


@pytest.mark.parametrize("first", range(4))
def test_the_same_robot_has_not_moved(first: int) -> None:
    now = [record(100 * first + 50 + i, LIVED, task=i % 2) for i in range(5)]
    assert not np.any(compare_rest(remember(*known(first=first), *now)).moved)


def test_sensors_that_rest_where_they_did_are_said_to_be_unmoved() -> None:
    same = [record(50 + i, LIVED, gain=2.0, task=i % 2) for i in range(4)]
    moved = [record(50 + i, LIVED, SHIFT, task=i % 2) for i in range(4)]
    anywhere = [
        record(i, KNOWN if i < 6 else LIVED, np.float32(i % 5) * SHIFT, task=i % 2)
        for i in range(12)
    ]
    for some, says in ((same, True), (moved, False), (same[:1], False)):
        rest = compare_rest(remember(*known(), *some))
        assert bool(rest.says_unmoved()) == says
    # The second channel still begins in one place; the first does not.
    rest = compare_rest(remember(*anywhere))
    np.testing.assert_array_equal(rest.still, [False, True, False, False])
    from_zero = [
        Remembered(one.states - HOME[one.task], one.actions, None, one.task, one.kind)
        for one in (*known(), *same)
    ]
    assert not compare_rest(remember(*from_zero)).says_unmoved()


def test_one_episode_or_none_of_a_robot_tells_nothing() -> None:
    now = [record(50 + i, LIVED, SHIFT) for i in range(4)]
    for some in ([*known(), now[0]], [record(0, KNOWN), *now], now, known()):
        assert not np.any(compare_rest(remember(*some)).moved)
    elsewhere = [record(50 + i, LIVED, SHIFT, task=1) for i in range(4)]
    of_one_task = [record(i, KNOWN) for i in range(4)]
    assert not np.any(compare_rest(remember(*of_one_task, *elsewhere)).moved)


def test_numbers_that_are_not_finite_are_no_shift() -> None:
    broken = record(60, LIVED, SHIFT * np.float32(np.nan))
    found = compare_rest(remember(*known(), broken, broken, broken))
    assert not np.any(found.moved)
    np.testing.assert_array_equal(found.shift, STILL)


def test_only_the_earlier_half_of_each_task_is_sure_to_be_known() -> None:
    mixed = [record(i, KNOWN, task=int(i >= 4)) for i in range(8)]
    failed = record(20, SEEN)
    reference = body.find_reference(remember(*mixed, failed))
    expected = [True, True, False, False] * 2 + [False] * 16
    np.testing.assert_array_equal(reference, expected)


def test_latest_are_the_last_of_what_was_lived_or_seen() -> None:
    many = [record(i, (LIVED, SEEN, KNOWN)[i % 3]) for i in range(24)]
    many += [record(90, LIVED)] * 8
    latest = body.find_latest(fill(SIZES, many, 40, 48))
    assert np.sum(latest) == body.LATEST_EPISODES
    assert np.all(np.asarray(latest)[24:32])
    assert not np.any(np.asarray(latest)[:12])
    assert not np.any(np.asarray(latest)[2:24:3])


@jax.jit
def tell(memories: Memories, gain: float) -> jax.Array:
    """Kinds, with the gain of the robot of now."""
    response = actuation.fit_response(memories)
    plain = mem.as_recorded(SIZES, KNOWN)
    heard = silent_sensors.find_silent_sensors(memories)
    errors = [
        actuation.measure_error(
            response, memories, plain, heard, ONES * factor, np.int32(0)
        )
        for factor in (1.0, gain)
    ]
    return body.tell_kinds(memories, body.compare_rest(memories).nearer, *errors)


def test_success_on_the_changed_robot_counts_as_lived() -> None:
    now = [record(50 + i, LIVED, gain=2.0, task=i % 2) for i in range(4)]
    unnoticed = [record(70 + i, KNOWN, gain=2.0, task=i % 2) for i in range(4)]
    memories = remember(*known(), *unnoticed, *now)
    kinds = tell(memories, 2.0)
    np.testing.assert_array_equal(kinds[:14], [KNOWN] * 6 + [LIVED] * 8)


def test_success_with_shifted_sensors_counts_as_lived() -> None:
    now = [record(50 + i, SEEN, SHIFT, task=i % 2) for i in range(4)]
    unnoticed = [record(70 + i, KNOWN, SHIFT, task=i % 2) for i in range(4)]
    kinds = tell(remember(*known(), *unnoticed, *now), 1.0)
    np.testing.assert_array_equal(kinds[:14], [KNOWN] * 6 + [LIVED] * 4 + [SEEN] * 4)


def test_nobody_changes_kind_where_nothing_has_changed() -> None:
    now = [record(50 + i, SEEN, task=i % 2) for i in range(4)]
    kinds = tell(remember(*known(), *now), 1.0)
    np.testing.assert_array_equal(kinds[:10], [KNOWN] * 6 + [SEEN] * 4)
