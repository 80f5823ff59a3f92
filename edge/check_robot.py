"""Checks a robot of your own before anything drives it.

    ./bazelw run //edge:check_robot -- --robot=my_arm.py:MyArm
    ./bazelw run //edge:check_robot -- --robot=my_arm.py:MyArm --move

Without --move nothing is told to move: what the robot says of itself, its senses at
rest if its class has `observe`, and whether it can be held. With --move it goes to the
start of an episode, then each component of its action goes to and fro for half a
second, at --move_share of its range. Clear its way, and keep a hand at its switch;
Ctrl-C holds it.

Exit code 0 if no check failed, else 1.
"""

import base.interrupt  # noqa: F401 - Ctrl-C ends it from here on

import contextlib
import sys
from typing import Final

from absl import app, flags

from base import canonical_json, command_line
from edge import robot_checks, sense_flags, simulated_or_real
from edge.check_result import Check, Result
from edge.robots import registry
from edge.robots.robot import RobotSpec

_ROBOT = flags.DEFINE_string("robot", None, f"robot: {registry.HELP}", required=True)
_MOVE = flags.DEFINE_bool("move", False, "whether the robot may move")
_MOVE_SHARE = flags.DEFINE_float(
    "move_share",
    None,
    "how far it may move, as a share of its action's range (default:"
    f" {robot_checks.REAL_SHARE} for a robot that exists, 1 for a simulated one)",
    lower_bound=0.001,
    upper_bound=1.0,
)
_JSON = flags.DEFINE_bool("json", False, "whether to print JSON, for machines")
flags.adopt_module_key_flags(sense_flags)
_MARKS: Final = {
    Result.PASSED: "ok",
    Result.FAILED: "FAILED",
    Result.NOTE: "note",
    Result.NOT_CHECKED: "-",
}
_NAME_WIDTH: Final = 24
_MARK_WIDTH: Final = 6


def main(argv: list[str]) -> int:
    """Makes the checks, and prints each when it is made."""
    if len(argv) > 1:
        raise app.UsageError(f"expected flags only, got {argv[1]!r}")
    if _MOVE_SHARE.value is not None and not _MOVE.value:
        raise app.UsageError("expected --move_share with --move only")
    checks = []
    with contextlib.closing(
        simulated_or_real.open_robots(
            [_ROBOT.value], None, sense_flags.read(), command_line.say
        )
    ) as robots:
        _, robot = next(robots)
        if _MOVE.value and not robot.spec.simulated:
            sys.stderr.write("check_robot: it moves now; Ctrl-C holds it\n")
            sys.stderr.flush()
        for check in robot_checks.check_robot(robot, _find_share(robot.spec)):
            checks.append(check)
            _show(check)
    failed = [check for check in checks if check.result is Result.FAILED]
    _conclude(checks, bool(failed))
    return command_line.EXIT_FAILED if failed else 0


def _find_share(spec: RobotSpec) -> float | None:
    if not _MOVE.value:
        return None
    if _MOVE_SHARE.value is not None:
        return float(_MOVE_SHARE.value)
    return 1.0 if spec.simulated else robot_checks.REAL_SHARE


def _show(check: Check) -> None:
    if _JSON.value:
        return
    mark = _MARKS[check.result].ljust(_MARK_WIDTH)
    line = f"{check.name.ljust(_NAME_WIDTH)}  {mark}  {check.found}"
    command_line.say(line)
    if check.remedy:
        command_line.say(f"{' ' * (_NAME_WIDTH + _MARK_WIDTH + 4)}{check.remedy}")


def _conclude(checks: list[Check], failed: bool) -> None:
    if _JSON.value:
        written = {
            "schema_version": 1,
            "robot": _ROBOT.value,
            "moved": bool(_MOVE.value),
            "passed": not failed,
            "checks": [
                {
                    "name": check.name,
                    "result": check.result.value,
                    "found": check.found,
                    "remedy": check.remedy,
                }
                for check in checks
            ],
        }
        command_line.say(canonical_json.encode(written).decode())
        return
    counts = ", ".join(
        f"{sum(check.result is result for check in checks)} {result.value}"
        for result in Result
        if any(check.result is result for check in checks)
    )
    command_line.say(f"\n{_ROBOT.value}: {counts}")


if __name__ == "__main__":
    command_line.run(main)
