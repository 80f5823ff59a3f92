"""The path of the hand is where each environment has it in its state."""

from pathlib import Path

import numpy as np
import pytest

from cloud.evaluate import trajectories
from rlds.spec import EpisodeSpec
from rlds.testing import episodes


@pytest.mark.parametrize(
    ("environment", "state_size", "first"),
    [("metaworld", 39, 0), ("so101-sim", 20, 11)],
)
def test_path_of_the_hand_is_read_with_how_it_ended(
    tmp_path: Path, environment: str, state_size: int, first: int
) -> None:
    spec = EpisodeSpec(state_size, 4)
    for number, success in enumerate((True, False)):
        one = episodes.episode(spec, 7, number, task=f"task-{number}", success=success)
        raw = episodes.frame_episode(one)
        (tmp_path / f"{number}.tfrecord").write_bytes(raw)
        state = one.steps["observation/state"]
    found = trajectories.read(tmp_path, trajectories.HANDS[environment])
    assert [one.label for one in found] == [
        "7 steps, succeeded",
        "7 steps, did not succeed",
    ]
    assert [one.task for one in found] == ["task-0", "task-1"]
    assert [one.success for one in found] == [True, False]
    assert all(one.seconds > 0 for one in found)
    np.testing.assert_array_equal(found[1].positions_m, state[:, first : first + 3])
