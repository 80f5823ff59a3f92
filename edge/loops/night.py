"""One round of a loop: what is learned from, and what comes of what was learned.

    plan    package, deltas, memories -> a job for the learner, or why there is none
    finish  what the learner found -> a verdict; a delta that passes is kept and counts

Between the two lies the learner's process. Nothing counts before `finish`, which keeps
the delta whole before it points to it, so a round can be cut at any instant. A round
without a loop judges the delta of the package before this one, which is kept as a new
delta if it helps here, and otherwise goes to the quarantine.
"""

import dataclasses
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from base import plain_file, text_forms
from base.digest import sha256_bytes
from base.errors import ContinuonError
from edge.control import local_delta
from edge.control.local_delta import DeltaRecord, Evaluation, LocalDelta
from edge.errors import DeltaError, LearningError
from edge.loops import found as findings
from edge.loops import guard, memory_arrays, memory_choice
from edge.loops.budgets import MEDIUM, SLOW
from edge.loops.decide import LEARNER_BYTES, may_change
from edge.loops.delta_store import CURRENT, LAST_GOOD, DeltaStore
from edge.loops.guard import Judge
from edge.loops.learning_job import Job, Judged
from edge.loops.memories import LocalMemories
from edge.loops.memory_choice import KNOWN, LIVED, Memory
from edge.ota.decide import Origin
from release import learning_plan
from release.learning_plan import LearningPlan
from release.package import PackageManifest
from release.verification import IntactPackage

EVALUATE: Final = "evaluate"
CALIBRATION: Final = "calibration"
"""The surface that says what has changed about the body."""
OUTPUT: Final = "learned.safetensors"
"""The new vectors, in the folder of what need not survive."""
LARGE_BYTES: Final = 16 << 10
"""StableHLO of a function from which on compiling it takes much memory: `evaluate` of
the default model has 18 kB and takes 92 MB, `consolidate_step` 59 kB and 264 MB."""
MOST_JUDGES: Final = 64
MOST_MEASURED: Final = 64
"""Memories of which the surprise is measured in one round, beside the judges."""


@dataclass(frozen=True)
class Round:
    """One round that has been planned.

    Attributes:
        package: the package.
        loop: the loop; None if an older delta is judged.
        job: what the learner is asked to do.
        parent: digest of the delta that it begins with; None for none.
        candidate: digest of the older delta that is judged; None for none.
        learned: memories that it learns from.
        judges: memories that judge it.
        unmeasured: memories of which only the surprise is measured.
        proven: whether the delta that it begins with has proved good in use.
        cut: memories that it learns from the begin of alone, since they are longer.
        longest_steps: steps of a memory that the package's arrays hold.
        steps: calls of the loop.
        calibrates: whether the candidate is a calibration and nothing else.
    """

    package: IntactPackage
    loop: str | None
    job: Job
    parent: str | None
    candidate: str | None
    learned: tuple[Memory, ...]
    judges: tuple[Memory, ...]
    unmeasured: tuple[Memory, ...]
    proven: bool = False
    cut: int = 0
    longest_steps: int = 0
    steps: int = 0
    calibrates: bool = False


@dataclass(frozen=True)
class Receipt:
    """What a round came to.

    Attributes:
        loop: the loop; `again` if a delta of the package before was judged.
        accepted: whether a new delta counts.
        reason: why, or why not.
        delta: digest of the delta that counts now; None if none was made.
        episodes: memories that it learned from.
        evaluation: see `Evaluation`.
        wall_s, processor_s: time that it took.
        surprise: what was measured, by the memories' digests.
        cut, longest_steps: see `Round`.
        found: what was found out about the body, by name (`found`).
    """

    loop: str
    accepted: bool
    reason: str
    delta: str | None
    episodes: int
    evaluation: Evaluation
    wall_s: float
    processor_s: float
    surprise: Mapping[str, float]
    found: Mapping[str, float] = field(default_factory=dict)
    cut: int = 0
    longest_steps: int = 0

    @property
    def line(self) -> str:
        """Says on one line what the round found and came to."""
        found = findings.describe(self.found)
        about = f"found: {found}; " if found else ""
        verdict = "accepted" if self.accepted else "refused"
        named = f" {self.delta[:12]}" if self.delta else ""
        episodes = text_forms.count(self.episodes, "episode")
        if self.cut:
            episodes += f" (of {self.cut} the first {self.longest_steps} steps)"
        return (
            f"{self.loop}: delta{named} {verdict} after {self.wall_s:.0f} s "
            f"on {episodes}: {about}{self.reason}"
        )


def require_learnable(
    package: PackageManifest, loop: str | None, available_bytes: int | None
) -> LearningPlan:
    """Checks, before anything is started, that a robot can learn with a package.

    Args:
        package: the package.
        loop: the loop that is to run; None to judge only.
        available_bytes: memory that there is for a learner; None if that is not known.

    Raises:
        LearningError: the package does not learn, or needs more memory than there is.
    """
    source = f"package {package.digest[:12]}"
    plan = package.learning
    if plan is None:
        raise LearningError(source, "a `learning` field in package.json", "none")
    if loop is not None and loop not in plan.loops:
        raise LearningError(source, f"a loop {loop}", ", ".join(plan.loops) or "none")
    if EVALUATE not in package.functions:
        raise LearningError(
            source, f"a function `{EVALUATE}`, which judges deltas", "none"
        )
    needed = plan.memory_bytes + LEARNER_BYTES
    if available_bytes is not None and needed > available_bytes:
        raise LearningError(
            source,
            f"at most {available_bytes // 10**6} MB of memory for learning",
            f"{needed // 10**6} MB",
        )
    return plan


def list_to_prepare(package: IntactPackage, loops: Iterable[str]) -> tuple[str, ...]:
    """Functions that rounds of these loops call, each to be compiled by itself.

    What judges is always among them. A loop that takes a window is no round. If no
    function is large, none needs to be prepared; if one is, all do, because a learner
    that compiles anything loads jax's compiler.
    """
    manifest = package.manifest
    plan = {} if manifest.learning is None else manifest.learning.loops
    names = [EVALUATE] if EVALUATE in manifest.functions else []
    for loop in loops:
        called = [entry.function for entry in plan.get(loop, ())]
        if not any("window" in _arguments(manifest, name) for name in called):
            names += called
    files = [package.path(manifest.functions[name].path) for name in names]
    if all(path.stat().st_size < LARGE_BYTES for path in files):
        return ()
    return tuple(dict.fromkeys(names))


def plan_round(
    package: IntactPackage,
    loop: str,
    store: DeltaStore,
    memories: LocalMemories,
    run_folder: Path,
    *,
    origin: Origin = Origin.CHANNEL,
    rounds: int = 0,
    threads: int = 0,
    available_bytes: int | None = None,
) -> Round:
    """Plans one round of a loop.

    Args:
        package: the active package.
        loop: the loop.
        store: the robot's deltas.
        memories: its memories.
        run_folder: folder for what need not survive.
        origin: where the package came from.
        rounds: rounds that this robot has been through.
        threads: processors for the learner; 0 for all.
        available_bytes: as for `require_learnable`.

    Raises:
        LearningError: the package does not learn in this way, the loop may not change
            one from a channel, or there is nothing to learn from.
    """
    manifest = package.manifest
    if not may_change(loop, origin):
        raise LearningError(
            f"package {package.digest[:12]}",
            f"the {SLOW} loop, which alone may change a package from a channel",
            loop,
        )
    plan = require_learnable(manifest, loop, available_bytes)
    source = f"package {package.digest[:12]}"
    names = [entry.function for entry in plan.loops[loop]]
    if any("window" in _arguments(manifest, name) for name in names):
        raise LearningError(
            source,
            f"a loop {loop} that learns from memories",
            "one that takes a window of the last steps, which only control has",
        )
    fitting = [m for m in memories.read() if m.task in manifest.robot.tasks]
    shapes = memory_arrays.find_shapes(manifest, names, memory_arrays.MEMORIES)
    room = memory_arrays.count_room(shapes)
    if loop == MEDIUM:
        learned = memory_choice.choose_recent(fitting, room)
    else:
        learned = memory_choice.choose_to_learn(fitting, room)
    if all(memory.kind == KNOWN for memory in learned):
        raise LearningError(source, "an episode to learn from", "none")
    begin = _read(store, CURRENT, manifest)
    good = _read(store, LAST_GOOD, manifest)
    # A robot without a good delta is pulled to where it begins.
    pull = good or begin
    job = Job(
        package=package.folder,
        loop=loop,
        memories=tuple((memories.path(m), m.kind) for m in learned),
        start=_vectors(store, begin),
        last_good=_vectors(store, pull),
        consolidations=_count_consolidations(begin),
        seed=rounds,
        output=run_folder / OUTPUT,
        threads=threads,
    )
    parent = None if begin is None else begin.digest
    planned = _add_judges(package, loop, job, parent, None, learned, fitting, memories)
    longest = memory_arrays.count_steps(shapes)
    return dataclasses.replace(
        planned,
        proven=begin is not None and good is not None and begin.digest == good.digest,
        steps=sum(entry.calls for entry in plan.loops[loop]),
        # The last step of a recording only says what came of the one before.
        cut=sum(memory.steps - 1 > longest for memory in learned),
        longest_steps=longest,
    )


def find_foreign(store: DeltaStore, package: PackageManifest) -> str | None:
    """Digest of the current delta if it is one of another package, whole or not."""
    try:
        digest = store.named(CURRENT)
        if digest is None:
            return None
        path = store.folder(digest) / local_delta.RECORD
        record = local_delta.parse(plain_file.read(path, local_delta.LIMIT_BYTES), path)
    except (ContinuonError, OSError):
        return None
    return None if record.base_package == package.digest else digest


def plan_judging(
    package: IntactPackage,
    store: DeltaStore,
    memories: LocalMemories,
    run_folder: Path,
    *,
    threads: int = 0,
    available_bytes: int | None = None,
) -> Round | None:
    """Plans to judge the delta of an earlier package on this one.

    A delta that cannot be one of this package, because its surfaces are others or it is
    damaged, goes to the quarantine at once; so does every one if this package cannot
    judge.

    Returns:
        None if there is nothing to judge, or nothing any more.

    Raises:
        LearningError: this package cannot judge; the delta is in the quarantine.
        DiskError: the disk refused.
    """
    digest = find_foreign(store, package.manifest)
    if digest is None:
        return None
    folder = store.folder(digest)
    path = folder / local_delta.TENSORS
    try:
        raw = plain_file.read(path, local_delta.TENSORS_LIMIT_BYTES)
        record = local_delta.parse(
            plain_file.read(folder / local_delta.RECORD, local_delta.LIMIT_BYTES),
            folder / local_delta.RECORD,
        )
        if sha256_bytes(raw) != record.tensors_sha256:
            raise DeltaError(path, "the vectors of its record", "others")
        vectors = local_delta.check_vectors(raw, package.manifest, path)
        require_learnable(package.manifest, None, available_bytes)
    except (ContinuonError, OSError) as e:
        store.set_aside(digest)
        if isinstance(e, LearningError):
            raise
        return None
    fitting = [m for m in memories.read() if m.task in package.manifest.robot.tasks]
    job = Job(
        package=package.folder,
        loop=None,
        candidate=path,
        consolidations=record.consolidations,
        output=run_folder / OUTPUT,
        threads=threads,
    )
    learned = memory_choice.choose_to_learn(fitting, len(fitting))
    planned = _add_judges(package, None, job, None, digest, learned, fitting, memories)
    calibrates = local_delta.list_changed(vectors) == (CALIBRATION,)
    return dataclasses.replace(planned, calibrates=calibrates)


def finish_round(
    planned: Round,
    judged: Judged,
    store: DeltaStore,
    *,
    created_at: str,
    wall_s: float,
    processor_s: float,
) -> Receipt:
    """Judges what was learned; a delta that passes is kept and counts from now on.

    Raises:
        DiskError: the disk refused; what counted before still counts.
    """
    verdict = _judge(planned, judged)
    digest = None
    if verdict.accepted:
        try:
            digest = _keep(
                planned,
                verdict.evaluation,
                judged.found,
                store,
                created_at,
                wall_s,
                processor_s,
            )
        except (DeltaError, OSError) as e:
            verdict = guard.Verdict(False, " ".join(str(e).split()), verdict.evaluation)
    if digest is not None:
        store.point(CURRENT, digest)
    if planned.candidate is not None:
        # What counted before the update never counts again by itself.
        store.set_aside(planned.candidate)
    store.clean()
    measured = [*planned.judges, *planned.unmeasured]
    return Receipt(
        loop=planned.loop or "again",
        accepted=verdict.accepted,
        reason=verdict.reason,
        delta=digest,
        episodes=len(planned.learned),
        evaluation=verdict.evaluation,
        wall_s=wall_s,
        processor_s=processor_s,
        surprise={
            memory.digest: error
            for memory, error in zip(measured, judged.surprise, strict=False)
            if math.isfinite(error)
        },
        found=judged.found,
        cut=planned.cut,
        longest_steps=planned.longest_steps,
    )


def _judge(planned: Round, judged: Judged) -> guard.Verdict:
    if not len(planned.judges) == len(judged.before) == len(judged.after):
        nothing = Evaluation(len(planned.judges), 0.0, 0.0, 0.0)
        return guard.Verdict(False, "the judges are not those of the round", nothing)
    action = planned.package.manifest.robot.action
    spans = [
        high - low for low, high in zip(action.minimum, action.maximum, strict=True)
    ]
    unit = max(sum(spans) / len(spans) / 2, 1e-9)
    tasks = {memory.task for memory in planned.learned if memory.kind == LIVED}
    judges = [
        Judge(
            memory.kind == LIVED and memory.task in tasks, before / unit, after / unit
        )
        for memory, before, after in zip(
            planned.judges, judged.before, judged.after, strict=True
        )
    ]
    return guard.judge_delta(
        judges,
        must_help=planned.candidate is not None,
        proven=planned.proven,
        calibrates=planned.calibrates,
    )


def _keep(
    planned: Round,
    evaluation: Evaluation,
    found: Mapping[str, float],
    store: DeltaStore,
    created_at: str,
    wall_s: float,
    processor_s: float,
) -> str:
    output = planned.job.output
    raw = plain_file.read(output, local_delta.TENSORS_LIMIT_BYTES)
    vectors = local_delta.check_vectors(raw, planned.package.manifest, output)
    again = planned.loop is None
    record = DeltaRecord(
        base_package=planned.package.digest,
        parent=planned.candidate if again else planned.parent,
        loop=planned.loop or SLOW,
        consolidations=planned.job.consolidations + (0 if again else 1),
        created_at=created_at,
        tensors_sha256=sha256_bytes(local_delta.encode_vectors(vectors)),
        episodes=tuple(sorted(memory.digest for memory in planned.learned)),
        evaluation=evaluation,
        wall_s=wall_s,
        processor_s=processor_s,
        surfaces=local_delta.list_changed(vectors),
        steps=planned.steps,
        found=found,
    )
    return store.keep(vectors, record)


def _add_judges(
    package: IntactPackage,
    loop: str | None,
    job: Job,
    parent: str | None,
    candidate: str | None,
    learned: list[Memory],
    fitting: list[Memory],
    memories: LocalMemories,
) -> Round:
    """Completes a round by what judges it, and whose surprise it measures."""
    judges = tuple(memory_choice.choose_judges(fitting, MOST_JUDGES))
    judging = {memory.digest for memory in judges}
    new = [
        memory
        for memory in fitting
        if memory.surprise is None and memory.digest not in judging and memory.steps > 1
    ]
    unmeasured = tuple(new[-MOST_MEASURED:])
    completed = dataclasses.replace(
        job,
        judges=tuple(memories.path(memory) for memory in judges),
        unmeasured=tuple(memories.path(memory) for memory in unmeasured),
    )
    return Round(
        package, loop, completed, parent, candidate, tuple(learned), judges, unmeasured
    )


def _read(
    store: DeltaStore, pointer: str, package: PackageManifest
) -> LocalDelta | None:
    """The delta that a pointer names, if it is whole and of this package."""
    try:
        return store.read(pointer, package)
    except DeltaError:
        return None


def _vectors(store: DeltaStore, delta: LocalDelta | None) -> Path | None:
    return None if delta is None else store.folder(delta.digest) / local_delta.TENSORS


def _count_consolidations(delta: LocalDelta | None) -> int:
    return 0 if delta is None else delta.record.consolidations


def _arguments(package: PackageManifest, function: str) -> frozenset[str]:
    return learning_plan.top_names(x.name for x in package.functions[function].inputs)
