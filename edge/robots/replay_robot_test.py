import dataclasses
from pathlib import Path

import numpy as np
import pytest

from base.errors import ContinuonError
from edge.errors import ActionAfterEndError, ActionShapeError, ReplayError
from edge.robots.clock import SimulatedClock
from edge.robots.replay_robot import ReplayRobot, open_replay
from edge.robots.robot import Camera, Microphone, Observation
from edge.testing import sensed_episode, tiny_package
from edge.testing.sensed_episode import BLIND, FRONT, LATE_NS, PERIOD_NS, WRIST
from rlds import example_codec, tfrecord
from rlds.spec import EpisodeSpec
from rlds.testing import episodes

ZERO = np.zeros(4, np.float32)


def open_robot(steps: int = 5) -> ReplayRobot:
    episode = tiny_package.episode(seed=1, steps=steps)
    return ReplayRobot(episode, "episode", SimulatedClock(0))


def test_recorded_observations_are_played_once_and_in_order() -> None:
    replay = open_robot(steps=5)
    recorded = tiny_package.episode(seed=1, steps=5).steps["observation/state"]
    seen = [replay.reset(seed=9).state]
    terminal = False
    while not terminal:
        transition = replay.act(ZERO)
        terminal = transition.terminal
        assert transition.success is None
        if not terminal:
            seen.append(transition.observation.state)
    np.testing.assert_array_equal(np.stack(seen), recorded)


def test_rate_and_task_come_from_the_episode() -> None:
    spec = open_robot().spec
    assert (spec.control_hz, spec.task, spec.simulated) == (80.0, "reach-v3", True)
    assert (spec.state_size, spec.action_size) == (39, 4)


def test_reset_starts_from_the_first_observation() -> None:
    replay = open_robot()
    first = replay.reset(0).state
    replay.act(ZERO)
    np.testing.assert_array_equal(replay.reset(1).state, first)


def test_action_before_reset_or_after_the_end_is_refused() -> None:
    replay = open_robot(steps=1)
    with pytest.raises(ActionAfterEndError):
        replay.act(ZERO)
    replay.reset(0)
    assert replay.act(ZERO).terminal
    with pytest.raises(ActionAfterEndError):
        replay.act(ZERO)


def test_action_of_the_wrong_size_is_refused() -> None:
    replay = open_robot()
    replay.reset(0)
    with pytest.raises(ActionShapeError, match="4 values"):
        replay.act(np.zeros(3, np.float32))


def test_whole_file_opens_as_a_robot_and_a_truncated_one_is_refused(
    tmp_path: Path,
) -> None:
    path = tmp_path / "episode.tfrecord"
    raw = tfrecord.frame(example_codec.encode(tiny_package.episode(seed=1)))
    path.write_bytes(raw)
    assert open_replay(path, SimulatedClock(0)).spec.task == "reach-v3"
    path.write_bytes(raw[:-9])
    with pytest.raises(ContinuonError, match=r"episode\.tfrecord"):
        open_replay(path, SimulatedClock(0))


def play(replay: ReplayRobot) -> list[Observation]:
    """What it shows from its first step to its last."""
    found, terminal = [replay.reset(seed=1)], False
    while not terminal:
        after = replay.act(ZERO)
        terminal = after.terminal
        if not terminal:
            found.append(after.observation)
    return found


def test_pictures_are_shown_new_and_held_as_they_were_recorded() -> None:
    made = sensed_episode.make(steps=12)
    replay = ReplayRobot(made, "episode", SimulatedClock(0))
    assert replay.spec.cameras == (
        Camera("front", *FRONT, 20.0),
        Camera("wrist", *WRIST, 40.0),
    )
    for begin_ns in (0, 12 * PERIOD_NS):  # the same in each episode
        seen = play(replay)
        for number, one in enumerate(seen):
            now_ns = begin_ns + number * PERIOD_NS
            assert one.t_monotonic_ns == now_ns
            front = one.pictures["front"]
            assert front.jpeg == made.steps["observation/image_front"][number]
            taken_ns = now_ns - number % 4 * PERIOD_NS - LATE_NS
            assert front.t_monotonic_ns == taken_ns
            assert ("wrist" in one.pictures) is (number >= BLIND)
        assert len({id(one.pictures["front"]) for one in seen}) == 3


def test_held_picture_keeps_its_time_where_steps_were_not_even() -> None:
    made = sensed_episode.make(steps=12)
    jitter_ns = np.random.default_rng(1).integers(-900_000, 900_000, 12)
    jitter_ns[::4] = 0
    times_ns = made.steps["t_monotonic_ns"] + jitter_ns
    ages_ns = made.steps["image_age_ns_front"] + jitter_ns
    uneven = {"t_monotonic_ns": times_ns, "image_age_ns_front": ages_ns}
    made = dataclasses.replace(made, steps={**made.steps, **uneven})
    seen = play(ReplayRobot(made, "episode", SimulatedClock(0)))
    taken_ns = [one.pictures["front"].t_monotonic_ns for one in seen]
    assert len(set(taken_ns)) == 3
    new = [one.t_monotonic_ns - t for one, t in zip(seen, taken_ns, strict=True)][::4]
    assert new == [LATE_NS] * 3


def test_sound_is_heard_in_the_form_in_which_it_was_recorded() -> None:
    made = sensed_episode.make(steps=12)
    replay = ReplayRobot(made, "episode", SimulatedClock(0))
    assert replay.spec.microphone == Microphone(80.0)
    for number, one in enumerate(play(replay)):
        assert one.sound is not None
        assert one.sound.is_coarse
        assert one.sound.t_monotonic_ns == one.t_monotonic_ns
        heard = made.steps["observation/audio_mel"][number]
        np.testing.assert_array_equal(one.sound.powers, heard)


def test_camera_without_a_name_is_the_only_one_of_its_robot() -> None:
    spec = EpisodeSpec(39, 4, image=True)
    replay = ReplayRobot(episodes.episode(spec, 4), "episode", SimulatedClock(0))
    assert [camera.name for camera in replay.spec.cameras] == ["camera"]
    for one in play(replay):
        assert one.pictures["camera"].t_monotonic_ns == one.t_monotonic_ns


def test_file_with_a_broken_picture_is_refused_by_its_name_and_step(
    tmp_path: Path,
) -> None:
    path = sensed_episode.write(tmp_path, steps=12)
    jpeg = sensed_episode.make(12).steps["observation/image_wrist"][-1]
    raw = example_codec.encode(sensed_episode.make(12))
    for broken, match in (
        (b"\xff\xd8" + bytes(len(jpeg) - 2), "a whole JPEG, got"),
        (bytes(len(jpeg)), "images encoded as JPEG, got something else at step 11"),
    ):
        path.write_bytes(tfrecord.frame(raw.replace(jpeg, broken)))
        with pytest.raises(ContinuonError, match=match) as caught:
            open_replay(path, SimulatedClock(0))
        assert "image_wrist" in str(caught.value)
        assert "step 11" in str(caught.value)
        assert str(path) in str(caught.value)
        assert "\n" not in str(caught.value)


def test_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises((ReplayError, ContinuonError, OSError), match="absent"):
        open_replay(tmp_path / "absent.tfrecord", SimulatedClock(0))
