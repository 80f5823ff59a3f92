"""What is imitated of an episode depends on who acted in it."""

import numpy as np

from rlds import example_codec, imitation
from rlds.episode import Episode
from rlds.spec import EpisodeSpec
from rlds.testing import episodes

WATCHED = EpisodeSpec(state_size=3, action_size=2, interventions=True)


def make_watched(*taken_over: bool) -> Episode:
    found = episodes.episode(WATCHED, count=len(taken_over))
    marks = np.array(taken_over, np.bool_)
    return Episode(WATCHED, found.metadata, {**found.steps, "intervention": marks})


def test_whoever_drives_alone_is_imitated_as_intended() -> None:
    alone = episodes.episode(count=4).steps
    watched = make_watched(False, False, False).steps
    for steps in (alone, watched):
        assert not imitation.is_corrected(steps)
        actions = imitation.actions_to_imitate(steps)
        np.testing.assert_array_equal(actions, steps["proposed_action"])
        assert imitation.steps_to_imitate(steps).all()


def test_of_a_corrected_episode_only_what_the_person_did_is_imitated() -> None:
    steps = make_watched(False, True, True, False).steps
    assert imitation.is_corrected(steps)
    actions = imitation.actions_to_imitate(steps)
    np.testing.assert_array_equal(actions[1:3], steps["action"][1:3])
    np.testing.assert_array_equal(actions[[0, 3]], steps["proposed_action"][[0, 3]])
    assert (steps["action"] != steps["proposed_action"]).all(), (
        "or the test says little"
    )
    assert imitation.steps_to_imitate(steps).tolist() == [False, True, True, False]


def test_who_acted_survives_the_bytes_of_an_episode() -> None:
    corrected = make_watched(True, False, True)
    read = example_codec.decode(example_codec.encode(corrected))
    assert read == corrected
    assert read.spec.interventions
    assert imitation.steps_to_imitate(read.steps).tolist() == [True, False, True]
    assert not example_codec.decode(
        example_codec.encode(episodes.episode())
    ).spec.interventions
