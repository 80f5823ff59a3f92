import subprocess
import sys

import pytest

from edge.errors import UnknownRobotError
from edge.robots import registry


def test_known_robot_opens_with_its_expert():
    robot = registry.open_robot("metaworld:window-open-v3")
    action = registry.open_expert("metaworld:window-open-v3").propose(robot.reset(1))
    assert robot.spec.task == "window-open-v3"
    assert action.shape == (robot.spec.action_size,)


@pytest.mark.parametrize("name", ["metaworld:fly-v3", "reach-v3", "", "metaworld:"])
def test_unknown_robot_is_refused_in_one_line_that_lists_the_known_ones(name):
    with pytest.raises(UnknownRobotError) as caught:
        registry.open_robot(name)
    text = str(caught.value)
    assert "\n" not in text
    assert repr(name) in text
    assert "metaworld:reach-v3" in text
    assert "metaworld:window-close-v3" in text
    with pytest.raises(UnknownRobotError):
        registry.open_expert(name)


def test_control_process_does_not_load_simulator_or_trainer():
    program = (
        "import sys; import edge.control, edge.robots.registry;"
        "print([m for m in ('metaworld', 'mujoco', 'jax', 'tensorflow', 'flax')"
        " if m in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"
