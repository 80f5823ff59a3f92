"""Episodes are concatenated into one stream, with borders and equal task weights."""

import dataclasses

import numpy as np
import pytest

from cloud.dataset import step_stream
from cloud.dataset.step_stream import StepStream
from cloud.errors import DatasetError
from cloud.testing import training_episodes
from model import config, jpeg_frames, losses, places
from model.config import WaveCoreConfig
from rlds import blank_picture
from rlds.episode import Episode
from rlds.spec import EpisodeSpec
from rlds.testing import episodes as testing

TASKS = training_episodes.TASKS
CAMERA = dataclasses.replace(config.tiny(4, 2, 2), image_height=16, image_width=32)


def join(
    episodes: list[Episode],
    tasks: tuple[str, ...] = TASKS,
    state_size: int = 4,
    action_size: int = 2,
    camera: WaveCoreConfig | None = None,
) -> StepStream:
    return step_stream.join(episodes, tasks, state_size, action_size, camera=camera)


def test_episode_borders_are_marked_and_no_next_state_crosses_them() -> None:
    stream = join([training_episodes.episode(0, 5), training_episodes.episode(1, 7)])
    assert np.flatnonzero(stream.starts).tolist() == [0, 5]
    assert np.flatnonzero(stream.next_weight == 0).tolist() == [4, 11]
    assert stream.tasks.tolist() == [0] * 5 + [1] * 7


def test_tasks_weigh_the_same_whatever_the_length_of_their_episodes() -> None:
    stream = join([training_episodes.episode(0, 5), training_episodes.episode(1, 20)])
    total = np.bincount(stream.tasks, stream.action_weight)
    np.testing.assert_allclose(total, total.mean(), rtol=1e-5)
    np.testing.assert_allclose(stream.action_weight.mean(), 1, rtol=1e-5)


def test_task_without_an_episode_gets_no_weight() -> None:
    stream = join([training_episodes.episode(0, 5)])
    np.testing.assert_allclose(stream.action_weight, 1)


def test_actions_to_imitate_are_the_proposals_without_noise() -> None:
    one = training_episodes.episode(0)
    np.testing.assert_array_equal(join([one]).actions, one.steps["proposed_action"])


def test_stream_has_rewards_discounts_and_value_targets() -> None:
    made = [training_episodes.episode(0, 5), training_episodes.episode(1, 7)]
    stream = join(made)
    for name in ("reward", "discount"):
        recorded = np.concatenate([e.steps[name] for e in made])
        np.testing.assert_array_equal(getattr(stream, name), recorded)
    expected = losses.returns(stream.reward, stream.discount, stream.starts)
    np.testing.assert_array_equal(stream.values, expected)


@pytest.mark.parametrize(
    ("success", "reward", "known"),
    [(None, 0.0, 0), (None, 0.5, 1), (False, 0.0, 1), (True, 0.0, 1)],
)
def test_value_is_known_where_success_or_a_reward_says_how_it_went(
    success: bool | None, reward: float, known: int
) -> None:
    one = training_episodes.episode(0, 5)
    rewards = np.full_like(one.steps["reward"], reward)
    told = dataclasses.replace(
        one,
        metadata=dataclasses.replace(one.metadata, success=success),
        steps={**one.steps, "reward": rewards},
    )
    other = training_episodes.episode(1, 7)
    assert join([told, other]).value_known.tolist() == [known] * 5 + [1] * 7


def test_sound_is_present_if_recorded_and_images_only_if_requested() -> None:
    stream = join([training_episodes.episode(0)])
    assert stream.places is None and stream.audio_mel is None
    spec = EpisodeSpec(4, 2, image=True, audio_size=3)
    sensed = testing.episode(spec, 6, task="left")
    stream = join([sensed])
    assert stream.places is None and stream.audio_mel is not None
    np.testing.assert_array_equal(
        stream.audio_mel, sensed.steps["observation/audio_mel"]
    )


def test_places_are_found_in_frames_of_the_size_the_model_reads() -> None:
    spec = EpisodeSpec(4, 2, image=True)
    episode = testing.episode(spec, 6, task="left")
    stream = join([episode], camera=CAMERA)
    frames = jpeg_frames.decode_cameras(episode, CAMERA)
    assert frames.shape[1:3] == (CAMERA.image_height, CAMERA.image_width)
    expected = places.find_recorded(frames, CAMERA.image_colours, 1)
    np.testing.assert_array_equal(stream.places, expected)
    assert np.any(expected)


def test_places_of_several_cameras_stand_beside_each_other() -> None:
    spec = EpisodeSpec(4, 2, cameras=("front", "wrist"))
    both = dataclasses.replace(CAMERA, image_count=2)
    episode = testing.episode(spec, 6, task="left")
    other = {
        **episode.steps,
        "observation/image_wrist": (blank_picture.make(8, 8),) * 6,
    }
    stream = join([dataclasses.replace(episode, steps=other)], camera=both)
    assert stream.places is not None
    of_one = places.count(CAMERA.image_colours, 1)
    assert stream.places.shape == (6, 2 * of_one)
    assert stream.places[:, :of_one].any()
    # A blank picture is no frame.
    assert not stream.places[:, of_one:].any()
    with pytest.raises(DatasetError, match="got observation/image_front"):
        join([episode], camera=CAMERA)


def test_missing_images_and_sound_in_only_some_episodes_are_refused() -> None:
    with pytest.raises(DatasetError, match="expected camera images"):
        join([training_episodes.episode(0)], camera=CAMERA)
    sound = testing.episode(EpisodeSpec(4, 2, audio_size=3), 6, task="left")
    with pytest.raises(DatasetError, match="got sound in 1 of 2"):
        join([training_episodes.episode(0), sound])


def test_of_a_corrected_episode_only_what_the_person_did_is_imitated() -> None:
    spec = EpisodeSpec(4, 2, interventions=True)
    corrected = testing.episode(spec, 6, task="left")
    alone = testing.episode(EpisodeSpec(4, 2), 8, number=1, task="left")
    marks = corrected.steps["intervention"]
    assert marks.any() and not marks.all()
    stream = join([corrected, alone])
    weights = stream.action_weight
    assert (weights[:6] > 0).tolist() == marks.tolist()
    assert (weights[6:] > 0).all()
    np.testing.assert_allclose(weights.sum(), marks.sum() + 8, rtol=1e-6)
    np.testing.assert_array_equal(
        stream.actions[:6][marks], corrected.steps["action"][marks]
    )
    np.testing.assert_array_equal(stream.actions[6:], alone.steps["proposed_action"])


def test_episode_of_another_robot_is_refused_by_name_and_shape() -> None:
    episode = training_episodes.episode(3)
    name = episode.metadata.episode_id
    with pytest.raises(DatasetError, match=rf"{name}.*\(12, 5\), got \(12, 4\)"):
        join([episode], state_size=5)


def test_episode_of_an_unknown_task_is_refused_with_the_known_ones() -> None:
    with pytest.raises(DatasetError, match="expected a task of left, got 'right'"):
        join([training_episodes.episode(1)], tasks=("left",))


@pytest.mark.parametrize("at_once", [1, 5, 16, 100])
def test_pieces_are_in_order_and_share_their_border(at_once: int) -> None:
    stream = join(training_episodes.episodes(2))
    assert len(stream.starts) == 17
    pieces = list(step_stream.pieces(stream, at_once))
    lengths = [len(piece.starts) - 1 for piece in pieces]
    assert sum(lengths) == 16 and max(lengths) == min(at_once, 16)
    for name, column in zip(stream._fields, stream, strict=True):
        if column is not None:
            parts = [getattr(piece, name) for piece in pieces]
            joined = np.concatenate([parts[0][:1], *(part[1:] for part in parts)])
            np.testing.assert_array_equal(joined, column, err_msg=name)
