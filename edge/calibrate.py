"""Calibrates an arm that LeRobot drives or reads, once, at a terminal.

    ./bazelw run --config=lerobot //edge:calibrate -- \\
        --arm=lerobot:so101_follower@/dev/ttyACM0
    ./bazelw run --config=lerobot //edge:calibrate -- \\
        --arm=leader:so101_leader@/dev/ttyACM1

LeRobot asks for the middle of each joint and for the ends of its range, writes both
into the servos, and into a file that it and //edge:record read. An arm that was
calibrated by LeRobot before has that file. The arm is not held meanwhile.

With --number_servos it asks for one servo after the other instead, and gives each its
number, which an arm needs once, when it is built.
"""

import base.interrupt  # noqa: F401 - Ctrl-C ends it from here on

from absl import app, flags

from base import command_line
from edge.actors import leader
from edge.errors import UnknownRobotError
from edge.robots import lerobot_arm, lerobot_robot
from edge.robots.lerobot_name import Connection

_ARM = flags.DEFINE_string(
    "arm",
    None,
    "the arm, as --robot or --actor names it: lerobot:TYPE@PORT or leader:TYPE@PORT,"
    " with ,id=NAME behind it for the name of its calibration",
    required=True,
)
_NUMBER_SERVOS = flags.DEFINE_bool(
    "number_servos",
    False,
    "whether to give the servos of a new arm their numbers, and not to calibrate it",
)


def main(argv: list[str]) -> int:
    """Lets LeRobot ask, and says where it wrote."""
    if len(argv) > 1:
        raise app.UsageError(f"expected flags only, got {argv[1]!r}")
    connection = _read_arm(_ARM.value)
    if _NUMBER_SERVOS.value:
        lerobot_arm.number_servos(connection)
        command_line.say("its servos have their numbers; now calibrate it")
    else:
        file = lerobot_arm.calibrate(connection)
        command_line.say(f"calibrated: {file}")
    return 0


def _read_arm(text: str) -> Connection:
    if text.startswith(lerobot_robot.PREFIX):
        return lerobot_robot.parse(text.removeprefix(lerobot_robot.PREFIX)).connection
    if text.startswith(leader.PREFIX):
        return leader.parse(text.removeprefix(leader.PREFIX))
    raise UnknownRobotError(text, "an arm is lerobot:TYPE@PORT or leader:TYPE@PORT")


if __name__ == "__main__":
    command_line.run(main)
