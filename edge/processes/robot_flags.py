"""The flags that several programs of a robot have, each defined once.

A program defines those that it takes as its own, so that --help shows them with its
defaults: a service is told its folder, and a robot on a desk has one already. Who
starts other programs hands them on.
"""

from pathlib import Path
from typing import Final

from absl import app, flags

from base import path_flags, record_flags
from edge.loops import mode
from edge.loops.budgets import Budgets
from edge.loops.mode import NO_NIGHT, SLEEP_AFTER_S, ModeRules
from edge.ota import health
from edge.ota.watch import Rules
from edge.robots import registry
from release.trusted_keys import NAME_KEYRING, TrustedKeys

# So that the flags belong to the program that defines them, for `--help`.
flags.disclaim_key_flags()

KEYRING_FILE: Final = "~/.local/share/continuon/keys/keyring.json"
"""The keyring of a person who tries a robot on a desk."""
_KEYRING: Final = "keyring"
_DEVELOPMENT: Final = "allow_development_keys"
_NIGHT: Final = "night"
_SLEEP_AFTER: Final = "sleep_after_s"
_FAST_LOOP: Final = "fast_loop"
_FAST_LOOP_CALLS: Final = "fast_loop_calls"
_MOST_FAST_CALLS: Final = 8  # so many fit at 80 Hz (docs/benchmarks.md)
_MEMORIES_MB: Final = "memories_mb"
_SHARED_MB: Final = "shared_mb"
_THREADS: Final = "learner_threads"
_UPDATE_RULES: Final = ("update_period_s", "update_jitter_s", "trial_episodes")


def define_home(default: str | None = None) -> "flags.FlagHolder[str]":
    """Defines --home, which a program without a default must be given."""
    path_flags.folders("home")
    text = "folder of this robot, made when absent"
    if default is None:
        return flags.DEFINE_string("home", None, text, required=True)
    return flags.DEFINE_string("home", default, text)


def define_robot() -> "flags.FlagHolder[str]":
    """Defines --robot for programs that drive one."""
    return flags.DEFINE_string(
        "robot",
        None,
        f"robot: {registry.HELP}",
        required=True,
    )


def define_robot_id() -> "flags.FlagHolder[str | None]":
    """Defines --robot_id."""
    return flags.DEFINE_string(
        "robot_id",
        None,
        "name of this robot; leaves it only as a keyed hash (default: derived from "
        "this machine's id)",
    )


def define_key_file(own: str = "") -> "flags.FlagHolder[str | None]":
    """Defines --key_file, the key that signs what leaves the robot.

    Args:
        own: file below the home of a program that may not read the robot's key.
    """
    path_flags.files("key_file")
    instead = f", or <home>/{own} where that cannot be read" if own else ""
    return flags.DEFINE_string(
        "key_file",
        None,
        f"robot key, mode 0600, made when absent (default: <home>/private/robot.key"
        f"{instead}; a simulated robot derives its key from --robot_id)",
    )


def define_keys(
    default: str | None = None, *, required: bool = False, without: str = ""
) -> None:
    """Defines --keyring and --allow_development_keys, for `read_keys`.

    Args:
        default: file that is read if none is named.
        required: whether one must be named.
        without: what holds for a program that was given none.
    """
    path_flags.files("keyring")
    text = "file of the public keys that may sign channels and packages"
    flags.DEFINE_string(
        _KEYRING,
        default,
        f"{text} (default: {without})" if without else text,
        required=required,
    )
    flags.DEFINE_bool(_DEVELOPMENT, False, "accept signatures by development keys")


def read_keys(*, serves: bool) -> TrustedKeys | None:
    """Reads the keys that the flags of `define_keys` name; None if they name none.

    Args:
        serves: whether this is a service. A keyring that is not there is then no wrong
            usage, after which a service is not started again: it may come back.

    Raises:
        FlagValueError: the keyring is not there or is none, and this is no service.
        ContinuonError, OSError: as `TrustedKeys.read`, for a service.
    """
    name = flags.FLAGS[_KEYRING].value
    if name is None:
        return None
    development = bool(flags.FLAGS[_DEVELOPMENT].value)
    if serves:
        return TrustedKeys.read(Path(name), development)
    with path_flags.about(_KEYRING, "a keyring", NAME_KEYRING):
        return TrustedKeys.read(Path(name), development)


def hand_on_keys() -> list[str]:
    """Returns the flags of `define_keys` for another program."""
    path = Path(str(flags.FLAGS[_KEYRING].value)).absolute()
    development = flags.FLAGS[_DEVELOPMENT].value
    return [f"--{_KEYRING}={path}", *([f"--{_DEVELOPMENT}"] if development else [])]


def hand_on(*names: str) -> list[str]:
    """Returns those of these flags that were given, for another program.

    The others have the same default there.
    """
    return [flags.FLAGS[n].serialize() for n in names if flags.FLAGS[n].present]


def define_update_rules() -> tuple[
    "flags.FlagHolder[float]", "flags.FlagHolder[float]", "flags.FlagHolder[int]"
]:
    """Defines --update_period_s, --update_jitter_s and --trial_episodes."""
    period = flags.DEFINE_float(
        _UPDATE_RULES[0],
        600.0,
        "mean interval between checks of --channel, in seconds",
        lower_bound=1.0,
    )
    jitter = flags.DEFINE_float(
        _UPDATE_RULES[1],
        60.0,
        f"largest deviation from --{_UPDATE_RULES[0]}, which the robot's name decides, "
        "in seconds",
        lower_bound=0.0,
    )
    episodes = flags.DEFINE_integer(
        _UPDATE_RULES[2],
        Rules().episodes,
        "episodes after which a new package is committed",
        lower_bound=1,
        upper_bound=health.MOST_EPISODES // 2,
    )
    return period, jitter, episodes


def hand_on_update_rules() -> list[str]:
    """Returns those flags of `define_update_rules` that were given."""
    return hand_on(*_UPDATE_RULES)


def define_fast_loop() -> None:
    """Defines --fast_loop and --fast_loop_calls, for `read_fast_loop`."""
    flags.DEFINE_bool(
        _FAST_LOOP,
        False,
        "adapt a package not from a channel during an episode, between steps; the "
        "change is dropped when the episode ends",
    )
    flags.DEFINE_integer(
        _FAST_LOOP_CALLS,
        1,
        "gradient steps of --fast_loop between two steps of the robot, as many as fit "
        "into the period",
        lower_bound=1,
        upper_bound=_MOST_FAST_CALLS,
    )


def read_fast_loop() -> int:
    """Returns how often the fast loop may be called between two steps; 0 for never."""
    if not flags.FLAGS[_FAST_LOOP].value:
        return 0
    return int(flags.FLAGS[_FAST_LOOP_CALLS].value or 1)


def hand_on_fast_loop() -> list[str]:
    """Returns the flags of `define_fast_loop` for another program."""
    if not (calls := read_fast_loop()):
        return []
    return [f"--{_FAST_LOOP}", f"--{_FAST_LOOP_CALLS}={calls}"]


def define_mode_rules() -> None:
    """Defines --night and --sleep_after_s, for `read_mode_rules`."""
    flags.DEFINE_string(
        _NIGHT,
        None,
        "local hours in which the robot sleeps between two episodes, such as "
        "22:00-06:00 (default: none, it sleeps when asked to, or on its charger)",
    )
    flags.DEFINE_float(
        _SLEEP_AFTER,
        SLEEP_AFTER_S,
        "time after which a robot falls asleep that is on its charger and has nothing "
        "to drive, or was told to stay still, in seconds",
        lower_bound=0.0,
    )


def read_mode_rules() -> ModeRules:
    """Returns the rules that the flags of `define_mode_rules` say.

    Raises:
        app.UsageError: --night holds no hours.
    """
    text = flags.FLAGS[_NIGHT].value
    try:
        night = mode.parse_night(text) if text else NO_NIGHT
    except ValueError as e:
        raise app.UsageError(f"--{_NIGHT}: {e}") from e
    return ModeRules(night, float(str(flags.FLAGS[_SLEEP_AFTER].value)))


def hand_on_mode_rules() -> list[str]:
    """Returns the flags of `define_mode_rules` for another program.

    Raises:
        app.UsageError: --night holds no hours.
    """
    read_mode_rules()
    night = flags.FLAGS[_NIGHT].value
    after = f"--{_SLEEP_AFTER}={flags.FLAGS[_SLEEP_AFTER].value}"
    return [after, *([f"--{_NIGHT}={night}"] if night else [])]


def define_learner_limits() -> None:
    """Defines the learner's budgets, --memories_mb and --learner_threads.

    `read_budgets`, `read_quota_bytes` and `read_threads` return them.
    """
    record_flags.define(Budgets)
    flags.DEFINE_float(
        _MEMORIES_MB,
        128.0,
        "size of all memories, in MB; episodes that wait for the learner, 1 GiB at "
        "most, and compiled functions, 64 MB at most, are not among them",
        lower_bound=0.0,
    )
    flags.DEFINE_integer(
        _THREADS,
        1,
        "processors that a round of the learner uses; 0 for all. Compiling, before a "
        "night, uses all",
        lower_bound=0,
    )


def define_shared_quota() -> None:
    """Defines --shared_mb, for `read_shared_quota_bytes`."""
    flags.DEFINE_float(
        _SHARED_MB,
        1024.0,
        "size of all shared episodes in <home>/shared, in MB; the oldest that were "
        "sent are removed first, then those without consent, then those that wait to "
        "be sent; the newest always stays",
        lower_bound=0.0,
    )


def read_shared_quota_bytes() -> int:
    """Size of all shared episodes, in bytes."""
    return int(float(str(flags.FLAGS[_SHARED_MB].value)) * 1e6)


def hand_on_shared_quota() -> list[str]:
    """Returns the flag of `define_shared_quota` for another program, if given."""
    return hand_on(_SHARED_MB)


def read_budgets() -> Budgets:
    """What learning may use."""
    return record_flags.read(Budgets)


def read_quota_bytes() -> int:
    """Size of all memories, in bytes."""
    return int(float(str(flags.FLAGS[_MEMORIES_MB].value)) * 1e6)


def read_threads() -> int:
    """Processors that the learner uses; 0 for all."""
    return int(str(flags.FLAGS[_THREADS].value))


def hand_on_learner_limits() -> list[str]:
    """Returns those of `define_learner_limits` that were given, for another program."""
    return hand_on(*record_flags.names(Budgets), _MEMORIES_MB, _THREADS)
