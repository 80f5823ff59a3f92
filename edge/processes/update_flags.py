"""The flags of //edge:update, and the rules among them."""

from absl import app, flags

from edge.processes import robot_flags

HOME = robot_flags.define_home()
ROBOT = flags.DEFINE_list(
    "robot",
    None,
    "robots that a package must fit: metaworld:TASK, metaworld-poor:TASK,"
    " metaworld-changed:TASK, or replay:PATH of an episode",
    required=True,
)
robot_flags.define_keys(required=True)
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
ROBOT_ID = robot_flags.define_robot_id()
KEY_FILE = robot_flags.define_key_file("packages/updater.key")
PERIOD_S, JITTER_S, TRIAL_EPISODES = robot_flags.define_update_rules()


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
