"""Windows hold whole episodes; views are what another robot would have recorded."""

from collections.abc import Mapping, Sequence

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from model import config
from model.learn import memories as mem
from model.learn.memories import KNOWN, LIVED, Memories, View
from model.testing.remembered import Remembered, fill

SIZES = config.tiny(state_size=4, action_size=2, task_count=2)
SPEED = np.array([0.1, -0.05], np.float32)
"""What a full command moves each channel by."""


LONGEST = 40
"""Steps that `see` reads of an episode, in one program for all tests."""

draw_windows = jax.jit(mem.draw_windows, static_argnums=(6, 7))


def numbered(steps: int, value: float, kind: int = KNOWN, task: int = 0) -> Remembered:
    """An episode whose numbers say which it is, and which step of it."""
    step = np.arange(steps + 1, dtype=np.float32)[:, None] / 1000
    states = np.repeat(value + step, SIZES.state_size, axis=1)
    actions = np.repeat(value / 10 + step[:-1], SIZES.action_size, axis=1)
    return Remembered(states, actions, None, task, kind)


def moved(commands: np.ndarray) -> np.ndarray:
    """Positions of an arm whose commands are speeds, then those of one step before."""
    positions = np.concatenate([np.zeros((1, 2)), np.cumsum(commands * SPEED, axis=0)])
    before = np.concatenate([positions[:1], positions[:-1]])
    return np.concatenate([positions, before], axis=1).astype(np.float32)


def remember(told: np.ndarray) -> Memories:
    """Memories of one episode of the arm; all have the same shapes."""
    return fill(SIZES, [Remembered(moved(told), told)], 2, 12)


def commands(steps: int, seed: int = 0) -> np.ndarray:
    random = np.random.default_rng(seed)
    return random.uniform(-1, 1, (steps, 2)).astype(np.float32)


def draw(
    episodes: Sequence[Remembered],
    shares: Sequence[float],
    windows: int = 20,
    steps: int = 80,
) -> Mapping[str, np.ndarray]:
    """Windows of the views as recorded, of lived and then of known memories.

    Each number of windows and steps is a program of its own, so there are few.
    """
    views = [mem.as_recorded(SIZES, kind) for kind in (LIVED, KNOWN)]
    drawn = draw_windows(
        fill(SIZES, episodes, 6, 64),
        jax.tree.map(lambda *x: jnp.stack(x), *views),
        jnp.asarray(shares, jnp.float32),
        jnp.arange(SIZES.state_size),
        np.int32(3),
        np.int32(0),
        windows,
        steps,
    )
    return {name: np.asarray(x) for name, x in drawn.items()}


@jax.jit
def read_steps(memories: Memories, view: View) -> tuple[jax.Array, jax.Array]:
    """States and actions of the first episode, with what is read beyond its end."""
    repeats, first = mem.find_repeats(memories), jnp.asarray(0)
    return jax.vmap(lambda t: mem.read(memories, view, repeats, first, t))(
        jnp.arange(LONGEST)
    )


def known_view(**different: object) -> View:
    """The view of known memories as recorded, which differs in this."""
    view = mem.as_recorded(SIZES, KNOWN)
    typed = {n: jnp.asarray(x, getattr(view, n).dtype) for n, x in different.items()}
    return view._replace(**typed)


def see(memories: Memories, **different: object) -> tuple[np.ndarray, np.ndarray]:
    """States and actions of the first known episode, in a view that differs in this."""
    view = known_view(**different)
    steps = int(mem.viewed_length(memories, view, jnp.asarray(0)))
    assert steps <= LONGEST
    states, actions = read_steps(memories, view)
    return np.asarray(states)[:steps], np.asarray(actions)[:steps]


def test_views_are_drawn_by_their_shares() -> None:
    episodes = [numbered(40, 2.0, LIVED, task=1), numbered(40, 1.0)]
    cut = draw(episodes, (0.25, 0.75), windows=400, steps=16)
    lived = cut["states"][:, 0, 0].round() == 2
    assert 60 < lived.sum() < 140
    np.testing.assert_array_equal(cut["task"][:, 0].argmax(axis=-1), lived)
    assert cut["states"].shape == (400, 17, SIZES.state_size)


@pytest.mark.parametrize("kind", [KNOWN, LIVED])
def test_view_without_a_memory_of_its_kind_is_not_drawn(kind: int) -> None:
    cut = draw([numbered(40, 1.0, kind)], (0.5, 0.5), windows=400, steps=16)
    assert (cut["action_weight"] == 1).all()
    np.testing.assert_array_equal(cut["states"][:, 0, 0].round(), 1)


def test_windows_of_no_memories_weigh_nothing() -> None:
    cut = draw([], (0.5, 0.5))
    assert not cut["action_weight"].any()
    assert not cut["next_weight"].any()
    assert all(np.isfinite(x).all() for x in cut.values())


@pytest.mark.parametrize("speed", [1.0, 0.5])
def test_only_what_a_person_did_is_imitated_of_a_corrected_episode(
    speed: float,
) -> None:
    marks = np.arange(20) >= 12  # a person took over at the twelfth step
    corrected = numbered(20, 1.0, LIVED)._replace(imitate=marks)
    memories = fill(SIZES, [corrected, numbered(20, 2.0, LIVED)], 3, 48)
    view = mem.as_recorded(SIZES, LIVED)._replace(speed=jnp.asarray(speed))
    drawn = draw_windows(
        memories,
        jax.tree.map(lambda x: x[None], view),
        jnp.ones(1),
        jnp.arange(SIZES.state_size),
        np.int32(0),
        np.int32(0),
        8,
        48,
    )
    cut = {name: np.asarray(x) for name, x in drawn.items()}
    which = cut["states"][:, :-1, 0].astype(int)
    recorded = np.floor(np.round(1000 * (cut["states"][:, :-1, 0] % 1), 2))
    assert {1, 2} <= set(which[:, 0])
    wanted = (which == 2) | (recorded >= 12)
    np.testing.assert_array_equal(cut["action_weight"], wanted)
    # How the arm moves is learned from all of it.
    assert cut["next_weight"][~wanted].all()


def test_window_is_whole_episodes_from_their_first_steps() -> None:
    episodes = [numbered(17, 1.0), numbered(19, 2.0), numbered(23, 3.0)]
    cut = draw(episodes, (0, 1))
    step = np.round(1000 * (cut["states"][:, :-1, 0] % 1))
    assert cut["starts"][:, 0].all()
    np.testing.assert_array_equal(cut["starts"], step == 0)
    lengths = {1: 17, 2: 19, 3: 23}
    for row, starts in zip(cut["states"][:, :, 0], cut["starts"], strict=True):
        first = np.flatnonzero(starts)
        begun = row[first].astype(int)
        np.testing.assert_array_equal(np.diff(first), [lengths[i] for i in begun[:-1]])
    assert (cut["action_weight"] == 1).all()


def test_each_weighted_step_keeps_its_own_action_and_next_state() -> None:
    cut = draw([numbered(17, 0.0), numbered(40, 0.0)], (0, 1))
    step = np.round(1000 * cut["states"][:, :, 0])
    action = np.round(1000 * cut["actions"][:, :, 0])
    np.testing.assert_array_equal(step[:, :-1], action)
    followed = cut["next_weight"] > 0
    np.testing.assert_array_equal(step[:, 1:][followed], action[followed] + 1)
    np.testing.assert_array_equal(followed[:, :-1], ~cut["starts"][:, 1:])


def test_rest_of_a_window_is_empty_if_its_episodes_are_very_short() -> None:
    cut = draw([numbered(3, 1.0)], (0, 1))
    filled = cut["action_weight"].sum(axis=1)
    assert ((filled > 0) & (filled < 80)).all()
    assert filled[0] % 3 == 0


def test_episode_longer_than_the_arrays_is_cut_at_their_end() -> None:
    cut = draw([numbered(200, 0.0)], (0, 1))
    for starts in cut["starts"]:
        assert starts.nonzero()[0].tolist() == [0, 64]


def test_repeating_channels_are_found_and_constant_ones_are_not() -> None:
    episodes = [Remembered(moved(commands(8, s)), commands(8, s)) for s in (1, 2)]
    assert mem.find_repeats(fill(SIZES, episodes, 3, 9)).tolist() == [0, 1, 0, 1]
    still = [Remembered(np.ones((9, 4), np.float32), commands(8))]
    assert mem.find_repeats(fill(SIZES, still, 3, 9)).tolist() == [0, 1, 2, 3]


def test_view_as_recorded_changes_nothing() -> None:
    told = commands(7)
    states, actions = see(remember(told))
    np.testing.assert_array_equal(states, moved(told)[:-1])
    np.testing.assert_array_equal(actions, told)


def test_robot_with_halved_commands_moves_as_the_slowed_view_says() -> None:
    told = np.repeat(commands(6), 2, axis=0)  # each command twice, to halve exactly
    known = remember(told)
    states, actions = see(known, speed=0.5, pace=np.full(2, 0.5, np.float32))
    np.testing.assert_allclose(moved(actions)[:-1], states, atol=1e-6)


@pytest.mark.parametrize("speed", [0.3, 0.55, 0.9])
def test_slow_episode_ends_where_the_fast_one_does(speed: float) -> None:
    told = commands(11)
    known = remember(told)
    states, actions = see(known, speed=np.float32(speed))
    assert len(actions) == int(np.ceil(np.float32(11 / np.float32(speed))))
    last = np.asarray(read_steps(known, known_view(speed=speed))[0])[len(actions)]
    np.testing.assert_allclose(states[0], moved(told)[0])
    np.testing.assert_allclose(last[:2], moved(told)[-1][:2], atol=1e-6)


def test_late_arm_that_moves_further_needs_smaller_commands_and_stands_at_first() -> (
    None
):
    told, gain = commands(9), np.array([2.0, 1.0], np.float32)
    states, actions = see(remember(told), gain=gain, latency=2)
    np.testing.assert_array_equal(states[:3, :2], moved(told)[[0, 0, 0], :2])
    np.testing.assert_array_equal(states[2:, :2], moved(told)[:7, :2])
    np.testing.assert_allclose(actions * gain, told, rtol=1e-6)


def test_robot_stands_still_if_the_latency_is_longer_than_the_episode() -> None:
    told = commands(9)
    known = remember(told)
    states, _ = see(known, latency=100)
    np.testing.assert_array_equal(states, np.zeros_like(states))


def test_shifted_commands_stay_within_the_limits() -> None:
    told = commands(9)
    known = remember(told)
    shift = np.array([0.5, 0.0], np.float32)
    _, actions = see(known, action_shift=shift)
    np.testing.assert_allclose(actions, np.clip(told + shift, -1, 1), rtol=1e-6)
