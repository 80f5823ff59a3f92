"""Changes a tiny store as a careless publisher or an attacker would, for tests."""

import dataclasses
import json
import tarfile
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import TypedDict, Unpack

from base.digest import sha256_bytes
from edge.runtime_version import EXPORT_TARGET
from edge.testing.tiny_package import CHANNEL, Publisher
from release import channel, dsse
from release.channel import Channel, PackageEntry
from release.testing.tiny_release import PrivateKey

BLOCK_BYTES = 512


class RecordChanges(TypedDict, total=False):
    """Fields of a channel's record to replace."""

    expires: datetime
    package: Mapping[str, PackageEntry]
    release_counter: int
    minimum_runtime: str


def envelope(publisher: Publisher) -> Path:
    """Path of the signed channel, the only channel file that robots read."""
    return publisher.root / channel.envelope_path(CHANNEL)


def record(publisher: Publisher) -> Channel:
    """The channel's current record."""
    plain = publisher.root / channel.plain_path(CHANNEL)
    return channel.parse(plain.read_bytes())


def replace_record(
    publisher: Publisher,
    key: PrivateKey | None = None,
    **changes: Unpack[RecordChanges],
) -> None:
    """Signs a changed record, by default with the publisher's key."""
    changed = dataclasses.replace(record(publisher), **changes)
    envelope(publisher).write_bytes(sign(key or publisher.key, changed.encode()))


def sign_payload(publisher: Publisher, payload: bytes) -> None:
    """Signs any bytes as the channel, as a publisher's broken program would."""
    envelope(publisher).write_bytes(sign(publisher.key, payload))


def sign(key: PrivateKey, payload: bytes, *others: PrivateKey) -> bytes:
    """Returns the envelope of a channel, signed by one key or more."""
    return dsse.sign(payload, channel.PAYLOAD_TYPE, [key, *others])


def remove_signatures(publisher: Publisher) -> None:
    """Removes the signatures of the channel and changes nothing else."""
    value = json.loads(envelope(publisher).read_bytes())
    value["signatures"] = []
    envelope(publisher).write_text(json.dumps(value, separators=(",", ":")))


def replace_tar(
    publisher: Publisher, raw: bytes, package_digest: str | None = None
) -> None:
    """Stores these bytes and signs a channel that names them as the package's tar."""
    path = channel.tar_path(sha256_bytes(raw))
    (publisher.root / path).write_bytes(raw)
    entry = record(publisher).package[EXPORT_TARGET]
    entry = dataclasses.replace(
        entry,
        path=path,
        sha256=sha256_bytes(raw),
        size_bytes=len(raw),
        digest=package_digest or entry.digest,
    )
    replace_record(publisher, package={EXPORT_TARGET: entry})


def tar_entry(name: str, kind: bytes = tarfile.REGTYPE) -> bytes:
    """A ustar entry that the publisher's own packer would not write."""
    info = tarfile.TarInfo(name)
    info.type = kind
    regular = kind == tarfile.REGTYPE
    info.linkname = "" if regular else "/etc/passwd"
    info.size = 1 if regular else 0
    body = b"x".ljust(BLOCK_BYTES, b"\0") if regular else b""
    return info.tobuf(tarfile.USTAR_FORMAT) + body
