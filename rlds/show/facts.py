"""What is to be said of an episode, as names and short texts."""

import itertools
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Final

import numpy as np

from rlds import imitation
from rlds.episode import Array, Episode
from rlds.show.found import Found
from rlds.spec import (
    CAMERA_TAG,
    FAST_LOOP_TAG,
    LABELLED_TAG,
    LEFT_OUT_TAG,
    MICROPHONE_TAG,
    NO_PICTURE_AGE,
    TRIMMED_TAG,
    StopRule,
    age_field,
    picture_field,
)

SUCCESS: Final[Mapping[bool | None, str]] = MappingProxyType(
    {True: "success", False: "failure", None: "success not known"}
)
_STOPPED: Final[Mapping[StopRule, str]] = MappingProxyType(
    {
        StopRule.NON_FINITE_ACTION: "the action was not a number",
        StopRule.ACTION_LIMIT: "the proposed action was far outside its limits",
        StopRule.ACTION_RATE: "the action was far from the one before it",
        StopRule.WORKSPACE: "the robot was outside the box in which it may be",
        StopRule.LATE_IN_A_ROW: "too many late steps, one after the other",
        StopRule.LATE_SHARE: "too many late steps among the last hundred",
        StopRule.WATCHDOG: "a step did not end, and the watchdog held the robot",
        StopRule.STOP_KEY: "somebody pressed the stop key",
    }
)
_TAGS: Final[Mapping[str, str]] = MappingProxyType(
    {
        CAMERA_TAG: "a camera did not see in a part of it",
        FAST_LOOP_TAG: "the package was adapted from step to step",
        LABELLED_TAG: "the operator said afterwards how it went",
        LEFT_OUT_TAG: "the operator wants it left out",
        MICROPHONE_TAG: "its microphone did not hear in a part of it",
        TRIMMED_TAG: "the operator cut its beginning or end off",
        "recovered": "the recording was cut off, and finished later",
    }
)

MARKS: Final = (
    ("deadline_missed", "late"),
    ("safety_violation", "stop rule"),
    ("intervention", "a person acted"),
    ("changed", "action changed"),
)
"""What may be marked in a step, and how it is called; `mark_steps` finds it."""


def mark_steps(episode: Episode) -> dict[str, Array]:
    """Returns which steps have what of `MARKS`, [T] bool, without what it cannot have.

    An action is changed if what was applied is not what was proposed: by a limit, by
    noise, or by a person who took over.
    """
    steps = episode.steps
    marks: dict[str, Array] = {
        name: np.asarray(steps[name]) for name, _ in MARKS if name in steps
    }
    marks["changed"] = np.any(steps["action"] != steps["proposed_action"], axis=1)
    return marks


def seconds(episode: Episode) -> Array:
    """Returns when each step was sensed, [T] f64, in seconds from the first."""
    times_ns = episode.steps["t_monotonic_ns"]
    found: Array = (times_ns - times_ns[0]) / 1e9
    return found


def tell_actor(episode: Episode) -> str:
    """Says who acted."""
    who = episode.metadata.operator
    if who == "expert":
        told = "the scripted expert"
    elif who == "human":
        told = "a person"
    elif who.startswith("policy:"):
        told = f"package {who.removeprefix('policy:')}"
        if episode.metadata.delta_digest:
            told += f" with delta {episode.metadata.delta_digest[:12]}"
    else:
        told = who or "not said"
    if imitation.is_corrected(episode.steps):
        count = int(np.count_nonzero(episode.steps["intervention"]))
        told += f"; a person took over in {count:,} of {episode.num_steps:,} steps"
    return told


def tell_end(episode: Episode) -> str:
    """Says what ended the episode; "" if nothing out of the ordinary did."""
    rules = [rule for rule in StopRule if rule.tag in episode.metadata.tags]
    return "; ".join(_STOPPED[rule] for rule in rules)


def describe(found: Found) -> list[tuple[str, str]]:
    """Returns name and text of what is to be said of an episode as a whole."""
    episode, own = found.episode, found.episode.metadata
    count = episode.num_steps
    rows = [
        ("task", own.task),
        ("who acted", tell_actor(episode)),
        ("length", _tell_length(episode)),
    ]
    for name, told in (
        ("deadline_missed", "late steps"),
        ("changed", "actions changed"),
        ("safety_violation", "safety violations"),
    ):
        marked = int(np.count_nonzero(mark_steps(episode)[name]))
        rows.append((told, f"{marked:,} of {count:,}" if marked else "none"))
    rows += [
        ("stopped because", tell_end(episode)),
        ("reward", _tell_reward(episode)),
        ("notes", "; ".join(_TAGS.get(tag, tag) for tag in _other_tags(own.tags))),
        ("robot", f"{own.robot_model} in {own.environment_id}"),
        ("began", own.start_time),
        ("where", own.location),
        ("package", own.package_digest),
        ("delta", own.delta_digest),
        ("channel", own.channel),
        ("runtime", own.software_version),
        ("robot's name", own.robot_hash),
        ("episode", own.episode_id),
        *_describe_pictures(episode),
        *_describe_sidecar(found),
        ("file", str(found.path)),
    ]
    return [(name, text) for name, text in rows if text]


def _other_tags(tags: tuple[str, ...]) -> list[str]:
    stops = {rule.tag for rule in StopRule}
    return [tag for tag in tags if tag not in stops]


def _tell_length(episode: Episode) -> str:
    count, length_s = episode.num_steps, float(seconds(episode)[-1])
    if count == 1 or not length_s:
        return f"{count:,} steps"
    return f"{count:,} steps in {length_s:.1f} s, {(count - 1) / length_s:.4g} per s"


def _tell_reward(episode: Episode) -> str:
    reward = episode.steps["reward"].astype(np.float64)
    if not reward.any():
        return ""
    return f"{reward.sum():.4g} in all, {reward[-1]:.4g} in the last step"


def pictures(episode: Episode) -> dict[str, Sequence[bytes]]:
    """The pictures of each camera, by what they are called: `picture` without a name.

    A camera's name is of a closed list, so that it may stand in HTML as it is.
    """
    names = [*([""] if episode.spec.image else []), *episode.spec.cameras]
    return {name or "picture": episode.steps[picture_field(name)] for name in names}


def _describe_pictures(episode: Episode) -> list[tuple[str, str]]:
    told = []
    for name, found in pictures(episode).items():
        same = sum(a == b for a, b in itertools.pairwise(found))
        text = f"{len(found):,}, {sum(map(len, found)) / 1e6:.1f} MB"
        if same:
            text += f"; {same:,} are the same as the one before"
        if name in episode.spec.cameras:
            text += _tell_ages(episode.steps[age_field(name)])
        told.append((f"camera {name}" if name != "picture" else "pictures", text))
    return told


def _tell_ages(ages_ns: Array) -> str:
    """Says how old a camera's newest picture was, and how often there was none."""
    there = ages_ns[ages_ns != NO_PICTURE_AGE]
    none = len(ages_ns) - len(there)
    told = f"; at most {there.max() / 1e6:,.0f} ms old" if there.size else ""
    return told + (f"; none in {none:,} steps" if none else "")


def _describe_sidecar(found: Found) -> list[tuple[str, str]]:
    stated = found.sidecar
    if stated is None:
        return []
    consent, privacy = stated.consent, stated.privacy
    said = "given" if consent.granted else "not given"
    by = f" by the {consent.by}" if consent.by else ""
    detectors = ", ".join(
        f"{name} {digest[:12]}" for name, digest in sorted(privacy.detectors.items())
    )
    cameras = len(found.episode.spec.picture_fields)
    count = stated.num_steps * cameras
    masked = f"{privacy.frames_masked:,} of {count:,} pictures"
    if privacy.drawn is not None:
        masked = f"no picture: the simulator {privacy.drawn.simulator} drew them"
    looked = privacy.drawn or privacy.pictures
    if looked is not None and looked.frames_dropped:
        masked += f"; {looked.frames_dropped:,} are dropped, and black"
    return [
        ("consent", f"{said}{by}{', ' + consent.at if consent.at else ''}"),
        ("shared for a violation", "yes" if stated.safety.escalated else ""),
        ("redacted", ", ".join(privacy.fields_covered) or "nothing"),
        ("masked", masked if cameras else ""),
        ("detectors", detectors),
        ("transforms", privacy.transform_version),
        ("signed by", f"key {stated.keyid}; the signature is not checked here"),
    ]
