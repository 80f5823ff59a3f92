"""What a package did on recorded episodes that it never saw, as a record with a digest.

    {"schema_version": 1, "evidence": "held-out", "package_digest": ..., ...,
     "slices": {"task": ["pour", "wipe"], "robot": ["robot 1", "robot 2"], ...},
     "episodes": [{"sha256": ..., "steps": 180, "error": 0.021, "constant_error": 0.3,
                   "slices": {"task": 0, "robot": 1, ...}}, ...]}

The package proposed an action for each recorded observation and was compared with what
whoever drove wanted. It moved nothing: an error says how well it imitates, not whether
it succeeds. Intervals are computed from the episodes when they are needed, so that two
reports can be compared episode by episode.

Nothing here says who recorded an episode, where or when: the report goes into a package
that every robot gets. Robots and days are numbered within the report.
"""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

from base import canonical_json, json_fields
from base.errors import ContinuonError
from base.json_fields import Fields
from cloud.errors import EvaluationReportError
from cloud.evaluate import bootstrap
from cloud.evaluate.bootstrap import Mean
from release import evidence
from release.limits import LIMITS

SCHEMA_VERSION = 1
LIMIT_BYTES = LIMITS.evaluation_bytes
MOST_EPISODES = 1000
"""Episodes of one report, which take 12 values each of the 16,384 that are read."""
TASK, ROBOT, DAY, ACTOR, OUTCOME = "task", "robot", "day", "actor", "outcome"
SLICES = (TASK, ROBOT, DAY, ACTOR, OUTCOME)
_KEYS = (
    "schema_version",
    "package_digest",
    "dataset_manifest",
    "split_by",
    "action_minimum",
    "action_maximum",
    "slices",
    "episodes",
    "step_latency_us",
    "steps",
    "safety_violations",
    evidence.KEY,
)
_EPISODE_KEYS = ("sha256", "steps", "error", "constant_error", "slices")


@dataclasses.dataclass(frozen=True)
class EpisodeError:
    """How far a package is from one recorded episode.

    Attributes:
        sha256: digest of the episode's file in the dataset.
        steps: steps that were compared.
        error: mean distance to the wanted action over steps and channels, both within
            the package's limits, in half ranges of the action: 0 is the same action.
        constant_error: the same of the best action that never changes; it is chosen for
            the held-out episodes of the task, which no model is.
        slices: value of each of `SLICES`, such as `{"task": "pour", "day": "day 2"}`.
    """

    sha256: str
    steps: int
    error: float
    constant_error: float
    slices: Mapping[str, str]


@dataclasses.dataclass(frozen=True)
class HeldOutReport:
    """How far one package is from the held-out episodes of a dataset.

    Attributes:
        package_digest: digest of the package.
        manifest_digest: digest of the dataset's manifest, 64 hex characters.
        split_by: the columns by which the dataset was split; `episode_id` means that
            similar episodes may have been trained on.
        action_minimum: lowest action, one number per channel, in the robot's unit.
        action_maximum: highest action; together they give the error its unit.
        episodes: the error on each episode, in the order of their digests.
        step_latency_p50_us: median time of a control step here, in microseconds.
        step_latency_p99_us: 99th percentile of that time.
        steps: control steps of all episodes.
        safety_violations: steps at which a stop rule fired.
    """

    package_digest: str
    manifest_digest: str
    split_by: tuple[str, ...]
    action_minimum: tuple[float, ...]
    action_maximum: tuple[float, ...]
    episodes: tuple[EpisodeError, ...]
    step_latency_p50_us: float | None
    step_latency_p99_us: float | None
    steps: int
    safety_violations: int

    @property
    def tasks(self) -> tuple[str, ...]:
        """The tasks of the episodes, sorted."""
        return self.values(TASK)

    @property
    def error(self) -> Mean:
        """The error over all episodes."""
        return bootstrap.mean([one.error for one in self.episodes])

    @property
    def constant_error(self) -> Mean:
        """The error over all episodes of the best action that never changes."""
        return bootstrap.mean([one.constant_error for one in self.episodes])

    def values(self, name: str) -> tuple[str, ...]:
        """Returns the values of one of `SLICES` that occur, sorted."""
        found = {one.slices[name] for one in self.episodes}
        return tuple(sorted(found, key=lambda text: (len(text), text)))

    def select(self, name: str, value: str) -> tuple[EpisodeError, ...]:
        """Returns the episodes of one slice."""
        return tuple(one for one in self.episodes if one.slices[name] == value)

    def same_episodes(self, other: HeldOutReport) -> bool:
        """Tells whether both reports are of the same episodes and in the same unit."""
        return (
            self.manifest_digest == other.manifest_digest
            and [one.sha256 for one in self.episodes]
            == [one.sha256 for one in other.episodes]
            and self.action_minimum == other.action_minimum
            and self.action_maximum == other.action_maximum
        )

    def encode(self) -> bytes:
        """Returns the canonical bytes of the report."""
        values = {name: self.values(name) for name in SLICES}
        place = {n: {v: k for k, v in enumerate(found)} for n, found in values.items()}
        return canonical_json.encode(
            {
                "schema_version": SCHEMA_VERSION,
                evidence.KEY: evidence.HELD_OUT,
                "package_digest": self.package_digest,
                "dataset_manifest": self.manifest_digest,
                "split_by": list(self.split_by),
                "action_minimum": list(self.action_minimum),
                "action_maximum": list(self.action_maximum),
                "slices": {name: list(found) for name, found in values.items()},
                "episodes": [
                    {
                        "sha256": one.sha256,
                        "steps": one.steps,
                        "error": one.error,
                        "constant_error": one.constant_error,
                        "slices": {n: place[n][one.slices[n]] for n in SLICES},
                    }
                    for one in self.episodes
                ],
                "step_latency_us": {
                    "p50": self.step_latency_p50_us,
                    "p99": self.step_latency_p99_us,
                },
                "steps": self.steps,
                "safety_violations": self.safety_violations,
            }
        )

    @property
    def digest(self) -> str:
        """SHA-256 of the canonical bytes, in hex."""
        return hashlib.sha256(self.encode()).hexdigest()


def parse(raw: bytes, origin: Path | str) -> HeldOutReport:
    """Parses the bytes of a report.

    Args:
        raw: the bytes.
        origin: the file, for the error message.

    Raises:
        EvaluationReportError: the bytes are not a report of held-out episodes.
    """
    try:
        fields = Fields(json_fields.decode(raw, origin, LIMIT_BYTES), origin, _KEYS)
        fields.version(SCHEMA_VERSION)
        fields.one_of(evidence.KEY, (evidence.HELD_OUT,))
        named = fields.fields("slices", SLICES)
        values = {name: named.texts(name) for name in SLICES}
        listed = fields.each("episodes", _EPISODE_KEYS)
        if not listed or len(listed) > MOST_EPISODES:
            raise fields.fail("episodes", f"to be 1 to {MOST_EPISODES}")
        latency = fields.fields("step_latency_us", ("p50", "p99"))
        episodes = tuple(_parse_episode(one, values) for one in listed)
        digests = [one.sha256 for one in episodes]
        if digests != sorted(set(digests)):
            raise fields.fail("episodes", "to be each once, in order of their digests")
        return HeldOutReport(
            package_digest=fields.sha256("package_digest"),
            manifest_digest=fields.sha256("dataset_manifest"),
            split_by=fields.texts("split_by"),
            action_minimum=fields.numbers("action_minimum"),
            action_maximum=fields.numbers("action_maximum"),
            episodes=episodes,
            step_latency_p50_us=_number_or_none(latency, "p50"),
            step_latency_p99_us=_number_or_none(latency, "p99"),
            steps=fields.integer("steps"),
            safety_violations=fields.integer("safety_violations"),
        )
    except ContinuonError as e:
        raise EvaluationReportError(
            origin,
            f"a report of held-out episodes of schema_version {SCHEMA_VERSION}",
            f"{type(e).__name__}: {e}",
            "evaluate again",
        ) from e


def _parse_episode(
    fields: Fields, values: Mapping[str, tuple[str, ...]]
) -> EpisodeError:
    places = fields.fields("slices", SLICES)
    slices = {}
    for name, known in values.items():
        place = places.integer(name)
        if place >= len(known):
            raise places.fail(name, f"to be below {len(known)}")
        slices[name] = known[place]
    return EpisodeError(
        sha256=fields.sha256("sha256"),
        steps=fields.integer("steps", minimum=1),
        error=_not_negative(fields, "error"),
        constant_error=_not_negative(fields, "constant_error"),
        slices=MappingProxyType(slices),
    )


def _not_negative(fields: Fields, key: str) -> float:
    number = fields.number(key)
    if number < 0.0:
        raise fields.fail(key, "not to be negative")
    return number


def _number_or_none(fields: Fields, key: str) -> float | None:
    return _not_negative(fields, key) if fields.has(key) else None
