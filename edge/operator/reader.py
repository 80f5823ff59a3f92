"""Reads shared episodes for the page, in a process that lives only while it is needed.

    python -m edge.operator.reader SHARED DELTAS RECEIPTS

The page itself holds no episode, no array and no decoder: a robot has little memory,
and what an episode is made of is decoded here, where a fault ends nothing else. It
reads the folder of shared episodes, which are redacted, and what was learned. The
private folder and the memories it is not even told of: nothing of them can reach the
page.

On its stdin come requests, one JSON object a line; on its stdout go answers, each after
its length in four bytes. It ends with its stdin.
"""

import base64
import hashlib
import json
import os
import resource
import struct
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from base import plain_file
from base.errors import ContinuonError, one_line
from edge.control import local_delta
from edge.episodes import consent_view, consents, robot_key
from edge.episodes.consent_view import Shared
from edge.episodes.consents import Wish
from edge.loops.delta_store import CURRENT, LAST_GOOD, DeltaStore
from rlds import receipt as receipts
from rlds import sidecar
from rlds.consent_record import Decision
from rlds.episode import check_episode_id
from rlds.errors import MalformedEpisodeError
from rlds.redacted_form import check_redacted
from rlds.show import facts, found, page
from rlds.show.channel_names import ChannelNames
from rlds.tfds_directory import EPISODE_SUFFIX, SIDECAR_SUFFIX

MOST_LISTED: Final = 20
_MOST_HISTORY: Final = 50
_MEMORY_BYTES: Final = 1 << 30  # of what it allocates: an episode has 64 MiB at most
_NICE: Final = 10


@dataclass(frozen=True)
class Folders:
    """What this process reads.

    Attributes:
        shared: redacted episodes, and what was decided about them.
        deltas: what the robot has learned.
        receipts: what it says of that.
    """

    shared: Path
    deltas: Path
    receipts: Path


def main(arguments: list[str]) -> None:
    """Answers until nobody asks any more."""
    os.nice(_NICE)  # whoever looks at a robot must not disturb it
    resource.setrlimit(resource.RLIMIT_DATA, (_MEMORY_BYTES, _MEMORY_BYTES))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    folders = Folders(*map(Path, arguments))
    for line in sys.stdin.buffer:
        raw = json.dumps(answer(folders, json.loads(line))).encode()
        sys.stdout.buffer.write(struct.pack(">I", len(raw)) + raw)
        sys.stdout.buffer.flush()


def answer(folders: Folders, request: Mapping[str, Any]) -> dict[str, Any]:
    """Answers one request; `{"error": …}` if that cannot be done."""
    try:
        return _ACTS[request["act"]](folders, request)
    except (ContinuonError, OSError, MemoryError) as e:
        return {"error": one_line(e)}


def _list(folders: Folders, request: Mapping[str, Any]) -> dict[str, Any]:
    """The newest episodes, before the one that is named if any is."""
    before = request.get("before") or "~"  # behind every name
    names = [
        name
        for name in reversed(consent_view.list_shared(folders.shared))
        if name < before
    ]
    shown = names[:MOST_LISTED]
    return {
        "episodes": [_list_one(folders.shared, name) for name in shown],
        "more": shown[-1] if len(names) > len(shown) else "",
    }


def _list_one(folder: Path, name: str) -> dict[str, Any]:
    shared = consent_view.look(folder, name)
    row: dict[str, Any] = {
        "name": name,
        "date": shared.date,
        "state": shared.tell(),
        "leaves": shared.may_leave,
        "here": shared.stated is not None,
        "steps": 0 if shared.stated is None else shared.stated.num_steps,
        "task": "",
        "success": "",
        "picture": "",
    }
    if shared.stated is None:
        return row
    try:
        seen = _open(folder, name)
    except (ContinuonError, OSError):
        return row
    row["task"] = seen.episode.metadata.task
    row["success"] = facts.SUCCESS[seen.episode.metadata.success]
    for pictures in facts.pictures(seen.episode).values():
        row["picture"] = row["picture"] or page.picture_uri(pictures[0])
    return row


def _open(folder: Path, name: str) -> found.Found:
    """Opens an episode that is what its robot signed, each value in its redacted form.

    The folder is not believed: a raw episode that somebody put or linked there is not
    what a sidecar states, and no value of it is shown.

    Raises:
        ContinuonError, OSError: it is not such an episode.
    """
    check_episode_id(name)
    path = folder / f"{name}{EPISODE_SUFFIX}"
    if path.is_symlink():
        raise MalformedEpisodeError(path, "a file", "a link")
    seen = next(found.open_file(path))
    if seen.sidecar is None:
        got = seen.fault or seen.note
        raise MalformedEpisodeError(path, "what its sidecar states", got)
    keyid = seen.sidecar.keyid
    enrolled = robot_key.read_enrolment(folder, keyid)
    raw = plain_file.read(folder / f"{name}{SIDECAR_SUFFIX}", sidecar.LIMIT_BYTES)
    stated = sidecar.verify(raw, {keyid: enrolled.key})
    check_redacted(seen.episode, stated.privacy, enrolled.words)
    return seen


def _tell(folders: Folders, request: Mapping[str, Any]) -> dict[str, Any]:
    """All that is to be said of one episode."""
    name = str(request["name"])
    check_episode_id(name)
    shared = consent_view.look(folders.shared, name)
    content = ["its copy is not here: nothing of it would leave"]
    if shared.stated is not None:
        try:
            seen = _open(folders.shared, name)
        except (ContinuonError, OSError) as e:
            content = [f"not shown, and not sent: {one_line(e)}"]
        else:
            told = consent_view.tell_content(folders.shared, shared, seen.episode)
            content = list(told)
    return {
        **_list_one(folders.shared, name),
        "content": content,
        "sha256": "" if shared.stated is None else shared.stated.sha256,
        "sent": shared.reached is not None,
        "known": _is_known(shared),
    }


def _is_known(shared: Shared) -> bool:
    return bool(shared.stated or shared.reached or shared.standing.record)


def _preview(folders: Folders, request: Mapping[str, Any]) -> dict[str, Any]:
    """The episode's page, and the policy by which a browser runs nothing else."""
    seen = _open(folders.shared, str(request["name"]))
    text = page.render(seen, ChannelNames())
    hashes = {
        kind: base64.b64encode(
            hashlib.sha256(page.read_asset(f"page.{suffix}").encode()).digest()
        ).decode()
        for kind, suffix in (("style", "css"), ("script", "js"))
    }
    policy = (
        "sandbox allow-scripts; default-src 'none'; img-src data:; "
        f"style-src 'sha256-{hashes['style']}'; "
        f"script-src 'sha256-{hashes['script']}'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'self'"
    )
    return {"page": text, "policy": policy}


def _decide(folders: Folders, request: Mapping[str, Any]) -> dict[str, Any]:
    """Leaves a wish, which holds at once if it forbids."""
    name = str(request["name"])
    check_episode_id(name)
    shared = consent_view.look(folders.shared, name)
    if not (_is_known(shared) or shared.fault):
        return {"error": f"there is no episode {name}"}
    decision = Decision(str(request["decision"]))
    consents.write_wish(folders.shared, name, Wish(decision, str(request["sha256"])))
    return {}


def _history(folders: Folders, request: Mapping[str, Any]) -> dict[str, Any]:
    """What was learned, the newest first, and which delta counts now."""
    store = DeltaStore(folders.deltas)
    named: dict[str, str] = {}
    for pointer in (CURRENT, LAST_GOOD):
        try:
            named[pointer] = store.named(pointer) or ""
        except ContinuonError:
            named[pointer] = ""
    rows = []
    paths = sorted(
        folders.receipts.glob(f"{receipts.PREFIX}/*/*.json"), key=lambda p: p.name
    )
    for path in reversed(paths):
        row = _read_receipt(path)
        if row is not None:
            rows.append(row)
        if len(rows) == _MOST_HISTORY:
            break
    return {"current": named[CURRENT], "good": named[LAST_GOOD], "rows": rows} | (
        _tell_delta(store, named[CURRENT])
    )


def _tell_delta(store: DeltaStore, digest: str) -> dict[str, Any]:
    """What the delta that counts now came from."""
    if not digest:
        return {"delta": ""}
    path = store.folder(digest) / local_delta.RECORD
    try:
        record = local_delta.parse(plain_file.read(path, 4 << 20), path)
    except (ContinuonError, OSError) as e:
        return {"delta": one_line(e)}
    return {
        "delta": f"{record.loop} loop, {record.created_at}, learned from "
        f"{len(record.episodes)} episodes"
    }


def _read_receipt(path: Path) -> dict[str, str] | None:
    try:
        read = receipts.parse(plain_file.read(path, receipts.LIMIT_BYTES), path)
    except (ContinuonError, OSError):
        return None
    if read.outcome not in receipts.OUTCOMES:
        return None
    return {
        "time": read.time,
        "outcome": read.outcome.replace("_", " "),
        "subject": (read.delta_digest or read.package_digest)[:12],
        "kind": "delta" if read.outcome in receipts.OF_LEARNING else "package",
        "reason": read.reason,
    }


_ACTS: Final[Mapping[str, Callable[[Folders, Mapping[str, Any]], dict[str, Any]]]] = {
    "list": _list,
    "tell": _tell,
    "preview": _preview,
    "decide": _decide,
    "history": _history,
}


if __name__ == "__main__":
    main(sys.argv[1:])
