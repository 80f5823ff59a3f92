"""Tells a running robot what to do, as the keys of //edge:robot do.

    ./bazelw run //edge:tell -- --home=DIR --mode=asleep

driving, idle and asleep are the keys d, i and s: the robot first ends its episode.
demonstrating is t: its actor drives. stopped is the space bar: the robot stops at once
and stays still. What is said holds until the next word, or until night next begins or
ends.
"""

import base.interrupt  # noqa: F401 - Ctrl-C ends it from here on

import time
from pathlib import Path

from absl import app, flags

from base import command_line, path_flags
from edge.processes import telling

HOME = flags.DEFINE_string("home", None, "folder of the robot", required=True)
path_flags.folders("home")
MODE = flags.DEFINE_enum(
    "mode",
    None,
    list(telling.WORDS),
    "what the robot is to do from now on",
    required=True,
)


def main(argv: list[str]) -> None:
    """Tells the robot, and says so."""
    if len(argv) > 1:
        raise app.UsageError(f"expected flags only, got {argv[1]!r}")
    word = telling.WORDS[MODE.value]
    telling.tell(Path(HOME.value), word, time.monotonic())
    command_line.say(f"told the robot {word.text}")


if __name__ == "__main__":
    command_line.run(main)
