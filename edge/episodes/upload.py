"""Sends recorded episodes to the store of raw episodes.

    ./bazelw run //edge:upload -- --from=DIR --to=gs://BUCKET/PREFIX

DIR is a folder that //edge:record wrote. An episode goes up with the operator's
consent, or when a safety violation escalated it; others stay and are counted. An
episode counts as sent once the store names the digest of the bytes it holds and a
receipt `<episode_id>.sent.json` says so in DIR. Killed at any moment and started again,
the command goes on: objects that the store holds already are not sent twice.
"""

from dataclasses import dataclass
from pathlib import Path

from absl import app, flags

from base import canonical_json, command_line, durable_file
from base.digest import sha256_bytes
from base.store.store import PreconditionFailedError, Store, open_store
from edge.errors import UploadError
from rlds import raw_layout, sidecar
from rlds.errors import SidecarMismatchError
from rlds.sidecar import Sidecar
from rlds.tfds_directory import EPISODE_SUFFIX, SIDECAR_SUFFIX

_FROM = flags.DEFINE_string("from", None, "Folder of recorded episodes.", required=True)
_TO = flags.DEFINE_string(
    "to",
    None,
    "Store of raw episodes, file:///FOLDER or gs://BUCKET/PREFIX.",
    required=True,
)

_RECEIPT_SUFFIX = ".sent.json"
_RECEIPT_SCHEMA_VERSION = 1


@dataclass
class Tally:
    """What became of the episodes of a folder.

    Attributes:
        sent: sent now.
        held: in the store already, byte for byte.
        receipted: sent by an earlier run.
        private: without consent or escalation; they stay.
    """

    sent: int = 0
    held: int = 0
    receipted: int = 0
    private: int = 0


def main(argv: list[str]) -> int:
    """Sends what is not sent yet."""
    if len(argv) > 1:
        raise app.UsageError(f"unexpected argument {argv[1]!r}")
    tally = upload(Path(_FROM.value), open_store(_TO.value))
    if tally == Tally():
        command_line.say(
            f"no recorded episodes in {_FROM.value}: looked for *{SIDECAR_SUFFIX}, as"
            " //edge:record --output and //edge:run --record_dir write them"
        )
    command_line.say(
        f"{tally.sent} sent, {tally.held} already in the store,"
        f" {tally.receipted} with a receipt, {tally.private} kept without consent"
    )
    return 0


def upload(folder: Path, store: Store) -> Tally:
    """Sends every episode of `folder` that may leave and has not been sent.

    Raises:
        UploadError: the folder is none, an episode is not the one its sidecar
            describes, or the store holds other bytes under its name.
        RldsError: a sidecar is malformed.
        ReleaseError: the store fails.
    """
    if not folder.is_dir():
        raise UploadError(
            folder,
            "a folder of recorded episodes",
            "none",
            "record some with //edge:record --output",
        )
    durable_file.remove_leftovers(folder)
    tally = Tally()
    for path in sorted(folder.glob(f"*{SIDECAR_SUFFIX}")):
        _upload_episode(path, store, tally)
    return tally


def _upload_episode(path: Path, store: Store, tally: Tally) -> None:
    raw = path.read_bytes()
    description = sidecar.parse(raw)
    stem = path.name.removesuffix(SIDECAR_SUFFIX)
    if not (description.consent.granted or description.safety.escalated):
        tally.private += 1
        return
    receipt_path = path.with_name(stem + _RECEIPT_SUFFIX)
    receipt = _receipt(description, store.uri, sha256_bytes(raw))
    if receipt_path.is_file() and receipt_path.read_bytes() == receipt:
        tally.receipted += 1
        return
    episode = _read_episode(
        path.with_name(f"{stem}{EPISODE_SUFFIX}"), path, description
    )
    target = raw_layout.locate(description)
    new = _put(store, target.episode, episode)
    # The sidecar goes last: a folder that has one has its episode.
    new |= _put(store, target.sidecar, raw)
    durable_file.write(receipt_path, receipt)
    tally.sent += new
    tally.held += not new
    command_line.say(f"{'sent' if new else 'already there'} {target.path}")


def _receipt(description: Sidecar, store_uri: str, sidecar_sha256: str) -> bytes:
    """Says that `store_uri` holds the episode, by the digests that the store gave.

    Equal facts give equal bytes: an episode is sent when its receipt is the one that
    would be written for it now.
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


def _read_episode(path: Path, sidecar_path: Path, description: Sidecar) -> bytes:
    raw = path.read_bytes() if path.is_file() else b""
    try:
        description.check_episode(raw)
    except SidecarMismatchError as e:
        raise UploadError(
            path,
            f"{e.expected} as in {sidecar_path}",
            e.got,
            "nothing of it was sent: record it again",
        ) from e
    return raw


def _put(store: Store, path: str, data: bytes) -> bool:
    """Puts an object that is not there yet; returns whether it was new."""
    wanted = sha256_bytes(data)
    new = store.generation(path) == 0
    if new:
        try:
            store.put(path, data, if_generation_match=0)
        except PreconditionFailedError:
            new = False  # somebody sent it meanwhile; the digest below decides
    held = store.digest(path)
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
