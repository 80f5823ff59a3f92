"""Reads planned episodes and writes shards, as an Apache Beam pipeline.

The row of each episode is compared with the verdict that ingest signed, so that nobody
who can write to the index or to the raw root adds an episode or changes what is said of
one. Then the episode is read, compared with its digest and decoded. A shard's episodes
are grouped by the shard's name, sorted by their planned position, and written. The sort
comes after the grouping because Beam guarantees no order within a group; it makes the
bytes the same for any number of workers.

Beam's `DirectRunner` may pass a pipeline to a runner that it downloads. This file uses
the in-process Python runner instead, with worker processes for more than one worker.
"""

import contextlib
import functools
import json
import logging
import os
import pathlib
import shlex
import sys
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence

import apache_beam as beam
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.runners.portability.fn_api_runner import fn_runner
from apache_beam.transforms import environments

from base import canonical_json, durable_file
from base.digest import sha256_bytes
from base.errors import ContinuonError, NotFoundError, ObjectError, OversizedError
from base.store import store
from cloud.curate import feature_statistics
from cloud.curate.plan import TRAIN, KeptEpisode, Placement, ShardResult
from cloud.dataset import recorded_robot
from cloud.errors import CurationPipelineError
from cloud.index import build, schema
from release.trusted_keys import TrustedKeys
from rlds import reader
from rlds.raw_layout import EPISODE_FILE, RawFolder

VERDICT_MISSING = "verdict_missing"
VERDICT_NOT_TRUSTED = "verdict_not_trusted"
ROW_NOT_OF_VERDICT = "row_not_of_verdict"
EPISODE_MISSING = "episode_missing"
DIGEST_MISMATCH = "digest_mismatch"
EPISODE_MALFORMED = "episode_malformed"

_PROGRESS_FILE = "progress"
_POLL_PERIOD_S = 0.2


def run(
    placements: Sequence[Placement],
    raw_uri: str,
    trusted: TrustedKeys,
    work: pathlib.Path,
    workers: int,
    on_progress: Callable[[int], None],
) -> list[ShardResult]:
    """Runs the pipeline and returns the shards in order of split and number.

    Args:
        placements: the episodes, and where each one goes.
        raw_uri: the raw root.
        trusted: keys of ingest whose verdicts count.
        work: an empty folder that every worker process can write.
        workers: 1 runs in this process; more start that many processes.
        on_progress: called every 0.2 s and at the end with the number of episodes
            read.

    Raises:
        CurationPipelineError: Beam or one of its workers failed.
    """
    (work / _PROGRESS_FILE).touch()
    elements = [_element(placement) for placement in placements]
    # Beam's own log messages are about services that are not used here.
    logging.getLogger("apache_beam").setLevel(logging.ERROR)
    with _report_progress(work / _PROGRESS_FILE, on_progress):
        try:
            pipeline = beam.Pipeline(
                runner=_runner(workers, work), options=_options(workers)
            )
            _ = (
                pipeline
                | "Plan" >> beam.Create(elements)
                | "Spread" >> beam.Reshuffle()
                | "Read" >> beam.Map(_read, raw_uri, trusted.encode(), str(work))
                | "Gather" >> beam.GroupByKey()
                | "Write" >> beam.Map(_write, str(work))
            )
            pipeline.run().wait_until_finish()
        except Exception as e:
            last = str(e).strip().splitlines() or [type(e).__name__]
            raise CurationPipelineError(
                raw_uri,
                "the curation pipeline to finish",
                last[-1],
                "nothing was written, run it again with --workers=1 to see more",
            ) from e
    shards = sorted({(p.split, p.shard) for p in placements})
    return [_read_result(work, split, shard) for split, shard in shards]


def _runner(workers: int, work: pathlib.Path) -> fn_runner.FnApiRunner:
    if workers == 1:
        return fn_runner.FnApiRunner()
    command = (
        f"PYTHONPATH={shlex.quote(os.pathsep.join(filter(None, sys.path)))} "
        f"exec {shlex.quote(sys.executable)} -P "
        "-m apache_beam.runners.worker.sdk_worker_main "
        # Log output only; errors are returned over the control channel.
        f"2>> {shlex.quote(str(work / 'workers.log'))}"
    )
    return fn_runner.FnApiRunner(
        environments.SubprocessSDKEnvironment.from_command_string(command)
    )


def _options(workers: int) -> PipelineOptions:
    return PipelineOptions([], direct_num_workers=workers, save_main_session=False)


def _element(placement: Placement) -> tuple[str, int, schema.Row]:
    shard = _shard_name(placement.split, placement.shard)
    return shard, placement.position, dict(placement.row)


def _shard_name(split: str, shard: int) -> str:
    return f"{split}-{shard:05d}"


def _read(
    element: tuple[str, int, schema.Row], raw_uri: str, keyring: bytes, work: str
) -> tuple[str, tuple[int, str, str, str, bytes]]:
    """Returns (shard name, (position, episode id, reason of a drop, facts, bytes))."""
    shard, position, row = element
    raw, facts = b"", ""
    source = _store(raw_uri)
    reason = _check_row(source, row, _parse_keyring(keyring))
    if not reason:
        raw, facts, reason = _read_episode(source, row, shard.startswith(f"{TRAIN}-"))
    # One byte per episode, so that the file's size is the count over all processes.
    with pathlib.Path(work, _PROGRESS_FILE).open("ab", buffering=0) as stream:
        stream.write(b".")
    return shard, (position, str(row["episode_id"]), reason, facts, raw)


def _check_row(source: store.Store, row: schema.Row, trusted: TrustedKeys) -> str:
    """Returns why the index's row is not what ingest said of the episode, or ""."""
    folder = RawFolder(str(row["robot_hash"]), str(row["date"]), str(row["episode_id"]))
    try:
        verdict = build.read_verdict(source, folder, trusted)
        found = build.row(source, folder, verdict) if verdict.admitted else None
    except NotFoundError:
        return VERDICT_MISSING
    except ObjectError:
        return VERDICT_NOT_TRUSTED
    except store.StoreError:
        raise
    except ContinuonError:
        return VERDICT_NOT_TRUSTED
    return "" if found == row else ROW_NOT_OF_VERDICT


def _read_episode(
    source: store.Store, row: schema.Row, with_moments: bool
) -> tuple[bytes, str, str]:
    """Returns (bytes, facts, reason of a drop) of the episode of a row."""
    try:
        raw = source.get(f"{row['path']}/{EPISODE_FILE}", int(str(row["size_bytes"])))
        if sha256_bytes(raw) != row["sha256"]:
            return b"", "", DIGEST_MISMATCH
        return raw, _facts(raw, with_moments), ""
    except (NotFoundError, ObjectError):
        return b"", "", EPISODE_MISSING
    except OversizedError:
        return b"", "", DIGEST_MISMATCH
    except store.StoreError:
        raise
    except ContinuonError:
        return b"", "", EPISODE_MALFORMED


@functools.cache
def _parse_keyring(keyring: bytes) -> TrustedKeys:
    return TrustedKeys.parse(keyring, allow_development=True)


@functools.cache
def _store(uri: str) -> store.Store:
    """Opens the store once per process; a client for buckets is slow to create."""
    return store.open_store(uri)


def _facts(raw: bytes, with_moments: bool) -> str:
    episode = reader.read_episode_bytes(raw)
    moments = {
        name: feature_statistics.measure(episode.steps[name]).to_json()
        for name in feature_statistics.FEATURES
        if with_moments
    }
    times_ns = episode.steps["t_monotonic_ns"]
    return json.dumps(
        {
            "num_steps": episode.num_steps,
            "period_ns": recorded_robot.measure_period_ns(times_ns),
            "moments": moments,
        }
    )


def _write(
    group: tuple[str, Iterable[tuple[int, str, str, str, bytes]]], work: str
) -> None:
    shard, members = group
    ordered = sorted(members, key=lambda member: member[0])
    data = b"".join(raw for _, _, _, _, raw in ordered)
    if data:
        durable_file.write(pathlib.Path(work, f"{shard}.tfrecord"), data)
    result = {
        "sha256": sha256_bytes(data),
        "size_bytes": len(data),
        "kept": [
            {"episode_id": episode_id, "sha256": sha256_bytes(raw)} | json.loads(facts)
            for _, episode_id, reason, facts, raw in ordered
            if not reason
        ],
        "drops": {
            episode_id: reason for _, episode_id, reason, _, _ in ordered if reason
        },
    }
    durable_file.write(
        pathlib.Path(work, f"{shard}.json"), canonical_json.encode(result)
    )


def _read_result(work: pathlib.Path, split: str, shard: int) -> ShardResult:
    name = _shard_name(split, shard)
    value = json.loads((work / f"{name}.json").read_bytes())
    kept = tuple(
        KeptEpisode(
            entry["episode_id"],
            entry["sha256"],
            entry["num_steps"],
            entry["period_ns"],
            {
                name: feature_statistics.Moments.from_json(moments)
                for name, moments in entry["moments"].items()
            },
        )
        for entry in value["kept"]
    )
    return ShardResult(
        split=split,
        shard=shard,
        path=work / f"{name}.tfrecord",
        sha256=value["sha256"],
        size_bytes=value["size_bytes"],
        kept=kept,
        drops=value["drops"],
    )


@contextlib.contextmanager
def _report_progress(
    progress: pathlib.Path, on_progress: Callable[[int], None]
) -> Iterator[None]:
    """Reports the size of the progress file while the block runs and when it ends."""
    finished = threading.Event()

    def watch() -> None:
        while not finished.wait(_POLL_PERIOD_S):
            on_progress(progress.stat().st_size)

    watcher = threading.Thread(target=watch, name="curation-progress")
    watcher.start()
    try:
        yield
    finally:
        finished.set()
        watcher.join()
    on_progress(progress.stat().st_size)
