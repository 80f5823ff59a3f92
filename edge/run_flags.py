"""The flags of //edge:run, and the rules among them."""

from pathlib import Path

from absl import app, flags

from base import path_flags
from edge import actor_flags, mask_flags, sense_flags, simulated_or_real, word_flags
from edge.actors import registry as actors
from edge.actors.actor import EXPERT
from edge.control.loop import Pace
from edge.control.safety import DEFAULT_MAX_STEPS
from edge.ota import fetch
from edge.robots import machine_name, registry
from edge.robots.clock import unix_ns_from_rfc3339
from edge.robots.metaworld_robot import CONTROL_HZ
from release.trusted_keys import NAME_KEYRING, TrustedKeys
from rlds import spool_flags

ROBOT = flags.DEFINE_list(
    "robot",
    None,
    f"robots, one after the other: {registry.HELP}; commas separate them, so quote a"
    " name that has one: --robot='\"replay:a,b.tfrecord\"'",
    required=True,
)
CHANNEL = flags.DEFINE_string(
    "channel",
    None,
    "channel to follow: STORE/channels/NAME.json, where STORE is a folder, "
    "file:///FOLDER or gs://BUCKET/PREFIX",
)
OFFLINE = flags.DEFINE_bool(
    "offline", False, "run the active package without asking its channel"
)
OFFLINE_IF_UPDATE_FAILS = flags.DEFINE_bool(
    "offline_if_update_fails",
    False,
    "if --channel does not answer or its offer is refused, print the reason and run "
    "the active package; the systemd unit sets this",
)
CANDIDATE = flags.DEFINE_string(
    "candidate", None, "folder of an unsigned package; simulated robots only"
)
STEP = flags.DEFINE_string(
    "step",
    None,
    "form of the candidate's step, such as f32 or int8 (default: the form that robots "
    "run, which the package names)",
)
POLICY = flags.DEFINE_enum(
    "policy", "package", ["package", "expert"], "who drives: a package or the baseline"
)
ACTOR = flags.DEFINE_string(
    "actor",
    None,
    "who may take over from the package: keyboard, gamepad, leader:TYPE@PORT, which is"
    " a leader arm, page (an operator's page that runs beside this, --actor_page), or"
    " the name of an actor that another package adds (default: nobody)",
)
KEYRING = flags.DEFINE_string(
    "keyring", None, "file of the public keys that may sign channels and packages"
)
ALLOW_DEVELOPMENT_KEYS = flags.DEFINE_bool(
    "allow_development_keys", False, "accept signatures by development keys"
)
STATE_DIR = flags.DEFINE_string(
    "state_dir",
    "/var/lib/continuon",
    "folder of the active package and its pointer, made when absent",
)
ROBOT_ID = flags.DEFINE_string(
    "robot_id",
    None,
    "name of this robot; leaves it only as a keyed hash (default: derived from this"
    f" machine's id, but {simulated_or_real.SIMULATED_NAME} with --candidate and"
    " --policy=expert, which drive simulated robots)",
)
EPISODES = flags.DEFINE_integer(
    "episodes",
    1,
    "episodes per robot string; 0 for one robot without end, until SIGTERM or Ctrl-C",
    lower_bound=0,
)
UPDATE_PERIOD_S = flags.DEFINE_float(
    "update_period_s",
    600.0,
    "with --episodes=0, shortest interval between checks of --channel, in seconds",
    lower_bound=0.0,
)
SEED = flags.DEFINE_integer(
    "seed",
    0,
    "seed of a robot's first episode; episode k, from 0, has seed + k",
    lower_bound=0,
    upper_bound=2**31,
)
MAX_STEPS = flags.DEFINE_integer(
    "max_steps", DEFAULT_MAX_STEPS, "longest episode, in control steps", lower_bound=1
)
PACE = flags.DEFINE_enum_class(
    "pace",
    None,
    Pace,
    f"whether a simulated robot keeps its control rate ({CONTROL_HZ:g} Hz for "
    "metaworld) or runs as fast as possible (default: realtime); a real robot always "
    "keeps it",
)
SIM_START = flags.DEFINE_string(
    "sim_start",
    None,
    "wall time at which simulated clocks start, RFC 3339 in UTC (default: "
    f"{registry.DEFAULT_SIM_START})",
)
STOP_RULES = flags.DEFINE_string(
    "stop_rules",
    None,
    "file of additional stop rules for this site, such as its workspace;"
    " they hold beside the package's (edge/control/site_rules.py; default: none)",
)
RECORD_DIR = flags.DEFINE_string(
    "record_dir", None, "folder for redacted episodes (default: nothing is recorded)"
)
PRIVATE_DIR = flags.DEFINE_string(
    "private_dir",
    None,
    "folder of raw episodes, mode 0700 (default: <record_dir>.private)",
)
KEY_FILE = flags.DEFINE_string(
    "key_file",
    None,
    "robot key, mode 0600, made when absent (default: derived from --robot_id, for "
    "simulated robots only)",
)
CONSENT = flags.DEFINE_bool(
    "consent", False, "whether the operator lets these episodes be uploaded"
)
SUMMARY_JSON = flags.DEFINE_string(
    "summary_json", None, "file for the summary, for machines (default: not written)"
)
PROGRESS_JSON = flags.DEFINE_string(
    "progress_json",
    None,
    "file that gets a line after each episode, for machines (default: not written)",
)
ACTIONS_JSON = flags.DEFINE_string(
    "actions_json",
    None,
    "file for every proposed action, to compare two machines (default: not written)",
)

flags.adopt_module_key_flags(actor_flags)
flags.adopt_module_key_flags(mask_flags)
flags.adopt_module_key_flags(sense_flags)
flags.adopt_module_key_flags(word_flags)
flags.adopt_module_key_flags(spool_flags)
path_flags.folders("candidate", "state_dir", "record_dir", "private_dir")
path_flags.places("channel")
path_flags.files(
    "keyring",
    "key_file",
    "stop_rules",
    "summary_json",
    "progress_json",
    "actions_json",
)


def find_robot_id() -> str:
    """Returns the name that was given, or one that the mode of the run calls for.

    Raises:
        RobotNameError: none was given, and this machine has none to derive it from.
    """
    if ROBOT_ID.value is not None:
        return str(ROBOT_ID.value)
    if CHANNEL.value or OFFLINE.value:
        return machine_name.derive_name()
    return simulated_or_real.SIMULATED_NAME


def require_usage(argv: list[str]) -> None:
    """Checks the rules that concern several flags at once.

    Raises:
        app.UsageError: a rule is broken.
        FlagValueError: --channel cannot be one.
        BadTimeError: `--sim_start` is not a time.
    """
    if len(argv) > 1:
        raise app.UsageError(f"expected flags only, got {argv[1]!r}")
    expert = POLICY.value == "expert"
    chosen = (CHANNEL.value, OFFLINE.value, CANDIDATE.value, expert)
    if sum(bool(one) for one in chosen) != 1:
        raise app.UsageError(
            "expected exactly one of --channel, --offline, --candidate and "
            "--policy=expert"
        )
    if STEP.value and not CANDIDATE.value:
        raise app.UsageError("expected --step with --candidate only")
    word_flags.read()
    if SIM_START.value is not None:
        unix_ns_from_rfc3339(SIM_START.value, "--sim_start")
    if not EPISODES.value:
        _require_usage_without_end()
    _require_usage_of_actor(expert)
    if (CHANNEL.value or OFFLINE.value) and not KEYRING.value:
        raise app.UsageError("expected --keyring with --channel or --offline")
    if CHANNEL.value and not OFFLINE_IF_UPDATE_FAILS.value:
        fetch.require_form(CHANNEL.value)


def read_keys() -> TrustedKeys:
    """Reads the keys of --keyring.

    Raises:
        FlagValueError: the keyring is not there or is none. A run without end is a
            service, to which it may come back, and gets the errors below.
        ContinuonError, OSError: as `TrustedKeys.read`.
    """
    path, development = Path(KEYRING.value or ""), bool(ALLOW_DEVELOPMENT_KEYS.value)
    if not EPISODES.value:
        return TrustedKeys.read(path, development)
    with path_flags.about("keyring", "a keyring", NAME_KEYRING):
        return TrustedKeys.read(path, development)


def _require_usage_of_actor(expert: bool) -> None:
    if ACTOR.value is None:
        actor_flags.require_none()
        return
    if expert or ACTOR.value == EXPERT:
        raise app.UsageError(
            "expected --actor to be a person who watches a package; the scripted"
            " expert neither corrects nor is corrected"
        )
    if PACE.value is Pace.SIMULATED:
        raise app.UsageError("expected real time with --actor: a person needs it")
    actors.require_known(ACTOR.value)


def _require_usage_without_end() -> None:
    if len(ROBOT.value) > 1:
        raise app.UsageError("expected one robot with --episodes=0")
    if SUMMARY_JSON.value or PROGRESS_JSON.value or ACTIONS_JSON.value:
        raise app.UsageError(
            "expected --episodes above 0 with --summary_json, --progress_json and "
            "--actions_json"
        )
