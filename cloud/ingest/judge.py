"""Judges every folder of a raw store and writes the verdicts beside the episodes.

Several threads gather facts. The verdicts are made one after another in the order of
the paths, so that of two folders with the same episode id the same one always wins.
"""

import concurrent.futures
import dataclasses

import rich.console

from base.errors import NotFoundError, PreconditionFailedError
from base.store.store import Store
from cloud.console import WorkProgress
from cloud.errors import IngestRaceError
from cloud.ingest import admission, enrolment, raw_store
from cloud.ingest import facts as episode_facts
from cloud.ingest.admission import Admission
from rlds import raw_layout
from rlds.raw_layout import RawFolder

_ADMISSION_LIMIT_BYTES = 1024 * 1024
_ATTEMPTS = 10  # after each lost race another run has made progress


@dataclasses.dataclass(frozen=True)
class Summary:
    """What one run did.

    Attributes:
        folders: every folder that was judged, in order.
        verdicts: the verdict on each of them.
        written: how many of the verdicts were new or changed.
        strangers: objects below the raw prefix that belong to no episode.
    """

    folders: tuple[RawFolder, ...]
    verdicts: tuple[Admission, ...]
    written: int
    strangers: tuple[str, ...]


def ingest(
    raw: Store,
    enrolled: enrolment.Enrolment,
    size_limit_bytes: int,
    readers: int,
    console: rich.console.Console,
) -> Summary:
    """Judges every episode folder of the store, in order of path.

    Args:
        raw: the store that robots upload to.
        enrolled: the keys whose signatures count.
        size_limit_bytes: largest episode that is read.
        readers: episodes read at the same time, one thread each.
        console: where progress is shown.

    Raises:
        RawRootError: the store holds no raw episodes.
        IngestRaceError: other runs kept changing a verdict.
    """
    listing = raw_store.read(raw)
    verdicts = []
    written = 0
    with concurrent.futures.ThreadPoolExecutor(readers) as pool:
        facts = pool.map(
            lambda entry: episode_facts.gather(
                raw, entry[0], entry[1], enrolled, size_limit_bytes
            ),
            listing.folders,
        )
        with WorkProgress(
            console, "ingest", len(listing.folders), "episodes"
        ) as progress:
            for found in facts:
                verdict, changed = _judge(raw, found)
                verdicts.append(verdict)
                written += changed
                progress.show(len(verdicts), "")
    folders = tuple(folder for folder, _ in listing.folders)
    return Summary(folders, tuple(verdicts), written, listing.strangers)


def _judge(raw: Store, facts: admission.EpisodeFacts) -> tuple[Admission, bool]:
    """Claims the id of an admitted episode, then writes the verdict if it is new."""
    verdict = admission.admit(facts)
    if verdict.admitted:
        claimed_by = _claim(raw, facts.folder)
        verdict = admission.admit(dataclasses.replace(facts, claimed_by=claimed_by))
    return verdict, _write(raw, facts.folder.admission, verdict.encode())


def _claim(raw: Store, folder: RawFolder) -> str:
    """Returns the path under which the episode id is admitted, permanently.

    The claim is an object that only its first writer can create, so that of two runs,
    or of two folders with the same episode id, exactly one admits it.
    """
    path = raw_layout.claim_path(folder.episode_id)
    try:
        raw.put(path, folder.path.encode(), if_generation_match=0)
    except PreconditionFailedError:
        return raw.get(path, _ADMISSION_LIMIT_BYTES).decode("utf-8", "replace")
    return folder.path


def _write(raw: Store, path: str, data: bytes) -> bool:
    """Makes `path` hold `data`; returns whether that changed it."""
    for _ in range(_ATTEMPTS):
        generation = raw.generation(path)
        try:
            if generation and raw.get(path, _ADMISSION_LIMIT_BYTES) == data:
                return False
            raw.put(path, data, if_generation_match=generation)
        except (NotFoundError, PreconditionFailedError):
            continue  # another run wrote in the meantime
        return True
    raise IngestRaceError(
        f"{raw.uri}/{path}",
        "to write the verdict",
        f"overtaken {_ATTEMPTS} times by other runs",
        "let them finish and run this again",
    )
