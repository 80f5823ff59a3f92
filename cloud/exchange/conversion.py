"""Turns an episode of other people's data into one of this project, or says why not.

What nobody recorded is not made up: success stays unknown, and nothing is `simulated`
that its source, or the person who imports it, does not call so. What has only one
possible value is filled in, and said: which step is the first and the last one.
"""

import dataclasses
import re
from collections.abc import Sequence

import numpy as np

from cloud.dataset import recorded_robot
from cloud.exchange.recorded import RecordedEpisode, Values, bad
from rlds import redacted_form
from rlds.episode import Episode, EpisodeMetadata
from rlds.errors import MalformedEpisodeError
from rlds.spec import (
    MAX_EPISODE_NS,
    NO_PICTURE_AGE,
    PICTURE_PREFIX,
    SCHEMA_VERSION,
    EpisodeSpec,
    age_field,
)

_NS_PER_S = 1_000_000_000
_STATE, _ACTION, _PROPOSED = "observation/state", "action", "proposed_action"
_IMAGE, _TIME = "observation/image", "t_monotonic_ns"
_UNEVEN = 0.5
"""Share of the usual time between two steps by which another time is told."""
SIMULATED = "simulated"
_ACTOR = re.compile(r"expert|human|policy:[0-9a-f]{12}")
_NOT_IN_A_NAME = re.compile(r"[^A-Za-z0-9]+")
_LONGEST_NAME = 80  # characters, of 128 that an id may have


@dataclasses.dataclass(frozen=True)
class Naming:
    """What the episodes of one import have in common.

    Attributes:
        dataset: name of the new dataset; ids begin with it.
        robot_hash: 64 hex characters in the place of a robot's.
        robot_model: make of the robot; "" for what each episode states.
        environment_id: what it acted in, likewise.
        default_name: the name of both where nobody states one.
        task: the task of all episodes; None for the task that each one states.
        actor: who acted, as `rlds.spec` says it; "" if nobody knows.
        simulated: whether the robot is known to be simulated.
        control_hz: control steps per second; None if each step has its own time.
        software_version: version of this project.
    """

    dataset: str
    robot_hash: str
    robot_model: str
    environment_id: str
    default_name: str
    task: str | None
    actor: str
    simulated: bool
    control_hz: float | None
    software_version: str

    def episode_id(self, split: str, index: int) -> str:
        """Returns the id of an episode, the same in each import."""
        name = _NOT_IN_A_NAME.sub("-", f"{self.dataset}-{split}")[:_LONGEST_NAME]
        return f"{name}-{index:06d}"


def convert(
    found: RecordedEpisode, naming: Naming
) -> tuple[Episode, list[tuple[str, str]]]:
    """Returns the episode, and what a person should know of it: fields and sentences.

    Raises:
        BadEpisodeError: it cannot be carried over; names the episode and the field.
    """
    notes = list(found.notes)
    state = _join(found, _STATE)
    count = len(state)
    if not count:
        raise bad(found.name, "steps", "at least one step", "none")
    action = _join(found, _ACTION)
    proposed = _join(found, _PROPOSED) if _PROPOSED in found.steps else action
    spec = EpisodeSpec(
        state.shape[1],
        action.shape[1],
        image=_IMAGE in found.steps,
        cameras=tuple(sorted(_find_cameras(found))),
    )
    terminal = _last_only(found, "is_terminal", count, notes)
    index = np.arange(count)
    discount = np.where(terminal, np.float32(0), np.float32(1))
    steps: dict[str, Values | Sequence[np.ndarray]] = {
        _STATE: state,
        _ACTION: action,
        _PROPOSED: proposed,
        "reward": _numbers(found, "reward", count, np.zeros(count, np.float32)),
        "discount": _discount(found, count, discount),
        "is_first": _check_first(found, count, index == 0, notes),
        "is_last": _check_last(found, count, index == count - 1, notes),
        "is_terminal": terminal,
        _TIME: _times_ns(found, count, naming.control_hz),
        "deadline_missed": _flags(found, "deadline_missed", count),
        "safety_violation": _flags(found, "safety_violation", count),
    }
    for field in spec.picture_fields:
        steps[field] = tuple(bytes(image) for image in found.steps[field])
    for camera in spec.cameras:
        steps[age_field(camera)] = _ages_ns(found, camera, count)
    try:
        made = Episode(spec, _metadata(found, naming), steps)
    except MalformedEpisodeError as e:
        field = e.source.removeprefix("episode field ")
        raise bad(found.name, field, e.expected, e.got) from e
    notes += _describe_times(made.steps[_TIME])
    return made, notes


def _metadata(found: RecordedEpisode, naming: Naming) -> EpisodeMetadata:
    task = naming.task if naming.task is not None else found.task
    tags = found.tags
    if naming.simulated and SIMULATED not in tags:
        tags = (*tags, SIMULATED)
    # A free text may name a person or a moment: only what has a form is carried over.
    start_time = found.stated.get("start_time", "")
    actor = found.stated.get("operator", "")
    default = naming.default_name
    return EpisodeMetadata(
        schema_version=SCHEMA_VERSION,
        episode_id=naming.episode_id(found.split, found.index),
        robot_hash=naming.robot_hash,
        robot_model=naming.robot_model or found.stated.get("robot_model") or default,
        environment_id=naming.environment_id
        or found.stated.get("environment_id")
        or default,
        package_digest="",
        delta_digest="",
        channel="",
        software_version=naming.software_version,
        start_time=start_time if redacted_form.is_hour(start_time) else "",
        location="",
        tags=tags,
        task=task or naming.dataset,
        success=found.success,
        operator=naming.actor or (actor if _ACTOR.fullmatch(actor) else ""),
    )


def _join(found: RecordedEpisode, field: str) -> np.ndarray:
    """Returns the features of a field side by side, f32 [T, C]."""
    parts = found.steps[field]
    if isinstance(parts, np.ndarray):
        parts = [parts]
    columns = [_column(found.name, field, np.asarray(part)) for part in parts]
    if len({len(column) for column in columns}) != 1:
        lengths = [len(column) for column in columns]
        raise bad(found.name, field, "features of equal length", f"{lengths} steps")
    return np.concatenate(columns, axis=1)


def _column(episode: str, field: str, values: np.ndarray) -> np.ndarray:
    wide = values.reshape(len(values), -1) if values.size else values.reshape(0, 1)
    if wide.dtype.kind not in "biuf" and wide.dtype.name != "bfloat16":
        raise bad(episode, field, "numbers", f"values of type {wide.dtype}")
    with np.errstate(over="ignore"):
        narrow = wide.astype(np.float32)
    finite = np.isfinite(narrow)
    if not finite.all():
        step, channel = (int(k) for k in np.argwhere(~finite)[0])
        value = wide[step, channel]
        raise bad(
            episode,
            field,
            "finite numbers of 32 bits",
            f"{value} at step {step}, number {channel}",
        )
    return narrow


def _numbers(
    found: RecordedEpisode, field: str, count: int, default: np.ndarray
) -> np.ndarray:
    """Returns one number for each step, f32 [T]."""
    given = found.steps.get(field)
    if given is None:
        return default.astype(np.float32)
    column = _column(found.name, field, np.asarray(given))
    if column.shape != (count, 1):
        raise bad(found.name, field, f"one number in each of {count} steps", "others")
    return column[:, 0]


def _discount(found: RecordedEpisode, count: int, default: np.ndarray) -> np.ndarray:
    values = _numbers(found, "discount", count, default)
    if ((values < 0) | (values > 1)).any():
        step = int(np.flatnonzero((values < 0) | (values > 1))[0])
        raise bad(found.name, "discount", "0 to 1", f"{values[step]} at step {step}")
    return values


def _find_cameras(found: RecordedEpisode) -> list[str]:
    """Returns the names of the cameras that have one."""
    return [
        field.removeprefix(PICTURE_PREFIX)
        for field in found.steps
        if field.startswith(PICTURE_PREFIX)
    ]


def _ages_ns(found: RecordedEpisode, camera: str, count: int) -> np.ndarray:
    """Returns how old each picture of a camera was, i64 [T].

    A source that does not say so has one picture for each step, taken with it.
    """
    field = age_field(camera)
    given = found.steps.get(field)
    if given is None:
        return np.zeros(count, np.int64)
    ages_ns = np.asarray(given).reshape(-1)
    if len(ages_ns) != count or ages_ns.dtype.kind not in "iu":
        raise bad(found.name, field, f"{count} whole numbers", f"{len(ages_ns)} values")
    wrong = (ages_ns < NO_PICTURE_AGE) | (ages_ns > MAX_EPISODE_NS)
    if wrong.any():
        step = int(np.flatnonzero(wrong)[0])
        raise bad(found.name, field, "an age in ns", f"{ages_ns[step]} at step {step}")
    return ages_ns.astype(np.int64)


def _flags(found: RecordedEpisode, field: str, count: int) -> np.ndarray:
    given = found.steps.get(field)
    if given is None:
        return np.zeros(count, np.bool_)
    values = np.asarray(given).reshape(-1)
    if len(values) != count:
        raise bad(found.name, field, f"{count} flags", len(values))
    return values.astype(np.bool_)


def _check_first(
    found: RecordedEpisode,
    count: int,
    wanted: np.ndarray,
    notes: list[tuple[str, str]],
) -> np.ndarray:
    flags = _flags(found, "is_first", count)
    if "is_first" in found.steps and (flags != wanted).any():
        if flags[1:].any():
            raise bad(
                found.name,
                "is_first",
                "true only at the first step",
                f"also at step {int(np.flatnonzero(flags[1:])[0]) + 1} of {count}",
            )
        notes.append(("is_first", "not set at the first step, set there"))
    return wanted


def _check_last(
    found: RecordedEpisode,
    count: int,
    wanted: np.ndarray,
    notes: list[tuple[str, str]],
) -> np.ndarray:
    flags = _flags(found, "is_last", count)
    if "is_last" in found.steps and (flags != wanted).any():
        if flags[:-1].any():
            raise bad(
                found.name,
                "is_last",
                "true only at the last step",
                f"also at step {int(np.flatnonzero(flags)[0])} of {count}",
            )
        notes.append(("is_last", "not set at the last step, set there"))
    return wanted


def _last_only(
    found: RecordedEpisode, field: str, count: int, notes: list[tuple[str, str]]
) -> np.ndarray:
    """Returns flags of which only the last may be set, and says if others were."""
    flags = _flags(found, field, count)
    if flags[:-1].any():
        first = int(np.flatnonzero(flags)[0])
        notes.append((field, f"set from step {first} of {count}, kept at the last one"))
        flags = (np.arange(count) == count - 1) & flags.any()
    return flags


def _times_ns(
    found: RecordedEpisode, count: int, control_hz: float | None
) -> np.ndarray:
    """Returns when each step was, in ns since the first one, i64 [T]."""
    given = found.steps.get(_TIME)
    if given is None:
        assert control_hz is not None, "a source without times has a rate"
        return np.round(np.arange(count) * (_NS_PER_S / control_hz)).astype(np.int64)
    times = np.asarray(given).reshape(-1)
    if len(times) != count:
        raise bad(found.name, _TIME, f"{count} times", len(times))
    if times.dtype.kind == "f" and not np.isfinite(times).all():
        step = int(np.flatnonzero(~np.isfinite(times))[0])
        raise bad(found.name, _TIME, "finite times", f"{times[step]} at step {step}")
    times_ns: np.ndarray = (times - times[0]).astype(np.int64)
    if (np.diff(times_ns) < 0).any():
        step = int(np.flatnonzero(np.diff(times_ns) < 0)[0]) + 1
        raise bad(found.name, _TIME, "times in order", f"a step back at step {step}")
    return times_ns


def _describe_times(times_ns: np.ndarray) -> list[tuple[str, str]]:
    """Says where steps of one episode do not follow each other evenly."""
    usual = recorded_robot.measure_period_ns(times_ns)
    if not usual:
        return []
    between = np.diff(times_ns)
    uneven = np.abs(between / usual - 1.0) > _UNEVEN
    if not uneven.any():
        return []
    shortest, longest = between.min() / 1e6, between.max() / 1e6
    return [
        (
            _TIME,
            f"{int(uneven.sum())} of {len(between)} steps come {shortest:.3g} to "
            f"{longest:.3g} ms after the one before, and not {usual / 1e6:.3g}",
        )
    ]


def check_same(episode: str, got: EpisodeSpec, expected: EpisodeSpec) -> None:
    """Checks that an episode has the sizes of those before it.

    Raises:
        BadEpisodeError: it has not; names the field.
    """
    for field, a, b in (
        (_STATE, got.state_size, expected.state_size),
        (_ACTION, got.action_size, expected.action_size),
    ):
        if a != b:
            raise bad(episode, field, f"{b} numbers as in the episodes before", a)
    if got.picture_fields != expected.picture_fields:
        cameras = expected.picture_fields
        raise bad(
            episode,
            "cameras",
            f"{cameras} as in the episodes before",
            got.picture_fields,
        )
