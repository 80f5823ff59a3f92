"""An episode that becomes too large is cut: nothing is lost and control goes on."""

import os
import signal
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from base.errors import DiskError
from edge.control.control_step import ControlStep
from edge.episodes import episode_id
from edge.episodes.recorder import EpisodeRecorder
from edge.robots.robot import Observation
from rlds import reader, recovery
from rlds.episode import Episode
from rlds.errors import EpisodeExistsError
from rlds.spec import LEFT_OUT_TAG, EpisodeSpec, StopRule
from rlds.testing import episodes as testing

SPEC = EpisodeSpec(39, 4)
LIMIT_BYTES = 20_000
STEPS = 300


def step(number: int) -> ControlStep:
    return ControlStep(
        observation=Observation(np.full(39, number, np.float32), number),
        action=np.zeros(4, np.float32),
        proposed_action=np.zeros(4, np.float32),
        reward=0.0,
        discount=0.0 if number == STEPS - 1 else 1.0,
        is_first=number == 0,
        is_last=number == STEPS - 1,
        is_terminal=number == STEPS - 1,
        deadline_missed=False,
        safety_violation=False,
    )


def open_recorder(
    folder: Path, on_begin: Callable[[str], None] | None = None
) -> EpisodeRecorder:
    return EpisodeRecorder(
        folder, SPEC, testing.metadata(), on_begin, limit_bytes=LIMIT_BYTES
    )


def check_parts(parts: list[Episode], steps: int) -> None:
    """They follow each other, name each other, and hold every step once."""
    assert len(parts) > 3
    names = [part.metadata.episode_id for part in parts]
    assert names[0] == testing.metadata().episode_id
    assert names[1:] == [episode_id.derive_next(name) for name in names[:-1]]
    times_ns = np.concatenate([part.steps["t_monotonic_ns"] for part in parts])
    assert times_ns.tolist() == list(range(steps))
    states = np.concatenate([part.steps["observation/state"] for part in parts])
    assert states[:, 0].tolist() == list(range(steps))
    for part in parts[:-1]:
        assert part.metadata.success is None
        assert part.steps["is_last"][-1]
        assert not part.steps["is_terminal"].any()
        assert part.steps["discount"][-1] == 1.0


def test_large_episode_is_cut_into_episodes_that_follow_each_other(
    tmp_path: Path,
) -> None:
    begun: list[str] = []
    recorder = open_recorder(tmp_path, begun.append)
    for number in range(STEPS):
        recorder.append(step(number))
    assert not list(tmp_path.glob("*.tfrecord")), "control waited for a part"
    closed = recorder.close(success=True)
    parts = [reader.read_episode(one.path, LIMIT_BYTES) for one in closed]
    check_parts(parts, STEPS)
    assert begun == [part.metadata.episode_id for part in parts]
    assert parts[-1].metadata.success
    assert parts[-1].steps["is_terminal"][-1]
    assert {path.suffix for path in tmp_path.iterdir()} == {".tfrecord"}


def test_rule_that_stopped_an_episode_is_a_tag_of_its_last_part(
    tmp_path: Path,
) -> None:
    recorder = open_recorder(tmp_path)
    for number in range(STEPS):
        recorder.append(step(number))
    *cut, last = recorder.close(success=False, tags=(StopRule.WORKSPACE.tag,))
    tags = [reader.read_episode(one.path, LIMIT_BYTES).metadata.tags for one in cut]
    assert set(tags) == {testing.metadata().tags}
    found = reader.read_episode(last.path, LIMIT_BYTES).metadata.tags
    assert found == (*testing.metadata().tags, "stop_workspace")


def test_episode_that_is_left_out_says_so_in_each_of_its_parts(tmp_path: Path) -> None:
    recorder = open_recorder(tmp_path)
    for number in range(STEPS):
        recorder.append(step(number))
    closed = recorder.close(None, tags=(StopRule.WORKSPACE.tag, LEFT_OUT_TAG))
    assert len(closed) > 1
    own = testing.metadata().tags
    tags = [reader.read_episode(one.path, LIMIT_BYTES).metadata.tags for one in closed]
    assert set(tags[:-1]) == {(*own, LEFT_OUT_TAG)}
    assert tags[-1] == (*own, StopRule.WORKSPACE.tag, LEFT_OUT_TAG)


def test_parts_of_an_episode_that_a_crash_cut_short_are_all_recovered(
    tmp_path: Path,
) -> None:
    child = os.fork()
    if child == 0:
        recorder = open_recorder(tmp_path)
        for number in range(STEPS - 1):
            recorder.append(step(number))
        os.kill(os.getpid(), signal.SIGKILL)
    assert os.waitpid(child, 0)[1] == signal.SIGKILL
    found = {
        one.path.stem: reader.read_episode(one.path)
        for one in recovery.recover(tmp_path)
    }
    name, parts = testing.metadata().episode_id, []
    while name in found:
        parts.append(found.pop(name))
        name = episode_id.derive_next(name)
    assert not found
    check_parts(parts, STEPS - 1)


def test_part_that_cannot_be_begun_is_an_error_and_what_was_recorded_stays(
    tmp_path: Path,
) -> None:
    recorder = open_recorder(tmp_path)
    second = episode_id.derive_next(testing.metadata().episode_id)
    (tmp_path / f"{second}.journal").mkdir()
    kept = 0
    with pytest.raises((DiskError, EpisodeExistsError)):
        for number in range(STEPS):
            recorder.append(step(number))
            kept += 1
    (closed,) = recorder.close(success=None)
    assert reader.read_episode(closed.path).num_steps == kept > 30
