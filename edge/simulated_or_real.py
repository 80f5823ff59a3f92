"""What the programs do differently for a real robot, by its spec alone.

| | simulated | real |
|---|---|---|
| pace | `--pace` | always real time |
| priority, watchdog | an ordinary program's, none | real-time where granted, one |
| clock | starts at `--sim_start` | the machine's |
| key | derived from its name | a file that only its user can read |
| name of an episode | may be derived from its seed | random |
| scripted expert | may drive it | may not |

A command drives robots of one sort: one key and one consent serve all its episodes.
"""

import contextlib
from collections.abc import Callable, Generator, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from absl import app

from edge.control import loop, realtime
from edge.control.loop import Pace
from edge.control.realtime import Grants
from edge.control.watchdog import Watchdog
from edge.episodes import robot_key
from edge.episodes.robot_key import RobotKey
from edge.robots import registry
from edge.robots.added_senses import NO_SENSES, AddedSenses
from edge.robots.clock import SimulatedClock, unix_ns_from_rfc3339
from edge.robots.robot import Robot, RobotSpec

SIMULATED_NAME: Final = "sim-00"
"""The name of a simulated robot that was given none; results depend on it."""


def open_robots(
    names: Iterable[str],
    sim_start: str | None,
    senses: AddedSenses = NO_SENSES,
    tell: Callable[[str], None] = lambda line: None,
) -> Generator[tuple[str, Robot]]:
    """Opens one robot after the other, and closes each before the next.

    Close the generator, so that a robot is stopped whatever happens meanwhile.

    Args:
        names: robot strings.
        sim_start: wall time at which simulated clocks start, RFC 3339 in UTC; None for
            `registry.DEFAULT_SIM_START`.
        senses: those beside each robot, which its driver knows nothing of.
        tell: gets a line about a sense that cannot be opened or read.

    Raises:
        CameraError, MicrophoneError: a robot has such a sense already.
        app.UsageError: a robot is simulated and another is not, or a real robot was
            given `sim_start`.
        EdgeError, RldsError: as `registry.open_robot`.
    """
    start_ns = unix_ns_from_rfc3339(
        sim_start or registry.DEFAULT_SIM_START, "--sim_start"
    )
    first: RobotSpec | None = None
    for name in names:
        robot = registry.open_robot(name, SimulatedClock(start_ns))
        try:
            robot = senses.add_to(robot, tell)
            first = first or robot.spec
            if robot.spec.simulated != first.simulated:
                raise app.UsageError(
                    "expected --robot with simulated robots only, or with real ones"
                    f" only, got {name} among others"
                )
            if sim_start is not None and not robot.spec.simulated:
                raise app.UsageError(
                    f"expected --sim_start with simulated robots only, got {name}"
                )
            yield name, robot
        finally:
            robot.close()


def choose_pace(robot: Robot, wanted: Pace | None, if_simulated: Pace) -> Pace:
    """Returns the pace of a robot: what is wanted if it is simulated, else real time.

    Raises:
        app.UsageError: simulated pace is wanted for a robot that is not simulated.
        PaceError: the clock of a robot that is not simulated is.
    """
    if robot.spec.simulated:
        return wanted or if_simulated
    if wanted is Pace.SIMULATED:
        raise app.UsageError(
            "expected --pace=simulated with simulated robots only, got"
            f" {robot.spec.robot_model}, which is driven in real time"
        )
    loop.check_pace(robot, Pace.REALTIME)
    return Pace.REALTIME


@dataclass(frozen=True)
class RealTime:
    """Keeps a real robot on schedule and able to be held; empty if simulated.

    Attributes:
        grants: what the system granted to its steps.
        watchdog: holds it when control is late, hangs or is gone.
    """

    grants: Grants | None = None
    watchdog: Watchdog | None = None


@contextlib.contextmanager
def open_real_time(
    robot: Robot, on_hang: Callable[[], object] | None, tell: Callable[[str], None]
) -> Iterator[RealTime]:
    """Asks for real time and starts the watchdog of a robot that is not simulated.

    Call it when all that drives is loaded.

    Args:
        robot: open.
        on_hang: notes that the process hung; see `Watchdog`. None if nobody records.
        tell: gets a line about each thing that the system refuses.

    Raises:
        WatchdogError: the watchdog cannot be started.
    """
    if robot.spec.simulated:
        yield RealTime()
        return
    with Watchdog(robot, on_hang=on_hang) as watchdog:
        grants = realtime.prepare()
        for refusal in grants.refusals:
            tell(refusal)
        yield RealTime(grants, watchdog)


def open_key(spec: RobotSpec, key_file: str | None, robot_id: str) -> RobotKey:
    """Opens the key file, or derives the key of a simulated robot from its name.

    Raises:
        app.UsageError: a real robot has no key file; its name would be hashed with a
            key that anyone can derive.
        KeyFileError, OSError: as `robot_key.load_or_create`.
    """
    if key_file:
        return robot_key.load_or_create(Path(key_file))
    if spec.simulated:
        return robot_key.derive_simulated(robot_id)
    raise app.UsageError(
        f"expected --key_file=PATH to record the real robot {spec.robot_model}"
    )
