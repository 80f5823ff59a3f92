"""The flags of //edge:update, and the rules among them."""

from absl import app, flags

from base import path_flags
from edge.ota import health
from edge.ota.watch import Rules

HOME = flags.DEFINE_string(
    "home", None, "folder of this robot, made when absent", required=True
)
ROBOT = flags.DEFINE_list(
    "robot",
    None,
    "robots that a package must fit: metaworld:TASK, metaworld-poor:TASK,"
    " metaworld-changed:TASK, or replay:PATH of an episode",
    required=True,
)
KEYRING = flags.DEFINE_string(
    "keyring",
    None,
    "file of the public keys that may sign channels and packages",
    required=True,
)
ALLOW_DEVELOPMENT_KEYS = flags.DEFINE_bool(
    "allow_development_keys", False, "accept signatures by development keys"
)
CHANNEL = flags.DEFINE_string(
    "channel",
    None,
    "channel to follow: STORE/channels/NAME.json, where STORE is a folder, "
    "file:///FOLDER or gs://BUCKET/PREFIX (default: none, it only watches)",
)
ONCE = flags.DEFINE_bool("once", False, "ask the channel once and end")
SEED_PACKAGE = flags.DEFINE_string(
    "seed_package",
    None,
    "folder or tar of a signed package to install without a channel, and end",
)
ROBOT_ID = flags.DEFINE_string(
    "robot_id",
    None,
    "name of this robot; leaves it only as a keyed hash (default: derived from this"
    " machine's id)",
)
KEY_FILE = flags.DEFINE_string(
    "key_file",
    None,
    "robot key, mode 0600, made when absent (default: <home>/private/robot.key, or "
    "<home>/packages/updater.key where that cannot be read; a simulated robot derives "
    "its key from --robot_id)",
)
PERIOD_S = flags.DEFINE_float(
    "period_s",
    600.0,
    "mean time between two questions to --channel, in seconds",
    lower_bound=1.0,
)
JITTER_S = flags.DEFINE_float(
    "jitter_s",
    60.0,
    "largest deviation from --period_s, which the robot's name decides, in seconds",
    lower_bound=0.0,
)
TRIAL_EPISODES = flags.DEFINE_integer(
    "trial_episodes",
    Rules().episodes,
    "episodes after which a new package is committed",
    lower_bound=1,
    upper_bound=health.MOST_EPISODES // 2,
)
path_flags.folders("home")
path_flags.files("keyring", "key_file")


def require_usage(argv: list[str]) -> None:
    """Checks the rules that concern several flags at once.

    Raises:
        app.UsageError: a rule is broken.
    """
    if len(argv) > 1:
        raise app.UsageError(f"expected flags only, got {argv[1]!r}")
    if SEED_PACKAGE.value and (CHANNEL.value or ONCE.value):
        raise app.UsageError("expected --seed_package without --channel and --once")
    if ONCE.value and not CHANNEL.value:
        raise app.UsageError("expected --channel with --once")
