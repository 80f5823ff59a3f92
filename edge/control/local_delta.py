"""A local delta: what this robot has learned on top of one package.

    deltas/<digest>/delta.safetensors    one vector per surface, f32
    deltas/<digest>/delta.json           the package it belongs to, where it comes from

The digest is the sha256 of `delta.json`, which names the sha256 of the vectors. A delta
belongs to one package and is refused with any other, so no order in which package and
delta are replaced can pair the wrong two.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import numpy as np
import safetensors.numpy

from base import canonical_json, plain_file
from base.digest import sha256_bytes
from base.errors import MalformedError, OversizedError, reason
from base.json_fields import Fields, Source, decode_canonical
from edge.errors import DeltaError
from edge.robots.robot import Vector
from release.package import PackageManifest, SurfaceSpec

RECORD: Final = "delta.json"
TENSORS: Final = "delta.safetensors"
SCHEMA_VERSION: Final = 1
LIMIT_BYTES: Final = 256 * 1024  # of the record: 3,000 episodes of 64 characters
TENSORS_LIMIT_BYTES: Final = 64 << 20
_KEYS = (
    "schema_version",
    "base_package",
    "parent",
    "loop",
    "consolidations",
    "created_at",
    "tensors_sha256",
    "episodes",
    "evaluation",
    "budget",
)
_LATER = ("surfaces", "steps", "found")
"""Fields that a delta of an older runtime lacks; what it lacks is not checked."""
_EVALUATION = ("episodes", "error_before", "error_after", "confidence")
_BUDGET = ("wall_s", "processor_s")
# A norm that is summed in another order may end this share above the bound.
_MARGIN: Final = 1e-5


@dataclass(frozen=True)
class Evaluation:
    """What the delta did on local episodes that it was not learned from.

    Attributes:
        episodes: how many there were.
        error_before: mean error of its actions before, in half ranges of the action.
        error_after: mean error with it.
        confidence: that the error grew by less than the guard allows, between 0 and 1.
    """

    episodes: int
    error_before: float
    error_after: float
    confidence: float


@dataclass(frozen=True)
class DeltaRecord:
    """The content of `delta.json`.

    Attributes:
        base_package: digest of the package that the delta belongs to.
        parent: digest of the delta that learning began with; None for none.
        loop: `fast`, `medium` or `slow`.
        consolidations: how often this robot had consolidated before.
        created_at: RFC 3339 in UTC.
        tensors_sha256: of the vectors' file.
        episodes: sha256 of each episode that it was learned from.
        evaluation: see `Evaluation`.
        wall_s, processor_s: time that learning took.
        surfaces: names of those that the delta changes, sorted; None if a runtime wrote
            it that did not say.
        steps: calls of the package's functions that it took, each at most one gradient
            step; 0 for the numbers of a delta of another package, None as above.
        found: what the loop found out about the body, by name (`edge.loops.found`).
    """

    base_package: str
    parent: str | None
    loop: str
    consolidations: int
    created_at: str
    tensors_sha256: str
    episodes: tuple[str, ...]
    evaluation: Evaluation
    wall_s: float
    processor_s: float
    surfaces: tuple[str, ...] | None = None
    steps: int | None = None
    found: Mapping[str, float] = field(default_factory=dict)

    def encode(self) -> bytes:
        """The canonical bytes; `parse` is the inverse."""
        later: dict[str, object] = {}
        if self.surfaces is not None:
            later["surfaces"] = list(self.surfaces)
        if self.steps is not None:
            later["steps"] = self.steps
        if self.found:
            later["found"] = dict(self.found)
        return canonical_json.encode(
            {
                **later,
                "schema_version": SCHEMA_VERSION,
                "base_package": self.base_package,
                "parent": self.parent,
                "loop": self.loop,
                "consolidations": self.consolidations,
                "created_at": self.created_at,
                "tensors_sha256": self.tensors_sha256,
                "episodes": list(self.episodes),
                "evaluation": {
                    "episodes": self.evaluation.episodes,
                    "error_before": self.evaluation.error_before,
                    "error_after": self.evaluation.error_after,
                    "confidence": self.evaluation.confidence,
                },
                "budget": {"wall_s": self.wall_s, "processor_s": self.processor_s},
            }
        )


@dataclass(frozen=True)
class LocalDelta:
    """A delta that was checked against its package; only `read` makes one.

    Attributes:
        digest: its identity.
        record: where it comes from.
        vectors: [s] f32 of every surface of the package, by the surface's name.
    """

    digest: str
    record: DeltaRecord
    vectors: Mapping[str, Vector]


def parse(raw: bytes, source: Source) -> DeltaRecord:
    """Reads the bytes of a `delta.json`.

    Raises:
        MalformedError, OversizedError: they are not such a record.
    """
    value = decode_canonical(raw, source, LIMIT_BYTES)
    fields = Fields(value, source, _KEYS, optional=_LATER)
    fields.version(SCHEMA_VERSION)
    evaluation = fields.fields("evaluation", _EVALUATION)
    budget = fields.fields("budget", _BUDGET)
    return DeltaRecord(
        base_package=fields.sha256("base_package"),
        parent=fields.sha256("parent") if fields.has("parent") else None,
        loop=fields.one_of("loop", ("fast", "medium", "slow")),
        consolidations=fields.count("consolidations"),
        created_at=fields.text("created_at"),
        tensors_sha256=fields.sha256("tensors_sha256"),
        episodes=fields.texts("episodes"),
        evaluation=Evaluation(
            evaluation.integer("episodes"),
            evaluation.number("error_before"),
            evaluation.number("error_after"),
            evaluation.number("confidence"),
        ),
        wall_s=budget.number("wall_s"),
        processor_s=budget.number("processor_s"),
        surfaces=fields.texts("surfaces") if fields.has("surfaces") else None,
        steps=fields.integer("steps") if fields.has("steps") else None,
        found=fields.numbers_by_name("found") if fields.has("found") else {},
    )


def encode_vectors(vectors: Mapping[str, Vector]) -> bytes:
    """The bytes of `delta.safetensors`."""
    return bytes(safetensors.numpy.save(dict(sorted(vectors.items()))))


def list_changed(vectors: Mapping[str, Vector]) -> tuple[str, ...]:
    """Names of the surfaces that vectors change, sorted."""
    return tuple(sorted(name for name, vector in vectors.items() if vector.any()))


def read(folder: Path, package: PackageManifest) -> LocalDelta:
    """Reads a delta and checks that it belongs to the package and is in its bounds.

    Args:
        folder: the delta's folder, named by its digest.
        package: the package that is to be driven with it.

    Raises:
        DeltaError: a file is missing, torn or not the one that the name says; the delta
            belongs to another package or changes other surfaces than its record says;
            or a vector is missing, not finite or beyond its bound.
    """
    try:
        raw = plain_file.read(folder / RECORD, LIMIT_BYTES)
        content = plain_file.read(folder / TENSORS, TENSORS_LIMIT_BYTES)
        record = parse(raw, folder / RECORD)
    except (OSError, MalformedError, OversizedError) as e:
        raise DeltaError(folder, "a whole delta", reason(e, folder), _IGNORED) from e
    digest = sha256_bytes(raw)
    if digest != folder.name or sha256_bytes(content) != record.tensors_sha256:
        raise DeltaError(folder, "the files that its name says", "others", _IGNORED)
    if record.base_package != package.digest:
        raise DeltaError(
            folder,
            f"a delta of package {package.digest[:12]}",
            f"one of {record.base_package[:12]}",
            _IGNORED,
        )
    vectors = check_vectors(content, package, folder / TENSORS)
    changed = list_changed(vectors)
    if record.surfaces is not None and record.surfaces != changed:
        raise DeltaError(
            folder,
            f"to change {', '.join(record.surfaces) or 'nothing'}, as its record says",
            ", ".join(changed) or "nothing",
            _IGNORED,
        )
    return LocalDelta(digest, record, vectors)


_IGNORED = "the robot drives without it; learning makes a new one"


def check_vectors(
    content: bytes, package: PackageManifest, source: Path
) -> dict[str, Vector]:
    """Reads vectors and checks that they are a delta of the package, in its bounds.

    Args:
        content: bytes of a `delta.safetensors`.
        package: the package that they are to belong to.
        source: the file, for errors.

    Raises:
        DeltaError: a vector is missing, of another size or type, not finite or beyond
            its bound.
    """
    try:
        vectors = safetensors.numpy.load(content)
    except Exception as e:  # whatever the library raises for bytes that are no tensors
        raise DeltaError(
            source, "safetensors", " ".join(str(e).split()), _IGNORED
        ) from e
    check_bounds(vectors, package.surfaces, source)
    return vectors


def check_bounds(
    vectors: Mapping[str, Vector], surfaces: Mapping[str, SurfaceSpec], source: Source
) -> None:
    """Checks that vectors are deltas of these surfaces, each within its bound.

    Args:
        vectors: by the surface's name.
        surfaces: sizes and bounds, of all of them and no others.
        source: where the vectors are from, for errors.

    Raises:
        DeltaError: a vector is missing, unknown, of another size or type, not finite or
            beyond its bound.
    """
    if vectors.keys() != surfaces.keys():
        raise DeltaError(
            source,
            f"the surfaces {sorted(surfaces)}",
            sorted(vectors),
            _IGNORED,
        )
    for name, surface in surfaces.items():
        vector = vectors[name]
        if vector.dtype != np.float32 or vector.shape != (surface.size,):
            raise DeltaError(
                source,
                f"{name} to be float32[{surface.size}]",
                f"{vector.dtype}{list(vector.shape)}",
                _IGNORED,
            )
        # BLAS would compute the length of 10,000 numbers in several threads, which wait
        # for each other: a real-time thread for one of ordinary priority, a second.
        length = float(np.sqrt(np.square(vector.astype(np.float64)).sum()))
        if not length <= surface.bound * (1 + _MARGIN):  # NaN is not
            raise DeltaError(
                source,
                f"{name} within its bound of {surface.bound:g}",
                f"a length of {length:g}",
                _IGNORED,
            )
