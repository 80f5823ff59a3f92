"""Recorded episodes that a package never saw, through the robot's own program.

`//edge:run --robot=replay:EPISODE` gives the package each recorded observation and
writes down what it proposes; nothing moves. So the code that judges a package is the
code that runs it, as with simulated robots. Each proposal is compared with what whoever
drove wanted (`rlds.imitation`), both within the package's limits.

The episodes get the control rate of the package: a recording's own clock is a little
off, and a robot refuses a package of another rate.
"""

from __future__ import annotations

import collections
import dataclasses
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np

from base import json_fields, plain_file
from base.errors import ContinuonError, MalformedError, OversizedError
from base.json_fields import Fields
from cloud import programs
from cloud.dataset.stored_episodes import StoredEpisodes
from cloud.errors import DatasetError, RolloutSummaryError
from cloud.evaluate import held_out_report
from cloud.evaluate.held_out_report import EpisodeError, HeldOutReport
from cloud.evaluate.rollouts import RUN_PROGRAM, OnProgress, robot_flag
from release import run_summary
from release.package import PackageManifest
from release.run_summary import RunSummary
from rlds import example_codec, imitation, manifest, tfrecord
from rlds.episode import Episode, EpisodeMetadata
from rlds.manifest import Manifest
from rlds.spec import MAX_STEPS, EpisodeSpec

HELD_OUT_SPLIT = "val"
_TOGETHER = 64
"""Episodes that one process replays: its start takes as long as some of them."""
_ACTIONS_LIMIT_BYTES = 256 * 1024 * 1024
_POLL_PERIOD_S = 0.1
_NS_PER_S = 1e9
_DATE = slice(0, 10)
_OUTCOMES = {True: "success", False: "failure", None: "unknown"}


@dataclasses.dataclass(frozen=True)
class Recorded:
    """One episode of the split, as far as it is compared with.

    Attributes:
        sha256: digest of its file in the dataset.
        metadata: what the episode says of itself.
        states: observed states f32 [t n].
        wanted: actions to imitate f32 [t a].
        counts: which steps are worth imitating, bool [t].
    """

    sha256: str
    metadata: EpisodeMetadata
    states: np.ndarray
    wanted: np.ndarray
    counts: np.ndarray

    def replayed(self, control_hz: float) -> Episode:
        """Returns the episode as a package of this rate is shown it, without senses."""
        count = len(self.states)
        index = np.arange(count, dtype=np.int64)
        never = np.zeros(count, np.bool_)
        return Episode(
            EpisodeSpec(self.states.shape[1], self.wanted.shape[1]),
            self.metadata,
            {
                "observation/state": self.states,
                "action": self.wanted,
                "proposed_action": self.wanted,
                "reward": np.zeros(count, np.float32),
                "discount": np.ones(count, np.float32),
                "is_first": index == 0,
                "is_last": index == count - 1,
                "is_terminal": never,
                "t_monotonic_ns": np.round(index * (_NS_PER_S / control_hz)).astype(
                    np.int64
                ),
                "deadline_missed": never,
                "safety_violation": never,
            },
        )


@dataclasses.dataclass(frozen=True)
class Recordings:
    """The episodes that packages are compared with, always the same ones.

    Attributes:
        episodes: a split of a dataset, or its part of some tasks.
        manifest: the dataset's manifest.
        most: number of episodes to take at most, as many of each task as possible.
    """

    episodes: StoredEpisodes
    manifest: Manifest
    most: int

    @property
    def manifest_digest(self) -> str:
        """Digest of the dataset's manifest, 64 hex characters."""
        return manifest.digest(self.manifest)

    @property
    def split_by(self) -> tuple[str, ...]:
        """The columns by which the dataset was split, as far as its spec says."""
        split = self.manifest.curation_spec.get("split")
        by = split.get("by") if isinstance(split, Mapping) else None
        return tuple(map(str, by)) if isinstance(by, list | tuple) else ()

    @property
    def chosen(self) -> StoredEpisodes:
        """The episodes, in the order of their digests; which ones, these decide."""
        of_task = collections.defaultdict(list)
        for entry in sorted(self.episodes.records, key=lambda entry: entry[1].sha256):
            if entry[1].num_steps > 1:  # a single one has no rate to be replayed at
                of_task[entry[1].task].append(entry)
        turns = sorted(
            (k, task) for task, found in of_task.items() for k in range(len(found))
        )
        taken = [of_task[task][k] for k, task in turns[: self.most]]
        taken.sort(key=lambda entry: entry[1].sha256)
        return StoredEpisodes(self.episodes.store, tuple(taken))

    def read(self) -> list[Recorded]:
        """Reads the episodes.

        Raises:
            ShardMismatchError: a shard changed after it was verified.
        """
        chosen = self.chosen
        return [
            Recorded(
                record.sha256,
                episode.metadata,
                np.asarray(episode.steps["observation/state"], np.float32),
                imitation.actions_to_imitate(episode.steps),
                imitation.steps_to_imitate(episode.steps),
            )
            # One by one: they are read from several shards in an order of their own.
            for (_, record), episode in zip(chosen.records, _each(chosen), strict=True)
        ]


def _each(episodes: StoredEpisodes) -> Iterator[Episode]:
    return (episodes[k] for k in range(len(episodes)))


@dataclasses.dataclass(frozen=True)
class Replayed:
    """What a package proposed, and how long its step took.

    Attributes:
        package_digest: digest of the package, as the robot's program names it.
        proposed: proposed actions f64 [t a] by the episode's digest; t is less than the
            episode's steps where a stop rule or the package's own limit ended it.
        step_latency_p50_us: median time of a control step, in microseconds.
        step_latency_p99_us: 99th percentile of that time.
        steps: control steps.
        safety_violations: steps at which a stop rule fired.
    """

    package_digest: str | None
    proposed: Mapping[str, np.ndarray]
    step_latency_p50_us: float
    step_latency_p99_us: float
    steps: int
    safety_violations: int


@dataclasses.dataclass(frozen=True)
class _Batch:
    """A process, the episodes that it replays, and the files that it writes."""

    process: subprocess.Popen[bytes]
    episodes: Sequence[Recorded]
    log: Path
    summary: Path
    progress: Path
    actions: Path


def evaluate_package(
    recordings: Recordings,
    package: Path,
    described: PackageManifest,
    limits: tuple[tuple[float, ...], tuple[float, ...]],
    workers: int,
    folder: Path,
    on_progress: OnProgress = lambda done: None,
    step: str | None = None,
) -> HeldOutReport:
    """Compares a package with recorded episodes.

    Args:
        recordings: the episodes.
        package: the package's folder.
        described: its manifest; its digest is what the robot's program must name.
        limits: lowest and highest action, one number per channel each: those of the
            candidate, for the package that it is compared with too.
        workers: number of parallel processes.
        folder: where summaries and logs are written.
        on_progress: called when more episodes have been replayed.
        step: step form to run; None for the one that robots run.

    Raises:
        DatasetError: there is no episode, or none with a step to imitate.
        ProgramMissingError: `//edge:run` is not among this program's files.
        ProgramFailedError: the package does not fit the episodes, or a process failed.
        RolloutSummaryError: what a process wrote is missing, malformed or of another
            package or other episodes.
    """
    episodes = recordings.read()
    replayed = replay(
        episodes,
        package,
        described.robot.control_hz,
        workers,
        folder,
        on_progress,
        step,
    )
    if replayed.package_digest != described.digest:
        raise RolloutSummaryError(
            folder,
            f"a run of package {described.digest}",
            replayed.package_digest,
            "evaluate again",
        )
    minimum, maximum = limits
    return HeldOutReport(
        package_digest=described.digest,
        manifest_digest=recordings.manifest_digest,
        split_by=recordings.split_by,
        action_minimum=minimum,
        action_maximum=maximum,
        episodes=compare(episodes, replayed.proposed, minimum, maximum),
        step_latency_p50_us=replayed.step_latency_p50_us,
        step_latency_p99_us=replayed.step_latency_p99_us,
        steps=replayed.steps,
        safety_violations=replayed.safety_violations,
    )


def replay(
    episodes: Sequence[Recorded],
    package: Path,
    control_hz: float,
    workers: int,
    folder: Path,
    on_progress: OnProgress = lambda done: None,
    step: str | None = None,
) -> Replayed:
    """Replays episodes to a package with `//edge:run`; arguments as above.

    Args:
        control_hz: control rate of the package.

    Raises:
        DatasetError, ProgramMissingError, ProgramFailedError, RolloutSummaryError: as
            `evaluate_package`.
    """
    if not episodes:
        raise DatasetError("the split", "recorded episodes", "none", "hold some out")
    folder.mkdir(parents=True, exist_ok=True)
    size = min(_TOGETHER, -(-len(episodes) // max(1, workers)))
    parts = [episodes[k : k + size] for k in range(0, len(episodes), size)]
    waiting = list(enumerate(parts))
    running: list[_Batch] = []
    ended: list[tuple[RunSummary, dict[str, np.ndarray]]] = []
    done = 0
    # The recordings are private: they go with the folder, whatever happens.
    with tempfile.TemporaryDirectory(prefix="replays-") as name:
        try:
            while waiting or running:
                while waiting and len(running) < max(1, workers):
                    number, part = waiting.pop(0)
                    files = _write(part, control_hz, Path(name, f"{number}"))
                    running.append(
                        _start(part, files, package, folder, number, name, step)
                    )
                time.sleep(_POLL_PERIOD_S)
                for one in [b for b in running if b.process.poll() is not None]:
                    programs.finish(one.process, RUN_PROGRAM, one.log)
                    running.remove(one)
                    ended.append((_read_summary(one), _read_actions(one)))
                now = sum(len(found) for _, found in ended)
                now += sum(_count_done(one.progress) for one in running)
                if now > done:
                    done = now
                    on_progress(done)
        finally:
            for one in running:
                if one.process.poll() is None:
                    one.process.kill()
                one.process.wait()
    summaries = [summary for summary, _ in ended]
    steps = sum(summary.steps for summary in summaries)
    return Replayed(
        package_digest=summaries[0].package_digest,
        proposed={k: v for _, found in ended for k, v in found.items()},
        step_latency_p50_us=sum(s.latency_p50_us * s.steps for s in summaries) / steps,
        step_latency_p99_us=max(s.latency_p99_us for s in summaries),
        steps=steps,
        safety_violations=sum(s.safety_violations for s in summaries),
    )


def compare(
    episodes: Sequence[Recorded],
    proposed: Mapping[str, np.ndarray],
    minimum: Sequence[float],
    maximum: Sequence[float],
) -> tuple[EpisodeError, ...]:
    """Returns how far proposals are from each episode, in the order of the digests.

    An episode of which no step is worth imitating, as far as it was replayed, is left
    out.

    Args:
        episodes: the episodes.
        proposed: proposals f64 [t a] by the episode's digest.
        minimum: lowest action, one number per channel.
        maximum: highest action.

    Raises:
        DatasetError: no episode is left.
    """
    low, high = np.asarray(minimum, np.float64), np.asarray(maximum, np.float64)
    half = (high - low) / 2.0
    compared = []
    for one in sorted(episodes, key=lambda one: one.sha256):
        found = proposed[one.sha256]
        counts = one.counts[: len(found)]
        if counts.any():
            wanted = np.clip(one.wanted[: len(found)][counts], low, high) / half
            got = np.clip(found[counts], low, high) / half
            compared.append((one, wanted, got))
    if not compared:
        raise DatasetError(
            "the split",
            "recorded episodes with a step to imitate",
            "none",
            "hold out episodes in which the person or the package acts to the end",
        )
    constants = {
        task: np.median(
            np.concatenate([w for o, w, _ in compared if o.metadata.task == task]),
            axis=0,
        )
        for task in {one.metadata.task for one, _, _ in compared}
    }
    name_slices = _Slices([one.metadata for one, _, _ in compared])
    return tuple(
        EpisodeError(
            sha256=one.sha256,
            steps=len(wanted),
            error=float(np.abs(got - wanted).mean()),
            constant_error=float(np.abs(constants[one.metadata.task] - wanted).mean()),
            slices=name_slices(one),
        )
        for one, wanted, got in compared
    )


class _Slices:
    """Names the slices of episodes; robots and days get numbers, not their names."""

    def __init__(self, metadata: Sequence[EpisodeMetadata]) -> None:
        self._robots = _number("robot", {one.robot_hash for one in metadata})
        self._days = _number("day", {one.start_time[_DATE] for one in metadata})

    def __call__(self, one: Recorded) -> dict[str, str]:
        metadata = one.metadata
        # A package is named by its digest: which one acted is no slice of its own.
        actor = metadata.operator.partition(":")[0] or "unknown"
        if actor == "policy" and not one.counts.all():
            actor = "person who corrected"
        return {
            held_out_report.TASK: metadata.task,
            held_out_report.ROBOT: self._robots[metadata.robot_hash],
            held_out_report.DAY: self._days[metadata.start_time[_DATE]],
            held_out_report.ACTOR: actor,
            held_out_report.OUTCOME: _OUTCOMES[metadata.success],
        }


def _number(what: str, found: set[str]) -> dict[str, str]:
    return {name: f"{what} {k}" for k, name in enumerate(sorted(found), 1)}


def _write(episodes: Sequence[Recorded], control_hz: float, folder: Path) -> list[Path]:
    folder.mkdir()
    paths = []
    for one in episodes:
        path = folder / f"{one.sha256}.tfrecord"
        raw = example_codec.encode(one.replayed(control_hz))
        path.write_bytes(tfrecord.frame(raw))
        paths.append(path)
    return paths


def _start(
    episodes: Sequence[Recorded],
    files: Sequence[Path],
    package: Path,
    folder: Path,
    number: int,
    scratch: str,
    step: str | None,
) -> _Batch:
    log = folder / f"run-{number}.log"
    summary, progress = folder / f"summary-{number}.json", folder / f"done-{number}"
    actions = Path(scratch, f"actions-{number}.json")
    for earlier in (summary, progress):
        earlier.unlink(missing_ok=True)
    arguments = [
        f"--candidate={package}",
        *([f"--step={step}"] if step else []),
        f"--robot={robot_flag('replay', [str(path) for path in files])}",
        "--episodes=1",
        f"--max_steps={MAX_STEPS}",
        "--pace=simulated",
        f"--state_dir={Path(scratch, f'state-{number}')}",
        f"--summary_json={summary}",
        f"--progress_json={progress}",
        f"--actions_json={actions}",
    ]
    process = programs.start(RUN_PROGRAM, arguments, log)
    return _Batch(process, episodes, log, summary, progress, actions)


def _count_done(path: Path) -> int:
    try:
        progress = run_summary.read_progress(path)
    except (OSError, MalformedError, OversizedError):
        return 0  # it is for people; what counts is read at the end
    return 0 if progress is None else progress.episodes_done


def _read_summary(batch: _Batch) -> RunSummary:
    try:
        return run_summary.read(batch.summary)
    except (OSError, MalformedError, OversizedError) as e:
        raise _not_written(batch.summary, "a summary", e) from e


def _read_actions(batch: _Batch) -> dict[str, np.ndarray]:
    """Reads what the package proposed, f64 [t a] by the digest of the episode."""
    source = batch.actions
    try:
        raw = plain_file.read(source, _ACTIONS_LIMIT_BYTES)
        fields = Fields(
            json_fields.decode(raw, source, _ACTIONS_LIMIT_BYTES),
            source,
            ("schema_version", "episodes"),
        )
        fields.version(1)
        listed = fields.each("episodes", ("task", "seed", "actions"))
        if len(listed) != len(batch.episodes):
            raise fields.fail("episodes", f"to be {len(batch.episodes)}")
        found = {}
        for one, recorded in zip(listed, batch.episodes, strict=True):
            rows = np.array(one.items("actions"), np.float64)
            most, channels = recorded.wanted.shape
            fits = rows.ndim == 2 and rows.shape[1] == channels and len(rows) <= most
            if not fits or not np.isfinite(rows).all():
                raise one.fail("actions", f"to be up to {most} rows of {channels}")
            found[recorded.sha256] = rows
        return found
    except (OSError, ContinuonError, ValueError, TypeError) as e:
        raise _not_written(source, "the proposed actions", e) from e


def _not_written(path: Path, what: str, cause: Exception) -> RolloutSummaryError:
    return RolloutSummaryError(
        path,
        f"{what} of //edge:run",
        f"{type(cause).__name__}: {cause}",
        "evaluate again",
    )
