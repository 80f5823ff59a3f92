"""Sends recorded episodes to the store of raw episodes.

    ./bazelw run //edge:upload -- --from=DIR --to=STORE

DIR is a folder that //edge:record wrote; STORE is a folder, file:///FOLDER or
gs://BUCKET/PREFIX. An episode is sent if the operator consented or a safety violation
escalated it, and if nobody has refused it since (`//edge:consent`, `//edge:page`); the
others stay and are counted. A store that holds an episode which was taken back is asked
to erase it. Before an episode is sent it is looked at as ingest will: signature,
digest, and every value in its redacted form. One that does not pass is named and stays,
the others are sent, and the exit code is 1.

An episode counts as sent once the store reports the digest of its bytes and DIR holds a
receipt of that, `sent/<episode_id>.sent.json`. As a service with a user of its own it
can read what may leave, and nothing else of the robot, and writes to `sent` alone: what
it cannot read is counted. The command can be killed at any moment and
started again: objects that the store holds already are not sent twice.
"""

import base.interrupt  # noqa: F401 - Ctrl-C ends it from here on

import dataclasses
import functools
import os
from collections.abc import Set
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from absl import app, flags

from base import canonical_json, command_line, durable_file, path_flags, plain_file
from base.digest import sha256_bytes
from base.errors import (
    ContinuonError,
    NotFoundError,
    ObjectError,
    OversizedError,
    StoreError,
    one_line,
)
from base.store.location import to_uri
from base.store.store import PreconditionFailedError, Store, open_store
from edge.episodes import consents, robot_key
from edge.episodes.consents import CONSENT_SUFFIX, RECEIPT_SUFFIX, Reached
from edge.errors import UploadError
from edge.robots.clock import MonotonicClock, require_right
from edge.runtime_version import RUNTIME_DATE
from rlds import raw_layout, reader, sidecar, sidecar_statements
from rlds.sidecar import Sidecar
from rlds.tfds_directory import EPISODE_SUFFIX, SIDECAR_SUFFIX

_FROM = flags.DEFINE_string("from", None, "folder of recorded episodes", required=True)
_TO = flags.DEFINE_string(
    "to",
    None,
    "store of raw episodes: a folder, file:///FOLDER or gs://BUCKET/PREFIX",
    required=True,
)

_RECEIPT_SCHEMA_VERSION = 1
path_flags.folders("from", "to")


@dataclass
class Tally:
    """What happened to the episodes of a folder.

    Attributes:
        sent: episodes sent now.
        held: episodes that the store held already, byte for byte.
        receipted: episodes with a receipt of an earlier run.
        private: episodes without consent or escalation, which stay.
        closed: episodes that this user may not read, so that they stay.
        removed: episodes that a recorder removed meanwhile, to keep its quota.
        told: records of what was decided that the store has got now, for episodes
            that it holds.
        erasing: those of them that ask it to erase the episode.
        refused: episodes that must not be sent as they are: file and reason.
    """

    sent: int = 0
    held: int = 0
    receipted: int = 0
    private: int = 0
    closed: int = 0
    removed: int = 0
    told: int = 0
    erasing: int = 0
    refused: list[tuple[Path, str]] = field(default_factory=list)


def main(argv: list[str]) -> int:
    """Sends the episodes that are not sent yet and prints a count."""
    if len(argv) > 1:
        raise app.UsageError(f"unexpected argument {argv[1]!r}")
    now = require_right(MonotonicClock(), RUNTIME_DATE)
    with path_flags.about("to", "a store", "name a folder or a bucket"):
        store = open_store(to_uri(_TO.value))
    tally = upload(Path(_FROM.value), store, now)
    if tally == Tally():
        command_line.say(
            f"no recorded episodes in {_FROM.value}: looked for *{SIDECAR_SUFFIX}, as"
            " //edge:record --output and //edge:run --record_dir write them"
        )
    command_line.say(
        f"{tally.sent} sent, {tally.held} already in the store,"
        f" {tally.receipted} with a receipt, {tally.private} kept without consent"
        + (f", {tally.closed} closed to this user" if tally.closed else "")
        + (f", {tally.removed} removed meanwhile" if tally.removed else "")
        + (f", {tally.erasing} asked to be erased" if tally.erasing else "")
        + (f", {len(tally.refused)} refused" if tally.refused else "")
    )
    if tally.refused:
        path, reason = tally.refused[0]
        raise UploadError(
            path,
            "every shareable episode to pass the check",
            f"{len(tally.refused)} refused, this one because of {reason}",
            "these were not sent; the others were: repair or remove them",
        )
    return 0


def upload(folder: Path, store: Store, now: datetime) -> Tally:
    """Sends every episode of `folder` that may leave and has not been sent.

    Args:
        folder: where the episodes are.
        store: where they go.
        now: the present time; what is dated later is not sent.

    Raises:
        UploadError: the folder does not exist.
        StoreError: the store fails as a whole.
    """
    if not folder.is_dir():
        raise UploadError(
            folder,
            "a folder of recorded episodes",
            "none",
            "record some with //edge:record --output",
        )
    durable_file.remove_leftovers(folder / consents.SENT)
    tally = Tally()
    # What asks a store to erase does not wait for what is sent to it.
    work = [(path, _tell_store) for path in sorted(folder.glob(f"*{CONSENT_SUFFIX}"))]
    work += [
        (path, functools.partial(_upload_episode, now=now))
        for path in sorted(folder.glob(f"*{SIDECAR_SUFFIX}"))
    ]
    for path, act in work:
        try:
            act(path, store, tally)
        except (ContinuonError, OSError) as e:
            # A store that fails ends the run; one odd name in it does not.
            if isinstance(e, StoreError) and not isinstance(e, ObjectError):
                raise
            if not os.path.lexists(path):  # a link to nothing is no removal
                tally.removed += 1
                continue
            tally.refused.append((path, str(e)))
            command_line.say(f"refused {one_line(path.name)}: {e}")
    return tally


def _tell_store(path: Path, store: Store, tally: Tally) -> None:
    """Puts the newest record of an episode beside it, if the store may hold that.

    Raises:
        UploadError: the store holds another record under this name.
        ConsentError, KeyFileError: the record cannot be read, or is not the robot's.
        StoreError: the store fails.
    """
    name = path.name.removesuffix(CONSENT_SUFFIX)
    record, raw = consents.read_record(path.parent, name)
    reached = consents.read_reached(path.parent, name)
    if record is None or reached is None:
        return
    if record.counter <= reached.stores.get(store.uri, record.counter):
        return
    _put(store, reached.folder.consent(record.counter), raw)
    _note_store(path.parent, reached, store, record.counter)
    tally.told += 1
    if not record.is_granted:
        tally.erasing += 1
        command_line.say(f"asked to erase {reached.folder.path}")


def _upload_episode(path: Path, store: Store, tally: Tally, now: datetime) -> None:
    """Sends one episode, unless it stays or is sent already.

    Raises:
        UploadError: the store holds other bytes under the episode's name.
        EdgeError, RldsError, OSError: the episode is not whole, not signed by the key
            that it names, or not in the form in which it may leave.
        StoreError: the store fails.
    """
    try:
        raw = _read(path, sidecar.LIMIT_BYTES)
    except PermissionError:
        tally.closed += 1
        return
    description = sidecar.parse(raw)
    if not consents.find_standing(path.parent, description).allowed:
        tally.private += 1
        return
    stem = path.name.removesuffix(SIDECAR_SUFFIX)
    receipt_path = consents.find_note(path.parent, stem, RECEIPT_SUFFIX)
    receipt = _encode_receipt(description, store.uri, sha256_bytes(raw))
    if receipt_path.is_file() and _read(receipt_path, len(receipt)) == receipt:
        tally.receipted += 1
        return
    words = _check_signature(raw, description, path.parent)
    episode_path = path.with_name(f"{stem}{EPISODE_SUFFIX}")
    framed = _read(episode_path, min(description.size_bytes, reader.LIMIT_BYTES))
    description.check_episode(framed)
    episode = reader.read_episode_bytes(framed)
    sidecar_statements.check_statements(description, episode, framed, now, words)
    if not sidecar_statements.may_leave(
        description, sidecar_statements.count_violations(episode)
    ):
        tally.private += 1
        return
    target = raw_layout.locate(description)
    before = consents.read_reached(path.parent, stem)
    reached = before or Reached(target, description.sha256, description.keyid, {})
    if store.uri not in reached.stores:
        # Written down before anything leaves: whoever takes the episode back later,
        # or at this moment, knows whom to ask.
        reached = _note_store(path.parent, reached, store, 0)
    new, counter = False, 0
    for file in (target.episode, None, target.sidecar):
        standing = consents.find_standing(path.parent, description)
        if not standing.allowed:  # it was refused meanwhile
            if file == target.episode:
                _forget_store(path.parent, before, reached)
            tally.private += 1
            return
        if file is not None:
            # The sidecar goes last: a folder that has one has its episode.
            new |= _put(store, file, framed if file == target.episode else raw)
        elif standing.record is not None:
            counter = standing.record.counter
            if counter > reached.stores[store.uri]:
                _put(store, target.consent(counter), standing.raw)
    if counter:
        _note_store(path.parent, reached, store, counter)
    consents.write_receipt(path.parent, stem, receipt)
    tally.sent += new
    tally.held += not new
    command_line.say(f"{'sent' if new else 'already there'} {target.path}")


def _note_store(folder: Path, reached: Reached, store: Store, counter: int) -> Reached:
    """Writes down that a store may hold an episode, and its record of this counter."""
    stores = {**reached.stores, store.uri: counter}
    noted = dataclasses.replace(reached, stores=stores)
    consents.write_reached(folder, noted)
    return noted


def _forget_store(folder: Path, before: Reached | None, now: Reached) -> None:
    """Takes the note of a store back to which nothing was sent."""
    if before is None:
        consents.remove_reached(folder, now.folder.episode_id)
    elif before != now:
        consents.write_reached(folder, before)


def _check_signature(raw: bytes, description: Sidecar, folder: Path) -> Set[str]:
    """Checks that the robot whose public key lies in `folder` signed the sidecar.

    Returns:
        The words that this robot has of its own.
    """
    keyid = description.keyid
    if not keyid:
        sidecar.verify(raw, {})  # which says what is missing
    record = robot_key.read_enrolment(folder, keyid)
    sidecar.verify(raw, {keyid: record.key})
    if record.robot_hash != description.robot_hash:
        raise UploadError(
            folder,
            "an episode of the robot of its key",
            "one of another robot",
            "record it again with that robot's own key",
        )
    return record.words


def _read(path: Path, limit_bytes: int) -> bytes:
    """Reads a file up to one byte more than the limit, by which its reader sees it."""
    with plain_file.open_stream(path) as stream:
        return stream.read(limit_bytes + 1)


def _encode_receipt(description: Sidecar, store_uri: str, sidecar_sha256: str) -> bytes:
    """Returns the receipt that `store_uri` holds the episode with these digests.

    Equal facts give equal bytes: an episode counts as sent if its receipt equals the
    one that would be written for it now.
    """
    return canonical_json.encode(
        {
            "schema_version": _RECEIPT_SCHEMA_VERSION,
            "episode_id": description.episode_id,
            "store": store_uri,
            "folder": raw_layout.locate(description).path,
            "sha256": description.sha256,
            "size_bytes": description.size_bytes,
            "sidecar_sha256": sidecar_sha256,
        }
    )


def _put(store: Store, path: str, data: bytes) -> bool:
    """Puts an object unless the store has it; returns whether it was new."""
    wanted = sha256_bytes(data)
    new = store.generation(path) == 0
    if new:
        try:
            store.put(path, data, if_generation_match=0)
        except PreconditionFailedError:
            new = False  # another process put it meanwhile; the digest decides
    try:
        held = store.digest(path, len(data))
    except OversizedError as e:
        held = e.got
    except NotFoundError:
        held = "no object"  # but a folder in its place
    if held != wanted:
        raise UploadError(
            f"{store.uri}/{path}",
            f"the store to hold sha256 {wanted}",
            held,
            "the local episode stays unsent: compare the two by hand",
        )
    return new


if __name__ == "__main__":
    command_line.run(main)
