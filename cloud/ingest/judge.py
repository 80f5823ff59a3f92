"""Judges every folder of a raw store and writes the verdicts beside the episodes.

Several threads judge. Folders with the same episode id are judged by one thread, in
the order of their paths, so that of them the same one always wins. A folder that cannot
be judged, or whose verdict cannot be written, is named; the others go on.
"""

import collections
import concurrent.futures
import dataclasses
import datetime
from collections.abc import Sequence

import rich.console

from base.errors import (
    NotFoundError,
    ObjectError,
    OversizedError,
    PreconditionFailedError,
    UnsafePathError,
)
from base.store.store import Store
from cloud.console import WorkProgress
from cloud.errors import IngestRaceError
from cloud.ingest import admission, claims, enrolment, signed_record
from cloud.ingest import facts as episode_facts
from cloud.ingest.admission import Admission
from cloud.ingest.raw_store import RawListing
from release.signing.private_keys import PrivateKey
from release.trusted_keys import TrustedKeys
from rlds.raw_layout import RawFolder

_ATTEMPTS = 10  # after each lost race another run has made progress

type _Entry = tuple[RawFolder, frozenset[str]]


@dataclasses.dataclass(frozen=True)
class Judge:
    """What every verdict of one run rests on.

    Attributes:
        raw: the store that robots upload to.
        enrolled: the keys whose signatures count.
        key: signs verdicts and claims.
        trusted: keys whose claims count, this one among them.
        size_limit_bytes: largest episode that is read.
        judged_at: the present time; later dates are refused.
    """

    raw: Store
    enrolled: enrolment.Enrolment
    key: PrivateKey
    trusted: TrustedKeys
    size_limit_bytes: int
    judged_at: datetime.datetime


@dataclasses.dataclass(frozen=True)
class Judged:
    """What became of one folder.

    Attributes:
        folder: the folder.
        verdict: the verdict; None where none could be made.
        changed: whether the verdict is new or another one than before.
        unwritten: why no verdict was written; "" where one stands.
    """

    folder: RawFolder
    verdict: Admission | None
    changed: bool = False
    unwritten: str = ""


@dataclasses.dataclass(frozen=True)
class Summary:
    """What one run did.

    Attributes:
        judged: every folder, in order.
        strangers: objects below the raw prefix that belong to no episode.
    """

    judged: tuple[Judged, ...]
    strangers: tuple[str, ...]

    @property
    def verdicts(self) -> tuple[Admission, ...]:
        """The verdicts that stand, in the order of the folders."""
        return tuple(
            one.verdict for one in self.judged if one.verdict and not one.unwritten
        )

    @property
    def written(self) -> int:
        """How many of the verdicts are new or changed."""
        return sum(one.changed for one in self.judged)


def ingest(
    judge: Judge, listing: RawListing, readers: int, console: rich.console.Console
) -> Summary:
    """Judges every episode folder of a listing.

    Args:
        judge: what the verdicts rest on.
        listing: what the raw store holds.
        readers: episodes read at the same time, one thread each.
        console: where progress is shown.

    Raises:
        StoreError: the store fails as a whole.
    """
    total = len(listing.folders)
    judged: list[Judged] = []
    with (
        concurrent.futures.ThreadPoolExecutor(readers) as pool,
        WorkProgress(console, "ingest", total, "episodes") as progress,
    ):
        groups = _group_by_id(listing.folders)
        for found in pool.map(lambda group: _judge_group(judge, group), groups):
            judged.extend(found)
            progress.show(len(judged), "")
    judged.sort(key=lambda one: one.folder)
    return Summary(tuple(judged), listing.strangers)


def _group_by_id(folders: Sequence[_Entry]) -> list[list[_Entry]]:
    groups: dict[str, list[_Entry]] = collections.defaultdict(list)
    for entry in folders:
        groups[entry[0].episode_id].append(entry)
    return list(groups.values())


def _judge_group(judge: Judge, group: Sequence[_Entry]) -> list[Judged]:
    return [_judge_folder(judge, folder, files) for folder, files in group]


def _judge_folder(judge: Judge, folder: RawFolder, files: frozenset[str]) -> Judged:
    """Gathers facts, claims the id of an admitted episode, and writes the verdict."""
    verdict = None
    try:
        facts = episode_facts.gather(
            judge.raw,
            folder,
            files,
            judge.enrolled,
            judge.size_limit_bytes,
            judge.judged_at,
        )
        verdict = admission.admit(facts)
        if verdict.admitted:
            holder = claims.claim(judge.raw, folder, judge.key, judge.trusted)
            verdict = admission.admit(dataclasses.replace(facts, claimed_by=holder))
        changed = _write(judge.raw, folder.admission, verdict.sign(judge.key))
    except (ObjectError, UnsafePathError, IngestRaceError) as e:
        # What lies there can be neither read nor replaced.
        return Judged(folder, verdict, unwritten=str(e))
    return Judged(folder, verdict, changed)


def _write(raw: Store, path: str, data: bytes) -> bool:
    """Makes `path` hold `data`; returns whether that changed it."""
    for _ in range(_ATTEMPTS):
        generation = raw.generation(path)
        if generation and _read(raw, path) == data:
            return False
        try:
            raw.put(path, data, if_generation_match=generation)
        except PreconditionFailedError:
            continue  # another run wrote in the meantime
        return True
    raise IngestRaceError(
        f"{raw.uri}/{path}",
        "to write the verdict",
        f"overtaken {_ATTEMPTS} times by other runs",
        "let them finish and run this again",
    )


def _read(raw: Store, path: str) -> bytes | None:
    """Reads what stands at a verdict's path; None if it cannot be a verdict."""
    try:
        return raw.get(path, signed_record.LIMIT_BYTES)
    except (NotFoundError, ObjectError, OversizedError):
        return None
