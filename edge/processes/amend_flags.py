"""The flags by which programs of the operator find episodes and the robot's key."""

import contextlib
import functools
from collections.abc import Iterator
from pathlib import Path

from absl import app, flags

from base import command_line, path_flags
from edge import raw_memory, simulated_or_real
from edge.episodes import robot_key
from edge.episodes.robot_key import RobotKey
from edge.errors import KeyFileError, RobotNameError
from edge.processes import amending
from edge.processes.amending import Amending, Place
from edge.processes.home import Home
from edge.robots import machine_name
from edge.robots.clock import MonotonicClock, require_right
from edge.runtime_version import RUNTIME_DATE
from rlds import spool_flags

# Key flags of the programs, so that --help shows them.
FROM = flags.DEFINE_string(
    "from", None, "folder of recorded episodes, as //edge:record --output made it"
)
HOME = flags.DEFINE_string("home", None, "folder of a robot, in the place of --from")
PRIVATE_DIR = flags.DEFINE_string(
    "private_dir", None, "folder of raw episodes (default: <from>.private)"
)
KEY_FILE = flags.DEFINE_string(
    "key_file",
    None,
    "robot key that signed the episodes (default: robot.key in the private folder; that"
    " of a simulated robot is derived from --robot_id)",
)
ROBOT_ID = flags.DEFINE_string(
    "robot_id", None, "name of a simulated robot (default: as //edge:record and a home)"
)
path_flags.folders("from", "home", "private_dir")
path_flags.files("key_file")
flags.adopt_module_key_flags(spool_flags)


@contextlib.contextmanager
def open_episodes() -> Iterator[Amending]:
    """Opens the episodes that the flags name.

    Raises:
        app.UsageError: not exactly one of --from and --home is given.
        ContinuonError: as `amending.open_amending`.
    """
    raw_memory.forbid_dumps()
    spool_flags.use(creates=False)
    place = read_place()
    now = require_right(MonotonicClock(), RUNTIME_DATE)
    with amending.open_amending(
        place, functools.partial(find_key, place), now, command_line.say
    ) as found:
        yield found


def read_place() -> Place:
    """Returns where the episodes lie that the flags name.

    Raises:
        app.UsageError: not exactly one of --from and --home is given.
    """
    if (FROM.value is None) == (HOME.value is None):
        raise app.UsageError("expected either --from or --home")
    if HOME.value is not None:
        if PRIVATE_DIR.value is not None:
            raise app.UsageError("expected --private_dir with --from only")
        home = Home(Path(HOME.value))
        return Place(home.shared, home.private, home.root)
    shared = Path(str(FROM.value))
    private = PRIVATE_DIR.value or shared.with_name(f"{shared.name}.private")
    return Place(shared, Path(private))


def find_key(place: Place, keyid: str, time: str) -> RobotKey:
    """Finds the key that signed an episode of this time.

    Raises:
        KeyFileError: none here is it.
    """
    found = robot_key.find(_list_keys(place), keyid, time)
    if found is not None:
        return found
    raise KeyFileError(
        "--key_file",
        f"the robot's key {keyid[:12]}, which signed this episode",
        "another one" if KEY_FILE.value else "none",
        "name the --key_file, or the --robot_id of a simulated robot, that recorded it",
    )


def _list_keys(place: Place) -> Iterator[RobotKey]:
    path = Path(KEY_FILE.value or place.private / "robot.key")
    if KEY_FILE.value or path.exists():
        if not path.exists():
            raise KeyFileError(path, "a robot key file", "none", "name another one")
        yield robot_key.load_or_create(path)
    if ROBOT_ID.value:
        yield robot_key.derive_simulated(ROBOT_ID.value)
        return
    yield robot_key.derive_simulated(simulated_or_real.SIMULATED_NAME)
    with contextlib.suppress(RobotNameError):
        yield robot_key.derive_simulated(machine_name.derive_name())
