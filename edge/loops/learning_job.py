"""What a learner is asked to do, and what it reports: records between two processes.

The learner reads one line with a job, then writes one line after the other until it
ends. It is a process of its own, since it needs jax, which the others do without, and
since it can be killed at any instant: it writes nothing that counts.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Self

from base import canonical_json
from base.json_fields import Fields, decode

LIMIT_BYTES: Final = 1 << 20
_SOURCE: Final = "a line of the learner"
_JOB_KEYS: Final = (
    "package",
    "loop",
    "memories",
    "judges",
    "unmeasured",
    "start",
    "last_good",
    "candidate",
    "consolidations",
    "seed",
    "output",
    "cache",
    "threads",
    "function",
)
_REPORTS: Final = ("progress", "judged", "compiled", "failed")


@dataclass(frozen=True, kw_only=True)
class Job:
    """One round of a loop, or the evaluation of a delta that there is already.

    Attributes:
        package: folder of the package.
        loop: `fast`, `medium` or `slow`; None if `candidate` is only evaluated.
        memories: episode files to learn from, each with its kind.
        judges: episode files that judge.
        unmeasured: more episode files, of which only the surprise is to be measured.
        start: vectors' file of the delta to begin with; None for none.
        last_good: that of the delta that steps are pulled to; None for none.
        candidate: that of the delta to evaluate if there is no loop.
        consolidations: how often this robot had consolidated before.
        seed: what windows of replay are drawn from.
        output: file for the new vectors.
        cache: folder for compiled functions; None for none.
        threads: processors to use; 0 for all.
        function: the one that is compiled into `cache`, instead of everything else;
            None for a round.
    """

    package: Path
    loop: str | None
    memories: tuple[tuple[Path, int], ...] = ()
    judges: tuple[Path, ...] = ()
    unmeasured: tuple[Path, ...] = ()
    start: Path | None = None
    last_good: Path | None = None
    candidate: Path | None = None
    consolidations: int = 0
    seed: int = 0
    output: Path
    cache: Path | None = None
    threads: int
    function: str | None = None

    @classmethod
    def to_compile(
        cls, package: Path, function: str, cache: Path, threads: int
    ) -> Self:
        """A job that compiles one function."""
        return cls(
            package=package,
            loop=None,
            output=cache,
            cache=cache,
            threads=threads,
            function=function,
        )

    def encode(self) -> bytes:
        """One line; `parse_job` is the inverse."""
        value = {
            "package": str(self.package),
            "loop": self.loop,
            "memories": [
                {"path": str(path), "kind": kind} for path, kind in self.memories
            ],
            "judges": [str(path) for path in self.judges],
            "unmeasured": [str(path) for path in self.unmeasured],
            "start": _text(self.start),
            "last_good": _text(self.last_good),
            "candidate": _text(self.candidate),
            "consolidations": self.consolidations,
            "seed": self.seed,
            "output": str(self.output),
            "cache": _text(self.cache),
            "threads": self.threads,
            "function": self.function,
        }
        return canonical_json.encode(value) + b"\n"


@dataclass(frozen=True)
class Progress:
    """So many calls of a loop are done; `loss` is that of the last, if it has one."""

    done: int
    total: int
    loss: float | None


@dataclass(frozen=True)
class Judged:
    """What the package's `evaluate` says, one number for each episode in its order.

    Attributes:
        before: action errors of the judges with the delta that learning began with.
        after: with the new delta.
        surprise: errors of the next observation, before: of the judges, then of what
            was unmeasured.
        found: what learning found out about the body, by name (`found`).
    """

    before: tuple[float, ...]
    after: tuple[float, ...]
    surprise: tuple[float, ...]
    found: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Compiled:
    """A function has been compiled and stored; nothing was learned."""

    function: str


@dataclass(frozen=True)
class Failed:
    """Nothing was learned, and why, on one line."""

    reason: str


Report = Progress | Judged | Compiled | Failed


def parse_job(raw: bytes) -> Job:
    """Reads the line of a job.

    Raises:
        MalformedError, OversizedError: it is none.
    """
    fields = Fields(decode(raw, _SOURCE, LIMIT_BYTES), _SOURCE, _JOB_KEYS)
    return Job(
        package=Path(fields.text("package")),
        loop=fields.text("loop") if fields.has("loop") else None,
        memories=tuple(
            (Path(one.text("path")), one.integer("kind"))
            for one in fields.each("memories", ("path", "kind"))
        ),
        judges=tuple(map(Path, fields.texts("judges"))),
        unmeasured=tuple(map(Path, fields.texts("unmeasured"))),
        start=_path(fields, "start"),
        last_good=_path(fields, "last_good"),
        candidate=_path(fields, "candidate"),
        consolidations=fields.integer("consolidations"),
        seed=fields.integer("seed"),
        output=Path(fields.text("output")),
        cache=_path(fields, "cache"),
        threads=fields.integer("threads"),
        function=fields.text("function") if fields.has("function") else None,
    )


def encode_report(report: Report) -> bytes:
    """One line; `parse_report` is the inverse."""
    match report:
        case Progress():
            value: dict[str, object] = {
                "progress": {
                    "done": report.done,
                    "total": report.total,
                    "loss": None if report.loss is None else _number(report.loss),
                }
            }
        case Judged():
            value = {
                "judged": {
                    "before": _numbers(report.before),
                    "after": _numbers(report.after),
                    "surprise": _numbers(report.surprise),
                    "found": dict(report.found),
                }
            }
        case Compiled():
            value = {"compiled": {"function": report.function}}
        case Failed():
            value = {"failed": {"reason": report.reason}}
    return canonical_json.encode(value) + b"\n"


def parse_report(raw: bytes) -> Report:
    """Reads a line of a learner.

    Raises:
        MalformedError, OversizedError: it is none.
    """
    value = decode(raw, _SOURCE, LIMIT_BYTES)
    one = Fields(value, _SOURCE, (), optional=_REPORTS)
    if one.has("progress"):
        fields = one.fields("progress", ("done", "total", "loss"))
        loss = fields.number("loss") if fields.has("loss") else None
        return Progress(fields.integer("done"), fields.integer("total"), loss)
    if one.has("judged"):
        fields = one.fields("judged", ("before", "after", "surprise", "found"))
        return Judged(
            before=_read_numbers(fields, "before"),
            after=_read_numbers(fields, "after"),
            surprise=_read_numbers(fields, "surprise"),
            found=fields.numbers_by_name("found"),
        )
    if one.has("compiled"):
        return Compiled(one.fields("compiled", ("function",)).text("function"))
    return Failed(one.fields("failed", ("reason",)).text("reason"))


def _number(value: float) -> float | None:
    """JSON has no NaN and no infinity."""
    return float(value) if math.isfinite(value) else None


def _numbers(values: Sequence[float]) -> list[float | None]:
    return [_number(value) for value in values]


def _read_numbers(fields: Fields, key: str) -> tuple[float, ...]:
    return tuple(
        math.nan if item is None else float(str(item)) for item in fields.items(key)
    )


def _text(path: Path | None) -> str | None:
    return None if path is None else str(path)


def _path(fields: Fields, key: str) -> Path | None:
    return Path(fields.text(key)) if fields.has(key) else None
