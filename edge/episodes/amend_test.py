"""What the operator changes of an episode, and that nothing else of it changes."""

import dataclasses
from typing import Any

import numpy as np
import pytest

from edge.episodes import amend
from edge.errors import AmendError
from rlds.episode import Episode
from rlds.spec import KNOWN_TAGS, EpisodeSpec
from rlds.testing import episodes

SPEC = EpisodeSpec(3, 2, image=True, interventions=True)


def make(count: int = 9, **changes: Any) -> Episode:
    """An episode in which no stop rule fired."""
    found = episodes.episode(SPEC, count, tags=("simulated",), **changes)
    calm = np.zeros(count, np.bool_)
    return dataclasses.replace(found, steps={**found.steps, "safety_violation": calm})


def cut(episode: Episode, first: int, last: int) -> Episode:
    """Trims a copy that is whole; steps are counted from 0."""
    return amend.trim(episode, episode, first, last)


@pytest.mark.parametrize("before", [True, False, None])
@pytest.mark.parametrize("success", [True, False, None])
def test_label_is_that_of_an_episode_whose_actor_said_so_at_its_end(
    before: bool | None, success: bool | None
) -> None:
    labelled = amend.label(make(success=before), success)
    assert labelled.metadata.success is success
    assert labelled.metadata.tags == ("simulated", "labelled_by_operator")
    ends = np.zeros(9, np.bool_)
    ends[-1] = success is True
    assert np.array_equal(labelled.steps["is_terminal"], ends)
    assert np.array_equal(labelled.steps["discount"], np.where(ends, 0.0, 1.0))


def test_label_changes_nothing_that_was_sensed_or_done() -> None:
    episode = make()
    labelled = amend.label(episode, False)
    for name in set(episode.steps) - {"is_terminal", "discount"}:
        assert np.array_equal(labelled.steps[name], episode.steps[name]), name
    kept = dataclasses.replace(
        labelled.metadata, success=True, tags=episode.metadata.tags
    )
    assert kept == episode.metadata


def test_doing_it_twice_is_doing_it_once() -> None:
    episode = make()
    for change in (
        lambda one: amend.label(one, None),
        amend.leave_out,
        lambda one: amend.trim(one, episode, 2, 6),
    ):
        assert change(change(episode)) == change(episode)


def test_episode_left_out_is_taken_in_again_by_a_label() -> None:
    left_out = amend.leave_out(make())
    assert left_out.metadata.tags == ("simulated", "left_out_by_operator")
    assert left_out.metadata.success is True
    again = amend.label(left_out, success=True)
    assert again.metadata.tags == ("simulated", "labelled_by_operator")


def test_every_tag_of_a_change_may_leave_the_robot() -> None:
    changed = cut(amend.leave_out(amend.label(make(), None)), 1, 7)
    assert len(changed.metadata.tags) == 4
    assert set(changed.metadata.tags) <= KNOWN_TAGS


def test_trimmed_episode_has_the_steps_between_as_they_were() -> None:
    episode = make()
    trimmed = cut(episode, 2, 6)
    assert trimmed.num_steps == 5
    assert trimmed.metadata.tags == ("simulated", "trimmed_by_operator")
    settled = {"is_first", "is_last", "is_terminal", "discount"}
    for name in set(episode.steps) - settled:
        assert np.array_equal(trimmed.steps[name], episode.steps[name][2:7]), name
    assert trimmed.steps["is_first"].tolist() == [True] + [False] * 4
    assert trimmed.steps["is_last"].tolist() == [False] * 4 + [True]


@pytest.mark.parametrize("success", [True, False, None])
def test_trimmed_episode_ends_as_its_operator_said_it_went(
    success: bool | None,
) -> None:
    trimmed = cut(make(success=success), 0, 4)
    assert trimmed.metadata.success is success
    assert trimmed.steps["is_terminal"].tolist() == [False] * 4 + [success is True]


def test_keeping_every_step_changes_nothing() -> None:
    episode = make()
    assert cut(episode, 0, 8) is episode


@pytest.mark.parametrize(("first", "last"), [(3, 8), (0, 1)])
def test_step_at_which_a_stop_rule_fired_is_never_cut_off(
    first: int, last: int
) -> None:
    episode = make()
    fired = np.zeros(9, np.bool_)
    fired[2] = True
    steps = {**episode.steps, "safety_violation": fired}
    marked = dataclasses.replace(episode, steps=steps)
    with pytest.raises(AmendError, match="a cut before or after step 3, where one did"):
        cut(marked, first, last)
    assert cut(marked, 2, 2).num_steps == 1


def test_copy_whose_times_count_from_elsewhere_keeps_the_same_steps() -> None:
    episode = make()
    times_ns = episode.steps["t_monotonic_ns"] + 1_767_254_472_123_456_789
    raw = dataclasses.replace(
        episode, steps={**episode.steps, "t_monotonic_ns": times_ns}
    )
    for whole in (raw, episode):
        state = amend.trim(raw, whole, 2, 6).steps["observation/state"]
        assert np.array_equal(state, episode.steps["observation/state"][2:7])
    cut_already = cut(raw, 1, 7)
    assert amend.trim(cut_already, episode, 2, 6) == cut(raw, 2, 6)


def test_at_least_one_step_stays() -> None:
    episode = make()
    with pytest.raises(AmendError, match="at least one step to stay"):
        amend.trim(cut(episode, 3, 8), episode, 0, 2)


def test_copy_that_is_no_part_of_the_episode_is_refused() -> None:
    episode = make()
    state = episode.steps["observation/state"] + 1
    other = dataclasses.replace(
        episode, steps={**episode.steps, "observation/state": state}
    )
    with pytest.raises(AmendError, match="a part of the longest copy"):
        amend.trim(other, episode, 2, 6)
