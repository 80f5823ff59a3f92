"""Records episodes that an actor demonstrates on a robot.

    ./bazelw run //edge:record -- --robot=metaworld:reach-v3 --episodes=20 --seed=7 \\
        --consent --output=DIR

The actor is the scripted expert of a simulated robot, or with --actor=keyboard,
--actor=gamepad or --actor=page a person, who begins each episode, moves the robot and
says how it went.
What an actor sees is what the robot senses. Keys and buttons are shown at the start.

Each episode goes through the control loop, the recorder and the redaction. DIR then
holds redacted episodes, each with a signed sidecar, and can be opened directly with
`tfds.builder_from_directory(DIR)`. Raw episodes are kept in a private folder beside it
and are removed once their redacted copy is durable.

A simulated episode of the expert depends only on its flags and its seed. Running the
same command again records the missing episodes and none twice; other flags or seeds add
episodes. Whatever an earlier run of the same robot left unfinished is first turned into
episodes, with the tag `recovered` and the consent of that earlier run.
"""

import base.interrupt  # noqa: F401 - Ctrl-C ends it from here on

import contextlib
import functools
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from absl import app, flags

from base import canonical_json, command_line, durable_file, path_flags
from edge import (
    actor_flags,
    mask_flags,
    raw_memory,
    sense_flags,
    simulated_or_real,
    word_flags,
)
from edge.actors import registry as actors
from edge.actors.actor import EXPERT, Actor, Ending, await_start, describe_loss
from edge.control import loop, site_rules
from edge.control.loop import Pace
from edge.control.safety import DEFAULT_MAX_STEPS, SafetyConfig, config_for
from edge.episodes import episode_id, robot_key, terms
from edge.episodes.open_recording import open_recording
from edge.episodes.provenance import Provenance
from edge.episodes.robot_key import RobotKey
from edge.episodes.sharing import Recording
from edge.record_summary import RecordSummary, success_text
from edge.redact import transforms
from edge.robots import clock, machine_name, registry
from edge.robots.drawn_cameras import find_drawn
from edge.robots.experts import GaussianNoise
from edge.robots.robot import Robot, RobotSpec
from edge.simulated_or_real import RealTime
from rlds import recovery, spool_flags

# Simulated episodes begin this far apart: longer than the longest of them.
_EPISODE_SLOT_NS = 10 * clock.NS_PER_S

_ROBOT = flags.DEFINE_list(
    "robot",
    None,
    f"robots to record: {registry.HELP}; commas separate them, so quote a name that"
    " has one: --robot='\"metaworld:a,b\"'",
    required=True,
)
_ACTOR = flags.DEFINE_string(
    "actor",
    None,
    "who demonstrates: expert, keyboard, gamepad, leader:TYPE@PORT, which is a leader"
    " arm, page (an operator's page that runs beside this, --actor_page), or the name"
    " of an actor that another package adds (default: expert on a simulated robot)",
)
_EPISODES = flags.DEFINE_integer(
    "episodes", 1, "number of episodes of each robot", lower_bound=1
)
_SEED = flags.DEFINE_integer(
    "seed",
    0,
    "seed of a robot's first episode; episode k, from 0, has seed + k",
    lower_bound=0,
    upper_bound=2**31,
)
_OUTPUT = flags.DEFINE_string(
    "output", None, "folder of redacted episodes; may hold some already", required=True
)
_ROBOT_ID = flags.DEFINE_string(
    "robot_id",
    None,
    "name of this robot; leaves it only as a keyed hash (default:"
    f" {simulated_or_real.SIMULATED_NAME} for a simulated robot, derived from this"
    " machine's id for a real one)",
)
_SIM_START = flags.DEFINE_string(
    "sim_start",
    None,
    "wall time at which a simulated robot starts, RFC 3339 in UTC (default:"
    f" {registry.DEFAULT_SIM_START})",
)
_ACTOR_NOISE = flags.DEFINE_float(
    "actor_noise",
    0.0,
    "standard deviation of the noise on executed actions, in units of the action",
    lower_bound=0.0,
)
_MAX_STEPS = flags.DEFINE_integer(
    "max_steps", DEFAULT_MAX_STEPS, "longest episode, in control steps", lower_bound=1
)
_PACE = flags.DEFINE_enum_class(
    "pace",
    None,
    Pace,
    "whether a simulated robot keeps real time (default: realtime when a person acts,"
    " else simulated); a real robot always does",
)
_STOP_RULES = flags.DEFINE_string(
    "stop_rules",
    None,
    "file of additional stop rules for this site, such as its workspace;"
    " edge/control/site_rules.py says which (default: none)",
)
_PRIVATE_DIR = flags.DEFINE_string(
    "private_dir",
    None,
    "folder of raw episodes, mode 0700 (default: <output>.private)",
)
_KEY_FILE = flags.DEFINE_string(
    "key_file",
    None,
    "robot key, mode 0600, made when absent (default: derived from --robot_id, for"
    " simulated robots only)",
)
_ENROL = flags.DEFINE_string(
    "enrol",
    None,
    "file for the robot's public key, for the cloud (default: not written)",
)
_CONSENT = flags.DEFINE_boolean(
    "consent",
    False,
    "whether the operator lets these episodes be uploaded",
)
_LOCATION = flags.DEFINE_string(
    "location",
    "",
    "latitude,longitude in degrees; leaves the robot rounded to 0.1 degrees",
)
_TAGS = flags.DEFINE_list(
    "tags", [], "notes on these episodes; only allow-listed ones leave the robot"
)
_SUMMARY_JSON = flags.DEFINE_string(
    "summary_json", None, "file for the summary, for machines (default: not written)"
)
flags.adopt_module_key_flags(actor_flags)  # so that --help shows them
flags.adopt_module_key_flags(sense_flags)
flags.adopt_module_key_flags(mask_flags)
flags.adopt_module_key_flags(word_flags)
flags.adopt_module_key_flags(spool_flags)
path_flags.folders("output", "private_dir")
path_flags.files("key_file", "stop_rules", "enrol", "summary_json")


@dataclass(frozen=True)
class _Plan:
    """One episode to record: its robot, who demonstrates, its seed and its begin.

    Attributes:
        safety: limits of the robot, and stop rules of the site.
        start_offset_ns: when it begins on the clock of a simulated robot.
    """

    robot: str
    actor: Actor
    pace: Pace
    safety: SafetyConfig
    number: int
    seed: int
    start_offset_ns: int

    @property
    def person(self) -> bool:
        """Whether a person demonstrates, so that no episode is like another."""
        return self.actor.name != EXPERT


def main(argv: list[str]) -> int:
    """Recovers unfinished episodes, records new ones and prints a summary."""
    if len(argv) > 1:
        raise app.UsageError(f"expected flags only, got {argv[1]!r}")
    if _SIM_START.value is not None:
        clock.unix_ns_from_rfc3339(_SIM_START.value, "--sim_start")
    # A wrong location or word is refused before recording, not during redaction.
    transforms.coarsen_location(_LOCATION.value)
    word_flags.read()
    raw_memory.forbid_dumps()
    spool_flags.use()
    # After the flags, because a simulator takes a second to load.
    names = tuple(dict.fromkeys(_ROBOT.value))
    for name in names:
        registry.require_known(name)
        actors.require_known(_actor_name(name))
    rules = site_rules.read(_STOP_RULES.value)
    for path in filter(None, (_SUMMARY_JSON.value, _ENROL.value)):
        durable_file.check_writable(Path(path))
    summary = RecordSummary()
    with (
        contextlib.closing(
            simulated_or_real.open_robots(
                names, _SIM_START.value, sense_flags.read(), command_line.say
            )
        ) as robots,
        contextlib.ExitStack() as stack,
    ):
        folders = None
        for name, robot in robots:
            with contextlib.closing(
                actor_flags.open_actor(_actor_name(name), name, robot.spec)
            ) as actor:
                pace = simulated_or_real.choose_pace(
                    robot, _PACE.value, _own_pace(actor)
                )
                safety = site_rules.add(_own_limits(robot.spec), rules, robot.spec)
                if folders is None:
                    folders = stack.enter_context(_open_folders(robot))
                    _recover(folders, summary)
                plans = _make_plans(name, names, actor, pace, safety)
                if not _record_all(plans, robot, folders, summary):
                    break
    command_line.say(summary.table())
    command_line.say(f"episodes are in {_OUTPUT.value}")
    if _SUMMARY_JSON.value:
        raw = canonical_json.encode(summary.as_json())
        durable_file.write(Path(_SUMMARY_JSON.value), raw)
    return 0


def _make_plans(
    name: str, names: tuple[str, ...], actor: Actor, pace: Pace, safety: SafetyConfig
) -> Iterator[_Plan]:
    """Yields the episodes of one robot; a higher --episodes adds to the end only."""
    for number in range(_EPISODES.value):
        slot = number * len(names) + names.index(name)
        seed = _SEED.value + number
        offset_ns = slot * _EPISODE_SLOT_NS
        yield _Plan(name, actor, pace, safety, number, seed, offset_ns)


def _own_limits(spec: RobotSpec) -> SafetyConfig:
    """The robot's limits, which do not say how long a demonstration may take."""
    return replace(config_for(spec), max_steps=_MAX_STEPS.value)


def _actor_name(robot: str) -> str:
    return str(_ACTOR.value or registry.name_actor(robot))


def _own_pace(actor: Actor) -> Pace:
    """The pace of a simulated robot: a person needs real time."""
    return Pace.SIMULATED if actor.name == EXPERT else Pace.REALTIME


@contextlib.contextmanager
def _open_folders(robot: Robot) -> Iterator[Recording]:
    """Opens the folders for episodes of robots like this one, and enrols it."""
    robot_id = _robot_id(robot)
    spool_flags.say_if_plain(robot.spec.simulated, command_line.say)

    def open_key() -> RobotKey:
        key = simulated_or_real.open_key(robot.spec, _KEY_FILE.value, robot_id)
        if _ENROL.value:
            unix_ns = clock.MonotonicClock().unix_ns()
            now = datetime.fromtimestamp(unix_ns / clock.NS_PER_S, UTC)
            output, words = Path(_OUTPUT.value), word_flags.read()
            find_words = functools.partial(robot_key.join_words, output, words=words)
            public = key.enrolments(robot_id, now, find_words)
            durable_file.write(Path(_ENROL.value), public)
        return key

    with open_recording(
        output=Path(_OUTPUT.value),
        private=_private_folder(),
        robot=robot.spec,
        robot_id=robot_id,
        open_key=open_key,
        consent=terms.operator_consent(_CONSENT.value, robot.clock.unix_ns()),
        tell=command_line.say,
        words=word_flags.read(),
        open_masker=mask_flags.open_masker,
        drawn=find_drawn(robot),
    ) as folders:
        yield folders


def _private_folder() -> Path:
    return Path(_PRIVATE_DIR.value or _OUTPUT.value.rstrip("/") + ".private")


def _robot_id(robot: Robot) -> str:
    if _ROBOT_ID.value is not None:
        return str(_ROBOT_ID.value)
    if robot.spec.simulated:
        return simulated_or_real.SIMULATED_NAME
    return machine_name.derive_name()


def _recover(folders: Recording, summary: RecordSummary) -> None:
    for shared in folders.recover_all():
        summary.recovered += 1
        command_line.say(
            f"recovered episode {shared.episode_id} of an interrupted run,"
            f" {shared.num_steps} steps"
        )


def _record_all(
    plans: Iterator[_Plan], robot: Robot, folders: Recording, summary: RecordSummary
) -> bool:
    """Records the episodes of one robot, as `_record`."""
    with simulated_or_real.open_real_time(
        robot,
        functools.partial(recovery.mark_hung, _private_folder()),
        command_line.say,
    ) as real_time:
        return all(_record(plan, robot, folders, summary, real_time) for plan in plans)


def _record(
    plan: _Plan,
    robot: Robot,
    folders: Recording,
    summary: RecordSummary,
    real_time: RealTime,
) -> bool:
    """Records an episode; False if the actor asks to stop."""
    if robot.spec.simulated:
        robot.clock.sleep_until_ns(plan.start_offset_ns)
    start_unix_ns = robot.clock.unix_ns()
    name = _find_free_name(plan, robot, start_unix_ns, folders)
    if name is None:
        summary.skipped += 1
        return True
    if not await_start(plan.actor):
        return False
    begin_s = time.perf_counter()
    provenance = Provenance(
        actor=plan.actor.name,
        tags=("demonstration", *_TAGS.value),
        location=_LOCATION.value,
    )
    recorder = folders.begin(
        robot.spec, name, start_unix_ns, provenance, drawn=find_drawn(robot)
    )
    result = loop.run_episode(
        robot,
        plan.actor,
        plan.safety,
        recorder,
        plan.seed,
        _MAX_STEPS.value,
        plan.pace,
        disturbance=GaussianNoise(_ACTOR_NOISE.value),
        actor=plan.actor,
        watchdog=real_time.watchdog,
        grants=real_time.grants,
        on_sense=lambda line, _: command_line.say(line),
    )
    for closed in recorder.close(result.success, result.tags):
        folders.share(closed)
    summary.count(robot.spec.task, result)
    rate = result.steps / (time.perf_counter() - begin_s)
    command_line.say(
        f"{plan.robot} {plan.number + 1}/{_EPISODES.value} seed {plan.seed}:"
        f" {success_text(result.success)} after {result.steps} steps,"
        f" {rate:.0f} steps/s"
    )
    if result.ending is Ending.LOST:
        source = f"--actor={_actor_name(plan.robot)}"
        raise describe_loss(plan.actor).make_error(source)
    return True


def _find_free_name(
    plan: _Plan, robot: Robot, start_unix_ns: int, folders: Recording
) -> str | None:
    """Finds a name for the episode; None when the folder holds it already."""
    if plan.person or not robot.spec.simulated:
        return episode_id.make_random_id(start_unix_ns)
    identity = {
        "max_steps": _MAX_STEPS.value,
        "operator": plan.actor.name,
        **({"speed": speed} if (speed := actor_flags.SPEED.value) is not None else {}),
        # Named as ever: these names and values make the name of the episode.
        "operator_noise": _ACTOR_NOISE.value,
        "robot": plan.robot,
        "robot_id": _robot_id(robot),
        "seed": plan.seed,
        **site_rules.describe(plan.safety.stop_rules),
    }
    return episode_id.find_free_id(start_unix_ns, identity, folders)


if __name__ == "__main__":
    command_line.run(main)
