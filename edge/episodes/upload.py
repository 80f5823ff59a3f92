"""Sends recorded episodes to the store of raw episodes.

    ./bazelw run //edge:upload -- --from=DIR --to=gs://BUCKET/PREFIX

DIR is a folder that //edge:record wrote. An episode is sent if the operator consented
or a safety violation escalated it; the others stay and are counted. An episode counts
as sent once the store reports the digest of its bytes and DIR holds a receipt of that,
`<episode_id>.sent.json`. The command can be killed at any moment and started again:
objects that the store holds already are not sent twice.
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

_FROM = flags.DEFINE_string("from", None, "folder of recorded episodes", required=True)
_TO = flags.DEFINE_string(
    "to",
    None,
    "store of raw episodes, file:///FOLDER or gs://BUCKET/PREFIX",
    required=True,
)

_RECEIPT_SUFFIX = ".sent.json"
_RECEIPT_SCHEMA_VERSION = 1


@dataclass
class Tally:
    """What happened to the episodes of a folder.

    Attributes:
        sent: episodes sent now.
        held: episodes that the store held already, byte for byte.
        receipted: episodes with a receipt of an earlier run.
        private: episodes without consent or escalation, which stay.
    """

    sent: int = 0
    held: int = 0
    receipted: int = 0
    private: int = 0


def main(argv: list[str]) -> int:
    """Sends the episodes that are not sent yet and prints a count."""
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
        UploadError: the folder does not exist, an episode is not the one that its
            sidecar describes, or the store holds other bytes under its name.
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
    receipt = _encode_receipt(description, store.uri, sha256_bytes(raw))
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
    """Puts an object unless the store has it; returns whether it was new."""
    wanted = sha256_bytes(data)
    new = store.generation(path) == 0
    if new:
        try:
            store.put(path, data, if_generation_match=0)
        except PreconditionFailedError:
            new = False  # another process put it meanwhile; the digest decides
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
