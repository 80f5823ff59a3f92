"""What the operator decided about the episodes of a shared folder, on the disk.

    shared/NAME.consent.json      the newest record, signed        whoever has the key
    shared/sent/NAME.stores.json  stores that it may have reached  the uploader
    shared/sent/NAME.sent.json    a store holds it                 the uploader
    shared/decisions/NAME.json    a wish: said, not signed yet     page, //edge:consent

A wish only ever holds an episode back; a record may let it go. Neither side waits for
the other: the uploader writes down which store it is about to send to and looks then
what was decided, and whoever decides writes that down and looks then at the stores. So
at least one of them sees the other, wherever a cut or another process comes between.

The first two stay when the episode goes: what was taken back is not recorded or sent
again, and each store that may hold it is asked to erase it.

Where each process has a user of its own, two groups stand at the shared folder: those
who look and decide have `decisions`, and those who may read what leaves have the folder
itself. An episode that may not leave belongs to the first group, one that may to the
second: the uploader cannot even open the others. On a desk both are one. Page and
uploader own a folder each, so what lies there is read as a plain file: no link of
theirs leads the recorder to a file that they may not see.

An uploader of before wrote its notes beside the episodes. They are read there, too.
"""

import contextlib
import dataclasses
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from base import canonical_json, durable_file, plain_file
from base.errors import ContinuonError, MalformedError, reason
from base.json_fields import Fields, decode, decode_canonical
from edge.episodes import robot_key
from edge.errors import ConsentError
from rlds import consent_record, raw_layout, sidecar
from rlds.consent_record import ConsentRecord, Decision
from rlds.raw_layout import RawFolder
from rlds.sidecar import Sidecar
from rlds.tfds_directory import EPISODE_SUFFIX, SIDECAR_SUFFIX

CONSENT_SUFFIX: Final = ".consent.json"
STORES_SUFFIX: Final = ".stores.json"
RECEIPT_SUFFIX: Final = ".sent.json"
"""Of the receipt that a store holds an episode, which `//edge:upload` writes."""
WISHES: Final = "decisions"
"""Folder of the wishes; the page writes here and nowhere else."""
SENT: Final = "sent"
"""Folder of what the uploader notes; it writes here and nowhere else."""
_SCHEMA_VERSION: Final = 1
_LIMIT_BYTES: Final = 64 * 1024
_WISH_SUFFIX: Final = ".json"
_OWN_SUFFIXES: Final = (EPISODE_SUFFIX, SIDECAR_SUFFIX)


@dataclasses.dataclass(frozen=True)
class Standing:
    """What holds for the upload of an episode now.

    Attributes:
        allowed: whether it may be sent.
        record: the newest record; None for none.
        raw: its bytes; empty for none.
    """

    allowed: bool
    record: ConsentRecord | None = None
    raw: bytes = b""


FORBIDDEN: Final = Standing(False)
"""Of an episode that is not here, or of which nothing can be known."""


@dataclasses.dataclass(frozen=True)
class Wish:
    """What was said about an episode and is not signed yet.

    Attributes:
        decision: what was said.
        sha256: digest of the copy that was looked at.
    """

    decision: Decision
    sha256: str


@dataclasses.dataclass(frozen=True)
class Reached:
    """The stores that an episode may have reached.

    Attributes:
        folder: where it lies in each of them.
        sha256: digest of its file.
        keyid: id of the key that signed its sidecar; "" if nobody wrote that down.
        stores: of each, the counter of the newest record that it holds; 0 for none.
    """

    folder: RawFolder
    sha256: str
    keyid: str
    stores: Mapping[str, int]


def find_standing(folder: Path, stated: Sidecar) -> Standing:
    """Finds out whether the episode of a sidecar may be sent.

    Args:
        folder: the shared folder.
        stated: the sidecar, by which it would be sent if nothing was decided since.
            Whether its escalation is true is looked at elsewhere.

    Raises:
        ConsentError: what was decided cannot be read, so that it must not be sent.
        KeyFileError: the key that signed the record is not in the folder.
    """
    name = stated.episode_id
    wish = read_wish(folder, name)
    record, raw = read_record(folder, name)
    allowed = stated.consent.granted or stated.safety.escalated
    if record is not None:
        allowed &= record.is_granted and record.sha256 == stated.sha256
    if wish is not None and wish.decision is not Decision.GRANTED:
        allowed = False
    return Standing(allowed, record, raw)


def read_record(folder: Path, name: str) -> tuple[ConsentRecord | None, bytes]:
    """Reads the newest record of an episode, and its bytes; None if there is none.

    Raises:
        ConsentError: it is malformed, about another episode, or not signed by the key
            of this folder's robot.
        KeyFileError: that key is not here.
    """
    path = folder / f"{name}{CONSENT_SUFFIX}"
    try:
        raw = plain_file.read(path, consent_record.LIMIT_BYTES)
    except FileNotFoundError:
        return None, b""
    except (ContinuonError, OSError) as e:
        raise _unreadable(path, e) from e
    try:
        keyid = consent_record.parse(raw, path).keyid
        enrolled = robot_key.read_enrolment(folder, keyid)
        record = consent_record.verify(raw, {keyid: enrolled.key}, path)
    except ContinuonError as e:
        raise _unreadable(path, e) from e
    if (record.episode_id, record.robot_hash) != (name, enrolled.robot_hash):
        raise ConsentError(path, f"a record of {name}", "one of another episode")
    return record, raw


def write_record(folder: Path, raw: bytes, name: str) -> None:
    """Puts a signed record in the place of the one before, durably.

    Raises:
        DiskError: the disk refused; the one before stays.
    """
    path = folder / f"{name}{CONSENT_SUFFIX}"
    durable_file.write_record(path, raw, durable_file.READABLE)


def read_wish(folder: Path, name: str) -> Wish | None:
    """Reads what was said about an episode and is not signed yet; None for nothing.

    Raises:
        ConsentError: it cannot be read.
    """
    path = _wish_path(folder, name)
    try:
        raw = plain_file.read(path, _LIMIT_BYTES, follow_links=False)
    except FileNotFoundError:
        return None
    except (ContinuonError, OSError) as e:
        raise _unreadable(path, e) from e
    try:
        keys = ("schema_version", "decision", "sha256")
        fields = Fields(decode(raw, path, _LIMIT_BYTES), path, keys)
        fields.version(_SCHEMA_VERSION)
        return Wish(Decision(fields.text("decision")), fields.sha256("sha256"))
    except (ContinuonError, ValueError) as e:
        raise _unreadable(path, e) from e


def write_wish(folder: Path, name: str, wish: Wish) -> None:
    """Writes down what was said, durably; it holds from now on.

    Raises:
        DiskError: the disk refused; what was said before stays.
    """
    value = {
        "schema_version": _SCHEMA_VERSION,
        "decision": wish.decision.value,
        "sha256": wish.sha256,
    }
    path = _wish_path(folder, name)
    durable_file.make_own_folder(path.parent, 0o770)
    durable_file.write_record(
        path, canonical_json.encode(value), durable_file.READABLE, _find_group(folder)
    )


def remove_wish(folder: Path, name: str) -> None:
    """Removes a wish that was signed, or cannot be.

    Raises:
        DiskError: the disk refused.
    """
    path = _wish_path(folder, name)
    try:
        path.unlink(missing_ok=True)
    except OSError as e:
        raise durable_file.disk_error(path, "to remove it", e) from e


def list_wishes(folder: Path) -> list[str]:
    """Returns the names of the episodes about which something was said, sorted."""
    return sorted(
        path.name.removesuffix(_WISH_SUFFIX)
        for path in (folder / WISHES).glob(f"*{_WISH_SUFFIX}")
        if not path.name.startswith(durable_file.LEFTOVER_PREFIX)
    )


def list_records(folder: Path) -> list[str]:
    """Returns the names of the episodes that have a record, sorted."""
    return sorted(
        path.name.removesuffix(CONSENT_SUFFIX)
        for path in folder.glob(f"*{CONSENT_SUFFIX}")
    )


def is_taken_back(folder: Path, name: str) -> bool:
    """Whether an episode was taken back: nothing of it may come here again.

    Raises:
        ConsentError, KeyFileError: what was decided cannot be read.
    """
    wish = read_wish(folder, name)
    if wish is not None and wish.decision is Decision.TAKEN_BACK:
        return True
    record, _ = read_record(folder, name)
    return record is not None and record.decision is Decision.TAKEN_BACK


def is_owed(folder: Path, name: str) -> bool:
    """Whether a store is still to be told the newest record of an episode.

    Raises:
        ConsentError, KeyFileError: that cannot be read.
    """
    record, _ = read_record(folder, name)
    reached = read_reached(folder, name)
    if record is None or reached is None:
        return False
    return any(record.counter > held for held in reached.stores.values())


def read_reached(folder: Path, name: str) -> Reached | None:
    """Reads which stores an episode may have reached; None for none.

    Raises:
        ConsentError: it cannot be read.
    """
    path = find_note(folder, name, STORES_SUFFIX)
    try:
        raw = plain_file.read(path, _LIMIT_BYTES, follow_links=False)
    except FileNotFoundError:
        return _read_receipt(folder, name)
    except (ContinuonError, OSError) as e:
        raise _unreadable(path, e) from e
    try:
        keys = ("schema_version", "robot_hash", "date", "sha256", "keyid", "stores")
        fields = Fields(decode_canonical(raw, path, _LIMIT_BYTES), path, keys)
        fields.version(_SCHEMA_VERSION)
        named = fields.mapping("stores")
        stores = Fields(named, path, (), "stores", optional=named)
        return Reached(
            folder=RawFolder(fields.sha256("robot_hash"), fields.text("date"), name),
            sha256=fields.sha256("sha256"),
            keyid=fields.sha256("keyid") if fields.raw("keyid") else "",
            stores={uri: stores.count(uri) for uri in named},
        )
    except ContinuonError as e:
        raise _unreadable(path, e) from e


def write_reached(folder: Path, reached: Reached) -> None:
    """Writes down which stores an episode may have reached, durably.

    Raises:
        DiskError: the disk refused; what stood there stays.
    """
    value = {
        "schema_version": _SCHEMA_VERSION,
        "robot_hash": reached.folder.robot_hash,
        "date": reached.folder.date,
        "sha256": reached.sha256,
        "keyid": reached.keyid,
        "stores": dict(reached.stores),
    }
    name = f"{reached.folder.episode_id}{STORES_SUFFIX}"
    _write_note(folder, name, canonical_json.encode(value))


def remove_reached(folder: Path, name: str) -> None:
    """Removes the note of a store to which nothing was sent after all.

    Raises:
        DiskError: the disk refused.
    """
    remove_note(folder, name, STORES_SUFFIX)


def write_receipt(folder: Path, name: str, raw: bytes) -> None:
    """Writes the receipt that a store holds an episode, durably.

    Raises:
        DiskError: the disk refused; what stood there stays.
    """
    _write_note(folder, f"{name}{RECEIPT_SUFFIX}", raw)


def find_note(folder: Path, name: str, suffix: str) -> Path:
    """The file in which an uploader noted something; it need not exist.

    Args:
        folder: the shared folder.
        name: the episode.
        suffix: `STORES_SUFFIX` or `RECEIPT_SUFFIX`.
    """
    path, before = folder / SENT / f"{name}{suffix}", folder / f"{name}{suffix}"
    return before if not path.exists() and before.exists() else path


def remove_note(folder: Path, name: str, suffix: str) -> None:
    """Removes what an uploader noted, arguments as `find_note`.

    Raises:
        DiskError: the disk refused.
    """
    for path in (folder / SENT / f"{name}{suffix}", folder / f"{name}{suffix}"):
        try:
            path.unlink(missing_ok=True)
        except OSError as e:
            raise durable_file.disk_error(path, "to remove it", e) from e


def choose_group(folder: Path, *, may_leave: bool) -> int | None:
    """The group of an episode's files; None if there is nothing to choose from.

    Args:
        folder: the shared folder.
        may_leave: whether the uploader may send it.
    """
    leaving, deciding = _find_group(folder), _find_group(folder / WISHES)
    if None in (leaving, deciding) or leaving == deciding:
        return None
    return leaving if may_leave else deciding


def open_or_close(folder: Path, name: str, *, may_leave: bool) -> None:
    """Lets the uploader read an episode and its sidecar, or keeps it from them.

    Raises:
        DiskError: the disk refused.
    """
    group = choose_group(folder, may_leave=may_leave)
    if group is None:
        return
    for suffix in _OWN_SUFFIXES:
        path = folder / f"{name}{suffix}"
        try:
            with contextlib.suppress(FileNotFoundError):
                descriptor = plain_file.open_descriptor(path, follow_links=False)
                try:
                    durable_file.give_group(descriptor, group)
                    os.fsync(descriptor)
                finally:
                    os.close(descriptor)
        except OSError as e:
            raise durable_file.disk_error(path, "to give it to its group", e) from e


def _find_group(folder: Path) -> int | None:
    """The group of a folder; None if it is not there."""
    with contextlib.suppress(OSError):
        return folder.stat().st_gid
    return None


def _write_note(folder: Path, name: str, raw: bytes) -> None:
    durable_file.make_own_folder(folder / SENT)
    # Of the group that reads what leaves: it reads where that went, too.
    group = _find_group(folder)
    path = folder / SENT / name
    durable_file.write_record(path, raw, durable_file.READABLE, group)
    if (folder / name).is_file():  # an uploader of before wrote it there
        with contextlib.suppress(OSError):
            (folder / name).unlink()


def _read_receipt(folder: Path, name: str) -> Reached | None:
    """Reads the receipt of an uploader that wrote down no stores."""
    path = find_note(folder, name, RECEIPT_SUFFIX)
    try:
        raw = plain_file.read(path, _LIMIT_BYTES, follow_links=False)
    except FileNotFoundError:
        return None
    except (ContinuonError, OSError) as e:
        raise _unreadable(path, e) from e
    keys = ("schema_version", "episode_id", "store", "folder", "sha256")
    optional = ("size_bytes", "sidecar_sha256")
    try:
        value = decode(raw, path, _LIMIT_BYTES)
        fields = Fields(value, path, keys, optional=optional)
        found = raw_layout.parse(f"{fields.text('folder')}/{raw_layout.SIDECAR_FILE}")
        if found is None or found[0].episode_id != name:
            raise MalformedError(path, f"the receipt of {name}", "another one")
        sha256, store = fields.sha256("sha256"), fields.text("store")
        return Reached(found[0], sha256, _read_keyid(folder, name), {store: 0})
    except ContinuonError as e:
        raise _unreadable(path, e) from e


def _read_keyid(folder: Path, name: str) -> str:
    """The key id that the sidecar names; "" if it is not here."""
    path = folder / f"{name}.sidecar.json"
    try:
        return sidecar.parse(plain_file.read(path, sidecar.LIMIT_BYTES)).keyid
    except (ContinuonError, OSError):
        return ""


def _wish_path(folder: Path, name: str) -> Path:
    return folder / WISHES / f"{name}{_WISH_SUFFIX}"


def _unreadable(path: Path, error: Exception) -> ConsentError:
    return ConsentError(path, "what was decided about an episode", reason(error, path))
